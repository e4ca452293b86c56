// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"errors"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/testimage"
)

// counted is a store that counts the Updates that succeeded, and in which no job
// can be made while refuse is set.
type counted struct {
	store.Store
	updates int
	refuse  error
}

func (c *counted) UpdateSoon(ctx context.Context, f func(store.Tx) error) error {
	return c.Update(ctx, f)
}

func (c *counted) Update(ctx context.Context, f func(store.Tx) error) error {
	err := c.Store.Update(ctx, func(tx store.Tx) error { return f(jobless{tx, c}) })
	if err == nil {
		c.updates++
	}
	return err
}

type jobless struct {
	store.Tx
	*counted
}

func (j jobless) Enqueue(ctx context.Context, job store.Job) (bool, error) {
	if j.refuse != nil {
		return false, j.refuse
	}
	return j.Tx.Enqueue(ctx, job)
}

// TestPlacesAndTheirJobsAreOne: what is seen to run is kept together with the
// jobs that it asks for, or not at all, and many pods cost as many transactions
// as one.
func TestPlacesAndTheirJobsAreOne(t *testing.T) {
	var s *counted
	w := newWorld(t, func(c *ingest.Config) {
		s = &counted{Store: c.Store, refuse: errors.New("no job can be made")}
		c.Store = s
	}, testimage.RegistryOptions{})
	pods := map[string][]dossier.Place{}
	var list []dossier.Place
	for _, name := range []string{"web-1", "web-2", "web-3", "api-1"} {
		p := w.pod("a", name, "app:1", dossier.FromBytes([]byte(name)))
		pods[p.Key()], list = []dossier.Place{p}, append(list, p)
	}
	kept := func() (n int) {
		w.view(func(r store.Reader) error {
			n = 0
			for range r.Places(t.Context(), store.PlaceQuery{}) {
				n++
			}
			return nil
		})
		return n
	}
	if err := w.ingest.ApplyPods(t.Context(), testCluster, pods); !errors.Is(err, s.refuse) {
		t.Errorf("ApplyPods: got %v, want %v", err, s.refuse)
	}
	if _, err := w.ingest.Apply(t.Context(), cluster.Snapshot{Cluster: testCluster, Places: list}); !errors.Is(err, s.refuse) {
		t.Errorf("Apply: got %v, want %v", err, s.refuse)
	}
	if n := kept(); n != 0 {
		t.Errorf("%d places are kept without their jobs", n)
	}
	s.refuse, s.updates = nil, 0
	if err := w.ingest.ApplyPods(t.Context(), testCluster, pods); err != nil {
		t.Fatal(err)
	}
	if n := kept(); n != len(pods) || s.updates != 1 {
		t.Errorf("%d of %d places kept in %d transactions, want one", n, len(pods), s.updates)
	}
	w.view(func(r store.Reader) error {
		for kind, want := range map[string]int{ingest.JobRead: 4, ingest.JobTag: 1} {
			jobs, err := r.Jobs(t.Context(), kind, nil, 100)
			if err != nil || len(jobs) != want {
				t.Errorf("%d jobs %s, want %d; %v", len(jobs), kind, want, err)
			}
		}
		return nil
	})
}
