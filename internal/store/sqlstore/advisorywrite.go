// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

const opAdvisories = "keeping advisories"

// errNotItself says that bytes are not those of their digest.
var errNotItself = errors.New("its bytes are not those of its digest")

const (
	lockCounter = `UPDATE advisory_counter SET serial = serial WHERE id = 1`

	readCounter = `SELECT serial, version FROM advisory_counter WHERE id = 1`

	setCounter = `UPDATE advisory_counter SET serial = $1, version = $2 WHERE id = 1`

	currentVersions = `
SELECT id, version, digest, withdrawn FROM advisory WHERE feed = $1 AND known_to = 9223372036854775807`

	namedVersion = `
SELECT id, version, digest, withdrawn FROM advisory WHERE feed = $1 AND id = $2 AND known_to = 9223372036854775807`

	countLive = `
SELECT COUNT(*) FROM advisory WHERE feed = $1 AND known_to = 9223372036854775807 AND withdrawn = 0`

	endVersion = `UPDATE advisory SET known_to = $2, to_serial = $3 WHERE version = $1`

	insertAdvisory = `
INSERT INTO advisory (version, feed, id, digest, withdrawn, known_from, known_to, from_serial, to_serial, header) VALUES `

	insertAdvisoryEntry = `INSERT INTO advisory_entry (ecosystem, name, version, entries) VALUES `

	insertAdvisoryName = `INSERT INTO advisory_name (name, version) VALUES `

	insertAdvisoryBody = `INSERT INTO advisory_body (digest, body) VALUES `

	advisoryBodyTail = ` ON CONFLICT (digest) DO NOTHING`

	putFeed = `
INSERT INTO feed (name, source, serial, as_of, changed_at, records, state) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (name) DO UPDATE SET source = excluded.source, serial = excluded.serial, as_of = excluded.as_of,
    changed_at = excluded.changed_at, records = excluded.records, state = excluded.state`

	touchFeed = `UPDATE feed SET as_of = $2, state = $3 WHERE name = $1`

	deleteFeed = `DELETE FROM feed WHERE name = $1`

	dropEcosystems = `DELETE FROM feed_ecosystem WHERE feed = $1`

	insertEcosystem = `INSERT INTO feed_ecosystem (ecosystem, feed) VALUES `

	ecosystemTail = ` ON CONFLICT (ecosystem, feed) DO NOTHING`

	forgetExploited = `UPDATE exploit SET known_since = 0 WHERE known_since <> 0`

	forgetLikelihoods = `UPDATE exploit SET probability = 0, percentile = 0 WHERE percentile <> 0`

	insertExploited = `INSERT INTO exploit (name, known_since, probability, percentile) VALUES `

	exploitedTail = ` ON CONFLICT (name) DO UPDATE SET known_since = excluded.known_since`

	likelihoodTail = ` ON CONFLICT (name) DO UPDATE SET probability = excluded.probability, percentile = excluded.percentile`
)

// version is a version of an advisory that is kept.
type version struct {
	number    int64
	digest    dossier.Digest
	withdrawn bool
	seen      bool // in this update
}

// feedWrite is an update under way.
type feedWrite struct {
	*tx
	update     store.FeedUpdate
	now        int64
	serial     int64
	next       int64 // the version that was given out last
	known      map[string]*version
	ecosystems map[string]bool
	added      int
	changed    int
	before     int    // records before
	live       [2]int // records that are not withdrawn, before and after; of an update that is not whole only the difference counts

	bodies, headers, entries, names [][]any
	packer                          *flate.Writer
}

