// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"dossier.dev/dossier"
)

// Forms of evidence that says whether certificates are revoked. It is held against no
// signer by itself.
const (
	FormOCSP       Form = "ocsp"       // a response of the Online Certificate Status Protocol (RFC 6960), DER
	FormCRL        Form = "crl"        // a list of revoked certificates (RFC 5280), DER or PEM
	FormUnanswered Form = "unanswered" // a URL and why it did not answer, in words
)

// revokes reports whether evidence of a form is about revocation.
func (f Form) revokes() bool { return f == FormOCSP || f == FormCRL || f == FormUnanswered }

// Lookup is a certificate of which is not known whether it is revoked, and where it says
// that this can be asked: by OCSP first, and where that tells nothing by lists.
type Lookup struct {
	OCSP    []string // URLs
	Request []byte   // what to send there, DER
	Lists   []string // URLs of CRLs
}

// Lookups returns what may be asked so that the decision can say more, each once: of what
// else is good by a signer whose rule allows to ask.
func (d Decision) Lookups() []Lookup {
	var out []Lookup
	for _, t := range d.Trials {
		for _, l := range t.lookups {
			if !slices.ContainsFunc(out, func(o Lookup) bool {
				return bytes.Equal(o.Request, l.Request) && slices.Equal(o.OCSP, l.OCSP) && slices.Equal(o.Lists, l.Lists)
			}) {
				out = append(out, l)
			}
		}
	}
	return out
}

// Answer reads what came of asking: a response or a list. until is when it should be asked
// again; final, that nothing else need be asked. Whether it is true, Decide finds out.
// KindInvalid: it is none.
func Answer(form Form, b []byte) (until time.Time, final bool, err error) {
	if form == FormCRL {
		crl, err := parseList(b)
		if err != nil {
			return time.Time{}, false, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading revocation list", Err: err}
		}
		return crl.NextUpdate, true, nil
	}
	r, err := ocsp.ParseResponse(b, nil)
	if err != nil {
		return time.Time{}, false, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading OCSP response", Err: err}
	}
	return r.NextUpdate, r.Status != ocsp.Unknown, nil
}

// revocations is evidence about revocation, taken apart.
type revocations struct {
	ocsp       []Evidence
	lists      []listed
	unanswered []string
}

// listed is a revocation list and what it is called.
type listed struct {
	*x509.RevocationList
	name string
}

func readRevocations(evidence []Evidence) *revocations {
	out := &revocations{}
	for _, e := range evidence {
		switch e.Form {
		case FormOCSP:
			out.ocsp = append(out.ocsp, e)
		case FormCRL:
			if crl, err := parseList(e.Bytes); err == nil { // what cannot be read says nothing
				out.lists = append(out.lists, listed{crl, string(e.Digest())})
			}
		case FormUnanswered:
			out.unanswered = append(out.unanswered, string(e.Bytes))
		}
	}
	return out
}

// notaryRevocation looks whether a certificate of the chain is revoked, or one of those who
// made its timestamp. Nothing is asked: what is known is in the files that the policy names
// and in the evidence. What should have been renewed tells nothing good.
func (a *attempt) notaryRevocation() (string, *fault) {
	n := a.notation()
	if n == nil || n.revoked == revocationIgnored {
		return "", nil
	}
	var said []string
	var worst *fault
	for _, chain := range [][]*x509.Certificate{a.notary.info.CertificateChain, a.stampers} {
		for i, c := range chain[:max(0, len(chain)-1)] {
			by, f := a.status(n, c, chain[i+1])
			switch {
			case f == nil:
				if by != "" {
					said = append(said, by)
				}
				continue
			case f.code == CodeRevocationUnavailable && !n.mustKnow(c, i == 0 && c == a.notary.info.CertificateChain[0]):
				continue
			case f.code != CodeCertificateRevoked && n.online:
				a.lookUp(c, chain[i+1])
			}
			if worst == nil || f.code == CodeCertificateRevoked && worst.code != CodeCertificateRevoked {
				worst = f
			}
		}
	}
	return strings.Join(said, ", "), worst
}

// mustKnow reports whether it must be known of a certificate that it is not revoked.
func (n *Notary) mustKnow(c *x509.Certificate, signed bool) bool {
	if n.revoked == revocationListed {
		return signed
	}
	return len(c.OCSPServer)+len(c.CRLDistributionPoints) > 0 // else it cannot be revoked
}

// lookUp notes what may be asked.
func (a *attempt) lookUp(c, issuer *x509.Certificate) {
	request, err := ocsp.CreateRequest(c, issuer, nil)
	if err != nil {
		return
	}
	a.lookups = append(a.lookups, Lookup{OCSP: c.OCSPServer, Request: request, Lists: c.CRLDistributionPoints})
}

