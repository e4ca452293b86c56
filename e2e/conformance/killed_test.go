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
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// TestKilled kills the registry at random while clients push, pull and delete and garbage is collected
// all the time. Afterwards every push that was acknowledged and not deleted pulls back bit for
// bit, no manifest lacks a child, acknowledged or not, and what is garbage goes. The audit is whole: it has
// every change that was acknowledged, each with its leaf in a log that extends all that it ever showed, and every pull but those of the last second before a kill: when
// the log is written every 5 s instead of every 400 ms, the test fails.
func TestKilled(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "dossier.yaml")
	write(t, policy, killedPolicy)
	for _, engine := range []struct {
		name  string
		place func(t *testing.T) place
	}{
		{"SQLite and a directory", func(t *testing.T) place { return place{} }},
		{"PostgreSQL and a directory", func(t *testing.T) place { return place{database: pgtest.Start(t)} }},
		{"PostgreSQL and S3", func(t *testing.T) place {
			at := bucket(t)
			at.database = pgtest.Start(t)
			return at
		}},
	} {
		t.Run(engine.name, func(t *testing.T) {
			const rounds = 6
			at := engine.place(t)
			at.data, at.flags = t.TempDir(), []string{"--config", policy}
			w := &witness{random: rand.New(rand.NewPCG(7, 7))}
			for round := range rounds {
				p, err := start(t.Context(), program(t, "dossier"), at)
				if err != nil {
					t.Fatal(err)
				}
				w.pushUntilKilled(t.Context(), p, round)
			}
			host := serveAt(t, at).host
			key := verifyLog(t, at)
			monitorLog(t, host, key, w.log.list)
			if len(w.log.list) < rounds {
				t.Errorf("%d checkpoints were seen: the test does too little", len(w.log.list))
			}
			if len(w.pushes) < rounds {
				t.Errorf("%d pushes were acknowledged: the test does too little", len(w.pushes))
			}
			w.checkAudit(t, host) // before anything is pulled again
			for i, push := range w.pushes {
				if push.deleted {
					continue
				}
				push.check(t, host)
				if i%10 == 0 {
					prove(t, host, key, sum(push.manifest))
				}
			}
			checkWhole(t, host)
			checkCollected(t, host)
		})
	}
}

// killedPolicy collects all the time, and holds what it told of for some seconds.
const killedPolicy = `registry:
  care:
    lease: 4s
    delay: 1s
    every: 50ms
    reconcile: 50ms
    scrub: {age: 1s}
    retention:
      - {name: no tag, repositories: ["**"], untagged: 0s}
`

// witness remembers what was acknowledged.
type witness struct {
	random  *rand.Rand
	mu      sync.Mutex
	pushes  []*pushed
	deletes []string // digests of manifests
	pulls   []pulled // each of another manifest
	log     seen
	slowest time.Duration
}

// pulled is the pull of a manifest that was answered.
type pulled struct {
	digest string
	at     time.Time
	sure   bool // long enough before the kill to be on record
}

// pushed is an image of one layer.
type pushed struct {
	tag             string
	layer, manifest []byte
	deleted         bool // or perhaps
}

// pushers is how many push at a time, all into one repository.
const (
	pushers    = 4
	repository = "killed/app"
)

