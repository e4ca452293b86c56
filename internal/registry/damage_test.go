// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/store"
)

// file returns the file that holds a blob.
func (l *lab) file(t testing.TB, d dossier.Digest) string {
	t.Helper()
	var b store.Blob
	if err := l.store.View(t.Context(), func(r store.Reader) (err error) { b, err = r.Blob(t.Context(), d); return err }); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(l.dir, "blobs", "*", "*", b.Key))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v: %q", err, found)
	}
	return found[0]
}

func (l *lab) blobState(t testing.TB, d dossier.Digest) store.BlobState {
	t.Helper()
	var b store.BlobState
	if err := l.store.View(t.Context(), func(r store.Reader) (err error) { b, err = r.BlobState(t.Context(), d); return err }); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDamageSeenBySend checks that a blob whose file has another size, or is gone, is
// never sent as if it were whole: that is written down when somebody asks for it, and
// the same bytes, pushed again, heal it.
func TestDamageSeenBySend(t *testing.T) {
	text := []byte("some text that lies in a file")
	damage := map[string]func(file string) error{
		"shorter": func(file string) error { return os.Truncate(file, 5) },
		"longer":  func(file string) error { return os.Truncate(file, 500) },
		"gone":    os.Remove,
	}
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, noRows)
			d := dossier.FromBytes(text)
			push := func() {
				l.want(t, http.StatusCreated, "", http.MethodPost, "/v2/a/blobs/uploads/?digest="+string(d), text)
			}
			push()
			if err := harm(l.file(t, d)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // when it is seen, and when it is known
				a := l.want(t, http.StatusNotFound, "BLOB_UNKNOWN", http.MethodGet, "/v2/a/blobs/"+string(d), nil)
				if !strings.Contains(string(a.body), `"damage":"`) {
					t.Errorf("answer %s", a.body)
				}
			}
			l.want(t, http.StatusNotFound, "", http.MethodHead, "/v2/a/blobs/"+string(d), nil)
			if l.blobState(t, d).Damage == "" {
				t.Error("it is not on record")
			}
			push()
			if a := l.want(t, http.StatusOK, "", http.MethodGet, "/v2/a/blobs/"+string(d), nil); !bytes.Equal(a.body, text) {
				t.Errorf("got %q", a.body)
			}
			if b := l.blobState(t, d); b.Damage != "" {
				t.Errorf("it was pushed again, and is on record as %s", b.Damage)
			}
		})
	}
}

// TestMirrorHeals damages a blob that was pulled through. Whoever pulls it gets it from the
// upstream again when the damage shows at once; else the scrub finds it and gets it.
func TestMirrorHeals(t *testing.T) {
	p := newProxyLab(t, proxyOptions{})
	c := sample(t, webImage("linux/amd64", "1"))
	p.pushUp(t, "library/nginx", "1", c)
	p.checkPullThrough(t, "/v2/docker.io/library/nginx", "", "1", c)
	p.settle(t, "docker.io/library/nginx", c)
	layer := c.Blobs[len(c.Blobs)-1]
	path := "/v2/docker.io/library/nginx/blobs/" + string(layer.Digest)

	if err := os.Truncate(p.file(t, layer.Digest), 3); err != nil {
		t.Fatal(err)
	}
	if a := p.want(t, http.StatusOK, "", http.MethodGet, path, nil); !bytes.Equal(a.body, layer.Bytes) {
		t.Errorf("got %d bytes, want %d", len(a.body), len(layer.Bytes))
	}
	await(t, func() bool { return p.blobState(t, layer.Digest).Damage == "" })

	harmed := bytes.Repeat([]byte("x"), len(layer.Bytes))
	if err := os.WriteFile(p.file(t, layer.Digest), harmed, 0o600); err != nil {
		t.Fatal(err)
	}
	p.clock.pass(care.DefaultScrubAge + time.Hour)
	scrubber, err := care.New(care.Config{Store: p.store, Blobs: p.blobs, Policy: config.Care{}, Registry: host, Restore: p.handler.Restore, Now: p.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := scrubber.Scrub(t.Context()); err != nil || got.Damaged != 1 {
		t.Errorf("scrubbed %+v: %v", got, err)
	}
	await(t, func() bool { return p.blobState(t, layer.Digest).Damage == "" })
	if a := p.want(t, http.StatusOK, "", http.MethodGet, path, nil); !bytes.Equal(a.body, layer.Bytes) {
		t.Error("it has other bytes than its upstream")
	}
	if f := p.facts(t, layer.Digest); f[dossier.FactDamage] != 1 || f[dossier.FactHeal] != 1 {
		t.Errorf("events: %v, want that it was damaged and that it was healed (the last of each)", f)
	}
}

// TestRestoreOfOthers checks what there is nowhere to get from.
func TestRestoreOfOthers(t *testing.T) {
	p := newProxyLab(t, proxyOptions{offline: true})
	d := dossier.FromBytes([]byte("x"))
	for _, path := range []string{"org/app", "docker.io/library/nginx"} {
		if err := p.handler.Restore(context.WithoutCancel(t.Context()), path, d); dossier.KindOf(err) != dossier.KindUnsupported {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// streams is a blob store whose readers cannot seek, as those of an object store
// cannot. It counts them.
type streams struct {
	blob.Store
	opened *atomic.Int64
}

// Open implements blob.Store.
func (s streams) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	s.opened.Add(1)
	from, err := s.Store.Open(ctx, key, offset, length)
	return struct{ io.ReadCloser }{from}, err
}

// TestPullOpensOnce checks that a pull asks an object store once, whole or in part, and
// gets what it should.
func TestPullOpensOnce(t *testing.T) {
	var opened atomic.Int64
	l := newLab(t, func(c *registry.Config) { c.Blobs, c.MaxSmall = streams{c.Blobs, &opened}, -1 })
	text := []byte("some text that lies in an object")
	d := dossier.FromBytes(text)
	l.want(t, http.StatusCreated, "", http.MethodPost, "/v2/a/blobs/uploads/?digest="+string(d), text)
	for _, tt := range []struct {
		rangeOf string
		status  int
		want    string
		opens   int64
	}{
		{"", http.StatusOK, string(text), 1},
		{"bytes=0-3", http.StatusPartialContent, "some", 1},
		{"bytes=5-", http.StatusPartialContent, string(text[5:]), 2}, // one to see that it is there
	} {
		opened.Store(0)
		var headers []string
		if tt.rangeOf != "" {
			headers = append(headers, "Range: "+tt.rangeOf)
		}
		a := l.do(t, http.MethodGet, "/v2/a/blobs/"+string(d), nil, headers...)
		if a.status != tt.status || string(a.body) != tt.want || opened.Load() != tt.opens {
			t.Errorf("%q: %d %q, opened %d times; want %d %q, %d", tt.rangeOf, a.status, a.body, opened.Load(), tt.status, tt.want, tt.opens)
		}
	}
}
