// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"dossier.dev/dossier"
)

// atTime is the settings of somebody who makes keys and signatures at a time.
func atTime(t time.Time) *packet.Config {
	return &packet.Config{Time: func() time.Time { return t }, Algorithm: packet.PubKeyAlgoEdDSA, V6Keys: false}
}

// newEntity makes an OpenPGP key a day before noon.
func newEntity(t testing.TB, change func(*packet.Config)) *openpgp.Entity {
	t.Helper()
	c := atTime(noon.Add(-24 * time.Hour))
	if change != nil {
		change(c)
	}
	e, err := openpgp.NewEntity("somebody", "", "a@example.com", c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// ringOf reads the public parts of keys, as a file holds them.
func ringOf(t testing.TB, entities ...*openpgp.Entity) *Keyring {
	t.Helper()
	ring, err := ParseKeyring(exported(t, entities...))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func exported(t testing.TB, entities ...*openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, e := range entities {
		if err := e.Serialize(&b); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// payloadOf is what simple signing says.
func payloadOf(kind, digest, reference string) string {
	return fmt.Sprintf(`{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":%q},"optional":{"creator":"test","timestamp":1764158400}}`, reference, digest, kind)
}

// signMessage signs a text with a primary key, packet by packet.
func signMessage(t testing.TB, e *openpgp.Entity, text string, change func(*packet.Signature)) []byte {
	t.Helper()
	return signBy(t, e.PrivateKey, text, change)
}

func signBy(t testing.TB, key *packet.PrivateKey, text string, change func(*packet.Signature)) []byte {
	t.Helper()
	id := key.KeyId
	s := &packet.Signature{Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: key.PubKeyAlgo, Hash: crypto.SHA512, CreationTime: noon.Add(-time.Hour), IssuerKeyId: &id, IssuerFingerprint: key.Fingerprint}
	if change != nil {
		change(s)
	}
	var b bytes.Buffer
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must((&packet.OnePassSignature{Version: 3, SigType: s.SigType, Hash: s.Hash, PubKeyAlgo: s.PubKeyAlgo, KeyId: id, IsLast: true}).Serialize(&b))
	literal, err := packet.SerializeLiteral(noClose{&b}, true, "", 0)
	must(err)
	_, err = literal.Write([]byte(text))
	must(err)
	must(literal.Close())
	h, err := s.PrepareSign(nil)
	must(err)
	h.Write([]byte(text))
	must(s.Sign(h, key, nil))
	must(s.Serialize(&b))
	return b.Bytes()
}

type noClose struct{ *bytes.Buffer }

// Close implements io.Closer.
func (noClose) Close() error { return nil }

// pgpAttacks are messages that must be refused for one reason, or taken.
func pgpAttacks(t testing.TB) []attack {
	const image = "registry.example/shop/api:1"
	digest := dossier.FromBytes(artifact)
	asked := Question{Digest: digest, Reference: image, Predicate: SignatureOnly}
	good, other := newEntity(t, nil), newEntity(t, nil)
	text := payloadOf(typeSimple, string(digest), image)
	message := signMessage(t, good, text, nil)
	signer := func(entities ...*openpgp.Entity) Signer {
		return Signer{Name: "release", Keyring: ringOf(t, entities...)}
	}
	in := func(q Question, terms Terms, messages ...[]byte) func(verifier) Decision {
		var evidence []Evidence
		for _, m := range messages {
			evidence = append(evidence, Evidence{Form: FormPGP, Bytes: m})
		}
		return func(v verifier) Decision { return v.decide(q, terms, evidence, noon) }
	}
	by := func(entities ...*openpgp.Entity) Terms { return Terms{Signers: []Signer{signer(entities...)}} }
	matching := func(m Match) Terms { terms := by(good); terms.Match = m; return terms }
	called := func(reference string) Question { q := asked; q.Reference = reference; return q }

	revoked := newEntity(t, nil)
	old := signMessage(t, revoked, text, nil)
	if err := revoked.Revoke(packet.KeySuperseded, "a newer one", atTime(noon)); err != nil {
		t.Fatal(err)
	}
	withSubkey := newEntity(t, nil)
	if err := withSubkey.AddSigningSubkey(atTime(noon.Add(-24 * time.Hour))); err != nil {
		t.Fatal(err)
	}
	sub := withSubkey.Subkeys[len(withSubkey.Subkeys)-1]
	bySubkey := signBy(t, sub.PrivateKey, text, nil)
	lostSubkey := newEntity(t, nil)
	if err := lostSubkey.AddSigningSubkey(atTime(noon.Add(-24 * time.Hour))); err != nil {
		t.Fatal(err)
	}
	lost := &lostSubkey.Subkeys[len(lostSubkey.Subkeys)-1]
	byLost := signBy(t, lost.PrivateKey, text, nil)
	if err := lost.Revoke(packet.KeyCompromised, "stolen", atTime(noon)); err != nil {
		t.Fatal(err)
	}
	expired := newEntity(t, func(c *packet.Config) { c.KeyLifetimeSecs = 24 * 60 * 60 })
	ends := newEntity(t, func(c *packet.Config) { c.KeyLifetimeSecs = 24*60*60 + 1 })
	late := newEntity(t, func(c *packet.Config) { c.Time = func() time.Time { return noon.Add(time.Hour) } })
	weak := newEntity(t, func(c *packet.Config) { c.Algorithm, c.RSABits = packet.PubKeyAlgoRSA, 1024 })
	encrypts := newEntity(t, nil)
	for _, id := range encrypts.Identities {
		for _, s := range id.SelfCertifications {
			s.Packet.FlagSign = false
			if err := s.Packet.SignUserId(id.UserId.Id, encrypts.PrimaryKey, encrypts.PrivateKey, atTime(noon.Add(-24*time.Hour))); err != nil {
				t.Fatal(err)
			}
		}
	}
	lifetime := uint32(60)
	compressed := func() []byte {
		var b bytes.Buffer
		w, err := openpgp.SignWithParams(noClose{&b}, []*openpgp.Entity{good}, &openpgp.SignParams{Config: func() *packet.Config {
			c := atTime(noon.Add(-time.Hour))
			c.DefaultCompressionAlgo = packet.CompressionZLIB
			return c
		}()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	keyed := newKey(t)
	return []attack{
		{"an OpenPGP message by a key of the ring", in(asked, by(other, good), message), ""},
		{"an OpenPGP message that is compressed", in(asked, by(good), compressed()), ""},
		{"an OpenPGP subkey", in(asked, by(withSubkey), bySubkey), ""},
		{"an OpenPGP key that ends in a second", in(asked, by(ends), signMessage(t, ends, text, nil)), ""},
		{"an image by digest, signed by tag", in(called("registry.example/shop/api@"+string(digest)), by(good), message), ""},
		{"another tag of the repository, which is enough", in(called("registry.example/shop/api:2"), matching(Match{Type: MatchRepository}), message), ""},
		{"a mirror", in(called("mirror.example/x/api:1"), matching(Match{Type: MatchRemap, Prefix: "mirror.example/x", SignedPrefix: "registry.example/shop"}), message), ""},
		{"an exact reference", in(called("elsewhere.example/a:9"), matching(Match{Type: MatchExactReference, Reference: image}), message), ""},
		{"an exact repository", in(called("elsewhere.example/a:9"), matching(Match{Type: MatchExactRepository, Repository: "registry.example/shop/api"}), message), ""},
		{"two OpenPGP keys of two", in(asked, Terms{Signers: []Signer{signer(good, other)}, Need: 2}, message, signMessage(t, other, text, nil)), ""},

		{"no OpenPGP message", in(asked, by(good), []byte(text)), CodeMalformed},
		{"an OpenPGP message cut short", in(asked, by(good), message[:len(message)-9]), CodeMalformed},
		{"two OpenPGP messages in one", in(asked, by(good), append(bytes.Clone(message), message...)), CodeNoSignature},
		{"an OpenPGP message that is no JSON", in(asked, by(good), signMessage(t, good, "text", nil)), CodeMalformed},
		{"something critical that nobody knows", in(asked, by(good), signMessage(t, good, strings.Replace(text, `{"critical":{`, `{"critical":{"more":1,`, 1), nil)), CodeMalformed},
		{"a payload without end", in(asked, by(good), signMessage(t, good, text+strings.Repeat(" ", maxPayload), nil)), CodeTooMuch},
		{"an OpenPGP signature of text, not of bytes", in(asked, by(good), signMessage(t, good, text, func(s *packet.Signature) { s.SigType = packet.SigTypeText })), CodeNoSignature},
		{"an OpenPGP message where a key signs otherwise", in(asked, Terms{Signers: []Signer{signerOf(t, "key", keyed)}}, message), CodeSignerKind},
		{"a bundle where OpenPGP signs", func(v verifier) Decision {
			return v.decide(About(artifact), by(good), []Evidence{{Form: FormBundle, Bytes: []byte(messageBundle(t, keyed, artifact))}}, noon)
		}, CodeSignerKind},
		{"an OpenPGP key of somebody else", in(asked, by(other), message), CodeKeyUnknown},
		{"a signature that names another's key", in(asked, by(other), bytes.ReplaceAll(message, good.PrimaryKey.Fingerprint, other.PrimaryKey.Fingerprint)), CodeSignature},
		{"a weak OpenPGP key", in(asked, by(weak), signMessage(t, weak, text, nil)), CodeWeakKey},
		{"a weak hash", in(asked, by(good), signMessage(t, good, text, func(s *packet.Signature) { s.Hash = crypto.SHA224 })), CodeWeakHash},
		{"another image in the payload", in(asked, by(good), signMessage(t, good, payloadOf(typeSimple, string(dossier.FromBytes(nil)), image), nil)), CodeArtifact},
		{"another kind of payload", in(asked, by(good), signMessage(t, good, payloadOf("cosign container image signature", string(digest), image), nil)), CodeArtifact},
		{"a text that was changed", in(asked, by(good), bytes.Replace(message, []byte(`"creator":"test"`), []byte(`"creator":"tess"`), 1)), CodeSignature},
		{"a statement where OpenPGP signed the image", in(Question{Digest: digest, Reference: image, Predicate: "https://spdx.dev/Document"}, by(good), message), CodePredicate},
		{"signed as another tag", in(called("registry.example/shop/api:2"), by(good), message), CodeReference},
		{"signed as another repository", in(called("registry.example/shop/web:1"), by(good), message), CodeReference},
		{"signed as another registry", in(called("registry.example.evil.tld/shop/api:1"), by(good), message), CodeReference},
		{"signed without a tag", in(asked, by(good), signMessage(t, good, payloadOf(typeSimple, string(digest), "registry.example/shop/api"), nil)), CodeReference},
		{"by digest where the tag must match", in(called("registry.example/shop/api@"+string(digest)), matching(Match{Type: MatchExact}), message), CodeReference},
		{"a name that begins like the mirror", in(called("mirror.example/xy/api:1"), matching(Match{Type: MatchRemap, Prefix: "mirror.example/x", SignedPrefix: "registry.example/shop"}), message), CodeReference},
		{"a key that is not for signing", in(asked, by(encrypts), signMessage(t, encrypts, text, nil)), CodeKeyUsage},
		{"a revoked OpenPGP key, which signed before", in(asked, by(revoked), old), CodeKeyRevoked},
		{"a revoked OpenPGP subkey", in(asked, by(lostSubkey), byLost), CodeKeyRevoked},
		{"an OpenPGP key that has just expired", in(asked, by(expired), signMessage(t, expired, text, nil)), CodeKeyExpired},
		{"a signature that has expired", in(asked, by(good), signMessage(t, good, text, func(s *packet.Signature) { s.SigLifetimeSecs = &lifetime })), CodeSignatureExpired},
		{"an OpenPGP key of tomorrow", in(asked, by(late), signMessage(t, late, text, nil)), CodeKeyTime},
		{"a signature older than its key", in(asked, by(good), signMessage(t, good, text, func(s *packet.Signature) { s.CreationTime = noon.Add(-48 * time.Hour) })), CodeKeyTime},
		{"one OpenPGP key counted twice, by itself and by its subkey", in(asked, Terms{Signers: []Signer{signer(withSubkey), signer(withSubkey)}, Need: 2}, bySubkey, signMessage(t, withSubkey, text, nil)), CodeThreshold},
	}
}

// TestPGPAttacks does so with OpenPGP.
func TestPGPAttacks(t *testing.T) { runAttacks(t, pgpAttacks(t)) }

// TestPGPUntil says until when a decision holds: while enough keys have not expired.
func TestPGPUntil(t *testing.T) {
	short := newEntity(t, func(c *packet.Config) { c.KeyLifetimeSecs = 25 * 60 * 60 })
	long := newEntity(t, func(c *packet.Config) { c.KeyLifetimeSecs = 48 * 60 * 60 })
	digest := dossier.FromBytes(artifact)
	text := payloadOf(typeSimple, string(digest), "a.example/a:1")
	evidence := []Evidence{{Form: FormPGP, Bytes: signMessage(t, short, text, nil)}, {Form: FormPGP, Bytes: signMessage(t, long, text, nil)}}
	signers := []Signer{{Name: "both", Keyring: ringOf(t, short, long)}}
	for need, want := range map[int]time.Time{1: noon.Add(24 * time.Hour), 2: noon.Add(time.Hour)} {
		if d := Decide(Question{Digest: digest, Reference: "a.example/a:1"}, Terms{Signers: signers, Need: need}, evidence, noon); !d.Verified || !d.Until.Equal(want) {
			t.Errorf("%d keys: %v until %s, want %s (%s)", need, d.Verified, d.Until, want, d.Reason)
		}
	}
}

// TestKeyringFiles reads keys as files hold them.
func TestKeyringFiles(t *testing.T) {
	a, b := newEntity(t, nil), newEntity(t, nil)
	var armored bytes.Buffer
	for _, e := range []*openpgp.Entity{a, b} { // two blocks, one after the other
		w, err := armor.Encode(&armored, openpgp.PublicKeyType, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Serialize(w); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		armored.WriteString("\n")
	}
	for name, file := range map[string][]byte{"armored": armored.Bytes(), "binary": exported(t, a, b)} {
		if !isKeyring(file) {
			t.Errorf("%s: not recognised", name)
		}
		ring, err := ParseKeyring(file)
		if err != nil || len(ring.ids) != 2 {
			t.Errorf("%s: %v %v", name, ring, err)
		}
	}
	var private bytes.Buffer
	if err := a.SerializePrivate(&private, nil); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{"private": private.Bytes(), "nothing": nil, "noise": []byte("\x99noise"), "armor of nothing": []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n")} {
		if ring, err := ParseKeyring(file); err == nil {
			t.Errorf("%s: %v", name, ring)
		}
	}
	if isKeyring([]byte("-----BEGIN PUBLIC KEY-----")) {
		t.Error("PEM is taken for OpenPGP")
	}
}

func FuzzPGP(f *testing.F) {
	e := newEntity(f, nil)
	f.Add(signMessage(f, e, payloadOf(typeSimple, "sha256:00", "a.example/a:1"), nil))
	terms := Terms{Signers: []Signer{{Name: "another", Keyring: ringOf(f, newEntity(f, nil))}}}
	f.Fuzz(func(t *testing.T, b []byte) {
		if d := Decide(About(artifact), terms, []Evidence{{Form: FormPGP, Bytes: b}}, noon); d.Verified || d.Code == "" {
			t.Errorf("%+v", d)
		}
	})
}

func FuzzKeyring(f *testing.F) {
	f.Add(exported(f, newEntity(f, nil)))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = ParseKeyring(b) })
}
