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

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/testimage"
)

// gate holds up requests of which the path contains a word, until it opens.
type gate struct {
	word    string
	opened  chan struct{}
	waiting chan struct{} // gets one for each request that is held up
}

func newGate(t *testing.T, word string) *gate {
	g := &gate{word: word, opened: make(chan struct{}), waiting: make(chan struct{}, 1000)}
	t.Cleanup(g.open)
	return g
}

func (g *gate) open() {
	select {
	case <-g.opened:
	default:
		close(g.opened)
	}
}

func (g *gate) intercept(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, g.word) {
			g.waiting <- struct{}{}
			select {
			case <-g.opened:
			case <-r.Context().Done():
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// run starts Run; the returned function ends it and waits for it.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.ingest.Run(ctx) }()
	return func() {
		w.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}
}

func (w *world) isKnown(d dossier.Digest) bool {
	w.t.Helper()
	known := false
	w.view(func(r store.Reader) error {
		images, err := r.Images(w.t.Context(), []dossier.Digest{d})
		known = len(images) == 1
		return err
	})
	return known
}

// TestSlowImageHoldsUpNoOther: as long as a worker is free, a new image is read
// at once, whatever the others wait for.
func TestSlowImageHoldsUpNoOther(t *testing.T) {
	g := newGate(t, "/slow/")
	w := newWorld(t, nil, testimage.RegistryOptions{Intercept: g.intercept})
	slow, quick := w.push("slow", "1", app("1")), w.push("quick", "1", app("2"))
	stop := w.run()
	defer stop()
	w.apply(cluster.Snapshot{Places: []dossier.Place{w.pod("a", "slow-1", "slow:1", slow)}})
	<-g.waiting
	p := w.pod("a", "quick-1", "quick:1", quick)
	if err := w.ingest.ApplyPods(t.Context(), testCluster, map[string][]dossier.Place{p.Key(): {p}}); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(10 * time.Second)
	for !w.isKnown(quick) {
		select {
		case <-deadline:
			t.Fatal("the quick image waits for the slow one")
		case <-time.After(20 * time.Millisecond):
		}
	}
	g.open()
}

// TestStopGivesJobsBack: whoever comes next need not wait for leases to run out.
func TestStopGivesJobsBack(t *testing.T) {
	g := newGate(t, "/app")
	w := newWorld(t, func(c *ingest.Config) { c.Workers = 2 }, testimage.RegistryOptions{Intercept: g.intercept})
	var places []dossier.Place
	for _, name := range []string{"app1", "app2", "app3", "app4", "app5"} {
		places = append(places, w.pod("a", name+"-1", name+":1", w.push(name, "1", app(name))))
	}
	stop := w.run()
	w.apply(cluster.Snapshot{Places: places})
	<-g.waiting
	stop()
	for _, job := range append(w.jobs(ingest.JobRead), w.jobs(ingest.JobTag)...) {
		if job.State != store.JobReady || job.RunAt.After(w.now) || job.LastError != "" {
			t.Errorf("job %s is %s until %s, runs at %s, error %q; want it ready as it was", job.Key, job.State, job.LeasedUntil, job.RunAt, job.LastError)
		}
	}
	g.open()
	w.drain()
	for _, p := range places {
		if !w.isKnown(p.Digest) {
			t.Errorf("%s was not read", p.Requested)
		}
	}
}

func TestDrainSaysThatItWasStopped(t *testing.T) {
	g := newGate(t, "/app/")
	w := newWorld(t, nil, testimage.RegistryOptions{Intercept: g.intercept})
	w.apply(cluster.Snapshot{Places: []dossier.Place{w.pod("a", "app-1", "app:1", w.push("app", "1", app("1")))}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-g.waiting
		cancel()
	}()
	if err := w.ingest.Drain(ctx, ingest.Kinds(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain that did not come to its end: %v", err)
	}
}

// TestDrainWaitsForOthers: what another process has in hand is waited for,
// however many jobs are parked.
func TestDrainWaitsForOthers(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	const parked = 1200
	w.update(func(tx store.Tx) error {
		for i := range parked {
			if _, err := tx.Enqueue(t.Context(), store.Job{Kind: ingest.JobRead, Key: strings.Repeat("x", i+1)}); err != nil {
				return err
			}
		}
		jobs, err := tx.Lease(t.Context(), "somebody", ingest.Kinds(), parked, w.now, time.Hour)
		if err != nil {
			return err
		}
		for _, job := range jobs {
			if err := tx.Park(t.Context(), job.ID, "somebody", "it failed"); err != nil {
				return err
			}
		}
		return nil
	})
	w.update(func(tx store.Tx) error {
		if _, err := tx.Enqueue(t.Context(), store.Job{Kind: ingest.JobRead, Key: "last"}); err != nil {
			return err
		}
		jobs, err := tx.Lease(t.Context(), "somebody else", ingest.Kinds(), 10, w.now, time.Hour)
		if len(jobs) != 1 {
			t.Fatalf("%d jobs are due, want the last one", len(jobs))
		}
		return err
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := w.ingest.Drain(ctx, ingest.Kinds(), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain does not wait for the leased job: %v", err)
	}
}

func (w *world) update(f func(store.Tx) error) {
	w.t.Helper()
	if err := w.store.Update(w.t.Context(), f); err != nil {
		w.t.Fatal(err)
	}
}

// TestIdleWorkersWriteNothing: looking for jobs where there are none is no change.
func TestIdleWorkersWriteNothing(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	var commits atomic.Int32
	w.ingest.Store = observed{Store: w.store, committed: &commits}
	w.drain()
	if n := commits.Load(); n != 0 {
		t.Errorf("%d transactions were committed, want none", n)
	}
}

// observed is a store that counts commits, and runs what it is given twice, as
// a store may.
type observed struct {
	store.Store
	committed *atomic.Int32
}

func (o observed) UpdateSoon(ctx context.Context, f func(store.Tx) error) error {
	return o.Update(ctx, f)
}

func (o observed) Update(ctx context.Context, f func(store.Tx) error) error {
	err := o.Store.Update(ctx, f)
	if err == nil {
		o.committed.Add(1)
	}
	return err
}

func (o observed) View(ctx context.Context, f func(store.Reader) error) error {
	return o.Store.View(ctx, func(r store.Reader) error {
		if err := f(r); err != nil {
			return err
		}
		return f(r)
	})
}

func TestListSurvivesSecondLook(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	var commits atomic.Int32
	w.ingest.Store = observed{Store: w.store, committed: &commits}
	d := w.push("app", "1", app("1"))
	snapshot := cluster.Snapshot{Places: []dossier.Place{w.pod("a", "app-1", "app:1", d)}}
	w.apply(snapshot)
	if n := w.apply(snapshot); n != 0 {
		t.Errorf("the same list changed %d keys", n)
	}
	if got := w.runs(d); len(got) != 1 || !strings.HasSuffix(got[0], " runs") {
		t.Errorf("runs %v, want one that goes on", got)
	}
}

// TestJobThatKillsIsParked: a job that nobody survives is not begun for ever.
func TestJobThatKillsIsParked(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	w.apply(cluster.Snapshot{Places: []dossier.Place{w.pod("a", "app-1", "app:1", w.push("app", "1", app("1")))}})
	for range ingest.MaxBegun {
		w.now = w.now.Add(time.Hour)
		w.update(func(tx store.Tx) error {
			_, err := tx.Lease(t.Context(), "dies", ingest.Kinds(), 10, w.now, time.Minute)
			return err
		})
	}
	w.now = w.now.Add(time.Hour)
	w.registry.ResetRequests()
	w.drain()
	for _, job := range append(w.jobs(ingest.JobRead), w.jobs(ingest.JobTag)...) {
		if job.State != store.JobParked || ingest.ParseFailure(job.LastError).Message == "" {
			t.Errorf("job %s is %s, %q; want it parked with a reason", job.Key, job.State, job.LastError)
		}
	}
	if got := w.registry.Requests(); len(got) != 0 {
		t.Errorf("it was begun once more: %v", got)
	}
}

func TestParkedJobRests(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	bad := w.push("app", "1", testimage.Image{RawConfig: []byte("no JSON")})
	snapshot := cluster.Snapshot{Places: []dossier.Place{w.pod("a", "web-1", "app:1", bad)}}
	w.apply(snapshot)
	w.drain()
	for _, step := range []struct {
		after time.Duration
		want  store.JobState
	}{{ingest.ParkedFor / 2, store.JobParked}, {ingest.ParkedFor, store.JobReady}} {
		w.now = w.now.Add(step.after)
		w.apply(snapshot)
		for _, job := range w.jobs(ingest.JobRead) {
			if job.State != step.want {
				t.Errorf("after %s more the job is %s, want %s", step.after, job.State, step.want)
			}
		}
	}
}

// TestRegistryCannotAskForYears: Retry-After comes from outside.
func TestRegistryCannotAskForYears(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) { c.Images = &image.Client{Now: c.Now} }, testimage.RegistryOptions{
		Intercept: func(http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Retry-After", "2000000000")
				rw.WriteHeader(http.StatusTooManyRequests)
			})
		}})
	w.apply(cluster.Snapshot{Places: []dossier.Place{w.pod("a", "web-1", "app:1", w.push("app", "1", app("1")))}})
	w.drain()
	jobs := w.jobs(ingest.JobRead)
	if len(jobs) != 1 || jobs[0].State != store.JobReady || jobs[0].RunAt.Sub(w.now) > 24*time.Hour || jobs[0].RunAt.Sub(w.now) < time.Hour {
		t.Errorf("jobs %+v, want one that waits for some hours", jobs)
	}
}

// full is a store that has no room any more once its user says so.
type full struct {
	store.Store
	now *atomic.Bool
}

func (f full) UpdateSoon(ctx context.Context, g func(store.Tx) error) error { return f.Update(ctx, g) }

func (f full) Update(ctx context.Context, g func(store.Tx) error) error {
	if f.now.Load() {
		return dossier.Errorf(dossier.KindStorage, "writing database", "", "no room is left")
	}
	return f.Store.Update(ctx, g)
}

// TestFullStoreEndsWork: when the store takes neither what a job found nor the
// job back, nobody waits for leases to run out, again and again.
func TestFullStoreEndsWork(t *testing.T) {
	var isFull atomic.Bool
	w := newWorld(t, nil, testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			isFull.Store(true)
			next.ServeHTTP(rw, r)
		})
	}})
	d := w.push("app", "1", app("1"))
	places := []dossier.Place{w.pod("a", "app-1", "app:1", d)}
	w.apply(cluster.Snapshot{Places: places})
	w.ingest.Store = full{w.store, &isFull}
	for name, work := range map[string]func(context.Context) error{
		"Drain": func(ctx context.Context) error { return w.ingest.Drain(ctx, ingest.Kinds(), nil) },
		"Run":   w.ingest.Run,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := work(ctx); dossier.KindOf(err) != dossier.KindStorage {
			t.Errorf("%s on a full store: %v, want the error of the store", name, err)
		}
		cancel()
		isFull.Store(false)
		w.now = w.now.Add(time.Hour) // the leases have run out
	}
	w.ingest.Store = w.store
	w.drain()
	if !w.isKnown(d) {
		t.Error("the image was not read once there was room")
	}
}
