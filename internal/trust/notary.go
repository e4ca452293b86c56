// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	nx509 "github.com/notaryproject/notation-core-go/x509"
	"github.com/notaryproject/tspclient-go"
	cosemessage "github.com/veraison/go-cose"

	"dossier.dev/dossier"
)

// Notary is who signs as the Notary Project specifies it, by certificates: a trust store
// and the identities that are trusted of it.
type Notary struct {
	roots    []*x509.Certificate // one of them must be in the chain
	subjects []map[string]string // attributes that the subject must have; nil: any subject
	stamps   *x509.CertPool      // roots of timestamp authorities; nil: none is trusted
	crls     []*x509.RevocationList
}

// notarySigned is what a signature envelope says before it is verified.
type notarySigned struct {
	envelope signature.Envelope
	info     *signature.SignerInfo
	target   dossier.Digest
}

// The names of the Notary Project.
const (
	NotaryArtifact = "application/vnd.cncf.notary.signature" // artifact type of signatures

	notaryPayload = "application/vnd.cncf.notary.payload.v1+json"
)

// NotaryForm returns the form of a signature envelope by its media type.
func NotaryForm(mediaType string) (Form, bool) {
	switch mediaType {
	case jws.MediaTypeEnvelope:
		return FormJWS, true
	case cose.MediaTypeEnvelope:
		return FormCOSE, true
	}
	return "", false
}

// newNotary reads a trust store. KindInvalid.
func newNotary(certificates, stampers, crls [][]byte, subjects []string) (*Notary, error) {
	bad := func(err error) error {
		return &dossier.Error{Kind: dossier.KindInvalid, Op: "reading trust store", Err: err}
	}
	n := &Notary{}
	for _, b := range certificates {
		list, err := parseCertificates(b)
		if err != nil {
			return nil, bad(err)
		}
		n.roots = append(n.roots, list...)
	}
	for _, b := range stampers {
		list, err := parseCertificates(b)
		if err != nil {
			return nil, bad(fmt.Errorf("timestampers: %w", err))
		}
		if n.stamps == nil {
			n.stamps = x509.NewCertPool()
		}
		for _, c := range list {
			n.stamps.AddCert(c)
		}
	}
	for _, b := range crls {
		if block, _ := pem.Decode(b); block != nil {
			b = block.Bytes
		}
		crl, err := x509.ParseRevocationList(b)
		if err != nil {
			return nil, bad(fmt.Errorf("crls: %w", err))
		}
		n.crls = append(n.crls, crl)
	}
	for _, text := range subjects {
		if text == "*" && len(subjects) == 1 {
			return n, nil
		}
		name, err := parseName(text)
		if err != nil {
			return nil, bad(fmt.Errorf("subjects: %w", err))
		}
		n.subjects = append(n.subjects, name)
	}
	if len(n.subjects) == 0 {
		return nil, bad(errors.New("subjects is empty: name who is trusted, or \"*\" for all that the certificates vouch for"))
	}
	return n, nil
}

func parseCertificates(b []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	ders := certificates(b)
	if len(ders) == 0 {
		ders = [][]byte{b}
	}
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// parseName reads a distinguished name (RFC 4514), each attribute once.
func parseName(text string) (map[string]string, error) {
	out := map[string]string{}
	var part strings.Builder
	end := func() error {
		key, value, ok := strings.Cut(part.String(), "=")
		key, value = strings.ToUpper(strings.TrimSpace(key)), strings.TrimSpace(value)
		part.Reset()
		if key == "S" {
			key = "ST"
		}
		if _, twice := out[key]; !ok || key == "" || value == "" || twice {
			return fmt.Errorf("%q is no distinguished name in which each attribute stands once", text)
		}
		out[key] = value
		return nil
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			part.WriteByte(text[i])
		case c == '+':
			return nil, fmt.Errorf("%q has two attributes in one place", text)
		case c == ',':
			if err := end(); err != nil {
				return nil, err
			}
		default:
			part.WriteByte(c)
		}
	}
	return out, end()
}

