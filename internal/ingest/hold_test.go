// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/testimage"
)

// TestLongJobIsHeld does a job that takes many times its lease and longer than the polls of another
// process, which waits to take it over.
func TestLongJobIsHeld(t *testing.T) {
	var begun atomic.Int32
	slow := func(c *ingest.Config) {
		c.Now, c.Lease = time.Now, 150*time.Millisecond
		read := readLayers(t, nil)
		c.Layer = func(ctx context.Context, ref string, l dossier.Edge, diffID dossier.Digest) (contents.LayerResult, error) {
			begun.Add(1)
			select {
			case <-time.After(2200 * time.Millisecond):
				return read(ctx, ref, l, diffID)
			case <-ctx.Done():
				return contents.LayerResult{}, ctx.Err()
			}
		}
	}
	w := newWorld(t, slow, testimage.RegistryOptions{})
	d := w.push("app", "1", app("1"))
	w.apply(cluster.Snapshot{Places: []dossier.Place{w.pod("a", "web-1", "app:1", d)}})
	config := w.ingest.Config
	other := ingest.New(config)
	var both sync.WaitGroup
	for _, g := range []*ingest.Ingest{w.ingest, other} {
		both.Go(func() {
			if err := g.Drain(t.Context(), ingest.Kinds(), nil); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if got := begun.Load(); got != 1 {
		t.Errorf("the job was begun %d times, want once", got)
	}
	if jobs := w.jobs(ingest.JobLayer); len(jobs) != 0 {
		t.Errorf("jobs %+v left", jobs)
	}
}
