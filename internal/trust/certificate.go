// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"dossier.dev/dossier"
)

// observed is a time that somebody trusted saw the signature at.
type observed struct {
	at   time.Time
	from string
}

// timestamp verifies the RFC 3161 timestamps by the authorities of the trusted root. One
// that verifies is enough, and no authority is counted twice.
func (a *attempt) timestamp() (string, *fault) {
	in := fmt.Sprintf("%d timestamps, %d authorities", len(a.stamps), len(a.root.timestampers()))
	if len(a.stamps) == 0 || len(a.root.timestampers()) == 0 {
		return in, nil
	}
	worst := faultf(CodeTimestamp, "none verifies")
	found := false
	for _, token := range a.stamps {
		t, f := a.stampTime(token)
		if f != nil {
			worst = f
			continue
		}
		if !slices.ContainsFunc(a.times, func(o observed) bool { return o.from == t.from }) {
			a.times = append(a.times, t)
		}
		found = true
	}
	if !found {
		return in, worst
	}
	return in, nil
}

// stampTime verifies one timestamp.
func (a *attempt) stampTime(token []byte) (observed, *fault) {
	why := faultf(CodeTimestamp, "no authority of the trusted root made it")
	for _, authority := range a.root.timestampers() {
		t, err := authority.Verify(token, a.signature)
		if err == nil {
			return observed{t.Time.UTC(), "timestamp authority " + t.URI}, nil
		}
		own, ok := authority.(*root.SigstoreTimestampingAuthority)
		if !ok {
			continue
		}
		unbounded := *own
		unbounded.ValidityPeriodStart, unbounded.ValidityPeriodEnd = time.Time{}, time.Time{}
		if t, boundless := unbounded.Verify(token, a.signature); boundless == nil {
			why = faultf(CodeStampTime, "its authority %s at %s", within(t.Time, own.ValidityPeriodStart, own.ValidityPeriodEnd), stamp(t.Time))
		} else if why.code == CodeTimestamp {
			why = faultf(CodeTimestamp, "%s", plain(err))
		}
	}
	return observed{}, why
}

// time wants one time of signing where something depends on it.
func (a *attempt) time() (string, *fault) {
	var seen []string
	for _, t := range a.times {
		seen = append(seen, stamp(t.at)+" by "+t.from)
	}
	in := strings.Join(seen, ", ")
	bounded := a.signer.Key != nil && (!a.signer.Key.From.IsZero() || !a.signer.Key.Until.IsZero())
	if len(a.times) == 0 && (a.leaf != nil || bounded) {
		return in, faultf(CodeNoTime, "nobody of the trusted root says when it was signed")
	}
	return in, nil
}

// certificate looks for a chain from the certificate to the trusted root, at each time
// of signing.
func (a *attempt) certificate() (string, *fault) {
	if a.leaf == nil {
		return "", nil
	}
	leaf := *a.leaf
	// The standard library does not know names of the form "other name", which
	// SummarizeCertificate reads.
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), func(id asn1.ObjectIdentifier) bool {
		return id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17})
	})
	in := fmt.Sprintf("%x, valid from %s to %s", leaf.SerialNumber, stamp(leaf.NotBefore), stamp(leaf.NotAfter))
	for _, t := range a.times {
		var chains [][]*x509.Certificate
		why := "the trusted root names no certificate authority"
		for _, authority := range a.root.certifiers() {
			if own, ok := authority.(*root.FulcioCertificateAuthority); ok && len(a.inner) > 0 {
				more := *own
				more.Intermediates = slices.Concat(own.Intermediates, a.inner)
				authority = &more
			}
			found, err := authority.Verify(&leaf, t.at)
			if err == nil {
				chains = found
				break
			}
			why = plain(err)
		}
		if chains == nil {
			return in, faultf(CodeCertificate, "at %s: %s", stamp(t.at), why)
		}
		a.chains = chains
	}
	return in, nil
}

// certificateLog verifies that the certificate is in a certificate log.
func (a *attempt) certificateLog() (string, *fault) {
	if a.leaf == nil || len(a.root.certificateLogs()) == 0 {
		return "", nil
	}
	in := fmt.Sprintf("%d logs", len(a.root.certificateLogs()))
	if err := verify.VerifySignedCertificateTimestamp(a.chains, 1, a.root.material); err != nil {
		return in, faultf(CodeSCT, "%s", plain(err))
	}
	return in, nil
}

