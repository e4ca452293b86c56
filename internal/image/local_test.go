// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/testimage"
	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestLayout(t *testing.T) {
	dir := t.TempDir()
	one := testimage.Must(t, testimage.Of(app("linux/amd64"), app("linux/arm64")))
	two := testimage.Must(t, app("linux/s390x"))
	for tag, c := range map[string]*testimage.Content{"1.0": one, "example.com/team/app:2.0": two, "same": two} {
		if err := testimage.WriteLayout(dir, tag, c); err != nil {
			t.Fatal(err)
		}
	}
	single, unnamed, empty := t.TempDir(), t.TempDir(), t.TempDir()
	if err := testimage.WriteLayout(single, "", two); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*testimage.Content{one, two} {
		if err := testimage.WriteLayout(unnamed, "", c); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name     string
		location string
		want     dossier.Digest
		kind     dossier.Kind
		hint     string
	}{
		{"by tag", "oci:" + dir + ":1.0", one.Digest(), "", ""},
		{"by whole name", "oci:" + dir + ":example.com/team/app:2.0", two.Digest(), "", ""},
		{"by tag of a whole name", "oci:" + dir + ":2.0", two.Digest(), "", ""},
		{"by digest", "oci:" + dir + "@" + string(two.Digest()), two.Digest(), "", ""},
		{"the only one", "oci:" + single, two.Digest(), "", ""},
		{"several", "oci:" + dir, "", dossier.KindInvalid, ":1.0"},
		{"several without names", "oci:" + unnamed, "", dossier.KindInvalid, "@" + string(one.Digest())},
		{"no such", "oci:" + dir + ":3.0", "", dossier.KindNotFound, ":1.0"},
		{"no layout", "oci:" + empty, "", dossier.KindInvalid, "OCI layout"},
		{"no directory", "oci:" + empty + "/none", "", dossier.KindNotFound, "path"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t)
			c.Offline = true
			d, err := c.Resolve(t.Context(), test.location)
			wantKind(t, err, test.kind)
			if d.Digest != test.want {
				t.Errorf("got %s, want %s", d.Digest, test.want)
			}
			if got := dossier.HintOf(err); !strings.Contains(got, test.hint) {
				t.Errorf("hint %q does not mention %q", got, test.hint)
			}
			if err != nil {
				return
			}
			tree, err := c.Read(t.Context(), test.location, image.ReadOptions{Root: d})
			if err != nil {
				t.Fatal(err)
			}
			if tree.Name != "" || tree.Root.Digest != test.want || len(tree.Nodes) < 2 {
				t.Errorf("got %+v", tree)
			}
			wantLayers(t, c, test.location, tree)
		})
	}
}

// wantLayers reads every layer of a tree.
func wantLayers(t *testing.T, c *image.Client, location string, tree *image.Tree) {
	t.Helper()
	n := 0
	for _, node := range tree.Nodes {
		for _, e := range node.Edges {
			if e.Role != dossier.RoleLayer {
				continue
			}
			n++
			r, err := c.Layer(t.Context(), location, image.Descriptor{MediaType: e.MediaType, Digest: e.Child, Size: e.Size})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if n == 0 {
		t.Error("there is no layer")
	}
}

func TestLayoutFaults(t *testing.T) {
	built := testimage.Must(t, app("linux/amd64"))
	config, manifest := testimage.BlobPath(built.Blobs[0].Digest), testimage.BlobPath(built.Digest())
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, built.Blobs[0].Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		damage func(dir string) error
		kind   dossier.Kind
	}{
		{"blob changed", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, config), bytes.ToUpper(built.Blobs[0].Bytes), 0o600)
		}, dossier.KindCorrupt},
		{"blob cut", func(dir string) error { return os.Truncate(filepath.Join(dir, manifest), 9) }, dossier.KindCorrupt},
		{"blob gone", func(dir string) error { return os.Remove(filepath.Join(dir, config)) }, dossier.KindNotFound},
		{"blob is a link out of the layout", func(dir string) error {
			if err := os.Remove(filepath.Join(dir, config)); err != nil {
				return err
			}
			return os.Symlink(secret, filepath.Join(dir, config))
		}, dossier.KindInvalid},
		{"blob is a directory", func(dir string) error {
			if err := os.Remove(filepath.Join(dir, config)); err != nil {
				return err
			}
			return os.Mkdir(filepath.Join(dir, config), 0o700)
		}, dossier.KindInvalid},
		{"index is not JSON", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "index.json"), []byte("hello"), 0o600)
		}, dossier.KindCorrupt},
		{"index is empty", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "index.json"), []byte("{}"), 0o600)
		}, dossier.KindNotFound},
		{"index names a path", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "index.json"), []byte(`{"manifests":[{"digest":"sha256:../../../etc/passwd"}]}`), 0o600)
		}, dossier.KindCorrupt},
		{"index is huge", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "index.json"), bytes.Repeat([]byte(" "), 5<<20), 0o600)
		}, dossier.KindLimit},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := testimage.WriteLayout(dir, "1", built); err != nil {
				t.Fatal(err)
			}
			if err := test.damage(dir); err != nil {
				t.Fatal(err)
			}
			tree, err := newClient(t).Read(t.Context(), "oci:"+dir, image.ReadOptions{})
			if err == nil {
				t.Fatalf("got %v, want an error", shape(tree))
			}
			wantKind(t, err, test.kind)
		})
	}
}

