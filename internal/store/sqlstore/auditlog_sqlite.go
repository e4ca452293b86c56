// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// auditSchema is the schema of the file of a day. Its version is the file's user_version.
const (
	auditSchema = `
CREATE TABLE audit_block (
    id      INTEGER PRIMARY KEY,
    from_at INTEGER NOT NULL,
    to_at   INTEGER NOT NULL,
    body    BLOB NOT NULL
) STRICT;
CREATE TABLE audit_key (
    key   INTEGER NOT NULL,
    to_at INTEGER NOT NULL,
    block INTEGER NOT NULL,
    PRIMARY KEY (key, to_at, block)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1`

	auditVersion = 1

	readAuditVersion = `SELECT user_version FROM pragma_user_version`
)

// The name of a day's file is in between.
const (
	auditPrefix = "audit-"
	auditSuffix = ".db"
)

// AuditFile is the name of the file that holds the audit of a day.
func AuditFile(day time.Time) string { return auditPrefix + day.Format(time.DateOnly) + auditSuffix }

// auditFiles is an audit log of a file for each day. It implements [store.AuditLog].
type auditFiles struct {
	dir  string
	busy time.Duration

	mu   sync.Mutex // held while writing
	day  time.Time  // of the file that is open for writing
	file *auditFile // nil: none is
}

// auditFile is one file, with one connection.
type auditFile struct {
	db   *sql.DB
	conn *sqliteConn
	info os.FileInfo // when it was opened
}

// isAt reports whether the file is still the one at a path: who removes a file by
// hand must not make what is written from then on go with it.
func (f *auditFile) isAt(path string) bool {
	info, err := os.Stat(path)
	return err == nil && os.SameFile(f.info, info)
}

func (f *auditFile) session() *session { return &session{run: f.conn} }

func (f *auditFile) close() error {
	if err := errors.Join(f.conn.close(), f.db.Close()); err != nil {
		return engineError("closing the audit", "", err)
	}
	return nil
}

// open opens the file of a day, which must be there.
func (l *auditFiles) open(ctx context.Context, path string, parameters url.Values) (*auditFile, error) {
	parameters.Set("mode", "rw")
	db, err := sqliteDB(Config{Path: path, Busy: l.busy}, parameters)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(auditError(opOpen, path, err), db.Close())
	}
	f := &auditFile{db: db, conn: newSQLiteConn(conn)}
	if f.info, err = os.Stat(path); err != nil {
		return nil, errors.Join(auditError(opOpen, path, err), f.close())
	}
	version, _, err := one(ctx, f.session(), opOpen, scanOne[int64], readAuditVersion)
	if err == nil && version > auditVersion {
		err = &dossier.Error{Kind: dossier.KindStorage, Op: opOpen, Subject: path, Hint: "Use a newer dossier.",
			Err: fmt.Errorf("its schema has version %d, this program knows %d", version, auditVersion)}
	}
	if err != nil {
		return nil, errors.Join(auditError(opOpen, path, err), f.close())
	}
	return f, nil
}

// auditError names the file in an error of the engine, and says what to do about
// one that is damaged.
func auditError(op, path string, err error) error {
	if e, ok := errors.AsType[*dossier.Error](err); ok && e.Subject != "" {
		return err
	}
	e := engineError(op, path, err).(*dossier.Error)
	if known, ok := errors.AsType[*dossier.Error](err); ok {
		e.Kind, e.Hint = known.Kind, known.Hint
	}
	if e.Kind == dossier.KindCorrupt {
		e.Hint = "Move the file away: it holds the pulls and refusals of one day and nothing else."
	}
	return e
}

// forWriting returns the file of a day, open for writing, and makes it if need be.
func (l *auditFiles) forWriting(ctx context.Context, day time.Time) (*auditFile, error) {
	path := filepath.Join(l.dir, AuditFile(day))
	if l.file != nil && l.day.Equal(day) && l.file.isAt(path) {
		return l.file, nil
	}
	if err := l.closeFile(); err != nil {
		return nil, err
	}
	if err := createFile(path); err != nil {
		return nil, err
	}
	f, err := l.open(ctx, path, url.Values{
		"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "journal_size_limit(16777216)"}, "_txlock": {"immediate"},
	})
	if err != nil {
		return nil, err
	}
	if err := f.makeSchema(ctx); err != nil {
		return nil, errors.Join(auditError(opOpen, path, err), f.close())
	}
	l.day, l.file = day, f
	return f, nil
}

