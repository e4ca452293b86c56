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
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layerSize is large enough that clients send it in several writes.
const layerSize = 24 << 20

// TestClients pushes, pulls, copies, lists, signs and deletes by programs that
// people use, and compares what came back bit for bit: once where nobody logs in, and
// once where they log in with a password, for which they get tokens.
func TestClients(t *testing.T) {
	for i, storage := range storages {
		login := logins[i]
		t.Run(storage.name+"/"+login.name, func(t *testing.T) {
			c := newClients(t, storage.start(t, login.flags(t)...), login.name == "tokens")
			t.Run("crane", c.testCrane)
			t.Run("skopeo", c.testSkopeo)
			t.Run("oras", c.testORAS)
			t.Run("containerd", c.testContainerd)
			t.Run("podman", c.testPodman)
			t.Run("buildah", c.testBuildah)
			t.Run("cosign", c.testCosign)
			if c.login {
				t.Run("nobody", c.testNobody)
			}
		})
	}
}

// clients are programs that have logged in, or need not.
type clients struct {
	host, dir string
	login     bool
	config    string // directory of what they know of logins, each of them
	crane     string
	oras      string
}

func newClients(t *testing.T, host string, login bool) clients {
	t.Helper()
	return clients{host: host, dir: t.TempDir(), login: login, config: newConfig(t), crane: program(t, "crane"), oras: program(t, "oras")}
}

// newConfig returns a directory with the configuration of somebody who has not
// logged in.
func newConfig(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.json"), "{}")
	return dir
}

// installed returns the path of a program of the machine, or skips.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("DOSSIER_REQUIRE_PEERS") != "" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED: %s is missing", name)
	}
	return path
}

// run runs a program to a good end and returns what it printed.
func (c clients) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := c.try(t, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try runs a program that knows no other logins than those of the test.
func (c clients) try(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	return tryWith(t, []string{
		"DOCKER_CONFIG=" + c.config, "REGISTRY_AUTH_FILE=" + filepath.Join(c.config, "config.json"),
		"HOME=" + c.config, "XDG_RUNTIME_DIR=" + c.config, "COSIGN_PASSWORD=",
	}, name, args...)
}

// loggedIn has a client log in, where one must.
func (c clients) loggedIn(t *testing.T, name string, args ...string) {
	t.Helper()
	if c.login {
		c.run(t, name, append(args, "-u", user, "-p", password, c.host)...)
	}
}

// testNobody does as somebody who has not logged in what everybody may, and what
// they may not.
func (c clients) testNobody(t *testing.T) {
	c.config = newConfig(t)
	c.run(t, c.crane, "validate", "--remote", c.host+"/org/app:one")
	if _, err := c.try(t, c.crane, "tag", c.host+"/org/app:one", "stolen"); err == nil {
		t.Error("nobody moved a tag")
	}
	if _, err := c.try(t, c.crane, "digest", c.host+"/skopeo/app:v1"); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED") {
		t.Errorf("nobody read what is not for all: %v", err)
	}
	if got := strings.Fields(c.run(t, c.crane, "catalog", c.host)); slices.ContainsFunc(got, func(name string) bool { return !strings.HasPrefix(name, "org/") }) {
		t.Errorf("nobody sees %q", got)
	}
}

// testCrane makes an image, pulls it as a layout and copies it.
func (c clients) testCrane(t *testing.T) {
	layer := writeLayer(t, filepath.Join(c.dir, "layer.tar"))
	image := c.host + "/org/app:one"
	c.loggedIn(t, c.crane, "auth", "login", "--insecure")
	c.run(t, c.crane, "append", "--new_layer", layer, "--new_tag", image)
	manifest := c.run(t, c.crane, "manifest", image)
	digest := strings.TrimSpace(c.run(t, c.crane, "digest", image))
	if want := sum([]byte(manifest)); digest != want {
		t.Errorf("the digest is %s, the manifest is %s", digest, want)
	}
	for _, d := range layersOf(t, manifest) {
		if got := sum([]byte(c.run(t, c.crane, "blob", c.host+"/org/app@"+d))); got != d {
			t.Errorf("layer %s came back as %s", d, got)
		}
	}
	c.run(t, c.crane, "copy", image, c.host+"/org/other:two")
	if got := strings.TrimSpace(c.run(t, c.crane, "digest", c.host+"/org/other:two")); got != digest {
		t.Errorf("the copy is %s, want %s", got, digest)
	}
	c.run(t, c.crane, "tag", image, "three")
	if got := strings.Fields(c.run(t, c.crane, "ls", c.host+"/org/app")); !slices.Equal(got, []string{"one", "three"}) {
		t.Errorf("tags: %q", got)
	}
	if got := strings.Fields(c.run(t, c.crane, "catalog", c.host)); !slices.Equal(got, []string{"org/app", "org/other"}) {
		t.Errorf("catalog: %q", got)
	}
	c.run(t, c.crane, "index", "append", "-m", image, "-t", c.host+"/org/index:one")
	c.run(t, c.crane, "validate", "--remote", c.host+"/org/index:one")
	c.run(t, c.crane, "delete", c.host+"/org/other@"+digest)
	if _, err := c.try(t, c.crane, "digest", c.host+"/org/other:two"); err == nil {
		t.Error("what was deleted is there")
	}
}

