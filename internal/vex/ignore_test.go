// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

const goodIgnores = `# what we know of
ignore:
  - vulnerability: CVE-2024-1
    package: pkg:npm/lodash
    path: app/*
    owner: team-web
    reason: Behind a login.
    expires: 2026-03-01
  - {vulnerability: GHSA-1, owner: me, reason: "why: so", expires: "2026-03-01T12:00:00+02:00"}
`

func TestParseIgnores(t *testing.T) {
	list, err := ParseIgnores("ignore.yaml", []byte(goodIgnores))
	if err != nil {
		t.Fatal(err)
	}
	sum := dossier.FromBytes([]byte(goodIgnores))
	want := []Ignore{
		{Vulnerability: "CVE-2024-1", Package: "pkg:npm/lodash", Path: "app/*", Owner: "team-web", Reason: "Behind a login.", Expires: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), File: "ignore.yaml", Line: 3, SHA256: sum},
		{Vulnerability: "GHSA-1", Owner: "me", Reason: "why: so", Expires: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), File: "ignore.yaml", Line: 9, SHA256: sum},
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, empty := range []string{"", "# nothing\n", "ignore: []\n"} {
		if list, err := ParseIgnores("x", []byte(empty)); err != nil || len(list) > 0 {
			t.Errorf("%q: %v, %v", empty, list, err)
		}
	}
}

func TestParseIgnoresRefuses(t *testing.T) {
	entry := func(lines ...string) string { return "ignore:\n  - " + strings.Join(lines, "\n    ") + "\n" }
	vulnerability, owner, reason, expires := "vulnerability: CVE-2024-1", "owner: me", "reason: why", "expires: 2026-03-01"
	for name, tt := range map[string]struct{ text, want string }{
		"no vulnerability":    {entry(owner, reason, expires), "f:2: vulnerability is missing"},
		"no owner":            {entry(vulnerability, reason, expires), "f:2: owner is missing"},
		"an empty owner":      {entry(vulnerability, "owner: ' '", reason, expires), "f:2: owner is missing"},
		"no reason":           {entry(vulnerability, owner, expires, "reason:"), "f:2: reason is missing"},
		"no expiry":           {entry(vulnerability, owner, reason), "f:2: expires is missing"},
		"all at once":         {entry(vulnerability) + "  - owner: me\n", "f:2: owner is missing; f:2: reason is missing; f:2: expires is missing; f:3: vulnerability is missing; f:3: reason is missing; f:3: expires is missing"},
		"no date":             {entry(vulnerability, owner, reason, "expires: never"), `f:2: expires: want a date such as 2026-01-31, or a time of RFC 3339, got "never"`},
		"no package URL":      {entry(vulnerability, owner, reason, expires, "package: lodash"), `f:2: package: want a package URL such as pkg:npm/lodash, got "lodash"`},
		"no pattern":          {entry(vulnerability, owner, reason, expires, "path: '['"), `f:2: path: "[" is no pattern`},
		"an unknown field":    {entry(vulnerability, owner, reason, expires, "until: 2027"), `f:6: the field "until" is not known`},
		"twice":               {entry(vulnerability, owner, reason, expires, owner), "f:6: the field owner is there twice"},
		"a list":              {entry(vulnerability, owner, "reason: [a]", expires), "f:4: reason: want text; f:2: reason is missing"},
		"no fields":           {"ignore:\n- CVE-2024-1\n", "f:2: want fields"},
		"another root":        {"- a\n", `f:1: want one field, "ignore", with a list`},
		"more fields at root": {"ignore: []\nother: 1\n", `f:1: want one field, "ignore", with a list`},
		"two documents":       {"ignore: []\n---\nignore: []\n", "f: there is more than one document"},
		"no YAML":             {"ignore: [\n", "f: line 1: did not find expected node content"},
	} {
		_, err := ParseIgnores("f", []byte(tt.text))
		var got []string
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				got = append(got, e.Error())
			}
		} else {
			got = append(got, fmt.Sprint(err))
		}
		if said := strings.ReplaceAll(strings.Join(got, "; "), opIgnore+" ", ""); said != tt.want {
			t.Errorf("%s: got %s, want %s", name, said, tt.want)
		}
	}
	if _, err := ParseIgnores("f", make([]byte, MaxIgnores+1)); dossier.KindOf(err) != dossier.KindLimit {
		t.Errorf("too large: %v", err)
	}
}

func TestIgnoreCovers(t *testing.T) {
	f := finding("CVE-2024-1", lodash(), "GHSA-1")
	for name, tt := range map[string]struct {
		ignore Ignore
		want   bool
	}{
		"any package":     {Ignore{Vulnerability: "GHSA-1"}, true},
		"another":         {Ignore{Vulnerability: "CVE-2024-10"}, false},
		"the package":     {Ignore{Vulnerability: "CVE-2024-1", Package: "pkg:npm/lodash"}, true},
		"another package": {Ignore{Vulnerability: "CVE-2024-1", Package: "pkg:npm/lo"}, false},
		"another version": {Ignore{Vulnerability: "CVE-2024-1", Package: "pkg:npm/lodash@5.0.0"}, false},
		"the file":        {Ignore{Vulnerability: "CVE-2024-1", Path: "app/*.json"}, true},
		"another file":    {Ignore{Vulnerability: "CVE-2024-1", Path: "*.json"}, false},
	} {
		if got := tt.ignore.covers(f); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

func FuzzParseIgnores(f *testing.F) {
	f.Add([]byte(goodIgnores))
	f.Add([]byte("ignore: [&a {vulnerability: *a}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseIgnores("f", b)
		if err != nil && len(list) > 0 {
			t.Errorf("%v, and %v", list, err)
		}
		for _, i := range list {
			if i.Vulnerability == "" || i.Owner == "" || i.Reason == "" || i.Expires.IsZero() || i.Line == 0 {
				t.Errorf("something is missing: %+v", i)
			}
		}
	})
}
