// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/testimage"
)

// readLayers reads layers as the product does. before, if not nil, is called
// first, and may fail.
func readLayers(t testing.TB, before func(dossier.Digest) error) ingest.LayerReader {
	client := &image.Client{}
	dir := t.TempDir()
	return func(ctx context.Context, ref string, l dossier.Edge, diffID dossier.Digest) (contents.LayerResult, error) {
		if before != nil {
			if err := before(l.Child); err != nil {
				return contents.LayerResult{}, err
			}
		}
		return contents.ReadLayer(ctx, contents.Layer{Digest: l.Child, DiffID: diffID, Open: func(ctx context.Context) (io.ReadCloser, error) {
			return client.Layer(ctx, ref, image.Descriptor{MediaType: l.MediaType, Digest: l.Child, Size: l.Size})
		}}, contents.Options{TempDir: dir})
	}
}

// counter counts how often each layer was read.
type counter struct {
	mu    sync.Mutex
	reads map[dossier.Digest]int
	fail  map[dossier.Digest]error
}

func newCounter() *counter {
	return &counter{reads: map[dossier.Digest]int{}, fail: map[dossier.Digest]error{}}
}

func (c *counter) read(d dossier.Digest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads[d]++
	return c.fail[d]
}

// sum returns how many layers were read, and how often in all.
func (c *counter) sum() (layers, reads int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.reads {
		reads += n
	}
	return len(c.reads), reads
}

// onDebian is an image on a base that others share.
func onDebian(name string) testimage.Image {
	return testimage.Image{Layers: []testimage.Layer{
		{Files: map[string]testimage.File{
			"etc/os-release":      testimage.Text("ID=debian\nVERSION_ID=12\n"),
			"var/lib/dpkg/status": testimage.Text("Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2\n\n"),
		}},
		{Files: map[string]testimage.File{"app/package.json": testimage.Text(`{"name": "` + name + `", "version": "1.0.0"}`)}},
	}, WorkingDir: "/app", Cmd: []string{"npm", "start"}}
}

func layerOf(t *testing.T, c *testimage.Content, i int) dossier.Digest {
	t.Helper()
	m, err := image.ParseManifest(image.Descriptor{}, c.Bytes(c.Digest()))
	if err != nil {
		t.Fatal(err)
	}
	layers := slices.DeleteFunc(m.Edges, func(e dossier.Edge) bool { return e.Role != dossier.RoleLayer })
	return layers[i].Child
}

// contentsOf returns what is known of the contents of an image.
func (w *world) contentsOf(d dossier.Digest) *dossier.Contents {
	w.t.Helper()
	var found *dossier.Contents
	w.view(func(r store.Reader) error {
		found = nil
		for f, err := range r.Holding(w.t.Context(), []dossier.Digest{d}, dossier.Times{}, dossier.FactContents) {
			if err != nil {
				return err
			}
			found = &dossier.Contents{}
			if err := json.Unmarshal(f.Body, found); err != nil {
				return err
			}
		}
		return nil
	})
	return found
}

// packages lists the packages that the store knows of an image.
func (w *world) packages(d dossier.Digest) []string {
	w.t.Helper()
	names := []string{}
	w.view(func(r store.Reader) error {
		names = names[:0]
		known, err := r.ImageContents(w.t.Context(), []dossier.Digest{d})
		if err != nil {
			return err
		}
		for _, set := range known[d].Sets {
			for p, err := range r.SetPackages(w.t.Context(), set) {
				if err != nil {
					return err
				}
				names = append(names, p.Name+" "+p.Version)
			}
		}
		return nil
	})
	return names
}

