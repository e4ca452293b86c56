// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/testimage"
)

func TestNextTry(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	g := ingest.New(ingest.Config{Now: func() time.Time { return now }})
	of := func(kind dossier.Kind) error { return dossier.Errorf(kind, "trying", "", "it failed") }
	tests := []struct {
		cause    error
		attempts int
		min, max time.Duration // 0: parked
	}{
		{of(dossier.KindUnavailable), 1, 7 * time.Second, 15 * time.Second},
		{of(dossier.KindUnavailable), 2, 15 * time.Second, 30 * time.Second},
		{of(dossier.KindUnavailable), 7, 8 * time.Minute, 16 * time.Minute},
		{of(dossier.KindUnavailable), 8, 0, 0},
		{errors.New("no kind"), 7, time.Minute, time.Hour},
		{of(dossier.KindNotFound), 2, 15 * time.Second, 30 * time.Second},
		{of(dossier.KindNotFound), 3, 0, 0},
		{of(dossier.KindDenied), 3, 0, 0},
		{of(dossier.KindCorrupt), 1, 0, 0},
		{of(dossier.KindInvalid), 1, 0, 0},
		{of(dossier.KindLimit), 1, 0, 0},
		{of(dossier.KindUnsupported), 1, 0, 0},
		{&image.Throttled{Until: now.Add(5 * time.Hour)}, 1, 5 * time.Hour, 5 * time.Hour},
		{&image.Throttled{Until: now.Add(-time.Hour)}, 1, 7 * time.Second, 15 * time.Second},
	}
	for _, test := range tests {
		at, again := g.NextTry(store.Job{Attempts: test.attempts}, test.cause)
		if wait := at.Sub(now); again != (test.max > 0) || again && (wait < test.min || wait > test.max) {
			t.Errorf("%v, attempt %d: again %v in %s, want between %s and %s", test.cause, test.attempts, again, wait, test.min, test.max)
		}
	}
}

// TestListsWithSelectors: what a list did not look for is not gone.
func TestListsWithSelectors(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	d := w.push("app", "1", app("1"))
	web, api := w.pod("a", "web-1", "app:1", d), w.pod("a", "api-1", "app:1", d)
	web.Labels, api.Labels = "app=web", "app=api"
	w.apply(cluster.Snapshot{Places: []dossier.Place{web, api}})
	w.now = w.now.Add(time.Minute)
	w.apply(cluster.Snapshot{Scope: cluster.Scope{Selector: "app=web"}, Problems: []cluster.Problem{{Err: errors.New("all is unknown")}}})
	want := []string{"a/Deployment/api/container/main@linux/amd64 runs", "a/Deployment/web/container/main@linux/amd64 runs"}
	if diff := cmp.Diff(want, w.runs(d)); diff != "" {
		t.Errorf("runs after a list that failed (-want +got):\n%s", diff)
	}
	w.apply(cluster.Snapshot{Scope: cluster.Scope{Selector: "app=web"}})
	want[1] = "a/Deployment/web/container/main@linux/amd64 ended"
	if diff := cmp.Diff(want, w.runs(d)); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
}

