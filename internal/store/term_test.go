// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNormal(t *testing.T) {
	for in, want := range map[string]string{
		"https://Git.Example/Org/App.git": "git.example/org/app",
		"git+https://git.example/app/":    "git.example/app",
		"  Apache-2.0 ":                   "apache-2.0",
		"oci://registry.example/app:1":    "registry.example/app:1",
		"":                                "",
		"https://":                        "",
	} {
		if got := Normal(in); got != want {
			t.Errorf("Normal(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzNormal(f *testing.F) {
	f.Add("https://x/.git/")
	f.Add(strings.Repeat("é", MaxTermKey))
	f.Fuzz(func(t *testing.T, s string) {
		got := Normal(s)
		if len(got) > MaxTermKey || !utf8.ValidString(got) {
			t.Errorf("Normal(%q) = %q: %d bytes, UTF-8 %t", s, got, len(got), utf8.ValidString(got))
		}
	})
}
