// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

const hexDigits = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseImageID(t *testing.T) {
	const digest = dossier.Digest("sha256:" + hexDigits)
	for _, tt := range []struct {
		name, in string
		want     ImageID
		kind     dossier.Kind
	}{
		{name: "not pulled yet", in: "", want: ImageID{}},
		{name: "containerd", in: "docker.io/library/nginx@sha256:" + hexDigits, want: ImageID{Name: "docker.io/library/nginx", Digest: digest}},
		{name: "short name", in: "nginx@sha256:" + hexDigits, want: ImageID{Name: "docker.io/library/nginx", Digest: digest}},
		{name: "port", in: "localhost:5000/a/b@sha256:" + hexDigits, want: ImageID{Name: "localhost:5000/a/b", Digest: digest}},
		{name: "tag and digest", in: "quay.io/a/b:v1@sha256:" + hexDigits, want: ImageID{Name: "quay.io/a/b", Digest: digest}},
		{name: "dockershim", in: "docker-pullable://quay.io/a/b@sha256:" + hexDigits, want: ImageID{Name: "quay.io/a/b", Digest: digest}},
		{name: "dockershim, local image", in: "docker://sha256:" + hexDigits, want: ImageID{Digest: digest}},
		{name: "config digest", in: "sha256:" + hexDigits, want: ImageID{Digest: digest}},
		{name: "CRI-O image ID", in: hexDigits, want: ImageID{Digest: digest}},
		{name: "sha512", in: "a.io/b@sha512:" + hexDigits + hexDigits, want: ImageID{Name: "a.io/b", Digest: "sha512:" + hexDigits + hexDigits}},
		{name: "name only", in: "quay.io/a/b:v1", want: ImageID{Name: "quay.io/a/b", Tag: "v1"}},
		{name: "scheme only", in: "docker://", kind: dossier.KindInvalid},
		{name: "short digest", in: "sha256:abc", kind: dossier.KindInvalid},
		{name: "upper case", in: "nginx@sha256:" + strings.ToUpper(hexDigits), kind: dossier.KindInvalid},
		{name: "other algorithm", in: "nginx@md5:" + hexDigits, kind: dossier.KindInvalid},
		{name: "spaces", in: "not an image", kind: dossier.KindInvalid},
		{name: "too long", in: strings.Repeat("a", MaxImageID+1), kind: dossier.KindLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseImageID(tt.in)
			if dossier.KindOf(err) != tt.kind {
				t.Fatalf("ParseImageID(%q): got error %v, want kind %q", tt.in, err, tt.kind)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ParseImageID(%q): -want +got\n%s", tt.in, diff)
			}
		})
	}
}

func TestImageIDLocal(t *testing.T) {
	for in, want := range map[string]bool{
		"":                             false,
		"nginx":                        false,
		"nginx@sha256:" + hexDigits:    false,
		"docker://sha256:" + hexDigits: true,
	} {
		id, err := ParseImageID(in)
		if got := id.Local(); err != nil || got != want {
			t.Errorf("ParseImageID(%q).Local(): got %v, %v, want %v", in, got, err, want)
		}
	}
}

func FuzzParseImageID(f *testing.F) {
	for _, s := range []string{
		"", "nginx", "nginx:1.2", hexDigits, "sha256:" + hexDigits, "docker://sha256:" + hexDigits, "://", "a://b://c",
		"docker-pullable://quay.io/a/b@sha256:" + hexDigits, "localhost:5000/a:v1@sha256:" + hexDigits, "sha256:x", "@", "a@b@c", "\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseImageID(s)
		if err != nil {
			if id != (ImageID{}) {
				t.Errorf("ParseImageID(%q): got %+v beside an error", s, id)
			}
			return
		}
		if s != "" && id == (ImageID{}) {
			t.Errorf("ParseImageID(%q): got nothing and no error", s)
		}
		if id.Digest != "" {
			if _, err := dossier.ParseDigest(string(id.Digest)); err != nil {
				t.Errorf("ParseImageID(%q): malformed digest: %v", s, err)
			}
			if !strings.Contains(s, id.Digest.Hex()) {
				t.Errorf("ParseImageID(%q): digest %s is not in it", s, id.Digest)
			}
		}
		if id.Name != "" {
			again := id.Name
			if id.Tag != "" {
				again += ":" + id.Tag
			}
			if id.Digest != "" {
				again += "@" + string(id.Digest)
			}
			if got, err := ParseImageID(again); err != nil || got != id {
				t.Errorf("ParseImageID(%q): got %+v, %v, want %+v as for %q", again, got, err, id, s)
			}
		}
	})
}
