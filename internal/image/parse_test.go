// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/testimage"
	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestParseLocation(t *testing.T) {
	d := dossier.FromBytes([]byte("x"))
	tests := []struct {
		in   string
		want image.Location
	}{
		{"nginx", image.Location{Scheme: image.Registry, Reference: dossier.Reference{Registry: "docker.io", Repository: "library/nginx"}}},
		{"localhost:5000/a/b:1@" + string(d), image.Location{Scheme: image.Registry, Reference: dossier.Reference{Registry: "localhost:5000", Repository: "a/b", Tag: "1", Digest: d}}},
		{"oci:dir", image.Location{Scheme: image.Layout, Path: "dir"}},
		{"oci:/a/b:1.0", image.Location{Scheme: image.Layout, Path: "/a/b", Name: "1.0"}},
		{"oci:/a/b:example.com/app:1.0", image.Location{Scheme: image.Layout, Path: "/a/b", Name: "example.com/app:1.0"}},
		{"oci:/a/b@" + string(d), image.Location{Scheme: image.Layout, Path: "/a/b", Digest: d}},
		{"oci:/a@b", image.Location{Scheme: image.Layout, Path: "/a@b"}},
		{"docker-archive:a.tar.gz", image.Location{Scheme: image.Archive, Path: "a.tar.gz"}},
		{"docker-archive:a.tar:app:2", image.Location{Scheme: image.Archive, Path: "a.tar", Name: "app:2"}},
	}
	for _, test := range tests {
		got, err := image.ParseLocation(test.in)
		if err != nil {
			t.Errorf("%s: %v", test.in, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.in, diff)
		}
		again, err := image.ParseLocation(got.String())
		if err != nil || again != got {
			t.Errorf("%s: String gives %q, which is %+v, %v", test.in, got, again, err)
		}
	}
	for _, in := range []string{"", "oci:", "oci::tag", "oci:dir:", "docker-archive:", "a/UPPER", "a b", "oci:a\x00b"} {
		if got, err := image.ParseLocation(in); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%q: got %+v, %v, want an invalid error", in, got, err)
		}
	}
}

func TestParseManifestMediaType(t *testing.T) {
	const index, manifest = `"manifests":[]`, `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":2},"layers":[]`
	tests := []struct {
		name, stated, body, want string
		kind                     dossier.ImageKind
	}{
		{"by shape, index", "", `{` + index + `}`, ocispec.MediaTypeImageIndex, dossier.ImageIndex},
		{"by shape, manifest", "", `{` + manifest + `}`, ocispec.MediaTypeImageManifest, dossier.ImageManifest},
		{"as stated", testimage.DockerManifest, `{` + manifest + `}`, testimage.DockerManifest, dossier.ImageManifest},
		{"the body knows better", testimage.DockerManifest, `{"mediaType":"` + ocispec.MediaTypeImageManifest + `",` + manifest + `}`, ocispec.MediaTypeImageManifest, dossier.ImageManifest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n, err := image.ParseManifest(image.Descriptor{MediaType: test.stated}, []byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if n.MediaType != test.want || n.Kind != test.kind || !n.Digest.Matches([]byte(test.body)) || n.Size != int64(len(test.body)) {
				t.Errorf("got %s %s %s %d", n.MediaType, n.Kind, n.Digest, n.Size)
			}
		})
	}
}

func TestParseConfigPlatform(t *testing.T) {
	for body, want := range map[string]string{
		`{"os":"linux","architecture":"arm","variant":"v7"}`:       "linux/arm/v7",
		`{"os":"windows","architecture":"amd64","os.version":"1"}`: "windows/amd64",
		`{"os":"linux"}`: "",
		`{"os":"linux\n","architecture":"amd64"}`:                     "",
		`{"os":"linux","architecture":"amd64","variant":"../../etc"}`: "linux/amd64",
		"\n {}": "",
	} {
		n, err := image.ParseConfig(image.Descriptor{}, []byte(body))
		if err != nil || n.Platform != want || n.Kind != dossier.ImageConfig {
			t.Errorf("%s: got %q, %v, want %q", body, n.Platform, err, want)
		}
	}
}

