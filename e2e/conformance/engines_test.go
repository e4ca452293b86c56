// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// needRoot skips what only root may do.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: it needs root")
	}
}

// digestOf asks the registry for the digest of a reference.
func (c clients) digestOf(t *testing.T, ref string) string {
	t.Helper()
	return strings.TrimSpace(c.run(t, c.crane, "digest", ref))
}

// testContainerd pulls into containerd, which checks every digest, and pushes from it.
func (c clients) testContainerd(t *testing.T) {
	needRoot(t)
	daemon, ctr := installed(t, "containerd"), installed(t, "ctr")
	socket := startContainerd(t, daemon)
	args := func(command ...string) []string {
		args := append([]string{"--address", socket, "--namespace", "test", "images"}, command...)
		args = append(args, "--plain-http")
		if c.login {
			args = append(args, "--user", user+":"+password)
		}
		return args
	}
	from, to := c.host+"/org/app:one", c.host+"/containerd/app:v1"
	c.run(t, ctr, append(args("pull", "--snapshotter", "native"), from)...)
	c.run(t, ctr, "--address", socket, "--namespace", "test", "images", "tag", from, to)
	c.run(t, ctr, append(args("push"), to)...)
	if got, want := c.digestOf(t, to), c.digestOf(t, from); got != want {
		t.Errorf("pushed %s, want %s", got, want)
	}
	if c.login {
		if _, err := c.try(t, ctr, "--address", socket, "--namespace", "other", "images", "pull", "--snapshotter", "native", "--plain-http", "--user", user+":wrong", to); err == nil {
			t.Error("a wrong password did")
		}
	}
}

// startContainerd starts a containerd of its own and returns its socket.
func startContainerd(t *testing.T, daemon string) string {
	t.Helper()
	dir := shortDir(t)
	socket, config := filepath.Join(dir, "socket"), filepath.Join(dir, "config.toml")
	write(t, config, fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing"]
[grpc]
  address = %q
[ttrpc]
  address = %q
[plugins."io.containerd.internal.v1.opt"]
  path = %q
`, filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket, socket+".ttrpc", filepath.Join(dir, "opt")))
	cmd := exec.Command(daemon, "--config", config)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return socket
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("containerd ended: %v\n%s", err, log.Bytes())
		default:
		}
		if time.Now().After(end) {
			t.Fatal("containerd does not listen")
		}
	}
}

// shortDir returns a directory with a short path, as sockets and podman need it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "eng-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// storage are the flags that give podman and buildah a place of their own.
func storage(t *testing.T) []string {
	t.Helper()
	dir := shortDir(t)
	return []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs"}
}

// testPodman pulls, tags and pushes an image.
func (c clients) testPodman(t *testing.T) {
	needRoot(t)
	const plain = "--tls-verify=false"
	podman, at := installed(t, "podman"), append(storage(t), "--events-backend", "none")
	podmanRun := func(args ...string) string {
		t.Helper()
		return c.run(t, podman, append(at, args...)...)
	}
	if c.login {
		podmanRun("login", plain, "-u", user, "-p", password, c.host)
	}
	from, to := c.host+"/org/app:one", c.host+"/podman/app:v1"
	podmanRun("pull", "-q", plain, from)
	podmanRun("tag", from, to)
	podmanRun("push", "-q", plain, to)
	c.run(t, c.crane, "validate", "--remote", to)
	podmanRun("rmi", "-f", from, to)
	id := strings.TrimSpace(podmanRun("pull", "-q", plain, to))
	config := c.run(t, c.crane, "config", to)
	if got := sum([]byte(config)); got != "sha256:"+id {
		t.Errorf("podman has the image %s, its configuration is %s", id, got)
	}
}

// testBuildah builds an image and pushes it.
func (c clients) testBuildah(t *testing.T) {
	needRoot(t)
	buildah, at := installed(t, "buildah"), storage(t)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, strings.Repeat("buildah ", 1000))
	buildahRun := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(c.run(t, buildah, append(at, args...)...))
	}
	if c.login {
		buildahRun("login", "--tls-verify=false", "-u", user, "-p", password, c.host)
	}
	container := buildahRun("from", "scratch")
	buildahRun("copy", container, file, "/file")
	buildahRun("config", "--label", "org.opencontainers.image.title=built", container)
	buildahRun("commit", container, "built")
	to := c.host + "/buildah/app:v1"
	digest := filepath.Join(t.TempDir(), "digest")
	buildahRun("push", "--tls-verify=false", "--digestfile", digest, "built", "docker://"+to)
	want, err := os.ReadFile(digest)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.digestOf(t, to); got != string(want) {
		t.Errorf("pushed %s, buildah says %s", got, want)
	}
	c.run(t, c.crane, "validate", "--remote", to)
	if got := c.run(t, c.crane, "config", to); !strings.Contains(got, `"org.opencontainers.image.title":"built"`) {
		t.Errorf("the configuration is %s", got)
	}
}

// testCosign signs an image with a key and verifies it, with the signature under
// a tag and as a referrer.
func (c clients) testCosign(t *testing.T) {
	cosign := peer(t, "cosign", "github.com/sigstore/cosign/v2/cmd/cosign")
	dir := t.TempDir()
	t.Chdir(dir)
	c.loggedIn(t, cosign, "login")
	c.run(t, cosign, "generate-key-pair")
	ref := c.host + "/org/app@" + c.digestOf(t, c.host+"/org/app:one")
	const plain = "--allow-http-registry"
	verify := func(args ...string) error {
		_, err := c.try(t, cosign, append([]string{"verify", "--key", "cosign.pub", "--insecure-ignore-tlog", plain}, append(args, ref)...)...)
		return err
	}
	if verify() == nil {
		t.Error("what was not signed verifies")
	}
	c.run(t, cosign, "sign", "--key", "cosign.key", "--tlog-upload=false", "--yes", plain, ref)
	if err := verify(); err != nil {
		t.Error(err)
	}
	write(t, "predicate.json", `{"built": "here"}`)
	c.run(t, cosign, "attest", "--key", "cosign.key", "--tlog-upload=false", "--yes", plain, "--type", "custom", "--predicate", "predicate.json", ref)
	c.run(t, cosign, "verify-attestation", "--key", "cosign.pub", "--insecure-ignore-tlog", plain, "--type", "custom", ref)
	c.run(t, c.oras, "discover", "--plain-http", ref)
}
