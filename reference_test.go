// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier_test

import (
	"errors"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
)

func TestParseReference(t *testing.T) {
	tests := []struct {
		in       string
		want     dossier.Reference
		familiar string
	}{
		{"nginx", dossier.Reference{Registry: "docker.io", Repository: "library/nginx"}, "nginx"},
		{"nginx:1.27", dossier.Reference{Registry: "docker.io", Repository: "library/nginx", Tag: "1.27"}, "nginx:1.27"},
		{"docker.io/nginx", dossier.Reference{Registry: "docker.io", Repository: "library/nginx"}, "nginx"},
		{"index.docker.io/nginx", dossier.Reference{Registry: "docker.io", Repository: "library/nginx"}, "nginx"},
		{"library/nginx", dossier.Reference{Registry: "docker.io", Repository: "library/nginx"}, "nginx"},
		{"docker.io/team/app", dossier.Reference{Registry: "docker.io", Repository: "team/app"}, "team/app"},
		{"library/a/b", dossier.Reference{Registry: "docker.io", Repository: "library/a/b"}, "library/a/b"},
		{"localhost/app", dossier.Reference{Registry: "localhost", Repository: "app"}, "localhost/app"},
		{"localhost:5000/app:1", dossier.Reference{Registry: "localhost:5000", Repository: "app", Tag: "1"}, "localhost:5000/app:1"},
		{"example.com/a/b/c:v1@" + emptySHA256, dossier.Reference{Registry: "example.com", Repository: "a/b/c", Tag: "v1", Digest: emptySHA256}, "example.com/a/b/c:v1@" + emptySHA256},
		{"nginx@" + emptySHA512, dossier.Reference{Registry: "docker.io", Repository: "library/nginx", Digest: emptySHA512}, "nginx@" + emptySHA512},
		{"[::1]:5000/app", dossier.Reference{Registry: "[::1]:5000", Repository: "app"}, "[::1]:5000/app"},
		{"Team/app", dossier.Reference{Registry: "Team", Repository: "app"}, "Team/app"},
		{"localhost:5000", dossier.Reference{Registry: "docker.io", Repository: "library/localhost", Tag: "5000"}, "localhost:5000"},
	}
	for _, test := range tests {
		got, err := dossier.ParseReference(test.in)
		if err != nil {
			t.Errorf("%s: %v", test.in, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.in, diff)
		}
		if f := got.Familiar(); f != test.familiar {
			t.Errorf("%s: familiar form %q, want %q", test.in, f, test.familiar)
		}
		for _, s := range []string{got.String(), got.Familiar()} {
			if again, err := dossier.ParseReference(s); err != nil || again != got {
				t.Errorf("%s: %q parses to %+v, %v", test.in, s, again, err)
			}
		}
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, in := range []string{
		"", " ", "nginx ", "Nginx", "example.com/App", "nginx:", "nginx:-x", "nginx:" + strings.Repeat("x", 129),
		"nginx@", "nginx@sha256:123", "nginx@md5:" + strings.Repeat("0", 32), "@" + emptySHA256, ":latest", "/nginx", "a//b", "a/", "-a", "a..b",
		"a___b", "exa mple.com/a", "example.com:port/a", "https://example.com/a", emptySHA256[7:], "nginx:1:2",
		"example.com/" + strings.Repeat("a", 256), "nginx\n", "nginx\x00", "[::1/app", "nginx@" + emptySHA256 + "@" + emptySHA256,
	} {
		if got, err := dossier.ParseReference(in); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%q: got %+v, %v, want an invalid error", in, got, err)
		}
	}
}

func TestWithDefaultTag(t *testing.T) {
	for in, want := range map[string]string{
		"nginx":                  "docker.io/library/nginx:latest",
		"nginx:1":                "docker.io/library/nginx:1",
		"nginx@" + emptySHA256:   "docker.io/library/nginx@" + emptySHA256,
		"nginx:1@" + emptySHA256: "docker.io/library/nginx:1@" + emptySHA256,
	} {
		ref, err := dossier.ParseReference(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := ref.WithDefaultTag().String(); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestIsLocal(t *testing.T) {
	for s, want := range map[string]bool{"oci:dir": true, "docker-archive:f.tar": true, "oci/dir": false, "nginx": false, "docker-archive": false} {
		if got := dossier.IsLocal(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}

// FuzzParseReference compares with github.com/distribution/reference, by which
// Docker, containerd and Kubernetes read references.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{
		"nginx", "nginx:1.27", "docker.io/nginx", "index.docker.io/library/nginx", "localhost/a", "localhost:5000/a:b", "LOCALHOST/a",
		"example.com/a/b@" + emptySHA256, "example.com:1/a:b@" + emptySHA512, "[::1]:5000/a", "Team/app", "a__b/c--d", "a.b", "a.b/c", "library", "docker.io/library",
		"nginx@md5:d41d8cd98f00b204e9800998ecf8427e", emptySHA256, emptySHA256[7:], "docker.io", "docker.io/", "index.docker.io/a", "a:b/c", "::1/a", "nginx:latest@",
		"sha256@sha256:" + emptySHA256[7:], "a.b_c/d", "[::1/a", "[]/a", "a.b-/c", "a:/b", "a_/b", "a___b", "a-.b", "-a", "a:-b", "a/b:" + strings.Repeat("c", 129),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := dossier.ParseReference(s)
		want, wantErr := reference.ParseNormalizedNamed(s)
		if wantErr == nil {
			// What is documented to differ: digests of other algorithms, or in other forms.
			if d, ok := want.(reference.Digested); ok {
				if _, err := dossier.ParseDigest(string(d.Digest())); err != nil {
					wantErr = err
				}
			}
			if reference.Domain(want) == "" {
				wantErr = errors.New("it names no registry")
			}
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: got %+v, %v; the reference implementation says %v, %v", s, got, err, want, wantErr)
		}
		if err != nil {
			if dossier.KindOf(err) != dossier.KindInvalid {
				t.Errorf("%q: error %v is of kind %q", s, err, dossier.KindOf(err))
			}
			return
		}
		if got.String() != want.String() {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
		if got.Registry != reference.Domain(want) || got.Repository != reference.Path(want) {
			t.Errorf("%q: got %q and %q, want %q and %q", s, got.Registry, got.Repository, reference.Domain(want), reference.Path(want))
		}
		if f := reference.FamiliarString(want); got.Familiar() != f {
			t.Errorf("%q: familiar form %q, want %q", s, got.Familiar(), f)
		}
		if again, err := dossier.ParseReference(got.String()); err != nil || again != got {
			t.Errorf("%q: %s parses to %+v, %v", s, got, again, err)
		}
	})
}
