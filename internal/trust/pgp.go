// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"dossier.dev/dossier"
)

// pgpSigned is a signed OpenPGP message: what containers/image calls simple signing.
type pgpSigned struct {
	signature *packet.Signature
	payload   simplePayload
	key       *pgpKey // that made it
}

// simplePayload is what such a message says (containers-signature(5)). What is optional
// in it, who made it with which program and when, nobody relies on.
type simplePayload struct {
	Critical struct {
		Type  string `json:"type"`
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
	} `json:"critical"`
	Optional json.RawMessage `json:"optional"`
}

// maxPayload is how large the payload of such a message may be, decompressed.
const maxPayload = 1 << 20

// typeSimple is the type that is written in simple signing by OpenPGP.
const typeSimple = "atomic container signature"

// readPGP reads a signed message: one signature over one text, which may be compressed.
func readPGP(b []byte) *signed {
	s := &signed{form: "OpenPGP message", pgp: &pgpSigned{}, faults: map[string]*fault{}}
	if len(b) > MaxEvidence {
		s.fail(checkFormat, faultf(CodeTooMuch, "it has %d bytes, MaxEvidence is %d", len(b), MaxEvidence))
		return s
	}
	sig, message, err := openMessage(b)
	switch {
	case errors.Is(err, errNotOneSignature):
		s.fail(checkContent, faultf(CodeNoSignature, "%s", plain(err)))
		return s
	case errors.Is(err, errTooMuch):
		s.fail(checkFormat, faultf(CodeTooMuch, "%s", plain(err)))
		return s
	case err != nil:
		s.fail(checkFormat, faultf(CodeMalformed, "%s", plain(err)))
		return s
	}
	s.message, s.pgp.signature = message, sig
	d := json.NewDecoder(bytes.NewReader(message))
	d.DisallowUnknownFields() // all that is critical must be understood
	if err := d.Decode(&s.pgp.payload); err != nil {
		s.fail(checkFormat, faultf(CodeMalformed, "the payload: %s", plain(err)))
	} else if d.More() {
		s.fail(checkFormat, faultf(CodeMalformed, "the payload: there is more after it"))
	}
	return s
}

var (
	errNotOneSignature = errors.New("it is not one signature over one text")
	errTooMuch         = fmt.Errorf("what is signed has more than %d bytes", maxPayload)
)

// openMessage takes a message apart: the announcement of a signature, a text, that
// signature, and nothing else.
func openMessage(b []byte) (*packet.Signature, []byte, error) {
	packets := packet.NewReader(bytes.NewReader(b))
	p, err := packets.NextWithUnsupported()
	if c, ok := p.(*packet.Compressed); ok && err == nil {
		// Two packets and the text, which is limited again below.
		packets = packet.NewReader(io.LimitReader(c.Body, maxPayload+2*maxSignature))
		p, err = packets.NextWithUnsupported()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("it is no OpenPGP message: %w", err)
	}
	if _, ok := p.(*packet.OnePassSignature); !ok {
		return nil, nil, errNotOneSignature
	}
	if p, err = packets.NextWithUnsupported(); err != nil {
		return nil, nil, err
	}
	literal, ok := p.(*packet.LiteralData)
	if !ok {
		return nil, nil, errNotOneSignature
	}
	message, err := io.ReadAll(io.LimitReader(literal.Body, maxPayload+1))
	if err != nil {
		return nil, nil, err
	}
	if len(message) > maxPayload {
		return nil, nil, errTooMuch
	}
	if p, err = packets.NextWithUnsupported(); err != nil {
		return nil, nil, err
	}
	sig, ok := p.(*packet.Signature)
	if !ok || sig.Version != 4 && sig.Version != 6 || sig.SigType != packet.SigTypeBinary {
		return nil, nil, errNotOneSignature
	}
	for _, n := range sig.Notations {
		if n.IsCritical {
			return nil, nil, fmt.Errorf("the signature says something that must be understood: %q", n.Name)
		}
	}
	if _, err = packets.NextWithUnsupported(); !errors.Is(err, io.EOF) {
		return nil, nil, errNotOneSignature
	}
	return sig, message, nil
}

// pgpKey looks for the key that the signature names among those of the signer.
func (a *attempt) pgpKey() (string, *fault) {
	if a.pgp == nil {
		return "", nil
	}
	sig := a.pgp.signature
	if sig == nil || a.signer.Keyring == nil {
		return "", faultf(CodeKeyUnknown, "there is no key to look for, or nowhere to look")
	}
	in := fmt.Sprintf("%X", sig.IssuerFingerprint)
	if len(sig.IssuerFingerprint) == 0 && sig.IssuerKeyId != nil {
		in = fmt.Sprintf("key ID %016X", *sig.IssuerKeyId)
	}
	if a.pgp.key = a.signer.Keyring.byIssuer(sig); a.pgp.key == nil {
		return in, faultf(CodeKeyUnknown, "%s is no key of %s", firstOf(in, "what signed"), a.signer.Name)
	}
	a.counted = a.pgp.key.primary
	return in, nil
}

