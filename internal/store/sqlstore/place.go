// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	putCluster = `INSERT INTO cluster (id, name) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name`

	clustersByName = `SELECT id, name FROM cluster ORDER BY name, id`

	openPlaces = `
SELECT id, cluster, key, body FROM place
WHERE cluster = $1 AND key IN (SELECT key FROM json_each($2)) AND to_at IS NULL`

	insertPlaces = `INSERT INTO place (cluster, key, namespace, digest, asked, run, from_at, body) VALUES `

	// endPlaces never ends an interval before it began.
	endPlaces = `
UPDATE place SET to_at = CASE WHEN from_at > $2 THEN from_at ELSE $2 END
WHERE id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))`

	// selectPlaces is completed by a condition on time, those of the query, and
	// placesOrder. $1 to $3 say after which row to go on, $4 how many to read.
	selectPlaces = `SELECT id, cluster, key, body FROM place WHERE (cluster, key, id) > ($1, $2, $3)`
	placesOpen   = ` AND to_at IS NULL`
	placesAt     = ` AND from_at <= $%[1]d AND (to_at IS NULL OR to_at > $%[1]d)`
	placesOrder  = ` ORDER BY cluster, key, id LIMIT $4`

	// placesRelated takes digests and references, and the condition on time.
	placesRelated = ` AND (digest IN (SELECT key FROM json_each($%[1]d)) OR asked IN (
    SELECT key FROM json_each($%[2]d)
    UNION SELECT asked FROM place WHERE digest IN (SELECT key FROM json_each($%[1]d)) AND asked <> ''%[3]s))`

	firstRuns = `
SELECT digest, MIN(from_at) FROM place
WHERE digest IN (SELECT key FROM json_each($1)) AND run IS NOT NULL
GROUP BY digest`
)

// placesPage is how many rows Places has in memory at a time.
const placesPage = 2000

// placeRow is a row of place.
type placeRow struct {
	id           int64
	cluster, key string
	body         []byte // dossier.Place as JSON
}

func scanPlace(row scanner, p *placeRow) error {
	return row.Scan(&p.id, &p.cluster, &p.key, &p.body)
}

// PutCluster implements [store.PlaceWriter].
func (t *tx) PutCluster(ctx context.Context, c dossier.Cluster) error {
	_, err := t.exec(ctx, "keeping cluster", putCluster, c.ID, c.Name)
	return err
}

// placing is places on their way into the database.
type placing struct {
	at      time.Time
	wanted  map[string]dossier.Place // by body
	order   []string                 // bodies
	ended   []string                 // rows
	changed map[string]bool          // keys
	runs    map[dossier.Run]bool
}

// newPlacing takes the places of a cluster by key. Equal places are one.
func newPlacing(cluster string, places map[string][]dossier.Place, at time.Time) (*placing, error) {
	g := &placing{at: at, wanted: map[string]dossier.Place{}, changed: map[string]bool{}, runs: map[dossier.Run]bool{}}
	for _, key := range slices.Sorted(maps.Keys(places)) {
		for _, p := range places[key] {
			if p.Cluster != cluster || p.Key() != key {
				return nil, dossier.Errorf(dossier.KindInvalid, "keeping places", key, "a place belongs to "+p.Key()+" of cluster "+p.Cluster)
			}
			body, err := json.Marshal(p)
			if err != nil {
				return nil, fmt.Errorf("writing place %s: %w", key, err)
			}
			if _, ok := g.wanted[string(body)]; !ok {
				g.wanted[string(body)] = p
				g.order = append(g.order, string(body))
			}
		}
	}
	return g, nil
}

// change notes that a place begins or ends.
func (g *placing) change(key string, p dossier.Place) {
	g.changed[key] = true
	if r, ok := p.RunOf(); ok {
		g.runs[r] = true
	}
}

// compare takes an open place: it stays or ends.
func (g *placing) compare(row placeRow) error {
	if _, ok := g.wanted[string(row.body)]; ok {
		delete(g.wanted, string(row.body))
		return nil
	}
	p, err := row.place()
	if err != nil {
		return err
	}
	g.ended = append(g.ended, strconv.FormatInt(row.id, 10))
	g.change(row.key, p)
	return nil
}

