// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/testimage"
)

// variedImage has what makes reading and laying layers hard: packages of several kinds
// and of two distributions' files, what is replaced, deleted and hidden by later layers, a
// file that cannot be read, and a layer twice.
func variedImage(platform string) testimage.Image {
	im := onDebian("app")
	im.Platform = platform
	im.Layers = append(im.Layers,
		testimage.Layer{Files: map[string]testimage.File{
			"app/package.json":           testimage.Text(`{"name": "app", "version": "2.0.0"}`),
			"srv/one/package.json":       testimage.Text(`{"name": "one", "version": "1.0.0"}`),
			"srv/two/package.json":       testimage.Text(`{"name": "two", "version": "1.0.0"}`),
			"broken/package.json":        testimage.Text(`{"name": "broken", "versi`),
			"lib/apk/db/installed":       testimage.Text("P:musl\nV:1.2.4-r0\nA:x86_64\no:musl\n\n"),
			platform + "/x/package.json": testimage.Text(`{"name": "x", "version": "1.0.0"}`),
		}},
		testimage.Layer{Files: map[string]testimage.File{"srv/.wh.one": testimage.Text(""), "app/.wh..wh..opq": testimage.Text("")}},
		testimage.Layer{Files: map[string]testimage.File{"srv/one/package.json": testimage.Text(`{"name": "one", "version": "3.0.0"}`)}},
	)
	im.Layers = append(im.Layers, im.Layers[len(im.Layers)-1])
	return im
}

// TestLocalWayIsTheLongWay: the layers of a local image are read and laid at once, those
// of one in a registry by jobs, of this process at once or of any later. What is known
// afterwards is the same, fact by fact, but for names.
func TestLocalWayIsTheLongWay(t *testing.T) {
	t.Parallel()
	single, index := variedImage("linux/amd64"), testimage.Of(variedImage("linux/amd64"), variedImage("linux/arm64"))
	for name, builder := range map[string]testimage.Builder{"an image": single, "an index": index} {
		t.Run(name, func(t *testing.T) {
			content, err := builder.Build()
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			layout, archive := filepath.Join(dir, "layout"), filepath.Join(dir, "image.tar")
			if err := testimage.WriteLayout(layout, "1", content); err != nil {
				t.Fatal(err)
			}
			ways := map[string]func(w *world) string{
				"jobs, later":   func(w *world) string { w.push("app", "1", builder); return w.registry.Host + "/app:1" },
				"jobs, at once": func(w *world) string { w.push("app", "1", builder); return w.registry.Host + "/app:1" },
				"a layout":      func(*world) string { return dossier.LayoutPrefix + layout + ":1" },
			}
			if name == "an image" {
				f, err := os.Create(archive)
				if err == nil {
					err = testimage.WriteArchive(f, testimage.Named{Name: "app:1", Content: content})
				}
				if err != nil || f.Close() != nil {
					t.Fatal(err)
				}
				// It holds its layers uncompressed: manifest and layers have other digests.
				ways["an archive"] = func(*world) string { return dossier.ArchivePrefix + archive }
			}
			known, held := map[string][]string{}, map[string][]string{}
			for way, ref := range ways {
				w := newWorld(t, func(c *ingest.Config) { c.Layer = readLayers(t, nil) }, testimage.RegistryOptions{})
				root, err := w.ingest.Inspect(t.Context(), ref(w), way != "jobs, later")
				if err != nil {
					t.Fatal(err)
				}
				w.drain()
				known[way] = w.learnt()
				held[way] = w.laid(root)
			}
			want := known["jobs, later"]
			if len(want) < 8 {
				t.Fatalf("only %d facts are known: %q", len(want), want)
			}
			for way, got := range known {
				if diff := cmp.Diff(want, got); diff != "" && way != "an archive" {
					t.Errorf("%s: facts differ (-jobs +%s):\n%s", way, way, diff)
				}
				if diff := cmp.Diff(held["jobs, later"], held[way]); diff != "" {
					t.Errorf("%s: packages differ (-jobs +%s):\n%s", way, way, diff)
				}
			}
		})
	}
}

