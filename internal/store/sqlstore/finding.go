// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

const (
	matchState = `SELECT generation, serial, version FROM match_state WHERE id = 1`

	matchFeeds = `
SELECT feed, source, serial, as_of, changed_at, records, known_from FROM match_feed
WHERE known_to > $1 AND known_from <= $1`

	matchEcosystems = `
SELECT ecosystem, feed FROM match_ecosystem WHERE known_to > $1 AND known_from <= $1`

	feedEcosystems = `SELECT feed, ecosystem FROM feed_ecosystem ORDER BY feed, ecosystem`

	unmatchedPackages = `
SELECT p.id, p.body FROM package_match AS m JOIN package AS p ON p.id = m.package
WHERE m.rules < $1 ORDER BY m.rules, m.package LIMIT $2`

	packagesUnder = `
SELECT p.id, p.body, m.unclear FROM package AS p JOIN package_match AS m ON m.package = p.id
WHERE p.id IN (SELECT k.package FROM package_key AS k WHERE k.key IN (SELECT key FROM json_each($1))) ORDER BY p.id`

	findingsNamed = `
SELECT f.package, p.body, f.since, f.body FROM finding_name AS n
JOIN finding AS f ON f.id = n.finding JOIN package AS p ON p.id = f.package
WHERE n.name = $1 AND f.known_to > $2 AND f.known_from <= $2 ORDER BY n.package, n.finding LIMIT $3`

	findingsOfSets = `
SELECT f.package, p.body, f.since, f.body, s.layer, m.path FROM package_set AS s
JOIN package_member AS m ON m.package_set = s.id
JOIN finding AS f ON f.package = m.package AND f.known_to > $2 AND f.known_from <= $2
JOIN package AS p ON p.id = m.package
WHERE s.digest IN (SELECT key FROM json_each($1)) AND s.whole = 1`

	matchedColumns = `CASE WHEN a.rules > 0 AND a.matched_at <= $2 THEN 1 ELSE 0 END, a.ecosystem, a.reason, a.unclear`

	packagesOfSets = `
SELECT p.id, p.body, s.layer, m.path, ` + matchedColumns + ` FROM package_set AS s
JOIN package_member AS m ON m.package_set = s.id
JOIN package AS p ON p.id = m.package JOIN package_match AS a ON a.package = m.package
WHERE s.digest IN (SELECT key FROM json_each($1)) AND s.whole = 1`

	exposedBy = `
SELECT s.digest, f.vulnerability, f.severity, f.state FROM package_set AS s
JOIN package_member AS m ON m.package_set = s.id
JOIN finding AS f ON f.package = m.package AND f.known_to > $2 AND f.known_from <= $2
WHERE s.digest IN (SELECT key FROM json_each($1)) AND s.whole = 1`

	setsChanged = `
SELECT DISTINCT s.digest FROM package_match AS a JOIN package_member AS m ON m.package = a.package
JOIN package_set AS s ON s.id = m.package_set WHERE a.generation > $1 LIMIT $2`

	alikeInSets = `
SELECT s.digest, COUNT(DISTINCT m.package), ` + matchedColumns + ` FROM package_set AS s
JOIN package_member AS m ON m.package_set = s.id JOIN package_match AS a ON a.package = m.package
WHERE s.digest IN (SELECT key FROM json_each($1)) AND s.whole = 1 GROUP BY 1, 3, 4, 5, 6 ORDER BY 1, 4, 5, 6, 3`
)

// knownAt is the time of a question as intervals are compared with it.
func knownAt(at time.Time) int64 {
	if us := bound(at); us < current {
		return us
	}
	return current - 1
}

