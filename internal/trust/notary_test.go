// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	cosemessage "github.com/veraison/go-cose"

	"dossier.dev/dossier"
)

// authority issues certificates for signing.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{name}, CommonName: "root"},
		NotBefore: noon.Add(-48 * time.Hour), NotAfter: noon.Add(48 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true, MaxPathLen: 1,
	}
	a.cert = a.certify(t, template, template, a.key)
	return a
}

func (a *authority) certify(t testing.TB, template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (a *authority) leaf(t testing.TB, name pkix.Name, until time.Time) *authority {
	t.Helper()
	l := &authority{key: newKey(t)}
	l.cert = a.certify(t, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: name, NotBefore: noon.Add(-24 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, BasicConstraintsValid: true,
	}, a.cert, l.key)
	return l
}

// crl is a list of revoked certificates.
func (a *authority) crl(t testing.TB, next time.Time, revoked ...*x509.Certificate) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: noon.Add(-48 * time.Hour), NextUpdate: next}
	for _, c := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: noon.Add(-time.Hour)})
	}
	b, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// notation signs a digest as notation does.
func (l *authority) notation(t testing.TB, form Form, root *authority, digest dossier.Digest, change func(*signature.SignRequest)) Evidence {
	t.Helper()
	signer, err := signature.NewLocalSigner([]*x509.Certificate{l.cert, root.cert}, l.key)
	if err != nil {
		t.Fatal(err)
	}
	request := &signature.SignRequest{
		Payload:     signature.Payload{ContentType: notaryPayload, Content: fmt.Appendf(nil, `{"targetArtifact":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":1}}`, digest)},
		Signer:      signer,
		SigningTime: noon.Add(-time.Hour), SigningScheme: signature.SigningSchemeX509, SigningAgent: "test",
	}
	if change != nil {
		change(request)
	}
	envelope := jws.NewEnvelope()
	if form == FormCOSE {
		envelope = cose.NewEnvelope()
	}
	b, err := envelope.Sign(request)
	if err != nil {
		t.Fatal(err)
	}
	return Evidence{Form: form, Bytes: b}
}

// crowded is an envelope with a certificate more than are read.
func crowded(t testing.TB, form Form, good []byte) Evidence {
	t.Helper()
	if form == FormCOSE {
		var m cosemessage.Sign1Message
		if err := m.UnmarshalCBOR(good); err != nil {
			t.Fatal(err)
		}
		chain := m.Headers.Unprotected[cosemessage.HeaderLabelX5Chain].([]any)
		m.Headers.RawUnprotected, m.Headers.Unprotected[cosemessage.HeaderLabelX5Chain] = nil, slices.Repeat(chain[:1], maxChain+1)
		b, err := m.MarshalCBOR()
		if err != nil {
			t.Fatal(err)
		}
		return Evidence{Form: form, Bytes: b}
	}
	var m map[string]any
	if err := json.Unmarshal(good, &m); err != nil {
		t.Fatal(err)
	}
	header := m["header"].(map[string]any)
	header["x5c"] = slices.Repeat(header["x5c"].([]any)[:1], maxChain+1)
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return Evidence{Form: form, Bytes: b}
}

