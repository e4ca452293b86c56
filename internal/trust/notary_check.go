// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	nx509 "github.com/notaryproject/notation-core-go/x509"
	"github.com/notaryproject/tspclient-go"
)

// The names of the checks of notation's signatures that its levels may loosen.
const (
	checkNotaryChain      = "notation-chain"
	checkNotaryIdentity   = "notation-identity"
	checkNotaryTime       = "notation-time"
	checkNotaryValidity   = "notation-validity"
	checkNotaryExpiry     = "notation-expiry"
	checkNotaryRevocation = "notation-revocation"
)

// notation returns whom a signature by notation is held against, or nil when the evidence
// is none, or the signer does not sign so.
func (a *attempt) notation() *Notary {
	if a.notary == nil || a.notary.info == nil || len(a.notary.info.CertificateChain) == 0 {
		return nil
	}
	return a.signer.Notary
}

// verifyNotary verifies the envelope.
func (a *attempt) verifyNotary() (string, *fault) {
	if a.notary.info == nil || len(a.notary.info.CertificateChain) == 0 {
		return "", faultf(CodeSignature, "it has no certificate")
	}
	leaf := a.notary.info.CertificateChain[0]
	a.counted = keyName(leaf.PublicKey)
	if _, err := a.notary.envelope.Verify(); err != nil {
		return a.counted, faultf(CodeSignature, "%s", plain(err))
	}
	return a.counted, nil
}

// notaryChain wants one of the trusted certificates of the signing scheme in the chain.
func (a *attempt) notaryChain() (string, *fault) {
	n := a.notation()
	if n == nil {
		return "", nil
	}
	trusted, scheme := n.roots, signature.SigningSchemeX509
	if a.notary.authority() {
		trusted, scheme = n.authorities, signature.SigningSchemeX509SigningAuthority
	}
	chain := a.notary.info.CertificateChain
	root, err := signature.VerifyAuthenticity(a.notary.info, trusted)
	if err != nil {
		return string(scheme), faultf(CodeCertificate, "no certificate of %s is in its chain that is trusted with the scheme %s", a.signer.Name, scheme)
	}
	a.authentic = true
	return fmt.Sprintf("%s, by %s, %s", chain[0].Subject, root.Subject, scheme), nil
}

// notaryIdentity wants the subject of the certificate among those that are trusted. A
// signer is counted by that subject and the authority: a new certificate makes nobody a
// second one.
func (a *attempt) notaryIdentity() (string, *fault) {
	n := a.notation()
	if n == nil {
		return "", nil
	}
	chain := a.notary.info.CertificateChain
	in := chain[0].Subject.String()
	a.counted = in + ", by " + chain[len(chain)-1].Subject.String()
	if n.subjects == nil {
		return in, nil
	}
	is, err := parseName(in)
	if err != nil {
		return in, faultf(CodeIdentity, "%s", plain(err))
	}
	if !slices.ContainsFunc(n.subjects, func(want map[string]string) bool { return includes(is, want) }) {
		return in, faultf(CodeIdentity, "%s is none of the subjects of %s", in, a.signer.Name)
	}
	return in, nil
}

// notaryTime finds out when it was signed: of the scheme notary.x509 by a timestamp, when
// the signer names authorities, of notary.x509.signingAuthority by who signed.
func (a *attempt) notaryTime() (string, *fault) {
	n := a.notation()
	switch {
	case n == nil:
		return "", nil
	case a.notary.authority():
		at := a.notary.info.SignedAttributes.SigningTime.UTC()
		a.between = []time.Time{at}
		if a.authentic {
			a.times = append(a.times, observed{at, "signing authority"})
		}
		return stamp(at), nil
	case n.stamps == nil, n.stamped == stampAfterEnd && !a.chainEnded():
		return "", nil
	case len(a.notary.info.UnsignedAttributes.TimestampSignature) == 0 && n.stamped == stampMay:
		return "", nil
	case len(a.notary.info.UnsignedAttributes.TimestampSignature) == 0:
		return "", faultf(CodeNoTime, "it has no timestamp, and %s wants one", a.signer.Name)
	}
	at, chain, err := stampedAt(a.notary.info, n.stamps)
	if err != nil {
		return "", faultf(CodeTimestamp, "%s", plain(err))
	}
	a.between, a.stampers = []time.Time{at.Value.Add(-at.Accuracy), at.Value.Add(at.Accuracy)}, chain
	a.times = append(a.times, observed{a.between[1].UTC(), "timestamp authority"})
	return stamp(a.between[1]), nil
}

// chainEnded reports whether a certificate of the chain has ended at the time of the decision.
func (a *attempt) chainEnded() bool {
	out := false
	for _, c := range a.notary.info.CertificateChain {
		a.turns = append(a.turns, c.NotAfter.Add(time.Second))
		out = out || a.at.After(c.NotAfter)
	}
	return out
}

// still is a context that never ends: what it is for does no I/O.
type still struct{}

// Deadline implements context.Context.
func (still) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (still) Done() <-chan struct{} { return nil }

// Err implements context.Context.
func (still) Err() error { return nil }

// Value implements context.Context.
func (still) Value(any) any { return nil }

// stampedAt verifies the timestamp, and returns the chain of who made it.
func stampedAt(info *signature.SignerInfo, roots *x509.CertPool) (*tspclient.Timestamp, []*x509.Certificate, error) {
	token, err := tspclient.ParseSignedToken(info.UnsignedAttributes.TimestampSignature)
	if err != nil {
		return nil, nil, err
	}
	said, err := token.Info()
	if err != nil {
		return nil, nil, err
	}
	t, err := said.Validate(info.Signature)
	if err != nil {
		return nil, nil, err
	}
	chain, err := token.Verify(still{}, x509.VerifyOptions{CurrentTime: t.Value, Roots: roots})
	if err != nil {
		return nil, nil, err
	}
	return t, chain, nx509.ValidateTimestampingCertChain(chain)
}

// notaryValidity wants all certificates of the chain to have been valid when it was
// signed: all the time that it may have been, if somebody vouches for that, else now.
func (a *attempt) notaryValidity() (string, *fault) {
	if a.notation() == nil {
		return "", nil
	}
	times := a.between
	if len(times) == 0 {
		times = []time.Time{a.at}
	}
	in := "at " + stamp(times[len(times)-1])
	for _, c := range a.notary.info.CertificateChain {
		if len(a.between) == 0 {
			a.turns = append(a.turns, c.NotBefore, c.NotAfter.Add(time.Second))
			a.until = earliest(a.until, c.NotAfter.Add(time.Second))
		}
		for _, at := range times {
			if why := within(at, c.NotBefore, c.NotAfter); why != "" {
				return in, faultf(CodeCertificate, "the certificate of %s %s at %s", c.Subject, why, stamp(at))
			}
		}
	}
	return in, nil
}

// notaryExpiry refuses what the signer said should not be used any more.
func (a *attempt) notaryExpiry() (string, *fault) {
	if a.notary == nil || a.notary.info == nil {
		return "", nil
	}
	end := a.notary.info.SignedAttributes.Expiry
	a.turns = append(a.turns, end)
	if ended(end, a.at) {
		return bound(end), faultf(CodeSignatureExpired, "the signature expired %s", stamp(end))
	}
	a.until = earliest(a.until, end.UTC())
	return bound(end), nil
}
