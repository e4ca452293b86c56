// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/testimage"
)

// liar stands before an upstream and answers for it where it is told to.
type liar struct {
	mu  sync.Mutex
	lie func(w http.ResponseWriter, r *http.Request) bool // reports whether it answered
}

func (l *liar) set(lie func(w http.ResponseWriter, r *http.Request) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lie = lie
}

func (l *liar) intercept(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		lie := l.lie
		l.mu.Unlock()
		if lie == nil || !lie(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}

// answering returns a lie: a status for whatever has part in its path.
func answering(part string, status int, headers ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		return true
	}
}

// newLiarLab is a proxy lab whose upstream can be made to lie, and holds
// library/nginx:1.27.
func newLiarLab(t *testing.T, opt proxyOptions) (*proxyLab, *liar, *testimage.Content) {
	t.Helper()
	l := &liar{}
	opt.upstream.Intercept = l.intercept
	p := newProxyLab(t, opt)
	c := sample(t, webImage("linux/amd64", "1"))
	p.pushUp(t, "library/nginx", "1.27", c)
	return p, l, c
}

const nginx = "/v2/docker.io/library/nginx"

// TestUpstreamFails pulls what is not kept while the upstream fails, and what is
// kept while it still does.
func TestUpstreamFails(t *testing.T) {
	circle := func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
		return true
	}
	tests := []struct {
		name   string
		lie    func(http.ResponseWriter, *http.Request) bool
		status int
		code   string
		stale  bool // what is kept is served
		retry  bool // Retry-After is told
	}{
		{"down", answering("/", http.StatusBadGateway), http.StatusServiceUnavailable, "UNAVAILABLE", true, true},
		{"throttled", answering("/", http.StatusTooManyRequests, "Retry-After: 3600"), http.StatusTooManyRequests, "TOOMANYREQUESTS", true, true},
		{"refusing", answering("/", http.StatusForbidden), http.StatusForbidden, "DENIED", false, false},
		{"asking for credentials", answering("/", http.StatusUnauthorized, `WWW-Authenticate: Basic realm="x"`), http.StatusForbidden, "DENIED", false, false},
		{"without it", answering("/manifests/", http.StatusNotFound), http.StatusNotFound, "MANIFEST_UNKNOWN", false, false},
		{"redirecting in circles", circle, http.StatusBadGateway, "UPSTREAM_INVALID", false, false},
		{"redirecting to another scheme", answering("/", http.StatusTemporaryRedirect, "Location: file:///etc/passwd"), http.StatusForbidden, "DENIED", false, false},
		{"sending no manifest", func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = w.Write([]byte("<html>hello</html>"))
			return true
		}, http.StatusBadGateway, "UPSTREAM_INVALID", false, false},
		{"sending Docker's schema 1", func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
			_, _ = w.Write([]byte(`{"schemaVersion":1,"fsLayers":[]}`))
			return true
		}, http.StatusBadGateway, "UPSTREAM_INVALID", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, l, c := newLiarLab(t, proxyOptions{})
			p.pushUp(t, "library/other", "1", c)
			p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/manifests/1.27", nil)
			l.set(tt.lie)
			a := p.want(t, tt.status, tt.code, http.MethodGet, "/v2/docker.io/library/other/manifests/1", nil)
			if got := a.header.Get("Retry-After") != ""; got != tt.retry {
				t.Errorf("Retry-After: %q", a.header.Get("Retry-After"))
			}
			if tt.code == "TOOMANYREQUESTS" && a.header.Get("Retry-After") < "3590" {
				t.Errorf("Retry-After: %s, want about an hour", a.header.Get("Retry-After"))
			}
			if strings.Contains(string(a.body), "docker login") || !strings.Contains(string(a.body), `"upstream":"docker.io"`) {
				t.Errorf("it says %s", a.body)
			}
			p.clock.pass(2 * time.Minute)
			status, code := tt.status, tt.code
			if tt.stale {
				status, code = http.StatusOK, ""
			}
			a = p.want(t, status, code, http.MethodGet, nginx+"/manifests/1.27", nil)
			if tt.stale && (a.header.Get("Age") < "119" || !strings.HasPrefix(a.header.Get("Warning"), `111 - "docker.io `) || !bytes.Equal(a.body, c.Manifests[0].Bytes)) {
				t.Errorf("Age %s, Warning %s", a.header.Get("Age"), a.header.Get("Warning"))
			}
			// By digest nothing depends on the upstream.
			p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/manifests/"+string(c.Digest()), nil)
			if !tt.stale {
				return
			}
			// For a while it is not asked again about what is kept.
			p.upstream.ResetRequests()
			p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/manifests/1.27", nil)
			if n := len(p.upstream.Requests()); n != 0 {
				t.Errorf("asked %d times", n)
			}
			s := p.status()
			if want := map[string]dossier.UpstreamState{"throttled": dossier.UpstreamThrottled, "down": dossier.UpstreamFailing}[tt.name]; s.State != want || s.Error == "" || s.Served.Stale != 2 {
				t.Errorf("status: %+v", s)
			}
			if tt.name == "throttled" && (s.HeldUntil.IsZero() || s.Throttled == 0) {
				t.Errorf("status: %+v", s)
			}
			l.set(nil)
			p.clock.pass(2 * time.Hour)
			a = p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/manifests/1.27", nil)
			if a.header.Get("Warning") != "" || p.status().State != dossier.UpstreamOK {
				t.Errorf("afterwards: %q, %+v", a.header.Get("Warning"), p.status())
			}
		})
	}
}

