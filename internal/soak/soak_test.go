// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier/internal/blob/disk"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/soak"
	"dossier.dev/dossier/internal/store/sqlstore"
)

// start serves a registry that has metrics as if it collected. Before each request spoil may
// answer it instead.
func start(t *testing.T, spoil func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	dir := t.TempDir()
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(dir, "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	files, err := disk.Open(disk.Config{Dir: filepath.Join(dir, "blobs")})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := registry.New(t.Context(), registry.Config{Store: db, Blobs: files, Name: "registry.example"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/metrics":
			fmt.Fprintf(w, "%s{kind=\"blob\"} 3\n%s{kind=\"tag\"} 4\n%s 1e+06\n%s{found=\"whole\"} 5\n%s 0\n", soak.Collected, soak.Collected, soak.Freed, soak.Checked, soak.Damaged)
		case !spoil(w, r):
			handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		server.Close()
		handler.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if err := files.Close(); err != nil {
			t.Error(err)
		}
	})
	return strings.TrimPrefix(server.URL, "http://")
}

// TestRun checks that a registry which loses nothing passes, and that each way of
// losing something is noticed.
func TestRun(t *testing.T) {
	var seen atomic.Int64
	every := func(n int64) bool { return seen.Add(1)%n == 0 }
	gone := func(w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusNotFound)
		return true
	}
	is := func(r *http.Request, method, part string) bool {
		return r.Method == method && strings.Contains(r.URL.Path, part)
	}
	for _, tt := range []struct {
		name  string
		spoil func(w http.ResponseWriter, r *http.Request) bool
		want  string // in a failure; empty: there is none
	}{
		{"nothing is lost", func(http.ResponseWriter, *http.Request) bool { return false }, ""},
		{"blobs are gone", func(w http.ResponseWriter, r *http.Request) bool {
			return is(r, http.MethodGet, "/blobs/") && every(10) && gone(w)
		}, "pulling the blob"},
		{"blobs have other bytes", func(w http.ResponseWriter, r *http.Request) bool {
			if !is(r, http.MethodGet, "/blobs/") || !every(10) {
				return false
			}
			fmt.Fprint(w, "other bytes")
			return true
		}, "has other bytes"},
		{"manifests are gone", func(w http.ResponseWriter, r *http.Request) bool {
			return is(r, http.MethodGet, "/manifests/") && every(10) && gone(w)
		}, "404, want 200"},
		{"what HEAD told of is gone", func(w http.ResponseWriter, r *http.Request) bool {
			return is(r, http.MethodHead, "/blobs/") && every(2) // 200
		}, "push"},
		{"referrers are not listed", func(w http.ResponseWriter, r *http.Request) bool {
			if !is(r, http.MethodGet, "/referrers/") {
				return false
			}
			fmt.Fprint(w, `{"manifests":[]}`)
			return true
		}, "is not among the referrers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			report, err := soak.Run(t.Context(), soak.Config{
				Hosts: []string{start(t, tt.spoil)}, Duration: 2 * time.Second, Clients: 4, Pause: time.Microsecond, Dawdle: time.Millisecond, Seed: 7,
			})
			if err != nil {
				t.Fatal(err)
			}
			failed := strings.Join(report.Failures, "\n")
			if tt.want == "" && failed != "" || !strings.Contains(failed, tt.want) {
				t.Errorf("%v, want a failure with %q", report, tt.want)
			}
			if report.Counters[soak.Collected] != 7 || report.Counters[soak.Freed] != 1_000_000 {
				t.Errorf("counters: %v", report.Counters)
			}
		})
	}
}

// TestErr checks what is not good enough.
func TestErr(t *testing.T) {
	good := func() soak.Report {
		return soak.Report{Did: map[string]int{"push": 1000}, Counters: map[string]int64{soak.Collected: 1, soak.Freed: 1, soak.Checked: 1}}
	}
	if err := good().Err(); err != nil {
		t.Error(err)
	}
	for want, spoil := range map[string]func(*soak.Report){
		"1 failures":            func(r *soak.Report) { r.Failures = []string{"x"} },
		"2 blobs are damaged":   func(r *soak.Report) { r.Counters[soak.Damaged] = 2 },
		"nothing was collected": func(r *soak.Report) { r.Counters[soak.Freed] = 0 },
		"too slow":              func(r *soak.Report) { r.Late = 100 },
		"0 were late":           func(r *soak.Report) { r.Did["push"] = 10 },
	} {
		r := good()
		spoil(&r)
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
