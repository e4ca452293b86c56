// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// keeper is somebody with OpenPGP keys, in a home of their own.
type keeper struct{ home string }

func newKeeper(t *testing.T) *keeper {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		if os.Getenv("DOSSIER_REQUIRE_PEERS") != "" {
			t.Fatalf("gpg is missing: %v", err)
		}
		t.Skip("SKIPPED: gpg is missing (Debian: gnupg)")
	}
	// gpg's agent listens on a socket in its home, and such a path must be short.
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{home}
	t.Cleanup(func() {
		kill := exec.Command("gpgconf", "--kill", "all") // the agent of this home alone
		kill.Env = append(os.Environ(), "GNUPGHOME="+home)
		_ = kill.Run()
		_ = os.RemoveAll(home)
	})
	return k
}

func (k *keeper) gpg(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "gpg", append([]string{"--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+k.home)
	return run(t, cmd)
}

// key makes a key and returns its fingerprint.
func (k *keeper) key(t *testing.T, name, algorithm, expire string, flags ...string) string {
	t.Helper()
	k.gpg(t, append(flags, "--quick-gen-key", name+" <"+name+"@example.com>", algorithm, "sign", expire)...)
	for line := range strings.Lines(string(k.gpg(t, "--with-colons", "--list-keys", name))) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			return fields[9]
		}
	}
	t.Fatal("gpg lists no key")
	return ""
}

// export writes public keys to a file and returns its name.
func (k *keeper) export(t *testing.T, names ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), strings.Join(names, "-")+".asc")
	if err := os.WriteFile(file, k.gpg(t, append([]string{"--armor", "--export"}, names...)...), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// sign lets skopeo sign an image as it copies it.
func (b *bench) sign(t *testing.T, k *keeper, key, registries, from, to string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "skopeo", "--insecure-policy", "--registries.d", registries, "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--sign-by", key, from, to)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+k.home)
	run(t, cmd)
}

