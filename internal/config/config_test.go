// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

func TestParse(t *testing.T) {
	got, err := Parse([]byte(`
data: /var/lib/dossier
listen: 127.0.0.1:0
tls: {cert: a.crt, key: a.key}
plainHTTP: [one.example, two.example]
cluster:
  namespaces: [web]
registry:
  name: registry.example
  movable: ["dev/*:*"]
  upstreams:
    - name: docker.io
      fresh: 5m
    - {name: quay.io, url: "https://mirror.example", realm: auth.example, credentials: quay.json}
`))
	want := File{
		Data: "/var/lib/dossier", Listen: "127.0.0.1:0", TLS: TLS{"a.crt", "a.key"},
		PlainHTTP: []string{"one.example", "two.example"}, Cluster: Cluster{Namespaces: []string{"web"}},
		Registry: Registry{Name: "registry.example", Movable: []string{"dev/*:*"}, Upstreams: []Upstream{
			{Name: "docker.io", Fresh: 5 * time.Minute},
			{Name: "quay.io", URL: "https://mirror.example", Realm: "auth.example", Credentials: "quay.json"},
		}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, empty := range []string{"", "---\n", "# nothing\n"} {
		if got, err := Parse([]byte(empty)); err != nil || !cmp.Equal(got, File{}) {
			t.Errorf("%q: %+v, %v", empty, got, err)
		}
	}
}

func TestParseFaults(t *testing.T) {
	tests := []struct {
		text string
		want []string // parts of the faults, each in one of its own
	}{
		{"lisen: a\nregistry:\n  nam: b\n", []string{`line 1: there is no field "lisen": did you mean "listen"?`, `line 3: there is no field "nam"`}},
		{"listen: a\nlisten: b\n", []string{"line 2: "}},
		{"offline: perhaps\nplainHTTP: secret\n", []string{"line 1: offline: want true or false", "line 2: plainHTTP: want a list of texts"}},
		{"tls: secret\n", []string{"line 1: tls: want fields with values"}},
		{"data: [secret]\n", []string{"line 1: data: want text"}},
		{"registry:\n  upstreams:\n  - {name: a, fresh: secret}\n  - {nam: b}\n", []string{"line 3: registry.upstreams[0].fresh: want a time such as 5m", `line 4: there is no field "nam"`}},
		{"- secret\n", []string{"line 1: want fields with values"}},
		{"data: a\n---\ndata: b\n", []string{"more than one document"}},
		{"data: \"secret\n", []string{"line "}},
		{"data: a\n- secret\n", []string{"line "}},
	}
	for _, tt := range tests {
		got, err := Parse([]byte(tt.text))
		if dossier.KindOf(err) != dossier.KindInvalid || !cmp.Equal(got, File{}) {
			t.Errorf("%q: %+v, %v, want it refused", tt.text, got, err)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(tt.want) {
			t.Errorf("%q: %v, want %d faults", tt.text, err, len(tt.want))
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%q: %s, want %s", tt.text, lines[i], want)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: a value is shown: %v", tt.text, err)
		}
	}
	if _, err := Parse(make([]byte, MaxFile+1)); dossier.KindOf(err) != dossier.KindLimit {
		t.Errorf("a large file: %v", err)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "dossier.yaml")
	if err := os.WriteFile(path, []byte("data: here\ntokenFile: /there\nregistry: {upstreams: [{credentials: x}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if want := (File{Data: filepath.Join(dir, "here"), TokenFile: "/there", Registry: Registry{
		Upstreams: []Upstream{{Credentials: filepath.Join(dir, "x")}},
	}}); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if err := os.WriteFile(path, []byte("a: 1\nb: 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); strings.Count(err.Error(), path+": ") != 2 {
		t.Errorf("%v, want each fault with the path", err)
	}
	if _, err := Read(path + "x"); dossier.KindOf(err) != dossier.KindNotFound {
		t.Errorf("no file: %v", err)
	}
}

func TestEnvironGoesBeforeTheFile(t *testing.T) {
	f := File{Database: "file", Listen: "file", Data: "file"}
	f.Environ(map[string]string{"DOSSIER_DATABASE": "environment", "DOSSIER_LISTEN": "", "HOME": "/"})
	if want := (File{Database: "environment", Listen: "file", Data: "file"}); !cmp.Equal(f, want) {
		t.Errorf("%+v, want %+v", f, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("data: a\nregistry: {movable: [b]}\n"))
	f.Add([]byte("a: &a [*a, *a]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := Parse(text)
		if err != nil && !cmp.Equal(got, File{}) {
			t.Errorf("%q: %v, and %+v", text, err, got)
		}
		if kind := dossier.KindOf(err); err != nil && kind != dossier.KindInvalid && kind != dossier.KindLimit {
			t.Errorf("%q: %v", text, err)
		}
	})
}
