// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
)

func TestUpstreams(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	list := dossier.UpstreamList{Upstreams: []dossier.Upstream{
		{Name: "docker.io", State: dossier.UpstreamThrottled, HeldUntil: noon, RateLimit: &dossier.RateLimit{Limit: 100, Seconds: 21600}, Bytes: 1 << 20},
		{Name: "quay.io", State: dossier.UpstreamFailing, FailedAt: noon, Error: "it is \x1b[31maway", Served: dossier.UpstreamServed{Kept: 5, Stale: 7}},
		{Name: "x.example", State: dossier.UpstreamOK, Requests: 3, RateLimit: &dossier.RateLimit{Limit: 9, Remaining: 4}},
	}}
	var b strings.Builder
	if err := Upstreams(&b, list, Options{}); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(b.String(), "\n")
	if len(got) != 5 || strings.Join(strings.Fields(got[0]), " ") != "NAME STATE LIMIT REQUESTS FETCHED KEPT STALE FAILED BYTES WHY" {
		t.Fatalf("%s", b.String())
	}
	for i, words := range [][]string{
		{"docker.io", "throttled", "0 of 100 in 6h0m0s", "wants no requests before 2026-03-01T12:00:00Z"},
		{"quay.io", "failing", "2026-03-01T12:00:00Z it is", "away"},
		{"x.example", "ok", "4 of 9"},
	} {
		for _, word := range words {
			if !strings.Contains(got[i+1], word) {
				t.Errorf("%q does not say %q", got[i+1], word)
			}
		}
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("a control character reaches the terminal")
	}
}
