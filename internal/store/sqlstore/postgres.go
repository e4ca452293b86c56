// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// How often a transaction is run that conflicts with others, how often of that
// beside others of this process, and how long to pause before the second time;
// each later pause is up to twice as long.
const (
	maxRuns    = 12
	sharedRuns = 2
	firstPause = 2 * time.Millisecond
	maxPause   = 250 * time.Millisecond
)

// postgresEngine is a PostgreSQL database.
type postgresEngine struct {
	db      *sql.DB
	readers chan struct{}
	writers chan struct{}
	alone   chan struct{} // held by who takes the places of all writers
	now     func() time.Time
	wake    *waker
	dialect *dialect
	logger  *slog.Logger
}

// postgresDB returns connections to the database of a URL, and what it is called.
func postgresDB(databaseURL string) (db *sql.DB, subject string, err error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil { // not wrapped: it may hold the password
		return nil, "", &dossier.Error{Kind: dossier.KindInvalid, Op: opOpen, Err: errors.New("the URL is malformed"),
			Hint: "Write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE."}
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "dossier"
	}
	return stdlib.OpenDB(*config), fmt.Sprintf("%s on %s", config.Database, config.Host), nil
}

// openPostgres connects to the database that c names and brings its schema up
// to date.
func openPostgres(ctx context.Context, c Config, wake *waker) (*postgresEngine, error) {
	db, subject, err := postgresDB(c.URL)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(c.MaxReaders + c.MaxWriters)
	db.SetMaxIdleConns(c.MaxReaders + c.MaxWriters)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := migratePostgres(ctx, db, c, subject); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &postgresEngine{
		db:      db,
		readers: make(chan struct{}, c.MaxReaders),
		writers: make(chan struct{}, c.MaxWriters),
		alone:   make(chan struct{}, 1),
		now:     c.Now,
		wake:    wake,
		dialect: postgresDialect(),
		logger:  c.Logger,
	}, nil
}

func (e *postgresEngine) close() error {
	if err := e.db.Close(); err != nil {
		return engineError("closing database", "", err)
	}
	return nil
}

// pgRunner runs statements in a transaction; pgx keeps them prepared.
type pgRunner struct{ tx *sql.Tx }

func (r pgRunner) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	return r.tx.ExecContext(ctx, query, args...)
}

func (r pgRunner) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	return r.tx.QueryContext(ctx, query, args...)
}

func (e *postgresEngine) session(tx *sql.Tx) *session {
	return &session{run: pgRunner{tx}, dialect: e.dialect, wake: e.wake, now: dossier.Instant(e.now())}
}

func (e *postgresEngine) view(ctx context.Context, f func(store.Reader) error) error {
	const op = "reading database"
	release, err := take(ctx, op, e.readers)
	if err != nil {
		return err
	}
	defer release()
	sqlTx, err := e.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return engineError(op, "", err)
	}
	defer sqlTx.Rollback() // it has written nothing
	s := e.session(sqlTx)
	defer func() { s.ended = true }()
	return f(reader{s})
}

// update waits for the disk in any case: with synchronous_commit=off a database
// that is killed forgets what it said it had, not only one whose power is cut.
// settle does nothing: PostgreSQL shows a commit when the disk has it.
func (e *postgresEngine) settle(context.Context) error { return nil }

func (e *postgresEngine) update(ctx context.Context, f func(store.Tx) error, _ commit) error {
	const op = "writing database"
	pause := firstPause
	for run := 1; ; run++ {
		places := e.take
		if run > sharedRuns {
			places = e.takeAll
		}
		release, err := places(ctx, op)
		if err != nil {
			return err
		}
		again, err := e.once(ctx, f)
		release()
		if !again || run == maxRuns {
			return err
		}
		e.logger.DebugContext(ctx, "transaction conflicts, running it again", "run", run, "error", err)
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return engineError(op, "", ctx.Err())
		}
		pause = min(2*pause, maxPause)
	}
}

// take takes the place of one writer.
func (e *postgresEngine) take(ctx context.Context, op string) (release func(), err error) {
	return take(ctx, op, e.writers)
}

// takeAll takes the places of all writers: a transaction that always comes off
// worst must get through at last.
func (e *postgresEngine) takeAll(ctx context.Context, op string) (release func(), err error) {
	releaseTurn, err := take(ctx, op, e.alone)
	if err != nil {
		return nil, err
	}
	releases := []func(){releaseTurn}
	release = func() {
		for _, f := range releases {
			f()
		}
	}
	for range cap(e.writers) {
		r, err := take(ctx, op, e.writers)
		if err != nil {
			release()
			return nil, err
		}
		releases = append(releases, r)
	}
	return release, nil
}

// once runs f in one transaction. again: it failed because of another one.
func (e *postgresEngine) once(ctx context.Context, f func(store.Tx) error) (again bool, err error) {
	const op = "writing database"
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return false, engineError(op, "", err)
	}
	defer conn.Close() // gives it back
	// The end of ctx interrupts statements, not the commit.
	sqlTx, err := conn.BeginTx(context.WithoutCancel(ctx), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return false, engineError(op, "", err)
	}
	defer sqlTx.Rollback() // does nothing after a commit
	s := e.session(sqlTx)
	defer func() { s.ended = true }()
	err = f(&tx{reader{s}})
	if err == nil {
		err = s.failed
	}
	if err != nil {
		return s.failed != nil && conflict(s.failed), err
	}
	if err := sqlTx.Commit(); err != nil {
		return conflict(err), engineError(op, "", err)
	}
	if s.enqueue {
		e.wake.ring()
	}
	return false, nil
}

// take takes one of the places of a channel; release gives it back.
func take(ctx context.Context, op string, places chan struct{}) (release func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, engineError(op, "", ctx.Err())
	}
}