// registriesD writes where skopeo keeps signatures.
func (b *bench) registriesD(t *testing.T, lookaside string) string {
	t.Helper()
	dir := t.TempDir()
	text := "docker:\n  " + b.registry + ":\n    lookaside: " + lookaside + "\n    lookaside-staging: " + lookaside + "\n"
	if lookaside == "" {
		text = "docker: {}\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "default.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// accepts asks skopeo whether it takes an image by a policy.
func (b *bench) accepts(t *testing.T, k *keeper, registries, keys, image string, identity map[string]string) bool {
	t.Helper()
	rule := map[string]any{"type": "signedBy", "keyType": "GPGKeys", "keyPath": keys}
	if identity != nil {
		rule["signedIdentity"] = identity
	}
	policy, err := json.Marshal(map[string]any{
		"default": []any{map[string]string{"type": "reject"}}, "transports": map[string]any{"docker": map[string]any{b.registry: []any{rule}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(file, policy, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "skopeo", "--policy", file, "--registries.d", registries, "copy", "--src-tls-verify=false", "docker://"+image, "dir:"+filepath.Join(t.TempDir(), "copy"))
	cmd.Env = append(os.Environ(), "GNUPGHOME="+k.home)
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "Source image rejected") {
		t.Fatalf("skopeo fails for another reason: %v\n%s", err, out)
	}
	return err == nil
}

// judged asks dossier, and returns the code of its decision.
func (b *bench) judged(t *testing.T, trust, image string) (verified bool, code string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), b.dossier, "verify", "--trust", trust, "--data", t.TempDir(), "-o", "json", image)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
		t.Fatalf("dossier verify: %v\n%s", err, exit.Stderr)
	}
	var d struct {
		Verified bool
		Code     string
	}
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatal(err)
	}
	return d.Verified, d.Code
}

// trust writes a trust policy.
func (b *bench) trust(t *testing.T, keys, lookaside string, identity map[string]string) string {
	t.Helper()
	rule := map[string]any{"match": []string{b.registry + "/**"}, "signers": []string{"release"}}
	if identity != nil {
		rule["signedIdentity"] = identity
	}
	policy := map[string]any{"signers": map[string]any{"release": map[string]string{"key": keys}}, "images": []any{rule}}
	if lookaside != "" {
		policy["lookaside"] = []any{map[string]any{"match": []string{"**"}, "url": lookaside}}
	}
	text, err := json.Marshal(policy) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "trust.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestOpenPGP signs images with gpg through skopeo, and lets dossier and skopeo judge
// them by the same keys: where they differ that is said.
func TestOpenPGP(t *testing.T) {
	b, k := newBench(t), newKeeper(t)
	layout := b.image(t, "signed", "amd64")
	store := t.TempDir()
	lookaside := "file://" + store
	registries := b.registriesD(t, lookaside)

	release, other := k.key(t, "release", "rsa3072", "never"), k.key(t, "other", "ed25519", "never")
	lost := k.key(t, "lost", "ed25519", "never")
	weak := k.key(t, "weak", "rsa1024", "never")
	past := "20240101T000000!"
	k.key(t, "gone", "ed25519", "1d", "--faked-system-time", past)
	k.key(t, "early", "ed25519", "never", "--faked-system-time", past)

	push := func(key, name string) (digest string) {
		b.sign(t, k, key, registries, "oci:"+layout+":signed", "docker://"+b.registry+"/"+name)
		return b.digest(t, b.registry+"/"+name)
	}
	push(release, "shop/api:1")
	push(other, "shop/other:1")
	push(lost, "shop/lost:1")
	push(weak, "shop/weak:1")
	digest := push(release, "shop/gone:1")
	// What skopeo does not sign is signed by gpg, in place of what skopeo wrote.
	payload := func(reference string) string {
		return fmt.Sprintf(`{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"atomic container signature"},"optional":{}}`, reference, digest)
	}
	replace := func(name, text string, flags ...string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "payload")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(store, name+"@"+strings.Replace(digest, ":", "=", 1), "signature-1")
		k.gpg(t, append(flags, "--output", to, "--sign", file)...)
	}
	replace("shop/gone", payload(b.registry+"/shop/gone:1"), "--faked-system-time", past, "--local-user", "gone")
	push(release, "shop/sha1:1")
	replace("shop/sha1", payload(b.registry+"/shop/sha1:1"), "--local-user", "release", "--digest-algo", "SHA1")
	push(release, "shop/ends:1")
	replace("shop/ends", payload(b.registry+"/shop/ends:1"), "--local-user", "early", "--faked-system-time", "20240201T000000!", "--default-sig-expire", "1d")
	b.copy(t, "oci:"+layout+":signed", "docker://"+b.registry+"/shop/plain:1")
	b.copy(t, "oci:"+layout+":signed", "docker://"+b.registry+"/shop/api:2")

	// The key is revoked when all is signed.
	certificate, err := os.ReadFile(filepath.Join(k.home, "openpgp-revocs.d", lost+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	armed := filepath.Join(t.TempDir(), "revocation")
	if err := os.WriteFile(armed, []byte(strings.Replace(string(certificate), ":-----BEGIN", "-----BEGIN", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	k.gpg(t, "--import", armed)

	repository := map[string]string{"type": "matchRepository"}
	for _, tt := range []struct {
		name, key, image string
		identity         map[string]string
		want             string // code; empty: it verifies
		skopeo           bool   // whether it takes it
	}{
		{"signed", "release", "shop/api:1", nil, "", true},
		{"signed, by digest", "release", "shop/api@" + digest, nil, "", true},
		{"by an elliptic curve", "other", "shop/other:1", nil, "", true},
		{"by somebody else", "other", "shop/api:1", nil, "key-unknown", false},
		{"by nobody", "release", "shop/plain:1", nil, "no-evidence", false},
		{"under another tag", "release", "shop/api:2", nil, "reference-mismatch", false},
		{"under another tag of the repository, which is enough", "release", "shop/api:2", repository, "", true},
		{"by a key that was revoked later", "lost", "shop/lost:1", nil, "key-revoked", false},
		{"by a key that has expired", "gone", "shop/gone:1", nil, "key-expired", false},
		{"by a signature that has expired", "early", "shop/ends:1", nil, "signature-expired", false},
		// Here dossier asks for more than gpg does.
		{"by a key of 1024 bits", "weak", "shop/weak:1", nil, "weak-key", true},
		{"over a SHA-1", "release", "shop/sha1:1", nil, "weak-hash", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys := k.export(t, tt.key)
			image := b.registry + "/" + tt.image
			verified, code := b.judged(t, b.trust(t, keys, lookaside, tt.identity), image)
			if code != tt.want || verified != (tt.want == "") {
				t.Errorf("dossier says %v %q, want %q", verified, code, tt.want)
			}
			if got := b.accepts(t, k, registries, keys, image, tt.identity); got != tt.skopeo {
				t.Errorf("skopeo takes it: %v, want %v", got, tt.skopeo)
			}
		})
	}

	t.Run("over HTTP", func(t *testing.T) {
		server := httptest.NewServer(http.FileServer(http.Dir(store)))
		t.Cleanup(server.Close)
		keys := k.export(t, "release", "other")
		for image, want := range map[string]string{"shop/api:1": "", "shop/other:1": "", "shop/plain:1": "no-evidence"} {
			if verified, code := b.judged(t, b.trust(t, keys, server.URL, nil), b.registry+"/"+image); code != want || verified != (want == "") {
				t.Errorf("%s: %v %q, want %q", image, verified, code, want)
			}
		}
	})
}

// digest returns the digest of an image in the registry.
func (b *bench) digest(t *testing.T, image string) string {
	t.Helper()
	return strings.TrimSpace(string(run(t, exec.CommandContext(t.Context(), "skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+image))))
}

// keeping is a registry that keeps signatures beside manifests, as OpenShift's does.
type keeping struct {
	registry http.Handler
	mu       sync.Mutex
	lists    map[string][]json.RawMessage
}

// ServeHTTP implements http.Handler.
func (r *keeping) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("X-Registry-Supports-Signatures", "1")
	if !strings.HasPrefix(req.URL.Path, "/extensions/v2/") {
		r.registry.ServeHTTP(w, req)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if req.Method == http.MethodPut {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.lists[req.URL.Path] = append(r.lists[req.URL.Path], b)
		w.WriteHeader(http.StatusCreated)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"signatures": r.lists[req.URL.Path]})
}

// TestOpenPGPInRegistry lets skopeo put signatures into a registry that takes them.
func TestOpenPGPInRegistry(t *testing.T) {
	b, k := newBench(t), newKeeper(t)
	server := httptest.NewServer(&keeping{registry: registry.New(registry.Logger(log.New(io.Discard, "", 0))), lists: map[string][]json.RawMessage{}})
	t.Cleanup(server.Close)
	b.registry = strings.TrimPrefix(server.URL, "http://")
	layout := b.image(t, "signed", "amd64")
	release := k.key(t, "release", "ed25519", "never")
	k.key(t, "other", "ed25519", "never")
	registries := b.registriesD(t, "")
	b.sign(t, k, release, registries, "oci:"+layout+":signed", "docker://"+b.registry+"/shop/api:1")
	for key, want := range map[string]string{"release": "", "other": "key-unknown"} {
		keys := k.export(t, key)
		verified, code := b.judged(t, b.trust(t, keys, "", nil), b.registry+"/shop/api:1")
		if code != want || verified != (want == "") {
			t.Errorf("by %s: dossier says %v %q, want %q", key, verified, code, want)
		}
		if got := b.accepts(t, k, registries, keys, b.registry+"/shop/api:1", nil); got != verified {
			t.Errorf("by %s: skopeo takes it: %v", key, got)
		}
	}
}
