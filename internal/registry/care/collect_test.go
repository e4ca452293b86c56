// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/store"
)

// TestBlobLife follows a blob that no manifest comes to need, to its end and back.
func TestBlobLife(t *testing.T) {
	t.Run("in its place", func(t *testing.T) { testBlobLife(t, newWorld(t)) })
	t.Run("in a row", func(t *testing.T) { testBlobLife(t, newWorldOn(t, engines[0].config(t), inRows)) })
}

func testBlobLife(t *testing.T, w *world) {
	d := w.upload("a", "some text")
	other := w.upload("b", "some text")
	w.pass(registry.Lease/2 + time.Second)
	if a := w.do(http.MethodHead, "/v2/a/blobs/"+string(d), ""); a.status != http.StatusOK {
		t.Fatalf("HEAD: %d", a.status)
	}
	w.pass(registry.Lease/2 + time.Minute)
	if got := items(w.collect(config.Care{})); !cmp.Equal(got, []string{"blob b  " + other.Short() + ": no manifest needs it"}) {
		t.Errorf("collected %q, want it taken from b alone: in a somebody was told of it", got)
	}
	w.pass(registry.Lease)
	got := w.collect(config.Care{})
	if want := (dossier.CollectionCounts{Blobs: 1, Condemned: 9}); got.Counts != want {
		t.Errorf("collected %+v, want %+v", got.Counts, want)
	}
	if w.there("a", d) || w.there("b", d) {
		t.Error("it is still there")
	}
	if n := len(w.keys()); n != 1 {
		t.Errorf("there are bytes under %d keys, want 1: it was condemned only now", n)
	}
	w.upload("a", "some text") // comes again before its old bytes go
	w.pass(care.DefaultDelay)
	if got := w.collect(config.Care{}); got.Counts.Freed != 9 || len(w.keys()) != 1 {
		t.Errorf("freed %d bytes, there are bytes under %d keys", got.Counts.Freed, len(w.keys()))
	}
	if !w.there("a", d) {
		t.Error("what came again has gone with the old bytes")
	}
}

// TestDefaultKeepsManifests checks that without rules nothing goes that a manifest
// needs, tagged or not.
func TestDefaultKeepsManifests(t *testing.T) {
	w := newWorld(t)
	c := w.push("a", "", image("one", "two"))
	w.pass(1000 * registry.Lease)
	if got := w.collect(config.Care{}); len(got.Items) > 0 {
		t.Errorf("collected %q", items(got))
	}
	if a := w.do(http.MethodDelete, "/v2/a/manifests/"+string(c.Digest()), ""); a.status != http.StatusAccepted {
		t.Fatalf("DELETE: %d", a.status)
	}
	w.pass(registry.Lease - time.Second)
	if got := w.collect(config.Care{}); len(got.Items) > 0 {
		t.Errorf("collected %q while pushes may share it", items(got))
	}
	w.pass(time.Second)
	if got := w.collect(config.Care{}); got.Counts.Blobs != 3 {
		t.Errorf("collected %q, want configuration and two layers", items(got))
	}
}