func TestSHA512(t *testing.T) {
	config := []byte(`{"os":"linux","architecture":"amd64"}`)
	sum := sha512.Sum512(config)
	d := dossier.Digest(fmt.Sprintf("sha512:%x", sum))
	manifest := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`, ocispec.MediaTypeImageConfig, d, len(config))
	for name, body := range map[string][]byte{"right": config, "wrong": bytes.ToUpper(config)} {
		dir := t.TempDir()
		if err := testimage.WriteLayout(dir, "", testimage.Must(t, testimage.Raw{MediaType: ocispec.MediaTypeImageManifest, Bytes: []byte(manifest)})); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, filepath.FromSlash(testimage.BlobPath(d)))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, body, 0o600); err != nil {
			t.Fatal(err)
		}
		tree, err := newClient(t).Read(t.Context(), "oci:"+dir, image.ReadOptions{})
		if name == "wrong" {
			wantKind(t, err, dossier.KindCorrupt, string(d))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if tree.Nodes[1].Digest != d || tree.Nodes[0].Platform != "linux/amd64" {
			t.Errorf("got %s for %q", tree.Nodes[1].Digest, tree.Nodes[0].Platform)
		}
	}
}

func TestPartialLayout(t *testing.T) {
	dir := t.TempDir()
	arm := testimage.Must(t, app("linux/arm64"))
	if err := testimage.WriteLayout(dir, "", testimage.Must(t, testimage.Of(app("linux/amd64"), app("linux/arm64")))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, testimage.BlobPath(arm.Digest()))); err != nil {
		t.Fatal(err)
	}
	tree, err := newClient(t).Read(t.Context(), "oci:"+dir, image.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]dossier.Digest{arm.Digest()}, tree.Missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

// writeArchive writes a file by write, compressed when asked for.
func writeArchive(t *testing.T, packed bool, write func(io.Writer) error) string {
	t.Helper()
	var buf bytes.Buffer
	if err := write(&buf); err != nil {
		t.Fatal(err)
	}
	if packed {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(buf.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		buf = z
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(file, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSavedArchive(t *testing.T) {
	one, two := testimage.Must(t, app("linux/amd64")), testimage.Must(t, app("linux/arm64"))
	write := func(images ...testimage.Named) func(io.Writer) error {
		return func(w io.Writer) error { return testimage.WriteArchive(w, images...) }
	}
	for _, packed := range []bool{false, true} {
		c := newClient(t)
		file := writeArchive(t, packed, write(testimage.Named{Name: "example.com/app:1", Content: one}))
		tree, err := c.Read(t.Context(), "docker-archive:"+file, image.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"manifest linux/amd64 edges=2", "config linux/amd64 edges=0"}
		if diff := cmp.Diff(want, shape(tree)); diff != "" {
			t.Errorf("nodes (-want +got):\n%s", diff)
		}
		if got, want := tree.Nodes[1].Digest, one.Blobs[0].Digest; got != want {
			t.Errorf("configuration %s, want %s", got, want)
		}
		if got := tree.Nodes[0].Edges[1]; got.MediaType != ocispec.MediaTypeImageLayer {
			t.Errorf("layer has media type %s", got.MediaType)
		}
		wantLayers(t, c, "docker-archive:"+file, tree)

		file = writeArchive(t, packed, write(testimage.Named{Name: "example.com/app:1", Content: one}, testimage.Named{Name: "app:2", Content: two}))
		_, err = c.Resolve(t.Context(), "docker-archive:"+file)
		wantKind(t, err, dossier.KindInvalid)
		if hint := dossier.HintOf(err); !strings.Contains(hint, ":example.com/app:1, :app:2") {
			t.Errorf("hint %q does not name the choices", hint)
		}
		for _, name := range []string{"1", "example.com/app:1"} {
			d, err := c.Resolve(t.Context(), "docker-archive:"+file+":"+name)
			if err != nil {
				t.Fatal(err)
			}
			if d.Digest != tree.Root.Digest {
				t.Errorf("%s is %s, want %s", name, d.Digest, tree.Root.Digest)
			}
		}
	}
}

// TestSavedArchiveDigest holds the form of made-up manifests: digests that
// people have written down depend on it.
func TestSavedArchiveDigest(t *testing.T) {
	config := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["` + string(dossier.FromBytes([]byte("layer"))) + `"]}}`)
	file := writeArchive(t, false, func(w io.Writer) error {
		return writeTar(w, "c.json", string(config), "a/layer.tar", "layer", "manifest.json", `[{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar"]}]`)
	})
	tree, err := newClient(t).Read(t.Context(), "docker-archive:"+file, image.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + string(dossier.FromBytes(config)) + `","size":151},` +
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + string(dossier.FromBytes([]byte("layer"))) + `","size":5}]}`
	if diff := cmp.Diff(want, string(tree.Nodes[0].Bytes)); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
}

