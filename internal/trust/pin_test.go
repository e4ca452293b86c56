// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"dossier.dev/dossier"
)

const pinScope = "registry.example/shop/api"

// pinnedTo is a pin of a signer, made before noon.
func pinnedTo(signer string) *dossier.SignerPin {
	return &dossier.SignerPin{Scope: pinScope, Signer: signer, Image: dossier.FromBytes([]byte("first")), At: noon.Add(-time.Hour), Trust: dossier.FromBytes([]byte("trust"))}
}

func pgpName(e *openpgp.Entity) string {
	k := &Keyring{}
	k.add(e)
	return k.ids[0]
}

// pinAttacks are signers of first use that must be refused for one reason, or taken.
func pinAttacks(t testing.TB) []attack {
	const image = pinScope + ":1"
	digest := dossier.FromBytes(artifact)
	asked := Question{Digest: digest, Reference: image, Predicate: SignatureOnly}
	a, b, gone, other := newEntity(t, nil), newEntity(t, nil), newEntity(t, nil), newEntity(t, nil)
	expired := newEntity(t, func(c *packet.Config) { c.KeyLifetimeSecs = 24 * 60 * 60 })
	text := payloadOf(typeSimple, string(digest), image)
	by := func(e *openpgp.Entity) Evidence {
		return Evidence{Form: FormPGP, Bytes: signMessage(t, e, text, nil)}
	}
	lost := by(gone)
	if err := gone.Revoke(packet.KeyCompromised, "stolen", atTime(noon)); err != nil {
		t.Fatal(err)
	}
	team := Signer{Name: "team", Keyring: ringOf(t, a, b, gone, expired), FirstUse: true}
	named := Signer{Name: "named", Keyring: ringOf(t, a)}
	namedOther := Signer{Name: "other", Keyring: ringOf(t, other)}
	fired := Signer{Name: "fired", Keyring: ringOf(t, a), Revoked: "left"}
	decide := func(terms Terms, pin *dossier.SignerPin, mayPin bool, evidence ...Evidence) func(verifier) Decision {
		terms.Scope, terms.Pin, terms.MayPin = pinScope, pin, mayPin
		return func(v verifier) Decision { return v.decide(asked, terms, evidence, noon) }
	}
	of := func(need int, signers ...Signer) Terms { return Terms{Signers: signers, Need: need} }
	out := []attack{
		{"pin: the first", decide(of(1, team), nil, true, by(a)), ""},
		{"pin: the first, by two signatures", decide(of(1, team), nil, true, by(a), by(a)), ""},
		{"pin: the one that is pinned", decide(of(1, team), pinnedTo(pgpName(a)), false, by(a)), ""},
		{"pin: the one that is pinned beside another", decide(of(1, team), pinnedTo(pgpName(a)), false, by(b), by(a)), ""},
		{"pin: who is named signs whoever is pinned", decide(of(1, team, named), pinnedTo(pgpName(b)), false, by(a)), ""},
		{"pin: the first beside who is named", decide(of(2, team, namedOther), nil, true, by(a), by(other)), ""},

		{"pin: another", decide(of(1, team), pinnedTo(pgpName(a)), true, by(b)), CodeOtherSigner},
		{"pin: nobody signed", decide(of(1, team), nil, true), CodeNoEvidence},
		{"pin: an answer pins nobody", decide(of(1, team), nil, false, by(a)), CodeNotPinned},
		{"pin: two at once", decide(of(1, team), nil, true, by(a), by(b)), CodeManyFirst},
		{"pin: a key that is none of theirs", decide(of(1, team), nil, true, by(other)), CodeKeyUnknown},
		{"pin: a key that is revoked", decide(of(1, team), nil, true, lost), CodeKeyRevoked},
		{"pin: a key that expired", decide(of(1, team), nil, true, by(expired)), CodeKeyExpired},
		{"pin: the pinned key is revoked", decide(of(1, team), pinnedTo(pgpName(gone)), true, lost), CodeKeyRevoked},
		{"pin: the pinned key expired", decide(of(1, team), pinnedTo(pgpName(expired)), true, by(expired)), CodeKeyExpired},
		{"pin: the pinned key is revoked, and another signs", decide(of(1, team), pinnedTo(pgpName(gone)), true, lost, by(b)), CodeOtherSigner},
		{"pin: the policy revokes who is pinned", decide(of(1, team, fired), pinnedTo(pgpName(a)), true, by(a)), CodeSignerRevoked},
		{"pin: the policy revokes who would be first", decide(of(1, team, fired), nil, true, by(a)), CodeSignerRevoked},
		{"pin: one key does not count twice", decide(of(2, team, named), pinnedTo(pgpName(a)), false, by(a), by(a)), CodeThreshold},
		{"pin: nor the first beside itself under a name", decide(of(2, team, named), nil, true, by(a), by(a)), CodeThreshold},
		{"pin: the pinned one twice", decide(of(2, team, namedOther), pinnedTo(pgpName(a)), false, by(a), by(a)), CodeThreshold},
		{"pin: the first, and too few others", decide(of(2, team, namedOther), nil, true, by(a)), CodeNotPinned},
		{"pin: no repository", func(v verifier) Decision {
			terms := of(1, team)
			terms.MayPin = true
			return v.decide(asked, terms, []Evidence{by(a)}, noon)
		}, CodeNotPinned},
	}
	return append(out, notaryPinAttacks(t, asked)...)
}