// countedStore is a store that counts what writes to it.
type countedStore struct {
	store.Store
	updates atomic.Int64
}

func (s *countedStore) Update(ctx context.Context, f func(store.Tx) error) error {
	s.updates.Add(1)
	return s.Store.Update(ctx, f)
}

// TestKnownLocalImageIsNotWritten: to read a local image of which all is known writes
// nothing, which would be synced to a disk; when something is attached, or has not been
// looked for, that is written.
func TestKnownLocalImageIsNotWritten(t *testing.T) {
	var counted *countedStore
	var w *world
	w = newWorld(t, func(c *ingest.Config) {
		counted = &countedStore{Store: c.Store}
		c.Store, c.Layer = counted, readLayers(t, nil)
		c.Artifacts = func(ctx context.Context, _ string) (ingest.Artifacts, error) {
			return readArtifacts(ctx, w.registry.Host+"/app") // which has the same image
		}
	}, testimage.RegistryOptions{})
	w.push("app", "1", onDebian("app"))
	content, err := onDebian("app").Build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := testimage.WriteLayout(dir, "1", content); err != nil {
		t.Fatal(err)
	}
	updates := func() int64 {
		before := counted.updates.Load()
		if _, err := w.ingest.Inspect(t.Context(), dossier.LayoutPrefix+dir+":1", true); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Hour)
		return counted.updates.Load() - before
	}
	if n := updates(); n == 0 {
		t.Fatal("what was learnt is not written")
	}
	looked := func() (at time.Time) {
		w.view(func(r store.Reader) error {
			known, err := r.ImageContents(t.Context(), []dossier.Digest{content.Digest()})
			at = known[content.Digest()].Looked
			return err
		})
		return at
	}
	first := looked()
	if n := updates(); n != 0 || !looked().Equal(first) {
		t.Errorf("nothing is new, and there are %d updates", n)
	}
	if err := w.store.Update(t.Context(), func(tx store.Tx) error { return tx.PutLook(t.Context(), content.Digest(), time.Unix(0, 0)) }); err != nil {
		t.Fatal(err)
	}
	if n := updates(); n != 1 || !looked().After(first) {
		t.Errorf("that somebody looked is not known: %d updates", n)
	}
	w.attach("bill", testimage.Artifact{ArtifactType: "application/vnd.cyclonedx+json", Subject: &content.Root,
		Layers: []testimage.Blob{{MediaType: "application/vnd.cyclonedx+json", Bytes: []byte(cycloneBill)}}})
	before := len(w.learnt())
	if updates(); len(w.learnt()) <= before {
		t.Error("what was attached is not written")
	}
}

// learnt lists all facts, but for those that tell what something is called where.
func (w *world) learnt() []string {
	w.t.Helper()
	var out []string
	w.view(func(r store.Reader) error {
		out = nil
		facts, err := r.Facts(w.t.Context(), 0, 1000)
		for _, f := range facts {
			if f.Kind != dossier.FactName && f.Kind != dossier.FactTag {
				out = append(out, fmt.Sprintf("%s %s %s", f.Kind, f.Subject, f.Body))
			}
		}
		return err
	})
	slices.Sort(out)
	return out
}

// laid lists the packages of all manifests of an image, by the layers that brought them.
func (w *world) laid(root dossier.Digest) []string {
	w.t.Helper()
	out := []string{}
	manifests := w.children(root)
	if len(manifests) == 0 {
		manifests = []dossier.Digest{root}
	}
	for i, m := range manifests {
		w.view(func(r store.Reader) error {
			known, err := r.ImageContents(w.t.Context(), []dossier.Digest{m})
			if err != nil {
				return err
			}
			for n, set := range known[m].Sets {
				var in []string
				for p, err := range r.SetPackages(w.t.Context(), set) {
					if err != nil {
						return err
					}
					in = append(in, fmt.Sprintf("%d: set %d: %s %s", i, n, p.PURL, p.Path))
				}
				slices.Sort(in)
				out = append(out, in...)
			}
			return nil
		})
	}
	return out
}
