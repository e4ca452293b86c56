// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes that messages are signed over
	_ "crypto/sha512"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// digestOf returns the digest of the artifact by a hash: of its bytes, or as asked.
func (a *attempt) digestOf(h crypto.Hash) []byte {
	if !h.Available() {
		return nil
	}
	if d := a.asked.digests[h]; d != nil {
		return d
	}
	if h == crypto.SHA256 && a.asked.Digest.Algorithm() == dossier.SHA256 || h == crypto.SHA512 && a.asked.Digest.Algorithm() == "sha512" {
		return unhex(a.asked.Digest.Hex())
	}
	return nil
}

// artifact compares what the evidence says that it signs with what is asked about.
func (a *attempt) artifact() (string, *fault) {
	switch {
	case a.notary != nil:
		in := string(a.notary.target)
		if a.notary.target != a.asked.Digest {
			return in, faultf(CodeArtifact, "it signs %q", in)
		}
		if !isManifest(a.notary.kind) {
			return in, faultf(CodeArtifact, "it signs a %q, no manifest of an image", a.notary.kind)
		}
		return in, nil
	case a.pgp != nil:
		in := a.pgp.payload.Critical.Image.Digest
		if kind := a.pgp.payload.Critical.Type; kind != typeSimple {
			return in, faultf(CodeArtifact, "the payload is a %q, no signature of an image", kind)
		}
		if in != string(a.asked.Digest) {
			return in, faultf(CodeArtifact, "it signs %q", in)
		}
		return in, nil
	case a.simple:
		var payload struct {
			Critical struct {
				Type  string `json:"type"`
				Image struct {
					Digest string `json:"docker-manifest-digest"`
				} `json:"image"`
			} `json:"critical"`
		}
		if err := json.Unmarshal(a.message, &payload); err != nil {
			return "", faultf(CodeMalformed, "the payload: %s", plain(err))
		}
		in := payload.Critical.Image.Digest
		if payload.Critical.Type != "cosign container image signature" {
			return in, faultf(CodeArtifact, "the payload is a %q, no signature of an image", payload.Critical.Type)
		}
		if in != string(a.asked.Digest) {
			return in, faultf(CodeArtifact, "it signs %q", in)
		}
		return in, nil
	case a.envelope != nil:
		return "", nil // the subject is looked at when the signature is known to be good
	}
	in := fmt.Sprintf("%x", a.digest)
	want := a.digestOf(a.hash)
	if want == nil {
		return in, faultf(CodeArtifact, "it signs a %s digest: the artifact itself is needed, not its %s", a.hash, a.asked.Digest.Algorithm())
	}
	if !bytes.Equal(want, a.digest) {
		return in, faultf(CodeArtifact, "the artifact is %x", want)
	}
	return in, nil
}

// verifySignature verifies the signature of the message or the envelope.
func (a *attempt) verifySignature() (string, *fault) {
	switch {
	case a.notary != nil:
		return a.verifyNotary()
	case a.pgp != nil:
		return a.verifyPGP()
	}
	in := a.counted
	if in == "" {
		in = keyName(a.public)
	}
	var ok bool
	switch {
	case a.envelope != nil:
		ok = verifies(a.public, a.envelope.pae(), nil, 0, a.signature)
	case a.message != nil:
		ok = verifies(a.public, a.message, nil, 0, a.signature)
	default:
		ok = verifies(a.public, a.asked.content, a.digestOf(a.hash), a.hash, a.signature)
	}
	if !ok {
		return in, faultf(CodeSignature, "it is not a signature by %s", in)
	}
	return in, nil
}

// verifies reports whether a key signed a message, or the digest of one that is not
// at hand. Ed25519 needs the message, unless it signed a SHA-512 of it (Ed25519ph).
func verifies(public crypto.PublicKey, message, digest []byte, h crypto.Hash, sig []byte) bool {
	if k, ok := public.(ed25519.PublicKey); ok {
		if message != nil && ed25519.Verify(k, message, sig) {
			return true
		}
		if h != crypto.SHA512 {
			digest = sum(crypto.SHA512, message)
		}
		return digest != nil && ed25519.VerifyWithOptions(k, digest, sig, &ed25519.Options{Hash: crypto.SHA512}) == nil
	}
	if digest == nil {
		for _, h := range hashesOf(public) {
			if message != nil && verifiesDigest(public, h, sum(h, message), sig) {
				return true
			}
		}
		return false
	}
	return verifiesDigest(public, h, digest, sig)
}

func sum(h crypto.Hash, message []byte) []byte {
	if message == nil {
		return nil
	}
	w := h.New()
	w.Write(message)
	return w.Sum(nil)
}

