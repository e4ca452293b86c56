// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"
)

// Limits of evidence.
const (
	MaxEvidence  = 16 << 20 // bytes of one piece
	maxEntries   = 32       // of logs, in one piece
	maxStamps    = 32       // timestamps in one piece
	maxSubjects  = 1024     // of a statement
	maxSignature = 64 << 10 // bytes
)

// fault is why a check failed.
type fault struct {
	code   Code
	detail string
}

func faultf(code Code, format string, args ...any) *fault {
	return &fault{code, fmt.Sprintf(format, args...)}
}

// signed is what one piece of evidence holds, whatever form it came in. What could not
// be read is missing, and why is in faults, by the check that will say so.
type signed struct {
	form      string
	version   string        // of a bundle: "0.1"
	hash      crypto.Hash   // of a message
	digest    []byte        // that the evidence says the message has
	message   []byte        // the message, when the evidence brings it
	simple    bool          // the message is a payload of simple signing by cosign
	pgp       *pgpSigned    // it is an OpenPGP message
	notary    *notarySigned // it is a signature as notation makes them
	envelope  *envelope     // else
	signature []byte
	leaf      *x509.Certificate
	inner     []*x509.Certificate // intermediate certificates that it brings
	hint      string              // the ID of the key that it names
	keyed     bool                // signed by a key that it names, or not even that
	entries   []*tlog.Entry
	stamps    [][]byte
	faults    map[string]*fault
}

type envelope struct {
	payloadType string
	payload     []byte
	signatures  int
}

// pae is the pre-authentication encoding of DSSE.
func (e *envelope) pae() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "DSSEv1 %d %s %d ", len(e.payloadType), e.payloadType, len(e.payload))
	b.Write(e.payload)
	return b.Bytes()
}

func (s *signed) fail(check string, f *fault) {
	if s.faults[check] == nil {
		s.faults[check] = f
	}
}

const mediaTypeBundle = "application/vnd.dev.sigstore.bundle"

// bundleVersion returns the version in a media type, or "".
func bundleVersion(mediaType string) string {
	for _, v := range []string{"0.1", "0.2", "0.3"} {
		if mediaType == mediaTypeBundle+"+json;version="+v {
			return v
		}
	}
	if mediaType == mediaTypeBundle+".v0.3+json" {
		return "0.3"
	}
	return ""
}

// readBundle reads a Sigstore bundle. It never returns nil.
func readBundle(b []byte) *signed {
	s := &signed{form: "sigstore bundle", faults: map[string]*fault{}}
	if len(b) > MaxEvidence {
		s.fail(checkFormat, faultf(CodeTooMuch, "it has %d bytes, MaxEvidence is %d", len(b), MaxEvidence))
		return s
	}
	var pb protobundle.Bundle
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, &pb); err != nil {
		s.fail(checkFormat, faultf(CodeMalformed, "%s", plain(err)))
		return s
	}
	if s.version = bundleVersion(pb.GetMediaType()); s.version == "" {
		s.fail(checkFormat, faultf(CodeVersion, "media type %q", pb.GetMediaType()))
	}
	s.form = "sigstore bundle v" + s.version
	s.readContent(&pb)
	s.readMaterial(pb.GetVerificationMaterial())
	s.readEntries(pb.GetVerificationMaterial().GetTlogEntries())
	for _, t := range pb.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps() {
		s.stamps = append(s.stamps, t.GetSignedTimestamp())
	}
	if len(s.stamps) > maxStamps {
		s.fail(checkFormat, faultf(CodeTooMuch, "%d timestamps, at most %d are read", len(s.stamps), maxStamps))
		s.stamps = nil
	}
	return s
}

// plain writes an error on one line; protobuf puts non-breaking spaces into its own.
func plain(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\u00a0", " ")), " ")
}

func (s *signed) readContent(pb *protobundle.Bundle) {
	switch {
	case pb.GetDsseEnvelope() != nil:
		e := pb.GetDsseEnvelope()
		s.envelope = &envelope{e.GetPayloadType(), e.GetPayload(), len(e.GetSignatures())}
		if len(e.GetSignatures()) != 1 {
			s.fail(checkContent, faultf(CodeNoSignature, "the envelope has %d signatures, one is needed", len(e.GetSignatures())))
			return
		}
		s.signature = e.GetSignatures()[0].GetSig()
	case pb.GetMessageSignature() != nil:
		m := pb.GetMessageSignature()
		s.signature, s.digest = m.GetSignature(), m.GetMessageDigest().GetDigest()
		switch m.GetMessageDigest().GetAlgorithm() {
		case protocommon.HashAlgorithm_SHA2_256:
			s.hash = crypto.SHA256
		case protocommon.HashAlgorithm_SHA2_384:
			s.hash = crypto.SHA384
		case protocommon.HashAlgorithm_SHA2_512:
			s.hash = crypto.SHA512
		default:
			s.fail(checkContent, faultf(CodeNoSignature, "the digest of the message is missing, or of an unknown kind"))
		}
	default:
		s.fail(checkContent, faultf(CodeNoSignature, "it holds neither a signature of a message nor an envelope"))
	}
	if len(s.signature) == 0 || len(s.signature) > maxSignature {
		s.fail(checkContent, faultf(CodeNoSignature, "the signature has %d bytes", len(s.signature)))
	}
}