// TestUpstreamIsSlow: what is kept does not wait for an upstream that hangs, but
// for its time.
func TestUpstreamIsSlow(t *testing.T) {
	p, l, _ := newLiarLab(t, proxyOptions{})
	p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/manifests/1.27", nil)
	p.clock.pass(2 * time.Minute)
	l.set(func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	})
	for range 2 {
		a := p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/manifests/1.27", nil)
		if a.header.Get("Warning") == "" {
			t.Error("it does not say that it may have changed")
		}
	}
	if n := p.upstream.Count(http.MethodHead, ""); n != 2 { // one when all was well
		t.Errorf("%d HEAD requests", n)
	}
}

// TestUpstreamTagGone: a tag that is gone there is gone here, and its history
// stays. What is missing is not asked for again at once.
func TestUpstreamTagGone(t *testing.T) {
	p, l, c := newLiarLab(t, proxyOptions{})
	p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/manifests/1.27", nil)
	p.clock.pass(2 * time.Minute)
	l.set(answering("/manifests/1.27", http.StatusNotFound))
	for range 3 {
		p.want(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodGet, nginx+"/manifests/1.27", nil)
	}
	if n := p.upstream.Count(http.MethodHead, "1.27"); n != 2 {
		t.Errorf("%d HEAD requests, want 2", n)
	}
	list := p.history(t, "docker.io/library/nginx", "1.27")
	if len(list) != 1 || list[0].To.IsZero() || list[0].Digest != c.Digest() {
		t.Errorf("history: %+v", list)
	}
	p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/manifests/"+string(c.Digest()), nil)
	l.set(nil)
	p.clock.pass(time.Minute)
	p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/manifests/1.27", nil)
	if list := p.history(t, "docker.io/library/nginx", "1.27"); len(list) != 2 {
		t.Errorf("history: %+v", list)
	}
}