func verifiesDigest(public crypto.PublicKey, h crypto.Hash, digest, sig []byte) bool {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest, sig)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, h, digest, sig) == nil
	}
	return false
}

// statement is an in-toto statement, v0.1 or v1.
type statement struct {
	Type    string `json:"_type"`
	Subject []struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// The media type and the types of statements.
const (
	payloadInToto = "application/vnd.in-toto+json"
	statementV01  = "https://in-toto.io/Statement/v0.1"
	statementV1   = "https://in-toto.io/Statement/v1"
)

// subject reads the statement in the envelope, and compares what it speaks of with what
// is asked about.
func (a *attempt) subject() (string, *fault) {
	if a.envelope == nil {
		return "", nil
	}
	if a.envelope.payloadType != payloadInToto {
		return a.envelope.payloadType, faultf(CodePayload, "the envelope holds %q", a.envelope.payloadType)
	}
	var s statement
	if err := json.Unmarshal(a.envelope.payload, &s); err != nil {
		return "", faultf(CodePayload, "the statement: %s", plain(err))
	}
	if s.Type != statementV01 && s.Type != statementV1 {
		return s.Type, faultf(CodePayload, "the statement is a %q", s.Type)
	}
	a.statement = &s
	if len(s.Subject) > maxSubjects {
		return "", faultf(CodeTooMuch, "the statement has %d subjects, at most %d are read", len(s.Subject), maxSubjects)
	}
	var names []string
	for _, subject := range s.Subject {
		for algorithm, h := range map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512} {
			got := unhex(subject.Digest[algorithm])
			if want := a.digestOf(h); len(got) > 0 && want != nil && bytes.Equal(got, want) {
				return algorithm + ":" + subject.Digest[algorithm], nil
			}
		}
		names = append(names, firstOf(subject.Digest["sha256"], subject.Name))
	}
	slices.Sort(names)
	in := strings.Join(names[:min(len(names), 3)], ", ")
	return in, faultf(CodeSubject, "the statement speaks of %s", firstOf(in, "nothing"))
}

// predicate compares what is said with what is asked for.
func (a *attempt) predicate() (string, *fault) {
	said := ""
	if a.statement != nil {
		said = a.statement.PredicateType
	}
	want := a.asked.Predicate
	switch {
	case a.statement != nil && said == "":
		return "", faultf(CodePredicate, "the statement has no predicate type")
	case said == PredicateSummary && !a.asked.failed && !passed(a.statement.Predicate):
		return said, faultf(CodePredicate, "it is the summary of a verification that did not pass")
	case want == "" || want == said:
		return said, nil
	case want == SignatureOnly && (a.statement == nil || said == predicateCosignSign):
		return said, nil
	case want == SignatureOnly:
		return said, faultf(CodePredicate, "it is a statement of type %s, no signature of the image", said)
	}
	return said, faultf(CodePredicate, "it says %q", firstOf(said, "nothing but that it is signed"))
}

// passed reports whether a verification summary says so.
func passed(predicate []byte) bool {
	var p struct {
		Result string `json:"verificationResult"`
	}
	return json.Unmarshal(predicate, &p) == nil && p.Result == "PASSED"
}

// SignatureOnly as the predicate that is asked for means a signature of the artifact
// as such: no statement, or the one that cosign makes for an image.
const (
	SignatureOnly       = "signature"
	predicateCosignSign = "https://sigstore.dev/cosign/sign/v1"
)

// builder lets provenance speak for those builders only that its signer may speak for.
func (a *attempt) builder() (string, *fault) {
	if len(a.signer.Builders) == 0 || a.statement == nil || !isProvenance(a.statement.PredicateType) {
		return "", nil
	}
	var p struct {
		Builder    struct{ ID string } `json:"builder"` // v0.1, v0.2
		RunDetails struct {
			Builder struct{ ID string } `json:"builder"` // v1
		} `json:"runDetails"`
	}
	if err := json.Unmarshal(a.statement.Predicate, &p); err != nil {
		return "", faultf(CodeBuilder, "the predicate: %s", plain(err))
	}
	id := p.Builder.ID // each version in its own place: the other one may say anything
	if a.statement.PredicateType == "https://slsa.dev/provenance/v1" {
		id = p.RunDetails.Builder.ID
	}
	for _, allowed := range a.signer.Builders {
		if allowed.MatchString(id) {
			return id, nil
		}
	}
	return id, faultf(CodeBuilder, "%s may not speak for the builder %q", a.signer.Name, id)
}
