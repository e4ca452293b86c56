// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// The tables of the audit log are named alike in the file of a day and in
// PostgreSQL, where each day is a partition.
const (
	appendBlock = `
INSERT INTO audit_block (id, from_at, to_at, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`

	appendKeys = `
INSERT INTO audit_key (key, to_at, block) SELECT CAST(k.key AS BIGINT), $2, $3 FROM json_each($1) AS k WHERE true
ON CONFLICT DO NOTHING`

	// blocksFound follows the first key, which fewest blocks should have, and
	// looks for the others at each.
	blocksFound = `
SELECT b.id, b.from_at, b.to_at, b.body
FROM (
    SELECT to_at, block FROM audit_key AS first
    WHERE key = $1 AND to_at >= $2 AND (to_at, block) < ($3, $4)
      AND NOT EXISTS (
        SELECT 1 FROM json_each($5) AS w WHERE NOT EXISTS (
            SELECT 1 FROM audit_key AS other
            WHERE other.key = CAST(w.key AS BIGINT) AND other.to_at = first.to_at AND other.block = first.block))
    ORDER BY to_at DESC, block DESC LIMIT $6
) AS latest JOIN audit_block AS b ON b.to_at = latest.to_at AND b.id = latest.block
ORDER BY b.to_at DESC, b.id DESC`
)

const (
	opAppend = "writing the audit"
	opBlocks = "reading the audit"
	opDays   = "listing the days of the audit"
	opDrop   = "dropping a day of the audit"
)

const day = 24 * time.Hour

// dayOf returns the beginning of a time's day.
func dayOf(t time.Time) time.Time { return t.UTC().Truncate(day) }

// AuditConfig says where an audit log is. Either Dir or URL must be set.
type AuditConfig struct {
	// Dir is a directory with a SQLite file for each day, AuditFile. It is made,
	// like the files, when something is written.
	Dir string
	// URL is a PostgreSQL database that Open has brought up to date.
	URL string
	// Busy is how long to wait for another process that writes the same
	// SQLite file. 0: 10 s.
	Busy time.Duration
}

// OpenAudit returns an audit log. It does not connect.
//
// KindInvalid: neither or both of Dir and URL are set, or URL is malformed.
func OpenAudit(c AuditConfig) (store.AuditLog, error) {
	c.Busy = cmp.Or(c.Busy, defaultBusy)
	switch {
	case c.Dir != "" && c.URL != "":
		return nil, dossier.Errorf(dossier.KindInvalid, opOpen, "", "both a directory and a server are given")
	case c.Dir != "":
		return &auditFiles{dir: c.Dir, busy: c.Busy}, nil
	case c.URL != "":
		return openAuditTables(c.URL)
	}
	return nil, dossier.Errorf(dossier.KindInvalid, opOpen, "", "neither a directory nor a server is given")
}

// byDay splits blocks by the day in which they end.
func byDay(blocks []store.AuditBlock) map[time.Time][]store.AuditBlock {
	days := map[time.Time][]store.AuditBlock{}
	for _, b := range blocks {
		d := dayOf(b.To)
		days[d] = append(days[d], b)
	}
	return days
}

// appendBlocks writes blocks within a transaction.
func appendBlocks(ctx context.Context, s *session, blocks []store.AuditBlock) error {
	for _, b := range blocks {
		if _, err := s.exec(ctx, opAppend, appendBlock, b.ID, micros(b.From), micros(b.To), b.Body); err != nil {
			return err
		}
		if _, err := s.exec(ctx, opAppend, appendKeys, numbers(b.Keys), micros(b.To), b.ID); err != nil {
			return err
		}
	}
	return nil
}

// findBlocks runs a search on all that a session sees.
func findBlocks(ctx context.Context, s *session, q store.AuditSearch) ([]store.AuditBlock, error) {
	return all(ctx, s, opBlocks, scanBlock, blocksFound, searchArgs(q)...)
}

func scanBlock(row scanner, b *store.AuditBlock) error {
	var from, to int64
	err := row.Scan(&b.ID, &from, &to, &b.Body)
	b.From, b.To = instant(from), instant(to)
	return err
}

// checkSearch refuses a search that would find everything.
func checkSearch(q store.AuditSearch) error {
	if len(q.Keys) == 0 {
		return dossier.Errorf(dossier.KindInvalid, opBlocks, "", "there is no key")
	}
	return nil
}

// newestFirst returns the days that a search may find something in.
func newestFirst(days []time.Time, q store.AuditSearch) []time.Time {
	days = slices.DeleteFunc(days, func(d time.Time) bool {
		return !q.Since.IsZero() && d.Before(dayOf(q.Since)) || !q.Before.At.IsZero() && d.After(q.Before.At)
	})
	slices.Reverse(days)
	return days
}
