// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/upstream"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/testimage"
)

// proxyLab is a registry that pulls docker.io through from another one in this
// process.
type proxyLab struct {
	*lab
	upstream *testimage.Registry
	set      *upstream.Set
	clock    *clock
}

// clock is a time that tests set.
type clock struct {
	mu  sync.Mutex
	add time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.add)
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add += d
}

type proxyOptions struct {
	upstream testimage.RegistryOptions
	config   upstream.Config // Name and URL may be left out
	offline  bool
	blind    bool // the blob store cannot be read while it is written to
	change   func(*registry.Config)
}

func newProxyLab(t *testing.T, opt proxyOptions) *proxyLab {
	t.Helper()
	p := &proxyLab{upstream: testimage.NewRegistry(t, opt.upstream), clock: &clock{}}
	if opt.config.Name == "" {
		opt.config.Name = "docker.io"
	}
	if opt.config.URL == "" {
		opt.config.URL = p.upstream.URL
	}
	var err error
	p.set, err = upstream.Open([]upstream.Config{opt.config}, upstream.Options{Offline: opt.offline, Now: p.clock.now, Dial: dialLoopback})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.set.CloseIdle)
	p.lab = newLab(t, func(c *registry.Config) {
		c.Upstreams, c.Now, c.Spool = p.set, p.clock.now, t.TempDir()
		if opt.blind {
			c.Blobs = blindStore{c.Blobs}
		}
		if opt.change != nil {
			opt.change(c)
		}
	})
	return p
}

// settle waits until what was sent is kept, which is a moment later.
func (p *proxyLab) settle(t testing.TB, path string, c *testimage.Content) {
	t.Helper()
	for _, b := range c.Blobs {
		await(t, func() bool {
			return p.store.View(t.Context(), func(r store.Reader) error {
				_, err := r.LinkedBlob(t.Context(), path, b.Digest)
				return err
			}) == nil
		})
	}
}

// again serves the same store with other upstreams.
func (p *proxyLab) again(t *testing.T, set *upstream.Set) *proxyLab {
	t.Helper()
	handler, err := registry.New(t.Context(), registry.Config{Store: p.store, Blobs: p.blobs, Name: host, Upstreams: set, Now: p.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.Close()
		handler.Close()
	})
	l := *p.lab
	l.handler, l.url = handler, server.URL
	return &proxyLab{lab: &l, upstream: p.upstream, set: set, clock: p.clock}
}

