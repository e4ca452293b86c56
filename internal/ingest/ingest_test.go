// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"fmt"
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
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
	"dossier.dev/dossier/internal/testimage"
)

// world is a registry, a store and an Ingest between them, with a clock that
// only moves when told to.
type world struct {
	t        *testing.T
	registry *testimage.Registry
	store    *sqlstore.Store
	ingest   *ingest.Ingest
	now      time.Time
	path     string // of the store
}

func newWorld(t *testing.T, change func(*ingest.Config), opts testimage.RegistryOptions) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.registry = testimage.NewRegistry(t, opts)
	var err error
	now := func() time.Time { return w.now }
	w.path = sqltest.File(t)
	w.store, err = sqlstore.Open(t.Context(), sqlstore.Config{Path: w.path, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	config := ingest.Config{Store: w.store, Images: &image.Client{}, Now: now}
	if change != nil {
		change(&config)
	}
	w.ingest = ingest.New(config)
	return w
}

func (w *world) push(repository, tag string, b testimage.Builder) dossier.Digest {
	w.t.Helper()
	return testimage.MustPush(w.t, w.registry, repository, tag, b).Digest()
}

// pod is a running pod of a Deployment with one container.
func (w *world) pod(namespace, name, image string, d dossier.Digest) dossier.Place {
	repository, _, _ := strings.Cut(image, ":")
	p := dossier.Place{
		Workload:  dossier.Workload{Namespace: namespace, Kind: "Deployment", Name: strings.TrimRight(name, "-0123456789")},
		Pod:       name,
		PodUID:    "uid-" + name,
		Container: "main", Type: dossier.Container, Platform: "linux/amd64",
		Requested: w.registry.Host + "/" + image, Digest: d,
	}
	if d != "" {
		p.ImageID = w.registry.Host + "/" + repository + "@" + string(d)
	}
	return p
}

var testCluster = dossier.Cluster{ID: "cluster-1", Name: "test"}

func (w *world) apply(s cluster.Snapshot) int {
	w.t.Helper()
	s.Cluster = testCluster
	changed, err := w.ingest.Apply(w.t.Context(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	return changed
}

func (w *world) drain() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	if err := w.ingest.Drain(ctx, ingest.Kinds(), nil); err != nil {
		w.t.Fatal(err)
	}
	if ctx.Err() != nil {
		w.t.Fatal("the jobs do not end")
	}
}

// runs lists what runs by the newest run facts of the given digests.
func (w *world) runs(ds ...dossier.Digest) []string {
	w.t.Helper()
	var out []string
	w.view(func(r store.Reader) error {
		for f, err := range r.Holding(w.t.Context(), ds, dossier.Times{}, dossier.FactRun) {
			if err != nil {
				return err
			}
			state := "ended"
			if strings.Contains(string(f.Body), `"runs":true`) {
				state = "runs"
			}
			out = append(out, f.Source[strings.Index(f.Source, "/")+1:]+" "+state)
		}
		return nil
	})
	return out
}

func (w *world) view(f func(store.Reader) error) {
	w.t.Helper()
	if err := w.store.View(w.t.Context(), f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) jobs(kind string) []store.Job {
	w.t.Helper()
	var jobs []store.Job
	w.view(func(r store.Reader) (err error) {
		jobs, err = r.Jobs(w.t.Context(), kind, nil, 1000)
		return err
	})
	return jobs
}

func app(version string) testimage.Image {
	return testimage.Image{
		Labels: map[string]string{"org.opencontainers.image.version": version},
		Layers: []testimage.Layer{{Files: map[string]testimage.File{"app": testimage.Text(version)}}},
	}
}

func TestImageIsReadOnce(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	d := w.push("team/app", "1.0", testimage.Of(app("1.0")))
	snapshot := cluster.Snapshot{Places: []dossier.Place{w.pod("a", "app-1", "team/app:1.0", d), w.pod("a", "app-2", "team/app:1.0", d)}}
	if got := w.apply(snapshot); got != 2 {
		t.Errorf("Apply changed %d keys, want 2", got)
	}
	w.drain()
	w.view(func(r store.Reader) error {
		kinds := map[dossier.FactKind]int{}
		for f, err := range r.Chain(t.Context(), d) {
			if err != nil {
				return err
			}
			kinds[f.Kind]++
		}
		want := map[dossier.FactKind]int{dossier.FactIndex: 1, dossier.FactName: 1, dossier.FactTag: 1, dossier.FactRun: 1}
		if diff := cmp.Diff(want, kinds); diff != "" {
			t.Errorf("facts about the index (-want +got):\n%s", diff)
		}
		edges, err := r.Edges(t.Context(), []dossier.Digest{d}, dossier.RolePlatform)
		if err != nil || len(edges) != 1 {
			t.Fatalf("edges %v, error %v", edges, err)
		}
		images, err := r.Images(t.Context(), []dossier.Digest{d, edges[0].Child})
		if len(images) != 2 {
			t.Errorf("known images: %v, want the index and its manifest", images)
		}
		return err
	})
	w.registry.ResetRequests()
	if got := w.apply(snapshot); got != 0 {
		t.Errorf("applying the same list again changed %d keys", got)
	}
	w.drain()
	if got := w.registry.Requests(); len(got) != 0 {
		t.Errorf("known images were asked for again: %v", got)
	}
}

func TestListsCloseWhatIsGone(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	one, two := w.push("app", "1", app("1")), w.push("app", "2", app("2"))
	w.apply(cluster.Snapshot{Places: []dossier.Place{w.pod("a", "web-1", "app:1", one), w.pod("b", "api-1", "app:1", one)}})
	// A rollout: a new pod under a new digest, the old one gone.
	w.now = w.now.Add(time.Minute)
	w.apply(cluster.Snapshot{Places: []dossier.Place{w.pod("a", "web-2", "app:2", two), w.pod("b", "api-1", "app:1", one)}})
	want := []string{"a/Deployment/web/container/main@linux/amd64 ended", "b/Deployment/api/container/main@linux/amd64 runs"}
	if diff := cmp.Diff(want, w.runs(one)); diff != "" {
		t.Errorf("runs of the first image (-want +got):\n%s", diff)
	}
	// A list of one namespace says nothing of another.
	w.now = w.now.Add(time.Minute)
	w.apply(cluster.Snapshot{Scope: cluster.Scope{Namespaces: []string{"a"}}})
	want[1] = "b/Deployment/api/container/main@linux/amd64 runs"
	if diff := cmp.Diff(want, w.runs(one)); diff != "" {
		t.Errorf("runs after a list of another namespace (-want +got):\n%s", diff)
	}
	// A namespace that may not be read is not empty.
	w.now = w.now.Add(time.Minute)
	w.apply(cluster.Snapshot{Problems: []cluster.Problem{{Where: "b", Err: fmt.Errorf("forbidden")}}})
	if diff := cmp.Diff(want, w.runs(one)); diff != "" {
		t.Errorf("runs after a forbidden list (-want +got):\n%s", diff)
	}
	w.now = w.now.Add(time.Minute)
	w.apply(cluster.Snapshot{})
	want[1] = "b/Deployment/api/container/main@linux/amd64 ended"
	if diff := cmp.Diff(want, w.runs(one)); diff != "" {
		t.Errorf("runs after an empty list (-want +got):\n%s", diff)
	}
}

func TestEventsAndListsAgree(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	d := w.push("app", "1", app("1"))
	p := w.pod("a", "web-1", "app:1", d)
	for range 2 { // doubled events change nothing
		if err := w.ingest.ApplyPods(t.Context(), testCluster, map[string][]dossier.Place{p.Key(): {p}}); err != nil {
			t.Fatal(err)
		}
	}
	w.now = w.now.Add(time.Minute)
	if got := w.apply(cluster.Snapshot{Places: []dossier.Place{p}}); got != 0 {
		t.Errorf("the list changed %d keys after the event", got)
	}
	w.now = w.now.Add(time.Minute)
	if err := w.ingest.ApplyPods(t.Context(), testCluster, map[string][]dossier.Place{p.Key(): nil}); err != nil {
		t.Fatal(err)
	}
	want := []string{"a/Deployment/web/container/main@linux/amd64 ended"}
	if diff := cmp.Diff(want, w.runs(d)); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
}

func TestTagHistory(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	one := w.push("app", "stable", app("1"))
	snapshot := cluster.Snapshot{Places: []dossier.Place{w.pod("a", "web-1", "app:stable", one)}}
	w.apply(snapshot)
	w.drain()
	two := w.push("app", "stable", app("2"))
	// Within TagFresh nobody looks.
	w.apply(snapshot)
	w.drain()
	w.now = w.now.Add(time.Hour)
	w.apply(snapshot)
	w.drain()
	w.view(func(r store.Reader) error {
		history, err := r.TagHistory(t.Context(), w.registry.Host+"/app", "stable", 10)
		if err != nil {
			return err
		}
		var got []dossier.Digest
		for _, h := range history {
			got = append(got, h.Digest)
		}
		if diff := cmp.Diff([]dossier.Digest{two, one}, got); diff != "" {
			t.Errorf("history, newest first (-want +got):\n%s", diff)
		}
		return nil
	})
	w.view(func(r store.Reader) error {
		for f, err := range r.Holding(t.Context(), []dossier.Digest{one}, dossier.Times{}, dossier.FactTag) {
			if err != nil {
				return err
			}
			if !strings.Contains(string(f.Body), `"points":false`) {
				t.Errorf("the newest tag fact of the first digest is %s, want that it points no longer", f.Body)
			}
		}
		return nil
	})
}

func TestPoisonIsParkedAndRevived(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	bad := w.push("app", "1", testimage.Image{RawConfig: []byte("no JSON")})
	snapshot := cluster.Snapshot{Places: []dossier.Place{w.pod("a", "web-1", "app:1", bad)}}
	w.apply(snapshot)
	w.drain()
	jobs := w.jobs(ingest.JobRead)
	if len(jobs) != 1 || jobs[0].State != store.JobParked {
		t.Fatalf("jobs %+v, want one that is parked", jobs)
	}
	if f := ingest.ParseFailure(jobs[0].LastError); f.Message == "" {
		t.Error("the parked job does not say why")
	}
	// A loop does not wake it, a person does.
	w.apply(snapshot)
	if jobs := w.jobs(ingest.JobRead); jobs[0].State != store.JobParked {
		t.Errorf("after another list the job is %s", jobs[0].State)
	}
	w.ingest.Revive = true
	w.apply(snapshot)
	if jobs := w.jobs(ingest.JobRead); jobs[0].State != store.JobReady || jobs[0].Attempts != 0 {
		t.Errorf("revived job is %s after %d attempts, want ready after none", jobs[0].State, jobs[0].Attempts)
	}
}

func TestFailureIsTriedAgain(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	w := newWorld(t, func(c *ingest.Config) {
		c.Images = &image.Client{Limits: image.Limits{Retries: -1}}
	}, testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if broken.Load() && r.URL.Path != "/v2/" {
				http.Error(rw, "down", http.StatusInternalServerError)
				return
			}
			next.ServeHTTP(rw, r)
		})
	}})
	d := w.push("app", "1", app("1"))
	w.apply(cluster.Snapshot{Places: []dossier.Place{w.pod("a", "web-1", "app:1", d)}})
	w.drain()
	jobs := w.jobs(ingest.JobRead)
	if len(jobs) != 1 || jobs[0].State != store.JobReady || !jobs[0].RunAt.After(w.now) || jobs[0].LastError == "" {
		t.Fatalf("jobs %+v, want one that waits with its error", jobs)
	}
	broken.Store(false)
	w.now = jobs[0].RunAt
	w.drain()
	if jobs := w.jobs(ingest.JobRead); len(jobs) != 0 {
		t.Errorf("jobs %+v left, want none", jobs)
	}
	w.view(func(r store.Reader) error {
		images, err := r.Images(t.Context(), []dossier.Digest{d})
		if len(images) != 1 {
			t.Error("the image was not read on the second try")
		}
		return err
	})
}
