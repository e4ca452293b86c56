// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// watching is a watch under way.
type watching struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Scanner
	leave context.CancelFunc
}

func beginWatch(t *testing.T, url string) *watching {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/v1/images?watch=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &watching{t, resp, bufio.NewScanner(resp.Body), cancel}
}

// next returns the next line that is not empty, and how many were.
func (w *watching) next() (dossier.ChangeLine, int) {
	w.t.Helper()
	for empty := 0; w.lines.Scan(); empty++ {
		if len(w.lines.Bytes()) == 0 {
			continue
		}
		var l dossier.ChangeLine
		if err := json.Unmarshal(w.lines.Bytes(), &l); err != nil {
			w.t.Fatal(err)
		}
		return l, empty
	}
	w.t.Fatalf("the watch ended: %v", w.lines.Err())
	return dossier.ChangeLine{}, 0
}

func added(name string) step {
	return step{change: dossier.Change{Type: dossier.ChangeAdded, Image: &dossier.Dossier{Requested: []string{name}}}}
}

func TestWatchSendsChangesAsTheyCome(t *testing.T) {
	a := &answers{steps: make(chan step)}
	h, url := start(t, Config{Answers: a, KeepAlive: 20 * time.Millisecond})
	go func() { a.steps <- added("a") }()
	w := beginWatch(t, url)
	if got := w.resp.Header.Get("Content-Type"); got != linesType {
		t.Errorf("type %s, want %s", got, linesType)
	}
	got, _ := w.next()
	if diff := cmp.Diff(dossier.ChangeLine{Change: added("a").change}, got); diff != "" {
		t.Errorf("first line (-want +got):\n%s", diff)
	}
	time.Sleep(100 * time.Millisecond)
	a.steps <- step{change: dossier.Change{Type: dossier.ChangeSynced}}
	if got, empty := w.next(); got.Type != dossier.ChangeSynced || got.Image != nil || empty == 0 {
		t.Errorf("second line %+v after %d empty ones", got, empty)
	}
	h.Drain()
	got, _ = w.next()
	if got.Type != dossier.ChangeError || got.Error == nil || got.Error.Kind != dossier.KindUnavailable {
		t.Errorf("last line %+v", got)
	}
	if w.lines.Scan() {
		t.Errorf("more: %s", w.lines.Text())
	}
	if resp, _ := get(t, url+"/readyz"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readiness while draining: %s", resp.Status)
	}
}

func TestWatchTellsWhyItFails(t *testing.T) {
	broken := dossier.Errorf(dossier.KindStorage, "reading", "", "the disk is gone")
	a := &answers{steps: make(chan step)}
	_, url := start(t, Config{Answers: a})
	go func() { a.steps <- step{err: broken} }()
	if w := beginWatch(t, url); w.resp.StatusCode != http.StatusInsufficientStorage {
		t.Errorf("failing at once: %s", w.resp.Status)
	}
	go func() {
		a.steps <- added("a")
		a.steps <- step{err: broken}
	}()
	w := beginWatch(t, url)
	w.next()
	got, _ := w.next()
	want := dossier.ProblemOf(broken)
	if diff := cmp.Diff(&want, got.Error); diff != "" {
		t.Errorf("failing later (-want +got):\n%s", diff)
	}
}

func TestWatchesAreLimited(t *testing.T) {
	a := &answers{steps: make(chan step)}
	h, url := start(t, Config{Answers: a, MaxWatches: 1})
	go func() { a.steps <- added("a") }()
	first := beginWatch(t, url)
	if w := beginWatch(t, url); w.resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("second watch: %s, want 503", w.resp.Status)
	}
	first.leave()
	for range 200 { // its place is free once the server has seen that the client left
		if len(h.watches) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the place of a watch whose client left is not free")
}