// status says what is known of one certificate, and by what.
func (a *attempt) status(n *Notary, c, issuer *x509.Certificate) (string, *fault) {
	by, f := a.statusByOCSP(c, issuer)
	if f != nil && f.code == CodeCertificateRevoked {
		return by, f
	}
	lists := a.revocations.lists
	for _, crl := range n.crls {
		lists = append(lists[:len(lists):len(lists)], listed{crl, string(dossier.FromBytes(crl.Raw))})
	}
	for _, l := range lists {
		if !bytes.Equal(l.RawIssuer, issuer.RawSubject) || l.CheckSignatureFrom(issuer) != nil {
			continue
		}
		for _, r := range l.RevokedCertificateEntries {
			if r.SerialNumber.Cmp(c.SerialNumber) == 0 && r.ReasonCode != removedFromList && !a.signedBefore(r.Extensions) {
				return l.name, revokedAt(c, r.RevocationTime)
			}
		}
		if by != "" && f == nil {
			continue // OCSP says that it is good
		}
		a.turns = append(a.turns, l.NextUpdate)
		switch {
		case !speaksOf(l.RevocationList, c):
		case !a.at.Before(l.NextUpdate): // also when it does not say
			if f == nil {
				f = faultf(CodeListStale, "the list of %s should have been renewed %s", issuer.Subject, bound(l.NextUpdate))
			}
		default:
			a.until = earliest(a.until, l.NextUpdate)
			by, f = "CRL "+l.name, nil
		}
	}
	if by == "" && f == nil {
		f = faultf(CodeRevocationUnavailable, "nobody says whether the certificate of %s is revoked: %s", c.Subject, a.whyUnknown(n, c))
	}
	return by, f
}

func (a *attempt) whyUnknown(n *Notary, c *x509.Certificate) string {
	places := slices.Concat(c.OCSPServer, c.CRLDistributionPoints)
	var failed []string
	for _, text := range a.revocations.unanswered {
		if url, _, _ := strings.Cut(text, " "); slices.Contains(places, url) {
			failed = append(failed, text)
		}
	}
	switch {
	case len(failed) > 0:
		return strings.Join(failed, "; ")
	case n.online:
		return fmt.Sprintf("ask %v", places)
	}
	return "nothing is fetched, and no list of who issued it is named (crls)"
}

// statusByOCSP says what responses tell of a certificate; "" and nil: nothing.
func (a *attempt) statusByOCSP(c, issuer *x509.Certificate) (by string, f *fault) {
	for _, e := range a.revocations.ocsp {
		r, err := ocsp.ParseResponseForCert(e.Bytes, c, issuer)
		if err != nil || !a.mayAnswer(r, issuer) {
			continue // it is about another certificate, or by somebody else
		}
		name := "OCSP " + string(e.Digest())
		a.turns = append(a.turns, r.NextUpdate)
		switch {
		case r.Status == ocsp.Revoked && !a.signedBefore(r.Extensions):
			return name, revokedAt(c, r.RevokedAt)
		case !a.at.Before(r.NextUpdate): // also when it does not say
			f = faultf(CodeListStale, "the response about the certificate of %s should have been renewed %s", c.Subject, bound(r.NextUpdate))
		case r.Status == ocsp.Unknown:
			f = faultf(CodeRevocationUnknown, "who was asked does not know the certificate of %s", c.Subject)
		default:
			a.until = earliest(a.until, r.NextUpdate)
			by = name
		}
	}
	if by != "" {
		f = nil
	}
	return by, f
}

// mayAnswer reports whether who signed a response may speak for the issuer (RFC 6960,
// 4.2.2.2): the issuer itself, or whom it made a certificate for that.
func (a *attempt) mayAnswer(r *ocsp.Response, issuer *x509.Certificate) bool {
	c := r.Certificate
	if c == nil || c.Equal(issuer) {
		return true
	}
	a.turns = append(a.turns, c.NotBefore, c.NotAfter.Add(time.Second))
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) && within(a.at, c.NotBefore, c.NotAfter) == ""
}

func revokedAt(c *x509.Certificate, at time.Time) *fault {
	return faultf(CodeCertificateRevoked, "the certificate of %s was revoked %s", c.Subject, stamp(at))
}

// removedFromList is the reason of an entry that takes one back (RFC 5280, 5.3.1).
const removedFromList = 8

// signedBefore reports whether somebody trusted says that it was signed before the key
// became invalid (the invalidity date, RFC 5280, 5.3.2).
func (a *attempt) signedBefore(extensions []pkix.Extension) bool {
	for _, e := range extensions {
		var invalid time.Time
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 24}) {
			continue
		}
		rest, err := asn1.UnmarshalWithParams(e.Value, &invalid, "generalized")
		return err == nil && len(rest) == 0 && len(a.times) > 0 && a.times[0].at.Before(invalid)
	}
	return false
}

// speaksOf reports whether a list would have a certificate of its issuer if that were
// revoked: neither a list of changes (RFC 5280, 5.2.4) nor, by its distribution point
// (5.2.5), one of others or of some reasons.
func speaksOf(l *x509.RevocationList, c *x509.Certificate) bool {
	for _, e := range l.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 28}) {
			if e.Critical {
				return false
			}
			continue
		}
		var point struct {
			Name       asn1.RawValue  `asn1:"optional,tag:0"`
			Users      bool           `asn1:"optional,tag:1"`
			CAs        bool           `asn1:"optional,tag:2"`
			Reasons    asn1.BitString `asn1:"optional,tag:3"`
			Indirect   bool           `asn1:"optional,tag:4"`
			Attributes bool           `asn1:"optional,tag:5"`
		}
		rest, err := asn1.Unmarshal(e.Value, &point)
		if err != nil || len(rest) > 0 || point.Indirect || point.Attributes || point.Reasons.BitLength > 0 || point.Users && c.IsCA || point.CAs && !c.IsCA {
			return false
		}
		if len(point.Name.FullBytes) > 0 && !slices.ContainsFunc(c.CRLDistributionPoints, func(url string) bool { return bytes.Contains(point.Name.FullBytes, []byte(url)) }) {
			return false
		}
	}
	return true
}
