// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"dossier.dev/dossier"
)

// opOpen is the Op of errors of Open.
const opOpen = "opening database"

// engineError makes a dossier.Error of what a driver returned.
func engineError(op, subject string, err error) error {
	kind, hint := classify(err)
	return &dossier.Error{Kind: kind, Op: op, Subject: subject, Hint: hint, Err: err}
}

// classify finds the kind of a driver's error, and what to do about it.
func classify(err error) (dossier.Kind, string) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return dossier.KindUnavailable, ""
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return classifySQLite(e.Code() & 0xff)
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classifyPostgres(e.Code)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return dossier.KindUnavailable, "Check that the database server runs and that its URL is right."
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok { // an fsync of our own
		return classifySQLite(sqlite3.SQLITE_IOERR)
	}
	_, broken := errors.AsType[net.Error](err)
	// A connection that the server has closed says so in these ways too.
	if broken || errors.Is(err, io.ErrUnexpectedEOF) || pgconn.SafeToRetry(err) {
		return dossier.KindUnavailable, "Check that the database server can be reached."
	}
	return dossier.KindInternal, ""
}

// classifySQLite is classify for a primary result code.
func classifySQLite(code int) (dossier.Kind, string) {
	switch code {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return dossier.KindUnavailable, "Another process holds the database; end it, or try again later."
	case sqlite3.SQLITE_FULL:
		return dossier.KindStorage, "Free some space on the disk of the database."
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return dossier.KindStorage, "Make the data directory and the files in it writable, or choose another."
	case sqlite3.SQLITE_IOERR:
		return dossier.KindStorage, "Check the disk of the database: it may be full or failing."
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return dossier.KindCorrupt, "Restore the database from a copy, or choose another data directory."
	case sqlite3.SQLITE_TOOBIG:
		return dossier.KindLimit, ""
	}
	return dossier.KindInternal, ""
}

// PostgreSQL's error codes (its manual, appendix A).
const (
	pgSerialization   = "40001"
	pgDeadlock        = "40P01"
	pgUniqueViolation = "23505"
	pgForeignKey      = "23503"
	pgReadOnly        = "25006"
)

// classifyPostgres is classify for an error code, of which the first two
// characters are the class.
func classifyPostgres(code string) (dossier.Kind, string) {
	switch code {
	case pgSerialization, pgDeadlock, pgUniqueViolation, pgForeignKey:
		return dossier.KindUnavailable, "Others write the same records; try again later."
	case pgReadOnly:
		return dossier.KindStorage, "Give the URL of the primary server, not of a standby."
	case "42501":
		return dossier.KindStorage, "Grant the database user the rights to create and change tables."
	case "55P03":
		return dossier.KindUnavailable, "Somebody reads what is to be removed; try again later."
	case "3D000":
		return dossier.KindUnavailable, "Create the database that the URL names."
	}
	switch code[:min(2, len(code))] {
	case "08", "57":
		return dossier.KindUnavailable, "Check that the database server runs."
	case "28":
		return dossier.KindDenied, "Check user and password in the database URL."
	case "53":
		if code == "53300" {
			return dossier.KindUnavailable, "Allow the database server more connections, or use fewer."
		}
		return dossier.KindStorage, "Free some space or memory on the database server."
	case "58":
		return dossier.KindStorage, "Check the disk of the database server."
	case "XX":
		return dossier.KindCorrupt, "Restore the database from a copy."
	}
	return dossier.KindInternal, ""
}

// conflict reports whether a PostgreSQL transaction failed because of another
// one and will do better when it is run again.
func conflict(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == pgSerialization || e.Code == pgDeadlock || e.Code == pgUniqueViolation || e.Code == pgForeignKey)
}

// missingTable reports whether a statement failed because its table is not there.
func missingTable(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() == sqlite3.SQLITE_ERROR && strings.Contains(e.Error(), "no such table")
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "42P01"
}
