// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"archive/zip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

// feedBase is a directory of feeds: of npm, with one advisory.
func feedBase(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	if err := os.Mkdir(filepath.Join(base, "npm"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(base, "npm", "all.zip"))
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create("GHSA-1.json")
	if err == nil {
		_, err = w.Write([]byte(`{"id":"GHSA-1","modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"a"},"versions":["1.0.0"]}]}`))
	}
	if err != nil || z.Close() != nil || f.Close() != nil {
		t.Fatal(err)
	}
	return base
}

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// TestFeedSchedule: what is due is updated, once, by whoever begins; what fails is
// tried again after a while; age is told by metrics.
func TestFeedSchedule(t *testing.T) {
	c := &clock{at: time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC)}
	e, err := Open(t.Context(), Config{Data: sqltest.Dir(t), Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	schedule := func(ecosystems ...string) *feedSchedule {
		return &feedSchedule{engine: e, config: config.Advisories{Base: feedBase(t), Ecosystems: ecosystems}, failed: map[string]time.Time{}}
	}
	s := schedule("npm", "none")
	feeds := &Feeds{config: e.config}
	feeds.Store, feeds.Now, feeds.Fetcher.Dir = e.advisories, c.now, t.TempDir()
	if err := feeds.From(s.config.Base); err != nil {
		t.Fatal(err)
	}
	if next := s.updateDue(t.Context(), feeds); next != feedRetry || s.failed["none"].IsZero() || !s.failed["npm"].IsZero() {
		t.Errorf("at first: the next after %v, failed %v", next, s.failed)
	}
	wait, err := schedule("npm").due(context.Background(), "npm", feedEvery)
	if err != nil || wait != feedEvery {
		t.Errorf("another server would wait %v, %v; want %v", wait, err, feedEvery)
	}
	c.add(feedEvery)
	if wait, err := s.due(t.Context(), "npm", feedEvery); err != nil || wait != 0 {
		t.Errorf("an hour later: %v, %v; want at once", wait, err)
	}
}

// TestFeedMetrics looks at the metrics of a server whose advisories are old.
func TestFeedMetrics(t *testing.T) {
	c := &clock{at: time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	feeds, err := OpenFeeds(t.Context(), Config{Data: dir, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	if err := feeds.From(feedBase(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := feeds.Update(t.Context(), "npm"); err != nil {
		t.Fatal(err)
	}
	if err := feeds.Close(); err != nil {
		t.Fatal(err)
	}
	c.add(100 * time.Hour)
	s := serve(t, ServeConfig{Config: Config{Data: dir, Now: c.now}, NoCluster: true, Advisories: config.Advisories{MaxAge: 90 * time.Hour}})
	_, body := fetch(t, s.url+"/metrics")
	for _, want := range []string{`dossier_feed_age_seconds{feed="npm"} 360000`, `dossier_feed_stale{feed="npm"} 1`, `dossier_feed_advisories{feed="npm"} 1`} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}
