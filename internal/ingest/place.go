// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/store"
)

// keysPerUpdate bounds the transactions of a list: none blocks the database
// for long.
const keysPerUpdate = 200

// Apply makes the store agree with a full list: places that are new begin,
// places within the scope of the list that are not in it end, and jobs are made for
// images that nobody has read. Of files it also writes what their templates name.
// It returns how many keys (pods and templates) changed.
func (g *Ingest) Apply(ctx context.Context, s cluster.Snapshot) (changed int, err error) {
	at := g.now()
	now := map[string][]dossier.Place{}
	for _, p := range s.Places {
		p.Cluster = s.Cluster.ID
		now[p.Key()] = append(now[p.Key()], p)
	}
	if err := g.Store.Update(ctx, func(tx store.Tx) error { return tx.PutCluster(ctx, s.Cluster) }); err != nil {
		return 0, err
	}
	different, err := g.compare(ctx, s, now)
	if err != nil {
		return 0, err
	}
	for keys := range slices.Chunk(different, keysPerUpdate) {
		part := make(map[string][]dossier.Place, len(keys))
		for _, key := range keys {
			part[key] = now[key]
		}
		n, err := g.put(ctx, s.Cluster, part, at)
		if err != nil {
			return changed, err
		}
		changed += n
	}
	if strings.HasPrefix(s.Cluster.ID, cluster.FilePrefix) {
		if err := g.putFilePins(ctx, s); err != nil {
			return changed, err
		}
	}
	return changed, g.ask(ctx, s.Places) // of those that did not change, tags may want another look
}

// ApplyPods makes the store agree with what some pods name now, by Place.Key:
// one without places is gone.
func (g *Ingest) ApplyPods(ctx context.Context, c dossier.Cluster, pods map[string][]dossier.Place) error {
	at := g.now()
	for keys := range slices.Chunk(slices.Sorted(maps.Keys(pods)), keysPerUpdate) {
		part := make(map[string][]dossier.Place, len(keys))
		for _, key := range keys {
			part[key] = slices.Clone(pods[key])
			for i := range part[key] {
				part[key][i].Cluster = c.ID
			}
		}
		if _, err := g.put(ctx, c, part, at); err != nil {
			return err
		}
	}
	return nil
}

// compare returns the keys, sorted, whose open places are not as listed in now:
// those that are new or have changed, and those that lie in the scope of the list and are
// not in it.
func (g *Ingest) compare(ctx context.Context, s cluster.Snapshot, now map[string][]dossier.Place) ([]string, error) {
	match, err := cluster.ParseSelector(s.Scope.Selector)
	if err != nil {
		return nil, err
	}
	var different []string
	err = g.Store.View(ctx, func(r store.Reader) error {
		differ, others, err := r.ComparePlaces(ctx, s.Cluster.ID, s.Scope.Namespaces, now)
		if err != nil {
			return err
		}
		different = differ
		for _, p := range others {
			if covers(s, match, p) {
				different = append(different, p.Key())
			}
		}
		return nil
	})
	slices.Sort(different)
	return slices.Compact(different), err
}

// put writes, in one transaction, places by key, the run facts that follow, and
// the jobs that are wanted for the places. It returns how many keys changed.
func (g *Ingest) put(ctx context.Context, c dossier.Cluster, places map[string][]dossier.Place, at time.Time) (changed int, err error) {
	wishes := wishesFor(slices.Concat(slices.Collect(maps.Values(places))...))
	err = g.Store.Update(ctx, func(tx store.Tx) error {
		if changed, err = putPlaces(ctx, tx, c, places, at); err != nil {
			return err
		}
		jobs, err := g.jobsFor(ctx, tx, wishes)
		if err != nil {
			return err
		}
		return enqueue(ctx, tx, jobs)
	})
	return changed, err
}

func putPlaces(ctx context.Context, tx store.Tx, c dossier.Cluster, places map[string][]dossier.Place, at time.Time) (int, error) {
	placed, err := tx.PutPlaces(ctx, c.ID, places, at)
	if err != nil {
		return 0, err
	}
	// In order, so that equal lists give equal chains of facts.
	slices.SortFunc(placed.Runs, compareRuns)
	changes, err := tx.SyncRuns(ctx, placed.Runs, at)
	if err != nil {
		return 0, err
	}
	for _, change := range changes {
		if err := recordRun(ctx, tx, c, change, at); err != nil {
			return 0, err
		}
	}
	return placed.Keys, nil
}

func compareRuns(a, b dossier.Run) int {
	return cmp.Or(cmp.Compare(a.Source(), b.Source()), cmp.Compare(a.Digest, b.Digest))
}

func recordRun(ctx context.Context, tx store.Tx, c dossier.Cluster, change store.RunChange, at time.Time) error {
	body, err := json.Marshal(dossier.RunBody{Run: change.Run, Cluster: c.Name, Runs: change.Runs})
	if err != nil {
		return err
	}
	_, _, err = tx.Record(ctx, dossier.Statement{Subject: change.Digest, Kind: dossier.FactRun, Source: change.Source(), ValidAt: at, Body: body})
	return err
}
