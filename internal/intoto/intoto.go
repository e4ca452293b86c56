// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package intoto takes documents out of what they travel in: the predicate of an
// in-toto statement, which may lie in a DSSE envelope, which may lie in a
// sigstore bundle.
//
// Any input gives a Document or an error of KindInvalid, KindUnsupported or
// KindLimit. The package verifies no signature, and knows no predicate.
package intoto

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"dossier.dev/dossier"
)

// Document is what was in the wrapping.
type Document struct {
	Bytes         []byte
	PredicateType string    // of the statement around it; empty: it is bare
	Subjects      []Subject // of that statement
}

// Subject is what a statement is about.
type Subject struct {
	Name   string
	SHA256 dossier.Digest
}

const (
	maxWrapped  = 5   // bundle, envelope, statement, document, and one to spare
	maxSubjects = 100 // of a statement
	maxName     = 1024
)

// wrapping is the fields by which the layers are told apart.
type wrapping struct {
	// sigstore bundle
	Envelope json.RawMessage `json:"dsseEnvelope"`
	// DSSE envelope
	PayloadType string `json:"payloadType"`
	Payload     string `json:"payload"`
	// in-toto statement
	Type          string          `json:"_type"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
	Subject       []struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
}

// Unwrap takes a JSON document of at most limit bytes out of what it lies in. op
// is what is being done, for errors.
func Unwrap(op string, b []byte, limit int) (Document, error) {
	var d Document
	for range maxWrapped {
		if len(b) > limit {
			return Document{}, dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("it has %d bytes, the limit Document is %d", len(b), limit))
		}
		var w wrapping
		if err := Decode(op, b, &w); err != nil {
			return Document{}, err
		}
		switch {
		case len(w.Envelope) > 0:
			b = w.Envelope
		case w.PayloadType != "":
			inner, err := base64.StdEncoding.DecodeString(w.Payload)
			if err != nil {
				return Document{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: fmt.Errorf("the payload of the envelope: %w", err)}
			}
			b = inner
		case strings.HasPrefix(w.Type, "https://in-toto.io/Statement/"):
			d.PredicateType = Printable(w.PredicateType)
			for _, s := range w.Subject[:min(len(w.Subject), maxSubjects)] {
				if digest, err := dossier.ParseDigest(dossier.SHA256 + ":" + s.Digest[dossier.SHA256]); err == nil {
					d.Subjects = append(d.Subjects, Subject{Printable(s.Name), digest})
				}
			}
			b = unquoted(w.Predicate)
		default:
			d.Bytes = b
			return d, nil
		}
	}
	return Document{}, dossier.Errorf(dossier.KindUnsupported, op, "", "it is wrapped too often")
}

// unquoted undoes what cosign once did: the predicate is an object with the
// document in Data, or a string that holds it.
func unquoted(b json.RawMessage) []byte {
	var text string
	if json.Unmarshal(b, &text) == nil {
		return []byte(text)
	}
	var old struct{ Data json.RawMessage }
	if json.Unmarshal(b, &old) == nil && len(old.Data) > 0 {
		if json.Unmarshal(old.Data, &text) == nil {
			return []byte(text)
		}
		return old.Data
	}
	return b
}

// Decode reads a JSON object into v. A field of another type than v has says
// nothing, and is no error. KindUnsupported: it is no object. KindInvalid.
func Decode(op string, b []byte, v any) error {
	b = bytes.TrimSpace(bytes.TrimPrefix(b, []byte("\ufeff")))
	if len(b) == 0 || b[0] != '{' {
		return dossier.Errorf(dossier.KindUnsupported, op, "", "it is no JSON object")
	}
	err := json.Unmarshal(b, v)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !ok {
		return &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err}
	}
	return nil
}

// Printable returns s as valid UTF-8 without control characters, at most 1 KiB.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), maxName)], "\uFFFD"))
}
