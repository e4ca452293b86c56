// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"dossier.dev/dossier/internal/store"
)

const (
	// lockPartitions lets one transaction at a time make or drop partitions.
	lockPartitions = `SELECT pg_advisory_xact_lock(hashtextextended('dossier/audit', 0))`

	// makePartition makes one table of a day. What stands in it are a table of two, and numbers.
	makePartition = `CREATE TABLE IF NOT EXISTS %[1]s_%[2]s PARTITION OF %[1]s FOR VALUES FROM (%[3]d) TO (%[4]d)`

	dropPartition = `DROP TABLE IF EXISTS %[1]s_%[2]s`

	// patience is how long to wait for those who read a table that is to go.
	patience = `SET LOCAL lock_timeout = '2s'`

	listPartitions = `
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'audit_block'::regclass ORDER BY c.relname`

	auditTable      = "audit_block"
	auditKeyTable   = "audit_key"
	partitionLayout = "20060102"
)

// auditConnections is how many connections an audit log has. They are its own, so that it neither
// waits for others nor makes them wait.
const auditConnections = 4

// auditTables is an audit log in PostgreSQL. It implements [store.AuditLog].
type auditTables struct {
	db *sql.DB

	mu   sync.Mutex
	made map[time.Time]bool // days whose partitions are known to be there
}

func openAuditTables(databaseURL string) (*auditTables, error) {
	db, _, err := postgresDB(databaseURL)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(auditConnections)
	db.SetMaxIdleConns(auditConnections)
	return &auditTables{db: db, made: map[time.Time]bool{}}, nil
}

// within runs f in a transaction.
func (l *auditTables) within(ctx context.Context, op string, options *sql.TxOptions, f func(*session) error) error {
	tx, err := l.db.BeginTx(ctx, options)
	if err != nil {
		return engineError(op, "", err)
	}
	defer tx.Rollback() // does nothing after a commit
	if err := f(&session{run: pgRunner{tx}}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return engineError(op, "", err)
	}
	return nil
}

// Append implements [store.AuditLog].
func (l *auditTables) Append(ctx context.Context, blocks []store.AuditBlock) error {
	days := byDay(blocks)
	for again := false; ; again = true {
		for _, d := range slices.SortedFunc(maps.Keys(days), time.Time.Compare) {
			if err := l.makeDay(ctx, d); err != nil {
				return err
			}
		}
		err := l.within(ctx, opAppend, nil, func(s *session) error { return appendBlocks(ctx, s, blocks) })
		if again || !noPartition(err) {
			return err
		}
		l.mu.Lock()
		clear(l.made) // another process has dropped one
		l.mu.Unlock()
	}
}

// noPartition reports whether a row found no partition.
func noPartition(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "23514"
}

// makeDay makes the partitions of a day unless they are there.
func (l *auditTables) makeDay(ctx context.Context, d time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made[d] {
		return nil
	}
	err := l.within(ctx, opAppend, nil, func(s *session) error {
		if _, err := s.exec(ctx, opAppend, lockPartitions); err != nil {
			return err
		}
		for _, table := range []string{auditTable, auditKeyTable} {
			statement := fmt.Sprintf(makePartition, table, d.Format(partitionLayout), micros(d), micros(d.Add(day)))
			if _, err := s.exec(ctx, opAppend, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		l.made[d] = true
	}
	return err
}

// Blocks implements [store.AuditLog].
func (l *auditTables) Blocks(ctx context.Context, q store.AuditSearch) (list []store.AuditBlock, err error) {
	if err := checkSearch(q); err != nil {
		return nil, err
	}
	err = l.within(ctx, opBlocks, &sql.TxOptions{ReadOnly: true}, func(s *session) error {
		list, err = findBlocks(ctx, s, q)
		return err
	})
	return list, err
}

// Days implements [store.AuditLog].
func (l *auditTables) Days(ctx context.Context) ([]time.Time, error) {
	var names []string
	err := l.within(ctx, opDays, &sql.TxOptions{ReadOnly: true}, func(s *session) (err error) {
		names, err = all(ctx, s, opDays, scanOne[string], listPartitions)
		return err
	})
	var days []time.Time
	for _, name := range names {
		if d, err := time.Parse(partitionLayout, strings.TrimPrefix(name, auditTable+"_")); err == nil {
			days = append(days, d)
		}
	}
	return days, err
}

// Drop implements [store.AuditLog]. KindUnavailable: somebody reads it, and has for long.
func (l *auditTables) Drop(ctx context.Context, d time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.made, d)
	return l.within(ctx, opDrop, nil, func(s *session) error {
		for _, statement := range []string{
			lockPartitions, patience,
			fmt.Sprintf(dropPartition, auditKeyTable, d.Format(partitionLayout)), fmt.Sprintf(dropPartition, auditTable, d.Format(partitionLayout)),
		} {
			if _, err := s.exec(ctx, opDrop, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close implements [store.AuditLog].
func (l *auditTables) Close() error {
	if err := l.db.Close(); err != nil {
		return engineError("closing the audit", "", err)
	}
	return nil
}

var _ store.AuditLog = (*auditTables)(nil)
