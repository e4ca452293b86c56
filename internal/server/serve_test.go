// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
	"dossier.dev/dossier/internal/testimage"
)

// answerer is what both an engine and a client are.
type answerer interface {
	Images(ctx context.Context, q dossier.ImagesQuery) (dossier.ImageList, error)
	Dossier(ctx context.Context, ref string, at dossier.Times) (dossier.Dossier, error)
	Where(ctx context.Context, term string, limit int) (dossier.FoundList, error)
	History(ctx context.Context, ref string, at time.Time) (dossier.History, error)
	Changes(ctx context.Context, q dossier.TagDiffQuery) (dossier.TagDiff, error)
	Watch(ctx context.Context, q dossier.ImagesQuery) iter.Seq2[dossier.Change, error]
}

var (
	_ answerer = (*Engine)(nil)
	_ answerer = (*client.Client)(nil)
)

// world is a store with some images in it.
type world struct {
	config   Config
	engine   *Engine
	registry *testimage.Registry
	web      *testimage.Content // tag 1.0 now points elsewhere
	index    *testimage.Content
}

func newWorld(t *testing.T) world {
	t.Helper()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	w := world{
		config:   Config{Data: sqltest.Dir(t), Now: func() time.Time { return now }},
		registry: testimage.NewRegistry(t, testimage.RegistryOptions{}),
	}
	base := testimage.Image{Layers: []testimage.Layer{{Files: map[string]testimage.File{"etc/os-release": testimage.Text("ID=test\n")}, CreatedBy: "FROM scratch"}}}
	testimage.MustPush(t, w.registry, "org/base", "3", base)
	web := testimage.Image{
		Layers:  append(base.Layers, testimage.Layer{Files: map[string]testimage.File{"app": testimage.Text("#!/bin/sh\n")}, CreatedBy: "COPY app /"}),
		Created: now.Add(-time.Hour),
		Labels: map[string]string{
			"org.opencontainers.image.source":   "https://git.example/org/web",
			"org.opencontainers.image.revision": "9f2c41d0a7b34e55f6a1b2c3d4e5f60718293a4b",
			"org.opencontainers.image.version":  "1.0 <&>",
		},
	}
	w.web = testimage.MustPush(t, w.registry, "org/web", "1.0", web)
	w.index = testimage.MustPush(t, w.registry, "org/multi", "latest", testimage.Of(testimage.Image{Author: "me"}, testimage.Image{Platform: "linux/arm64"}))
	var err error
	if w.engine, err = Open(t.Context(), w.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.engine.Close() })
	file := filepath.Join(t.TempDir(), "pods.json")
	if err := os.WriteFile(file, []byte(w.pods()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine.CollectFiles(t.Context(), []string{file}, cluster.Scope{}, nil, CollectOptions{Layers: true}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	web.Author = "somebody else"
	testimage.MustPush(t, w.registry, "org/web", "1.0", web)
	for _, ref := range []string{"/org/web:1.0", "/org/base:3"} {
		if _, err := w.engine.Refresh(t.Context(), w.registry.Host+ref); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// pods is the output of kubectl get pods -o json. One image does not exist.
func (w world) pods() string {
	pod := func(name, image, imageID string) map[string]any {
		return map[string]any{
			"metadata": map[string]any{"name": name, "namespace": "prod", "uid": "u-" + name, "labels": map[string]string{"app": name}},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "main", "image": image}}},
			"status":   map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{"name": "main", "image": image, "imageID": imageID}}},
		}
	}
	host := w.registry.Host
	list := map[string]any{"apiVersion": "v1", "kind": "PodList", "items": []any{
		pod("web", host+"/org/web:1.0", host+"/org/web@"+string(w.web.Digest())),
		pod("multi", host+"/org/multi", host+"/org/multi@"+string(w.index.Digest())),
		pod("gone", host+"/org/gone:1", ""),
	}}
	b, _ := json.Marshal(list)
	return string(b)
}

// serving is a Serve under way.
type serving struct {
	url  string
	stop func() error // ends it and returns what it returned
}

func serve(t *testing.T, c ServeConfig) serving {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	listening := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, c, func(addr net.Addr) { listening <- addr }) }()
	var once error
	stopped := false
	s := serving{stop: func() error {
		if !stopped {
			stopped = true
			cancel()
			once = <-ended
		}
		return once
	}}
	t.Cleanup(func() { _ = s.stop() })
	select {
	case addr := <-listening:
		s.url = "http://" + addr.String()
		if c.TLSCert != "" {
			s.url = "https://" + addr.String()
		}
	case err := <-ended:
		stopped = true
		cancel()
		t.Fatalf("Serve: %v", err)
	}
	return s
}

