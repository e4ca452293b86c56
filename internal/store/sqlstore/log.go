// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"fmt"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	logHead = `SELECT size, key, checkpoint, mapped FROM log_head WHERE id = 1`

	logStrays = `
SELECT f.id FROM fact AS f
WHERE NOT EXISTS (SELECT 1 FROM log_entry AS e WHERE e.position = f.position)
  AND NOT EXISTS (SELECT 1 FROM log_pending AS p WHERE p.position = f.position)
ORDER BY f.position LIMIT $1`

	// lockLog makes other appenders wait on the row, on both engines.
	lockLog = `
INSERT INTO log_head (id, size, key, checkpoint, mapped) VALUES (1, 0, '', $1, 0)
ON CONFLICT (id) DO UPDATE SET size = log_head.size
RETURNING size, key, checkpoint, mapped`

	moveLog = `UPDATE log_head SET size = $1, key = $2, checkpoint = $3, mapped = $4 WHERE id = 1`

	moveCosigned = `UPDATE log_head SET checkpoint = $2 WHERE id = 1 AND size = $1`

	// lockWitnessed makes others wait on the row, on both engines.
	lockWitnessed = `
INSERT INTO log_witnessed (origin, size, root, checkpoint) VALUES ($1, 0, $2, $2)
ON CONFLICT (origin) DO UPDATE SET size = log_witnessed.size
RETURNING origin, size, root, checkpoint`

	moveWitnessed = `UPDATE log_witnessed SET size = $2, root = $3, checkpoint = $4 WHERE origin = $1`

	// addPending is run with each fact that is recorded.
	addPending = `INSERT INTO log_pending (position) VALUES ($1)`

	unlogged = `
SELECT 0, f.position, f.subject, f.seq, f.leaf FROM log_pending AS p JOIN fact AS f ON f.position = p.position
ORDER BY p.position LIMIT $1`

	logEntries = `
SELECT e.idx, f.position, f.subject, f.seq, f.leaf FROM log_entry AS e JOIN fact AS f ON f.position = e.position
WHERE e.idx >= $1 ORDER BY e.idx LIMIT $2`

	logFacts = `
SELECT e.idx, f.body_hash, f.body IS NULL, f.position, f.id, f.subject, f.seq, f.kind, f.source, f.valid_at, f.recorded_at, f.salt, f.prev, f.leaf, f.body
FROM log_entry AS e LEFT JOIN fact AS f ON f.position = e.position
WHERE e.idx >= $1 ORDER BY e.idx LIMIT $2`

	logIndexes = `
SELECT f.id, e.idx FROM fact AS f JOIN log_entry AS e ON e.position = f.position
WHERE f.id IN (SELECT key FROM json_each($1))`

	logTile = `SELECT hashes FROM log_tile WHERE level = $1 AND idx = $2`

	putTile = `
INSERT INTO log_tile (level, idx, hashes) VALUES ($1, $2, $3)
ON CONFLICT (level, idx) DO UPDATE SET hashes = excluded.hashes`

	logMap = `SELECT prefix, content FROM log_map WHERE prefix IN (SELECT key FROM json_each($1))`

	insertMap  = `INSERT INTO log_map (prefix, content) VALUES `
	replaceMap = ` ON CONFLICT (prefix) DO UPDATE SET content = excluded.content`

	// logHeadOf goes down the chain of a subject: those that are not in the log yet are few.
	logHeadOf = `
SELECT e.idx, f.position, f.subject, f.seq, f.leaf FROM fact AS f JOIN log_entry AS e ON e.position = f.position
WHERE f.subject = $1 ORDER BY f.seq DESC LIMIT 1`

	insertEntries = `INSERT INTO log_entry (idx, position) VALUES `

	// donePending takes away those that are in the log now.
	donePending = `
DELETE FROM log_pending WHERE position IN (SELECT position FROM log_entry WHERE idx >= $1)`
)

func scanLogHead(row scanner, h *store.LogHead) error {
	return row.Scan(&h.Size, &h.Key, &h.Checkpoint, &h.Mapped)
}

func scanLogEntry(row scanner, e *store.LogEntry) error {
	return row.Scan(&e.Index, &e.Position, &e.Subject, &e.Seq, &e.Leaf)
}

// LogHead implements [store.LogReader].
func (r reader) LogHead(ctx context.Context) (store.LogHead, error) {
	h, _, err := one(ctx, r.session, "reading log", scanLogHead, logHead)
	return h, err
}

// Unlogged implements [store.LogReader].
func (r reader) Unlogged(ctx context.Context, limit int) ([]store.LogEntry, error) {
	return all(ctx, r.session, "finding facts for the log", scanLogEntry, unlogged, max(0, limit))
}

// LogStrays implements [store.LogReader].
func (r reader) LogStrays(ctx context.Context, limit int) ([]dossier.Digest, error) {
	return all(ctx, r.session, "comparing facts with the log", scanOne[dossier.Digest], logStrays, max(0, limit))
}

// LogEntries implements [store.LogReader].
func (r reader) LogEntries(ctx context.Context, from int64, limit int) ([]store.LogEntry, error) {
	return all(ctx, r.session, "reading log", scanLogEntry, logEntries, from, max(0, limit))
}

// LogFacts implements [store.LogReader].
func (r reader) LogFacts(ctx context.Context, from int64, limit int) ([]store.LogFact, error) {
	return all(ctx, r.session, "reading log", scanLogFact, logFacts, from, max(0, limit))
}

