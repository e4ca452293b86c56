// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const opMatched = "keeping findings"

const (
	stepGeneration = `UPDATE match_state SET generation = generation + 1 WHERE id = 1 AND generation = $1`

	lastFinding = `SELECT finding FROM match_state WHERE id = 1`

	setLastFinding = `UPDATE match_state SET finding = $1 WHERE id = 1`

	setPosition = `UPDATE match_state SET serial = $1, version = $2 WHERE id = 1`

	unmatchAll = `UPDATE package_match SET rules = 0, generation = $1 WHERE rules <> 0`

	setMatched = `
UPDATE package_match SET rules = $2, matched_at = CASE WHEN matched_at = 0 THEN $3 ELSE matched_at END,
    ecosystem = $4, reason = $5, unclear = $6, generation = $7 WHERE package = $1`

	setChanged = `UPDATE package_match SET generation = $2 WHERE package = $1 AND generation <> $2`

	insertPackageMatch     = `INSERT INTO package_match (package, rules, matched_at, ecosystem, reason, unclear) VALUES `
	insertPackageMatchTail = ` ON CONFLICT (package) DO NOTHING`

	insertPackageKeys     = `INSERT INTO package_key (key, package) VALUES `
	insertPackageKeysTail = ` ON CONFLICT (key, package) DO NOTHING`

	findingsOfPackage = `
SELECT id, vulnerability, since, body FROM finding WHERE package = $1 AND known_to = 9223372036854775807 ORDER BY vulnerability`

	findingsOfPackageNamed = `
SELECT id, vulnerability, since, body FROM finding WHERE known_to = 9223372036854775807 AND id IN (
    SELECT n.finding FROM finding_name AS n WHERE n.name IN (SELECT key FROM json_each($2)) AND n.package = $1)`

	endFinding = `UPDATE finding SET known_to = $2 WHERE id = $1`

	proveFinding = `UPDATE finding SET body = $2 WHERE id = $1`

	insertFindings = `
INSERT INTO finding (id, package, vulnerability, severity, state, since, known_from, known_to, body) VALUES `

	insertFindingNames     = `INSERT INTO finding_name (name, package, finding) VALUES `
	insertFindingNamesTail = ` ON CONFLICT (name, package, finding) DO NOTHING`

	endMatchFeed = `UPDATE match_feed SET known_to = $2 WHERE feed = $1 AND known_to = 9223372036854775807`

	touchMatchFeed = `UPDATE match_feed SET as_of = $2, source = $3 WHERE feed = $1 AND known_to = 9223372036854775807`

	insertMatchFeeds = `
INSERT INTO match_feed (feed, known_from, known_to, source, serial, as_of, changed_at, records) VALUES `
	insertMatchFeedsTail = ` ON CONFLICT (feed, known_from) DO UPDATE SET known_to = excluded.known_to, source = excluded.source,
    serial = excluded.serial, as_of = excluded.as_of, changed_at = excluded.changed_at, records = excluded.records`

	endMatchEcosystem = `
UPDATE match_ecosystem SET known_to = $3 WHERE ecosystem = $1 AND feed = $2 AND known_to = 9223372036854775807`

	insertMatchEcosystems     = `INSERT INTO match_ecosystem (ecosystem, feed, known_from, known_to) VALUES `
	insertMatchEcosystemsTail = ` ON CONFLICT (ecosystem, feed, known_from) DO UPDATE SET known_to = excluded.known_to`
)

// matchWrite is a step of findings under way.
type matchWrite struct {
	*tx
	now     int64
	made    int64 // the generation that is made
	next    int64 // the finding that was given a number last
	changes []store.FindingChange

	findings, names, keys [][]any
}

