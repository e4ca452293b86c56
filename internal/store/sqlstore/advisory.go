// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

// billion is in what parts probabilities are kept: they are published with at
// most nine digits.
const billion = 1e9

// current is the end of a version that is still known.
const current = math.MaxInt64

const (
	feedColumns = `f.name, f.source, f.serial, f.as_of, f.changed_at, f.records, f.state`

	feeds = `SELECT ` + feedColumns + ` FROM feed AS f ORDER BY f.name`

	feedNamed = `SELECT ` + feedColumns + ` FROM feed AS f WHERE f.name = $1`

	coveringFeeds = `
SELECT e.ecosystem, ` + feedColumns + ` FROM feed_ecosystem AS e JOIN feed AS f ON f.name = e.feed
WHERE e.ecosystem IN (SELECT key FROM json_each($1)) ORDER BY e.ecosystem, f.name`

	advisoriesByKey = `
SELECT a.version, a.feed, a.digest, a.header, e.entries FROM advisory_entry AS e JOIN advisory AS a ON a.version = e.version
WHERE e.ecosystem = $1 AND e.name = $2 AND a.known_from <= $3 AND a.known_to > $3`

	advisoriesByKeyAndName = `
SELECT a.version, a.feed, a.digest, a.header, e.entries FROM advisory_name AS n
JOIN advisory_entry AS e ON e.ecosystem = $1 AND e.name = $2 AND e.version = n.version
JOIN advisory AS a ON a.version = n.version
WHERE n.name IN (SELECT key FROM json_each($4)) AND a.known_from <= $3 AND a.known_to > $3`

	advisoriesByName = `
SELECT a.version, a.feed, a.digest, a.header FROM advisory_name AS n JOIN advisory AS a ON a.version = n.version
WHERE n.name IN (SELECT key FROM json_each($1)) AND a.known_from <= $2 AND a.known_to > $2`

	entriesOfVersion = `SELECT entries FROM advisory_entry WHERE version = $1 ORDER BY ecosystem, name`

	advisoryBody = `SELECT body FROM advisory_body WHERE digest = $1`

	changesFrom = `
SELECT from_serial, version, feed, id, 0 FROM advisory
WHERE (from_serial = $1 AND version > $2) OR from_serial > $1 ORDER BY from_serial, version LIMIT $3`

	changesTo = `
SELECT to_serial, version, feed, id, 1 FROM advisory
WHERE to_serial > 0 AND ((to_serial = $1 AND version > $2) OR to_serial > $1) ORDER BY to_serial, version LIMIT $3`

	keysOfVersions = `
SELECT version, ecosystem, name FROM advisory_entry
WHERE version IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) ORDER BY version, ecosystem, name`

	namesOfVersions = `
SELECT version, name FROM advisory_name
WHERE version IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) ORDER BY version, name`

	countAdvisories = `
SELECT COUNT(*) FROM advisory WHERE feed = $1 AND id IN (SELECT key FROM json_each($2)) AND known_to = 9223372036854775807`

	// feedAt gives what a feed had at a serial.
	feedAt = `
SELECT id, digest FROM advisory
WHERE feed = $1 AND from_serial <= $2 AND (to_serial = 0 OR to_serial > $2)`

	exploits = `SELECT name, known_since, probability, percentile FROM exploit WHERE name IN (SELECT key FROM json_each($1))`
)

func scanFeed(row scanner, f *store.Feed) error { return scanFeedAfter(row, f) }

// scanFeedAfter reads other columns, and then those of a feed.
func scanFeedAfter(row scanner, f *store.Feed, before ...any) error {
	var asOf, changed int64
	err := row.Scan(append(before, &f.Ecosystem, &f.Source, &f.Serial, &asOf, &changed, &f.Records, &f.State)...)
	f.AsOf, f.ChangedAt = instant(asOf), instant(changed)
	if len(f.State) == 0 {
		f.State = nil
	}
	return err
}

// Feeds implements [store.AdvisoryReader].
func (r reader) Feeds(ctx context.Context) ([]store.Feed, error) {
	return all(ctx, r.session, "reading feeds", scanFeed, feeds)
}