// notaryAttacks are signatures by notation that must be refused for one reason, or taken.
func notaryAttacks(t testing.TB) []attack {
	root, other := newAuthority(t, "shop"), newAuthority(t, "evil")
	name := pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"shop"}, CommonName: "release"}
	leaf := root.leaf(t, name, noon.Add(24*time.Hour))
	second := root.leaf(t, name, noon.Add(24*time.Hour))
	colleague := root.leaf(t, pkix.Name{Country: []string{"US"}, Organization: []string{"shop"}, CommonName: "another"}, noon.Add(24*time.Hour))
	gone := root.leaf(t, name, noon.Add(-time.Minute))
	foreign := other.leaf(t, name, noon.Add(24*time.Hour))
	twice := root.leaf(t, pkix.Name{Country: []string{"US"}, Organization: []string{"shop"}, OrganizationalUnit: []string{"a", "b"}}, noon.Add(24*time.Hour))
	digest := dossier.FromBytes(artifact)
	trusts := func(of *authority, crls [][]byte, subjects ...string) Signer {
		n, err := newNotary(notaryFiles{certificates: [][]byte{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: of.cert.Raw})}, crls: crls, subjects: subjects})
		if err != nil {
			t.Fatal(err)
		}
		return Signer{Name: "notary", Notary: n}
	}
	in := func(signer Signer, need int, evidence ...Evidence) func(verifier) Decision {
		return func(v verifier) Decision {
			return v.decide(Question{Digest: digest, Predicate: SignatureOnly}, Terms{Signers: []Signer{signer}, Need: need}, evidence, noon)
		}
	}
	shop := trusts(root, nil, "C=US, ST=WA, O=shop")
	var out []attack
	for _, form := range []Form{FormJWS, FormCOSE} {
		good := leaf.notation(t, form, root, digest, nil)
		add := func(name string, decide func(verifier) Decision, want Code) {
			out = append(out, attack{string(form) + ": " + name, decide, want})
		}
		add("by whom is trusted", in(shop, 1, good), "")
		add("by anybody of the authority", in(trusts(root, nil, "*"), 1, good), "")
		add("not on the list", in(trusts(root, [][]byte{root.crl(t, noon.Add(time.Hour))}, "*"), 1, good), "")
		add("that will expire", in(shop, 1, leaf.notation(t, form, root, digest, func(r *signature.SignRequest) { r.Expiry = noon.Add(time.Second) })), "")
		both := trusts(root, nil, "*")
		add("two signers of two", in(both, 2, good, colleague.notation(t, form, root, digest, nil)), "")
		add("one signer with two certificates", in(shop, 2, good, second.notation(t, form, root, digest, nil)), CodeThreshold)
		add("too many certificates", in(shop, 1, crowded(t, form, good.Bytes)), CodeTooMuch)
		add("an envelope that is too large", in(shop, 1, Evidence{Form: form, Bytes: make([]byte, maxNotary+1)}), CodeTooMuch)

		add("no envelope", in(shop, 1, Evidence{Form: form, Bytes: []byte("{")}), CodeMalformed)
		add("another form", in(shop, 1, Evidence{Form: map[Form]Form{FormJWS: FormCOSE, FormCOSE: FormJWS}[form], Bytes: good.Bytes}), CodeMalformed)
		add("by an authority's clock", in(shop, 1, leaf.notation(t, form, root, digest, func(r *signature.SignRequest) {
			r.SigningScheme = signature.SigningSchemeX509SigningAuthority
		})), CodeCertificate)
		add("something critical that nobody knows", in(shop, 1, leaf.notation(t, form, root, digest, func(r *signature.SignRequest) {
			r.ExtendedSignedAttributes = []signature.Attribute{{Key: "io.cncf.notary.verificationPlugin", Critical: true, Value: "x"}}
		})), CodeNoSignature)
		add("another artifact", in(shop, 1, leaf.notation(t, form, root, dossier.FromBytes(nil), nil)), CodeArtifact)
		add("where a key signs", in(signerOf(t, "key", newKey(t)), 1, good), CodeSignerKind)
		add("changed", in(shop, 1, Evidence{Form: form, Bytes: flip(t, form, good.Bytes)}), CodeSignature)
		add("by another authority", in(shop, 1, foreign.notation(t, form, other, digest, nil)), CodeCertificate)
		add("by a certificate that has ended", in(shop, 1, gone.notation(t, form, root, digest, nil)), CodeCertificate)
		add("a revoked certificate", in(trusts(root, [][]byte{root.crl(t, noon.Add(time.Hour), leaf.cert)}, "*"), 1, good), CodeCertificateRevoked)
		add("an old list", in(trusts(root, [][]byte{root.crl(t, noon)}, "*"), 1, good), CodeListStale)
		add("the list of another authority", in(trusts(root, [][]byte{other.crl(t, noon.Add(time.Hour))}, "*"), 1, good), CodeRevocationUnavailable)
		add("another subject", in(trusts(root, nil, "C=US, ST=WA, O=shopping"), 1, good), CodeIdentity)
		add("a subject with an attribute twice", in(trusts(root, nil, "O=shop"), 1, twice.notation(t, form, root, digest, nil)), CodeIdentity)
		add("expired", in(shop, 1, leaf.notation(t, form, root, digest, func(r *signature.SignRequest) { r.Expiry = noon })), CodeSignatureExpired)
		add("one key twice", in(shop, 2, good, leaf.notation(t, form, root, digest, func(r *signature.SignRequest) { r.SigningAgent = "again" })), CodeThreshold)
	}
	clock := newStamper(t)
	stamped := func(of *stamper, at time.Time, over []byte) Evidence {
		return stampJWS(t, of, gone.notation(t, FormJWS, root, digest, nil), at, over)
	}
	store, err := newNotary(notaryFiles{certificates: [][]byte{root.cert.Raw}, stampers: [][]byte{clock.root.Raw}, subjects: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	patient := Signer{Name: "notary", Notary: store}
	out = append(out,
		attack{"notation: a certificate that has ended, stamped before", in(patient, 1, stamped(clock, noon.Add(-time.Hour), nil)), ""},
		attack{"notation: stamped by whom nobody trusts", in(patient, 1, stamped(newStamper(t), noon.Add(-time.Hour), nil)), CodeTimestamp},
		attack{"notation: the stamp of another signature", in(patient, 1, stamped(clock, noon.Add(-time.Hour), []byte("another"))), CodeTimestamp},
		attack{"notation: stamped after the certificate had ended", in(patient, 1, stamped(clock, noon.Add(-time.Second), nil)), CodeCertificate},
		attack{"notation: a stamp where no authority is trusted", in(shop, 1, stamped(clock, noon.Add(-time.Hour), nil)), CodeCertificate},
	)
	pgp := newEntity(t, nil)
	out = append(out, attack{"an OpenPGP message where notation signs", in(shop, 1, Evidence{Form: FormPGP, Bytes: signMessage(t, pgp, payloadOf(typeSimple, string(digest), "a.example/a:1"), nil)}), CodeSignerKind})
	return out
}

// flip changes the signature in an envelope: the last byte of a COSE one, which is of the
// signature; of a JWS one letter after its name.
func flip(t testing.TB, form Form, b []byte) []byte {
	t.Helper()
	b = bytes.Clone(b)
	at := len(b) - 1
	if form == FormJWS {
		at = bytes.Index(b, []byte(`"signature":"`)) + len(`"signature":"`) + 5
	}
	if b[at] ^= 1; form == FormJWS && !bytes.ContainsRune([]byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), rune(b[at])) {
		b[at] = 'B'
	}
	return b
}