// PutMatched implements [store.FindingWriter].
func (t *tx) PutMatched(ctx context.Context, m store.Matched) ([]store.FindingChange, error) {
	n, err := t.exec(ctx, opMatched, stepGeneration, m.Generation)
	if err == nil && n == 0 {
		err = dossier.Errorf(dossier.KindConflict, opMatched, "", "somebody else did in between")
	}
	if err != nil {
		return nil, err
	}
	w := &matchWrite{tx: t, now: micros(t.now), made: m.Generation + 1}
	if w.next, _, err = one(ctx, t.session, opMatched, scanOne[int64], lastFinding); err != nil {
		return nil, err
	}
	if m.Restart {
		if _, err := t.exec(ctx, opMatched, unmatchAll, w.made); err != nil {
			return nil, err
		}
	}
	for _, p := range m.Packages {
		if err := w.put(ctx, p); err != nil {
			return nil, err
		}
	}
	if err := w.flush(ctx); err != nil {
		return nil, err
	}
	if m.State != nil {
		err = w.putState(ctx, *m.State)
	}
	return w.changes, err
}

// keptFinding is a finding that is known until now.
type keptFinding struct {
	id            int64
	vulnerability string
	since         int64
	body          []byte
}

func scanFinding(s scanner, f *keptFinding) error {
	return s.Scan(&f.id, &f.vulnerability, &f.since, &f.body)
}

// put replaces what is known of a package.
func (w *matchWrite) put(ctx context.Context, p store.PackageFindings) error {
	var kept []keptFinding
	var err error
	if p.Names == nil {
		if err := w.assess(ctx, p); err != nil {
			return err
		}
		kept, err = all(ctx, w.session, opMatched, scanFinding, findingsOfPackage, p.Package)
	} else {
		var list string
		if list, err = keys(lower(p.Names)); err == nil {
			kept, err = all(ctx, w.session, opMatched, scanFinding, findingsOfPackageNamed, p.Package, list)
		}
	}
	if err != nil {
		return err
	}
	was := map[string]keptFinding{}
	for _, k := range kept {
		was[k.vulnerability] = k
	}
	changed := false
	for _, f := range p.Findings {
		k, known := was[f.ID]
		delete(was, f.ID)
		isNew, err := w.keep(ctx, p.Package, f, k, known)
		if err != nil {
			return err
		}
		changed = changed || isNew
	}
	if changed = changed || len(was) > 0; changed && p.Names != nil {
		if _, err := w.exec(ctx, opMatched, setChanged, p.Package, w.made); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(was)) {
		if _, err := w.exec(ctx, opMatched, endFinding, was[id].id, w.now); err != nil {
			return err
		}
		w.changes = append(w.changes, store.FindingChange{Package: p.Package, Vulnerability: id, Gone: true})
	}
	return nil
}

// assess notes what can be known of a package.
func (w *matchWrite) assess(ctx context.Context, p store.PackageFindings) error {
	for _, k := range p.Keys {
		w.keys = append(w.keys, []any{keyText(k), p.Package})
	}
	_, err := w.exec(ctx, opMatched, setMatched, p.Package, p.Rules, w.now, p.Ecosystem, p.Reason, p.Unclear, w.made)
	return err
}

// keep keeps a finding, in the place of the one that there was, and reports
// whether it says something else.
func (w *matchWrite) keep(ctx context.Context, pkg int64, f dossier.Finding, was keptFinding, known bool) (bool, error) {
	f.Package = dossier.PackageAt{}
	body, err := json.Marshal(f)
	if err != nil {
		return false, &dossier.Error{Kind: dossier.KindInternal, Op: opMatched, Subject: f.ID, Err: err}
	}
	since := w.now
	if known {
		since = was.since
		same, err := saysTheSame(was.body, f)
		switch {
		case err != nil:
			return false, err
		case bytes.Equal(was.body, body):
			return false, nil
		case same:
			_, err := w.exec(ctx, opMatched, proveFinding, was.id, body)
			return false, err
		}
		if _, err := w.exec(ctx, opMatched, endFinding, was.id, w.now); err != nil {
			return false, err
		}
	} else {
		w.changes = append(w.changes, store.FindingChange{Package: pkg, Vulnerability: f.ID})
	}
	w.next++
	w.findings = append(w.findings, []any{w.next, pkg, f.ID, f.Severity, f.State, since, w.now, int64(current), body})
	names := lower(append([]string{f.ID}, f.Aliases...))
	slices.Sort(names)
	for _, n := range slices.Compact(names) {
		w.names = append(w.names, []any{n, pkg, w.next})
	}
	return true, nil
}

