// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// TestSummary compares summaries with what SLSA wants of them, and verifies one by its envelope.
func TestSummary(t *testing.T) {
	d := dossier.FromBytes([]byte("image"))
	s := Summary{
		Subject: d, Reference: "registry.example/shop/api:1.4", Verifier: "https://verifier.example", Version: "1.2.3",
		At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Policy: dossier.FromBytes([]byte("policy")),
		Inputs: []dossier.Digest{dossier.FromBytes([]byte("bundle"))}, Verified: true, Level: LevelSigned,
	}
	hex := func(text string) string { return dossier.FromBytes([]byte(text)).Hex() }
	want := map[string]any{
		"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/verification_summary/v1",
		"subject": []any{map[string]any{"digest": map[string]any{"sha256": hex("image")}}},
		"predicate": map[string]any{
			"verifier":     map[string]any{"id": "https://verifier.example", "version": map[string]any{"dossier": "1.2.3"}},
			"timeVerified": "2026-01-02T03:04:05Z", "slsaVersion": "1.0",
			"resourceUri":        "pkg:oci/api@sha256%3A" + hex("image") + "?repository_url=registry.example/shop/api&tag=1.4",
			"policy":             map[string]any{"uri": "urn:dossier:trust:sha256:" + hex("policy"), "digest": map[string]any{"sha256": hex("policy")}},
			"inputAttestations":  []any{map[string]any{"digest": map[string]any{"sha256": hex("bundle")}}},
			"verificationResult": "PASSED", "verifiedLevels": []any{"SLSA_BUILD_LEVEL_UNEVALUATED", "DOSSIER_SIGNED"},
		},
	}
	read := func(s Summary) (got map[string]any) {
		if err := json.Unmarshal(s.Statement(), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff(want, read(s)); diff != "" {
		t.Errorf("the statement (-want +got):\n%s", diff)
	}
	failed := s
	failed.Verified, failed.Reference = false, ""
	predicate := read(failed)["predicate"].(map[string]any)
	if predicate["verificationResult"] != "FAILED" || !cmp.Equal(predicate["verifiedLevels"], []any{"FAILED"}) || predicate["resourceUri"] != "urn:dossier:digest:"+string(d) {
		t.Errorf("when it failed: %v", predicate)
	}

	anybody := s
	anybody.Level = ""
	if levels := read(anybody)["predicate"].(map[string]any)["verifiedLevels"]; !cmp.Equal(levels, []any{"SLSA_BUILD_LEVEL_UNEVALUATED"}) {
		t.Errorf("of an image that nobody need have signed: %v", levels)
	}

	private, public, err := GenerateKey([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePrivateKey(private, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	known, err := ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := key.SignEnvelope(s.Statement())
	if err != nil {
		t.Fatal(err)
	}
	terms := Terms{Signers: []Signer{{Name: "verifier", Key: &known}}}
	refused, err := key.SignEnvelope(failed.Statement())
	if err != nil {
		t.Fatal(err)
	}
	for _, predicate := range []string{PredicateSummary, ""} {
		q := Question{Digest: d, Predicate: predicate}
		if got := Decide(q, terms, []Evidence{{Form: FormEnvelope, Bytes: refused}}, time.Now()); got.Verified || got.Code != CodePredicate {
			t.Errorf("a summary that says FAILED verifies as %q: %v, %s", predicate, got.Verified, got.Code)
		}
	}
	for about, want := range map[dossier.Digest]bool{d: true, dossier.FromBytes([]byte("another")): false} {
		q := Question{Digest: about, Predicate: PredicateSummary}
		if got := Decide(q, terms, []Evidence{{Form: FormEnvelope, Bytes: envelope}}, time.Now()); got.Verified != want {
			t.Errorf("about %s it verifies: %v, want %v: %s", about, got.Verified, want, got.Reason)
		}
	}
}