// TestClusterKeeps checks each way in which a cluster needs something.
func TestClusterKeeps(t *testing.T) {
	w := newWorld(t)
	base := w.push("base", "", image("base"))
	baseIndex := w.push("base", "", indexOf(image("base")))
	named := w.push("base", "", image("named base"))
	built := image("base", "app")
	built.Annotations = map[string]string{"org.opencontainers.image.base.digest": string(named.Digest())}
	app := w.push("app", "", built)
	signature := w.push("app", "", artifact("signature", app))
	signed := w.push("app", "", artifact("signature of the signature", signature))
	plain := w.push("app", "", image("plain"))
	plainIndex := w.push("app", "", indexOf(image("plain"), image("another platform")))
	config1 := w.push("app", "", image("by its configuration"))
	history := w.push("app", "", image("history"))
	cron := w.push("app", "cron", image("cron"))
	former := w.push("app", "former", image("former"))
	mirrored := w.push("docker.io/library/nginx", "", image("nginx"))
	unneeded := w.push("app", "", image("base", "other app"))
	sibling := w.push("app", "", artifact("of nothing", unneeded))

	w.runs("app", app.Digest(), "elsewhere.example/app:1")
	w.runs("plain", plain.Digest(), host+"/app:2")
	w.runs("config", dossier.Digest(config1.Blobs[0].Digest), host+"/app:3")
	w.cluster(
		dossier.Pin{Namespace: "shop", Kind: "ReplicaSet", Name: "app-1", Owner: "Deployment/app", Reference: host + "/app@" + string(history.Digest())},
		dossier.Pin{Namespace: "shop", Kind: "CronJob", Name: "night", Reference: "mirror.example/app:cron"},
		dossier.Pin{Namespace: "shop", Kind: "Deployment", Name: "former", Reference: host + "/app:former"},
		dossier.Pin{Namespace: "shop", Kind: "Deployment", Name: "web", Reference: "nginx@" + string(mirrored.Digest())},
	)
	w.do(http.MethodDelete, "/v2/app/manifests/former", "")

	w.pass(registry.Lease)
	w.cluster(w.pins()...)
	policy := untagged()
	policy.Retention[0].Tags = &config.TagRetention{KeepYounger: time.Minute}
	want := "cluster: it is a base of " + app.Digest().Short() + "; Deployment/app in shop of cluster prod runs it"
	if got := w.why(policy, "", base.Digest()); !strings.Contains(got, want) {
		t.Errorf("why the base is kept: %s; want %s", got, want)
	}
	w.collect(policy)
	w.pass(registry.Lease)
	w.cluster(w.pins()...)
	w.collect(policy)

	for name, is := range map[string]struct {
		repository string
		digest     dossier.Digest
	}{
		"base": {"base", base.Digest()}, "index of the base": {"base", baseIndex.Digest()}, "named base": {"base", named.Digest()},
		"app": {"app", app.Digest()}, "signature": {"app", signature.Digest()}, "its signature": {"app", signed.Digest()},
		"plain": {"app", plain.Digest()}, "its index": {"app", plainIndex.Digest()}, "image of a configuration": {"app", config1.Digest()},
		"history": {"app", history.Digest()}, "cron": {"app", cron.Digest()}, "former": {"app", former.Digest()},
		"mirrored":                  {"docker.io/library/nginx", mirrored.Digest()},
		"layer of the app":          {"app", app.Blobs[len(app.Blobs)-1].Digest},
		"layer of another platform": {"app", plainIndex.Blobs[len(plainIndex.Blobs)-1].Digest},
	} {
		if !w.there(is.repository, is.digest) {
			t.Errorf("%s was collected", name)
		}
	}
	for name, d := range map[string]dossier.Digest{"unneeded": unneeded.Digest(), "its layer": unneeded.Blobs[2].Digest} {
		if w.there("app", d) {
			t.Errorf("%s was kept", name)
		}
	}
	if w.there("app", sibling.Digest()) {
		w.pass(registry.Lease)
		w.cluster(w.pins()...)
		if w.collect(policy); w.there("app", sibling.Digest()) {
			t.Error("what refers to nothing was kept")
		}
	}
	if a := w.do(http.MethodGet, "/v2/app/manifests/cron", ""); a.status != http.StatusOK {
		t.Errorf("a tag that a cluster names was collected: %d", a.status)
	}
}

// TestClusterKeepsBytes deletes the manifest of an image that runs. What it is made
// of stays, so that it can be pushed again.
func TestClusterKeepsBytes(t *testing.T) {
	w := newWorld(t)
	app := w.push("app", "1", image("app"))
	w.runs("app", app.Digest(), host+"/app:1")
	w.cluster()
	w.do(http.MethodDelete, "/v2/app/manifests/"+string(app.Digest()), "")
	w.pass(10 * registry.Lease)
	w.cluster()
	if got := w.collect(untagged()); len(got.Items) > 0 {
		t.Errorf("collected %q", items(got))
	}
}