// stamper stamps.
type stamper struct {
	root, cert *x509.Certificate
	key        *ecdsa.PrivateKey
	accuracy   time.Duration
}

func newStamper(t testing.TB) *stamper {
	t.Helper()
	return stamperOf(t, newAuthority(t, "time"), nil)
}

// stamperOf is one whose certificate an authority made.
func stamperOf(t testing.TB, root *authority, change func(*x509.Certificate)) *stamper {
	t.Helper()
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	s := &stamper{root: root.cert, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{Organization: []string{"time"}, CommonName: "stamp"}, NotBefore: noon.Add(-48 * time.Hour), NotAfter: noon.Add(48 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}
	if change != nil {
		change(template)
	}
	s.cert = root.certify(t, template, root.cert, s.key)
	return s
}

// stampJWS adds a timestamp to an envelope: over its signature, or over something else.
func stampJWS(t testing.TB, by *stamper, e Evidence, at time.Time, over []byte) Evidence {
	t.Helper()
	var m map[string]json.RawMessage
	var header map[string]any
	var signature string
	for from, to := range map[string]any{"header": &header, "signature": &signature} {
		if err := json.Unmarshal(e.Bytes, &m); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(m[from], to); err != nil {
			t.Fatal(err)
		}
	}
	if over == nil {
		var err error
		if over, err = base64.RawURLEncoding.DecodeString(signature); err != nil {
			t.Fatal(err)
		}
	}
	response, err := (&timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: sum(crypto.SHA256, over), Time: at, Accuracy: by.accuracy, Policy: asn1.ObjectIdentifier{1, 2, 3}, SerialNumber: big.NewInt(1), AddTSACertificate: true,
		Certificates: []*x509.Certificate{by.root},
	}).CreateResponseWithOpts(by.cert, by.key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := timestamp.ParseResponse(response)
	if err != nil {
		t.Fatal(err)
	}
	header["io.cncf.notary.timestampSignature"] = parsed.RawToken
	if m["header"], err = json.Marshal(header); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return Evidence{Form: e.Form, Bytes: b}
}

// TestNotaryAttacks does so with signatures as notation makes them.
func TestNotaryAttacks(t *testing.T) { runAttacks(t, notaryAttacks(t)) }

// TestNames reads distinguished names.
func TestNames(t *testing.T) {
	got, err := parseName(`C=US, S=WA,O=a\, b\+c`)
	if err != nil || got["C"] != "US" || got["ST"] != "WA" || got["O"] != "a, b+c" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "C", "C=US,C=CA", "C=US+O=a", "=x", "C=", "S=a,ST=b"} {
		if got, err := parseName(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func FuzzNotary(f *testing.F) {
	root := newAuthority(f, "shop")
	leaf := root.leaf(f, pkix.Name{Organization: []string{"shop"}}, noon.Add(time.Hour))
	for _, form := range []Form{FormJWS, FormCOSE} {
		f.Add(form == FormCOSE, leaf.notation(f, form, root, dossier.FromBytes(nil), nil).Bytes)
	}
	n, err := newNotary(notaryFiles{certificates: [][]byte{root.cert.Raw}, subjects: []string{"*"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, isCOSE bool, b []byte) {
		form := FormJWS
		if isCOSE {
			form = FormCOSE
		}
		if d := Decide(Question{Digest: dossier.FromBytes(artifact)}, Terms{Signers: []Signer{{Name: "n", Notary: n}}}, []Evidence{{Form: form, Bytes: b}}, noon); d.Verified || d.Code == "" {
			t.Errorf("%+v", d)
		}
	})
}

// TestNotaryPolicy reads trust stores out of a policy.
func TestNotaryPolicy(t *testing.T) {
	root := newAuthority(t, "shop")
	files := fstest.MapFS{"ca.der": {Data: root.cert.Raw}, "ca.pem": {Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw})}, "crl": {Data: root.crl(t, noon.Add(time.Hour))}, "noise": {Data: []byte("noise")}}
	for signer, good := range map[string]bool{
		`{certificates: [ca.pem], subjects: ["C=US, ST=WA, O=shop"], timestampers: [ca.der], crls: [crl]}`: true,
		`{certificates: [ca.der, ca.pem], subjects: ["*"]}`:                                                true,
		`{certificates: [ca.pem]}`:                                               false, // who is trusted?
		`{certificates: [ca.pem], subjects: ["*", "O=shop"]}`:                    false,
		`{certificates: [noise], subjects: ["*"]}`:                               false,
		`{certificates: [ca.pem], subjects: ["*"], crls: [noise]}`:               false,
		`{certificates: [ca.pem], subjects: ["*"], key: ca.pem}`:                 false,
		`{certificates: [ca.pem], subjects: ["*"], until: 2027-01-01T00:00:00Z}`: false,
		`{subjects: ["*"], key: ca.pem}`:                                         false,
		`{certificates: [missing], subjects: ["*"]}`:                             false,
		`{signingAuthorities: [ca.pem], subjects: ["*"], revocation: online}`:    true,
		`{certificates: [ca.pem], subjects: ["*"], revocation: never}`:           false,
		`{issuer: a, identity: b, revocation: online}`:                           false,
	} {
		p, err := ParsePolicy([]byte("signers: {a: "+signer+"}\nimages: [{match: ['**'], signers: [a]}]\n"), files)
		if (err == nil) != good {
			t.Errorf("%s: %v, %v", signer, p != nil, err)
		}
	}
}
