// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// Stated is what an in-toto statement says, signed or not.
type Stated struct {
	PredicateType string
	Predicate     []byte   // JSON
	Subjects      []string // sha256, in hexadecimal digits
}

// Speaks reports whether a statement is about an image.
func (s Stated) Speaks(d dossier.Digest) bool {
	return d.Algorithm() == dossier.SHA256 && slices.Contains(s.Subjects, d.Hex())
}

// Statement returns what the evidence states, without a look at who signed it: just what
// a decision looks at. ok is false when it states nothing.
func (e Evidence) Statement() (s Stated, ok bool) {
	if !e.Form.states() {
		return s, false
	}
	signed := e.read()
	if signed.envelope == nil || signed.envelope.payloadType != payloadInToto {
		return s, false
	}
	return ParseStatement(signed.envelope.payload)
}

// ParseStatement reads an in-toto statement, v0.1 or v1. ok is false when it is none.
func ParseStatement(b []byte) (s Stated, ok bool) {
	var in statement
	if err := json.Unmarshal(b, &in); err != nil || in.Type != statementV01 && in.Type != statementV1 || len(in.Subject) > maxSubjects {
		return s, false
	}
	s = Stated{PredicateType: in.PredicateType, Predicate: in.Predicate}
	for _, subject := range in.Subject {
		if hex := subject.Digest[dossier.SHA256]; hex != "" {
			s.Subjects = append(s.Subjects, strings.ToLower(hex))
		}
	}
	return s, s.PredicateType != ""
}

// isProvenance reports whether a predicate says who built something.
func isProvenance(predicateType string) bool {
	return strings.HasPrefix(predicateType, "https://slsa.dev/provenance/")
}

// Vouches looks whether somebody whom the policy trusts with an image signed a statement
// about it: for provenance only those count who may speak for builders that the policy
// names, and then the builder must be one of those. One signature is enough. The trial is
// of the signer who did, or of the last one who did not.
func (p *Policy) Vouches(ref dossier.Reference, digest dossier.Digest, e Evidence, predicateType string, pin *dossier.SignerPin, at time.Time) (Trial, bool) {
	r := p.ruleFor(ref)
	if r == nil || r.accept || r.reject || predicateType == "" {
		return Trial{}, false
	}
	d := p.judged.of(key(predicateType, ref, digest, []Evidence{e}, pin), at, func() Decision { return r.vouch(ref, digest, e, predicateType, pin, at) })
	for _, t := range d.Trials {
		if t.Verified {
			return t, true
		}
	}
	if len(d.Trials) > 0 {
		return d.Trials[len(d.Trials)-1], false
	}
	return Trial{}, false
}

func (r *rule) vouch(ref dossier.Reference, digest dossier.Digest, e Evidence, predicateType string, pin *dossier.SignerPin, at time.Time) Decision {
	terms := r.terms.in(ref, pin, false)
	terms.Need = 1
	if isProvenance(predicateType) {
		terms.Signers = slices.DeleteFunc(slices.Clone(terms.Signers), func(s Signer) bool { return len(s.Builders) == 0 })
	}
	return Decide(Question{Digest: digest, Reference: ref.String(), Predicate: predicateType, failed: true}, terms, []Evidence{e}, at)
}
