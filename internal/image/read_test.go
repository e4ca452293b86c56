// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/testimage"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// nobody is a keychain without credentials, so that tests do not depend on the
// configuration of whoever runs them.
type nobody struct{}

func (nobody) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

func newClient(t *testing.T) *image.Client {
	t.Helper()
	c := &image.Client{Keychain: nobody{}, Limits: image.Limits{Retries: -1, Time: 20 * time.Second}}
	t.Cleanup(c.CloseIdle)
	return c
}

// shape is a tree in words: one line a node, without what the digests imply.
func shape(tree *image.Tree) []string {
	var lines []string
	for _, n := range tree.Nodes {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s edges=%d", n.Kind, n.Platform, len(n.Edges))))
	}
	return lines
}

func wantKind(t *testing.T, err error, kind dossier.Kind, words ...string) {
	t.Helper()
	if got := dossier.KindOf(err); got != kind {
		t.Fatalf("error %v is of kind %q, want %q", err, got, kind)
	}
	for _, w := range words {
		if err != nil && !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not mention %q", err, w)
		}
	}
}

func app(platform string) testimage.Image {
	return testimage.Image{
		Platform: platform,
		Layers:   []testimage.Layer{{Files: map[string]testimage.File{"app": testimage.Text(platform)}}},
		Labels:   map[string]string{ocispec.AnnotationTitle: "app"},
	}
}

func TestReadShapes(t *testing.T) {
	docker := app("linux/amd64")
	docker.Docker = true
	helm := testimage.Artifact{
		ConfigType: "application/vnd.cncf.helm.config.v1+json",
		Layers:     []testimage.Blob{{MediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip", Bytes: []byte("chart")}},
	}
	amd := testimage.Must(t, app("linux/amd64"))
	subject := app("linux/amd64")
	subject.Subject = &amd.Root
	typed := app("linux/amd64")
	typed.ArtifactType = "application/vnd.example"
	tests := []struct {
		name      string
		content   testimage.Builder
		platforms []string
		want      []string
	}{
		{"manifest", app("linux/amd64"), nil, []string{"manifest linux/amd64 edges=2", "config linux/amd64 edges=0"}},
		{"docker", docker, nil, []string{"manifest linux/amd64 edges=2", "config linux/amd64 edges=0"}},
		{"docker list", testimage.Index{Docker: true, Entries: []testimage.Entry{{Of: docker}}}, nil,
			[]string{"index  edges=1", "manifest linux/amd64 edges=2", "config linux/amd64 edges=0"}},
		{"no platform", app("-"), nil, []string{"manifest  edges=2", "config  edges=0"}},
		{"platform of the configuration", testimage.Index{Entries: []testimage.Entry{{Of: app("windows/amd64"), Platform: "-"}}}, []string{"linux/amd64"},
			[]string{"index  edges=1", "manifest windows/amd64 edges=2", "config windows/amd64 edges=0"}},
		{"platform of the index first", testimage.Index{Entries: []testimage.Entry{{Of: app("linux/amd64"), Platform: "linux/arm64/v8"}}}, nil,
			[]string{"index  edges=1", "manifest linux/arm64/v8 edges=2", "config linux/amd64 edges=0"}},
		{"attestation", testimage.Index{Entries: []testimage.Entry{{Of: app("linux/amd64")}, testimage.Attestation(amd.Digest(), []byte("{}"))}}, nil,
			[]string{"index  edges=2", "manifest linux/amd64 edges=2", "config linux/amd64 edges=0"}},
		{"one of several platforms", testimage.Of(app("linux/amd64"), app("linux/arm64/v8"), app("linux/arm/v7"), app("linux/arm/v6")), []string{"linux/arm/v7", "linux/arm64"},
			[]string{"index  edges=4", "manifest linux/arm64/v8 edges=2", "config linux/arm64/v8 edges=0", "manifest linux/arm/v7 edges=2", "config linux/arm/v7 edges=0"}},
		{"the same child twice", testimage.Of(app("linux/amd64"), app("linux/amd64")), nil,
			[]string{"index  edges=2", "manifest linux/amd64 edges=2", "config linux/amd64 edges=0"}},
		{"nested", testimage.Index{Entries: []testimage.Entry{{Of: testimage.Of(app("linux/amd64"))}}}, nil,
			[]string{"index  edges=1", "index  edges=1", "manifest linux/amd64 edges=2", "config linux/amd64 edges=0"}},
		{"artifact", helm, nil, []string{"artifact  edges=2"}},
		{"artifact type", typed, nil, []string{"artifact  edges=2"}},
		{"subject", subject, nil, []string{"manifest linux/amd64 edges=3", "config linux/amd64 edges=0"}},
		{"child of another kind", testimage.Index{Entries: []testimage.Entry{{Of: app("linux/amd64"), Change: func(d *ocispec.Descriptor) { d.MediaType = "application/vnd.example" }}}}, nil,
			[]string{"index  edges=1"}},
		{"empty index", testimage.Index{}, nil, []string{"index  edges=0"}},
	}
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t)
			built := testimage.MustPush(t, r, "team/app", "1.0", test.content)
			ref := r.Host + "/team/app:1.0"
			root, err := c.Resolve(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			if root.Digest != built.Digest() {
				t.Errorf("resolved to %s, want %s", root.Digest, built.Digest())
			}
			tree, err := c.Read(t.Context(), ref, image.ReadOptions{Root: root, Platforms: test.platforms})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, shape(tree)); diff != "" {
				t.Errorf("nodes (-want +got):\n%s", diff)
			}
			if got, want := tree.Name, r.Host+"/team/app"; got != want {
				t.Errorf("name %q, want %q", got, want)
			}
			for _, n := range tree.Nodes {
				if !bytes.Equal(n.Bytes, built.Bytes(n.Digest)) || n.Size != int64(len(n.Bytes)) || n.MediaType == "" {
					t.Errorf("node %s: wrong bytes, size %d or media type %q", n.Digest, n.Size, n.MediaType)
				}
			}
		})
	}
}