func (s *signed) readMaterial(m *protobundle.VerificationMaterial) {
	var chain [][]byte
	switch {
	case m.GetPublicKey() != nil:
		s.keyed = true
		if hash, err := base64.StdEncoding.DecodeString(m.GetPublicKey().GetHint()); err == nil {
			s.hint = fmt.Sprintf("sha256:%x", hash) // as cosign writes it
		}
		return
	case m.GetCertificate() != nil:
		chain = [][]byte{m.GetCertificate().GetRawBytes()}
	case m.GetX509CertificateChain() != nil:
		if s.version == "0.3" {
			s.fail(checkMaterial, faultf(CodeMalformed, "a bundle v0.3 holds one certificate, not a chain"))
		}
		for _, c := range m.GetX509CertificateChain().GetCertificates() {
			chain = append(chain, c.GetRawBytes())
		}
	}
	s.readChain(chain)
}

// readChain reads certificates, the one that signed first.
func (s *signed) readChain(chain [][]byte) {
	if len(chain) == 0 {
		s.fail(checkMaterial, faultf(CodeNoMaterial, "it names neither a certificate nor a key"))
		return
	}
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			s.fail(checkMaterial, faultf(CodeNoMaterial, "certificate %d: %s", i+1, plain(err)))
			return
		case i == 0:
			s.leaf = c
		case bytes.Equal(c.RawIssuer, c.RawSubject):
			s.fail(checkMaterial, faultf(CodeRootInside, "certificate %d, %s, signed itself: a root must come from the trusted root", i+1, c.Subject))
		default:
			s.inner = append(s.inner, c)
		}
	}
}

// readEntries reads the entries of logs.
func (s *signed) readEntries(entries []*protorekor.TransparencyLogEntry) {
	if len(entries) > maxEntries {
		s.fail(checkFormat, faultf(CodeTooMuch, "%d entries of logs, at most %d are read", len(entries), maxEntries))
		return
	}
	seen := map[string]bool{}
	promised := false
	for i, raw := range entries {
		if raw.GetLogIndex() < 0 || raw.GetInclusionProof().GetLogIndex() < 0 {
			s.fail(checkLogFormat, faultf(CodeLogFormat, "entry %d has a negative index", i+1))
			continue
		}
		e, err := tlog.ParseTransparencyLogEntry(raw)
		if err == nil {
			err = tlog.ValidateEntry(e)
		}
		if err != nil {
			s.fail(checkLogFormat, s.unreadable(i+1, raw, err))
			continue
		}
		name := fmt.Sprintf("%x %d", e.LogKeyID(), e.LogIndex())
		if seen[name] {
			s.fail(checkLogFormat, faultf(CodeLogTwice, "entry %d is there before", i+1))
		}
		seen[name] = true
		promised = promised || e.HasInclusionPromise()
		switch {
		case e.IsRekorV2() && !e.HasInclusionProof():
			s.fail(checkLogFormat, faultf(CodeLogProof, "entry %d is of a Rekor v2 log and has no inclusion proof", i+1))
		case !e.HasInclusionPromise() && !e.HasInclusionProof():
			s.fail(checkLogFormat, faultf(CodeLogProof, "entry %d has neither an inclusion proof nor a promise", i+1))
		case s.version != "" && s.version != "0.1" && !e.HasInclusionProof():
			s.fail(checkLogFormat, faultf(CodeLogProof, "entry %d has no inclusion proof, a bundle v%s needs one", i+1, s.version))
		}
		s.entries = append(s.entries, e)
	}
	if s.version == "0.1" && len(s.entries) > 0 && !promised {
		s.fail(checkLogFormat, faultf(CodeLogProof, "a bundle v0.1 needs an inclusion promise"))
	}
}

// unreadable says why an entry cannot be read: that of an in-toto statement is refused
// as malformed when its signature is of another statement.
func (s *signed) unreadable(n int, raw *protorekor.TransparencyLogEntry, err error) *fault {
	var body struct {
		Kind string `json:"kind"`
		Spec struct {
			Content struct {
				Envelope struct {
					Payload    []byte `json:"payload"`
					Signatures []struct {
						Sig []byte `json:"sig"`
					} `json:"signatures"`
				} `json:"envelope"`
			} `json:"content"`
		} `json:"spec"`
	}
	if json.Unmarshal(raw.GetCanonicalizedBody(), &body) == nil && body.Kind == "intoto" && s.envelope != nil {
		e := body.Spec.Content.Envelope
		payload, _ := base64.StdEncoding.DecodeString(string(e.Payload))
		sig := []byte(nil)
		if len(e.Signatures) == 1 {
			sig, _ = base64.StdEncoding.DecodeString(string(e.Signatures[0].Sig))
		}
		if !bytes.Equal(payload, s.envelope.payload) || !bytes.Equal(sig, s.signature) {
			return faultf(CodeLogEntry, "entry %d is of another statement: %s", n, plain(err))
		}
	}
	return faultf(CodeLogFormat, "entry %d: %s", n, plain(err))
}