// PutAdvisories implements [store.AdvisoryWriter].
func (t *tx) PutAdvisories(ctx context.Context, u store.FeedUpdate) (store.FeedChange, error) {
	w := &feedWrite{tx: t, update: u, now: micros(t.now), known: map[string]*version{}, ecosystems: map[string]bool{}}
	if err := w.begin(ctx); err != nil {
		return store.FeedChange{}, err
	}
	for a, err := range u.Records {
		if err == nil {
			err = w.put(ctx, a)
		}
		if err != nil {
			return store.FeedChange{}, err
		}
	}
	if err := w.flush(ctx); err != nil {
		return store.FeedChange{}, err
	}
	removed, err := w.remove(ctx)
	if err != nil {
		return store.FeedChange{}, err
	}
	after := w.before + w.added - removed
	if !u.Whole && w.live[1] < w.live[0] { // few updates withdraw something: only they are counted against all
		now, _, err := one(ctx, t.session, opAdvisories, scanOne[int], countLive, u.Feed)
		if err != nil {
			return store.FeedChange{}, err
		}
		w.live = [2]int{now + w.live[0] - w.live[1], now}
	}
	for _, n := range [][2]int{{w.before, after}, w.live} {
		if float64(n[1]) < float64(n[0])*(1-u.MayShrink) {
			return store.FeedChange{}, &dossier.Error{
				Kind: dossier.KindConflict, Op: opAdvisories, Subject: u.Feed,
				Err:  fmt.Errorf("it would shrink from %d advisories to %d", n[0], n[1]),
				Hint: "Look whether the feed is whole; --allow-shrink accepts it.",
			}
		}
	}
	return w.end(ctx, after, removed)
}

// begin locks what numbers are given out from, and reads what the feed has.
func (w *feedWrite) begin(ctx context.Context) error {
	if _, err := w.exec(ctx, opAdvisories, lockCounter); err != nil {
		return err
	}
	type counter struct{ serial, version int64 }
	c, ok, err := one(ctx, w.session, opAdvisories, func(row scanner, c *counter) error { return row.Scan(&c.serial, &c.version) }, readCounter)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindCorrupt, opAdvisories, "", "its counter is missing")
	}
	if err != nil {
		return err
	}
	w.serial, w.next = c.serial+1, c.version
	if !w.update.Whole {
		f, _, err := one(ctx, w.session, opAdvisories, scanFeed, feedNamed, w.update.Feed)
		w.before = f.Records
		return err
	}
	rows, err := all(ctx, w.session, opAdvisories, scanVersion, currentVersions, w.update.Feed)
	for _, r := range rows {
		w.known[r.id] = &r.version
		if !r.withdrawn {
			w.live[0]++
		}
	}
	w.before, w.live[1] = len(rows), w.live[0]
	return err
}

// versionOf is a version with the ID of its advisory.
type versionOf struct {
	id string
	version
}

func scanVersion(s scanner, r *versionOf) error {
	return s.Scan(&r.id, &r.number, &r.digest, &r.withdrawn)
}

// current returns the version that is kept of an advisory, nil when none is. Of an
// update that is not whole each is looked up: what it costs does not depend on
// how large the feed is.
func (w *feedWrite) current(ctx context.Context, id string) (*version, error) {
	if v, ok := w.known[id]; ok || w.update.Whole {
		return v, nil
	}
	found, ok, err := one(ctx, w.session, opAdvisories, scanVersion, namedVersion, w.update.Feed, id)
	if err != nil || !ok {
		return nil, err
	}
	w.known[id] = &found.version
	return &found.version, nil
}

// put keeps a record, if it is new.
func (w *feedWrite) put(ctx context.Context, a store.Advisory) error {
	was, err := w.current(ctx, a.ID)
	if err != nil {
		return err
	}
	if a.Bytes == nil {
		if was != nil {
			was.seen = true
		}
		return nil
	}
	for _, k := range match.KeysOf(a.Advisory) {
		w.ecosystems[k.Ecosystem] = true
	}
	withdrawn := !a.Withdrawn.IsZero()
	switch {
	case was == nil:
		w.added++
	case was.digest == a.SHA256:
		was.seen = true
		return nil
	case was.seen:
		return dossier.Errorf(dossier.KindConflict, opAdvisories, a.ID, "the feed has two records with this ID")
	default:
		w.changed++
		if err := w.endVersion(ctx, was); err != nil {
			return err
		}
	}
	w.next++
	w.known[a.ID] = &version{number: w.next, digest: a.SHA256, withdrawn: withdrawn, seen: true}
	if !withdrawn {
		w.live[1]++
	}
	if err := w.queue(a, withdrawn); err != nil {
		return err
	}
	if len(w.headers) >= manyRows {
		return w.flush(ctx)
	}
	return nil
}

