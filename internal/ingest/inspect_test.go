// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/testimage"
)

func TestInspectOfVanishedTag(t *testing.T) {
	var gone atomic.Bool
	w := newWorld(t, nil, testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if gone.Load() && strings.HasSuffix(r.URL.Path, "/manifests/1") {
				rw.Header().Set("Content-Type", "application/json")
				rw.WriteHeader(http.StatusNotFound)
				_, _ = rw.Write([]byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}`))
				return
			}
			next.ServeHTTP(rw, r)
		})
	}})
	d := w.push("app", "1", app("1"))
	ref := w.registry.Host + "/app:1"
	if got, err := w.ingest.Inspect(t.Context(), ref, false); err != nil || got != d {
		t.Fatalf("Inspect: %s, %v", got, err)
	}
	gone.Store(true)
	w.now = w.now.Add(time.Minute)
	for range 2 {
		if got, err := w.ingest.Inspect(t.Context(), ref, false); dossier.KindOf(err) != dossier.KindNotFound || got != "" {
			t.Errorf("Inspect of a tag that is gone: %q, %v; want a not found error", got, err)
		}
	}
	w.view(func(r store.Reader) error {
		tags, err := r.TagHistory(t.Context(), w.registry.Host+"/app", "1", 10)
		if len(tags) != 1 || !tags[0].To.Equal(w.now) {
			t.Errorf("history %+v, want one interval that ended now", tags)
		}
		return err
	})
	if got := w.references(d); len(got) != 1 || !strings.HasSuffix(got[0], "/app") {
		t.Errorf("the image is still found under %v", got)
	}
}

// references lists the references under which a digest is found.
func (w *world) references(d dossier.Digest) []string {
	w.t.Helper()
	found := []string{}
	w.view(func(r store.Reader) error {
		hits, err := r.FindTerms(w.t.Context(), store.TermQuery{Key: w.registry.Host, Prefix: true, Limit: 100})
		for _, h := range hits {
			if h.Digest == d && h.Field == dossier.FieldReference {
				found = append(found, strings.TrimPrefix(h.Value, w.registry.Host))
			}
		}
		return err
	})
	return found
}

func TestMovedTagIsFoundAtItsNewPlace(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	ref := w.registry.Host + "/app:stable"
	one := w.push("app", "stable", app("1"))
	if _, err := w.ingest.Inspect(t.Context(), ref, false); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Minute)
	two := w.push("app", "stable", app("2"))
	if _, err := w.ingest.Inspect(t.Context(), ref, false); err != nil {
		t.Fatal(err)
	}
	want := map[dossier.Digest][]string{one: {"/app"}, two: {"/app", "/app:stable"}}
	got := map[dossier.Digest][]string{one: w.references(one), two: w.references(two)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}

// TestSecondNameIsKnown: an image that was read under one name is found under
// another by which somebody asks for it.
func TestSecondNameIsKnown(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	d := w.push("one", "1", app("1"))
	w.push("two", "1", app("1"))
	for _, name := range []string{"/one@", "/two@"} {
		if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+name+string(d), false); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"/one", "/two"}, w.references(d)); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}

// TestNestedIndexIsReadFurther: the part of an index within an index that
// nobody asked for is read when somebody does.
func TestNestedIndexIsReadFurther(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	amd, arm := app("1"), app("1")
	amd.Platform, arm.Platform = "linux/amd64", "linux/arm64"
	content := testimage.MustPush(t, w.registry, "app", "1", testimage.Index{Entries: []testimage.Entry{{Of: testimage.Of(amd, arm), Platform: "-"}}})
	d := content.Digest()
	child, err := arm.Build()
	if err != nil {
		t.Fatal(err)
	}
	on := func(platform string) dossier.Place {
		p := w.pod("a", "app-"+strings.TrimPrefix(platform, "linux/"), "app:1", d)
		p.Platform = platform
		return p
	}
	w.apply(cluster.Snapshot{Places: []dossier.Place{on("linux/amd64")}})
	w.drain()
	if w.isKnown(child.Digest()) {
		t.Fatal("what runs nowhere was read")
	}
	w.apply(cluster.Snapshot{Places: []dossier.Place{on("linux/amd64"), on("linux/arm64")}})
	w.drain()
	if !w.isKnown(child.Digest()) {
		t.Error("what runs on linux/arm64 was not read")
	}
}

// TestBrokenFileEndsNothingInIt: what stood in a file that cannot be read whole
// is unknown, not gone.
func TestBrokenFileEndsNothingInIt(t *testing.T) {
	w := newWorld(t, nil, testimage.RegistryOptions{})
	one, two := w.push("one", "1", app("1")), w.push("two", "1", app("2"))
	a, b := w.pod("a", "one-1", "one:1", one), w.pod("a", "two-1", "two:1", two)
	a.Source, b.Source = "dir/a.yaml:3", "dir/b.yaml:3"
	w.apply(cluster.Snapshot{Places: []dossier.Place{a, b}})
	w.now = w.now.Add(time.Minute)
	w.apply(cluster.Snapshot{Problems: []cluster.Problem{{Where: "dir/a.yaml:2", Err: errors.New("broken")}}})
	got := append(w.runs(one), w.runs(two)...)
	want := []string{"a/Deployment/one/container/main@linux/amd64 runs", "a/Deployment/two/container/main@linux/amd64 ended"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
}