// saysTheSame reports whether a finding that is kept differs from another in no
// more than the bytes of the advisories that prove it.
func saysTheSame(kept []byte, f dossier.Finding) (bool, error) {
	var was dossier.Finding
	if err := json.Unmarshal(kept, &was); err != nil {
		return false, &dossier.Error{Kind: dossier.KindCorrupt, Op: opMatched, Subject: f.ID, Err: err}
	}
	without := func(f dossier.Finding) []byte {
		f.Proof = slices.Clone(f.Proof)
		for i := range f.Proof {
			f.Proof[i].SHA256 = ""
		}
		b, _ := json.Marshal(f) // it was marshalled before
		return b
	}
	return bytes.Equal(without(was), without(f)), nil
}

func lower(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.ToLower(s)
	}
	return out
}

// flush writes the rows that wait.
func (w *matchWrite) flush(ctx context.Context) error {
	if err := w.insert(ctx, opMatched, insertPackageKeys, insertPackageKeysTail, w.keys); err != nil {
		return err
	}
	if len(w.findings) == 0 {
		return nil
	}
	if err := w.insert(ctx, opMatched, insertFindings, "", w.findings); err != nil {
		return err
	}
	if err := w.insert(ctx, opMatched, insertFindingNames, insertFindingNamesTail, w.names); err != nil {
		return err
	}
	_, err := w.exec(ctx, opMatched, setLastFinding, w.next)
	return err
}

// putState notes with what packages are compared from now on.
func (w *matchWrite) putState(ctx context.Context, s store.MatchState) error {
	was, err := w.MatchState(ctx, time.Time{})
	if err != nil {
		return err
	}
	if _, err := w.exec(ctx, opMatched, setPosition, s.Position.Serial, s.Position.Version); err != nil {
		return err
	}
	if err := w.putFeeds(ctx, was.Feeds, s.Feeds); err != nil {
		return err
	}
	return w.putCovers(ctx, was.Covers, s.Covers)
}

// putFeeds keeps how the feeds are now.
func (w *matchWrite) putFeeds(ctx context.Context, was, now []store.Feed) error {
	kept := map[string]store.Feed{}
	for _, f := range was {
		kept[f.Ecosystem] = f
	}
	var rows [][]any
	for _, f := range now {
		k, ok := kept[f.Ecosystem]
		delete(kept, f.Ecosystem)
		if ok && k.Serial == f.Serial && k.ChangedAt.Equal(f.ChangedAt) {
			if !k.AsOf.Equal(f.AsOf) || k.Source != f.Source {
				if _, err := w.exec(ctx, opMatched, touchMatchFeed, f.Ecosystem, micros(f.AsOf), f.Source); err != nil {
					return err
				}
			}
			continue
		}
		if _, err := w.exec(ctx, opMatched, endMatchFeed, f.Ecosystem, w.now); err != nil {
			return err
		}
		rows = append(rows, []any{f.Ecosystem, w.now, int64(current), f.Source, f.Serial, micros(f.AsOf), micros(f.ChangedAt), f.Records})
	}
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		if _, err := w.exec(ctx, opMatched, endMatchFeed, name, w.now); err != nil {
			return err
		}
	}
	return w.insert(ctx, opMatched, insertMatchFeeds, insertMatchFeedsTail, rows)
}

// putCovers keeps what the feeds have advisories for now.
func (w *matchWrite) putCovers(ctx context.Context, was, now map[string][]string) error {
	var rows [][]any
	for _, ecosystem := range slices.Sorted(maps.Keys(now)) {
		for _, feed := range now[ecosystem] {
			if !slices.Contains(was[ecosystem], feed) {
				rows = append(rows, []any{ecosystem, feed, w.now, int64(current)})
			}
		}
	}
	for _, ecosystem := range slices.Sorted(maps.Keys(was)) {
		for _, feed := range was[ecosystem] {
			if slices.Contains(now[ecosystem], feed) {
				continue
			}
			if _, err := w.exec(ctx, opMatched, endMatchEcosystem, ecosystem, feed, w.now); err != nil {
				return err
			}
		}
	}
	return w.insert(ctx, opMatched, insertMatchEcosystems, insertMatchEcosystemsTail, rows)
}
