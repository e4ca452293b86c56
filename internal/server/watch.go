// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
)

// Pace of a watch.
const (
	watchPause = 300 * time.Millisecond // after a change, for others to come along
	watchPoll  = 10 * time.Second       // at the latest, for what other replicas wrote
)

// Watch yields the images that q selects, then ChangeSynced, then every image
// whose dossier changes, until ctx ends. Only the last state is promised: of changes that
// follow closely upon one another some are not seen.
func (e *Engine) Watch(ctx context.Context, q dossier.ImagesQuery) iter.Seq2[dossier.Change, error] {
	return func(yield func(dossier.Change, error) bool) {
		seen := map[string][]byte{}
		synced := false
		for {
			next := e.changed.next()
			begin := time.Now()
			list, err := e.Images(ctx, q)
			if err != nil {
				if ctx.Err() == nil {
					yield(dossier.Change{}, err)
				}
				return
			}
			if !yieldChanges(list.Images, list.AsOf, seen, yield) {
				return
			}
			if !synced && !yield(dossier.Change{Type: dossier.ChangeSynced}, nil) {
				return
			}
			synced = true
			// A list that takes long is not made again and again.
			if !wait(ctx, next, max(watchPause, 4*time.Since(begin))) {
				return
			}
		}
	}
}

// wait returns after a change and a pause, or after watchPoll; false: ctx ended.
func wait(ctx context.Context, next <-chan struct{}, pause time.Duration) bool {
	timer := time.NewTimer(watchPoll)
	defer timer.Stop()
	select {
	case <-next:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

// yieldChanges compares images with what was seen before, and remembers them.
func yieldChanges(images []dossier.Dossier, at time.Time, seen map[string][]byte, yield func(dossier.Change, error) bool) bool {
	now := map[string]bool{}
	for i := range images {
		d := &images[i]
		id := identity(*d)
		now[id] = true
		print := fingerprint(*d)
		before, known := seen[id]
		if known && bytes.Equal(before, print) {
			continue
		}
		change := dossier.Change{Type: dossier.ChangeUpdated, Image: d}
		if !known {
			change.Type = dossier.ChangeAdded
		}
		seen[id] = print
		if !yield(change, nil) {
			return false
		}
	}
	for _, id := range slices.Sorted(maps.Keys(seen)) {
		if now[id] {
			continue
		}
		var gone dossier.Dossier
		if err := json.Unmarshal(seen[id], &gone); err != nil {
			yield(dossier.Change{}, err)
			return false
		}
		delete(seen, id)
		gone.Running = []dossier.Running{}
		setAsOf(&gone, at)
		if !yield(dossier.Change{Type: dossier.ChangeRemoved, Image: &gone}, nil) {
			return false
		}
	}
	return true
}

func identity(d dossier.Dossier) string {
	if d.Digest == "" && len(d.Requested) > 0 {
		return d.Requested[0]
	}
	return string(d.Digest)
}

// fingerprint is the dossier without the time at which it was asked for.
func fingerprint(d dossier.Dossier) []byte {
	setAsOf(&d, time.Time{})
	b, _ := json.Marshal(d) // plain data
	return b
}

func setAsOf(d *dossier.Dossier, at time.Time) {
	for _, q := range dossier.Questions() {
		d.Answers.Of(q).AsOf = at
	}
}

// Following is a cluster that is being watched.
type Following struct {
	Cluster    dossier.Cluster
	Namespaces []string

	engine *Engine
	live   *cluster.Live
	scope  cluster.Scope
}

// Follow connects to a cluster and lists it once, so that the first answer is whole.
func (e *Engine) Follow(ctx context.Context, c ClusterOptions) (*Following, error) {
	live, scope, err := e.connect(ctx, c)
	if err != nil {
		return nil, err
	}
	snapshot, err := live.List(ctx, scope)
	if err != nil {
		return nil, err
	}
	if _, err := e.ingest.Apply(ctx, snapshot); err != nil {
		return nil, err
	}
	return &Following{Cluster: snapshot.Cluster, Namespaces: scope.Namespaces, engine: e, live: live, scope: scope}, nil
}

// Run keeps the store in step with the cluster and reads new images, until ctx ends.
func (f *Following) Run(ctx context.Context) error {
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error { return f.engine.ingest.Run(both) })
	group.Go(func() error { return f.live.Watch(both, f.scope, f.handle) })
	err := group.Wait()
	if ctx.Err() != nil {
		return nil // it is how Run ends
	}
	return err
}

// handle applies one event.
func (f *Following) handle(ctx context.Context, event cluster.Event) error {
	if event.Kind == cluster.EventSync {
		_, err := f.engine.ingest.Apply(ctx, event.Snapshot)
		return err
	}
	return f.engine.ingest.ApplyPods(ctx, f.Cluster, event.Pods)
}