// notaryPinAttacks do so with certificates of the Notary Project.
func notaryPinAttacks(t testing.TB, asked Question) []attack {
	root := newAuthority(t, "shop")
	name := func(cn string) pkix.Name {
		return pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"shop"}, CommonName: cn}
	}
	n, err := newNotary(notaryFiles{certificates: [][]byte{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw})}, subjects: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	terms := Terms{Signers: []Signer{{Name: "shop", Notary: n, FirstUse: true}}, Scope: pinScope, MayPin: true}
	sign := func(cn string) Evidence {
		return root.leaf(t, name(cn), noon.Add(24*time.Hour)).notation(t, FormJWS, root, asked.Digest, nil)
	}
	decide := func(pin *dossier.SignerPin, evidence ...Evidence) func(verifier) Decision {
		terms := terms
		terms.Pin = pin
		return func(v verifier) Decision { return v.decide(asked, terms, evidence, noon) }
	}
	release := pinnedTo(name("release").String() + ", by " + root.cert.Subject.String())
	return []attack{
		{"pin: the first by notation", decide(nil, sign("release")), ""},
		{"pin: a new certificate of the one that is pinned", decide(release, sign("release")), ""},
		{"pin: another certificate of the authority", decide(release, sign("intern")), CodeOtherSigner},
	}
}

// TestPinAttacks refuses whoever is not pinned, for the reason that fits.
func TestPinAttacks(t *testing.T) { runAttacks(t, pinAttacks(t)) }

// TestPinIdentity pins the identity of a certificate, not the expression that it matched.
func TestPinIdentity(t *testing.T) {
	for _, c := range conformanceCases(t) {
		if c.name != "happy-path-v0.1" {
			continue
		}
		terms := c.terms(t)
		id, err := NewIdentity("", "https://token[.].*[.]com", "", ".*")
		if err != nil {
			t.Fatal(err)
		}
		terms.Signers = []Signer{{Name: "anybody", Identity: id, FirstUse: true}}
		terms.Scope, terms.MayPin = pinScope, true
		d := c.decide(verifier{}, About(c.content), terms)
		if want := c.issuer + " " + c.identity; !d.Verified || d.Pin == nil || !d.Pin.Made || d.Pin.Signer != want {
			t.Fatalf("pinned: %+v, want %q (%s)", d.Pin, want, d.Reason)
		}
		terms.Pin = pinnedTo(d.Pin.Signer)
		if d := c.decide(verifier{}, About(c.content), terms); !d.Verified || d.Pin == nil || d.Pin.Made {
			t.Errorf("who is pinned: %v, %+v", d.Reason, d.Pin)
		}
		terms.Pin = pinnedTo(c.issuer + " https://github.com/another")
		if d := c.decide(verifier{}, About(c.content), terms); d.Code != CodeOtherSigner {
			t.Errorf("another: %q", d.Code)
		}
		terms.Pin, terms.Root = nil, nil
		if d := c.decide(verifier{}, About(c.content), terms); d.Verified || d.Pin != nil {
			t.Errorf("without a trusted root: %+v", d.Pin)
		}
		return
	}
	t.Fatal("there is no such case")
}