// MatchState implements [store.FindingReader].
func (r reader) MatchState(ctx context.Context, at time.Time) (store.MatchState, error) {
	const op = "reading what packages were compared with"
	state, ok, err := one(ctx, r.session, op, func(s scanner, v *store.MatchState) error {
		return s.Scan(&v.Generation, &v.Position.Serial, &v.Position.Version)
	}, matchState)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindCorrupt, op, "", "the state is missing")
	}
	if err != nil {
		return store.MatchState{}, err
	}
	if !at.IsZero() {
		state = store.MatchState{}
	}
	if state.Feeds, err = r.matchFeeds(ctx, op, at); err != nil {
		return store.MatchState{}, err
	}
	type pair struct{ ecosystem, feed string }
	pairs, err := all(ctx, r.session, op, func(s scanner, p *pair) error { return s.Scan(&p.ecosystem, &p.feed) }, matchEcosystems, knownAt(at))
	state.Covers = map[string][]string{}
	for _, p := range pairs {
		state.Covers[p.ecosystem] = append(state.Covers[p.ecosystem], p.feed)
	}
	for _, feeds := range state.Covers {
		slices.Sort(feeds)
	}
	return state, err
}

// matchFeeds returns the feeds as they were known at a time. Of a past time is
// not told what was found out later: that nothing had changed.
func (r reader) matchFeeds(ctx context.Context, op string, at time.Time) ([]store.Feed, error) {
	feeds, err := all(ctx, r.session, op, func(s scanner, f *store.Feed) error {
		var asOf, changed, from int64
		err := s.Scan(&f.Ecosystem, &f.Source, &f.Serial, &asOf, &changed, &f.Records, &from)
		f.AsOf, f.ChangedAt = instant(asOf), instant(changed)
		if !at.IsZero() && f.AsOf.After(at) {
			f.AsOf = instant(min(from, micros(at)))
		}
		return err
	}, matchFeeds, knownAt(at))
	slices.SortFunc(feeds, func(a, b store.Feed) int { return strings.Compare(a.Ecosystem, b.Ecosystem) })
	return feeds, err
}

// FeedEcosystems implements [store.EcosystemReader].
func (r reader) FeedEcosystems(ctx context.Context) (map[string][]string, error) {
	type pair struct{ feed, ecosystem string }
	pairs, err := all(ctx, r.session, "reading ecosystems", func(s scanner, p *pair) error { return s.Scan(&p.feed, &p.ecosystem) }, feedEcosystems)
	out := map[string][]string{}
	for _, p := range pairs {
		out[p.feed] = append(out[p.feed], p.ecosystem)
	}
	return out, err
}

// UnmatchedPackages implements [store.FindingReader].
func (r reader) UnmatchedPackages(ctx context.Context, rules, limit int) ([]store.KnownPackage, error) {
	return all(ctx, r.session, "finding packages to compare", scanPackage, unmatchedPackages, rules, max(0, limit))
}

// keyText is how a key is kept.
func keyText(k match.Key) string { return k.Ecosystem + "\n" + k.Name }

// PackagesUnder implements [store.FindingReader].
func (r reader) PackagesUnder(ctx context.Context, of []match.Key) ([]store.KnownPackage, error) {
	texts := make([]string, len(of))
	for i, k := range of {
		texts[i] = keyText(k)
	}
	list, err := keys(texts)
	if err != nil {
		return nil, err
	}
	return all(ctx, r.session, "finding packages of advisories", func(s scanner, p *store.KnownPackage) error {
		var body []byte
		if err := s.Scan(&p.ID, &body, &p.Unclear); err != nil {
			return err
		}
		return json.Unmarshal(body, &p.Package)
	}, packagesUnder, list)
}

// decodeFinding reads a finding and its package.
func decodeFinding(f *store.KnownFinding, since int64, finding, body []byte) error {
	if err := json.Unmarshal(finding, &f.Finding); err != nil {
		return err
	}
	f.Since = instant(since)
	f.Finding.Package = dossier.PackageAt{}
	return json.Unmarshal(body, &f.Finding.Package.Package)
}

// FindingsNamed implements [store.FindingReader].
func (r reader) FindingsNamed(ctx context.Context, name string, at time.Time, limit int) ([]store.KnownFinding, error) {
	return all(ctx, r.session, "finding a vulnerability", func(s scanner, f *store.KnownFinding) error {
		var body, finding []byte
		var since int64
		if err := s.Scan(&f.Package, &body, &since, &finding); err != nil {
			return err
		}
		return decodeFinding(f, since, finding, body)
	}, findingsNamed, strings.ToLower(name), knownAt(at), max(0, limit))
}

