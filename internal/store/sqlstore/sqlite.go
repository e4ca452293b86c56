// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"modernc.org/sqlite"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/durable"
	"dossier.dev/dossier/internal/store"
)

// sqliteEngine is a SQLite file: one connection that writes, and some that read. That which
// writes is opened by who first does: a command that only asks needs none, and each has
// SQLite parse the schema.
type sqliteEngine struct {
	config  Config
	db      *sql.DB // reads
	readers *stack
	wake    *waker
	dialect *dialect

	opening chan struct{} // has one place, for who looks at writer
	writer  *writer       // nil: nobody has written yet
}

// openSQLite opens the file that c names, makes it when it is not there, and
// brings its schema up to date. A file that has that schema has a name that is durable.
func openSQLite(ctx context.Context, c Config, wake *waker) (*sqliteEngine, error) {
	readDB, err := sqliteDB(c, url.Values{"_pragma": {"query_only(1)"}})
	if err != nil {
		return nil, err
	}
	e := &sqliteEngine{config: c, db: readDB, readers: newStack(c.MaxReaders), wake: wake, dialect: sqliteDialect(), opening: make(chan struct{}, 1)}
	if e.isCurrent(ctx) {
		return e, nil
	}
	err = createFile(c.Path)
	if err == nil {
		_, err = e.writes(ctx)
	}
	if err != nil {
		_ = e.close() // the readers
		return nil, err
	}
	return e, nil
}

// isCurrent reports whether the file is a database with a write-ahead log and the schema of
// this program. What is not, and what cannot be read, is for who writes.
func (e *sqliteEngine) isCurrent(ctx context.Context) bool {
	if info, err := os.Stat(e.config.Path); err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return false
	}
	c := newSQLiteConn(conn)
	var mode string
	var version int64
	err = conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode)
	if err == nil {
		err = conn.QueryRowContext(ctx, schemaVersion).Scan(&version)
	}
	if err != nil || mode != "wal" {
		c.discard()
		return false
	}
	e.readers.idle = append(e.readers.idle, c) // nobody else uses e yet
	files, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return false
	}
	latest, err := latestMigration(files)
	return err == nil && version == latest
}

// writes returns the writer. When it could not be opened the next call tries again.
func (e *sqliteEngine) writes(ctx context.Context) (*writer, error) {
	select {
	case e.opening <- struct{}{}:
		defer func() { <-e.opening }()
	case <-ctx.Done():
		return nil, engineError(opOpen, e.config.Path, ctx.Err())
	}
	if e.writer != nil {
		return e.writer, nil
	}
	w, err := e.openWriter(ctx)
	if err == nil {
		e.writer = w
	}
	return w, err
}

// openWriter opens the connection that writes, and brings the schema up to date.
func (e *sqliteEngine) openWriter(ctx context.Context) (*writer, error) {
	c := e.config
	writeDB, err := sqliteDB(c, url.Values{
		"_pragma": {"journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(1)", "cache_size(-8192)", "temp_store(memory)", fmt.Sprintf("wal_autocheckpoint(%d)", c.CheckpointPages+c.CheckpointPages/4), "journal_size_limit(67108864)"},
		"_txlock": {"immediate"},
	})
	if err != nil {
		return nil, err
	}
	writeDB.SetMaxOpenConns(1)
	if err := migrateSQLite(ctx, writeDB, c); err != nil {
		return nil, errors.Join(err, writeDB.Close())
	}
	conn, err := writeDB.Conn(ctx)
	if err != nil {
		return nil, errors.Join(engineError(opOpen, c.Path, err), writeDB.Close())
	}
	copyDB, err := sqliteDB(c, url.Values{"_pragma": {"synchronous(NORMAL)"}})
	if err != nil {
		return nil, errors.Join(err, conn.Close(), writeDB.Close())
	}
	ctx = context.WithoutCancel(ctx)
	copier := func(log *os.File) *checkpointer {
		return newCheckpointer(ctx, copyDB, log, c.CheckpointPages, c.Logger)
	}
	w, err := newWriter(ctx, writeDB, newSQLiteConn(conn), e.session, copier)
	if err != nil {
		return nil, errors.Join(engineError(opOpen, c.Path, err), conn.Close(), copyDB.Close(), writeDB.Close())
	}
	return w, nil
}

// sqliteDB returns connections to the file with the given parameters.
func sqliteDB(c Config, parameters url.Values) (*sql.DB, error) {
	parameters.Set("_busy_timeout", fmt.Sprint(c.Busy.Milliseconds()))
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindStorage, Op: opOpen, Subject: c.Path, Err: err}
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: parameters.Encode()}
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, engineError(opOpen, c.Path, err)
	}
	return sql.OpenDB(connector), nil
}

// createFile makes an empty file, which is an empty database, and its
// directory, readable by nobody else, unless they are there. A file that is there it does not
// open: to close it again would end all locks that SQLite holds on it in this process
// (https://www.sqlite.org/howtocorrupt.html, section 2.2), and others would take the
// write-ahead log for their own.
func createFile(path string) error {
	err := durable.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		var info fs.FileInfo
		info, err = os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			var f *os.File
			if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
				err = f.Close()
			}
		case err == nil && info.IsDir():
			err = &fs.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
		case err == nil:
			const read, write = 4, 2 // access(2)
			if refused := syscall.Access(path, read|write); refused != nil {
				err = &fs.PathError{Op: "open", Path: path, Err: refused}
			}
		}
	}
	if err == nil {
		return nil
	}
	e := &dossier.Error{Kind: dossier.KindStorage, Op: opOpen, Subject: path, Err: err,
		Hint: "Make the data directory and the files in it writable, or choose another."}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		e.Hint = "Free some space on the disk of the database."
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR) {
		e.Kind, e.Hint = dossier.KindInvalid, "Choose another data directory."
	}
	return e
}