// TestPinIsMade pins by a policy what a decision says, and the decision can be made again.
func TestPinIsMade(t *testing.T) {
	a, b := newEntity(t, nil), newEntity(t, nil)
	ring := exported(t, a, b)
	policy, err := ParsePolicy([]byte("signers:\n  team: {key: team.asc, firstUse: pin}\nimages:\n  - {match: [\"registry.example/**\"], signers: [team]}\n"),
		fstest.MapFS{"team.asc": {Data: ring}})
	if err != nil {
		t.Fatal(err)
	}
	digest := dossier.FromBytes(artifact)
	ref, err := dossier.ParseReference("registry.example/shop/api:1")
	if err != nil {
		t.Fatal(err)
	}
	signed := func(e *openpgp.Entity) []Evidence {
		return []Evidence{{Form: FormPGP, Bytes: signMessage(t, e, payloadOf(typeSimple, string(digest), ref.String()), nil)}}
	}
	byA, byB := signed(a), signed(b)
	d := policy.Decide(ref, digest, byA, nil, noon)
	want := Pin{dossier.SignerPin{Scope: "registry.example/shop/api", Signer: pgpName(a), Image: digest, At: noon, Trust: policy.Digest}, true}
	if d.Pin == nil || *d.Pin != want {
		t.Fatalf("pinned: %+v, want %+v", d.Pin, want)
	}
	if again := policy.Decide(ref, digest, byA, nil, noon); !reflect.DeepEqual(jsonOf(t, d), jsonOf(t, again)) {
		t.Error("made again it is another decision")
	}
	pin := &d.Pin.SignerPin
	if d := policy.Judge(ref, digest, byA, nil, noon); d.Code != CodeNotPinned {
		t.Errorf("judged without a pin: %q", d.Code)
	}
	if d := policy.Judge(ref, digest, byA, pin, noon); !d.Verified || d.Pin == nil || d.Pin.Made { // what was remembered was without it
		t.Errorf("judged with the pin: %q, %+v", d.Code, d.Pin)
	}
	d = policy.Judge(ref, digest, byB, pin, noon)
	for _, part := range []string{pgpName(a), "since 2026-11-26T12:00:00Z", string(digest), "registry.example/shop/api"} {
		if !strings.Contains(d.Reason, part) {
			t.Errorf("%q does not say %q", d.Reason, part)
		}
	}
	elsewhere, err := dossier.ParseReference("registry.example/shop/other:1")
	if err != nil {
		t.Fatal(err)
	}
	there := []Evidence{{Form: FormPGP, Bytes: signMessage(t, b, payloadOf(typeSimple, string(digest), elsewhere.String()), nil)}}
	if d := policy.Decide(elsewhere, digest, there, pin, noon); d.Pin == nil || !d.Pin.Made {
		t.Errorf("a pin of one repository counts in another: %q, %+v", d.Code, d.Pin)
	}
}

func jsonOf(t *testing.T, d Decision) string {
	t.Helper()
	b, err := d.JSON()
	if err != nil || !json.Valid(b) {
		t.Fatal(err)
	}
	return string(b)
}

