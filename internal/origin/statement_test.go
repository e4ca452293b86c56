// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

func TestLabels(t *testing.T) {
	got := Labels(InLabel, map[string]string{
		"org.opencontainers.image.version": "1.27.3",
		"org.label-schema.version":         "1.27",
		"org.opencontainers.image.title":   "shop\x1b[2J\u202e\nfront",
		"org.label-schema.vcs-url":         "https://ci:s3cret@git.example/shop.git",
		"org.label-schema.usage":           "/usr/share/doc",
		"maintainer":                       "A. Person",
		"other":                            "x",
	})
	want := []Statement{
		{Version, "1.27.3", "org.opencontainers.image.version", InLabel, ""},
		{Title, "shop\uFFFD[2J\uFFFD front", "org.opencontainers.image.title", InLabel, ""},
		{Documentation, "/usr/share/doc", "org.label-schema.usage", InLabel, ""},
		{Source, "https://ci:xxxxx@git.example/shop.git", "org.label-schema.vcs-url", InLabel, "it holds a password"},
		{Version, "1.27", "org.label-schema.version", InLabel, ""},
		{Authors, "A. Person", "maintainer", InLabel, ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestEveryPredefinedKeyIsKnown(t *testing.T) {
	for _, name := range strings.Fields(`created authors url documentation source version revision vendor licenses
		ref.name title description base.digest base.name`) {
		got := Labels(InManifest, map[string]string{"org.opencontainers.image." + name: "x"})
		if len(got) != 1 || !IsPredefined(got[0].Key) {
			t.Errorf("%s: got %v", name, got)
		}
	}
	for _, name := range strings.Fields(`build-date name description usage url vcs-url vcs-ref vendor version`) {
		got := Labels(InLabel, map[string]string{"org.label-schema." + name: "x"})
		if len(got) != 1 || IsPredefined(got[0].Key) {
			t.Errorf("label-schema %s: got %v", name, got)
		}
	}
}

func TestFault(t *testing.T) {
	digest := string(dossier.FromBytes(nil))
	for _, tt := range []struct {
		meaning Meaning
		value   string
		want    string
	}{
		{Created, "2024-05-01T10:00:00Z", ""},
		{Created, "2024-05-01T10:00:00.123+02:00", ""},
		{Created, "2024-05-01 10:00:00Z", "it is not an RFC 3339 time"},
		{Created, "2024-05-01", "it is not an RFC 3339 time"},
		{URL, "https://example.com/x", ""},
		{URL, "example.com/x", "it is not a URL"},
		{Source, "git@example.com:a/b.git", "it is not a URL"},
		{Source, "https://example.com/a b", "it is not a URL"},
		{Source, "https://user@example.com/a", ""},
		{Documentation, "https://", "it is not a URL"},
		{Version, "", "it is empty"},
		{Version, " ", "it is empty"},
		{Version, "unknown", "it is a placeholder"},
		{Version, "${VERSION}", "it is a placeholder"},
		{Version, "$VERSION", "it is a placeholder"},
		{Title, "{{ .Name }}", "it is a placeholder"},
		{Title, "$5 a month", ""},
		{Revision, "abc", ""},
		{RefName, "1.27.3", ""},
		{RefName, "docker.io/library/nginx:1.27", ""},
		{RefName, "a--b", ""},
		{RefName, "a---b", "it is not a reference name"},
		{RefName, "-a", "it is not a reference name"},
		{BaseName, "alpine:3.20", ""},
		{BaseName, "Alpine", "it is not an image reference"},
		{BaseDigest, digest, ""},
		{BaseDigest, digest[7:], "it is not a digest"},
		{Licenses, "Apache-2.0", ""},
		{Licenses, "Apache 2.0", "it is not an SPDX licence expression"},
	} {
		if got := fault(tt.meaning, tt.value); got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.meaning, tt.value, got, tt.want)
		}
	}
}

func TestLicenseFault(t *testing.T) {
	for _, ok := range []string{
		"MIT", "GPL-2.0+", "GPL-2.0-or-later WITH Classpath-exception-2.0", "MIT OR Apache-2.0", "(MIT)",
		"(MIT AND (BSD-3-Clause OR Zlib)) or ISC", "LicenseRef-own", "DocumentRef-spdx-tool-1.2:LicenseRef-MIT-Style-2",
		"MIT WITH AdditionRef-x", "NOASSERTION",
	} {
		if got := licenseFault(ok); got != "" {
			t.Errorf("%q: got %q, want none", ok, got)
		}
	}
	for _, bad := range []string{
		"", "MIT,", "MIT AND", "OR MIT", "(MIT", "MIT)", "MIT BSD", "MIT WITH", "MIT WITH (X)", "()", "MIT and OR ISC",
		"The MIT License", "MIT/Apache-2.0", "DocumentRef-x", "DocumentRef-x:MIT", "LicenseRef-", "+", "MIT And ISC",
		strings.Repeat("(", maxLicense+1),
	} {
		if got := licenseFault(bad); got == "" {
			t.Errorf("%.40q: got no fault", bad)
		}
	}
}

func FuzzLicense(f *testing.F) {
	for _, s := range []string{"MIT", "(A OR B) AND C+", "A WITH B", strings.Repeat("(", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// Parentheses around an expression change nothing.
		if len(s) < maxLicense-2 && licenseFault(s) != licenseFault("("+s+")") {
			t.Errorf("%q: %q, in parentheses %q", s, licenseFault(s), licenseFault("("+s+")"))
		}
	})
}

func TestPrintable(t *testing.T) {
	long := strings.Repeat("é", MaxValue)
	for _, tt := range []struct{ in, want string }{
		{"a  b\t\nc ", "a b c"},
		{"\x00\x7f\u200b", "\uFFFD\uFFFD\uFFFD"},
		{"bad\xff", "bad\uFFFD"},
		{long, strings.Repeat("é", (MaxValue-len("…"))/2) + "…"},
	} {
		if got := printable(tt.in); got != tt.want {
			t.Errorf("%.20q: got %.40q (%d bytes), want %.40q (%d)", tt.in, got, len(got), tt.want, len(tt.want))
		}
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("2024-05-01T10:00:00Z")
	f.Add("https://user:password@example.com/x#y")
	f.Add("\x1b]0;title\x07")
	f.Fuzz(func(t *testing.T, value string) {
		labels := map[string]string{}
		for _, k := range keys {
			labels[k.name] = value
		}
		for _, s := range Labels(InLabel, labels) {
			if len(s.Value) > MaxValue || !utf8.ValidString(s.Value) || strings.ContainsAny(s.Value, "\x00\x1b\n") {
				t.Errorf("%s: not fit to be shown: %q", s.Key, s.Value)
			}
		}
	})
}

func TestFields(t *testing.T) {
	history := func(h ...HistoryEntry) Config { return Config{History: h} }
	for _, tt := range []struct {
		name   string
		config Config
		want   []Statement
	}{
		{"nothing", Config{}, nil},
		{"created and author", Config{Created: "0001-01-01T00:00:00Z", Author: "B"}, []Statement{
			{Created, "0001-01-01T00:00:00Z", "created", InConfig, ""}, {Authors, "B", "author", InConfig, ""}}},
		{"buildkit", history(HistoryEntry{CreatedBy: "RUN x", Comment: "buildkit.dockerfile.v0"}), []Statement{
			{Builder, "buildkit", "comment", InHistory, ""}}},
		{"the newest entry tells", history(HistoryEntry{CreatedBy: "bazel build x"}, HistoryEntry{CreatedBy: "ko build ko://x"}), []Statement{
			{Builder, "ko", "created_by", InHistory, ""}}},
		{"jib", history(HistoryEntry{CreatedBy: "jib-maven-plugin:3.4.0"}), []Statement{
			{Builder, "jib-maven-plugin 3.4.0", "created_by", InHistory, ""}}},
		{"docker", Config{DockerVersion: "20.10", History: []HistoryEntry{{CreatedBy: `/bin/sh -c #(nop)  CMD ["x"]`}}}, []Statement{
			{Builder, "docker 20.10", "docker_version", InConfig, ""}}},
		{"buildah and its base", Config{
			Labels:  map[string]string{"io.buildah.version": "1.33"},
			History: []HistoryEntry{{CreatedBy: "/bin/sh", Comment: "FROM quay.io/fedora/fedora:40"}},
		}, []Statement{
			{Builder, "buildah 1.33", "io.buildah.version", InLabel, ""},
			{BaseName, "quay.io/fedora/fedora:40", "comment", InHistory, ""}}},
	} {
		if diff := cmp.Diff(tt.want, Fields(tt.config)); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.name, diff)
		}
	}
}