// testSkopeo copies through a directory and back into another repository.
func (c clients) testSkopeo(t *testing.T) {
	const plain = "--tls-verify=false"
	skopeo := installed(t, "skopeo")
	c.loggedIn(t, skopeo, "login", plain)
	from, to := "docker://"+c.host+"/org/app:one", "docker://"+c.host+"/skopeo/app:copy"
	c.run(t, skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", from, "dir:"+c.dir+"/first")
	c.run(t, skopeo, "--insecure-policy", "copy", "--dest-tls-verify=false", "--preserve-digests", "dir:"+c.dir+"/first", to)
	c.run(t, skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", to, "dir:"+c.dir+"/second")
	sameFiles(t, filepath.Join(c.dir, "first"), filepath.Join(c.dir, "second"))
	var list struct{ Tags []string }
	if err := json.Unmarshal([]byte(c.run(t, skopeo, "list-tags", plain, strings.TrimSuffix(to, ":copy"))), &list); err != nil || !slices.Equal(list.Tags, []string{"copy"}) {
		t.Errorf("tags: %q, %v", list.Tags, err)
	}
	c.run(t, skopeo, "delete", plain, to)
	if _, err := c.try(t, skopeo, "inspect", plain, to); err == nil {
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
	c.loggedIn(t, c.oras, "login", plain)
	subject := c.host + "/oras/file:v1"
	c.run(t, c.oras, "push", plain, "--artifact-type", "application/vnd.example.file", subject, "file.txt:text/plain")
	c.run(t, c.oras, "attach", plain, "--artifact-type", "application/vnd.example.note", subject, "file.txt:text/plain")
	if got := c.referrers(t, subject); !slices.Equal(got, []string{"application/vnd.example.note"}) {
		t.Errorf("referrers: %q", got)
	}
	target := c.host + "/oras/copy:v1"
	c.run(t, c.oras, "cp", "-r", "--from-plain-http", "--to-plain-http", subject, target)
	if got := c.referrers(t, target); !slices.Equal(got, []string{"application/vnd.example.note"}) {
		t.Errorf("referrers of the copy: %q", got)
	}
	c.run(t, c.oras, "pull", plain, "-o", "out", target)
	if got, err := os.ReadFile(filepath.Join("out", "file.txt")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file came back with %d bytes, %v; want %d", len(got), err, len(content))
	}
	if got := strings.Fields(c.run(t, c.oras, "repo", "tags", plain, c.host+"/oras/file")); !slices.Equal(got, []string{"v1"}) {
		t.Errorf("tags: %q", got)
	}
	c.run(t, c.oras, "manifest", "delete", plain, "--force", target)
	if _, err := c.try(t, c.oras, "manifest", "fetch", plain, target); err == nil {
		t.Error("what was deleted is there")
	}
}

// referrers returns the artifact types of what refers to an image.
func (c clients) referrers(t *testing.T, ref string) []string {
	t.Helper()
	name, _, _ := strings.Cut(strings.TrimPrefix(ref, c.host+"/"), ":")
	digest := strings.TrimSpace(c.run(t, c.oras, "resolve", "--plain-http", ref))
	out := c.run(t, c.oras, "discover", "--plain-http", "--format", "json", c.host+"/"+name+"@"+digest)
	var found struct {
		Referrers []struct{ ArtifactType string }
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var types []string
	for _, m := range found.Referrers {
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
