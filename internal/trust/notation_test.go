// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/big"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/notaryproject/notation-core-go/signature"

	"dossier.dev/dossier"
)

// forge signs an envelope by hand, with a chain that notation would not sign with.
func forge(t testing.TB, chain []*x509.Certificate, key crypto.Signer, digest dossier.Digest, contentType string, critical map[string]any) Evidence {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	header := map[string]any{"alg": "ES256", "cty": contentType, "crit": []string{"io.cncf.notary.signingScheme"},
		"io.cncf.notary.signingScheme": "notary.x509", "io.cncf.notary.signingTime": noon.Add(-time.Hour).Format(time.RFC3339)}
	for k, v := range critical {
		header[k] = v
		header["crit"] = append(header["crit"].([]string), k)
	}
	if _, ok := key.(*rsa.PrivateKey); ok {
		header["alg"] = "PS256"
	}
	protected, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	payload := fmt.Appendf(nil, `{"targetArtifact":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":1}}`, digest)
	hashed := sum(crypto.SHA256, []byte(encode(protected)+"."+encode(payload)))
	var sig []byte
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if sig, err = rsa.SignPSS(rand.Reader, k, crypto.SHA256, hashed, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
			t.Fatal(err)
		}
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, hashed)
		if err != nil {
			t.Fatal(err)
		}
		sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	var ders [][]byte
	for _, c := range chain {
		ders = append(ders, c.Raw)
	}
	b, err := json.Marshal(map[string]any{"payload": encode(payload), "protected": encode(protected), "signature": encode(sig), "header": map[string]any{"x5c": ders}})
	if err != nil {
		t.Fatal(err)
	}
	return Evidence{Form: FormJWS, Bytes: b}
}

// scene is a configuration of notation and who signs by it.
type scene struct {
	testing.TB
	root, authority *authority
	stamper         *stamper
	leaf            *authority // of root
	files           fstest.MapFS
	digest          dossier.Digest
}

func newScene(t testing.TB) *scene {
	s := &scene{TB: t, root: newAuthority(t, "shop"), authority: newAuthority(t, "house"), stamper: newStamper(t), digest: dossier.FromBytes(artifact)}
	s.leaf = s.root.leaf(t, release, noon.Add(24*time.Hour))
	s.files = fstest.MapFS{
		"n/truststore/x509/ca/shop/root.crt":                {Data: s.root.cert.Raw},
		"n/truststore/x509/signingAuthority/house/root.crt": {Data: s.authority.cert.Raw},
		"n/truststore/x509/tsa/clock/root.crt":              {Data: s.stamper.root.Raw},
	}
	return s
}

var release = pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"shop"}, CommonName: "release"}

// policy reads trust.yaml with what is in trustpolicy.json: the verification, the stores
// and more of a policy for all images, and more of notation's place in trust.yaml.
func (s *scene) policy(verification, stores, more string) *Policy {
	s.Helper()
	files := fstest.MapFS{"n/trustpolicy.json": {Data: fmt.Appendf(nil,
		`{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":{%s},"trustStores":[%s],"trustedIdentities":["x509.subject: C=US, S=WA, O=shop"]}]}`, verification, stores)}}
	for name, f := range s.files {
		files[name] = f
	}
	p, err := ParsePolicy([]byte("notation: {config: n"+more+"}\n"), files)
	if err != nil {
		s.Fatal(err)
	}
	return p
}

// in holds evidence against a policy.
func (s *scene) in(p *Policy, evidence ...Evidence) func(verifier) Decision {
	return func(v verifier) Decision {
		return v.decide(Question{Digest: s.digest, Reference: "registry.example/app:1", Predicate: SignatureOnly}, p.rules[0].terms, evidence, noon)
	}
}