// TestUnknownClusterKeeps checks that nothing goes that could be of an image when
// it is not known what a cluster needs, and that other things do.
func TestUnknownClusterKeeps(t *testing.T) {
	listing := func(l store.Listing) func(*world, *care.Config) {
		return func(w *world, _ *care.Config) {
			w.update(func(tx store.Tx) error { return tx.PutListing(t.Context(), l) })
		}
	}
	tests := []struct {
		name    string
		change  func(*world, *care.Config)
		unknown string // part of what is said; empty: all is known
	}{
		{"no cluster at all", func(*world, *care.Config) {}, ""},
		{"a fresh list", func(w *world, _ *care.Config) { w.cluster() }, ""},
		{"never reached", listing(store.Listing{Part: store.ListingPods, Problem: "no route"}), "not reached"},
		{"never whole", listing(store.Listing{Cluster: "c2", Part: store.ListingTemplates, Problem: "forbidden"}), "templates of cluster c2 were never listed whole: forbidden"},
		{"never listed", func(w *world, _ *care.Config) {
			w.update(func(tx store.Tx) error { return tx.PutCluster(t.Context(), dossier.Cluster{ID: "c2", Name: "prod"}) })
		}, "templates of cluster prod were never listed whole"},
		{"a file", func(w *world, _ *care.Config) {
			w.update(func(tx store.Tx) error { return tx.PutCluster(t.Context(), dossier.Cluster{ID: "file:1", Name: "f"}) })
		}, ""},
		{"an old list", listing(store.Listing{Cluster: "c2", Part: store.ListingPods, At: start}), "pods of cluster c2 were last listed whole at 2026-05-01T12:00:00Z"},
		{"a part of it", listing(store.Listing{Cluster: "c2", Part: store.ListingPods, At: start.AddDate(1, 0, 0), Scope: "namespaces a"}),
			"of cluster c2 only the pods of namespaces a are listed"},
		{"a part of it, which is enough", func(w *world, c *care.Config) {
			listing(store.Listing{Cluster: "c2", Part: store.ListingPods, At: w.clock(), Scope: "namespaces a"})(w, c)
			c.Policy.PartialCluster = true
		}, ""},
		{"an old list of a part of it", func(w *world, c *care.Config) {
			listing(store.Listing{Cluster: "c2", Part: store.ListingPods, At: start, Scope: "namespaces a"})(w, c)
			c.Policy.PartialCluster = true
		}, "pods of cluster c2 were last listed whole at"},
		{"an old list of one that is no more", func(w *world, c *care.Config) {
			listing(store.Listing{Cluster: "c2", Part: store.ListingPods, At: start})(w, c)
			c.Policy.ForgetClusters = []string{"c2"}
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			app := w.push("app", "", image("app"))
			tagged := w.push("app", "1", image("tagged"))
			gone := w.push("app", "2", image("gone"))
			loose := w.upload("app", "of no image")
			w.do(http.MethodDelete, "/v2/app/manifests/"+string(gone.Digest()), "")
			w.pass(2 * registry.Lease)
			policy := untagged()
			policy.Retention[0].Tags = &config.TagRetention{KeepYounger: time.Minute}
			c := w.collector(policy, func(c *care.Config) { tt.change(w, c) })
			got, err := c.Collect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if said := strings.Join(got.Withheld, "\n"); !strings.Contains(said, tt.unknown) || (said == "") != (tt.unknown == "") {
				t.Errorf("it says %q, want %q", said, tt.unknown)
			}
			want := dossier.CollectionCounts{Tags: 1, Manifests: 1, Blobs: 3, Condemned: got.Counts.Condemned}
			if tt.unknown != "" {
				want.Tags, want.Manifests, want.Blobs = 0, 0, 1
			}
			if got.Counts != want {
				t.Errorf("collected %+v, want %+v: %q", got.Counts, want, items(got))
			}
			if w.there("app", loose) {
				t.Error("a blob that is of no image was kept")
			}
			if kept := w.there("app", app.Digest()) && w.there("app", tagged.Digest()); kept != (tt.unknown != "") && tt.unknown != "" {
				t.Error("a manifest was collected")
			}
		})
	}
}

// pins returns those of the cluster.
func (w *world) pins() []dossier.Pin {
	w.t.Helper()
	var pins []dossier.Pin
	err := w.store.View(w.t.Context(), func(r store.Reader) (err error) {
		pins, err = r.Pins(w.t.Context())
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return pins
}

// why returns the reasons to keep a digest in words, a line each, and when it goes.
func (w *world) why(p config.Care, path string, d dossier.Digest) string {
	w.t.Helper()
	k, err := w.collector(p).Why(w.t.Context(), path, d)
	if err != nil {
		w.t.Fatal(err)
	}
	var lines []string
	for _, in := range k.Repositories {
		for _, r := range in.Reasons {
			lines = append(lines, string(r.Kind)+": "+r.Text)
		}
		if in.Goes != nil {
			lines = append(lines, "goes at "+in.Goes.At.Format(time.RFC3339)+": "+in.Goes.Rule)
		}
	}
	for _, d := range k.Deleted {
		lines = append(lines, "deleted by "+d.By+": "+d.Reason)
	}
	return strings.Join(lines, "\n")
}
