// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	// runsWithPlaces tells which of the runs have an open place.
	runsWithPlaces = `
SELECT DISTINCT run FROM place
WHERE to_at IS NULL AND run IN (SELECT key FROM json_each($1))`

	runsOpen = `
SELECT run FROM run
WHERE to_at IS NULL AND run IN (SELECT key FROM json_each($1))`

	insertRuns = `INSERT INTO run (run, from_at, body) VALUES `

	// endRuns never ends an interval before it began.
	endRuns = `
UPDATE run SET to_at = CASE WHEN from_at > $2 THEN from_at ELSE $2 END
WHERE to_at IS NULL AND run IN (SELECT key FROM json_each($1))`
)

// runKey returns what place rows and run rows call a run, and the run as JSON.
func runKey(r dossier.Run) (key dossier.Digest, body string, err error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", "", fmt.Errorf("writing run %s: %w", r.Source(), err)
	}
	return dossier.FromBytes(text), string(text), nil
}

// SyncRuns implements [store.PlaceWriter]. Changes come in the order of runs,
// one for each.
func (t *tx) SyncRuns(ctx context.Context, runs []dossier.Run, at time.Time) ([]store.RunChange, error) {
	const op = "comparing runs with places"
	var names []dossier.Digest
	byName := make(map[dossier.Digest]dossier.Run, len(runs))
	bodies := make(map[dossier.Digest]string, len(runs))
	for _, r := range runs {
		name, body, err := runKey(r)
		if err != nil {
			return nil, err
		}
		if _, ok := byName[name]; ok {
			continue
		}
		if err := t.lockCluster(ctx, r.Cluster); err != nil {
			return nil, err
		}
		names, byName[name], bodies[name] = append(names, name), r, body
	}
	list, err := keys(names)
	if err != nil {
		return nil, err
	}
	placed, err := t.runSet(ctx, runsWithPlaces, list)
	if err != nil {
		return nil, err
	}
	open, err := t.runSet(ctx, runsOpen, list)
	if err != nil {
		return nil, err
	}
	var changes []store.RunChange
	var begun [][]any
	var ended []dossier.Digest
	for _, name := range names {
		switch {
		case placed[name] && !open[name]:
			begun = append(begun, []any{name, micros(at), bodies[name]})
		case !placed[name] && open[name]:
			ended = append(ended, name)
		default:
			continue
		}
		changes = append(changes, store.RunChange{Run: byName[name], Runs: placed[name]})
	}
	if err := t.insert(ctx, op, insertRuns, "", begun); err != nil {
		return nil, err
	}
	if len(ended) > 0 {
		if list, err = keys(ended); err != nil {
			return nil, err
		}
		if _, err := t.exec(ctx, op, endRuns, list, micros(at)); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// runSet returns the runs that a query gives.
func (t *tx) runSet(ctx context.Context, query, list string) (map[dossier.Digest]bool, error) {
	names, err := all(ctx, t.session, "reading runs", scanOne[dossier.Digest], query, list)
	if err != nil {
		return nil, err
	}
	set := make(map[dossier.Digest]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set, nil
}
