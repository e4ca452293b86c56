// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/testimage"
)

// stripes gives n bytes that depend on their place.
type stripes struct{ at, n int64 }

func (s *stripes) Read(p []byte) (int, error) {
	if s.at >= s.n {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.n-s.at)]
	for i := range p {
		p[i] = byte((s.at + int64(i)) >> 12)
	}
	s.at += int64(len(p))
	return len(p), nil
}

// TestLargeBlob streams 200 MB to some clients at once while they are written
// down, in little memory.
func TestLargeBlob(t *testing.T) {
	const size = 200 << 20
	h := sha256.New()
	if _, err := io.Copy(h, &stripes{n: size}); err != nil {
		t.Fatal(err)
	}
	d := dossier.FromHash(dossier.SHA256, h)
	for _, blind := range []bool{false, true} {
		t.Run(fmt.Sprint("blind ", blind), func(t *testing.T) {
			p := newProxyLab(t, proxyOptions{blind: blind, upstream: testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.HasSuffix(r.URL.Path, string(d)) {
						next.ServeHTTP(w, r)
						return
					}
					w.Header().Set("Content-Length", fmt.Sprint(size))
					_, _ = io.Copy(w, &stripes{n: size}) // the client counts
				})
			}}})
			var before, now runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var most uint64
			var all sync.WaitGroup
			for i := range 3 {
				all.Go(func() {
					resp, err := http.DefaultTransport.RoundTrip(request(t, p.url+nginx+"/blobs/"+string(d)))
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					h, n := sha256.New(), int64(0)
					for n < size {
						k, err := io.CopyN(h, resp.Body, min(8<<20, size-n))
						if n += k; err != nil {
							t.Errorf("%d bytes, %v", n, err)
							return
						}
						if i == 0 {
							runtime.ReadMemStats(&now)
							most = max(most, now.HeapAlloc)
						}
					}
					if got := dossier.FromHash(dossier.SHA256, h); got != d || resp.ContentLength != size {
						t.Errorf("it is %s, want %s", got, d)
					}
				})
			}
			all.Wait()
			if grown := int64(most) - int64(before.HeapAlloc); grown > 48<<20 {
				t.Errorf("the heap grew by %d MB", grown>>20)
			}
			if n := p.upstream.Count(http.MethodGet, string(d)); n != 1 {
				t.Errorf("%d downloads", n)
			}
			// A part from its end comes from what is kept.
			a := p.want(t, http.StatusPartialContent, "", http.MethodGet, nginx+"/blobs/"+string(d), nil, "Range: bytes=-3")
			want := make([]byte, 3)
			_, _ = (&stripes{at: size - 3, n: size}).Read(want)
			if string(a.body) != string(want) {
				t.Errorf("its end is %q, want %q", a.body, want)
			}
		})
	}
}

// TestRangesOnTheirWay asks for parts of a blob that is not kept.
func TestRangesOnTheirWay(t *testing.T) {
	for header, want := range map[string]string{
		"bytes=0-3": "0123", "bytes=4-": "456789", "bytes=-2": "89", "bytes=0-100": "0123456789",
	} {
		p := newProxyLab(t, proxyOptions{})
		d := dossier.FromBytes([]byte("0123456789"))
		p.pushUp(t, "library/nginx", "1", sample(t, testimage.Artifact{Layers: []testimage.Blob{{MediaType: "a/b", Bytes: []byte("0123456789")}}}))
		a := p.want(t, http.StatusPartialContent, "", http.MethodGet, nginx+"/blobs/"+string(d), nil, "Range: "+header)
		if string(a.body) != want {
			t.Errorf("%s: %q, want %q", header, a.body, want)
		}
	}
	p := newProxyLab(t, proxyOptions{})
	p.pushUp(t, "library/nginx", "1", sample(t, testimage.Artifact{}))
	p.want(t, http.StatusRequestedRangeNotSatisfiable, "", http.MethodGet, nginx+"/blobs/"+string(dossier.FromBytes([]byte("{}"))), nil, "Range: bytes=5-")
}

// TestRoomForOthers: requests that wait for an upstream leave room for those that
// need none.
func TestRoomForOthers(t *testing.T) {
	release := make(chan struct{})
	var waiting sync.WaitGroup
	p := newProxyLab(t, proxyOptions{
		change: func(c *registry.Config) { c.MaxRequests = 8 },
		upstream: testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v2/" {
					next.ServeHTTP(w, r)
					return
				}
				waiting.Done()
				<-release
				w.WriteHeader(http.StatusNotFound)
			})
		}},
	})
	own := p.blob(t, "org/app", "own")
	var all sync.WaitGroup
	waiting.Add(4)
	for i := range 4 {
		all.Go(func() {
			a, err := send(t.Context(), http.MethodGet, fmt.Sprintf("%s%s/manifests/%d", p.url, nginx, i), nil)
			if err != nil || a.status != http.StatusNotFound {
				t.Errorf("%d, %v", a.status, err)
			}
		})
	}
	waiting.Wait()
	p.want(t, http.StatusTooManyRequests, "TOOMANYREQUESTS", http.MethodGet, nginx+"/manifests/9", nil)
	p.want(t, http.StatusOK, "", http.MethodGet, "/v2/org/app/blobs/"+string(own), nil)
	close(release)
	all.Wait()
}