// rows returns those to insert: what is wanted and was not open.
func (g *placing) rows() ([][]any, error) {
	rows := make([][]any, 0, len(g.wanted))
	for _, body := range g.order {
		p, ok := g.wanted[body]
		if !ok {
			continue
		}
		var run any // NULL
		if r, ok := p.RunOf(); ok {
			key, _, err := runKey(r)
			if err != nil {
				return nil, err
			}
			run = key
		}
		g.change(p.Key(), p)
		rows = append(rows, []any{p.Cluster, p.Key(), p.Namespace, p.Digest, p.Asked(), run, micros(g.at), body})
	}
	return rows, nil
}

// PutPlaces implements [store.PlaceWriter]. KindInvalid: a place belongs to
// another cluster or key.
func (t *tx) PutPlaces(ctx context.Context, cluster string, places map[string][]dossier.Place, at time.Time) (store.PlaceChanges, error) {
	const op = "keeping places"
	var none store.PlaceChanges
	g, err := newPlacing(cluster, places, at)
	if err != nil {
		return none, err
	}
	if err := t.lockCluster(ctx, cluster); err != nil {
		return none, err
	}
	list, err := keys(slices.Collect(maps.Keys(places)))
	if err != nil {
		return none, err
	}
	open, err := all(ctx, t.session, op, scanPlace, openPlaces, cluster, list)
	if err != nil {
		return none, err
	}
	for _, row := range open {
		if err := g.compare(row); err != nil {
			return none, err
		}
	}
	if len(g.ended) > 0 {
		if list, err = keys(g.ended); err != nil {
			return none, err
		}
		if _, err := t.exec(ctx, op, endPlaces, list, micros(at)); err != nil {
			return none, err
		}
	}
	rows, err := g.rows()
	if err != nil {
		return none, err
	}
	changes := store.PlaceChanges{Keys: len(g.changed), Runs: slices.Collect(maps.Keys(g.runs))}
	return changes, t.insert(ctx, op, insertPlaces, "", rows)
}

// lockCluster makes other writers of a cluster's places and runs wait until the
// end of this transaction: SyncRuns must count what they have open.
func (t *tx) lockCluster(ctx context.Context, cluster string) error {
	if t.dialect.lockCluster == "" || t.locked[cluster] {
		return nil
	}
	if _, err := t.exec(ctx, "locking cluster", t.dialect.lockCluster, cluster); err != nil {
		return err
	}
	if t.locked == nil {
		t.locked = map[string]bool{}
	}
	t.locked[cluster] = true
	return nil
}

// Clusters implements [store.PlaceReader].
func (r reader) Clusters(ctx context.Context) ([]dossier.Cluster, error) {
	return all(ctx, r.session, "reading clusters", func(row scanner, c *dossier.Cluster) error {
		return row.Scan(&c.ID, &c.Name)
	}, clustersByName)
}