// notationAttacks are signatures held against notation's own configuration, and what says
// that certificates are revoked.
func notationAttacks(t testing.TB) []attack {
	s := newScene(t)
	const ca, house, clock = `"ca:shop"`, `"signingAuthority:house"`, `"tsa:clock"`
	const strict, permissive, audit = `"level":"strict"`, `"level":"permissive"`, `"level":"audit"`
	signs := func(l, root *authority, change func(*signature.SignRequest)) Evidence {
		return l.notation(t, FormJWS, root, s.digest, change)
	}
	byClock := func(r *signature.SignRequest) { r.SigningScheme = signature.SigningSchemeX509SigningAuthority }
	expired := func(r *signature.SignRequest) { r.Expiry = noon }
	good := signs(s.leaf, s.root, nil)
	gone := s.root.leaf(t, release, noon.Add(-time.Minute))
	goneOfHouse := s.authority.leaf(t, release, noon.Add(-time.Minute))
	stranger := s.root.leaf(t, pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"shopping"}}, noon.Add(time.Hour))
	foreign := newAuthority(t, "evil")
	byForeign := signs(foreign.leaf(t, release, noon.Add(time.Hour)), foreign, nil)
	stamped := func(e Evidence, by *stamper, at time.Time) Evidence { return stampJWS(t, by, e, at, nil) }
	only := func(store string) *Policy { return s.policy(strict, store, "") }
	roughly := *s.stamper
	roughly.accuracy = time.Second
	both := s.policy(strict, ca+","+clock, "")
	later := s.policy(strict+`,"verifyTimestamp":"afterCertExpiry"`, ca+","+clock, "")
	out := []attack{
		{"strict: who is trusted", s.in(only(ca), good), ""},
		{"strict: another authority", s.in(only(ca), byForeign), CodeCertificate},
		{"strict: another subject", s.in(only(ca), signs(stranger, s.root, nil)), CodeIdentity},
		{"strict: expired", s.in(only(ca), signs(s.leaf, s.root, expired)), CodeSignatureExpired},
		{"strict: nothing", s.in(only(ca)), CodeNoEvidence},
		{"permissive: expired", s.in(s.policy(permissive, ca, ""), signs(s.leaf, s.root, expired)), ""},
		{"permissive: the certificate has ended", s.in(s.policy(permissive, ca, ""), signs(gone, s.root, nil)), ""},
		{"permissive: another authority", s.in(s.policy(permissive, ca, ""), byForeign), CodeCertificate},
		{"permissive, but for the expiry", s.in(s.policy(permissive+`,"override":{"expiry":"enforce"}`, ca, ""), signs(s.leaf, s.root, expired)), CodeSignatureExpired},
		{"strict, but for the expiry", s.in(s.policy(strict+`,"override":{"expiry":"log"}`, ca, ""), signs(s.leaf, s.root, expired)), ""},
		{"audit: another authority", s.in(s.policy(audit, ca, ""), byForeign), ""},
		{"audit: changed", s.in(s.policy(audit, ca, ""), Evidence{Form: FormJWS, Bytes: flip(t, FormJWS, byForeign.Bytes)}), CodeSignature},
		{"audit: another artifact", s.in(s.policy(audit, ca, ""), s.leaf.notation(t, FormJWS, s.root, dossier.FromBytes(nil), nil)), CodeArtifact},
		{"audit: nothing", s.in(s.policy(audit, ca, "")), CodeNoEvidence},

		{"a store of signing authorities for the other scheme", s.in(only(house), signs(s.authority.leaf(t, release, noon.Add(time.Hour)), s.authority, nil)), CodeCertificate},
		{"a store of authorities for the scheme of signing authorities", s.in(only(ca), signs(s.leaf, s.root, byClock)), CodeCertificate},
		{"a signing authority says when", s.in(only(house), signs(goneOfHouse, s.authority, byClock)), ""},
		{"a signing authority that is a stranger", s.in(only(house), signs(s.leaf, s.root, byClock)), CodeCertificate},

		{"a timestamp", s.in(both, stamped(good, s.stamper, noon.Add(-time.Hour))), ""},
		{"no timestamp where one is wanted", s.in(both, good), CodeNoTime},
		{"a timestamp by nobody that is trusted", s.in(both, stamped(good, newStamper(t), noon.Add(-time.Hour))), CodeTimestamp},
		{"a timestamp before the certificate", s.in(both, stamped(good, s.stamper, noon.Add(-25*time.Hour))), CodeCertificate},
		{"a timestamp when the certificate begins", s.in(both, stamped(good, s.stamper, noon.Add(-24*time.Hour))), ""},
		{"a timestamp that may be before the certificate", s.in(both, stamped(good, &roughly, noon.Add(-24*time.Hour))), CodeCertificate},
		{"no timestamp before the certificate has ended", s.in(later, good), ""},
		{"a bad timestamp before the certificate has ended", s.in(later, stamped(good, newStamper(t), noon.Add(-time.Hour))), ""},
		{"no timestamp after the certificate has ended", s.in(later, signs(gone, s.root, nil)), CodeNoTime},
		{"a timestamp after the certificate has ended", s.in(later, stamped(signs(gone, s.root, nil), s.stamper, noon.Add(-time.Hour))), ""},

		{"signed by hand", s.in(only(ca), forge(t, []*x509.Certificate{s.leaf.cert, s.root.cert}, s.leaf.key, s.digest, notaryPayload, nil)), ""},
		{"another content", s.in(only(ca), forge(t, []*x509.Certificate{s.leaf.cert, s.root.cert}, s.leaf.key, s.digest, "application/json", nil)), CodeNoSignature},
		{"something critical", s.in(only(ca), forge(t, []*x509.Certificate{s.leaf.cert, s.root.cert}, s.leaf.key, s.digest, notaryPayload, map[string]any{"io.example": 1})), CodeNoSignature},
		{"a file", s.in(only(ca), signs(s.leaf, s.root, func(r *signature.SignRequest) {
			r.Payload.Content = []byte(strings.Replace(string(r.Payload.Content), "application/vnd.oci.image.manifest.v1+json", "application/octet-stream", 1))
		})), CodeArtifact},
	}
	for name, change := range map[string]func(*x509.Certificate){
		"a certificate for servers": func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"a certificate for stamps":  func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageTimeStamping) },
		"a certificate not to sign": func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement },
		"a certificate of authority": func(c *x509.Certificate) {
			c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
		},
	} {
		l := s.root.leafAt(t, release, change)
		out = append(out, attack{name, s.in(only(ca), forge(t, []*x509.Certificate{l.cert, s.root.cert}, l.key, s.digest, notaryPayload, nil)), CodeMalformed})
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(9), Subject: release, NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}, s.root.cert, weak.Public(), s.root.key)
	if err != nil {
		t.Fatal(err)
	}
	weakly, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, attack{"a certificate with a weak key", s.in(only(ca), forge(t, []*x509.Certificate{weakly, s.root.cert}, weak, s.digest, notaryPayload, nil)), CodeMalformed})
	return append(out, revocationAttacks(t, s)...)
}