// TestWhatIsAskedOfRegistries: a digest is read once, what runs rather than what
// was asked for, and for all platforms when nobody says which.
func TestWhatIsAskedOfRegistries(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) { c.Workers = 1 }, testimage.RegistryOptions{})
	arm := app("1")
	arm.Platform = "linux/arm64"
	runs := w.push("app", "1", testimage.Of(app("1"), arm))
	pinned := w.push("app", "2", app("2"))
	p := w.pod("a", "web-1", "app:1", runs)
	other := w.pod("a", "api-1", "app@"+string(pinned), runs)
	other.ImageID, other.Platform = p.ImageID, "linux/arm64"
	places := []dossier.Place{p, other}
	if err := w.ingest.ApplyPods(t.Context(), testCluster, map[string][]dossier.Place{p.Key(): places[:1]}); err != nil {
		t.Fatal(err)
	}
	if places[0].Cluster != "" {
		t.Error("ApplyPods changed what it was given")
	}
	w.apply(cluster.Snapshot{Places: places})
	w.drain()
	asked := map[string]int{}
	for _, r := range w.registry.Requests() {
		asked[r.Method+" "+r.Path[strings.LastIndex(r.Path, "/")+1:]]++
	}
	if asked["GET "+string(runs)] > 2 || asked["HEAD 1"] == 0 || asked["GET 1"] != 0 || asked["GET "+string(pinned)] != 0 {
		t.Errorf("requests %v; want the index for each platform, the tag by HEAD, and not what is pinned and does not run", asked)
	}
	unknown := w.push("more", "1", testimage.Of(app("3"), arm))
	q := w.pod("a", "more-1", "more:1", unknown)
	q.Platform = ""
	w.apply(cluster.Snapshot{Places: []dossier.Place{q}})
	w.drain()
	w.view(func(r store.Reader) error {
		edges, err := r.Edges(t.Context(), []dossier.Digest{unknown}, dossier.RolePlatform)
		for _, e := range edges {
			if !w.isKnown(e.Child) {
				t.Errorf("%s was not read, and nobody knows what the node is", e.Platform)
			}
		}
		return err
	})
}

// deadlines is a reader of images that notes how long it is given.
type deadlines struct {
	*image.Client
	shortest atomic.Int64
}

func (d *deadlines) Read(ctx context.Context, ref string, opt image.ReadOptions) (*image.Tree, error) {
	if at, ok := ctx.Deadline(); ok {
		if left := int64(time.Until(at)); d.shortest.Load() == 0 || left < d.shortest.Load() {
			d.shortest.Store(left)
		}
	}
	return d.Client.Read(ctx, ref, opt)
}

// TestJobHasTimeOfItsOwn: one that waited behind slow ones is leased anew.
func TestJobHasTimeOfItsOwn(t *testing.T) {
	var clock atomic.Int64
	images := &deadlines{Client: &image.Client{}}
	w := newWorld(t, func(c *ingest.Config) {
		begin := c.Now()
		c.Workers, c.Lease, c.Images = 1, time.Minute, images
		c.Now = func() time.Time { return begin.Add(time.Duration(clock.Load())) }
	}, testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/manifests/1") {
				clock.Add(int64(40 * time.Second)) // a tag takes its time
			}
			next.ServeHTTP(rw, r)
		})
	}})
	w.apply(cluster.Snapshot{Places: []dossier.Place{w.pod("a", "one-1", "one:1", ""), w.pod("a", "two-1", "two:1", "")}})
	one, two := w.push("one", "1", app("1")), w.push("two", "1", app("2"))
	w.drain()
	if !w.isKnown(one) || !w.isKnown(two) {
		t.Error("the images were not read")
	}
	if left := time.Duration(images.shortest.Load()); left < 30*time.Second {
		t.Errorf("a job was begun with %s left", left)
	}
}

// TestInspectDoesNoOthersJob: what somebody else reads is left to them.
func TestInspectDoesNoOthersJob(t *testing.T) {
	var calls atomic.Int32
	w := newWorld(t, func(c *ingest.Config) {
		c.Layer = readLayers(t, func(dossier.Digest) error {
			calls.Add(1)
			return nil
		})
	}, testimage.RegistryOptions{})
	w.push("app", "1", app("1"))
	w.push("other", "1", app("2"))
	inspect := func(name string, layers bool) {
		if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/"+name+":1", layers); err != nil {
			t.Fatal(err)
		}
	}
	inspect("app", false)
	w.update(func(tx store.Tx) error {
		_, err := tx.Lease(t.Context(), "somebody", ingest.Kinds(), 1, w.now, time.Minute)
		return err
	})
	inspect("other", false)
	inspect("app", true)
	if n := calls.Load(); n != 0 {
		t.Errorf("%d layers were read, want none", n)
	}
}