// TestLayerIsReadOnce: however many images share a layer, and however often a
// list names them.
func TestLayerIsReadOnce(t *testing.T) {
	count := newCounter()
	w := newWorld(t, func(c *ingest.Config) { c.Layer = readLayers(t, count.read) }, testimage.RegistryOptions{})
	var snapshot cluster.Snapshot
	var ds []dossier.Digest
	const images = 5
	for i := range images {
		name := fmt.Sprint("app", i)
		d := w.push(name, "1", onDebian(name))
		ds = append(ds, d)
		snapshot.Places = append(snapshot.Places, w.pod("a", name+"-1", name+":1", d))
	}
	for range 2 {
		w.apply(snapshot)
		w.drain()
	}
	if layers, reads := count.sum(); layers != images+1 || reads != images+1 {
		t.Errorf("%d layers were read, %d times in all; want each of %d once", layers, reads, images+1)
	}
	for i, d := range ds {
		name := fmt.Sprint("app", i)
		if diff := cmp.Diff([]string{"bash 5.2.15-2", name + " 1.0.0"}, w.packages(d)); diff != "" {
			t.Errorf("packages of %s (-want +got):\n%s", name, diff)
		}
		c := w.contentsOf(d)
		if c == nil || c.Distribution == nil || c.Distribution.Ecosystem != "Debian:12" || len(c.Layers) != 2 || c.MissedCount != 0 {
			t.Fatalf("contents of %s: %+v", name, c)
		}
		if len(c.Main) != 1 || c.Main[0].Name != name {
			t.Errorf("%s is there for %+v", name, c.Main)
		}
		if c.Layers[0].Set != w.contentsOf(ds[0]).Layers[0].Set {
			t.Errorf("%s does not share the packages of its base", name)
		}
	}
	if jobs := append(w.jobs(ingest.JobLayer), w.jobs(ingest.JobContents)...); len(jobs) != 0 {
		t.Errorf("jobs %+v are left", jobs)
	}
}