// scanLogFact reads an entry whose fact may have been deleted: it is then empty.
func scanLogFact(row scanner, l *store.LogFact) error {
	var position, seq, validAt, recordedAt *int64
	var bodyHash, id, subject, kind, source, prev, leaf *string
	var body []byte
	if err := row.Scan(&l.Index, &bodyHash, &l.Erased, &position, &id, &subject, &seq, &kind, &source,
		&validAt, &recordedAt, &l.Fact.Salt, &prev, &leaf, &body); err != nil {
		return err
	}
	if position == nil {
		return nil
	}
	if len(body) > 0 {
		l.Fact.Body = body
	}
	l.BodyHash, l.Position = dossier.Digest(*bodyHash), *position
	l.Subject, l.Seq, l.Leaf = dossier.Digest(*subject), *seq, dossier.Digest(*leaf)
	f := &l.Fact
	f.ID, f.Subject, f.Seq, f.Prev, f.Leaf = dossier.Digest(*id), l.Subject, *seq, dossier.Digest(*prev), l.Leaf
	f.Kind, f.Source = dossier.FactKind(*kind), *source
	f.ValidAt, f.RecordedAt = instant(*validAt), instant(*recordedAt)
	return nil
}

// LogIndexes implements [store.LogReader].
func (r reader) LogIndexes(ctx context.Context, facts []dossier.Digest) (map[dossier.Digest]int64, error) {
	list, err := keys(facts)
	if err != nil {
		return nil, err
	}
	type place struct {
		id    dossier.Digest
		index int64
	}
	found, err := all(ctx, r.session, "finding facts in the log", func(row scanner, p *place) error {
		return row.Scan(&p.id, &p.index)
	}, logIndexes, list)
	places := make(map[dossier.Digest]int64, len(found))
	for _, p := range found {
		places[p.id] = p.index
	}
	return places, err
}

// LogTile implements [store.LogReader].
func (r reader) LogTile(ctx context.Context, at store.TileAt) ([]byte, error) {
	const op = "reading tile of the log"
	hashes, ok, err := one(ctx, r.session, op, scanOne[[]byte], logTile, at.Level, at.Index)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindNotFound, op, fmt.Sprintf("%d/%d", at.Level, at.Index), "the log does not have it yet")
	}
	return hashes, err
}

// LockLog implements [store.LogWriter].
func (t *tx) LockLog(ctx context.Context) (store.LogHead, error) {
	h, _, err := one(ctx, t.session, "locking log", scanLogHead, lockLog, []byte{})
	return h, err
}

// AppendLog implements [store.LogWriter].
func (t *tx) AppendLog(ctx context.Context, entries []store.LogEntry, tiles []store.LogTile, head store.LogHead) error {
	const op = "appending to log"
	rows := make([][]any, len(entries))
	for i, e := range entries {
		rows[i] = []any{e.Index, e.Position}
	}
	if err := t.insert(ctx, op, insertEntries, "", rows); err != nil {
		return err
	}
	if len(entries) > 0 {
		if _, err := t.exec(ctx, op, donePending, entries[0].Index); err != nil {
			return err
		}
	}
	for _, tile := range tiles {
		if _, err := t.exec(ctx, op, putTile, tile.Level, tile.Index, tile.Hashes); err != nil {
			return err
		}
	}
	_, err := t.exec(ctx, op, moveLog, head.Size, head.Key, head.Checkpoint, head.Mapped)
	return err
}

// LogMap implements [store.MapReader].
func (r reader) LogMap(ctx context.Context, prefixes []string) (map[string][]byte, error) {
	list, err := keys(prefixes)
	if err != nil {
		return nil, err
	}
	found, err := all(ctx, r.session, "reading the map of the log", func(row scanner, n *store.MapNode) error {
		return row.Scan(&n.Prefix, &n.Content)
	}, logMap, list)
	nodes := make(map[string][]byte, len(found))
	for _, n := range found {
		nodes[n.Prefix] = n.Content
	}
	return nodes, err
}

// LogHeads implements [store.MapReader].
func (r reader) LogHeads(ctx context.Context, subjects []dossier.Digest) ([]store.LogEntry, error) {
	var heads []store.LogEntry
	for _, d := range slices.Compact(slices.Sorted(slices.Values(subjects))) {
		e, ok, err := one(ctx, r.session, "reading the newest entry", scanLogEntry, logHeadOf, d)
		if err != nil {
			return nil, err
		}
		if ok {
			heads = append(heads, e)
		}
	}
	return heads, nil
}

// PutLogMap implements [store.LogWriter].
func (t *tx) PutLogMap(ctx context.Context, nodes []store.MapNode) error {
	rows := make([][]any, len(nodes))
	for i, n := range nodes {
		rows[i] = []any{n.Prefix, n.Content}
	}
	return t.insert(ctx, "writing the map of the log", insertMap, replaceMap, rows)
}

// PutCosigned implements [store.LogWriter].
func (t *tx) PutCosigned(ctx context.Context, size int64, checkpoint []byte) error {
	_, err := t.exec(ctx, "keeping cosignatures", moveCosigned, size, checkpoint)
	return err
}

// LockWitnessed implements [store.WitnessWriter].
func (t *tx) LockWitnessed(ctx context.Context, origin string) (store.Witnessed, error) {
	w, _, err := one(ctx, t.session, "locking what was witnessed", func(row scanner, w *store.Witnessed) error {
		return row.Scan(&w.Origin, &w.Size, &w.Root, &w.Checkpoint)
	}, lockWitnessed, origin, []byte{})
	return w, err
}

// PutWitnessed implements [store.WitnessWriter].
func (t *tx) PutWitnessed(ctx context.Context, w store.Witnessed) error {
	_, err := t.exec(ctx, "keeping what was witnessed", moveWitnessed, w.Origin, w.Size, w.Root, w.Checkpoint)
	return err
}