func TestParseLimits(t *testing.T) {
	list := func(entry string, n int) string { return strings.TrimSuffix(strings.Repeat(entry+",", n), ",") }
	descriptor := `{"digest":"` + string(dossier.FromBytes(nil)) + `","size":2}`
	labels := func(n int) string {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf(`"l%d":"x"`, i))
		}
		return strings.Join(names, ",")
	}
	parseManifest := func(b string) error {
		_, err := image.ParseManifest(image.Descriptor{}, []byte(b))
		return err
	}
	parseConfig := func(b string) error {
		_, err := image.ParseConfig(image.Descriptor{}, []byte(b))
		return err
	}
	tests := []struct {
		name  string
		parse func(string) error
		body  func(n int) string
	}{
		{"layers", parseManifest, func(n int) string { return `{"config":` + descriptor + `,"layers":[` + list(descriptor, n) + `]}` }},
		{"manifests", parseManifest, func(n int) string { return `{"manifests":[` + list(descriptor, n) + `]}` }},
		{"annotations", parseManifest, func(n int) string { return `{"manifests":[],"annotations":{` + labels(n) + `}}` }},
		{"labels", parseConfig, func(n int) string { return `{"config":{"Labels":{` + labels(n) + `}}}` }},
		{"environment", parseConfig, func(n int) string { return `{"config":{"Env":[` + list(`"A=B"`, n) + `]}}` }},
		{"diff IDs", parseConfig, func(n int) string { return `{"rootfs":{"diff_ids":[` + list(`"x"`, n) + `]}}` }},
		{"history", parseConfig, func(n int) string { return `{"history":[` + list(`{}`, n) + `]}` }},
	}
	for _, test := range tests {
		if err := test.parse(test.body(image.MaxEntries)); err != nil {
			t.Errorf("%s, as many as may be: %v", test.name, err)
		}
		wantKind(t, test.parse(test.body(image.MaxEntries+1)), dossier.KindLimit, "MaxEntries")
	}
}

func FuzzParseManifest(f *testing.F) {
	im := app("linux/amd64")
	builders := []testimage.Builder{
		im, testimage.Of(im), testimage.Index{Docker: true},
		testimage.Artifact{ArtifactType: "application/vnd.example", Subject: &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", Size: 1}},
		testimage.Index{Entries: []testimage.Entry{{Of: im}, testimage.Attestation("sha256:0000000000000000000000000000000000000000000000000000000000000000")}},
	}
	for _, b := range builders {
		c, err := b.Build()
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range c.Manifests {
			f.Add(m.MediaType, m.Bytes)
			f.Add("", m.Bytes[:len(m.Bytes)/2])
		}
	}
	f.Add("application/vnd.docker.distribution.manifest.v1+json", []byte(`{"schemaVersion":1,"fsLayers":[{"blobSum":"sha256:a"}]}`))
	f.Add("", []byte(`{"manifests":null,"config":null}`))
	f.Fuzz(func(t *testing.T, mediaType string, b []byte) {
		n, err := image.ParseManifest(image.Descriptor{MediaType: mediaType}, b)
		if err != nil {
			if k := dossier.KindOf(err); k != dossier.KindCorrupt && k != dossier.KindUnsupported {
				t.Errorf("error %v is of kind %q", err, k)
			}
			return
		}
		if n.Kind == "" || n.MediaType == "" || !bytes.Equal(n.Bytes, b) || !n.Digest.Matches(b) {
			t.Errorf("got %+v", n)
		}
		for i, e := range n.Edges {
			if _, err := dossier.ParseDigest(string(e.Child)); err != nil || e.Size < 0 || e.Position != i || e.Parent != n.Digest || e.Role == "" {
				t.Errorf("edge %+v: %v", e, err)
			}
			if (e.Role == dossier.RoleConfig || e.Role == dossier.RoleLayer) == (n.Kind == dossier.ImageIndex) && e.Role != dossier.RoleSubject {
				t.Errorf("%s has an edge %s", n.Kind, e.Role)
			}
		}
	})
}

func FuzzParseLocation(f *testing.F) {
	for _, s := range []string{"nginx", "oci:dir:tag", "docker-archive:f:a/b:c@sha256:00", "oci:d@sha256:0000000000000000000000000000000000000000000000000000000000000000", "oci:::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := image.ParseLocation(s)
		if err != nil {
			if dossier.KindOf(err) != dossier.KindInvalid {
				t.Errorf("error %v is of kind %q", err, dossier.KindOf(err))
			}
			return
		}
		if again, err := image.ParseLocation(l.String()); err != nil || again != l {
			t.Errorf("%q is %+v; again it is %+v, %v", s, l, again, err)
		}
	})
}
