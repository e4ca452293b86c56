// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"math"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	indexEvent = `
INSERT INTO event (key, at, fact)
SELECT CAST(k.key AS BIGINT), $2, f.position FROM fact AS f, json_each($3) AS k WHERE f.id = $1
ON CONFLICT (key, at, fact) DO NOTHING`

	// eventsFound follows the first key, which fewest events should have, and
	// looks for the others at each.
	eventsFound = `
SELECT latest.at, ` + factColumns + `
FROM (
    SELECT at, fact FROM event AS first
    WHERE key = $1 AND at >= $2 AND (at, fact) < ($3, $4)
      AND NOT EXISTS (
        SELECT 1 FROM json_each($5) AS w WHERE NOT EXISTS (
            SELECT 1 FROM event AS other
            WHERE other.key = CAST(w.key AS BIGINT) AND other.at = first.at AND other.fact = first.fact))
    ORDER BY at DESC, fact DESC LIMIT $6
) AS latest JOIN fact ON position = latest.fact
ORDER BY latest.at DESC, latest.fact DESC`
)

// IndexEvent implements [store.EventWriter].
func (t *tx) IndexEvent(ctx context.Context, id dossier.Digest, at time.Time, keys []int64) error {
	const op = "indexing event"
	n, err := t.exec(ctx, op, indexEvent, id, micros(at), numbers(keys))
	if err != nil || n > 0 || len(keys) == 0 {
		return err
	}
	_, err = t.Fact(ctx, id) // it was indexed before, or is not there
	return err
}

// Events implements [store.EventReader].
func (r reader) Events(ctx context.Context, q store.AuditSearch) ([]store.Event, error) {
	const op = "searching events"
	if len(q.Keys) == 0 {
		return nil, dossier.Errorf(dossier.KindInvalid, op, "", "there is no key")
	}
	return all(ctx, r.session, op, scanEvent, eventsFound, searchArgs(q)...)
}

func scanEvent(row scanner, e *store.Event) error {
	var at int64
	err := scanFact(afterColumn{row, &at}, &e.Positioned)
	e.At = instant(at)
	return err
}

// afterColumn reads one column before those that it is asked for.
type afterColumn struct {
	scanner
	first *int64
}

// Scan implements scanner.
func (a afterColumn) Scan(dest ...any) error {
	return a.scanner.Scan(append([]any{a.first}, dest...)...)
}

// searchArgs are the arguments of a search: the first key, the times, the other keys, the limit.
func searchArgs(q store.AuditSearch) []any {
	since, before := int64(math.MinInt64), bound(q.Before.At)
	if !q.Since.IsZero() {
		since = micros(q.Since)
	}
	return []any{q.Keys[0], since, before, q.Before.ID, numbers(q.Keys[1:]), max(0, q.Limit)}
}
