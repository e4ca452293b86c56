// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// podman is a podman whose images, policy and lookaside are its own, as it finds them in
// the home of its user.
type podman struct {
	home, keys string // directories
}

func newPodman(t *testing.T, k *keeper) podman {
	t.Helper()
	missing := ""
	if _, err := exec.LookPath("podman"); err != nil {
		missing = "podman is missing (Debian: podman)"
	} else if os.Getuid() != 0 {
		missing = "podman is run as root here"
	}
	if missing != "" {
		if os.Getenv("DOSSIER_REQUIRE_PEERS") != "" {
			t.Fatal(missing)
		}
		t.Skip("SKIPPED: " + missing)
	}
	home, err := os.MkdirTemp("", "pod") // paths of its sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	return podman{home, k.home}
}

// write puts a file below the configuration of containers in the home.
func (p podman) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(p.home, ".config", "containers", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// trust writes a policy.json by which only images of a registry are taken that a key signed.
func (p podman) trust(t *testing.T, registry, keys string) {
	t.Helper()
	reject := []any{map[string]string{"type": "reject"}}
	signed := []any{map[string]string{"type": "signedBy", "keyType": "GPGKeys", "keyPath": keys}}
	own := map[string]any{"": []any{map[string]string{"type": "insecureAcceptAnything"}}} // what lies here
	policy, err := json.Marshal(map[string]any{"default": reject, "transports": map[string]any{
		"docker": map[string]any{registry: signed}, "oci": own, "containers-storage": own,
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "policy.json", string(policy))
}

func (p podman) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	storage := []string{"--root", filepath.Join(p.home, "root"), "--runroot", filepath.Join(p.home, "run"), "--storage-driver", "vfs", "--events-backend", "none"}
	cmd := exec.CommandContext(t.Context(), "podman", append(storage, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+p.home, "XDG_CONFIG_HOME="+filepath.Join(p.home, ".config"), "GNUPGHOME="+p.keys)
	return cmd
}

// takes asks podman whether it pulls an image by its policy.
func (p podman) takes(t *testing.T, image string) bool {
	t.Helper()
	out, err := p.command(t, "pull", "-q", "--tls-verify=false", image).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "Source image rejected") {
		t.Fatalf("podman fails for another reason: %v\n%s", err, out)
	}
	return err == nil
}

// TestPodman has podman push images with a signature, and podman and dossier judge the same
// images by the same keys: policy.json and trust policy say the same.
func TestPodman(t *testing.T) {
	b, k := newBench(t), newKeeper(t)
	p := newPodman(t, k)
	release, other := k.key(t, "release", "rsa3072", "never"), k.key(t, "other", "ed25519", "never")
	store := t.TempDir()
	lookaside := "file://" + store
	p.write(t, "registries.d/default.yaml", fmt.Sprintf("docker:\n  %s:\n    lookaside: %s\n    lookaside-staging: %s\n", b.registry, lookaside, lookaside))
	keys := k.export(t, "release")
	p.trust(t, b.registry, keys)

	layout := "oci:" + filepath.Join(p.home, "layout") + ":1" // podman makes a name of it, which has no capitals
	b.copy(t, "oci:"+b.image(t, "podman", "amd64")+":podman", layout)
	local := strings.TrimSpace(string(run(t, p.command(t, "pull", "-q", layout))))
	push := func(name string, flags ...string) {
		t.Helper()
		args := append([]string{"push", "-q", "--tls-verify=false"}, flags...)
		run(t, p.command(t, append(args, local, "docker://"+b.registry+"/"+name)...))
	}
	push("pod/signed:1", "--sign-by", release)
	push("pod/other:1", "--sign-by", other)
	push("pod/plain:1")
	trust := b.trust(t, keys, lookaside, nil)
	for image, want := range map[string]string{ // the code of dossier's decision; empty: it verifies
		"pod/signed:1": "", "pod/other:1": "key-unknown", "pod/plain:1": "no-evidence",
	} {
		verified, code := b.judged(t, trust, b.registry+"/"+image)
		if code != want || verified != (want == "") {
			t.Errorf("%s: dossier says %v %q, want %q", image, verified, code, want)
		}
		if got := p.takes(t, b.registry+"/"+image); got != verified {
			t.Errorf("%s: podman takes it: %v; dossier: %v", image, got, verified)
		}
	}
}