// TestWrongBytes: nobody gets all of what is not what its digest says, and it is
// not kept; what breaks off goes on.
func TestWrongBytes(t *testing.T) {
	layer := make([]byte, 1<<20)
	_, _ = rand.Read(layer) // never fails
	d := dossier.FromBytes(layer)
	other := bytes.Repeat([]byte("x"), len(layer))
	send := func(length int, b []byte, abort bool) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, string(d)) {
				return false
			}
			if length >= 0 {
				w.Header().Set("Content-Length", fmt.Sprint(length))
			}
			_, _ = w.Write(b)
			_ = http.NewResponseController(w).Flush()
			if abort {
				panic(http.ErrAbortHandler)
			}
			return true
		}
	}
	var cuts atomic.Int32
	cutOnce := func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, string(d)) && cuts.Add(1) == 1 {
			return send(len(layer), layer[:len(layer)/2], true)(w, r)
		}
		return false
	}
	tests := []struct {
		name string
		lie  func(http.ResponseWriter, *http.Request) bool
		good bool
	}{
		{"as it should be", func(http.ResponseWriter, *http.Request) bool { return false }, true},
		{"of unknown size", send(-1, layer, false), true},
		{"breaks off once", cutOnce, true},
		{"wrong digest", send(len(other), other, false), false},
		{"wrong digest, of unknown size", send(-1, other, false), false},
		{"wrong last byte", send(len(layer), append(bytes.Clone(layer[:len(layer)-1]), layer[len(layer)-1]+1), false), false},
		{"too short", send(len(layer)-1, layer[:len(layer)-1], false), false},
		{"too long", send(len(layer)+1, append(bytes.Clone(layer), 'x'), false), false},
		{"too short, of unknown size", send(-1, layer[:len(layer)-1], false), false},
		{"always breaks off", send(len(layer), layer[:len(layer)/2], true), false},
		{"breaks off, of unknown size", send(-1, layer[:len(layer)/2], true), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &liar{}
			p := newProxyLab(t, proxyOptions{upstream: testimage.RegistryOptions{Intercept: l.intercept}})
			p.pushUp(t, "app", "1", sample(t, testimage.Artifact{Layers: []testimage.Blob{{MediaType: "a/b", Bytes: layer}}}))
			l.set(tt.lie)
			path := p.url + "/v2/docker.io/library/app/blobs/" + string(d)
			p.pushUp(t, "library/app", "1", sample(t, testimage.Artifact{Layers: []testimage.Blob{{MediaType: "a/b", Bytes: layer}}}))
			resp, err := http.DefaultTransport.RoundTrip(request(t, path))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusOK { // it was found before anything was sent
				err = errors.New(resp.Status)
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
			if tt.good != (err == nil && bytes.Equal(got, layer)) || tt.good && resp.ContentLength >= 0 && int(resp.ContentLength) != len(layer) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if !tt.good && err == nil {
				t.Errorf("all looked well: %d bytes", len(got))
			}
			p.handler.Close() // whatever is on its way has ended
			kept := 0
			for info, err := range p.blobs.List(t.Context(), "") {
				if kept++; err != nil || info.Size != int64(len(layer)) {
					t.Errorf("kept %+v, %v", info, err)
				}
			}
			if tt.good != (kept == 1) {
				t.Errorf("%d blobs are kept", kept)
			}
			if files, _ := filepath.Glob(filepath.Join(p.dir, "blobs", "uploads", "*")); len(files) > 0 {
				t.Errorf("left behind: %q", files)
			}
		})
	}
}

// TestClientsLeave: one who leaves in the middle takes nothing from the others.
func TestClientsLeave(t *testing.T) {
	p := newProxyLab(t, proxyOptions{})
	layer := bytes.Repeat([]byte("0123456789"), 1<<19)
	d := dossier.FromBytes(layer)
	c := sample(t, testimage.Artifact{Layers: []testimage.Blob{{MediaType: "a/b", Bytes: layer}}})
	p.pushUp(t, "library/app", "1", c)
	path := p.url + "/v2/docker.io/library/app/blobs/" + string(d)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			resp, err := http.DefaultTransport.RoundTrip(request(t, path))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if i%2 == 0 { // leaves
				_, _ = io.CopyN(io.Discard, resp.Body, 1000)
				return
			}
			if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, layer) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
	if n := p.upstream.Count(http.MethodGet, string(d)); n != 1 {
		t.Errorf("%d downloads", n)
	}
}
