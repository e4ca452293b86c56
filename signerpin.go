// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"encoding/json"
	"time"
)

// SignerPin says who was the first to sign in a repository, where a trust policy takes
// whoever that is: from then on nobody else of those does (docs/spec/trust.md). It is also
// the body of a FactPin.
type SignerPin struct {
	Scope string `json:"scope"` // registry and repository
	// Signer is what a decision counts: "openpgp:FINGERPRINT" of a primary key, "ISSUER
	// SUBJECT" of a certificate, or "SUBJECT, by AUTHORITY" of one of the Notary Project.
	Signer string    `json:"signer"`
	Image  Digest    `json:"image"` // that it had signed
	At     time.Time `json:"at"`    // in whole microseconds
	Trust  Digest    `json:"trust"` // of the policy by which it was pinned
}

// ScopeSubject is the subject of facts about who signs in a repository: the digest of its name.
func ScopeSubject(scope string) Digest { return FromBytes([]byte("dossier/scope/v1\n" + scope)) }

// Statement returns what a fact says of the pin.
func (p SignerPin) Statement() (Statement, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return Statement{}, &Error{Kind: KindInternal, Op: "writing fact", Subject: string(FactPin), Err: err}
	}
	s := Statement{Subject: ScopeSubject(p.Scope), Kind: FactPin, Source: "trust:" + p.Scope, ValidAt: Instant(p.At), Body: text}
	return s, s.Validate()
}

// Unpinned returns the statement that takes back a pin, by the fact that says it.
func (p SignerPin) Unpinned(fact Digest, reason string, at time.Time) (Statement, error) {
	text, err := json.Marshal(RetractionBody{Fact: fact, Reason: reason})
	if err != nil {
		return Statement{}, &Error{Kind: KindInternal, Op: "writing fact", Subject: string(FactRetraction), Err: err}
	}
	s := Statement{Subject: ScopeSubject(p.Scope), Kind: FactRetraction, Source: "trust:" + p.Scope, ValidAt: Instant(at), Body: text}
	return s, s.Validate()
}