// pgpStrength refuses keys and hashes that can be broken.
func (a *attempt) pgpStrength() (string, *fault) {
	if a.pgp == nil || a.pgp.key == nil {
		return "", nil
	}
	h := a.pgp.signature.Hash
	switch {
	case a.pgp.key.weak != "":
		return h.String(), faultf(CodeWeakKey, "%s", a.pgp.key.weak)
	case h != crypto.SHA256 && h != crypto.SHA384 && h != crypto.SHA512 && h != crypto.SHA3_256 && h != crypto.SHA3_512:
		return h.String(), faultf(CodeWeakHash, "it is signed over a %s, which can be forged", h)
	}
	return h.String(), nil
}

// verifyPGP verifies the signature of the message. The packet that was read is used by
// one attempt after another, so what verifying changes in it is changed in a copy.
func (a *attempt) verifyPGP() (string, *fault) {
	in := a.counted
	if a.pgp.key == nil {
		return in, faultf(CodeSignature, "there is no key to verify it by")
	}
	sig := *a.pgp.signature
	h, err := sig.PrepareVerify()
	if err == nil {
		h.Write(a.message)
		err = a.pgp.key.public.VerifySignature(h, &sig)
	}
	if err != nil {
		return in, faultf(CodeSignature, "it is not a signature by %s: %s", in, plain(err))
	}
	return in, nil
}

// pgpUsage wants a key that is meant for signing: one for encryption may be shared.
func (a *attempt) pgpUsage() (string, *fault) {
	if a.pgp == nil || a.pgp.key == nil || a.pgp.key.signs || a.pgp.key.revoked != "" {
		return "", nil
	}
	return "", faultf(CodeKeyUsage, "the key is not meant for signing")
}

// pgpRevocation refuses what a revoked key signed, whenever that was.
func (a *attempt) pgpRevocation() (string, *fault) {
	if a.pgp == nil || a.pgp.key == nil || a.pgp.key.revoked == "" {
		return "", nil
	}
	return "", faultf(CodeKeyRevoked, "of the key %s: %s", a.pgp.key.primary, a.pgp.key.revoked)
}

// pgpExpiry refuses keys and signatures that have ended. When it was signed only the
// signature itself says, so the key must be good now.
func (a *attempt) pgpExpiry() (string, *fault) {
	if a.pgp == nil || a.pgp.key == nil {
		return "", nil
	}
	key, sig := a.pgp.key, a.pgp.signature
	end := after(sig.CreationTime, sig.SigLifetimeSecs)
	a.turns = append(a.turns, key.expires, end, key.public.CreationTime)
	in := "key until " + bound(key.expires) + ", signature until " + bound(end)
	switch {
	case ended(key.expires, a.at):
		return in, faultf(CodeKeyExpired, "the key expired %s", stamp(key.expires))
	case ended(end, a.at):
		return in, faultf(CodeSignatureExpired, "the signature expired %s", stamp(end))
	case key.public.CreationTime.After(a.at), sig.CreationTime.Unix() < key.public.CreationTime.Unix():
		return in, faultf(CodeKeyTime, "the key was made %s, the signature says %s", stamp(key.public.CreationTime), stamp(sig.CreationTime))
	}
	a.until = earliest(a.until, earliest(key.expires, end))
	return in, nil
}

// ended reports whether an end has passed. The end itself does not belong to the time.
func ended(end, at time.Time) bool { return !end.IsZero() && !at.Before(end) }

// claim compares the image that the signature names with the one that is asked about.
func (a *attempt) claim() (string, *fault) {
	if a.pgp == nil {
		return "", nil
	}
	in := a.pgp.payload.Critical.Identity.Reference
	if why := a.match.accepts(a.asked.Reference, in); why != "" {
		return in, faultf(CodeReference, "it is signed as %q, and %s", in, why)
	}
	return in, nil
}