// readNotary reads a signature envelope: JWS or COSE.
func readNotary(form Form, b []byte) *signed {
	s := &signed{form: "notation signature, " + string(form), notary: &notarySigned{}, faults: map[string]*fault{}}
	if len(b) > maxNotary {
		s.fail(checkFormat, faultf(CodeTooMuch, "it has %d bytes, more than %d", len(b), maxNotary))
		return s
	}
	if n := certificatesIn(form, b); n > maxChain { // each costs the library two signatures, before anybody is trusted
		s.fail(checkFormat, faultf(CodeTooMuch, "it has %d certificates, more than %d", n, maxChain))
		return s
	}
	parse := jws.ParseEnvelope
	if form == FormCOSE {
		parse = cose.ParseEnvelope
	}
	envelope, err := parse(b)
	if err != nil {
		s.fail(checkFormat, faultf(CodeMalformed, "%s", plain(err)))
		return s
	}
	content, err := envelope.Content()
	if err != nil {
		s.fail(checkFormat, faultf(CodeMalformed, "%s", plain(err)))
		return s
	}
	s.notary.envelope, s.notary.info, s.signature = envelope, &content.SignerInfo, content.SignerInfo.Signature
	if scheme := content.SignerInfo.SignedAttributes.SigningScheme; scheme != signature.SigningSchemeX509 {
		s.fail(checkFormat, faultf(CodeVersion, "the signing scheme %q", scheme))
	}
	for _, a := range content.SignerInfo.SignedAttributes.ExtendedAttributes {
		if a.Critical {
			s.fail(checkContent, faultf(CodeNoSignature, "it has the critical attribute %q, which is not understood", fmt.Sprint(a.Key)))
		}
	}
	var payload struct {
		Target struct {
			Digest string `json:"digest"`
		} `json:"targetArtifact"`
	}
	if content.Payload.ContentType != notaryPayload {
		s.fail(checkContent, faultf(CodeNoSignature, "its content is a %q", content.Payload.ContentType))
	} else if err := json.Unmarshal(content.Payload.Content, &payload); err != nil {
		s.fail(checkContent, faultf(CodeNoSignature, "its content: %s", plain(err)))
	}
	s.notary.target = dossier.Digest(payload.Target.Digest)
	return s
}

// maxNotary is how large a signature envelope may be, in bytes: a chain of certificates and
// a timestamp.
const maxNotary = 64 << 10