// session returns a session on a connection.
func (e *sqliteEngine) session(run runner) *session {
	return &session{run: run, dialect: e.dialect, wake: e.wake, now: dossier.Instant(e.config.Now())}
}

func (e *sqliteEngine) update(ctx context.Context, f func(store.Tx) error, kind commit) error {
	w, err := e.writes(ctx)
	if err != nil {
		return err
	}
	return w.update(ctx, f, kind)
}

func (e *sqliteEngine) settle(ctx context.Context) error {
	w, err := e.writes(ctx)
	if err != nil {
		return err
	}
	if err := w.syncer.settle(ctx); err != nil {
		return engineError("writing database", "", err)
	}
	return nil
}

func (e *sqliteEngine) view(ctx context.Context, f func(store.Reader) error) (err error) {
	const op = "reading database"
	c, err := e.readers.take(ctx)
	if err != nil {
		return engineError(op, "", err)
	}
	defer func() { e.readers.give(c) }()
	if c == nil {
		conn, err := e.db.Conn(ctx)
		if err != nil {
			return engineError(op, "", err)
		}
		c = newSQLiteConn(conn)
	}
	// A BEGIN that is interrupted may have had its effect.
	if err := c.do(context.WithoutCancel(ctx), "BEGIN"); err != nil {
		c.discard()
		c = nil
		return engineError(op, "", err)
	}
	s := e.session(steady{c})
	defer func() {
		s.ended = true
		if c.do(context.WithoutCancel(ctx), "ROLLBACK") != nil {
			c.discard()
			c = nil
		}
	}()
	return f(reader{s})
}

func (e *sqliteEngine) close() error {
	var errs []error
	if e.writer != nil {
		errs = append(errs, e.writer.close())
	}
	for _, c := range e.readers.idle {
		errs = append(errs, c.close())
	}
	errs = append(errs, e.db.Close())
	if err := errors.Join(errs...); err != nil {
		return engineError("closing database", "", err)
	}
	return nil
}

// sqliteConn is a connection that keeps its statements prepared.
type sqliteConn struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

func newSQLiteConn(conn *sql.Conn) *sqliteConn {
	return &sqliteConn{conn: conn, prepared: map[string]*sql.Stmt{}}
}

// maxPrepared is how many statements a connection keeps.
const maxPrepared = 256

// stmt returns query prepared.
func (c *sqliteConn) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := c.prepared[query]; ok {
		return s, nil
	}
	if len(c.prepared) >= maxPrepared {
		for _, s := range c.prepared {
			if err := s.Close(); err != nil {
				return nil, err
			}
		}
		clear(c.prepared)
	}
	s, err := c.conn.PrepareContext(ctx, query)
	if err == nil {
		c.prepared[query] = s
	}
	return s, err
}

func (c *sqliteConn) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	s, err := c.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

func (c *sqliteConn) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	s, err := c.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// do runs a statement without arguments.
func (c *sqliteConn) do(ctx context.Context, query string) error {
	_, err := c.exec(ctx, query, nil)
	return err
}

// openLog opens the write-ahead log, which is there once the connection has read. SQLite
// says where: the database may be named by a link.
func (c *sqliteConn) openLog(ctx context.Context) (*os.File, error) {
	var path string
	if err := c.conn.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path); err != nil {
		return nil, err
	}
	return os.OpenFile(path+"-wal", os.O_RDWR, 0)
}

// checkpoint copies the whole write-ahead log into the database, syncs it and begins the
// log anew.
func (c *sqliteConn) checkpoint(ctx context.Context) error {
	var busy, frames, copied int
	if err := c.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &copied); err != nil {
		return err
	}
	if busy != 0 || copied != frames {
		return fmt.Errorf("%d of %d pages of the write-ahead log are in the database; somebody reads it", copied, frames)
	}
	return nil
}

func (c *sqliteConn) close() error {
	var errs []error
	for _, s := range c.prepared {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.conn.Close())...)
}

// discard closes the connection itself, whatever its state is. close would give
// it back, and the next one to take it might find a transaction begun.
func (c *sqliteConn) discard() {
	for _, s := range c.prepared {
		_ = s.Close() // while there is a connection
	}
	_ = c.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.conn.Close()
}

// stack is a set of connections of which the one that was used last is used
// next: its pages are in memory, and those that are not needed are never opened.
type stack struct {
	free chan struct{} // one for each connection that may be used

	mu   sync.Mutex
	idle []*sqliteConn
}

func newStack(n int) *stack {
	s := &stack{free: make(chan struct{}, n)}
	for range n {
		s.free <- struct{}{}
	}
	return s
}

// take waits for a connection. It is nil when there is none to use again.
func (s *stack) take(ctx context.Context) (*sqliteConn, error) {
	select {
	case <-s.free:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.idle)
	if n == 0 {
		return nil, nil
	}
	c := s.idle[n-1]
	s.idle = s.idle[:n-1]
	return c, nil
}

// give takes back a connection, or nil for one that was closed.
func (s *stack) give(c *sqliteConn) {
	if c != nil {
		s.mu.Lock()
		s.idle = append(s.idle, c)
		s.mu.Unlock()
	}
	s.free <- struct{}{}
}

// steady is a connection on which the end of a context interrupts no statement:
// to interrupt one that writes would roll back everybody's work, and to be ready
// to interrupt one that reads costs more than most of them take. A session asks
// for the context before each.
type steady struct{ *sqliteConn }

func (c steady) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	return c.sqliteConn.exec(context.WithoutCancel(ctx), query, args)
}

func (c steady) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	return c.sqliteConn.query(context.WithoutCancel(ctx), query, args)
}
