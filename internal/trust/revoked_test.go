// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"golang.org/x/crypto/ocsp"

	"dossier.dev/dossier"
)

// leafAt is a leaf whose certificate says where its revocation is known.
func (a *authority) leafAt(t testing.TB, name pkix.Name, change func(*x509.Certificate)) *authority {
	t.Helper()
	l := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: name, NotBefore: noon.Add(-24 * time.Hour), NotAfter: noon.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, BasicConstraintsValid: true,
		OCSPServer: []string{"http://ocsp.example/"}, CRLDistributionPoints: []string{"http://crl.example/list"},
	}
	if change != nil {
		change(template)
	}
	l.cert = a.certify(t, template, a.cert, l.key)
	return l
}

// answers says by OCSP what it knows of a certificate: itself, or by somebody it made a
// certificate for.
func (a *authority) answers(t testing.TB, about *x509.Certificate, by *authority, status int, next time.Time) Evidence {
	t.Helper()
	template := ocsp.Response{Status: status, SerialNumber: about.SerialNumber, ThisUpdate: noon.Add(-time.Hour), NextUpdate: next, RevokedAt: noon.Add(-time.Hour)}
	if by != a {
		template.Certificate = by.cert
	}
	b, err := ocsp.CreateResponse(a.cert, by.cert, template, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return Evidence{Form: FormOCSP, Bytes: b}
}

// list is a revocation list that a test changes.
func (a *authority) list(t testing.TB, change func(*x509.RevocationList)) Evidence {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: noon.Add(-48 * time.Hour), NextUpdate: noon.Add(time.Hour)}
	change(l)
	b, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return Evidence{Form: FormCRL, Bytes: b}
}

