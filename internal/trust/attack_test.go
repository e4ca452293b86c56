// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
)

// attack is evidence that must be refused for one reason, or taken.
type attack struct {
	name   string
	decide func(verifier) Decision
	want   Code // empty: it verifies
}

var (
	artifact = []byte("an artifact")
	noon     = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signerOf(t testing.TB, name string, k crypto.Signer) Signer {
	t.Helper()
	key, err := NewKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return Signer{Name: name, Key: &key}
}

// seal signs as the default of each kind of key is.
func seal(t testing.TB, k crypto.Signer, message []byte) []byte {
	t.Helper()
	h, digest := crypto.SHA256, sum(crypto.SHA256, message)
	if _, ok := k.(ed25519.PrivateKey); ok {
		h, digest = 0, message
	}
	sig, err := k.Sign(rand.Reader, digest, h)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// messageBundle is a bundle over bytes, by a key.
func messageBundle(t testing.TB, k crypto.Signer, message []byte) string {
	t.Helper()
	return fmt.Sprintf(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"x"}},
"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":%q},"signature":%q}}`, b64(sum(crypto.SHA256, message)), b64(seal(t, k, message)))
}

// statementOf is a statement about a digest.
func statementOf(kind, digest, predicateType, predicate string) []byte {
	return fmt.Appendf(nil, `{"_type":%q,"subject":[{"name":"a","digest":{"sha256":%q}}],"predicateType":%q,"predicate":%s}`, kind, digest, predicateType, predicate)
}

// envelopeBundle is a bundle of an envelope, by a key.
func envelopeBundle(t testing.TB, k crypto.Signer, payloadType string, payload []byte) string {
	t.Helper()
	e := envelope{payloadType: payloadType, payload: payload}
	return fmt.Sprintf(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{}},
"dsseEnvelope":{"payload":%q,"payloadType":%q,"signatures":[{"sig":%q}]}}`, b64(payload), payloadType, b64(seal(t, k, e.pae())))
}