// pushUntilKilled pushes until the process is killed, which is soon.
func (w *witness) pushUntilKilled(ctx context.Context, p *process, round int) {
	var group sync.WaitGroup
	first, from := make(chan struct{}, pushers), len(w.pulls)
	group.Go(func() { w.log.follow(ctx, p.host) })
	for i := range pushers {
		seed := w.random.Uint64()
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			for n := 0; ; n++ {
				push := newPush(random, fmt.Sprintf("t%d-%d-%d", round, i, n))
				began := time.Now()
				if push.send(ctx, p.host, random.IntN(2) == 0) != nil {
					return
				}
				w.mu.Lock()
				w.pushes = append(w.pushes, &push)
				w.slowest = max(w.slowest, time.Since(began))
				w.mu.Unlock()
				if w.use(ctx, p.host, &push, random) != nil {
					return
				}
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
	time.Sleep(time.Duration(w.random.IntN(1500)) * time.Millisecond)
	killed := time.Now()
	p.end(syscall.SIGKILL)
	group.Wait()
	// The promise is a second as long as a commit takes less than 600 ms, and a push takes some commits.
	for i := from; i < len(w.pulls); i++ {
		if at := w.pulls[i].at; at.Before(killed.Add(-time.Second)) && at.Before(killed.Add(-w.slowest-time.Second/2)) {
			w.pulls[i].sure = true
		}
	}
}

// use pulls what was pushed, or deletes it.
func (w *witness) use(ctx context.Context, host string, p *pushed, random *rand.Rand) error {
	url := "http://" + host + "/v2/" + repository + "/manifests/" + sum(p.manifest)
	switch random.IntN(3) {
	case 0:
		if err := expect(http.StatusOK)(do(ctx, http.MethodGet, url, nil, "")); err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.pulls = append(w.pulls, pulled{digest: sum(p.manifest), at: time.Now()})
	case 1:
		p.deleted = true // or perhaps: nobody may have said so
		if err := expect(http.StatusAccepted)(do(ctx, http.MethodDelete, url, nil, "")); err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.deletes = append(w.deletes, sum(p.manifest))
	}
	return nil
}

// checkAudit reads the audit to its end, and looks for what was acknowledged.
func (w *witness) checkAudit(t *testing.T, host string) {
	t.Helper()
	seen := map[string]int{}
	for before := ""; ; {
		a, err := do(t.Context(), http.MethodGet, "http://"+host+"/api/v1/audit?limit=1000&before="+url.QueryEscape(before), nil, "")
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("audit: %v, %d %.300s", err, a.status, a.body)
		}
		var page dossier.AuditList
		if err := json.Unmarshal(a.body, &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			if e.Object != dossier.ObjectTag && (e.Action != dossier.ActionPull || e.Object == dossier.ObjectManifest) {
				seen[string(e.Action)+" "+string(e.Digest)]++
			}
		}
		if before = page.Next; before == "" {
			break
		}
	}
	want := func(action dossier.AuditAction, digest string) {
		t.Helper()
		if n := seen[string(action)+" "+digest]; n != 1 {
			t.Errorf("%s of %s is on record %d times, want once", action, digest, n)
		}
	}
	for _, push := range w.pushes {
		want(dossier.ActionPush, sum(push.manifest))
		want(dossier.ActionPush, sum(push.layer))
	}
	for _, digest := range w.deletes {
		want(dossier.ActionDelete, digest)
	}
	sure, lost := 0, 0
	for _, pull := range w.pulls {
		n := seen["pull "+pull.digest]
		switch {
		case pull.sure:
			sure++
			if n == 0 {
				t.Errorf("pull of %s is not on record, which was more than a second before a kill", pull.digest)
			}
		case n == 0:
			lost++
		}
	}
	t.Logf("%d pushes, %d deletions, %d pulls of which %d had to be on record, and %d others are not", len(w.pushes), len(w.deletes), len(w.pulls), sure, lost)
}

// checkCollected waits until there is no garbage.
func checkCollected(t *testing.T, host string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		a, err := do(t.Context(), http.MethodGet, "http://"+host+"/api/v1/registry/garbage", nil, "")
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("garbage: %v, %d %.300s", err, a.status, a.body)
		}
		var left dossier.Collection
		if err := json.Unmarshal(a.body, &left); err != nil {
			t.Fatal(err)
		}
		leased, err := do(t.Context(), http.MethodGet, "http://"+host+"/metrics", nil, "")
		if err != nil {
			t.Fatal(err)
		}
		collected := freed.Match(leased.body)
		if len(left.Items) == 0 && collected {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d things are still garbage after a minute; some was freed: %v", len(left.Items), collected)
		}
	}
}

// newLargePush is a push whose layer does not fit in a row.
func newLargePush(random *rand.Rand, tag string) pushed {
	for {
		if p := newPush(random, tag); len(p.layer) > 20_000 {
			return p
		}
	}
}

func newPush(random *rand.Rand, tag string) pushed {
	layer := make([]byte, 1+random.IntN(1+random.IntN(2)*300_000+20_000)) // half of them about as large as fits in a row
	for i := range layer {
		layer[i] = byte(random.Uint32())
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[{"mediaType":"text/plain","digest":%q,"size":%d}]}`,
		manifestType, sum([]byte("{}")), sum(layer), len(layer))
	return pushed{tag: tag, layer: layer, manifest: manifest}
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