// endVersion says that a version is no longer the current one.
func (w *feedWrite) endVersion(ctx context.Context, v *version) error {
	if !v.withdrawn {
		w.live[1]--
	}
	_, err := w.exec(ctx, opAdvisories, endVersion, v.number, w.now, w.serial)
	return err
}

// queue makes the rows of a new version.
func (w *feedWrite) queue(a store.Advisory, withdrawn bool) error {
	header := a.Advisory
	header.Affected, header.Feed = nil, ""
	text, err := json.Marshal(header)
	if err != nil {
		return &dossier.Error{Kind: dossier.KindInternal, Op: opAdvisories, Subject: a.ID, Err: err}
	}
	packed, err := w.deflate(a.Bytes)
	if err != nil {
		return &dossier.Error{Kind: dossier.KindInternal, Op: opAdvisories, Subject: a.ID, Err: err}
	}
	w.bodies = append(w.bodies, []any{a.SHA256, packed})
	flag := 0
	if withdrawn {
		flag = 1
	}
	w.headers = append(w.headers, []any{w.next, w.update.Feed, a.ID, a.SHA256, flag, w.now, int64(current), w.serial, 0, text})
	byKey := map[match.Key][]dossier.Affected{}
	if !withdrawn {
		for _, e := range a.Affected {
			byKey[match.KeyOf(e)] = append(byKey[match.KeyOf(e)], e)
		}
	}
	for _, k := range match.KeysOf(a.Advisory) {
		entries, err := json.Marshal(byKey[k])
		if err != nil {
			return &dossier.Error{Kind: dossier.KindInternal, Op: opAdvisories, Subject: a.ID, Err: err}
		}
		w.entries = append(w.entries, []any{k.Ecosystem, k.Name, w.next, entries})
	}
	names := []string{a.ID}
	for _, list := range match.Names(a.Advisory) {
		names = append(names, list...)
	}
	slices.Sort(names)
	for _, n := range slices.Compact(names) {
		w.names = append(w.names, []any{n, w.next})
	}
	return nil
}

// deflate compresses: advisories are repetitive. What compresses is used again.
func (w *feedWrite) deflate(b []byte) ([]byte, error) {
	var out bytes.Buffer
	if w.packer == nil {
		var err error
		if w.packer, err = flate.NewWriter(&out, flate.BestSpeed); err != nil {
			return nil, err
		}
	} else {
		w.packer.Reset(&out)
	}
	if _, err := w.packer.Write(b); err != nil {
		return nil, err
	}
	err := w.packer.Close()
	return out.Bytes(), err
}

// flush writes the rows that wait.
func (w *feedWrite) flush(ctx context.Context) error {
	for _, batch := range []struct {
		head, tail string
		rows       *[][]any
	}{
		{insertAdvisoryBody, advisoryBodyTail, &w.bodies},
		{insertAdvisory, "", &w.headers},
		{insertAdvisoryEntry, "", &w.entries},
		{insertAdvisoryName, "", &w.names},
	} {
		if err := w.insert(ctx, opAdvisories, batch.head, batch.tail, *batch.rows); err != nil {
			return err
		}
		*batch.rows = (*batch.rows)[:0]
	}
	return nil
}

// remove ends the versions that a whole feed no longer has.
func (w *feedWrite) remove(ctx context.Context) (removed int, err error) {
	if !w.update.Whole {
		return 0, nil
	}
	for _, id := range slices.Sorted(maps.Keys(w.known)) {
		if v := w.known[id]; !v.seen {
			removed++
			if err := w.endVersion(ctx, v); err != nil {
				return 0, err
			}
		}
	}
	return removed, nil
}