// TestPinStatements lets nobody state anything before he is pinned, and makes no pin by it.
func TestPinStatements(t *testing.T) {
	private, public, err := GenerateKey([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePrivateKey(private, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := ParsePolicy([]byte("signers: {a: {key: a.pub}}\nimages: [{match: [\"**\"], signers: [a]}]\n"), fstest.MapFS{"a.pub": {Data: public}})
	if err != nil {
		t.Fatal(err)
	}
	policy.rules[0].terms.Signers[0].FirstUse = true // what a file cannot say: the verifier does not care
	digest := dossier.FromBytes(artifact)
	const kind = "https://example.org/scan/v1"
	bundle, err := key.SignStatement(Statement(digest, kind, []byte("{}")))
	if err != nil {
		t.Fatal(err)
	}
	e := Evidence{Form: FormBundle, Bytes: bundle}
	ref := dossier.Reference{Registry: "registry.example", Repository: "shop/api"}
	for _, tt := range []struct {
		pin  *dossier.SignerPin
		want Code
	}{{nil, CodeNotPinned}, {pinnedTo("sha256:another"), CodeOtherSigner}, {pinnedTo(key.Public.ID), ""}} {
		if d := policy.Statement(ref, digest, []Evidence{e}, kind, tt.pin, noon); d.Code != tt.want || d.Pin != nil && d.Pin.Made {
			t.Errorf("a statement: %q, %+v, want %q", d.Code, d.Pin, tt.want)
		}
		if _, ok := policy.Vouches(ref, digest, e, kind, tt.pin, noon); ok != (tt.want == "") {
			t.Errorf("it vouches: %v, want %q", ok, tt.want)
		}
	}
}

// TestFirstUseIsRefused where there is nothing to pin.
func TestFirstUseIsRefused(t *testing.T) {
	_, public, err := GenerateKey([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{"k.pub": {Data: public}, "one.asc": {Data: exported(t, newEntity(t, nil))}, "two.asc": {Data: exported(t, newEntity(t, nil), newEntity(t, nil))}}
	for _, tt := range []struct{ signer, rule, want string }{
		{"{key: two.asc, firstUse: pin}", "", ""},
		{"{key: two.asc, firstUse: always}", "", "the only word is pin"},
		{"{key: k.pub, firstUse: pin}", "", "does not carry the key"},
		{"{key: one.asc, firstUse: pin}", "", "one OpenPGP key"},
		{"{issuer: i, identity: a, firstUse: pin}", "", "name one signer"},
		{"{issuer: i, identityPattern: .*, firstUse: pin}", "", "needs a root"},
		{"{key: two.asc, firstUse: pin}", ", need: 2", "it needs 2 different keys, and its signers have 1"},
	} {
		_, err := ParsePolicy([]byte("signers:\n  s: "+tt.signer+"\nimages:\n  - {match: [\"**\"], signers: [s]"+tt.rule+"}\n"), files)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.signer, err, tt.want)
		}
	}
}

// TestScope takes spellings of one repository for one, and other repositories for others.
func TestScope(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"registry.example/shop/api:1", "registry.example/shop/api"},
		{"Registry.Example/shop/api", "registry.example/shop/api"},
		{"registry.example:443/shop/api", "registry.example/shop/api"},
		{"registry.example:0443/shop/api", "registry.example/shop/api"},
		{"registry.example:5000/shop/api", "registry.example:5000/shop/api"},
		{"registry.example:4430/shop/api", "registry.example:4430/shop/api"},
		{"[::1]:443/api", "[::1]/api"},
		{"[ab::443]/api", "[ab::443]/api"},
		{"nginx", "docker.io/library/nginx"},
		{"DOCKER.IO/nginx", "docker.io/library/nginx"},
		{"docker.io:443/nginx", "docker.io/library/nginx"},
		{"INDEX.docker.io/library/nginx", "docker.io/library/nginx"},
		{"Docker.io/shop/api", "docker.io/shop/api"},
		{"registry.example/nginx", "registry.example/nginx"},
	} {
		ref, err := dossier.ParseReference(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := Scope(ref); got != tt.want {
			t.Errorf("the scope of %s is %s, want %s", tt.text, got, tt.want)
		}
		p, err := parsePattern(tt.want)
		if err == nil && !p.matches(ref) { // else it is no pattern
			t.Errorf("the pattern %s does not match %s", tt.want, tt.text)
		}
	}
}
