// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"slices"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
)

func TestConfig(t *testing.T) {
	tests := []struct {
		word   string
		change func(*Config)
		at     string
		prefix string
		realms []string
	}{
		{"docker.io", nil, "https://registry-1.docker.io", "docker.io", []string{"auth.docker.io"}},
		{"docker.io=https://registry-1.docker.io", nil, "https://registry-1.docker.io", "docker.io", []string{"auth.docker.io"}},
		{"docker.io=https://mirror.example.com", nil, "https://mirror.example.com", "docker.io", []string{}},
		{"quay.io", nil, "https://quay.io", "quay.io", []string{}},
		{"registry.example.com:5000", nil, "https://registry.example.com:5000", "registry.example.com_5000", []string{}},
		{"localhost:5000=http://127.0.0.1:5000", nil, "http://127.0.0.1:5000", "localhost_5000", []string{}},
		{"quay.io=https://Harbor.example.com/quay/", nil, "https://harbor.example.com/quay", "quay.io", []string{}},
		{"registry.gitlab.com", func(c *Config) { c.Realm = "gitlab.com:443" }, "https://registry.gitlab.com", "registry.gitlab.com", []string{"gitlab.com"}},
		{"quay.io=http://registry", nil, "http://registry", "quay.io", []string{}},
	}
	for _, tt := range tests {
		c, err := Parse(tt.word)
		if err != nil {
			t.Errorf("%s: %v", tt.word, err)
			continue
		}
		if tt.change != nil {
			tt.change(&c)
		}
		at, err := c.place()
		if got := at.String(); err != nil || got != tt.at || c.Prefix() != tt.prefix || !slices.Equal(c.realms(at.host), tt.realms) {
			t.Errorf("%s: at %s, prefix %s, realms %q, %v", tt.word, got, c.Prefix(), c.realms(at.host), err)
		}
		if c.realms(at.host) == nil {
			t.Errorf("%s: any realm will do", tt.word)
		}
	}
}

func TestBadConfig(t *testing.T) {
	for _, word := range []string{
		"", "=", "docker.io=", "docker", "Docker.io", "a/b", "docker.io/library", "x.example=ftp://x.example", "x.example=x.example",
		"x.example=https://", "x.example=https://ann:secret@x.example", "x.example=https://x.example?a=b", "x.example=https://x.example#a",
		"x.example=https://x.example/A", "x.example=https://x.example/a//b", "x.example=https://%zz", "[::1]:5000", "x.example:", "-x.example",
		"x_y.example", "index.docker.io", "x.example=https:x", "..", "x..example",
	} {
		c, err := Parse(word)
		if dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%q: %+v, %v, want it refused", word, c, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: it tells a secret: %v", word, err)
		}
	}
	for name, c := range map[string]Config{
		"credentials without TLS": {Name: "x.example", URL: "http://x.example", Credentials: "file"},
		"a realm with a path":     {Name: "x.example", Realm: "auth.example/token"},
		"a realm with a scheme":   {Name: "x.example", Realm: "https://auth.example"},
		"a realm with a user":     {Name: "x.example", Realm: "a@auth.example"},
		"never fresh":             {Name: "x.example", Fresh: -time.Second},
	} {
		if err := c.Validate(); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := Open([]Config{{Name: "docker.io"}, {Name: "docker.io"}, {Name: "x"}, {Name: "y.example", Credentials: "/nowhere"}}, Options{})
	if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 3 {
		t.Errorf("%v, want three faults", err)
	}
}

func TestSet(t *testing.T) {
	s, err := Open([]Config{{Name: "quay.io"}, {Name: "docker.io"}, {Name: "x.example:5000"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := s.Named("docker.io"); !ok || u.Name() != "docker.io" || u.Normal("nginx") != "library/nginx" || u.Normal("org/app") != "org/app" {
		t.Errorf("%v, %v", u, ok)
	}
	for path, want := range map[string]string{"docker.io/library/nginx": "library/nginx", "x.example_5000/a": "a", "docker.io": "", "docker.iox/a": "", "quay.io/": "", "a/docker.io/b": ""} {
		u, rest, ok := s.Of(path)
		if rest != want || ok != (want != "" || path == "quay.io/") {
			t.Errorf("%s: %v, %q, %v", path, u, rest, ok)
		}
	}
	var none *Set
	if _, _, ok := none.Of("docker.io/a"); ok || len(none.Status()) != 0 {
		t.Error("no set has an upstream")
	}
	if u, _ := s.Named("quay.io"); u.Normal("nginx") != "nginx" {
		t.Error("quay.io has no library")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("docker.io=https://registry-1.docker.io/a")
	f.Add("localhost:5000=http://127.0.0.1:5000")
	f.Fuzz(func(t *testing.T, word string) {
		c, err := Parse(word)
		if err != nil {
			return
		}
		at, err := c.place()
		ref, refErr := dossier.ParseReference("x.example/" + c.Prefix() + "/" + at.path + "a")
		if err != nil || refErr != nil || ref.Registry != "x.example" || at.host == "" || strings.ContainsAny(at.host, "/@?#") {
			t.Errorf("%q: %+v, %v, %v", word, at, err, refErr)
		}
	})
}

func FuzzRateLimit(f *testing.F) {
	f.Add("100;w=21600", "99;w=21600")
	f.Add("100", " 7 ; w=x")
	f.Fuzz(func(t *testing.T, limit, remaining string) {
		if r := parseRateLimit(limit, remaining); r != nil && (r.Limit < 0 || r.Remaining < 0 || r.Seconds < 0) {
			t.Errorf("%+v", r)
		}
	})
}

func TestRateLimit(t *testing.T) {
	for limit, want := range map[string]dossier.RateLimit{
		"100;w=21600": {Limit: 100, Remaining: 5, Seconds: 21600}, "100": {Limit: 100, Remaining: 5}, "100; x=1; w=60": {Limit: 100, Remaining: 5, Seconds: 60},
	} {
		if got := parseRateLimit(limit, "5;w=21600"); got == nil || *got != want {
			t.Errorf("%q: %+v, want %+v", limit, got, want)
		}
	}
	for _, limit := range []string{"", "x", "-1", "limit=100"} {
		if got := parseRateLimit(limit, "5"); got != nil {
			t.Errorf("%q: %+v", limit, got)
		}
	}
}