// dialLoopback refuses to leave this machine.
func dialLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(addr); err != nil || host != "127.0.0.1" {
		return nil, fmt.Errorf("a test asks for %s", addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// push pushes to the upstream.
func (p *proxyLab) pushUp(t testing.TB, repository, tag string, c *testimage.Content) {
	t.Helper()
	if err := p.upstream.Push(t.Context(), repository, tag, c); err != nil {
		t.Fatal(err)
	}
}

// status returns how it stands with the upstream.
func (p *proxyLab) status() dossier.Upstream { return p.set.Status()[0] }

// history returns the intervals of a tag, the newest first, as digests.
func (p *proxyLab) history(t testing.TB, name, tag string) []dossier.TagInterval {
	t.Helper()
	var list []dossier.TagInterval
	err := p.store.View(t.Context(), func(r store.Reader) (err error) {
		list, err = r.TagHistory(t.Context(), name, tag, 100)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// facts returns the kinds of facts about a digest.
func (p *proxyLab) facts(t testing.TB, d dossier.Digest) map[dossier.FactKind]int {
	t.Helper()
	kinds := map[dossier.FactKind]int{}
	err := p.store.View(t.Context(), func(r store.Reader) error {
		for f, err := range r.Holding(t.Context(), []dossier.Digest{d}, dossier.Times{}) {
			if err != nil {
				return err
			}
			kinds[f.Kind]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

// TestPullThrough pulls an index and all below it, twice: by the prefix and by
// the name that containerd gives. The second time nobody asks the upstream.
func TestPullThrough(t *testing.T) {
	for _, blind := range []bool{false, true} {
		t.Run(fmt.Sprint("blind ", blind), func(t *testing.T) {
			p := newProxyLab(t, proxyOptions{blind: blind})
			c := sample(t, testimage.Of(webImage("linux/amd64", "1"), webImage("linux/arm64", "1")))
			p.pushUp(t, "library/nginx", "1.27", c)
			p.checkPullThrough(t, "/v2/docker.io/library/nginx", "", "1.27", c)
			if gets := p.upstream.Count(http.MethodGet, "/manifests/"); gets != len(c.Manifests) {
				t.Errorf("%d manifests were asked for, want %d", gets, len(c.Manifests))
			}
			if gets := p.upstream.Count(http.MethodGet, "/blobs/"); gets != len(c.Blobs) {
				t.Errorf("%d blobs were asked for, want %d", gets, len(c.Blobs))
			}
			p.upstream.ResetRequests()
			for _, base := range []string{"/v2/docker.io/library/nginx", "/v2/docker.io/nginx"} {
				p.checkPullThrough(t, base, "", "1.27", c)
			}
			for _, base := range []string{"/v2/library/nginx", "/v2/nginx"} {
				p.checkPullThrough(t, base, "?ns=docker.io", "1.27", c)
			}
			if n := len(p.upstream.Requests()); n != 0 {
				t.Errorf("asked again: %v", p.upstream.Requests())
			}
			s := p.status()
			if s.State != dossier.UpstreamOK || s.Served.Fetched == 0 || s.Served.Kept == 0 || s.Served.Failed+s.Served.Stale+s.Served.Missing != 0 {
				t.Errorf("status: %+v", s)
			}
			if a := p.do(t, http.MethodGet, "/v2/_catalog", nil); string(a.body) != `{"repositories":["docker.io/library/nginx"]}` {
				t.Errorf("catalog: %s", a.body)
			}
		})
	}
}

// checkPullThrough pulls as clients do: the tag, then what each manifest names.
func (p *proxyLab) checkPullThrough(t testing.TB, base, query, tag string, c *testimage.Content) {
	t.Helper()
	a := p.want(t, http.StatusOK, "", http.MethodHead, base+"/manifests/"+tag+query, nil)
	if got := a.header.Get("Docker-Content-Digest"); got != string(c.Digest()) {
		t.Errorf("%s is %s, want %s", tag, got, c.Digest())
	}
	if query != "" && a.header.Get("OCI-Namespace") != "docker.io" {
		t.Errorf("namespace %q", a.header.Get("OCI-Namespace"))
	}
	for _, m := range c.Manifests {
		a := p.want(t, http.StatusOK, "", http.MethodGet, base+"/manifests/"+string(m.Digest)+query, nil)
		if !bytes.Equal(a.body, m.Bytes) || a.header.Get("Content-Type") != m.MediaType {
			t.Errorf("manifest %s differs, or its type %s", m.Digest, a.header.Get("Content-Type"))
		}
	}
	for _, b := range c.Blobs {
		a := p.want(t, http.StatusOK, "", http.MethodHead, base+"/blobs/"+string(b.Digest)+query, nil)
		if got := a.header.Get("Content-Length"); got != fmt.Sprint(len(b.Bytes)) {
			t.Errorf("blob %s: length %s, want %d", b.Digest, got, len(b.Bytes))
		}
		a = p.want(t, http.StatusOK, "", http.MethodGet, base+"/blobs/"+string(b.Digest)+query, nil)
		if !bytes.Equal(a.body, b.Bytes) || a.header.Get("Content-Length") != fmt.Sprint(len(b.Bytes)) {
			t.Errorf("blob %s differs", b.Digest)
		}
	}
}

// TestPulledImageHasFacts checks what is known of an image that was pulled
// through, whatever came first.
func TestPulledImageHasFacts(t *testing.T) {
	p := newProxyLab(t, proxyOptions{change: func(c *registry.Config) { c.Contents = true }})
	c := sample(t, webImage("linux/amd64", "1"))
	p.pushUp(t, "library/nginx", "1.27", c)
	config := dossier.FromBytes(c.Config())
	base := "/v2/docker.io/library/nginx"
	p.want(t, http.StatusOK, "", http.MethodGet, base+"/manifests/1.27", nil)
	if kinds := p.facts(t, c.Digest()); kinds[dossier.FactManifest] != 1 || kinds[dossier.FactName] != 1 || kinds[dossier.FactTag] != 1 {
		t.Errorf("facts of the manifest: %v", kinds)
	}
	programs := func() int {
		var n int
		err := p.store.View(t.Context(), func(r store.Reader) error {
			jobs, err := r.Jobs(t.Context(), "image.contents", []string{string(c.Digest())}, 1)
			n = len(jobs)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i, b := range c.Blobs {
		if programs() != 0 {
			t.Error("a program is read before its layers are there")
		}
		p.want(t, http.StatusOK, "", http.MethodGet, base+"/blobs/"+string(b.Digest), nil)
		_ = i
	}
	await(t, func() bool { return programs() == 1 })
	if kinds := p.facts(t, config); kinds[dossier.FactConfig] != 1 {
		t.Errorf("facts of the configuration: %v", kinds)
	}
	err := p.store.View(t.Context(), func(r store.Reader) error {
		images, err := r.Images(t.Context(), []dossier.Digest{c.Digest()})
		if err != nil {
			return err
		}
		if got := images[c.Digest()]; got.Kind != dossier.ImageManifest || got.Platform != "linux/amd64" {
			t.Errorf("image: %+v", got)
		}
		for _, key := range []string{"git.example/org/web", "docker.io/library/nginx:1.27"} {
			hits, err := r.FindTerms(t.Context(), store.TermQuery{Key: key, Limit: 10})
			if err != nil || len(hits) == 0 {
				t.Errorf("%s finds nothing: %v", key, err)
			}
		}
		edges, err := r.Edges(t.Context(), []dossier.Digest{c.Digest()}, dossier.RoleChain)
		if len(edges) != 1 {
			t.Errorf("%d chains", len(edges))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	// The blobs first, then the manifest.
	other := sample(t, webImage("linux/arm64", "2"))
	p.pushUp(t, "library/other", "1", other)
	for _, b := range other.Blobs {
		p.want(t, http.StatusOK, "", http.MethodGet, "/v2/docker.io/library/other/blobs/"+string(b.Digest), nil)
	}
	p.want(t, http.StatusOK, "", http.MethodGet, "/v2/docker.io/library/other/manifests/1", nil)
	otherConfig := dossier.FromBytes(other.Config())
	await(t, func() bool { return p.facts(t, otherConfig)[dossier.FactConfig] == 1 })
	c = other
	await(t, func() bool { return programs() == 1 })
}

// await waits for what is done after an answer was sent.
func await(t testing.TB, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

// TestUpstreamTagMoves keeps the history of a tag that moves elsewhere.
func TestUpstreamTagMoves(t *testing.T) {
	p := newProxyLab(t, proxyOptions{})
	one, two := sample(t, webImage("linux/amd64", "1")), sample(t, webImage("linux/amd64", "2"))
	path := "/v2/docker.io/library/nginx/manifests/1.27"
	see := func(want dossier.Digest, heads, gets int) {
		t.Helper()
		a := p.want(t, http.StatusOK, "", http.MethodGet, path, nil)
		if got := a.header.Get("Docker-Content-Digest"); got != string(want) {
			t.Errorf("it is %s, want %s", got, want)
		}
		if h, g := p.upstream.Count(http.MethodHead, "/manifests/"), p.upstream.Count(http.MethodGet, "/manifests/"); h != heads || g != gets {
			t.Errorf("%d HEAD and %d GET, want %d and %d", h, g, heads, gets)
		}
	}
	p.pushUp(t, "library/nginx", "1.27", one)
	see(one.Digest(), 1, 1)
	see(one.Digest(), 1, 1) // fresh
	p.clock.pass(2 * time.Minute)
	see(one.Digest(), 2, 1) // unchanged
	p.pushUp(t, "library/nginx", "1.27", two)
	see(one.Digest(), 2, 1) // still fresh
	p.clock.pass(2 * time.Minute)
	see(two.Digest(), 3, 2)
	p.pushUp(t, "library/nginx", "1.27", one)
	p.clock.pass(2 * time.Minute)
	see(one.Digest(), 4, 2) // back, and known
	list := p.history(t, "docker.io/library/nginx", "1.27")
	var got []dossier.Digest
	for _, i := range list {
		got = append(got, i.Digest)
	}
	if want := []dossier.Digest{one.Digest(), two.Digest(), one.Digest()}; fmt.Sprint(got) != fmt.Sprint(want) || !list[0].To.IsZero() || list[1].To.IsZero() {
		t.Errorf("history: %+v", list)
	}
	if kinds := p.facts(t, two.Digest()); kinds[dossier.FactTag] != 1 {
		t.Errorf("facts: %v", kinds)
	}
}

// TestManyPullOne: fifty clients want an image that nobody has asked for yet.
func TestManyPullOne(t *testing.T) {
	const size, clients = 3 << 20, 50
	release := make(chan struct{})
	var early atomic.Int32
	layer := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	d := dossier.FromBytes(layer)
	p := newProxyLab(t, proxyOptions{upstream: testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, string(d)) || r.Method == http.MethodHead {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Length", fmt.Sprint(size))
			_, _ = w.Write(layer[:size/2])
			_ = http.NewResponseController(w).Flush()
			<-release
			_, _ = w.Write(layer[size/2:])
		})
	}}})
	c := sample(t, testimage.Artifact{ArtifactType: "application/x-test", Layers: []testimage.Blob{{MediaType: "application/x-test", Bytes: layer}}})
	p.pushUp(t, "library/nginx", "1.27", c)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			a, err := send(t.Context(), http.MethodGet, p.url+"/v2/docker.io/library/nginx/manifests/1.27", nil)
			if err != nil || a.status != http.StatusOK {
				t.Errorf("manifest: %d, %v", a.status, err)
			}
			resp, err := http.DefaultTransport.RoundTrip(request(t, p.url+"/v2/docker.io/library/nginx/blobs/"+string(d)))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			h := d.NewHash()
			// The first part comes before the upstream has sent the rest.
			if n, err := copyN(h, resp.Body, size/4); err != nil || n != size/4 {
				t.Errorf("%d bytes, %v", n, err)
			}
			if early.Add(1) == clients {
				close(release)
			}
			if _, err := copyN(h, resp.Body, -1); err != nil || dossier.FromHash(dossier.SHA256, h) != d || resp.ContentLength != size {
				t.Errorf("the layer differs, length %d, %v", resp.ContentLength, err)
			}
		})
	}
	all.Wait()
	for _, what := range []string{"HEAD /manifests/", "GET /manifests/", "GET /blobs/" + string(d)} {
		method, part, _ := strings.Cut(what, " ")
		if n := p.upstream.Count(method, part); n != 1 {
			t.Errorf("%s: %d requests, want 1", what, n)
		}
	}
}