func TestHints(t *testing.T) {
	sum := strings.Repeat("0a", 32)
	got := Hints([]string{
		"PATH=/bin", "NGINX_VERSION=1.27.3", "PKG_RELEASE=1~bookworm", "VERSION=2", "GPG_SHA256=" + sum, "git_commit=abcdef1",
		"SECRET_VERSION=my secret 1", "TOKEN_SHA256=abc", "NOT_A_VERSION=latest", "CONVERSION=1", "BROKEN_VERSION",
	})
	want := []Hint{
		{HintVersion, "nginx", "1.27.3", "NGINX_VERSION"},
		{HintRelease, "pkg", "1~bookworm", "PKG_RELEASE"},
		{HintVersion, "", "2", "VERSION"},
		{HintChecksum, "gpg", sum, "GPG_SHA256"},
		{HintRevision, "git", "abcdef1", "git_commit"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestParseCreated(t *testing.T) {
	for _, tt := range []struct {
		in               string
		ok, reproducible bool
	}{
		{"0001-01-01T00:00:00Z", true, true},
		{"1970-01-01T00:00:00Z", true, true},
		{"1970-01-01T01:00:01+01:00", true, true},
		{"1980-01-01T00:00:01Z", true, true},
		{"2013-01-01T00:00:00Z", true, false},
		{"2024-02-29T12:00:00.5Z", true, false},
		{"2023-02-29T12:00:00Z", false, false},
		{"", false, false},
	} {
		age, ok := ParseCreated(tt.in)
		if ok != tt.ok || age.Reproducible != tt.reproducible {
			t.Errorf("%q: got %v %v, want reproducible %v, %v", tt.in, age, ok, tt.reproducible, tt.ok)
		}
	}
}
