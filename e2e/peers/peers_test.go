// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// peers are the programs that the tests need.
var peers = []string{"skopeo", "umoci"}

// bench is one test's place: a directory, a registry, and the program.
type bench struct {
	dossier  string
	dir      string
	registry string // host:port
}

func newBench(t *testing.T) *bench {
	t.Helper()
	for _, program := range peers {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("DOSSIER_REQUIRE_PEERS") != "" {
				t.Fatalf("%s is missing: %v", program, err)
			}
			t.Skipf("SKIPPED: %s is missing (Debian: %s)", program, program)
		}
	}
	b := &bench{dir: t.TempDir()}
	b.dossier = filepath.Join(b.dir, "dossier")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", b.dossier, "./cmd/dossier")
	build.Dir = filepath.Join("..", "..")
	run(t, build)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	b.registry = strings.TrimPrefix(server.URL, "http://")
	return b
}

// run runs a program to a good end and returns what it printed.
func run(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes()
}

func (b *bench) umoci(t *testing.T, args ...string) {
	t.Helper()
	run(t, exec.CommandContext(t.Context(), "umoci", args...))
}

func (b *bench) copy(t *testing.T, args ...string) {
	t.Helper()
	run(t, exec.CommandContext(t.Context(), "skopeo",
		append([]string{"--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"}, args...)...))
}

// inspect returns exact bytes of an image, as skopeo reads them.
func (b *bench) inspect(t *testing.T, ref string, flags ...string) []byte {
	t.Helper()
	args := append([]string{"--insecure-policy", "inspect", "--raw", "--tls-verify=false"}, flags...)
	return run(t, exec.CommandContext(t.Context(), "skopeo", append(args, ref)...))
}

// image makes an image of two layers with umoci and returns its layout.
func (b *bench) image(t *testing.T, tag, architecture string, labels ...string) string {
	t.Helper()
	layout := filepath.Join(b.dir, "umoci-"+tag)
	root := filepath.Join(b.dir, "root-"+tag)
	for name, text := range map[string]string{
		"etc/os-release": "ID=peer\nVERSION_ID=1\nPRETTY_NAME=\"Peer Linux 1\"\n",
		"srv/" + tag:     strings.Repeat(tag, 10_000),
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ref := layout + ":" + tag
	b.umoci(t, "init", "--layout", layout)
	b.umoci(t, "new", "--image", ref)
	b.umoci(t, "insert", "--rootless", "--image", ref, filepath.Join(root, "etc"), "/etc")
	b.umoci(t, "insert", "--rootless", "--image", ref, filepath.Join(root, "srv"), "/srv")
	config := []string{"config", "--image", ref, "--config.entrypoint", "/bin/" + tag, "--os", "linux", "--architecture", architecture}
	for _, label := range labels {
		config = append(config, "--config.label", label)
	}
	b.umoci(t, config...)
	b.umoci(t, "gc", "--layout", layout)
	return layout
}

// shown is the part of dossier's JSON that names an image.
type shown struct {
	Digest    string
	MediaType string
	Platforms []platform
}

type platform struct{ Platform, Manifest, Config string }

// show asks dossier, with nothing known before.
func (b *bench) show(t *testing.T, ref string) shown {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), b.dossier, "show", ref, "-o", "json", "--data", t.TempDir())
	out := run(t, cmd)
	var got shown
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("dossier show %s: %v\n%s", ref, err, out)
	}
	return got
}

// descriptor is a reference inside a manifest or index.
type descriptor struct {
	MediaType string  `json:"mediaType"`
	Digest    string  `json:"digest"`
	Size      int     `json:"size"`
	Platform  *target `json:"platform,omitempty"`
}

// target is what a descriptor says its image runs on.
type target struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

// manifest is what image manifests, indexes, and Docker's forms of both have.
type manifest struct {
	MediaType string
	Config    descriptor
	Manifests []descriptor
}

// expect returns what dossier should show of an image that skopeo can read.
func (b *bench) expect(t *testing.T, ref string) shown {
	t.Helper()
	raw := b.inspect(t, ref)
	m := parse(t, raw)
	want := shown{Digest: digest(raw), MediaType: m.MediaType}
	if m.Manifests == nil {
		want.Platforms = []platform{{"linux/amd64", want.Digest, m.Config.Digest}}
		return want
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(ref, "docker://"), "/")
	if name != b.registry {
		t.Fatalf("%s is an index: only those in the registry can be followed", ref)
	}
	repository := ref[:strings.LastIndex(ref, ":")]
	for _, d := range m.Manifests {
		child := parse(t, b.inspect(t, repository+"@"+d.Digest))
		p := d.Platform.OS + "/" + d.Platform.Architecture
		if d.Platform.Variant != "" {
			p += "/" + d.Platform.Variant
		}
		want.Platforms = append(want.Platforms, platform{p, d.Digest, child.Config.Digest})
	}
	return want
}

func parse(t *testing.T, raw []byte) manifest {
	t.Helper()
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("parsing %s: %v", raw, err)
	}
	return m
}

func digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// check compares what dossier shows of an image with what is wanted. The media
// type is compared only where the manifest names one: OCI lets it be left out.
func (b *bench) check(t *testing.T, ref string, want shown) {
	t.Helper()
	got := b.show(t, ref)
	if want.MediaType == "" {
		got.MediaType = ""
	}
	byName := func(a, b platform) int { return strings.Compare(a.Platform, b.Platform) }
	slices.SortFunc(got.Platforms, byName)
	slices.SortFunc(want.Platforms, byName)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("dossier show %s:\n got %+v\nwant %+v", ref, got, want)
	}
}

// TestCopies makes one image and lets skopeo copy it from form to form.
func TestCopies(t *testing.T) {
	b := newBench(t)
	layout := b.image(t, "app", "amd64", "org.opencontainers.image.version=1.2.3", "org.opencontainers.image.source=https://git.example.org/app")
	made := "oci:" + layout + ":app"
	atRegistry := b.registry + "/team/app:1.2.3"

	t.Run("layout by umoci", func(t *testing.T) {
		b.check(t, made, b.expect(t, made))
	})
	t.Run("layout by skopeo", func(t *testing.T) {
		copied := "oci:" + filepath.Join(b.dir, "copied") + ":one"
		b.copy(t, made, copied)
		b.check(t, copied, b.expect(t, made))
	})
	t.Run("registry", func(t *testing.T) {
		b.copy(t, made, "docker://"+atRegistry)
		b.check(t, atRegistry, b.expect(t, "docker://"+atRegistry))
	})
	t.Run("back from the registry", func(t *testing.T) {
		back := "oci:" + filepath.Join(b.dir, "back") + ":one"
		b.copy(t, "docker://"+atRegistry, back)
		b.check(t, back, b.expect(t, made))
	})
	t.Run("docker schema 2", func(t *testing.T) {
		ref := b.registry + "/team/app:v2s2"
		b.copy(t, "--format", "v2s2", made, "docker://"+ref)
		want := b.expect(t, "docker://"+ref)
		if got := "application/vnd.docker.distribution.manifest.v2+json"; want.MediaType != got {
			t.Fatalf("skopeo wrote %s, want %s", want.MediaType, got)
		}
		b.check(t, ref, want)
	})
	t.Run("zstd layers", func(t *testing.T) {
		ref := b.registry + "/other/app:zstd"
		plain := "dir:" + filepath.Join(b.dir, "plain")
		b.copy(t, "--dest-decompress", made, plain)
		b.copy(t, "--dest-compress-format", "zstd", plain, "docker://"+ref)
		if raw := b.inspect(t, "docker://"+ref); !bytes.Contains(raw, []byte("+zstd")) {
			t.Fatalf("skopeo wrote %s, want zstd layers", raw)
		}
		b.check(t, ref, b.expect(t, "docker://"+ref))
	})
	t.Run("docker archive", func(t *testing.T) {
		archive := "docker-archive:" + filepath.Join(b.dir, "app.tar")
		b.copy(t, made, archive+":team/app:1.2.3")
		want := digest(b.inspect(t, archive, "--config"))
		got := b.show(t, archive)
		if len(got.Platforms) != 1 || got.Platforms[0].Config != want {
			t.Errorf("dossier show %s: got %+v, want the one configuration %s", archive, got.Platforms, want)
		}
	})
}

// TestIndex puts two images of umoci's under one index and lets skopeo copy it.
func TestIndex(t *testing.T) {
	b := newBench(t)
	index := manifest{MediaType: "application/vnd.oci.image.index.v1+json"}
	for _, architecture := range []string{"amd64", "arm64"} {
		layout := b.image(t, architecture, architecture)
		ref := "docker://" + b.registry + "/team/many:" + architecture
		b.copy(t, "oci:"+layout+":"+architecture, ref)
		raw := b.inspect(t, ref)
		index.Manifests = append(index.Manifests, descriptor{
			MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: digest(raw), Size: len(raw),
			Platform: &target{OS: "linux", Architecture: architecture},
		})
	}
	ref := b.registry + "/team/many:1"
	b.put(t, "http://"+b.registry+"/v2/team/many/manifests/1", index)
	want := b.expect(t, "docker://"+ref)

	t.Run("registry", func(t *testing.T) { b.check(t, ref, want) })
	t.Run("layout by skopeo", func(t *testing.T) {
		layout := "oci:" + filepath.Join(b.dir, "many") + ":one"
		b.copy(t, "--all", "docker://"+ref, layout)
		b.check(t, layout, want)
	})
	t.Run("docker manifest list", func(t *testing.T) {
		list := b.registry + "/team/many:list"
		b.copy(t, "--all", "--format", "v2s2", "docker://"+ref, "docker://"+list)
		b.check(t, list, b.expect(t, "docker://"+list))
	})
}

// put writes an index to the registry.
func (b *bench) put(t *testing.T, url string, index manifest) {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": index.MediaType, "manifests": index.Manifests,
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", index.MediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("PUT %s: got %s, want 201", url, resp.Status)
	}
}