// FindingsOfSets implements [store.FindingReader].
func (r reader) FindingsOfSets(ctx context.Context, sets []dossier.Digest, at time.Time) ([]store.HeldFinding, error) {
	list, err := keys(sets)
	if err != nil {
		return nil, err
	}
	return all(ctx, r.session, "reading findings", func(s scanner, f *store.HeldFinding) error {
		var body, finding []byte
		var since int64
		if err := s.Scan(&f.Package, &body, &since, &finding, &f.Layer, &f.Path); err != nil {
			return err
		}
		return decodeFinding(&f.KnownFinding, since, finding, body)
	}, findingsOfSets, list, knownAt(at))
}

// PackagesOfSets implements [store.FindingReader].
func (r reader) PackagesOfSets(ctx context.Context, sets []dossier.Digest, at time.Time) ([]store.MatchedPackage, error) {
	list, err := keys(sets)
	if err != nil {
		return nil, err
	}
	return all(ctx, r.session, "reading packages", func(s scanner, p *store.MatchedPackage) error {
		var body []byte
		var matched int64
		if err := s.Scan(&p.ID, &body, &p.Layer, &p.Path, &matched, &p.PackagesAlike.Ecosystem, &p.Reason, &p.Unclear); err != nil {
			return err
		}
		p.Count, p.Matched = 1, matched != 0
		return json.Unmarshal(body, &p.PackageAt.Package)
	}, packagesOfSets, list, knownAt(at))
}

// once returns the text that is kept for all that are equal.
func once(texts map[string]string, s string) string {
	if kept, ok := texts[s]; ok {
		return kept
	}
	texts[s] = s
	return s
}

// SetsChanged implements [store.ExposureReader].
func (r reader) SetsChanged(ctx context.Context, generation int64, limit int) ([]dossier.Digest, error) {
	return all(ctx, r.session, "reading what changed of findings", scanOne[dossier.Digest], setsChanged, generation, max(0, limit))
}

// Exposures implements [store.FindingReader].
func (r reader) Exposures(ctx context.Context, sets []dossier.Digest, at time.Time) (map[dossier.Digest]store.SetExposure, error) {
	const op = "reading findings"
	list, err := keys(sets)
	if err != nil {
		return nil, err
	}
	type exposed struct {
		set dossier.Digest
		store.SetFinding
	}
	findings, err := all(ctx, r.session, op, func(s scanner, f *exposed) error {
		return s.Scan(&f.set, &f.ID, &f.Severity, &f.State)
	}, exposedBy, list, knownAt(at))
	if err != nil {
		return nil, err
	}
	type alike struct {
		set dossier.Digest
		store.PackagesAlike
	}
	packages, err := all(ctx, r.session, op, func(s scanner, a *alike) error {
		var matched int64
		err := s.Scan(&a.set, &a.Count, &matched, &a.Ecosystem, &a.Reason, &a.Unclear)
		a.Matched = matched != 0
		return err
	}, alikeInSets, list, knownAt(at))
	out := map[dossier.Digest]store.SetExposure{}
	for _, a := range packages {
		e := out[a.set]
		e.Packages = append(e.Packages, a.PackagesAlike)
		out[a.set] = e
	}
	seen := map[exposed]bool{}
	texts := map[string]string{} // the same text once, however many sets have it
	for _, f := range findings {
		if e := out[f.set]; !seen[f] {
			f.SetFinding = store.SetFinding{
				ID: once(texts, f.ID), Severity: dossier.Severity(once(texts, string(f.Severity))), State: dossier.FixState(once(texts, string(f.State))),
			}
			seen[f] = true
			e.Findings = append(e.Findings, f.SetFinding)
			out[f.set] = e
		}
	}
	for _, e := range out {
		slices.SortFunc(e.Findings, func(a, b store.SetFinding) int { return strings.Compare(a.ID, b.ID) })
	}
	return out, err
}