// Match says which name in a signature stands for an image, as policy.json does under
// signedIdentity (containers-policy.json(5)).
type Match struct {
	// Type is one of the Match constants; empty: MatchRepoDigestOrExact.
	Type string `yaml:"type"`
	// Reference is the name that must be signed, for MatchExactReference.
	Reference string `yaml:"reference"`
	// Repository is that of the name, for MatchExactRepository.
	Repository string `yaml:"repository"`
	// Prefix of the image is replaced by SignedPrefix, for MatchRemap: the image is a
	// mirror of what was signed.
	Prefix       string `yaml:"prefix"`
	SignedPrefix string `yaml:"signedPrefix"`
}

// The ways to compare.
const (
	MatchExact             = "matchExact"             // the same repository and the same tag
	MatchRepoDigestOrExact = "matchRepoDigestOrExact" // the same repository; for an image by tag the same tag
	MatchRepository        = "matchRepository"        // the same repository
	MatchExactReference    = "exactReference"         // the one that is configured
	MatchExactRepository   = "exactRepository"        // any of a repository that is configured
	MatchRemap             = "remapIdentity"          // as MatchRepoDigestOrExact, by another beginning
)

// check says what is wrong with it as written.
func (m Match) check() error {
	parses := func(name, text string, tagged bool) error {
		ref, err := dossier.ParseReference(text)
		if err != nil {
			return fmt.Errorf("signedIdentity.%s: %w", name, err)
		}
		if tagged != (ref.Tag != "") || ref.Digest != "" {
			return fmt.Errorf("signedIdentity.%s: %q must be a name %s", name, text, map[bool]string{true: "with a tag", false: "without a tag"}[tagged])
		}
		return nil
	}
	if m.Type != MatchRemap && m.Prefix+m.SignedPrefix != "" || m.Type != MatchExactReference && m.Reference != "" || m.Type != MatchExactRepository && m.Repository != "" {
		return fmt.Errorf("signedIdentity: something is set that the type %q does not use", m.Type)
	}
	switch m.Type {
	case "", MatchExact, MatchRepoDigestOrExact, MatchRepository:
		return nil
	case MatchExactReference:
		return parses("reference", m.Reference, true)
	case MatchExactRepository:
		return parses("repository", m.Repository, false)
	case MatchRemap:
		if m.Prefix == "" || m.SignedPrefix == "" {
			return errors.New("signedIdentity: remapIdentity needs prefix and signedPrefix")
		}
		return nil
	}
	return fmt.Errorf("signedIdentity: there is no type %q", m.Type)
}

// accepts says why a signed name does not stand for an image, or "". An image that is
// asked for by no name has none to compare.
func (m Match) accepts(image, signed string) string {
	is, err := dossier.ParseReference(signed)
	if err != nil {
		return "that is no name of an image"
	}
	if is.Tag == "" && is.Digest == "" && m.Type != MatchRepository && m.Type != MatchExactRepository {
		return "that has neither tag nor digest"
	}
	switch m.Type {
	case MatchExactReference:
		want, err := dossier.ParseReference(m.Reference)
		if err == nil && want == is {
			return ""
		}
		return m.Reference + " is wanted"
	case MatchExactRepository:
		want, err := dossier.ParseReference(m.Repository)
		if err == nil && want.Name() == is.Name() {
			return ""
		}
		return m.Repository + " is wanted"
	}
	asked, err := dossier.ParseReference(image)
	if err != nil {
		return "no name is asked for to compare it with"
	}
	if m.Type == MatchRemap {
		if asked, err = m.remap(asked); err != nil {
			return plain(err)
		}
	}
	asked = asked.WithDefaultTag()
	switch {
	case asked.Name() != is.Name():
		return asked.Name() + " is wanted"
	case m.Type == MatchRepository:
		return ""
	case asked.Digest != "" && m.Type != MatchExact:
		return ""
	case asked.Digest != "":
		return "the image is asked for by its digest, so that no tag can be compared"
	case asked.Tag != is.Tag:
		return asked.String() + " is wanted"
	}
	return ""
}

// remap puts another beginning before the name of an image. A beginning is whole labels,
// and what does not begin so stays as it is.
func (m Match) remap(asked dossier.Reference) (dossier.Reference, error) {
	name := asked.Name()
	rest, ok := cutPrefix(name, m.Prefix)
	if !ok {
		return asked, nil
	}
	ref, err := dossier.ParseReference(m.SignedPrefix + rest)
	if err != nil {
		return ref, fmt.Errorf("the image would be %s, which is no name", m.SignedPrefix+rest)
	}
	ref.Tag, ref.Digest = asked.Tag, asked.Digest
	return ref, nil
}

func cutPrefix(name, prefix string) (rest string, ok bool) {
	if len(name) < len(prefix) || name[:len(prefix)] != prefix {
		return "", false
	}
	rest = name[len(prefix):]
	return rest, rest == "" || rest[0] == '/'
}