// makeSchema makes the tables of a new file.
func (f *auditFile) makeSchema(ctx context.Context) error {
	return f.within(ctx, func(s *session) error {
		version, _, err := one(ctx, s, opOpen, scanOne[int64], readAuditVersion)
		if err != nil || version > 0 {
			return err
		}
		for statement := range strings.SplitSeq(auditSchema, ";") {
			if _, err := s.exec(ctx, opOpen, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// within runs f in a transaction.
func (f *auditFile) within(ctx context.Context, do func(*session) error) error {
	if err := f.conn.do(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	// The end of ctx must not leave a transaction open.
	ctx = context.WithoutCancel(ctx)
	if err := do(f.session()); err != nil {
		_ = f.conn.do(ctx, "ROLLBACK") // SQLite may have done so itself
		return err
	}
	if err := f.conn.do(ctx, "COMMIT"); err != nil {
		_ = f.conn.do(ctx, "ROLLBACK")
		return err
	}
	return nil
}

// closeFile closes the file that is open for writing.
func (l *auditFiles) closeFile() error {
	if l.file == nil {
		return nil
	}
	err := l.file.close()
	l.file = nil
	return err
}

// Append implements [store.AuditLog].
func (l *auditFiles) Append(ctx context.Context, blocks []store.AuditBlock) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	days := byDay(blocks)
	for _, d := range slices.SortedFunc(maps.Keys(days), time.Time.Compare) {
		f, err := l.forWriting(ctx, d)
		if err != nil {
			return err
		}
		err = f.within(ctx, func(s *session) error { return appendBlocks(context.WithoutCancel(ctx), s, days[d]) })
		if err != nil {
			path := filepath.Join(l.dir, AuditFile(d))
			return errors.Join(auditError(opAppend, path, err), l.closeFile()) // it may have been moved away
		}
	}
	return nil
}

// Blocks implements [store.AuditLog].
func (l *auditFiles) Blocks(ctx context.Context, q store.AuditSearch) ([]store.AuditBlock, error) {
	if err := checkSearch(q); err != nil {
		return nil, err
	}
	days, err := l.Days(ctx)
	if err != nil {
		return nil, err
	}
	var list []store.AuditBlock
	for _, d := range newestFirst(days, q) {
		rest := q
		if rest.Limit = q.Limit - len(list); rest.Limit <= 0 {
			break
		}
		found, err := l.blocksOf(ctx, d, rest)
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

// blocksOf searches one day. One that was dropped meanwhile holds nothing.
func (l *auditFiles) blocksOf(ctx context.Context, d time.Time, q store.AuditSearch) ([]store.AuditBlock, error) {
	path := filepath.Join(l.dir, AuditFile(d))
	f, err := l.open(ctx, path, url.Values{"_pragma": {"query_only(1)"}})
	if err != nil {
		if _, missing := os.Stat(path); errors.Is(missing, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	found, err := findBlocks(ctx, f.session(), q)
	if missingTable(err) {
		found, err = nil, nil // it is being made
	}
	if err != nil {
		err = auditError(opBlocks, path, err)
	}
	return found, errors.Join(err, f.close())
}

// Days implements [store.AuditLog].
func (l *auditFiles) Days(context.Context) ([]time.Time, error) {
	entries, err := os.ReadDir(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindStorage, Op: opDays, Subject: l.dir, Err: err, Hint: "Check the data directory."}
	}
	var days []time.Time
	for _, e := range entries { // by name, and so by day
		name, isFile := strings.CutSuffix(e.Name(), auditSuffix)
		name, isAudit := strings.CutPrefix(name, auditPrefix)
		if d, err := time.Parse(time.DateOnly, name); err == nil && isFile && isAudit {
			days = append(days, d)
		}
	}
	return days, nil
}

// Drop implements [store.AuditLog].
func (l *auditFiles) Drop(_ context.Context, d time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil && l.day.Equal(d) {
		if err := l.closeFile(); err != nil {
			return err
		}
	}
	path := filepath.Join(l.dir, AuditFile(d))
	// What belongs to the file goes before it: it must not be taken for part of another.
	for _, name := range []string{path + "-wal", path + "-shm", path} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &dossier.Error{Kind: dossier.KindStorage, Op: opDrop, Subject: name, Err: err, Hint: "Make the data directory writable."}
		}
	}
	return nil
}

// Close implements [store.AuditLog].
func (l *auditFiles) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closeFile()
}
