// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"dossier.dev/dossier"
)

//go:embed migrations/sqlite/*.sql migrations/postgres/*.sql
var migrations embed.FS

// schemaVersion is what goose has applied; goose makes the table.
const schemaVersion = `SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version`

// migrateSQLite brings the schema up to date. Another process that does so at
// the same time makes goose fail, not harm; so it looks again until c.Busy is
// over.
func migrateSQLite(ctx context.Context, db *sql.DB, c Config) error {
	deadline := time.Now().Add(c.Busy)
	for {
		err := migrate(ctx, db, c, c.Path, "sqlite", goose.DialectSQLite3, nil)
		if err == nil || dossier.KindOf(err) != dossier.KindInternal && dossier.KindOf(err) != dossier.KindUnavailable ||
			time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// migratePostgres brings the schema up to date, one process at a time.
func migratePostgres(ctx context.Context, db *sql.DB, c Config, subject string) error {
	return migrate(ctx, db, c, subject, "postgres", goose.DialectPostgres, advisoryLock{})
}

// advisoryLock makes other processes that migrate wait until this one is done,
// and no longer.
type advisoryLock struct{}

var _ lock.SessionLocker = advisoryLock{}

const (
	lockMigrations   = `SELECT pg_advisory_lock(hashtextextended('dossier/migrations', 0))`
	unlockMigrations = `SELECT pg_advisory_unlock(hashtextextended('dossier/migrations', 0))`
)

func (advisoryLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, lockMigrations)
	return err
}

func (advisoryLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, unlockMigrations)
	return err
}

// migrate brings the schema up to date by the migrations in a folder. It runs
// goose only when there is something to do.
func migrate(ctx context.Context, db *sql.DB, c Config, subject, folder string, d goose.Dialect, locker lock.SessionLocker) error {
	files, err := fs.Sub(migrations, path.Join("migrations", folder))
	if err != nil {
		return engineError(opOpen, subject, err)
	}
	latest, err := latestMigration(files)
	if err != nil {
		return engineError(opOpen, subject, err)
	}
	version, err := currentVersion(ctx, db)
	if err != nil {
		return engineError(opOpen, subject, err)
	}
	switch {
	case version == latest:
		return nil
	case version > latest:
		return &dossier.Error{Kind: dossier.KindStorage, Op: opOpen, Subject: subject,
			Hint: "Use a newer dossier, or another database.",
			Err:  fmt.Errorf("its schema has version %d, this program knows %d", version, latest)}
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithSlog(c.Logger)}
	if locker != nil {
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(d, db, files, options...)
	if err != nil {
		return engineError(opOpen, subject, err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return engineError(opOpen, subject, err)
	}
	c.Logger.InfoContext(ctx, "database schema updated", "from", version, "to", latest)
	return nil
}

// currentVersion returns the version of the schema, 0 when there is none yet.
func currentVersion(ctx context.Context, db *sql.DB) (version int64, err error) {
	err = db.QueryRowContext(ctx, schemaVersion).Scan(&version)
	if err != nil && missingTable(err) {
		return 0, nil
	}
	return version, err
}

// latestMigration returns the greatest number of a migration file,
// NUMBER_NAME.sql.
func latestMigration(files fs.FS) (latest int64, err error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		digits, _, _ := strings.Cut(name, "_")
		number, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("migration %s has no number: %w", name, err)
		}
		latest = max(latest, number)
	}
	if latest == 0 {
		return 0, errors.New("there are no migrations")
	}
	return latest, nil
}