// FeedDigest implements [store.EcosystemReader].
func (r reader) FeedDigest(ctx context.Context, feed string, serial int64) (dossier.Digest, error) {
	const op = "reading feed"
	kept, err := r.Feeds(ctx)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(kept, func(f store.Feed) bool { return f.Ecosystem == feed }) {
		return "", dossier.Errorf(dossier.KindNotFound, op, feed, "there is no such feed")
	}
	list, err := all(ctx, r.session, op, func(row scanner, p *[2]string) error { return row.Scan(&p[0], &p[1]) }, feedAt, feed, serial)
	if err != nil {
		return "", err
	}
	slices.SortFunc(list, func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	h := sha256.New()
	_, _ = io.WriteString(h, "dossier/feed/v1\n") // a hash takes anything
	for _, p := range list {
		id, _ := json.Marshal(p[0]) // of a string: cannot fail
		fmt.Fprintf(h, "%s %s\n", id, p[1])
	}
	return dossier.FromHash(dossier.SHA256, h), nil
}

// CoveringFeeds implements [store.AdvisoryReader].
func (r reader) CoveringFeeds(ctx context.Context, ecosystems []string) (map[string][]store.Feed, error) {
	type covering struct {
		ecosystem string
		feed      store.Feed
	}
	list, err := keys(ecosystems)
	if err != nil {
		return nil, err
	}
	rows, err := all(ctx, r.session, "reading feeds", func(row scanner, c *covering) error {
		return scanFeedAfter(row, &c.feed, &c.ecosystem)
	}, coveringFeeds, list)
	out := map[string][]store.Feed{}
	for _, c := range rows {
		out[c.ecosystem] = append(out[c.ecosystem], c.feed)
	}
	return out, err
}

// advisoryRow is a version of an advisory with some of its entries.
type advisoryRow struct {
	version         int64
	feed, digest    string
	header, entries []byte
}

func scanAdvisory(row scanner, a *advisoryRow) error {
	return row.Scan(&a.version, &a.feed, &a.digest, &a.header, &a.entries)
}

func scanHeader(row scanner, a *advisoryRow) error {
	return row.Scan(&a.version, &a.feed, &a.digest, &a.header)
}

// Advisories implements [store.AdvisoryReader].
func (r reader) Advisories(ctx context.Context, q store.AdvisoryQuery) ([]dossier.Advisory, error) {
	const op = "finding advisories"
	at := bound(q.At)
	if at == current {
		at--
	}
	named, err := keys(q.Names)
	if err != nil {
		return nil, err
	}
	if len(q.Keys) == 0 {
		rows, err := all(ctx, r.session, op, scanHeader, advisoriesByName, named, at)
		if err != nil {
			return nil, err
		}
		return r.advisories(ctx, op, rows)
	}
	var rows []advisoryRow
	for _, k := range q.Keys {
		var of []advisoryRow
		if len(q.Names) > 0 {
			of, err = all(ctx, r.session, op, scanAdvisory, advisoriesByKeyAndName, k.Ecosystem, k.Name, at, named)
		} else {
			of, err = all(ctx, r.session, op, scanAdvisory, advisoriesByKey, k.Ecosystem, k.Name, at)
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, of...)
	}
	return r.advisories(ctx, op, rows)
}

// advisories makes advisories of rows. Those without entries get all.
func (r reader) advisories(ctx context.Context, op string, rows []advisoryRow) ([]dossier.Advisory, error) {
	type same struct{ feed, digest string }
	at := map[same]int{}
	seen := map[int64]bool{} // whole versions: one may be found by several names
	var out []dossier.Advisory
	for _, row := range rows {
		entries, err := r.entriesOf(ctx, op, row, seen)
		if err != nil {
			return nil, err
		}
		if i, ok := at[same{row.feed, row.digest}]; ok {
			out[i].Affected = append(out[i].Affected, entries...)
			continue
		}
		var a dossier.Advisory
		if err := json.Unmarshal(row.header, &a); err != nil {
			return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: op, Err: err}
		}
		a.Feed, a.SHA256, a.Affected = row.feed, dossier.Digest(row.digest), entries
		at[same{row.feed, row.digest}] = len(out)
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b dossier.Advisory) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.SHA256, b.SHA256), cmp.Compare(a.Feed, b.Feed))
	})
	return slices.CompactFunc(out, func(a, b dossier.Advisory) bool { return a.ID == b.ID && a.SHA256 == b.SHA256 }), nil
}

