// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"slices"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
)

// read takes the evidence apart. It never returns nil.
func (e Evidence) read() *signed {
	var s *signed
	switch e.Form {
	case FormBundle:
		return readBundle(e.Bytes)
	case FormPayload:
		s = &signed{form: "cosign signature", message: e.Bytes, simple: true, signature: e.Signature, faults: map[string]*fault{}}
		if len(e.Bytes) == 0 || len(e.Signature) == 0 || len(e.Signature) > maxSignature {
			s.fail(checkContent, faultf(CodeNoSignature, "a payload of %d bytes, a signature of %d", len(e.Bytes), len(e.Signature)))
		}
	case FormJWS, FormCOSE:
		return readNotary(e.Form, e.Bytes)
	case FormPGP:
		return readPGP(e.Bytes)
	case FormEnvelope:
		s = readEnvelope(e.Bytes)
	default:
		s = &signed{form: string(e.Form), faults: map[string]*fault{}}
		s.fail(checkFormat, faultf(CodeVersion, "evidence of the form %q", e.Form))
		return s
	}
	if len(e.Bytes) > MaxEvidence {
		s.fail(checkFormat, faultf(CodeTooMuch, "it has %d bytes, MaxEvidence is %d", len(e.Bytes), MaxEvidence))
	}
	s.readAnnotations(e)
	return s
}

// readEnvelope reads a DSSE envelope (dsse v1.0.2).
func readEnvelope(b []byte) *signed {
	s := &signed{form: "cosign attestation", faults: map[string]*fault{}}
	var e struct {
		PayloadType string `json:"payloadType"`
		Payload     string `json:"payload"`
		Signatures  []struct {
			Sig string `json:"sig"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(b, &e); err != nil {
		s.fail(checkFormat, faultf(CodeMalformed, "%s", plain(err)))
		return s
	}
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		s.fail(checkFormat, faultf(CodeMalformed, "the payload: %s", plain(err)))
	}
	s.envelope = &envelope{e.PayloadType, payload, len(e.Signatures)}
	if len(e.Signatures) != 1 {
		s.fail(checkContent, faultf(CodeNoSignature, "the envelope has %d signatures, one is needed", len(e.Signatures)))
		return s
	}
	if s.signature, err = base64.StdEncoding.DecodeString(e.Signatures[0].Sig); err != nil || len(s.signature) == 0 {
		s.fail(checkContent, faultf(CodeNoSignature, "the signature is no base64, or empty"))
	}
	return s
}

// readAnnotations reads what cosign kept beside a signature before it made bundles: the
// certificate with its chain, and the promise of a log.
func (s *signed) readAnnotations(e Evidence) {
	s.keyed = len(e.Certificate) == 0
	if !s.keyed {
		chain := certificates(e.Certificate)
		if len(chain) > 0 {
			chain = append(chain[:1:1], inner(certificates(e.Chain))...)
		}
		s.readChain(chain)
	}
	if len(e.Log) == 0 {
		return
	}
	var log struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal(e.Log, &log); err != nil {
		s.fail(checkLogFormat, faultf(CodeLogFormat, "%s", plain(err)))
		return
	}
	var kind struct {
		Kind    string `json:"kind"`
		Version string `json:"apiVersion"`
	}
	id, err := hex.DecodeString(log.Payload.LogID)
	if err != nil || json.Unmarshal(log.Payload.Body, &kind) != nil {
		s.fail(checkLogFormat, faultf(CodeLogFormat, "the entry has no log ID, or no body"))
		return
	}
	s.readEntries([]*protorekor.TransparencyLogEntry{{
		LogIndex: log.Payload.LogIndex, LogId: &protocommon.LogId{KeyId: id}, IntegratedTime: log.Payload.IntegratedTime,
		KindVersion:       &protorekor.KindVersion{Kind: kind.Kind, Version: kind.Version},
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: log.SignedEntryTimestamp},
		CanonicalizedBody: log.Payload.Body,
	}})
}

// maxChain is how many certificates of a chain are read.
const maxChain = 10

// certificates decodes PEM certificates.
func certificates(b []byte) [][]byte {
	var out [][]byte
	for len(out) < maxChain {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return out
		}
		out = append(out, block.Bytes)
	}
	return out
}

// inner leaves out the root, which such chains do bring: it is not looked at.
func inner(chain [][]byte) [][]byte {
	return slices.DeleteFunc(chain, func(der []byte) bool {
		c, err := x509.ParseCertificate(der)
		return err == nil && bytes.Equal(c.RawIssuer, c.RawSubject)
	})
}
