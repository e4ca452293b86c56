// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package testimage_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/testimage"
	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func sample() testimage.Image {
	return testimage.Image{
		Layers: []testimage.Layer{
			{Files: map[string]testimage.File{"etc/os-release": testimage.Text("ID=debian\n")}, CreatedBy: "COPY rootfs /"},
			{Files: map[string]testimage.File{"app": testimage.Program([]byte("#!")), "link": {Link: "app"}}, Uncompressed: true},
		},
		Created:    time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
		Labels:     map[string]string{"b": "2", "a": "1"},
		Entrypoint: []string{"/app"},
	}
}

func TestBuildIsDeterministic(t *testing.T) {
	builders := map[string]testimage.Builder{
		"image":    sample(),
		"docker":   func() testimage.Builder { im := sample(); im.Docker = true; return im }(),
		"index":    testimage.Of(sample(), testimage.Image{Platform: "linux/arm64/v8"}),
		"artifact": testimage.Artifact{ArtifactType: "application/x", Layers: []testimage.Blob{{MediaType: "text/plain", Bytes: []byte("x")}}},
	}
	for name, b := range builders {
		t.Run(name, func(t *testing.T) {
			first, second := testimage.Must(t, b), testimage.Must(t, b)
			if diff := cmp.Diff(first, second); diff != "" {
				t.Errorf("two builds differ:\n%s", diff)
			}
			for _, blob := range slices.Concat(first.Manifests, first.Blobs) {
				if !blob.Digest.Matches(blob.Bytes) {
					t.Errorf("%s does not have its digest", blob.MediaType)
				}
			}
		})
	}
}

func TestLayerTar(t *testing.T) {
	l := testimage.Layer{Files: map[string]testimage.File{
		"a/b/c": testimage.Text("hello"), "a/link": {Link: "b/c"}, "bin": testimage.Program([]byte("x")),
	}}
	b, err := l.Tar()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(h.Typeflag)+" "+h.FileInfo().Mode().Perm().String()+" "+h.Name)
	}
	want := []string{"5 -rwxr-xr-x a/", "5 -rwxr-xr-x a/b/", "0 -rw-r--r-- a/b/c", "2 -rw-r--r-- a/link", "0 -rwxr-xr-x bin"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestWriteLayoutAddsAndReplaces(t *testing.T) {
	dir := t.TempDir()
	one, two := testimage.Must(t, sample()), testimage.Must(t, testimage.Image{})
	for _, step := range []struct {
		tag string
		c   *testimage.Content
	}{{"1", one}, {"2", two}, {"1", two}} {
		if err := testimage.WriteLayout(dir, step.tag, step.c); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	got := map[string]dossier.Digest{}
	for _, d := range index.Manifests {
		got[d.Annotations[ocispec.AnnotationRefName]] = dossier.Digest(d.Digest)
	}
	want := map[string]dossier.Digest{"1": two.Digest(), "2": two.Digest()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	for _, c := range []*testimage.Content{one, two} {
		for _, blob := range slices.Concat(c.Manifests, c.Blobs) {
			got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(testimage.BlobPath(blob.Digest))))
			if err != nil || !bytes.Equal(got, blob.Bytes) {
				t.Errorf("blob %s: %v", blob.Digest, err)
			}
		}
	}
}

func TestRegistry(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{Auth: testimage.AuthBasic, User: "u", Password: "p"})
	c := testimage.MustPush(t, r, "team/app", "1.0", testimage.Of(sample()))
	if got := len(r.Requests()); got != 0 {
		t.Errorf("pushing counted %d requests, want 0", got)
	}
	get := func(user string) (*http.Response, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+"/v2/team/app/manifests/1.0", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(user, "p")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, b
	}
	if resp, _ := get("nobody"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger got %s, want 401", resp.Status)
	}
	resp, b := get("u")
	if got, want := dossier.FromBytes(b), c.Digest(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := resp.Header.Get("Content-Type"), ocispec.MediaTypeImageIndex; got != want {
		t.Errorf("media type %q, want %q", got, want)
	}
	if got := r.Count(http.MethodGet, "/manifests/1.0"); got != 2 {
		t.Errorf("counted %d requests, want 2", got)
	}
}