// revocationAttacks are about what says that certificates are revoked.
func revocationAttacks(t testing.TB, s *scene) []attack {
	leaf := s.root.leafAt(t, release, nil)
	good := leaf.notation(t, FormJWS, s.root, s.digest, nil)
	other := s.root.leafAt(t, release, nil)
	responder := s.root.leafAt(t, pkix.Name{CommonName: "responder"}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} })
	retired := s.root.leafAt(t, pkix.Name{CommonName: "responder"}, func(c *x509.Certificate) {
		c.ExtKeyUsage, c.NotAfter = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, noon.Add(-time.Second)
	})
	foreign := newAuthority(t, "shop")
	hour := noon.Add(time.Hour)
	says := func(status int) Evidence { return s.root.answers(t, leaf.cert, s.root, status, hour) }
	clean := s.root.list(t, func(*x509.RevocationList) {})
	lists := func(change func(*x509.RevocationList)) Evidence { return s.root.list(t, change) }
	revoking := func(c *x509.Certificate, reason int, extensions ...pkix.Extension) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: c.SerialNumber, RevocationTime: noon.Add(-time.Hour), ReasonCode: reason, ExtraExtensions: extensions}}
		}
	}
	invalidFrom := func(at time.Time) pkix.Extension {
		b, err := asn1.MarshalWithParams(at, "generalized")
		if err != nil {
			t.Fatal(err)
		}
		return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 24}, Value: b}
	}
	ofPoint := func(point any) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			b, err := asn1.Marshal(point)
			if err != nil {
				t.Fatal(err)
			}
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: b}}
		}
	}
	type users struct {
		Only bool `asn1:"optional,tag:1"`
	}
	type authorities struct {
		Only bool `asn1:"optional,tag:2"`
	}
	type named struct {
		Name asn1.RawValue
	}
	at := func(url string) named {
		uri := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(url)}
		full, err := asn1.Marshal(uri)
		if err != nil {
			t.Fatal(err)
		}
		inner, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: full})
		if err != nil {
			t.Fatal(err)
		}
		return named{asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner}}
	}
	delta := func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
	}
	strict := s.policy(`"level":"strict"`, `"ca:shop"`, ", revocation: online")
	offline := s.policy(`"level":"strict"`, `"ca:shop"`, "")
	permissive := s.policy(`"level":"permissive"`, `"ca:shop"`, "")
	skipped := s.policy(`"level":"strict","override":{"revocation":"skip"}`, `"ca:shop"`, "")
	stampedBy := s.policy(`"level":"strict"`, `"ca:shop","tsa:clock"`, "")
	stampedGood := stampJWS(t, s.stamper, good, noon.Add(-90*time.Minute), nil)
	return []attack{
		{"revocation: OCSP says good", s.in(strict, good, says(ocsp.Good)), ""},
		{"revocation: OCSP says revoked", s.in(strict, good, says(ocsp.Revoked)), CodeCertificateRevoked},
		{"revocation: OCSP says revoked, and something else good", s.in(strict, good, says(ocsp.Good), says(ocsp.Revoked)), CodeCertificateRevoked},
		{"revocation: OCSP says revoked, the list not", s.in(strict, good, says(ocsp.Revoked), clean), CodeCertificateRevoked},
		{"revocation: OCSP does not know", s.in(strict, good, says(ocsp.Unknown)), CodeRevocationUnknown},
		{"revocation: OCSP does not know, the list does", s.in(strict, good, says(ocsp.Unknown), clean), ""},
		{"revocation: OCSP says good of another certificate", s.in(strict, good, s.root.answers(t, other.cert, s.root, ocsp.Good, hour)), CodeRevocationUnavailable},
		{"revocation: OCSP by another authority", s.in(strict, good, foreign.answers(t, leaf.cert, foreign, ocsp.Good, hour)), CodeRevocationUnavailable},
		{"revocation: OCSP by whom the authority lets answer", s.in(strict, good, s.root.answers(t, leaf.cert, responder, ocsp.Good, hour)), ""},
		{"revocation: OCSP by whom the authority let answer", s.in(strict, good, s.root.answers(t, leaf.cert, retired, ocsp.Good, hour)), CodeRevocationUnavailable},
		{"revocation: OCSP by the certificate itself", s.in(strict, good, s.root.answers(t, leaf.cert, leaf, ocsp.Good, hour)), CodeRevocationUnavailable},
		{"revocation: an old response", s.in(strict, good, s.root.answers(t, leaf.cert, s.root, ocsp.Good, noon)), CodeListStale},
		{"revocation: a response without an end", s.in(strict, good, s.root.answers(t, leaf.cert, s.root, ocsp.Good, time.Time{})), CodeListStale},
		{"revocation: OCSP says good, the list revoked", s.in(strict, good, says(ocsp.Good), lists(revoking(leaf.cert, 1))), CodeCertificateRevoked},
		{"revocation: a list", s.in(strict, good, clean), ""},
		{"revocation: on the list", s.in(strict, good, lists(revoking(leaf.cert, 1))), CodeCertificateRevoked},
		{"revocation: on hold", s.in(strict, good, lists(revoking(leaf.cert, 6))), CodeCertificateRevoked},
		{"revocation: no longer on hold", s.in(strict, good, lists(revoking(leaf.cert, 8))), ""},
		{"revocation: on the list of changes", s.in(strict, good, clean, lists(func(l *x509.RevocationList) { delta(l); revoking(leaf.cert, 1)(l) })), CodeCertificateRevoked},
		{"revocation: only a list of changes", s.in(strict, good, lists(delta)), CodeRevocationUnavailable},
		{"revocation: an old list", s.in(strict, good, lists(func(l *x509.RevocationList) { l.NextUpdate = noon })), CodeListStale},
		{"revocation: a list by another authority of that name", s.in(strict, good, foreign.list(t, func(*x509.RevocationList) {})), CodeRevocationUnavailable},
		{"revocation: a list of users", s.in(strict, good, lists(ofPoint(users{true}))), ""},
		{"revocation: a list of authorities", s.in(strict, good, lists(ofPoint(authorities{true}))), CodeRevocationUnavailable},
		{"revocation: the list of the certificate's place", s.in(strict, good, lists(ofPoint(at("http://crl.example/list")))), ""},
		{"revocation: the list of another place", s.in(strict, good, lists(ofPoint(at("http://crl.example/other")))), CodeRevocationUnavailable},
		{"revocation: nothing is known", s.in(strict, good), CodeRevocationUnavailable},
		{"revocation: nobody answered", s.in(strict, good, Evidence{Form: FormUnanswered, Bytes: []byte("http://ocsp.example/ connection refused")}), CodeRevocationUnavailable},
		{"revocation: nothing is fetched", s.in(offline, good), CodeRevocationUnavailable},
		{"revocation: permissive, revoked", s.in(permissive, good, says(ocsp.Revoked)), ""},
		{"revocation: skipped, revoked", s.in(skipped, good, says(ocsp.Revoked)), ""},
		{"revocation: noise", s.in(strict, good, Evidence{Form: FormCRL, Bytes: []byte("noise")}, Evidence{Form: FormOCSP, Bytes: []byte("noise")}), CodeRevocationUnavailable},
		{"revocation: signed before the key became invalid", s.in(stampedBy, stampedGood, lists(revoking(leaf.cert, 1, invalidFrom(noon.Add(-time.Hour))))), ""},
		{"revocation: signed after the key became invalid", s.in(stampedBy, stampedGood, lists(revoking(leaf.cert, 1, invalidFrom(noon.Add(-2*time.Hour))))), CodeCertificateRevoked},
		{"revocation: nobody says when it was signed", s.in(strict, good, lists(revoking(leaf.cert, 1, invalidFrom(noon.Add(-time.Hour))))), CodeCertificateRevoked},
	}
}

