// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
)

// notationData returns where the source of notation's library is, whose tests have
// signatures and trust stores, or skips.
func notationData(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-C", "../../e2e/notation", "-m", "-f", "{{.Dir}}", "github.com/notaryproject/notation-go")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off")
	out, err := cmd.Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Skipf("SKIPPED: the module github.com/notaryproject/notation-go is not in the module cache: run go mod download in e2e/notation (%v)", err)
	}
	return dir
}

// overlaid is a directory with a trust policy of the test in it.
type overlaid struct {
	dir    string
	policy string
}

// ReadFile implements Files.
func (o overlaid) ReadFile(path string) ([]byte, error) {
	if path == "trustpolicy.json" {
		return []byte(o.policy), nil
	}
	return os.ReadFile(filepath.Join(o.dir, path))
}

// ReadDir implements Files.
func (o overlaid) ReadDir(path string) ([]fs.DirEntry, error) {
	if path != "." {
		return os.ReadDir(filepath.Join(o.dir, path))
	}
	f := filepath.Join(o.dir, "trustpolicy.json")
	if info, err := os.Stat(f); err == nil {
		return []fs.DirEntry{fs.FileInfoToDirEntry(info)}, nil
	}
	return []fs.DirEntry{entry{}}, nil
}

// entry is the trust policy in a directory.
type entry struct{ fs.DirEntry }

// Name implements fs.DirEntry.
func (entry) Name() string { return "trustpolicy.json" }

// Type implements fs.DirEntry.
func (entry) Type() fs.FileMode { return 0 }

// TestNotationVectors verifies what notation's own tests verify, by its trust stores.
func TestNotationVectors(t *testing.T) {
	dir := notationData(t)
	policy := func(verification string, stores ...string) (*Policy, error) {
		return ParsePolicy([]byte("notation: {config: .}\n"), overlaid{filepath.Join(dir, "verifier", "testdata"), fmt.Sprintf(
			`{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":{%s},"trustStores":["%s"],"trustedIdentities":["*"]}]}`, verification, strings.Join(stores, `","`))})
	}
	const (
		mock, stamps = "internal/mock/testdata/", "verifier/testdata/timestamp/sigEnv/"
		strict       = `"level":"strict"`
		plain        = `"level":"strict","override":{"revocation":"skip"}`                      // of what names places that are not asked
		anyone       = `"level":"strict","override":{"revocation":"skip","authenticity":"log"}` // of what is signed by nobody of the stores
		ca, house    = "ca:valid-trust-store", "signingAuthority:valid-trust-store"
		clock        = "tsa:test-timestamp"
	)
	for _, tt := range []struct {
		file, verification string
		stores             []string
		want               Code
	}{
		{mock + "ca_valid_sig_env.json", strict, []string{ca}, ""},
		{mock + "ca_valid_sig_env.json", strict, []string{house}, CodeCertificate},
		{mock + "ca_invalid_sig_env.json", strict, []string{ca}, CodeMalformed},
		{mock + "ca_expired_sig_env.json", strict, []string{ca}, CodeSignatureExpired},
		{mock + "ca_expired_sig_env.json", `"level":"permissive"`, []string{ca}, ""},
		{mock + "ca_plugin_sig_env.json", strict, []string{ca}, CodeNoSignature},
		{mock + "sa_valid_sig_env.json", strict, []string{house}, ""},
		{mock + "sa_valid_sig_env.json", strict, []string{ca}, CodeCertificate},
		{mock + "sa_invalid_sig_env.json", strict, []string{house}, CodeMalformed},
		{mock + "sa_expired_sig_env.json", strict, []string{house}, CodeSignatureExpired},
		{mock + "sa_plugin_sig_env.json", strict, []string{house}, CodeNoSignature},
		{mock + "ca_compatible_pluginver_sig_env_1.0.0.json", strict, []string{ca}, CodeNoSignature},
		{mock + "ca_incompatible_pluginver_sig_env_1.0.9.json", strict, []string{ca}, CodeNoSignature},
		{mock + "sig_env_with_metadata.json", strict, []string{ca}, CodeCertificate},
		{stamps + "jwsWithTimestamp.sig", plain, []string{ca, clock}, ""},
		{stamps + "coseWithTimestamp.sig", plain, []string{ca, clock}, ""},
		{stamps + "jwsExpiredWithTimestamp.sig", anyone, []string{ca, clock}, ""},
		{stamps + "coseExpiredWithTimestamp.sig", anyone, []string{ca, clock}, ""},
		{stamps + "jwsExpiredWithTimestamp.sig", anyone, []string{ca}, CodeCertificate},
		{stamps + "coseExpiredWithTimestamp.sig", anyone, []string{ca}, CodeCertificate},
		{stamps + "timestampBeforeNotBefore.sig", anyone, []string{ca, clock}, CodeCertificate},
		{stamps + "timestampAfterNotAfter.sig", anyone, []string{ca, clock}, CodeCertificate},
		{stamps + "jwsWithTimestamp.sig", strict, []string{ca, clock}, CodeRevocationUnavailable},
		{stamps + "jwsWithTimestamp.sig", plain, []string{ca, "tsa:test-mismatch"}, CodeTimestamp},
		{stamps + "withoutTimestamp.sig", plain, []string{ca, clock}, CodeNoTime},
		{"internal/testdata/jws_signature.sig", strict, []string{ca}, CodeCertificate},
		{"internal/testdata/cose_signature.sig", strict, []string{ca}, CodeCertificate},
	} {
		p, err := policy(tt.verification, tt.stores...)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, tt.file))
		if err != nil {
			t.Fatal(err)
		}
		e := Evidence{Form: FormJWS, Bytes: b}
		if b[0] != '{' {
			e.Form = FormCOSE
		}
		ref := dossier.Reference{Registry: "registry.example", Repository: "app", Tag: "1"}
		about := e.read().notary.target
		if d := p.Decide(ref, about, []Evidence{e}, nil, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)); d.Code != tt.want {
			t.Errorf("%s, %s, %v: %q %s, want %q", tt.file, tt.verification, tt.stores, d.Code, d.Reason, tt.want)
		}
		if d := p.Decide(ref, dossier.FromBytes(nil), []Evidence{e}, nil, noon); d.Verified {
			t.Errorf("%s verifies for another image", tt.file)
		}
	}
	for store, says := range map[string]string{
		"ca:trust-store-with-invalid-certs":             "invalid",
		"ca:trust-store-with-leaf-certs":                "neither that of an authority",
		"ca:trust-store-with-leaf-certs-in-single-file": "neither that of an authority",
		"ca:valid-trust-store-self-signed":              "",
		"tsa:test-nonCA":                                "no root of a timestamp authority",
		"tsa:test-nonSelfIssued":                        "no root of a timestamp authority",
	} {
		if _, err := policy(strict, store); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", store, err, says)
		}
	}
}
