// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"dossier.dev/dossier/internal/cluster"
)

// maxQuiet is how long a cluster may say nothing before the answers count as
// stale. A quiet watch is heard from about once a minute.
const maxQuiet = 3 * time.Minute

// follower keeps the store in step with a cluster.
type follower struct {
	engine  *Engine
	options ClusterOptions
	pins    bool // keep what templates name, too: a registry of this server goes by it
	task    task
	reached atomic.Bool // once

	mu       sync.Mutex
	live     *cluster.Live        // nil: not connected
	problems [2]map[string]string // where: what, as last logged, by what was listed
}

// What of a cluster problems are of.
const (
	podProblems = iota
	templateProblems
)

func newFollower(e *Engine, c ClusterOptions, pins bool) *follower {
	return &follower{engine: e, options: c, pins: pins, task: task{name: "following the cluster", log: e.config.Logger}}
}

// follow connects to the cluster and applies what happens there until ctx ends.
// The first event, and one from time to time, is the whole state: it also asks
// to see where tags point that nobody has looked at lately.
func (f *follower) follow(ctx context.Context) error {
	live, scope, err := f.engine.connect(ctx, f.options)
	if err != nil {
		if !f.reached.Load() {
			err = errors.Join(err, f.engine.ingest.Await(ctx)) // again: a server that follows none may have taken it back
		}
		return err
	}
	f.reached.Store(true)
	f.connected(live)
	f.task.set(nil)
	defer f.connected(nil)
	following := Following{Cluster: live.Cluster(), Namespaces: scope.Namespaces, engine: f.engine, live: live, scope: scope}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return live.Watch(ctx, scope, func(ctx context.Context, event cluster.Event) error {
			err := following.handle(ctx, event)
			if err != nil || event.Kind != cluster.EventSync {
				return err
			}
			f.logProblems(ctx, podProblems, event.Snapshot.Problems)
			return f.engine.ingest.Listed(ctx, event.Snapshot)
		})
	})
	if f.pins {
		group.Go(func() error {
			return live.WatchTemplates(ctx, scope.Namespaces, func(ctx context.Context, n cluster.Naming) error {
				if n.Kind == cluster.EventSync {
					f.logProblems(ctx, templateProblems, n.Problems)
				}
				return f.engine.ingest.ApplyNaming(ctx, live.Cluster(), scope.Namespaces, n)
			})
		})
	}
	return group.Wait()
}

func (f *follower) connected(live *cluster.Live) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live = live
}

// logProblems logs what of the cluster cannot be read, each time that changes.
func (f *follower) logProblems(ctx context.Context, of int, list []cluster.Problem) {
	now := map[string]string{}
	for _, p := range list {
		now[p.Where] = p.Err.Error()
	}
	f.mu.Lock()
	changed := !maps.Equal(now, f.problems[of])
	f.problems[of] = now
	f.mu.Unlock()
	if !changed {
		return
	}
	for _, p := range list {
		f.engine.config.Logger.WarnContext(ctx, "a part of the cluster cannot be read", "where", p.Where, "error", p.Err)
	}
}

// health returns what is known of the connection, and whether there is one.
func (f *follower) health() (cluster.Health, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live == nil {
		return cluster.Health{}, false
	}
	return f.live.Health(), true
}

// ready returns nil when the store is in step with the cluster, or why not.
func (f *follower) ready(ctx context.Context) error {
	health, connected := f.health()
	quiet := f.engine.config.Now().Sub(health.LastContact)
	switch {
	case !connected:
		if err := f.task.ready(ctx); err != nil {
			return err
		}
		return errors.New("connecting")
	case !health.Synced:
		return errors.Join(errors.New("the cluster was not listed yet"), health.LastError)
	case quiet > maxQuiet:
		return errors.Join(fmt.Errorf("nothing was heard of the cluster for %s", quiet.Round(time.Second)), health.LastError)
	}
	return nil
}
