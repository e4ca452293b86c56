// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// TestKilled kills the registry at random during pushes. Afterwards every push
// that was acknowledged pulls back bit for bit, and no manifest lacks a child,
// acknowledged or not.
func TestKilled(t *testing.T) {
	for _, engine := range []struct {
		name     string
		database func(t *testing.T) string
	}{
		{"SQLite", func(*testing.T) string { return "" }},
		{"PostgreSQL", func(t *testing.T) string { return pgtest.Start(t) }},
	} {
		t.Run(engine.name, func(t *testing.T) {
			const rounds = 6
			data, database := t.TempDir(), engine.database(t)
			w := &witness{random: rand.New(rand.NewPCG(7, 7))}
			for round := range rounds {
				p, err := start(t.Context(), program(t, "dossier"), place{data: data, database: database})
				if err != nil {
					t.Fatal(err)
				}
				w.pushUntilKilled(t.Context(), p, round)
			}
			host := serve(t, data, database).host
			if len(w.pushes) < rounds {
				t.Errorf("%d pushes were acknowledged: the test does too little", len(w.pushes))
			}
			t.Logf("%d pushes were acknowledged", len(w.pushes))
			for _, push := range w.pushes {
				push.check(t, host)
			}
			checkWhole(t, host)
		})
	}
}

// witness remembers what was acknowledged.
type witness struct {
	random *rand.Rand
	mu     sync.Mutex
	pushes []pushed
}

// pushed is an image of one layer.
type pushed struct {
	tag             string
	layer, manifest []byte
}

// pushers is how many push at a time, all into one repository.
const (
	pushers    = 4
	repository = "killed/app"
)

// pushUntilKilled pushes until the process is killed, which is soon.
func (w *witness) pushUntilKilled(ctx context.Context, p *process, round int) {
	var group sync.WaitGroup
	first := make(chan struct{}, pushers)
	for i := range pushers {
		seed := w.random.Uint64()
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			for n := 0; ; n++ {
				push := newPush(random, fmt.Sprintf("t%d-%d-%d", round, i, n))
				if push.send(ctx, p.host, random.IntN(2) == 0) != nil {
					return
				}
				w.mu.Lock()
				w.pushes = append(w.pushes, push)
				w.mu.Unlock()
				if n == 0 {
					first <- struct{}{}
				}
			}
		})
	}
	select {
	case <-first:
	case <-time.After(20 * time.Second): // fewer pushes than rounds: the test says so
	}
	time.Sleep(time.Duration(w.random.IntN(300)) * time.Millisecond)
	p.end(syscall.SIGKILL)
	group.Wait()
}

func newPush(random *rand.Rand, tag string) pushed {
	layer := make([]byte, 1+random.IntN(300_000))
	for i := range layer {
		layer[i] = byte(random.Uint32())
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[{"mediaType":"text/plain","digest":%q,"size":%d}]}`,
		manifestType, sum([]byte("{}")), sum(layer), len(layer))
	return pushed{tag, layer, manifest}
}

// send pushes in the order of all clients. It returns nil when all of it was
// acknowledged.
func (p pushed) send(ctx context.Context, host string, chunked bool) error {
	base := "http://" + host + "/v2/" + repository
	for _, b := range [][]byte{[]byte("{}"), p.layer} {
		if err := upload(ctx, host, base, b, chunked); err != nil {
			return err
		}
	}
	return expect(http.StatusCreated)(do(ctx, http.MethodPut, base+"/manifests/"+p.tag, p.manifest, manifestType))
}

func upload(ctx context.Context, host, base string, b []byte, chunked bool) error {
	if !chunked {
		return expect(http.StatusCreated)(do(ctx, http.MethodPost, base+"/blobs/uploads/?digest="+sum(b), b, "application/octet-stream"))
	}
	a, err := do(ctx, http.MethodPost, base+"/blobs/uploads/", nil, "")
	if err := expect(http.StatusAccepted)(a, err); err != nil {
		return err
	}
	location, half := "http://"+host+a.header.Get("Location"), len(b)/2
	if err := expect(http.StatusAccepted)(do(ctx, http.MethodPatch, location, b[:half], "")); err != nil {
		return err
	}
	return expect(http.StatusCreated)(do(ctx, http.MethodPut, location+"?digest="+sum(b), b[half:], ""))
}

func expect(status int) func(answer, error) error {
	return func(a answer, err error) error {
		if err == nil && a.status != status {
			err = fmt.Errorf("%d: %s", a.status, a.body)
		}
		return err
	}
}

// check pulls the push back.
func (p pushed) check(t *testing.T, host string) {
	t.Helper()
	base := "http://" + host + "/v2/" + repository
	for path, want := range map[string][]byte{
		"/manifests/" + p.tag: p.manifest, "/manifests/" + sum(p.manifest): p.manifest, "/blobs/" + sum(p.layer): p.layer,
	} {
		a, err := do(t.Context(), http.MethodGet, base+path, nil, "")
		if err != nil || a.status != http.StatusOK || !bytes.Equal(a.body, want) {
			t.Errorf("%s: %v, %d, %d bytes; want %d", path, err, a.status, len(a.body), len(want))
		}
	}
}

// checkWhole pulls whatever has a tag, with its children.
func checkWhole(t *testing.T, host string) {
	t.Helper()
	base := "http://" + host + "/v2/" + repository
	a, err := do(t.Context(), http.MethodGet, base+"/tags/list", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Tags []string }
	if err := json.Unmarshal(a.body, &list); err != nil || len(list.Tags) == 0 {
		t.Fatalf("%v: %s", err, a.body)
	}
	for _, tag := range list.Tags {
		m, err := do(t.Context(), http.MethodGet, base+"/manifests/"+tag, nil, "")
		if err != nil || m.status != http.StatusOK {
			t.Errorf("%s: %v, %d", tag, err, m.status)
			continue
		}
		for _, d := range layersOf(t, string(m.body)) {
			b, err := do(t.Context(), http.MethodGet, base+"/blobs/"+d, nil, "")
			if err != nil || b.status != http.StatusOK || sum(b.body) != d {
				t.Errorf("%s lacks %s: %v, %d", tag, strings.TrimPrefix(d, "sha256:")[:12], err, b.status)
			}
		}
	}
}
