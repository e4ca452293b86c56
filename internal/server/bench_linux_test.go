// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/api"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/testimage"
)

// fleet is an engine that knows a cluster: images of two platforms, built on one
// base, in five pods each. It is what package bench measures, without Kubernetes
// and HTTP, so that the cost of one answer can be looked at by itself.
type fleet struct {
	*Engine
	snapshot cluster.Snapshot
	digests  []dossier.Digest
	terms    []string
}

const fleetImages = 500

func newFleet(b *testing.B) *fleet {
	b.Helper()
	engine, err := Open(b.Context(), Config{Data: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { engine.Close() })
	engine.Parser = answer.NewParser(maxParsed)
	f := &fleet{Engine: engine, snapshot: cluster.Snapshot{Cluster: dossier.Cluster{ID: "bench", Name: "bench"}}}
	registry := testimage.NewRegistry(b, testimage.RegistryOptions{})
	for i := range fleetImages {
		name := fmt.Sprintf("team-%02d/app-%04d", i%50, i)
		c := testimage.MustPush(b, registry, name, "1.0", testimage.Of(fleetImage(name, i, "amd64"), fleetImage(name, i, "arm64")))
		f.digests = append(f.digests, c.Digest())
		f.terms = append(f.terms, fleetRevision(i))
		for n := range 5 {
			f.snapshot.Places = append(f.snapshot.Places, dossier.Place{
				Workload: dossier.Workload{Cluster: "bench", Namespace: fmt.Sprintf("team-%02d", i%50), Kind: "Deployment", Name: fmt.Sprintf("app-%04d", i)},
				Pod:      fmt.Sprintf("app-%04d-%08x-%05d", i, i, n), PodUID: fmt.Sprintf("%08d-0000-4000-8000-%012d", n, i),
				Container: "main", Type: dossier.Container, Node: fmt.Sprintf("node-%02d", n),
				Platform:  "linux/" + []string{"amd64", "arm64"}[n%2],
				Requested: registry.Host + "/" + name + ":1.0", Digest: c.Digest(),
				ImageID: registry.Host + "/" + name + "@" + string(c.Digest()), PullPolicy: "IfNotPresent",
				Labels: "app.kubernetes.io/name=" + name + ",pod-template-hash=" + fmt.Sprint(i),
			})
		}
	}
	if _, err := engine.ingest.Apply(b.Context(), f.snapshot); err != nil {
		b.Fatal(err)
	}
	if err := engine.ingest.Drain(b.Context(), ingest.Kinds(), nil); err != nil {
		b.Fatal(err)
	}
	return f
}

func fleetRevision(i int) string { return fmt.Sprintf("%040x", i+1) }

func fleetImage(name string, i int, architecture string) testimage.Image {
	im := testimage.Image{
		Platform: "linux/" + architecture, Created: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), Author: "build@example.com",
		Entrypoint: []string{"/app/server"}, User: "65532", WorkingDir: "/app",
		Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "APP_VERSION=1.0", "LANG=C.UTF-8"},
		Labels: map[string]string{
			"org.opencontainers.image.title":       name,
			"org.opencontainers.image.version":     "1.0",
			"org.opencontainers.image.description": "A service of " + name + ".",
			"org.opencontainers.image.source":      "https://git.example.com/" + name,
			"org.opencontainers.image.revision":    fleetRevision(i),
			"org.opencontainers.image.created":     "2026-03-01T09:00:00Z",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.vendor":      "Example Company",
			"org.opencontainers.image.base.name":   "registry.example.com/base/debian:12",
		},
	}
	for n := range 6 {
		im.Layers = append(im.Layers, testimage.Layer{
			CreatedBy: fmt.Sprintf("RUN /bin/sh -c apt-get install -y part-%d # buildkit", n),
			Files:     map[string]testimage.File{fmt.Sprintf("usr/lib/part-%d", n): testimage.Text(architecture)},
		})
	}
	im.Layers = append(im.Layers, testimage.Layer{
		CreatedBy: "COPY server /app/server # buildkit",
		Files:     map[string]testimage.File{"app/server": testimage.Text("#!/bin/sh\n# " + name + " on " + architecture + "\n")},
	})
	return im
}

// processor reports, when the function it returns is called, the processor time
// of an operation, collection of garbage included: other work on the machine
// disturbs it less than the time on the clock.
func processor(b *testing.B) (stop func()) {
	b.ReportAllocs()
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N)/1000, "cpu-µs/op") }
}

// BenchmarkShow is an API request for the dossier of a digest, without the network.
func BenchmarkShow(b *testing.B) {
	f := newFleet(b)
	h := api.New(api.Config{Answers: f.Engine, Store: f.store})
	defer processor(b)()
	for i := 0; b.Loop(); i++ {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/api/v1/digests/"+string(f.digests[i*7%len(f.digests)]), nil)
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

// BenchmarkGather is the part of it that reads.
func BenchmarkGather(b *testing.B) {
	f := newFleet(b)
	defer processor(b)()
	for i := 0; b.Loop(); i++ {
		if _, err := f.Gather(b.Context(), f.digests[i*7%len(f.digests):][:1], dossier.Times{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWhere is a search.
func BenchmarkWhere(b *testing.B) {
	f := newFleet(b)
	defer processor(b)()
	for i := 0; b.Loop(); i++ {
		found, err := f.Where(b.Context(), f.terms[i%len(f.terms)], 100)
		if err != nil || len(found.Found) != 1 {
			b.Fatalf("%d found, %v", len(found.Found), err)
		}
	}
}

// BenchmarkImages lists everything; an operation is one image.
func BenchmarkImages(b *testing.B) {
	f := newFleet(b)
	defer processor(b)()
	for b.Loop() {
		list, err := f.Images(b.Context(), dossier.ImagesQuery{})
		if err != nil || len(list.Images) != len(f.digests) {
			b.Fatalf("%d images, %v", len(list.Images), err)
		}
	}
}

// BenchmarkTable prints what BenchmarkImages lists.
func BenchmarkTable(b *testing.B) {
	f := newFleet(b)
	list, err := f.Images(b.Context(), dossier.ImagesQuery{})
	if err != nil {
		b.Fatal(err)
	}
	defer processor(b)()
	for b.Loop() {
		if err := render.Images(io.Discard, list, render.Options{Width: 120}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApplyAgain compares a cluster with what is known, when nothing changed.
func BenchmarkApplyAgain(b *testing.B) {
	f := newFleet(b)
	defer processor(b)()
	for b.Loop() {
		if n, err := f.ingest.Apply(b.Context(), f.snapshot); err != nil || n != 0 {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkApplyPods has the pods of 20 images, of a hundred in all, run the next
// image: what 100 changes a second come to when they are told at once.
func BenchmarkApplyPods(b *testing.B) {
	f := newFleet(b)
	defer processor(b)()
	for i := 0; b.Loop(); i++ {
		if err := f.ingest.ApplyPods(b.Context(), f.snapshot.Cluster, f.changed(i)); err != nil {
			b.Fatal(err)
		}
	}
}

// changed gives the places of a hundred pods, each with another image than the
// last time.
func (f *fleet) changed(i int) map[string][]dossier.Place {
	pods := map[string][]dossier.Place{}
	for n := range 100 {
		p := f.snapshot.Places[(i*100+n)%len(f.snapshot.Places)]
		other := f.snapshot.Places[(i*100+n+5*(i+1))%len(f.snapshot.Places)]
		p.Digest, p.ImageID = other.Digest, other.ImageID
		pods[p.Key()] = []dossier.Place{p}
	}
	return pods
}