// TestNotationAttacks holds signatures against notation's own configuration.
func TestNotationAttacks(t *testing.T) { runAttacks(t, notationAttacks(t)) }

// TestNotationScopes: the scope of one repository goes before *, and images before both.
func TestNotationScopes(t *testing.T) {
	s := newScene(t)
	s.files["n/trustpolicy.oci.json"] = &fstest.MapFile{Data: []byte(`{"version":"1.0","trustPolicies":[
{"name":"rest","registryScopes":["*"],"signatureVerification":{"level":"strict"},"trustStores":["ca:shop"],"trustedIdentities":["*"]},
{"name":"free","registryScopes":["registry.example/free","localhost:5000/a/b"],"signatureVerification":{"level":"skip"}}]}`)}
	s.files["n/trustpolicy.json"] = &fstest.MapFile{Data: []byte(`not read`)}
	p, err := ParsePolicy([]byte("images: [{match: ['registry.example/no/*'], reject: true}]\nnotation: {config: n}\n"), s.files)
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]string{
		"registry.example/no/app:1":   "rule 1: refused",
		"registry.example/free:1":     `rule 2: accepted, signed or not: notation's trust policy "free" has the level skip`,
		"localhost:5000/a/b":          "rule 2",
		"registry.example/free/app":   `rule 3: 1 of [notation policy "rest"] must have signed: level strict, trust stores ca:shop, identities *, revocation offline, 0 lists`,
		"registry.example.evil/free":  "rule 3",
		"registry.example/freedom":    "rule 3",
		"registry.example/nothing/at": "rule 3",
	} {
		ref, err := dossier.ParseReference(image)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Words(p.For(ref)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", image, got, want)
		}
	}
	delete(s.files, "n/trustpolicy.oci.json")
	s.files["n/trustpolicy.json"] = &fstest.MapFile{Data: []byte(`{"version":"1.0","trustPolicies":[{"name":"one","registryScopes":["registry.example/app"],"signatureVerification":{"level":"strict"},"trustStores":["ca:shop"],"trustedIdentities":["*"]}]}`)}
	if p, err = ParsePolicy([]byte("notation: {config: n}\n"), s.files); err != nil {
		t.Fatal(err)
	}
	good := s.leaf.notation(t, FormCOSE, s.root, s.digest, nil)
	for image, want := range map[string]Code{"registry.example/app": "", "registry.example/app2": CodeNoRule} {
		ref, err := dossier.ParseReference(image)
		if err != nil {
			t.Fatal(err)
		}
		if d := p.Decide(ref, s.digest, []Evidence{good}, nil, noon); d.Code != want {
			t.Errorf("%s: %s", image, d.Reason)
		}
	}
}