// certificatesIn counts the certificates in an envelope.
func certificatesIn(form Form, b []byte) int {
	if form == FormCOSE {
		var m cosemessage.Sign1Message
		if m.UnmarshalCBOR(b) != nil {
			return 0 // what cannot be read is refused
		}
		list, _ := m.Headers.Unprotected[cosemessage.HeaderLabelX5Chain].([]any)
		return len(list)
	}
	var m struct {
		Header struct {
			Chain []json.RawMessage `json:"x5c"`
		} `json:"header"`
	}
	if json.Unmarshal(b, &m) != nil {
		return 0
	}
	return len(m.Header.Chain)
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

// notaryTime verifies the timestamp, when the signer names authorities. That it was not
// good is no fault by itself: the certificate is then looked at as of now.
func (a *attempt) notaryTime() (string, *fault) {
	if a.notary == nil || a.notary.info == nil || len(a.notary.info.UnsignedAttributes.TimestampSignature) == 0 || a.signer.Notary == nil || a.signer.Notary.stamps == nil {
		return "", nil
	}
	at, err := stampedAt(a.notary.info, a.signer.Notary.stamps)
	if err != nil {
		return "", faultf(CodeTimestamp, "%s", plain(err))
	}
	a.times = append(a.times, observed{at.UTC(), "timestamp authority"})
	return stamp(at), nil
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

func stampedAt(info *signature.SignerInfo, roots *x509.CertPool) (time.Time, error) {
	token, err := tspclient.ParseSignedToken(info.UnsignedAttributes.TimestampSignature)
	if err != nil {
		return time.Time{}, err
	}
	said, err := token.Info()
	if err != nil {
		return time.Time{}, err
	}
	t, err := said.Validate(info.Signature)
	if err != nil {
		return time.Time{}, err
	}
	chain, err := token.Verify(still{}, x509.VerifyOptions{CurrentTime: t.Value, Roots: roots})
	if err != nil {
		return time.Time{}, err
	}
	// The latest time that it may have been: it must not be later than the certificate.
	return t.Value.Add(t.Accuracy), nx509.ValidateTimestampingCertChain(chain)
}

// notaryChain wants one of the trusted certificates in the chain, and all of it to be
// valid when it was signed: by a timestamp, else now.
func (a *attempt) notaryChain() (string, *fault) {
	if a.notary == nil || a.notary.info == nil || a.signer.Notary == nil {
		return "", nil
	}
	chain := a.notary.info.CertificateChain
	root, err := signature.VerifyAuthenticity(a.notary.info, a.signer.Notary.roots)
	if err != nil {
		return "", faultf(CodeCertificate, "no certificate of %s is in its chain", a.signer.Name)
	}
	at := a.at
	if len(a.times) > 0 {
		at = a.times[0].at
	}
	in := fmt.Sprintf("%s, by %s, at %s", chain[0].Subject, root.Subject, stamp(at))
	for _, c := range chain {
		if len(a.times) == 0 {
			a.turns = append(a.turns, c.NotBefore, c.NotAfter.Add(time.Second))
			a.until = earliest(a.until, c.NotAfter.Add(time.Second))
		}
		if why := within(at, c.NotBefore, c.NotAfter); why != "" {
			return in, faultf(CodeCertificate, "the certificate of %s %s", c.Subject, why)
		}
	}
	return in, nil
}

// notaryRevocation looks whether a certificate of the chain is on a list that the policy
// names. Nothing is fetched. A list that should have been renewed tells nothing good.
func (a *attempt) notaryRevocation() (string, *fault) {
	if a.notary == nil || a.notary.info == nil || a.signer.Notary == nil || len(a.signer.Notary.crls) == 0 {
		return "", nil
	}
	chain := a.notary.info.CertificateChain
	seen := 0
	for i, c := range chain[:max(0, len(chain)-1)] {
		issuer, before := chain[i+1], seen
		for _, crl := range a.signer.Notary.crls {
			if string(crl.RawIssuer) != string(issuer.RawSubject) || crl.CheckSignatureFrom(issuer) != nil {
				continue
			}
			seen++
			a.turns = append(a.turns, crl.NextUpdate)
			if !crl.NextUpdate.IsZero() && !a.at.Before(crl.NextUpdate) {
				return "", faultf(CodeListStale, "the list of %s should have been renewed %s", issuer.Subject, stamp(crl.NextUpdate))
			}
			a.until = earliest(a.until, crl.NextUpdate)
			for _, r := range crl.RevokedCertificateEntries {
				if r.SerialNumber.Cmp(c.SerialNumber) == 0 {
					return c.Subject.String(), faultf(CodeCertificateRevoked, "the certificate of %s was revoked %s", c.Subject, stamp(r.RevocationTime))
				}
			}
		}
		if i == 0 && seen == before {
			return "", faultf(CodeListStale, "there is no list of %s, who issued the certificate", issuer.Subject)
		}
	}
	return fmt.Sprintf("%d lists", seen), nil
}

// notaryIdentity wants the subject of the certificate among those that are trusted. A
// signer is counted by that subject and the authority: a new certificate makes nobody a
// second one.
func (a *attempt) notaryIdentity() (string, *fault) {
	if a.notary == nil || a.notary.info == nil || a.signer.Notary == nil || len(a.notary.info.CertificateChain) == 0 {
		return "", nil
	}
	chain := a.notary.info.CertificateChain
	in := chain[0].Subject.String()
	a.counted = in + ", by " + chain[len(chain)-1].Subject.String()
	if a.signer.Notary.subjects == nil {
		return in, nil
	}
	is, err := parseName(in)
	if err != nil {
		return in, faultf(CodeIdentity, "%s", plain(err))
	}
	for _, want := range a.signer.Notary.subjects {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(k string) bool { return is[k] != want[k] }) {
			return in, nil
		}
	}
	return in, faultf(CodeIdentity, "%s is none of the subjects of %s", in, a.signer.Name)
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