// end writes what is said of the feed as a whole.
func (w *feedWrite) end(ctx context.Context, records, removed int) (store.FeedChange, error) {
	u := w.update
	var state []byte
	var err error
	if u.State != nil {
		if state, err = u.State(); err != nil {
			return store.FeedChange{}, err
		}
	}
	if state == nil {
		state = []byte{}
	}
	was, known, err := one(ctx, w.session, opAdvisories, scanFeed, feedNamed, u.Feed)
	if err != nil {
		return store.FeedChange{}, err
	}
	changed := w.added+w.changed+removed > 0 || !known
	serial, changedAt := was.Serial, micros(was.ChangedAt)
	if changed {
		serial, changedAt = w.serial, w.now
		if _, err := w.exec(ctx, opAdvisories, setCounter, w.serial, w.next); err != nil {
			return store.FeedChange{}, err
		}
	}
	if _, err := w.exec(ctx, opAdvisories, putFeed, u.Feed, u.Source, serial, micros(u.AsOf), changedAt, records, state); err != nil {
		return store.FeedChange{}, err
	}
	if err := w.putEcosystems(ctx); err != nil {
		return store.FeedChange{}, err
	}
	now, _, err := one(ctx, w.session, opAdvisories, scanFeed, feedNamed, u.Feed)
	return store.FeedChange{Feed: now, Added: w.added, Changed: w.changed, Removed: removed}, err
}

// putEcosystems notes what the feed has advisories for.
func (w *feedWrite) putEcosystems(ctx context.Context) error {
	if w.update.Whole {
		if _, err := w.exec(ctx, opAdvisories, dropEcosystems, w.update.Feed); err != nil {
			return err
		}
	}
	var rows [][]any
	for _, e := range slices.Sorted(maps.Keys(w.ecosystems)) {
		rows = append(rows, []any{e, w.update.Feed})
	}
	return w.insert(ctx, opAdvisories, insertEcosystem, ecosystemTail, rows)
}

// TouchFeed implements [store.AdvisoryWriter].
func (t *tx) TouchFeed(ctx context.Context, name string, asOf time.Time, state []byte) error {
	if state == nil {
		state = []byte{}
	}
	n, err := t.exec(ctx, opAdvisories, touchFeed, name, micros(asOf), state)
	if err == nil && n == 0 {
		err = dossier.Errorf(dossier.KindNotFound, opAdvisories, name, "there is no such feed")
	}
	return err
}

// RemoveFeed implements [store.AdvisoryWriter].
func (t *tx) RemoveFeed(ctx context.Context, name string) error {
	const op = "removing feed"
	w := &feedWrite{tx: t, update: store.FeedUpdate{Feed: name, Whole: true}, now: micros(t.now), known: map[string]*version{}}
	if err := w.begin(ctx); err != nil {
		return err
	}
	if _, err := w.remove(ctx); err != nil {
		return err
	}
	if _, err := w.exec(ctx, op, setCounter, w.serial, w.next); err != nil {
		return err
	}
	if _, err := w.exec(ctx, op, dropEcosystems, name); err != nil {
		return err
	}
	n, err := w.exec(ctx, op, deleteFeed, name)
	if err == nil && n == 0 {
		err = dossier.Errorf(dossier.KindNotFound, op, name, "there is no such feed")
	}
	return err
}

// PutExploited implements [store.AdvisoryWriter].
func (t *tx) PutExploited(ctx context.Context, since map[string]time.Time) error {
	const op = "keeping exploited vulnerabilities"
	if _, err := t.exec(ctx, op, forgetExploited); err != nil {
		return err
	}
	var rows [][]any
	for _, name := range slices.Sorted(maps.Keys(since)) {
		rows = append(rows, []any{name, micros(since[name]), 0, 0})
	}
	return t.insert(ctx, op, insertExploited, exploitedTail, rows)
}

// PutLikelihoods implements [store.AdvisoryWriter].
func (t *tx) PutLikelihoods(ctx context.Context, list map[string]dossier.Exploit) error {
	const op = "keeping likelihoods"
	if _, err := t.exec(ctx, op, forgetLikelihoods); err != nil {
		return err
	}
	var rows [][]any
	for _, name := range slices.Sorted(maps.Keys(list)) {
		rows = append(rows, []any{name, 0, billionths(list[name].Probability), billionths(list[name].Percentile)})
	}
	return t.insert(ctx, op, insertExploited, likelihoodTail, rows)
}

// billionths is how a probability is kept.
func billionths(p float64) int64 { return int64(math.Round(p * billion)) }