// TestNotationRefused: what notation refuses is refused, and says why.
func TestNotationRefused(t *testing.T) {
	s := newScene(t)
	s.files["n/truststore/x509/ca/leaf/leaf.crt"] = &fstest.MapFile{Data: s.leaf.cert.Raw}
	s.files["n/truststore/x509/tsa/leaf/leaf.crt"] = &fstest.MapFile{Data: s.leaf.cert.Raw}
	s.files["n/truststore/x509/ca/noise/a.crt"] = &fstest.MapFile{Data: []byte("noise")}
	s.files["n/truststore/x509/ca/link/a.crt"] = &fstest.MapFile{Data: s.root.cert.Raw, Mode: fs.ModeSymlink}
	s.files["n/truststore/x509/ca/deep/a/a.crt"] = &fstest.MapFile{Data: s.root.cert.Raw}
	const statement = `{"name":"a","registryScopes":["*"],"signatureVerification":{"level":"strict"},"trustStores":["ca:shop"],"trustedIdentities":["*"]}`
	whole := func(statements ...string) string {
		return `{"version":"1.0","trustPolicies":[` + strings.Join(statements, ",") + `]}`
	}
	with := func(from, to string) string { return whole(strings.Replace(statement, from, to, 1)) }
	for _, tt := range []struct{ policy, says string }{
		{`{`, "unexpected EOF"},
		{whole(statement) + "{}", "something follows"},
		{with(`"name"`, `"overide":1,"name"`), "overide"},
		{strings.Replace(whole(statement), "1.0", "2.0", 1), `version is "2.0"`},
		{whole(), "no trust policies"},
		{with(`"name":"a"`, `"name":""`), "name is missing"},
		{whole(statement, strings.Replace(statement, `"*"`, `"a.example/b"`, 1)), "or another one's"},
		{whole(statement, strings.Replace(statement, `"a"`, `"b"`, 1)), `the scope "*" stands in "a" too`},
		{with(`["*"],"sig`, `[],"sig`), "no registryScopes"},
		{with(`["*"],"sig`, `["*","a.example/b"],"sig`), "beside others"},
		{with(`["*"],"sig`, `["a.example/*"],"sig`), "is no repository"},
		{with(`["*"],"sig`, `["a.example/b:1"],"sig`), "is no repository"},
		{with(`["*"],"sig`, `["a.example"],"sig`), "is no repository"},
		{with(`"strict"`, `"lax"`), `level is "lax"`},
		{with(`"strict"`, `"skip"`), "level skip"},
		{with(`"strict"`, `"strict","override":{"integrity":"log"}`), "integrity cannot"},
		{with(`"strict"`, `"strict","override":{"all":"log"}`), `override of "all"`},
		{with(`"strict"`, `"strict","override":{"expiry":"skip"}`), "only revocation"},
		{with(`"strict"`, `"strict","override":{"expiry":"warn"}`), `is "warn"`},
		{with(`"strict"`, `"strict","verifyTimestamp":"never"`), "verifyTimestamp"},
		{with(`["ca:shop"]`, `[]`), "no trustStores"},
		{with(`ca:shop`, `shop`), `the trust store "shop"`},
		{with(`ca:shop`, `xx:shop`), `the trust store "xx:shop"`},
		{with(`ca:shop`, `ca:..`), `the trust store "ca:.."`},
		{with(`ca:shop`, `ca:a/b`), `the trust store "ca:a/b"`},
		{with(`ca:shop`, `ca:missing`), "ca:missing"},
		{with(`ca:shop`, `ca:leaf`), "neither that of an authority"},
		{with(`ca:shop`, `tsa:leaf`), "no root of a timestamp authority"},
		{with(`ca:shop`, `ca:noise`), "a.crt"},
		{with(`ca:shop`, `ca:link`), "no regular file"},
		{with(`ca:shop`, `ca:deep`), "no regular file"},
		{with(`Identities":["*"]`, `Identities":[]`), "subjects is empty"},
		{with(`Identities":["*"]`, `Identities":["*","x509.subject:C=US,ST=WA,O=a"]`), "alone"},
		{with(`Identities":["*"]`, `Identities":["C=US"]`), "write \"x509.subject"},
		{with(`Identities":["*"]`, `Identities":["plugin:a"]`), "subjects is empty"},
		{with(`Identities":["*"]`, `Identities":["x509.subject:C=US,O=a"]`), "with C, ST and O"},
		{with(`Identities":["*"]`, `Identities":["x509.subject:C=US,ST=WA,O=#61"]`), "with C, ST and O"},
		{with(`Identities":["*"]`, `Identities":["x509.subject:C=US,ST=WA,O=a","x509.subject:C=US,ST=WA,O=a,CN=b"]`), "overlaps"},
	} {
		s.files["n/trustpolicy.json"] = &fstest.MapFile{Data: []byte(tt.policy)}
		if _, err := ParsePolicy([]byte("notation: {config: n}\n"), s.files); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v\nwant %s", tt.policy, err, tt.says)
		}
	}
	s.files["n/trustpolicy.json"] = &fstest.MapFile{Data: []byte(whole(statement))}
	for policy, says := range map[string]string{
		"notation: {}":                                                   "config is missing",
		"notation: {config: missing}":                                    "missing",
		"notation: {config: n/truststore}":                               "neither trustpolicy.oci.json nor trustpolicy.json",
		"notation: {config: n, a: b}":                                    "line 1: there is no field \"a\"",
		"notation: {config: n, crls: [no]}":                              "no",
		"notation: {config: n, crls: [n/trustpolicy.json]}":              "crls",
		"notation: {config: n, revocation: always}":                      `revocation is "always"`,
		"images: [{match: ['**'], reject: true}]\nnotation: {config: n}": "would never be asked",
	} {
		if _, err := ParsePolicy([]byte(policy), s.files); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v\nwant %s", policy, err, says)
		}
	}
}
