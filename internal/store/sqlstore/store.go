// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Config says where the database is. Either Path or URL must be set.
type Config struct {
	// Path is the file of a SQLite database. It is created with mode 0600, its
	// directory with 0700.
	Path string
	// URL is a PostgreSQL database, "postgres://USER@HOST/DATABASE".
	URL string
	// MaxReaders is how many Views run at a time; others wait. 0: 8.
	MaxReaders int
	// MaxWriters is how many Updates run at a time on PostgreSQL. 0: 8.
	MaxWriters int
	// Busy is how long to wait for another process that writes the same
	// SQLite file. 0: 10 s.
	Busy time.Duration
	// CheckpointPages is how many pages of 4 KiB SQLite logs before it copies them to their
	// places. 0: 16000.
	CheckpointPages int
	// Now is the clock. nil: time.Now.
	Now func() time.Time
	// Logger is told what nobody else is: retries and migrations. nil: no log.
	Logger *slog.Logger
}

// The defaults of Config.
const (
	defaultReaders = 8
	defaultWriters = 8
	defaultBusy    = 10 * time.Second

	defaultCheckpointPages = 16_000
)

// Store is a database. It implements [store.Store].
type Store struct {
	engine engine
	wake   *waker
	now    func() time.Time

	mu     sync.Mutex
	closed bool
	quit   chan struct{}  // closed by Close
	calls  sync.WaitGroup // Views and Updates that run
}

var _ store.Store = (*Store)(nil)

// engine is what SQLite and PostgreSQL do each in their own way.
type engine interface {
	view(ctx context.Context, f func(store.Reader) error) error
	update(ctx context.Context, f func(store.Tx) error, kind commit) error
	settle(ctx context.Context) error
	close() error
}

// Open opens the database, creates it when there is none, and brings its schema
// up to date. Several processes may do so at a time.
//
// KindInvalid: neither or both of Path and URL are set, or URL is malformed.
// KindStorage: the place refuses writes, or the schema is newer than this program. A SQLite
// file that has the schema of this program is not written to: that its place refuses writes is
// told to the first who writes.
// KindCorrupt: the file is no database. KindUnavailable: no connection, or locked.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MaxReaders <= 0 {
		c.MaxReaders = defaultReaders
	}
	if c.MaxWriters <= 0 {
		c.MaxWriters = defaultWriters
	}
	if c.Busy <= 0 {
		c.Busy = defaultBusy
	}
	if c.CheckpointPages <= 0 {
		c.CheckpointPages = defaultCheckpointPages
	}
	s := &Store{wake: newWaker(), now: c.Now, quit: make(chan struct{})}
	var err error
	switch {
	case c.Path != "" && c.URL != "":
		return nil, dossier.Errorf(dossier.KindInvalid, opOpen, "", "both a file and a server are given")
	case c.Path != "":
		s.engine, err = openSQLite(ctx, c, s.wake)
	case c.URL != "":
		s.engine, err = openPostgres(ctx, c, s.wake)
	default:
		return nil, dossier.Errorf(dossier.KindInvalid, opOpen, "", "neither a file nor a server is given")
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// View implements [store.Store]. On SQLite the state is that of f's first read.
func (s *Store) View(ctx context.Context, f func(store.Reader) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.calls.Done()
	return s.engine.view(ctx, f)
}

// Update implements [store.Store]. On SQLite f holds up every other writer
// while it runs, and must not call Update.
//
// When ctx ends after f has run, Update still waits for the commit, so that it
// knows whether the work was kept. It does not know when the connection to
// PostgreSQL breaks at that moment: then it is KindUnavailable.
func (s *Store) Update(ctx context.Context, f func(store.Tx) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.calls.Done()
	return s.engine.update(ctx, f, onDisk)
}

// UpdateSoon implements [store.Store].
func (s *Store) UpdateSoon(ctx context.Context, f func(store.Tx) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.calls.Done()
	return s.engine.update(ctx, f, soon)
}

// Settle implements [store.Store]. PostgreSQL shows nothing before it is durable.
func (s *Store) Settle(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.calls.Done()
	return s.engine.settle(ctx)
}

// commit is what a transaction waits for at its end.
type commit bool

const (
	onDisk commit = false // that the disk has it
	soon   commit = true  // that all see it; the disk has it some time later
)

// Close implements [store.Store]. Later calls fail with KindUnavailable.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.quit)
	s.mu.Unlock()
	s.calls.Wait()
	return s.engine.close()
}

// enter counts a call that Close must wait for.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return &dossier.Error{Kind: dossier.KindUnavailable, Op: "using database", Err: errClosed}
	}
	s.calls.Add(1)
	return nil
}

var errClosed = errors.New("it is closed")