// TestStamperRevoked: whoever made the timestamp may not be revoked either.
func TestStamperRevoked(t *testing.T) {
	s := newScene(t)
	clock := newAuthority(t, "time")
	s.stamper = stamperOf(t, clock, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://crl.example/time"} })
	s.files["n/truststore/x509/tsa/clock/root.crt"] = &fstest.MapFile{Data: clock.cert.Raw}
	p := s.policy(`"level":"strict"`, `"ca:shop","tsa:clock"`, "")
	e := stampJWS(t, s.stamper, s.leaf.notation(t, FormJWS, s.root, s.digest, nil), noon.Add(-time.Hour), nil)
	for want, list := range map[Code][]*x509.Certificate{"": {}, CodeCertificateRevoked: {s.stamper.cert}} {
		d := s.in(p, e, Evidence{Form: FormCRL, Bytes: clock.crl(t, noon.Add(time.Hour), list...)})(verifier{})
		if d.Code != want {
			t.Errorf("%s, want %q", d.Reason, want)
		}
	}
	if d := s.in(p, e)(verifier{}); d.Code != CodeRevocationUnavailable {
		t.Error(d.Reason)
	}
}

// TestRevocationSaid: a decision tells by which evidence a certificate is not revoked, until
// when, what was only logged, and what may be asked.
func TestRevocationSaid(t *testing.T) {
	s := newScene(t)
	leaf := s.root.leafAt(t, release, nil)
	good := leaf.notation(t, FormJWS, s.root, s.digest, nil)
	online := s.policy(`"level":"strict"`, `"ca:shop"`, ", revocation: online")
	d := s.in(online, good)(verifier{})
	lookups := d.Lookups()
	if len(lookups) != 1 || !slices.Equal(lookups[0].OCSP, leaf.cert.OCSPServer) || !slices.Equal(lookups[0].Lists, leaf.cert.CRLDistributionPoints) {
		t.Fatalf("may be asked: %+v", lookups)
	}
	if q, err := ocsp.ParseRequest(lookups[0].Request); err != nil || q.SerialNumber.Cmp(leaf.cert.SerialNumber) != 0 {
		t.Errorf("the request: %+v, %v", q, err)
	}
	if d := s.in(s.policy(`"level":"strict"`, `"ca:shop"`, ""), good)(verifier{}); len(d.Lookups()) != 0 {
		t.Error("something is asked although nothing says that it may be")
	}
	untrusted := newAuthority(t, "evil")
	evil := untrusted.leafAt(t, release, nil)
	if d := s.in(online, evil.notation(t, FormJWS, untrusted, s.digest, nil))(verifier{}); len(d.Lookups()) != 0 {
		t.Error("a certificate that nobody trusts says whom to ask")
	}
	response := s.root.answers(t, leaf.cert, s.root, ocsp.Good, noon.Add(time.Hour))
	d = s.in(online, good, response)(verifier{})
	check := func(d Decision) Check {
		i := slices.IndexFunc(d.Trials[0].Checks, func(c Check) bool { return c.Name == checkNotaryRevocation })
		return d.Trials[0].Checks[i]
	}
	if !d.Verified || !d.Until.Equal(noon.Add(time.Hour)) || check(d).Input != "OCSP "+string(response.Digest()) || !slices.Equal(d.Evidence, []dossier.Digest{good.Digest(), response.Digest()}) {
		t.Errorf("%+v", d)
	}
	d = s.in(s.policy(`"level":"permissive"`, `"ca:shop"`, ""), good, s.root.answers(t, leaf.cert, s.root, ocsp.Revoked, noon.Add(time.Hour)))(verifier{})
	if c := check(d); !d.Verified || c.Outcome != Logged || c.Code != CodeCertificateRevoked {
		t.Errorf("%+v", c)
	}
	lasting := s.leaf.notation(t, FormJWS, s.root, s.digest, func(r *signature.SignRequest) { r.Expiry = noon.Add(time.Hour) })
	for level, want := range map[string]time.Time{`"level":"strict"`: noon.Add(time.Hour), `"level":"permissive"`: {}} {
		if d := s.in(s.policy(level, `"ca:shop"`, ""), lasting)(verifier{}); !d.Verified || !d.Until.Equal(want) {
			t.Errorf("%s holds until %s: %s", level, d.Until, d.Reason)
		}
	}
}