// entriesOf returns the entries of a row, or all of its version when it has none.
func (r reader) entriesOf(ctx context.Context, op string, row advisoryRow, seen map[int64]bool) ([]dossier.Affected, error) {
	lists := [][]byte{row.entries}
	if row.entries == nil {
		if seen[row.version] {
			return nil, nil
		}
		seen[row.version] = true
		var err error
		if lists, err = all(ctx, r.session, op, scanOne[[]byte], entriesOfVersion, row.version); err != nil {
			return nil, err
		}
	}
	var out []dossier.Affected
	for _, l := range lists {
		var entries []dossier.Affected
		if err := json.Unmarshal(l, &entries); err != nil {
			return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: op, Err: err}
		}
		out = append(out, entries...)
	}
	return out, nil
}

// AdvisoryBytes implements [store.AdvisoryReader].
func (r reader) AdvisoryBytes(ctx context.Context, sha256 dossier.Digest) ([]byte, error) {
	const op = "reading advisory"
	packed, ok, err := one(ctx, r.session, op, scanOne[[]byte], advisoryBody, sha256)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, dossier.Errorf(dossier.KindNotFound, op, string(sha256), "none with this digest is kept")
	}
	b, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	if err == nil && !sha256.Matches(b) {
		err = errNotItself
	}
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: op, Subject: string(sha256), Err: err}
	}
	return b, nil
}

// AdvisoryChanges implements [store.AdvisoryReader].
func (r reader) AdvisoryChanges(ctx context.Context, after store.AdvisoryPosition, limit int) ([]store.AdvisoryChange, error) {
	const op = "reading changes of advisories"
	var out []store.AdvisoryChange
	for _, query := range []string{changesFrom, changesTo} {
		some, err := all(ctx, r.session, op, func(row scanner, c *store.AdvisoryChange) error {
			var gone int
			err := row.Scan(&c.Serial, &c.Version, &c.Feed, &c.ID, &gone)
			c.Gone = gone == 1
			return err
		}, query, after.Serial, after.Version, limit)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	slices.SortFunc(out, func(a, b store.AdvisoryChange) int {
		return cmp.Or(cmp.Compare(a.Serial, b.Serial), cmp.Compare(a.Version, b.Version))
	})
	out = out[:min(len(out), limit)]
	return out, r.addKeys(ctx, op, out)
}

// addKeys adds keys and names to changes.
func (r reader) addKeys(ctx context.Context, op string, changes []store.AdvisoryChange) error {
	if len(changes) == 0 {
		return nil
	}
	at := map[int64][]int{} // a version may come and go
	var versions []int64
	for i, c := range changes {
		if at[c.Version] = append(at[c.Version], i); len(at[c.Version]) == 1 {
			versions = append(versions, c.Version)
		}
	}
	list := numbers(versions)
	type versionKey struct {
		version int64
		match.Key
	}
	keys, err := all(ctx, r.session, op, func(row scanner, k *versionKey) error {
		return row.Scan(&k.version, &k.Ecosystem, &k.Name)
	}, keysOfVersions, list)
	if err != nil {
		return err
	}
	for _, k := range keys {
		for _, i := range at[k.version] {
			changes[i].Keys = append(changes[i].Keys, k.Key)
		}
	}
	type versionName struct {
		version int64
		name    string
	}
	names, err := all(ctx, r.session, op, func(row scanner, n *versionName) error { return row.Scan(&n.version, &n.name) }, namesOfVersions, list)
	for _, n := range names {
		for _, i := range at[n.version] {
			changes[i].Names = append(changes[i].Names, n.name)
		}
	}
	return err
}

// CountAdvisories implements [store.AdvisoryReader].
func (r reader) CountAdvisories(ctx context.Context, feed string, ids []string) (int, error) {
	list, err := keys(ids)
	if err != nil {
		return 0, err
	}
	n, _, err := one(ctx, r.session, "counting advisories", scanOne[int], countAdvisories, feed, list)
	return n, err
}

// Exploits implements [store.AdvisoryReader].
func (r reader) Exploits(ctx context.Context, names []string) (map[string]dossier.Exploit, error) {
	type row struct {
		name string
		dossier.Exploit
	}
	list, err := keys(names)
	if err != nil {
		return nil, err
	}
	rows, err := all(ctx, r.session, "reading exploits", func(s scanner, e *row) error {
		var since, probability, percentile int64
		err := s.Scan(&e.name, &since, &probability, &percentile)
		e.Probability, e.Percentile = float64(probability)/billion, float64(percentile)/billion
		if since != 0 {
			e.KnownSince = instant(since)
		}
		return err
	}, exploits, list)
	out := map[string]dossier.Exploit{}
	for _, e := range rows {
		out[e.name] = e.Exploit
	}
	return out, err
}
