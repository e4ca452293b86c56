// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReplace(t *testing.T) {
	const (
		where   = "## where\n\nold\n\n```\n  rows\n```\n"
		unknown = "## retired\n\nlong ago\n"
	)
	tests := []struct{ name, text, figure, section, want string }{
		{"first", "", "where", where, preface + "\n" + where},
		{"same", preface + "\n" + where, "where", "## where\n\nnew\n", preface + "\n## where\n\nnew\n"},
		{"in order", preface + "\n" + where, "start", "## start\n\nnew\n", preface + "\n## start\n\nnew\n\n" + where},
		{"unknown ones stay", preface + "\n" + unknown, "where", where, preface + "\n" + where + "\n" + unknown},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, replace(test.text, test.figure, test.section)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestReport(t *testing.T) {
	r := &report{name: "where", about: "a search"}
	r.within("fast", time.Second, 2*time.Second)
	r.within("slow", 3*time.Second, 2*time.Second)
	r.bounded("large", 90_000_000, 80_000_000)
	r.exactly("none", 0, 0)
	r.note("by the way", "%d", 7)
	if got := r.missed(); got != 2 {
		t.Errorf("%d limits are missed, want 2", got)
	}
	want := `  fast         1.00 s    at most 2.00 s    reached
  slow         3.00 s    at most 2.00 s    MISSED
  large        90.0 MB   at most 80.0 MB   MISSED
  none         0         0                 reached
  by the way   7
`
	if diff := cmp.Diff(want, r.table()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	if s := r.section(); !strings.HasPrefix(s, "## where\n\nA search.\n") {
		t.Errorf("the section begins with %q", s[:40])
	}
}
