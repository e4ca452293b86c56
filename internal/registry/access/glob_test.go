// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"dossier.dev/dossier"
)

func TestGlob(t *testing.T) {
	tests := []struct {
		pattern string
		match   []string
		not     []string
	}{
		{"**", []string{"a", "a/b", "a/b/c"}, nil},
		{"*", []string{"a", "abc", "a.b"}, []string{"a/b"}},
		// Repository confusion: a name is neither its neighbour nor what lies below it.
		{"a", []string{"a"}, []string{"a/b", "ab", "b/a", "b"}},
		{"a/b", []string{"a/b"}, []string{"a", "a/b/c", "a-b", "x/a/b"}},
		{"a/*", []string{"a/b"}, []string{"a", "a/b/c", "ab/c"}},
		{"a/**", []string{"a/b", "a/b/c"}, []string{"a", "ab/c"}},
		{"team/*/app", []string{"team/x/app"}, []string{"team/app", "team/x/y/app", "team/x/apps", "team/x/app/y"}},
		{"team/**/app", []string{"team/x/app", "team/x/y/app", "team/app/app"}, []string{"team/app", "team/x/app/y"}},
		{"**/app", []string{"x/app", "x/y/app", "app/app"}, []string{"app"}},
		{"**/a/**", []string{"x/a/y", "a/a/a", "x/y/a/z"}, []string{"a", "a/x", "x/a"}},
		{"**/**", []string{"a/b", "a/b/c"}, []string{"a"}},
		{"a*", []string{"a", "ab", "a-b"}, []string{"ba", "a/b"}},
		{"*-app", []string{"x-app", "x-y-app"}, []string{"app", "x-apps"}},
		{"a*b*c", []string{"abc", "axbxc", "abbcc"}, []string{"ab", "acb"}},
	}
	for _, test := range tests {
		g, fault := parseGlob(test.pattern)
		if fault != "" {
			t.Errorf("%s: %s", test.pattern, fault)
		}
		for _, name := range test.match {
			if !g.match(name) {
				t.Errorf("%s does not match %s", test.pattern, name)
			}
		}
		for _, name := range test.not {
			if g.match(name) {
				t.Errorf("%s matches %s", test.pattern, name)
			}
		}
	}
}

func TestGlobRefuses(t *testing.T) {
	for _, pattern := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", "a**", "**a", "***", "a/b**/c", "A", "a b", "a\\b",
		"a?", "[a]", "{a,b}", "a%2fb", "a\x00", "ä", "a..b", "-a", "a:b", "*.", ".*", strings.Repeat("a/", 200) + "a",
	} {
		if g, fault := parseGlob(pattern); fault == "" {
			t.Errorf("%q is taken as %q", pattern, g)
		}
	}
}

// globRegexp is the same pattern in other words.
func globRegexp(pattern string) *regexp.Regexp {
	const element = `[^/]+`
	var parts []string
	for e := range strings.SplitSeq(pattern, "/") {
		if e == "**" {
			parts = append(parts, element+`(?:/`+element+`)*`)
			continue
		}
		parts = append(parts, strings.ReplaceAll(regexp.QuoteMeta(e), `\*`, `[^/]*`))
	}
	return regexp.MustCompile(`^` + strings.Join(parts, "/") + `$`)
}

// TestGlobAgrees compares random patterns and names with regular expressions.
func TestGlobAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(from []string, n int) string {
		var parts []string
		for range 1 + r.IntN(n) {
			parts = append(parts, from[r.IntN(len(from))])
		}
		return strings.Join(parts, "/")
	}
	matched := 0
	for range 5000 {
		pattern := pick([]string{"a", "b", "ab", "*", "a*", "*b", "a*b", "**", "**"}, 5)
		name := pick([]string{"a", "b", "ab", "aab", "ba"}, 6)
		g, fault := parseGlob(pattern)
		if fault != "" {
			t.Fatalf("%s: %s", pattern, fault)
		}
		got, want := g.match(name), globRegexp(pattern).MatchString(name)
		if got != want {
			t.Fatalf("%s matches %s: got %v, want %v", pattern, name, got, want)
		}
		if got {
			matched++
		}
	}
	if matched < 300 {
		t.Errorf("only %d matched", matched)
	}
}

// TestGlobIsNotSlow: many stars do not make a pattern exponential.
func TestGlobIsNotSlow(t *testing.T) {
	g, fault := parseGlob(strings.Repeat("**/a*a*a/", 20) + "b")
	if fault != "" {
		t.Fatal(fault)
	}
	if g.match(strings.Repeat("aaaaa/", 40) + "c") {
		t.Error("it matches")
	}
}

// TestValidRepository: what rules take for a name is what references take.
func TestValidRepository(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "a/b": true, "a.b/c_d/e__f/g---h": true, "0": true,
		"": false, "/a": false, "a/": false, "a//b": false, "A": false, "a/../b": false, "..": false, "a___b": false, "a.-b": false,
		"a:b": false, "a@b": false, "a b": false, "a\n": false, "a\x00b": false, "a%2fb": false, "-a": false, "a-": false,
		strings.Repeat("a", 255): true, strings.Repeat("a", 256): false,
	} {
		if got := ValidRepository(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}

func FuzzValidRepository(f *testing.F) {
	for _, s := range []string{"a", "a/b", "a..b", "a__b", "a___b", "a--b", "../a", "a/", "A", "a:b", "a@sha256:b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := dossier.ParseReference("registry.example/" + s)
		want := err == nil && ref.Repository == s
		if got := ValidRepository(s); got != want {
			t.Errorf("%q: got %v, the reference says %v", s, got, want)
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("team/*/app", "team/x/app")
	f.Add("**/a*b*/**", "x/ab/y")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		g, fault := parseGlob(pattern)
		if fault != "" || !ValidRepository(name) {
			return
		}
		if got, want := g.match(name), globRegexp(pattern).MatchString(name); got != want {
			t.Errorf("%s matches %s: got %v, want %v", pattern, name, got, want)
		}
	})
}