// keyTime compares the times of signing with what the key may be used for.
func (a *attempt) keyTime() (string, *fault) {
	k := a.signer.Key
	if k == nil || k.From.IsZero() && k.Until.IsZero() {
		return "", nil
	}
	in := "from " + bound(k.From) + " to " + bound(k.Until)
	for _, t := range a.times {
		if why := within(t.at, k.From, k.Until); why != "" {
			return in, faultf(CodeKeyTime, "the key %s at %s", why, stamp(t.at))
		}
	}
	return in, nil
}

func bound(t time.Time) string {
	if t.IsZero() {
		return "ever"
	}
	return stamp(t)
}

// identity compares whom the certificate names with who may sign.
func (a *attempt) identity() (string, *fault) {
	id := a.signer.Identity
	if id == nil || a.leaf == nil {
		return "", nil
	}
	s, err := certificate.SummarizeCertificate(a.leaf)
	if err != nil {
		return "", faultf(CodeIdentity, "%s", plain(err))
	}
	in := s.Issuer + " " + s.SubjectAlternativeName
	switch {
	case !id.issuer.MatchString(s.Issuer):
		return in, faultf(CodeIdentity, "it was issued on the word of %q", s.Issuer)
	case !id.subject.MatchString(s.SubjectAlternativeName):
		return in, faultf(CodeIdentity, "it was issued to %q", s.SubjectAlternativeName)
	}
	a.counted = in
	return in, nil
}

// revocation refuses what is signed by somebody whom the policy revokes. It comes when all
// else is known to be good: what fails for another reason says that reason.
func (a *attempt) revocation() (string, *fault) {
	if a.signer.Revoked != "" {
		return a.signer.Name, faultf(CodeSignerRevoked, "%s is revoked: %s", a.signer.Name, a.signer.Revoked)
	}
	return a.signer.Name, nil
}

// signerKind wants a key where a key may sign, and a certificate where an identity may.
func (a *attempt) signerKind() (string, *fault) {
	switch {
	case a.signer.Keyring != nil && a.pgp == nil:
		return "", faultf(CodeSignerKind, "it is no OpenPGP message, and %s signs with an OpenPGP key", a.signer.Name)
	case a.signer.Keyring != nil:
		return "OpenPGP key", nil
	case a.signer.Notary != nil && a.notary == nil:
		return "", faultf(CodeSignerKind, "it is no signature by notation, and %s signs so", a.signer.Name)
	case a.signer.Notary != nil:
		return "notation", nil
	case a.notary != nil:
		return "notation", faultf(CodeSignerKind, "it was signed by notation, and %s does not sign so", firstOf(a.signer.Name, "the signer"))
	case a.pgp != nil:
		return "OpenPGP key", faultf(CodeSignerKind, "it was signed with an OpenPGP key, and %s does not sign with one", firstOf(a.signer.Name, "the signer"))
	case a.signer.Key != nil && a.leaf != nil:
		return "certificate", faultf(CodeSignerKind, "it was signed with a certificate, and %s signs with a key", a.signer.Name)
	case a.signer.Key != nil:
		if err := strong(a.signer.Key.Public); err != nil {
			return "key", faultf(CodeWeakKey, "%s", plain(err))
		}
		a.public, a.counted = a.signer.Key.Public, a.signer.Key.ID
		if a.counted == "" { // it was put together without NewKey
			a.counted = keyName(a.public)
		}
		return "key " + a.counted, nil
	case a.signer.Identity == nil:
		return "", faultf(CodeSignerKind, "%s names neither a key nor an identity", firstOf(a.signer.Name, "the signer"))
	case a.leaf == nil:
		return "key", faultf(CodeSignerKind, "it was signed with a key, and no key is given")
	}
	a.public = a.leaf.PublicKey
	if err := strong(a.public); err != nil {
		return "certificate", faultf(CodeWeakKey, "%s", plain(err))
	}
	return "certificate " + string(dossier.FromBytes(a.leaf.Raw)), nil
}
