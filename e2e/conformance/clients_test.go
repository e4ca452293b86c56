// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layerSize is large enough that clients send it in several writes.
const layerSize = 24 << 20

// TestClients pushes, pulls, copies, lists and deletes by programs that people
// use, and compares what came back bit for bit.
func TestClients(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		if os.Getenv("DOSSIER_REQUIRE_PEERS") != "" {
			t.Fatal(err)
		}
		t.Skip("skopeo is missing (Debian: skopeo)")
	}
	for _, setup := range setups {
		t.Run(setup.name, func(t *testing.T) {
			c := clients{host: setup.start(t), dir: t.TempDir(), crane: program(t, "crane"), oras: program(t, "oras"), skopeo: skopeo}
			t.Run("crane", c.testCrane)
			t.Run("skopeo", c.testSkopeo)
			t.Run("oras", c.testORAS)
		})
	}
}

type clients struct{ host, dir, crane, oras, skopeo string }

// testCrane makes an image, pulls it as a layout and copies it.
func (c clients) testCrane(t *testing.T) {
	layer := writeLayer(t, filepath.Join(c.dir, "layer.tar"))
	image := c.host + "/org/app:one"
	run(t, c.crane, "append", "--new_layer", layer, "--new_tag", image)
	manifest := run(t, c.crane, "manifest", image)
	digest := strings.TrimSpace(run(t, c.crane, "digest", image))
	if want := sum([]byte(manifest)); digest != want {
		t.Errorf("the digest is %s, the manifest is %s", digest, want)
	}
	for _, d := range layersOf(t, manifest) {
		if got := sum([]byte(run(t, c.crane, "blob", c.host+"/org/app@"+d))); got != d {
			t.Errorf("layer %s came back as %s", d, got)
		}
	}
	run(t, c.crane, "copy", image, c.host+"/org/other:two")
	if got := strings.TrimSpace(run(t, c.crane, "digest", c.host+"/org/other:two")); got != digest {
		t.Errorf("the copy is %s, want %s", got, digest)
	}
	run(t, c.crane, "tag", image, "three")
	if got := strings.Fields(run(t, c.crane, "ls", c.host+"/org/app")); !slices.Equal(got, []string{"one", "three"}) {
		t.Errorf("tags: %q", got)
	}
	if got := strings.Fields(run(t, c.crane, "catalog", c.host)); !slices.Equal(got, []string{"org/app", "org/other"}) {
		t.Errorf("catalog: %q", got)
	}
	run(t, c.crane, "index", "append", "-m", image, "-t", c.host+"/org/index:one")
	run(t, c.crane, "validate", "--remote", c.host+"/org/index:one")
	run(t, c.crane, "delete", c.host+"/org/other@"+digest)
	if _, err := try(t, c.crane, "digest", c.host+"/org/other:two"); err == nil {
		t.Error("what was deleted is there")
	}
}

// testSkopeo copies through a directory and back into another repository.
func (c clients) testSkopeo(t *testing.T) {
	const plain = "--tls-verify=false"
	from, to := "docker://"+c.host+"/org/app:one", "docker://"+c.host+"/skopeo/app:copy"
	run(t, c.skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", from, "dir:"+c.dir+"/first")
	run(t, c.skopeo, "--insecure-policy", "copy", "--dest-tls-verify=false", "--preserve-digests", "dir:"+c.dir+"/first", to)
	run(t, c.skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", to, "dir:"+c.dir+"/second")
	sameFiles(t, filepath.Join(c.dir, "first"), filepath.Join(c.dir, "second"))
	var list struct{ Tags []string }
	if err := json.Unmarshal([]byte(run(t, c.skopeo, "list-tags", plain, strings.TrimSuffix(to, ":copy"))), &list); err != nil || !slices.Equal(list.Tags, []string{"copy"}) {
		t.Errorf("tags: %q, %v", list.Tags, err)
	}
	run(t, c.skopeo, "delete", plain, to)
	if _, err := try(t, c.skopeo, "inspect", plain, to); err == nil {
		t.Error("what was deleted is there")
	}
}

// testORAS pushes a file, attaches another to it, and copies both.
func (c clients) testORAS(t *testing.T) {
	const plain = "--plain-http"
	dir := t.TempDir()
	content := bytes.Repeat([]byte("oras "), 100_000)
	if err := os.WriteFile(filepath.Join(dir, "file.txt"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	subject := c.host + "/oras/file:v1"
	run(t, c.oras, "push", plain, "--artifact-type", "application/vnd.example.file", subject, "file.txt:text/plain")
	run(t, c.oras, "attach", plain, "--artifact-type", "application/vnd.example.note", subject, "file.txt:text/plain")
	if got := c.referrers(t, subject); !slices.Equal(got, []string{"application/vnd.example.note"}) {
		t.Errorf("referrers: %q", got)
	}
	target := c.host + "/oras/copy:v1"
	run(t, c.oras, "cp", "-r", "--from-plain-http", "--to-plain-http", subject, target)
	if got := c.referrers(t, target); !slices.Equal(got, []string{"application/vnd.example.note"}) {
		t.Errorf("referrers of the copy: %q", got)
	}
	run(t, c.oras, "pull", plain, "-o", "out", target)
	if got, err := os.ReadFile(filepath.Join("out", "file.txt")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file came back with %d bytes, %v; want %d", len(got), err, len(content))
	}
	if got := strings.Fields(run(t, c.oras, "repo", "tags", plain, c.host+"/oras/file")); !slices.Equal(got, []string{"v1"}) {
		t.Errorf("tags: %q", got)
	}
	run(t, c.oras, "manifest", "delete", plain, "--force", target)
	if _, err := try(t, c.oras, "manifest", "fetch", plain, target); err == nil {
		t.Error("what was deleted is there")
	}
}

// referrers returns the artifact types of what refers to an image.
func (c clients) referrers(t *testing.T, ref string) []string {
	t.Helper()
	name, _, _ := strings.Cut(strings.TrimPrefix(ref, c.host+"/"), ":")
	digest := strings.TrimSpace(run(t, c.oras, "resolve", "--plain-http", ref))
	a, err := do(t.Context(), http.MethodGet, "http://"+c.host+"/v2/"+name+"/referrers/"+digest, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Manifests []struct{ ArtifactType string }
	}
	if err := json.Unmarshal(a.body, &index); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	var types []string
	for _, m := range index.Manifests {
		types = append(types, m.ArtifactType)
	}
	return types
}

// writeLayer writes a tar file with bytes that do not compress.
func writeLayer(t *testing.T, file string) string {
	t.Helper()
	content := make([]byte, layerSize)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content) // never fails
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "random", Mode: 0o644, Size: layerSize}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func layersOf(t *testing.T, manifest string) []string {
	t.Helper()
	var m struct {
		Layers []struct{ Digest string }
	}
	if err := json.Unmarshal([]byte(manifest), &m); err != nil || len(m.Layers) == 0 {
		t.Fatalf("%v: %s", err, manifest)
	}
	var list []string
	for _, l := range m.Layers {
		list = append(list, l.Digest)
	}
	return list
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

// sameFiles compares two directories of files.
func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	entries, err := os.ReadDir(a)
	if err != nil || len(entries) < 3 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		if x, y := hashFile(t, filepath.Join(a, e.Name())), hashFile(t, filepath.Join(b, e.Name())); x != y {
			t.Errorf("%s differs", e.Name())
		}
	}
}

func hashFile(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