// attacks with keys alone.
func keyAttacks(t testing.TB) []attack {
	k, other := newKey(t), newKey(t)
	good := signerOf(t, "good", k)
	about := About(artifact)
	subject := dossier.FromBytes(artifact).Hex()
	const slsa = "https://slsa.dev/provenance/v1"
	in := func(q Question, terms Terms, bundles ...string) func(verifier) Decision {
		var evidence []Evidence
		for _, b := range bundles {
			evidence = append(evidence, Evidence{Form: FormBundle, Bytes: []byte(b)})
		}
		return func(v verifier) Decision { return v.decide(q, terms, evidence, noon) }
	}
	by := func(signers ...Signer) Terms { return Terms{Signers: signers} }
	said := func(predicate string) Question { q := about; q.Predicate = predicate; return q }
	provenance := func(builder string) string {
		return envelopeBundle(t, k, payloadInToto, statementOf(statementV1, subject, slsa, `{"runDetails":{"builder":{"id":"`+builder+`"}}}`))
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	bounded := good
	bounded.Key = &Key{Public: k.Public(), ID: good.Key.ID, Until: noon}
	builds := good
	builds.Builders = []*regexp.Regexp{regexp.MustCompile(`\A(?:https://build\.example/.*)\z`)}
	message := messageBundle(t, k, artifact)
	plain := statementOf(statementV1, subject, slsa, "{}")
	twoSigs := strings.Replace(envelopeBundle(t, k, payloadInToto, plain), `"signatures":[`, `"signatures":[{"sig":"AAAA"},`, 1)
	deep := strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	fired := good
	fired.Revoked = "lost"
	again := good
	again.Name = "the same key under another name"
	return []attack{
		{"a signature by a key that is trusted", in(about, by(good), message), ""},
		{"the digest is enough", in(Question{Digest: about.Digest}, by(good), message), ""},
		{"a statement v1", in(about, by(good), envelopeBundle(t, k, payloadInToto, plain)), ""},
		{"a statement v0.1", in(about, by(good), envelopeBundle(t, k, payloadInToto, statementOf(statementV01, subject, slsa, "{}"))), ""},
		{"the builder that the signer may speak for", in(about, by(builds), provenance("https://build.example/1")), ""},
		{"two keys of two", in(about, Terms{Signers: []Signer{good, signerOf(t, "other", other)}, Need: 2}, message, messageBundle(t, other, artifact)), ""},

		{"nothing", in(about, by(good)), CodeNoEvidence},
		{"no JSON", in(about, by(good), `{"mediaType":`), CodeMalformed},
		{"nested without end", in(about, by(good), deep), CodeMalformed},
		{"a version of tomorrow", in(about, by(good), strings.Replace(message, "v0.3", "v0.9", 1)), CodeVersion},
		{"too large", in(about, by(good), message+strings.Repeat(" ", MaxEvidence)), CodeTooMuch},
		{"no signature", in(about, by(good), strings.Replace(message, `"signature":"`, `"signature":"","x":"`, 1)), CodeNoSignature},
		{"two signatures in an envelope", in(about, by(good), twoSigs), CodeNoSignature},
		{"no key and no certificate", in(about, by(good), strings.Replace(message, `{"publicKey":{"hint":"x"}}`, `{}`, 1)), CodeNoMaterial},
		{"a key where an identity is wanted", in(about, by(identitySigner(t)), message), CodeSignerKind},
		{"a signer without key and identity", in(about, by(Signer{Name: "nobody"}), message), CodeSignerKind},
		{"a weak key", in(about, by(Signer{Name: "weak", Key: &Key{Public: weak.Public()}}), messageBundle(t, weak, artifact)), CodeWeakKey},
		{"a signer whom the policy revokes", in(about, by(fired), message), CodeSignerRevoked},
		{"a signer whom the policy revokes, by another name", in(about, by(again, fired), message), CodeSignerRevoked},
		{"another artifact", in(About([]byte("another")), by(good), message), CodeArtifact},
		{"another key", in(about, by(signerOf(t, "other", other)), message), CodeSignature},
		{"another payload type", in(about, by(good), envelopeBundle(t, k, "application/json", plain)), CodePayload},
		{"no statement", in(about, by(good), envelopeBundle(t, k, payloadInToto, []byte(`{"subject":[]}`))), CodePayload},
		{"a statement of another subject", in(about, by(good), envelopeBundle(t, k, payloadInToto, statementOf(statementV1, dossier.FromBytes(nil).Hex(), slsa, "{}"))), CodeSubject},
		{"a statement without subject", in(about, by(good), envelopeBundle(t, k, payloadInToto, []byte(`{"_type":"`+statementV1+`","predicateType":"x"}`))), CodeSubject},
		{"another predicate", in(said("https://spdx.dev/Document"), by(good), envelopeBundle(t, k, payloadInToto, plain)), CodePredicate},
		{"a signature where a statement is wanted", in(said(slsa), by(good), message), CodePredicate},
		{"a statement where a signature is wanted", in(said(SignatureOnly), by(good), envelopeBundle(t, k, payloadInToto, plain)), CodePredicate},
		{"a builder that the signer may not speak for", in(about, by(builds), provenance("https://evil.example/?https://build.example/")), CodeBuilder},
		{"a builder in the place of another version", in(about, by(builds), envelopeBundle(t, k, payloadInToto, statementOf(statementV1, subject, "https://slsa.dev/provenance/v0.2", `{"builder":{"id":"https://evil.example/"},"runDetails":{"builder":{"id":"https://build.example/1"}}}`))), CodeBuilder},
		{"a builder in the place of an older version", in(about, by(builds), envelopeBundle(t, k, payloadInToto, statementOf(statementV1, subject, slsa, `{"builder":{"id":"https://build.example/1"}}`))), CodeBuilder},
		{"a key with an end and no time", in(about, by(bounded), message), CodeNoTime},
		{"a log is needed and there is none", in(about, Terms{Signers: []Signer{good}, Logs: 1}, message), CodeLogUnknown},
		{"one key under two names", in(about, Terms{Signers: []Signer{good, again}, Need: 2}, message, messageBundle(t, k, artifact)), CodeThreshold},
	}
}

func identitySigner(t testing.TB) Signer {
	t.Helper()
	id, err := NewIdentity("https://issuer.example", "", "", "a@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return Signer{Name: "somebody", Identity: id}
}

// edit changes a JSON document at a path of keys and indexes.
func edit(t testing.TB, doc []byte, change func(map[string]any)) []byte {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	change(m)
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// entryOf returns the first entry of a log in a bundle.
func entryOf(m map[string]any) map[string]any {
	return m["verificationMaterial"].(map[string]any)["tlogEntries"].([]any)[0].(map[string]any)
}

// sigstoreAttacks change bundles that real people signed.
func sigstoreAttacks(t testing.TB) []attack {
	cases := map[string]conformanceCase{}
	var out []attack
	for _, c := range conformanceCases(t) {
		cases[c.name] = c
		terms := c.terms(t)
		out = append(out, attack{c.name, func(v verifier) Decision { return c.decide(v, About(c.content), terms) }, conformanceReasons[c.name]})
	}
	add := func(name, from string, want Code, change func(*conformanceCase, *Terms)) {
		c := cases[from]
		terms := c.terms(t)
		change(&c, &terms)
		if terms.Root != nil {
			var err error
			if terms.Root, err = ParseRoot(c.rootJSON); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, attack{name, func(v verifier) Decision { return c.decide(v, About(c.content), terms) }, want})
	}
	const v1, v2, keyed = "happy-path-v0.1", "rekor2-timestamp-without-embedded-cert", "managed-key-and-trusted-root"
	bundle := func(change func(map[string]any)) func(*conformanceCase, *Terms) {
		return func(c *conformanceCase, _ *Terms) { c.bundle = edit(t, c.bundle, change) }
	}
	trusted := func(change func(map[string]any)) func(*conformanceCase, *Terms) {
		return func(c *conformanceCase, _ *Terms) { c.rootJSON = edit(t, c.rootJSON, change) }
	}
	identity := func(issuer, issuerPattern, subject, subjectPattern string) func(*conformanceCase, *Terms) {
		return func(_ *conformanceCase, terms *Terms) {
			id, err := NewIdentity(issuer, issuerPattern, subject, subjectPattern)
			if err != nil {
				t.Fatal(err)
			}
			terms.Signers = []Signer{{Name: "somebody", Identity: id}}
		}
	}
	add("another identity", v1, CodeIdentity, identity(cases[v1].issuer, "", "https://github.com/evil/evil", ""))
	add("another issuer", v1, CodeIdentity, identity("https://issuer.example", "", cases[v1].identity, ""))
	add("a pattern that matches a part of the identity", v1, CodeIdentity, identity(cases[v1].issuer, "", "", "https://github.com/sigstore-conformance"))
	add("a pattern that matches a part of the issuer", v1, CodeIdentity, identity("", "githubusercontent", "", ".*"))
	add("a pattern that matches the whole", v1, "", identity("", "https://token[.].*[.]com", "", "https://github[.]com/sigstore-conformance/.*"))
	add("a promise that the log did not make", v1, CodeLogPromise, bundle(func(m map[string]any) { entryOf(m)["integratedTime"] = "1689177395" }))
	add("the same entry twice", v1, CodeLogTwice, bundle(func(m map[string]any) {
		vm := m["verificationMaterial"].(map[string]any)
		vm["tlogEntries"] = append(vm["tlogEntries"].([]any), vm["tlogEntries"].([]any)[0])
	}))
	add("no entry where the root has logs", v1, CodeLogUnknown, bundle(func(m map[string]any) {
		m["verificationMaterial"].(map[string]any)["tlogEntries"] = []any{}
	}))
	add("the entry of a log that is not trusted", v1, CodeLogUnknown, trusted(func(m map[string]any) {
		for _, l := range m["tlogs"].([]any) {
			l.(map[string]any)["logId"] = map[string]any{"keyId": b64(sum(crypto.SHA256, []byte("foreign")))}
		}
	}))
	add("one log counted twice", v1, CodeLogUnknown, func(_ *conformanceCase, terms *Terms) { terms.Logs = 2 })
	add("nobody says when", v1, CodeNoTime, func(c *conformanceCase, terms *Terms) {
		c.bundle = edit(t, c.bundle, func(m map[string]any) { m["verificationMaterial"].(map[string]any)["tlogEntries"] = []any{} })
		terms.Logs = -1
	})
	add("no authority for the certificate", v1, CodeCertificate, trusted(func(m map[string]any) { m["certificateAuthorities"] = []any{} }))
	add("an authority that had ended", v1, CodeCertificate, trusted(func(m map[string]any) {
		for _, a := range m["certificateAuthorities"].([]any) {
			a.(map[string]any)["validFor"] = map[string]any{"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
		}
	}))
	add("a log that had ended", v1, CodeLogTime, trusted(func(m map[string]any) {
		for _, l := range m["tlogs"].([]any) {
			l.(map[string]any)["publicKey"].(map[string]any)["validFor"] = map[string]any{"start": "2020-01-01T00:00:00Z", "end": "2023-07-12T15:56:35Z"}
		}
	}))
	add("a log of Rekor v2 that had ended", v2, CodeLogTime, trusted(func(m map[string]any) {
		for _, l := range m["tlogs"].([]any) {
			l.(map[string]any)["publicKey"].(map[string]any)["validFor"] = map[string]any{"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
		}
	}))
	add("a certificate without a root", v1, CodeNoTime, func(_ *conformanceCase, terms *Terms) { terms.Root = nil })
	add("a key before its time", keyed, CodeKeyTime, func(_ *conformanceCase, terms *Terms) { terms.Signers[0].Key.From = noon })
	add("a key after its time", keyed, CodeKeyTime, func(_ *conformanceCase, terms *Terms) { terms.Signers[0].Key.Until = time.Unix(1, 0) })
	add("a key in its time", keyed, "", func(_ *conformanceCase, terms *Terms) { terms.Signers[0].Key.Until = noon })
	add("a certificate where a key is wanted", v1, CodeSignerKind, func(_ *conformanceCase, terms *Terms) {
		terms.Signers = []Signer{signerOf(t, "key", newKey(t))}
	})
	return out
}

// TestAttacks runs what must be refused, each for its reason, with keys alone.
func TestAttacks(t *testing.T) { runAttacks(t, keyAttacks(t)) }

// TestSigstoreAttacks does so with certificates, logs and timestamps.
func TestSigstoreAttacks(t *testing.T) { runAttacks(t, sigstoreAttacks(t)) }

func runAttacks(t *testing.T, attacks []attack) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			if d := a.decide(verifier{}); d.Code != a.want || d.Verified != (a.want == "") {
				t.Errorf("got %v %q (%s), want %q", d.Verified, d.Code, d.Reason, a.want)
			}
		})
	}
}

// TestEachCheckCounts drops one check at a time: what is refused for the reason of that
// check must then come out otherwise, or nobody would miss it.
func TestEachCheckCounts(t *testing.T) {
	attacks := slices.Concat(keyAttacks(t), sigstoreAttacks(t), pgpAttacks(t), notaryAttacks(t), notationAttacks(t), pinAttacks(t))
	for _, c := range checks() {
		missed, through := 0, 0
		for _, a := range attacks {
			if a.want == "" {
				continue
			}
			if d := a.decide(verifier{dropped: c.name}); d.Code != a.want {
				missed++
				if d.Verified {
					through++
				}
			}
		}
		if missed == 0 {
			t.Errorf("without the check %q all attacks are refused as before", c.name)
		}
		t.Logf("without %-15s %2d attacks come out otherwise, %2d get through", c.name, missed, through)
	}
}

// TestKinds verifies with each kind of key, over bytes and over statements.
func TestKinds(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]crypto.Signer{"Ed25519": ed, "P-256": newKey(t)}
	for name, curve := range map[string]elliptic.Curve{"P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		if keys[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	if keys["RSA"], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(artifact)
	for name, k := range keys {
		terms := Terms{Signers: []Signer{signerOf(t, name, k)}}
		for _, b := range []string{messageBundle(t, k, artifact), envelopeBundle(t, k, payloadInToto, statementOf(statementV1, fmt.Sprintf("%x", digest), "https://example.org/p", "{}"))} {
			if d := Decide(About(artifact), terms, []Evidence{{Form: FormBundle, Bytes: []byte(b)}}, noon); !d.Verified {
				t.Errorf("%s: %s", name, d.Reason)
			}
			if d := Decide(About([]byte("other")), terms, []Evidence{{Form: FormBundle, Bytes: []byte(b)}}, noon); d.Verified {
				t.Errorf("%s: verified for other bytes", name)
			}
		}
	}
}

func FuzzDecide(f *testing.F) {
	k := newKey(f)
	f.Add([]byte(messageBundle(f, k, artifact)))
	f.Add([]byte(envelopeBundle(f, k, payloadInToto, statementOf(statementV1, "00", "x", "{}"))))
	terms := Terms{Signers: []Signer{signerOf(f, "another", newKey(f))}}
	f.Fuzz(func(t *testing.T, b []byte) {
		if d := Decide(About(artifact), terms, []Evidence{{Form: FormBundle, Bytes: b}}, noon); d.Verified || d.Code == "" {
			t.Errorf("%+v", d)
		}
	})
}