// writeTar writes a tar file of names and contents.
func writeTar(w io.Writer, files ...string) error {
	t := tar.NewWriter(w)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o600, Typeflag: tar.TypeReg}
		if target, ok := strings.CutPrefix(files[i+1], "-> "); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := t.Write([]byte(files[i+1])); err != nil {
				return err
			}
		}
	}
	return t.Close()
}

func TestSavedArchiveForms(t *testing.T) {
	id := string(dossier.FromBytes([]byte("layer")))
	config := func(diffIDs ...string) string {
		b, err := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"diff_ids": diffIDs}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	list := func(config string, layers ...string) string {
		b, err := json.Marshal([]map[string]any{{"Config": config, "Layers": layers}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	named := dossier.FromBytes([]byte(config(id))).Hex() + ".json"
	wrong := dossier.FromBytes([]byte("?")).Hex() + ".json"
	tests := []struct {
		name  string
		files []string
		kind  dossier.Kind
		words string
	}{
		{"plain", []string{named, config(id), "a/layer.tar", "layer", "manifest.json", list(named, "a/layer.tar")}, "", ""},
		{"configuration of another name", []string{named, config(id, id), "a/layer.tar", "layer", "b/layer.tar", "-> ../a/layer.tar", "manifest.json", list(named, "a/layer.tar", "b/layer.tar")}, dossier.KindCorrupt, "digest"},
		{"layer by link, right", []string{"c.json", config(id, id), "a/layer.tar", "layer", "b/layer.tar", "-> ../a/layer.tar", "manifest.json", list("c.json", "a/layer.tar", "b/layer.tar")}, "", ""},
		{"links in a circle", []string{"c.json", config(id), "a", "-> b", "b", "-> a", "manifest.json", list("c.json", "a")}, dossier.KindCorrupt, "links"},
		{"link out", []string{"c.json", config(id), "a", "-> ../../etc/passwd", "manifest.json", list("c.json", "a")}, dossier.KindCorrupt, "not exist"},
		{"path out", []string{"c.json", config(id), "a", "layer", "manifest.json", list("c.json", "../../etc/passwd")}, dossier.KindCorrupt, "not exist"},
		{"layer changed", []string{"c.json", config(id), "a", "lAyer", "manifest.json", list("c.json", "a")}, dossier.KindCorrupt, id},
		{"layer not named", []string{"c.json", config(id), "a", "layer", "manifest.json", list("c.json")}, dossier.KindCorrupt, "layers"},
		{"configuration denies its name", []string{wrong, config(id), "a", "layer", "manifest.json", list(wrong, "a")}, dossier.KindCorrupt, "digest"},
		{"configuration is not JSON", []string{"c.json", "hello", "a", "layer", "manifest.json", list("c.json", "a")}, dossier.KindCorrupt, "JSON"},
		{"list is not JSON", []string{"manifest.json", "hello"}, dossier.KindCorrupt, "manifest.json"},
		{"list is empty", []string{"manifest.json", "[]"}, dossier.KindNotFound, "no image"},
		{"no image at all", []string{"readme", "hello"}, dossier.KindInvalid, "manifest.json"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := writeArchive(t, false, func(w io.Writer) error { return writeTar(w, test.files...) })
			c := newClient(t)
			tree, err := c.Read(t.Context(), "docker-archive:"+file, image.ReadOptions{})
			wantKind(t, err, test.kind, test.words)
			if err == nil {
				wantLayers(t, c, "docker-archive:"+file, tree)
			}
		})
	}
}

func TestLayoutInArchive(t *testing.T) {
	one := testimage.Must(t, testimage.Of(app("linux/amd64"), app("linux/arm64")))
	two := testimage.Must(t, app("linux/s390x"))
	for _, packed := range []bool{false, true} {
		file := writeArchive(t, packed, func(w io.Writer) error {
			return testimage.WriteLayoutArchive(w,
				testimage.Named{Name: "docker.io/library/app:1", Content: one}, testimage.Named{Name: "docker.io/library/app:2", Content: two})
		})
		c := newClient(t)
		for name, want := range map[string]*testimage.Content{"1": one, "app:2": two, "docker.io/library/app:1": one} {
			location := "docker-archive:" + file + ":" + name
			tree, err := c.Read(t.Context(), location, image.ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if tree.Root.Digest != want.Digest() {
				t.Errorf("%s is %s, want %s", name, tree.Root.Digest, want.Digest())
			}
			wantLayers(t, c, location, tree)
		}
	}
}

func TestArchiveFaults(t *testing.T) {
	built := testimage.Must(t, app("linux/amd64"))
	whole := func(w io.Writer) error { return testimage.WriteArchive(w, testimage.Named{Content: built}) }
	cut := func(w io.Writer) error {
		var buf bytes.Buffer
		if err := whole(&buf); err != nil {
			return err
		}
		_, err := w.Write(buf.Bytes()[:700])
		return err
	}
	bomb := func(w io.Writer) error { return writeTar(w, "zeros", strings.Repeat("\x00", 3<<20)) }
	tests := []struct {
		name   string
		file   string
		limits image.Limits
		kind   dossier.Kind
		words  string
	}{
		{"absent", filepath.Join(t.TempDir(), "none"), image.Limits{}, dossier.KindNotFound, "none"},
		{"directory", t.TempDir(), image.Limits{}, dossier.KindInvalid, "regular"},
		{"cut", writeArchive(t, false, cut), image.Limits{}, dossier.KindCorrupt, "EOF"},
		{"gzip cut", writeArchive(t, true, cut), image.Limits{}, dossier.KindCorrupt, "EOF"},
		{"no tar", writeArchive(t, false, func(w io.Writer) error { _, err := io.WriteString(w, strings.Repeat("x", 2048)); return err }), image.Limits{}, dossier.KindCorrupt, "tar"},
		{"bomb", writeArchive(t, true, bomb), image.Limits{Archive: 1 << 20}, dossier.KindLimit, "Archive"},
		{"many files", writeArchive(t, true, whole), image.Limits{ArchiveEntries: 2}, dossier.KindLimit, "ArchiveEntries"},
		{"large configuration", writeArchive(t, true, whole), image.Limits{Config: 20}, dossier.KindLimit, "Config"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t)
			c.Limits = test.limits
			_, err := c.Read(t.Context(), "docker-archive:"+test.file, image.ReadOptions{})
			if err == nil {
				t.Fatal("no error")
			}
			wantKind(t, err, test.kind, test.words)
		})
	}
}

// TestArchiveChanges: a file that was replaced is scanned again.
func TestArchiveChanges(t *testing.T) {
	c := newClient(t)
	file := writeArchive(t, false, func(w io.Writer) error {
		return testimage.WriteArchive(w, testimage.Named{Content: testimage.Must(t, app("linux/amd64"))})
	})
	before, err := c.Resolve(t.Context(), "docker-archive:"+file)
	if err != nil {
		t.Fatal(err)
	}
	other := writeArchive(t, false, func(w io.Writer) error {
		im := app("linux/arm64")
		im.Env = []string{"LONGER=yes"}
		im.Layers = append(im.Layers, testimage.Layer{})
		return testimage.WriteArchive(w, testimage.Named{Content: testimage.Must(t, im)})
	})
	if err := os.Rename(other, file); err != nil {
		t.Fatal(err)
	}
	after, err := c.Resolve(t.Context(), "docker-archive:"+file)
	if err != nil {
		t.Fatal(err)
	}
	if before.Digest == after.Digest {
		t.Error("the old content was served for the new file")
	}
}
