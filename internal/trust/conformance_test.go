// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"dossier.dev/dossier"
)

// conformanceReasons says for which reason each case of sigstore-conformance that must
// fail does: the one that it is named for.
var conformanceReasons = map[string]Code{
	"bundle-empty-certificate-chain_fail":                       CodeNoMaterial,
	"bundle-invalid-base64-signature_fail":                      CodeMalformed,
	"bundle-negative-log-index_fail":                            CodeLogFormat,
	"bundle-with-root-cert_fail":                                CodeRootInside,
	"checkpoint-bad-keyhint_fail":                               CodeCheckpoint,
	"dsse-invalid-sig_fail":                                     CodeSignature,
	"dsse-mismatch-sig_fail":                                    CodeLogEntry,
	"inclusion-proof-corrupted-hash_fail":                       CodeLogPath,
	"integrated-time-in-future_fail":                            CodeLogTime,
	"intoto-log-entry-mismatch_fail":                            CodeLogEntry,
	"intoto-set-outside-signing-cert-validity_fail":             CodeLogTime,
	"invalid-ct-key_fail":                                       CodeSCT,
	"managed-key-no-key_fail":                                   CodeSignerKind,
	"message-digest-mismatch_fail":                              CodeArtifact,
	"rekor2-checkpoint-missing-log-signature_fail":              CodeCheckpoint,
	"rekor2-checkpoint-missing-root-hash_fail":                  CodeCheckpoint,
	"rekor2-dsse-invalid-sig_fail":                              CodeSignature,
	"rekor2-dsse-mismatch-sig_fail":                             CodeLogEntry,
	"rekor2-no-inclusion-proof_fail":                            CodeLogProof,
	"rekor2-timestamp-outside-trust-root-tsa-validity_fail":     CodeStampTime,
	"rekor2-timestamp-payload-mismatch_fail":                    CodeTimestamp,
	"rekor2-timestamp-untrusted-tsa-without-embedded-cert_fail": CodeTimestamp,
	"signature-mismatch_fail":                                   CodeSignature,
	"wrong-hashedrekord-artifact_fail":                          CodeLogEntry,
	"wrong-hashedrekord-entry_fail":                             CodeLogEntry,
}

// conformanceTime is when the cases are judged: decisions take a time, not the clock.
var conformanceTime = time.Date(2026, 8, 19, 0, 0, 0, 0, time.UTC)

// conformanceCase is a folder of sigstore-conformance.
type conformanceCase struct {
	name             string
	content, bundle  []byte
	rootJSON, key    []byte
	identity, issuer string
}

func conformanceCases(t testing.TB) []conformanceCase {
	t.Helper()
	dir := os.Getenv("DOSSIER_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	dir = filepath.Join(dir, "sigstore-conformance")
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	publicGood := readFile(t, filepath.Join(strings.TrimSpace(string(module)), "examples", "trusted-root-public-good.json"))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("SKIPPED: the cases of sigstore-conformance are not at hand: %v", err)
	}
	var cases []conformanceCase
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		at := func(name string) []byte {
			b, err := os.ReadFile(filepath.Join(dir, e.Name(), name))
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			return b
		}
		c := conformanceCase{
			name: e.Name(), content: at("artifact"), bundle: at("bundle.sigstore.json"), rootJSON: at("trusted_root.json"), key: at("key.pub"),
			identity: cmp.Or(string(at("identity")), "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"),
			issuer:   cmp.Or(string(at("issuer")), "https://token.actions.githubusercontent.com"),
		}
		if c.content == nil {
			c.content = readFile(t, filepath.Join(dir, "a.txt"))
		}
		if c.rootJSON == nil {
			c.rootJSON = publicGood
		}
		cases = append(cases, c)
	}
	return cases
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (c conformanceCase) terms(t testing.TB) Terms {
	t.Helper()
	trusted, err := ParseRoot(c.rootJSON)
	if err != nil {
		t.Fatal(err)
	}
	signer := Signer{Name: "the signer"}
	if c.key != nil {
		key, err := ParseKey(c.key)
		if err != nil {
			t.Fatal(err)
		}
		signer.Key = &key
	} else if signer.Identity, err = NewIdentity(c.issuer, "", c.identity, ""); err != nil {
		t.Fatal(err)
	}
	return Terms{Signers: []Signer{signer}, Root: trusted}
}

func (c conformanceCase) decide(v verifier, asked Question, terms Terms) Decision {
	return v.decide(asked, terms, []Evidence{{Form: FormBundle, Bytes: c.bundle}}, conformanceTime)
}

// TestConformance runs the cases of sigstore-conformance: each that must fail fails for
// the reason that it is named for, whether the artifact is given or its digest.
func TestConformance(t *testing.T) {
	cases := conformanceCases(t)
	if len(cases) < 35 {
		t.Errorf("%d cases, want at least 35", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, asked := range []Question{About(c.content), {Digest: dossier.FromBytes(c.content)}} {
				d := c.decide(verifier{}, asked, c.terms(t))
				if want := conformanceReasons[c.name]; d.Code != want || d.Verified != (want == "") {
					t.Errorf("got %v %q (%s), want %q", d.Verified, d.Code, d.Reason, want)
				}
				if strings.HasSuffix(c.name, "_fail") == d.Verified {
					t.Errorf("verified: %v", d.Verified)
				}
				first, err1 := d.JSON()
				again, err2 := c.decide(verifier{}, asked, c.terms(t)).JSON()
				if err1 != nil || err2 != nil || string(first) != string(again) {
					t.Errorf("made again it is another decision (%v, %v):\n%s\n%s", err1, err2, first, again)
				}
			}
		})
	}
}

// TestAgreesWithSigstore holds the verifier against sigstore-go's own.
func TestAgreesWithSigstore(t *testing.T) {
	for _, c := range conformanceCases(t) {
		ours := c.decide(verifier{}, About(c.content), c.terms(t))
		if err := c.sigstore(t); (err == nil) != ours.Verified {
			// It takes a chain that ends in a root for one without.
			if c.name == "bundle-with-root-cert_fail" && !ours.Verified {
				continue
			}
			t.Errorf("%s: sigstore-go says %v, we say %v: %s", c.name, err, ours.Verified, ours.Reason)
		}
	}
}

func (c conformanceCase) sigstore(t *testing.T) error {
	t.Helper()
	var b bundle.Bundle
	if err := b.UnmarshalJSON(c.bundle); err != nil {
		return err
	}
	trusted, err := root.NewTrustedRootFromJSON(c.rootJSON)
	if err != nil {
		t.Fatal(err)
	}
	var material root.TrustedMaterial = trusted
	policy := []verify.PolicyOption{}
	options := []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)}
	if c.key != nil {
		key := c.terms(t).Signers[0].Key
		policy = append(policy, verify.WithKey())
		material = root.TrustedMaterialCollection{root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
			v, err := logVerifier(&root.TransparencyLog{PublicKey: key.Public, SignatureHashFunc: hashesOf(key.Public)[0]})
			return root.NewExpiringKey(v, time.Time{}, time.Time{}), err
		}), trusted}
	} else {
		id, err := verify.NewShortCertificateIdentity(c.issuer, "", c.identity, "")
		if err != nil {
			t.Fatal(err)
		}
		policy = append(policy, verify.WithCertificateIdentity(id))
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	v, err := verify.NewVerifier(material, options...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(&b, verify.NewPolicy(verify.WithArtifact(strings.NewReader(string(c.content))), policy...))
	return err
}