func TestReadEdges(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	amd := testimage.Must(t, app("linux/amd64"))
	built := testimage.MustPush(t, r, "app", "1", testimage.Index{Entries: []testimage.Entry{
		{Of: app("linux/amd64")}, testimage.Attestation(amd.Digest(), []byte("{}")),
	}})
	tree, err := newClient(t).Read(t.Context(), r.Host+"/app:1", image.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range tree.Nodes[0].Edges {
		if e.Parent != built.Digest() || built.Bytes(e.Child) == nil || int64(len(built.Bytes(e.Child))) != e.Size {
			t.Errorf("edge %+v does not fit", e)
		}
		got = append(got, fmt.Sprintf("%d %s %s %s", e.Position, e.Role, e.MediaType, e.Platform))
	}
	for _, e := range tree.Nodes[1].Edges {
		got = append(got, fmt.Sprintf("%d %s %s %s", e.Position, e.Role, e.MediaType, e.Platform))
	}
	want := []string{
		"0 platform " + ocispec.MediaTypeImageManifest + " linux/amd64",
		"1 attestation " + ocispec.MediaTypeImageManifest + " ",
		"0 config " + ocispec.MediaTypeImageConfig + " ",
		"1 layer " + ocispec.MediaTypeImageLayerGzip + " ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("edges (-want +got):\n%s", diff)
	}
}

func TestReadSkipsWhatIsKnown(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	amd := testimage.Must(t, app("linux/amd64"))
	testimage.MustPush(t, r, "app", "1", testimage.Of(app("linux/amd64"), app("linux/arm64")))
	known := func(d dossier.Digest, config bool) bool { return d == amd.Digest() && !config }
	tree, err := newClient(t).Read(t.Context(), r.Host+"/app:1", image.ReadOptions{Known: known})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"index  edges=2", "manifest linux/arm64 edges=2", "config linux/arm64 edges=0"}
	if diff := cmp.Diff(want, shape(tree)); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if n := r.Count(http.MethodGet, string(amd.Digest())); n != 0 {
		t.Errorf("asked %d times for a known digest", n)
	}
}

func TestSharedConfigurationGivesItsPlatform(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	one, two := app("linux/riscv64"), app("linux/riscv64")
	two.Annotations = map[string]string{"a": "b"}
	testimage.MustPush(t, r, "app", "1", testimage.Index{Entries: []testimage.Entry{{Of: one, Platform: "-"}, {Of: two, Platform: "-"}}})
	tree, err := newClient(t).Read(t.Context(), r.Host+"/app:1", image.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"index  edges=2", "manifest linux/riscv64 edges=2", "config linux/riscv64 edges=0", "manifest linux/riscv64 edges=2"}
	if diff := cmp.Diff(want, shape(tree)); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
}