// serve serves the world as it is: without work, nothing in it changes.
func (w world) serve(t *testing.T) serving {
	t.Helper()
	c := ServeConfig{Config: w.config, Listen: "127.0.0.1:0", NoCluster: true, Build: Build{Version: "v1"}}
	c.Offline = true
	return serve(t, c)
}

func newClient(t *testing.T, url string, opt client.Options) *client.Client {
	t.Helper()
	c, err := client.New(url, opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// outcome is what a method gave: the error in the form in which people see it.
type outcome struct {
	Value   any
	Kind    dossier.Kind
	Message string
	Hint    string
}

func outcomeOf(v any, err error) outcome {
	o := outcome{Value: v, Kind: dossier.KindOf(err), Hint: dossier.HintOf(err)}
	if err != nil {
		o.Value, o.Message = nil, err.Error()
	}
	return o
}

// TestSameAnswersHereAndThere asks an engine in this process and a server on the
// same store everything, and compares.
func TestSameAnswersHereAndThere(t *testing.T) {
	w := newWorld(t)
	s := w.serve(t)
	host, web := w.registry.Host, string(w.web.Digest())
	past := dossier.Times{Valid: w.config.Now().Add(-30 * time.Minute)}
	before := dossier.Times{Recorded: w.config.Now().Add(-24 * time.Hour)}
	tests := map[string]func(answerer) (any, error){}
	add := func(name string, f func(a answerer) (any, error)) { tests[name] = f }
	for name, q := range map[string]dossier.ImagesQuery{
		"all": {}, "past": {At: past}, "before": {At: before}, "namespace": {Namespaces: []string{"prod", "other"}},
		"no namespace": {Namespaces: []string{"nowhere"}}, "selector": {Selector: "app in (web, x)"}, "bad selector": {Selector: "!!"},
		"no cluster": {Clusters: []string{"x"}},
	} {
		add("images "+name, func(a answerer) (any, error) { return a.Images(t.Context(), q) })
	}
	for _, ref := range []string{
		web, web[:20], web[7:19], host + "/org/web:1.0", host + "/org/web", host + "/org/web@" + web, string(w.index.Digest()),
		host + "/org/multi:latest", host + "/org/none", "nginx", "", "UPPER", "sha256:12", "sha256:" + strings.Repeat("0", 64), "oci:dir", "a b/?&=%#", "ü",
	} {
		add("dossier "+ref, func(a answerer) (any, error) { return a.Dossier(t.Context(), ref, dossier.Times{}) })
		add("past dossier "+ref, func(a answerer) (any, error) { return a.Dossier(t.Context(), ref, past) })
		add("history "+ref, func(a answerer) (any, error) { return a.History(t.Context(), ref, time.Time{}) })
		add("past history "+ref, func(a answerer) (any, error) { return a.History(t.Context(), ref, past.Valid) })
		add("history "+ref+"/", func(a answerer) (any, error) { return a.History(t.Context(), ref+"/", time.Time{}) })
		add("past history "+ref+"/", func(a answerer) (any, error) { return a.History(t.Context(), ref+"/", past.Valid) })
		for name, q := range map[string]dossier.TagDiffQuery{
			"all": {From: time.Unix(1, 0), Limit: 100}, "pages": {From: time.Unix(1, 0), To: w.config.Now(), Limit: 1}, "nothing": {Limit: 1},
			"backwards": {From: w.config.Now(), To: time.Unix(1, 0), Limit: 1}, "no limit": {From: time.Unix(1, 0)},
		} {
			q.Repository = ref
			add("changes "+name+" "+ref, func(a answerer) (any, error) { return a.Changes(t.Context(), q) })
		}
	}
	for _, term := range []string{"git.example/org/web", "9f2c41d", web, host + "/org/*", "nothing", "", "*", "a&b=c%", web[7:15]} {
		for _, limit := range []int{1, 100, 0, -1} {
			add(fmt.Sprintf("where %s %d", term, limit), func(a answerer) (any, error) { return a.Where(t.Context(), term, limit) })
		}
	}
	remote := newClient(t, s.url, client.Options{})
	// The values of details have many types here, and those of JSON there.
	asJSON := cmp.Transformer("JSON", func(v dossier.Value) string { return mustJSON(t, v) })
	values := 0
	for name, ask := range tests {
		want, got := outcomeOf(ask(w.engine)), outcomeOf(ask(remote))
		if diff := cmp.Diff(want, got, asJSON); diff != "" {
			t.Errorf("%s (-engine +client):\n%s", name, diff)
		}
		if wantJSON, gotJSON := mustJSON(t, want), mustJSON(t, got); wantJSON != gotJSON {
			t.Errorf("%s: JSON differs:\n%s\n%s", name, wantJSON, gotJSON)
		}
		if want.Kind == "" {
			values++
		}
	}
	if values < 20 || values == len(tests) {
		t.Errorf("%d of %d gave a value: the test compares too little", values, len(tests))
	}
	all, err := remote.Images(t.Context(), dossier.ImagesQuery{})
	if err != nil || len(all.Images) != 3 {
		t.Errorf("%d images, error %v; want 3", len(all.Images), err)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOtherResources asks for what only a server has.
func TestOtherResources(t *testing.T) {
	w := newWorld(t)
	c := newClient(t, w.serve(t).url, client.Options{})
	ctx := t.Context()
	d, err := c.Digest(ctx, w.web.Digest(), dossier.Times{})
	if err != nil || d.Digest != w.web.Digest() {
		t.Errorf("Digest: %v, %v", d.Digest, err)
	}
	tags, err := c.Tags(ctx, w.index.Digest(), time.Time{})
	if err != nil || len(tags.Tags) != 1 || tags.Tags[0].Tag != "latest" {
		t.Errorf("Tags: %+v, %v", tags, err)
	}
	clusters, err := c.Clusters(ctx)
	if err != nil || len(clusters.Clusters) != 1 {
		t.Errorf("Clusters: %+v, %v", clusters, err)
	}
	jobs, err := c.Jobs(ctx)
	if err != nil || len(jobs.Failing) == 0 || jobs.Failing[0].Message == "" {
		t.Errorf("Jobs: %+v, %v; want the image that does not exist", jobs, err)
	}
	var prev dossier.Fact
	n := 0
	for f, err := range c.Facts(ctx, w.web.Digest()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; f.Seq != int64(n) || f.Prev != prev.Leaf || f.ID != f.Statement.ID() {
			t.Errorf("fact %d: %+v", n, f)
		}
		prev = f
	}
	if n < 3 {
		t.Errorf("%d facts", n)
	}
	if got, err := c.Fact(ctx, prev.ID); err != nil || !cmp.Equal(got, prev) {
		t.Errorf("Fact: %v\n%s", err, cmp.Diff(prev, got))
	}
	if _, err := c.Fact(ctx, dossier.FromBytes(nil)); dossier.KindOf(err) != dossier.KindNotFound {
		t.Errorf("no fact: %v", err)
	}
}

// TestWatchOverHTTP sees a pod come and go, and the end of the server.
func TestWatchOverHTTP(t *testing.T) {
	w := newWorld(t)
	s := w.serve(t)
	c := newClient(t, s.url, client.Options{})
	next, stop := iter.Pull2(c.Watch(t.Context(), dossier.ImagesQuery{}))
	defer stop()
	want := func(kind dossier.ChangeType) {
		t.Helper()
		change, err, ok := next()
		if err != nil || !ok || change.Type != kind {
			t.Fatalf("got %q, %v, %v; want %q", change.Type, err, ok, kind)
		}
	}
	for range 3 {
		want(dossier.ChangeAdded)
	}
	want(dossier.ChangeSynced)
	if err := s.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err, _ := next(); dossier.KindOf(err) != dossier.KindUnavailable || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("after the end: %v", err)
	}
	if _, _, ok := next(); ok {
		t.Error("the watch goes on after its error")
	}
	if _, err := c.Images(t.Context(), dossier.ImagesQuery{}); dossier.KindOf(err) != dossier.KindUnavailable || dossier.HintOf(err) == "" {
		t.Errorf("a server that is not there: %v", err)
	}
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	s := w.serve(t)
	status, body := fetch(t, s.url+"/metrics")
	if status != http.StatusOK {
		t.Fatal(status, body)
	}
	for _, want := range []string{
		`dossier_build_info{goversion=`, `version="v1"} 1`, `dossier_jobs{kind="image.tag",state="ready"} 1`,
		`dossier_jobs{kind="image.contents",state="parked"} 0`, "dossier_registry_requests_total 0", "go_goroutines ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	n := w.engine.facts.snapshot()
	if n[factKey{string(dossier.FactConfig), "recorded"}] < 4 || n[factKey{string(dossier.FactRun), "recorded"}] != 2 {
		t.Errorf("facts counted: %v", n)
	}
}
