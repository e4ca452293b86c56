// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"fmt"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	cosemessage "github.com/veraison/go-cose"

	"dossier.dev/dossier"
)

// notarySigned is what a signature envelope says before it is verified.
type notarySigned struct {
	envelope signature.Envelope
	info     *signature.SignerInfo
	target   dossier.Digest
	kind     string // media type of the target
}

// The names of the Notary Project.
const (
	NotaryArtifact = "application/vnd.cncf.notary.signature" // artifact type of signatures

	notaryPayload = "application/vnd.cncf.notary.payload.v1+json"
)

// authority reports whether a signing authority vouches for the time of signing, by the
// scheme notary.x509.signingAuthority.
func (n *notarySigned) authority() bool {
	return n.info.SignedAttributes.SigningScheme == signature.SigningSchemeX509SigningAuthority
}

// isManifest reports whether a media type is that of a manifest or an index: what else is
// signed is a file.
func isManifest(mediaType string) bool {
	switch mediaType {
	case "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json", "application/vnd.oci.artifact.manifest.v1+json",
		"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json":
		return true
	}
	return false
}

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
	for _, a := range content.SignerInfo.SignedAttributes.ExtendedAttributes {
		if a.Critical {
			s.fail(checkContent, faultf(CodeNoSignature, "it has the critical attribute %q, which is not understood", fmt.Sprint(a.Key)))
		}
	}
	var payload struct {
		Target struct {
			MediaType string `json:"mediaType"`
			Digest    string `json:"digest"`
		} `json:"targetArtifact"`
	}
	if content.Payload.ContentType != notaryPayload {
		s.fail(checkContent, faultf(CodeNoSignature, "its content is a %q", content.Payload.ContentType))
	} else if err := json.Unmarshal(content.Payload.Content, &payload); err != nil {
		s.fail(checkContent, faultf(CodeNoSignature, "its content: %s", plain(err)))
	}
	s.notary.target, s.notary.kind = dossier.Digest(payload.Target.Digest), payload.Target.MediaType
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