// TestQuickKindsLeaveLayers: who only wants to know which images there are does
// not wait for their layers.
func TestQuickKindsLeaveLayers(t *testing.T) {
	count := newCounter()
	w := newWorld(t, func(c *ingest.Config) { c.Layer = readLayers(t, count.read) }, testimage.RegistryOptions{})
	d := w.push("app", "1", onDebian("app"))
	w.apply(cluster.Snapshot{Places: []dossier.Place{w.pod("a", "app-1", "app:1", d)}})
	if err := w.ingest.Drain(t.Context(), ingest.QuickKinds(), nil); err != nil {
		t.Fatal(err)
	}
	if _, reads := count.sum(); reads != 0 || !w.isKnown(d) || len(w.jobs(ingest.JobContents)) != 1 {
		t.Errorf("%d layers were read, the image is known: %v, jobs %v", reads, w.isKnown(d), w.jobs(ingest.JobContents))
	}
	var last ingest.Progress
	if err := w.ingest.Drain(t.Context(), ingest.Kinds(), func(p ingest.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if w.contentsOf(d) == nil || last.Failed != 0 || last.Waiting != 0 || last.Done < 4 {
		t.Errorf("contents %v, progress at the end %+v", w.contentsOf(d), last)
	}
}

// TestLayerThatCannotBeRead: an image is laid without it, and says so; when it
// can be read later, the image is laid anew.
func TestLayerThatCannotBeRead(t *testing.T) {
	count := newCounter()
	w := newWorld(t, func(c *ingest.Config) { c.Layer, c.Revive = readLayers(t, count.read), true }, testimage.RegistryOptions{})
	c, err := onDebian("app").Build()
	if err != nil {
		t.Fatal(err)
	}
	count.fail[layerOf(t, c, 1)] = dossier.Errorf(dossier.KindCorrupt, "reading layer", "", "it is broken")
	d := w.push("app", "1", onDebian("app"))
	w.apply(cluster.Snapshot{Places: []dossier.Place{w.pod("a", "app-1", "app:1", d)}})
	w.drain()
	got := w.contentsOf(d)
	if got == nil || got.MissedCount != 1 || got.Missed[0].Layer != layerOf(t, c, 1) || !strings.Contains(got.Missed[0].Detail, "it is broken") || got.Layers[1].Fact != "" {
		t.Fatalf("contents %+v, want one layer missed", got)
	}
	if diff := cmp.Diff([]string{"bash 5.2.15-2"}, w.packages(d)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	delete(count.fail, layerOf(t, c, 1))
	w.now = w.now.Add(time.Minute)
	if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/app:1", true); err != nil {
		t.Fatal(err)
	}
	if got := w.contentsOf(d); got.MissedCount != 0 || got.Layers[1].Fact == "" {
		t.Errorf("contents %+v, want nothing missed", got)
	}
	if diff := cmp.Diff([]string{"bash 5.2.15-2", "app 1.0.0"}, w.packages(d)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

// TestInspectReadsContents: who asks for one image waits for its contents, not
// for those of others, and what failed is tried later.
func TestInspectReadsContents(t *testing.T) {
	count := newCounter()
	w := newWorld(t, func(c *ingest.Config) { c.Layer = readLayers(t, count.read) }, testimage.RegistryOptions{})
	other, app := w.push("other", "1", onDebian("other")), w.push("app", "1", testimage.Of(onDebian("app")))
	inspect := func(name string, layers bool) {
		t.Helper()
		if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/"+name+":1", layers); err != nil {
			t.Fatal(err)
		}
	}
	inspect("other", false) // its jobs are older
	for range 3 {
		inspect("app", true)
	}
	if layers, reads := count.sum(); layers != 2 || reads != 2 {
		t.Errorf("%d layers were read, %d times in all; want 2 once each", layers, reads)
	}
	manifest := w.children(app)[0]
	if w.contentsOf(manifest) == nil || w.contentsOf(other) != nil {
		t.Errorf("contents of app %v, of other %v", w.contentsOf(manifest), w.contentsOf(other))
	}
	c, err := onDebian("other").Build()
	if err != nil {
		t.Fatal(err)
	}
	count.fail[layerOf(t, c, 1)] = errors.New("broken off")
	inspect("other", true)
	jobs := w.jobs(ingest.JobLayer)
	if len(jobs) != 1 || jobs[0].State != store.JobReady || !jobs[0].RunAt.After(w.now) || jobs[0].LastError == "" {
		t.Errorf("jobs %+v, want one that waits with its error", jobs)
	}
	if w.contentsOf(other) != nil {
		t.Error("an image was laid although a layer is still to come")
	}
}

// children returns the platform manifests of an index.
func (w *world) children(index dossier.Digest) []dossier.Digest {
	w.t.Helper()
	var ds []dossier.Digest
	w.view(func(r store.Reader) error {
		edges, err := r.Edges(w.t.Context(), []dossier.Digest{index}, dossier.RolePlatform)
		for _, e := range edges {
			ds = append(ds, e.Child)
		}
		return err
	})
	return ds
}

// TestContentsOfLocalImage: nobody but who waits for it can read a local image.
func TestContentsOfLocalImage(t *testing.T) {
	var asked []string
	w := newWorld(t, func(c *ingest.Config) {
		read := readLayers(t, nil)
		var mu sync.Mutex
		c.Layer = func(ctx context.Context, ref string, l dossier.Edge, diffID dossier.Digest) (contents.LayerResult, error) {
			mu.Lock()
			asked = append(asked, ref)
			mu.Unlock()
			return read(ctx, ref, l, diffID)
		}
	}, testimage.RegistryOptions{})
	content, err := onDebian("app").Build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := testimage.WriteLayout(dir, "1", content); err != nil {
		t.Fatal(err)
	}
	ref := dossier.LayoutPrefix + dir + ":1"
	for range 2 {
		if got, err := w.ingest.Inspect(t.Context(), ref, true); err != nil || got != content.Digest() {
			t.Fatalf("Inspect: %s, %v", got, err)
		}
	}
	if diff := cmp.Diff([]string{ref, ref}, asked); diff != "" {
		t.Errorf("layers read (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"bash 5.2.15-2", "app 1.0.0"}, w.packages(content.Digest())); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	w.drain()
	if jobs := append(w.jobs(ingest.JobLayer), w.jobs(ingest.JobContents)...); len(jobs) != 0 {
		t.Errorf("jobs %+v are left for others", jobs)
	}
}

// TestNewExtractorReadsAnew: what an older version read is read again, the
// oldest first, and images are laid anew from it.
func TestNewExtractorReadsAnew(t *testing.T) {
	count := newCounter()
	w := newWorld(t, func(c *ingest.Config) { c.Layer = readLayers(t, count.read) }, testimage.RegistryOptions{})
	d := w.push("app", "1", onDebian("app"))
	c, err := onDebian("app").Build()
	if err != nil {
		t.Fatal(err)
	}
	snapshot := cluster.Snapshot{Places: []dossier.Place{w.pod("a", "app-1", "app:1", d)}}
	w.apply(snapshot)
	if err := w.ingest.Drain(t.Context(), ingest.QuickKinds(), nil); err != nil {
		t.Fatal(err)
	}
	w.update(func(tx store.Tx) error { // as if a program of old had read the layers
		old := dossier.Contents{Version: "0+old"}
		for i := range 2 {
			r := contents.LayerResult{Version: "0+old", Digest: layerOf(t, c, i)}
			body, err := contents.Encode(r)
			if err != nil {
				return err
			}
			f, err := record.Layer(t.Context(), tx, r, body, w.now.Add(-time.Duration(i)*time.Hour))
			if err != nil {
				return err
			}
			old.Layers = append(old.Layers, dossier.LayerContents{Layer: r.Digest, Fact: f.ID})
		}
		return record.Contents(t.Context(), tx, d, old, nil, w.now.Add(-time.Hour))
	})
	for _, job := range w.jobs(ingest.JobContents) {
		w.update(func(tx store.Tx) error {
			leased, err := tx.Lease(t.Context(), "x", []string{job.Kind}, 1, w.now, time.Hour)
			if err != nil {
				return err
			}
			return tx.Finish(t.Context(), leased[0].ID, "x")
		})
	}
	var order []dossier.Digest
	var mark ingest.Mark
	for range 4 {
		n, err := w.ingest.Refresh(t.Context(), &mark, 1)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		for _, job := range w.jobs(ingest.JobLayer) {
			order = append(order, dossier.Digest(job.Key))
		}
		w.drain()
	}
	if diff := cmp.Diff([]dossier.Digest{layerOf(t, c, 1), layerOf(t, c, 0)}, order); diff != "" {
		t.Errorf("layers read anew (-want +got):\n%s", diff)
	}
	if got := w.contentsOf(d); got.Version != contents.Version || len(w.packages(d)) != 2 {
		t.Errorf("contents %+v, packages %v", got, w.packages(d))
	}
	if n, err := w.ingest.Refresh(t.Context(), &mark, 10); n != 0 || err != nil {
		t.Errorf("Refresh: %d, %v; want nothing left to do", n, err)
	}
}

// TestGoProgramOfImage: the program that an image starts can be searched for.
func TestGoProgramOfImage(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *ingest.Config) { c.Layer = readLayers(t, nil) }, testimage.RegistryOptions{})
	d := w.push("app", "1", testimage.Image{
		Layers:     []testimage.Layer{{Files: map[string]testimage.File{"app": testimage.Program(program)}}},
		Entrypoint: []string{"/app"},
	})
	if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/app:1", true); err != nil {
		t.Fatal(err)
	}
	w.view(func(r store.Reader) error {
		hits, err := r.FindTerms(t.Context(), store.TermQuery{Key: "dossier.dev/dossier/internal/ingest.test", Limit: 10})
		if !slices.ContainsFunc(hits, func(h store.TermHit) bool { return h.Digest == d && h.Field == dossier.FieldProgram }) {
			t.Errorf("terms %v, want the program's main package", hits)
		}
		return err
	})
}