// Places implements [store.PlaceReader]. Places under one key come in the order
// in which they began.
func (r reader) Places(ctx context.Context, q store.PlaceQuery) iter.Seq2[dossier.Place, error] {
	return func(yield func(dossier.Place, error) bool) {
		for row, err := range r.placeRows(ctx, q) {
			var p dossier.Place
			if err == nil {
				p, err = row.place()
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// place reads the body of a row.
func (row placeRow) place() (p dossier.Place, err error) {
	if err := json.Unmarshal(row.body, &p); err != nil {
		return p, &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading places", Subject: row.key, Err: err}
	}
	return p, nil
}

// placeRows yields the rows of places, page by page.
func (r reader) placeRows(ctx context.Context, q store.PlaceQuery) iter.Seq2[placeRow, error] {
	return func(yield func(placeRow, error) bool) {
		query, args, err := placesQuery(q)
		if err != nil {
			yield(placeRow{}, err)
			return
		}
		for {
			rows, err := all(ctx, r.session, "reading places", scanPlace, query, args...)
			if err != nil {
				yield(placeRow{}, err)
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if len(rows) < placesPage {
				return
			}
			last := rows[len(rows)-1]
			args[0], args[1], args[2] = last.cluster, last.key, last.id
		}
	}
}

// ComparePlaces implements [store.PlaceReader]. Equal places have equal bodies,
// so those that are there are not parsed.
func (r reader) ComparePlaces(ctx context.Context, cluster string, namespaces []string, places map[string][]dossier.Place) (different []string, others []dossier.Place, err error) {
	wanted := map[string]string{} // body -> key
	missing := map[string]int{}   // key -> how many of its bodies were not seen
	for key, list := range places {
		missing[key] = 0
		for _, p := range list {
			body, err := json.Marshal(p)
			if err != nil {
				return nil, nil, fmt.Errorf("writing place %s: %w", key, err)
			}
			if _, ok := wanted[string(body)]; !ok {
				wanted[string(body)] = key
				missing[key]++
			}
		}
	}
	for row, err := range r.placeRows(ctx, store.PlaceQuery{Clusters: []string{cluster}, Namespaces: namespaces}) {
		if err != nil {
			return nil, nil, err
		}
		if _, ok := missing[row.key]; !ok {
			p, err := row.place()
			if err != nil {
				return nil, nil, err
			}
			others = append(others, p)
		} else if wanted[string(row.body)] == row.key {
			missing[row.key]--
		} else {
			missing[row.key] = len(wanted) + 1 // whatever is still seen of it
		}
	}
	for key, n := range missing {
		if n != 0 {
			different = append(different, key)
		}
	}
	slices.Sort(different)
	return different, others, nil
}

// placesQuery completes selectPlaces for q, from the first row on.
func placesQuery(q store.PlaceQuery) (query string, args []any, err error) {
	var b strings.Builder
	b.WriteString(selectPlaces)
	args = []any{"", "", int64(0), int64(placesPage)}
	add := func(condition string, arg any) {
		args = append(args, arg)
		fmt.Fprintf(&b, condition, len(args))
	}
	at := placesOpen
	if !q.At.IsZero() {
		args = append(args, micros(q.At))
		at = fmt.Sprintf(placesAt, len(args))
	}
	b.WriteString(at)
	list := func(condition string, keys string, n int, keysErr error) {
		if n > 0 {
			add(condition, keys)
		}
		if err == nil {
			err = keysErr
		}
	}
	clusters, clustersErr := keys(q.Clusters)
	list(` AND cluster IN (SELECT key FROM json_each($%d))`, clusters, len(q.Clusters), clustersErr)
	namespaces, namespacesErr := keys(q.Namespaces)
	list(` AND namespace IN (SELECT key FROM json_each($%d))`, namespaces, len(q.Namespaces), namespacesErr)
	digests, digestsErr := keys(q.Digests)
	asked, askedErr := keys(q.Asked)
	if q.Related {
		args = append(args, digests, asked)
		fmt.Fprintf(&b, placesRelated, len(args)-1, len(args), at)
		err = cmp.Or(err, digestsErr, askedErr)
	} else {
		list(` AND digest IN (SELECT key FROM json_each($%d))`, digests, len(q.Digests), digestsErr)
		list(` AND asked IN (SELECT key FROM json_each($%d))`, asked, len(q.Asked), askedErr)
	}
	if q.Key != "" {
		add(` AND key = $%d`, q.Key)
	}
	b.WriteString(placesOrder)
	return b.String(), args, err
}

// FirstRun implements [store.PlaceReader].
func (r reader) FirstRun(ctx context.Context, ds []dossier.Digest) (map[dossier.Digest]time.Time, error) {
	if len(ds) == 0 {
		return map[dossier.Digest]time.Time{}, nil
	}
	type row struct {
		digest dossier.Digest
		first  int64
	}
	list, err := keys(ds)
	if err != nil {
		return nil, err
	}
	rows, err := all(ctx, r.session, "reading first runs", func(s scanner, v *row) error {
		return s.Scan(&v.digest, &v.first)
	}, firstRuns, list)
	if err != nil {
		return nil, err
	}
	found := make(map[dossier.Digest]time.Time, len(rows))
	for _, v := range rows {
		found[v.digest] = instant(v.first)
	}
	return found, nil
}
