// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"time"

	"dossier.dev/dossier"
)

// Code is a reason in one word. Codes do not change; what is written beside them does.
type Code string

// The codes of checks that failed, by the check that gives them.
const (
	CodeMalformed   Code = "malformed"           // format: it cannot be read
	CodeVersion     Code = "version-unsupported" // format: neither v0.1, v0.2 nor v0.3
	CodeTooMuch     Code = "too-much"            // format: a limit is exceeded
	CodeNoSignature Code = "no-signature"        // content: it signs nothing, or has not one signature
	CodeNoMaterial  Code = "no-certificate"      // material: neither a certificate nor a key
	CodeRootInside  Code = "root-in-bundle"      // material: the chain brings its own root
	CodeLogFormat   Code = "log-entry-malformed" // log-format
	CodeLogProof    Code = "log-proof-missing"   // log-format: neither proof nor promise, or not the one that is needed
	CodeSignerKind  Code = "signer-mismatch"     // signer: a key signed where a certificate is wanted, or the other way
	CodeWeakKey     Code = "weak-key"            // signer: RSA below 2048 bits, an unknown curve
	CodeArtifact    Code = "artifact-mismatch"   // artifact: it was made for other bytes
	CodeSignature   Code = "signature-invalid"   // signature
	CodePayload     Code = "payload-type"        // subject: the envelope holds no in-toto statement
	CodeSubject     Code = "subject-mismatch"    // subject: it speaks of something else
	CodePredicate   Code = "predicate-mismatch"  // predicate: it says something else than was asked for
	CodeLogUnknown  Code = "log-unknown"         // log-threshold: too few entries are in logs of the trusted root
	CodeLogTwice    Code = "log-entry-twice"     // log-format: one entry stands there twice
	CodeLogPromise  Code = "log-promise-invalid" // log-promise: the signed entry timestamp is not the log's
	CodeLogPath     Code = "log-path-invalid"    // log-inclusion: the hashes do not lead to the root
	CodeCheckpoint  Code = "checkpoint-invalid"  // log-checkpoint: not signed by the log, or malformed
	CodeLogEntry    Code = "log-entry-mismatch"  // log-entry: it is the entry of another signature
	CodeLogTime     Code = "log-time"            // log-time: outside what the certificate, the key or the log is valid for
	CodeTimestamp   Code = "timestamp-invalid"   // timestamp: by nobody of the trusted root, or over something else
	CodeStampTime   Code = "timestamp-time"      // timestamp: outside what its authority is trusted for
	CodeNoTime      Code = "no-time"             // time: nobody trusted says when it was signed
	CodeCertificate Code = "certificate-invalid" // certificate: no chain to the trusted root at the time of signing
	CodeSCT         Code = "sct-invalid"         // certificate-log
	CodeKeyTime     Code = "key-time"            // key-time: the key was not valid then
	CodeIdentity    Code = "identity-mismatch"   // identity
	CodeBuilder     Code = "builder-mismatch"    // builder: who signed may not speak for that builder

	CodeSignerRevoked      Code = "signer-revoked"      // revocation: the policy revokes who signed
	CodeCertificateRevoked Code = "certificate-revoked" // notation-revocation
	CodeListStale          Code = "crl-stale"           // notation-revocation: the list, or the response, should have been renewed
	CodeRevocationUnknown  Code = "revocation-unknown"  // notation-revocation: who was asked does not know
	// notation-revocation: nobody was asked, or nobody answered
	CodeRevocationUnavailable Code = "revocation-unavailable"

	CodeKeyUnknown       Code = "key-unknown"         // pgp-key: the signer has no such key
	CodeWeakHash         Code = "weak-hash"           // pgp-strength: SHA-1 and others
	CodeKeyUsage         Code = "key-usage"           // pgp-usage: a key that is not meant for signing
	CodeKeyRevoked       Code = "key-revoked"         // pgp-revocation
	CodeKeyExpired       Code = "key-expired"         // pgp-expiry
	CodeSignatureExpired Code = "signature-expired"   // pgp-expiry
	CodeOtherSigner      Code = "pinned-otherwise"    // first-use: another signer is pinned for the repository
	CodeNotPinned        Code = "not-pinned"          // first-use: nobody is, and this makes no pin
	CodeManyFirst        Code = "first-use-ambiguous" // first-use: several signed, and nobody is pinned
	CodeReference        Code = "reference-mismatch"  // claim: it was signed as another image
)

// Outcome is how a check ended.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped" // it does not apply; Detail says why
	Logged  Outcome = "logged"  // it failed, and the level of the policy takes that
)

// Check is one check of a decision.
type Check struct {
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	Code    Code    `json:"code,omitempty"`   // of a check that failed
	Input   string  `json:"input,omitempty"`  // what was looked at, in short
	Detail  string  `json:"detail,omitempty"` // what was found, in words
}

// Trial is one piece of evidence held against one signer.
type Trial struct {
	Evidence dossier.Digest `json:"evidence"`
	Signer   string         `json:"signer"`        // its name
	Key      string         `json:"key,omitempty"` // what signed, when it verified: "sha256:..." of the public key, "openpgp:FINGERPRINT" of the primary key, or "ISSUER SUBJECT"
	Checks   []Check        `json:"checks"`        // up to the first that failed
	Verified bool           `json:"verified"`
	SignedAt time.Time      `json:"signedAt,omitzero"` // the earliest time that somebody trusted vouches for
	// Predicate is the type of the statement that was signed; empty: none was.
	Predicate string `json:"predicate,omitempty"`
	// Until is when it stops to hold by itself; zero: never.
	Until time.Time `json:"until,omitzero"`

	turns    []time.Time // when it may come out otherwise by itself
	newcomer bool        // nobody is pinned, and it could be
	lookups  []Lookup
}

// failure returns the check that failed.
func (t Trial) failure() *Check {
	for i := range t.Checks {
		if t.Checks[i].Outcome == Failed {
			return &t.Checks[i]
		}
	}
	return nil
}

// Decision is what was asked, all that was looked at, and what came of it.
type Decision struct {
	Asked    Question         `json:"asked"`
	Trust    dossier.Digest   `json:"trust"` // of the policy and the trusted roots in force
	At       time.Time        `json:"at"`    // the time that it was made for
	Evidence []dossier.Digest `json:"evidence"`
	Trials   []Trial          `json:"trials"`
	Need     int              `json:"need"`    // how many different keys must have signed
	Counted  []string         `json:"counted"` // the keys that did, each once
	// Pin is who is pinned for the repository, where that matters. nil: it does not, or nobody is.
	Pin      *Pin   `json:"pin,omitempty"`
	Verified bool   `json:"verified"`
	Code     Code   `json:"code,omitempty"` // why not: of the trial that came furthest
	Reason   string `json:"reason"`         // in words
	// Until is when it stops to hold although nobody changes anything; zero: never.
	Until time.Time `json:"until,omitzero"`
}

// Codes of a decision as a whole.
const (
	CodeNoEvidence Code = "no-evidence" // nothing is signed
	CodeThreshold  Code = "too-few"     // some signatures verify, fewer than are needed
	CodeNoRule     Code = "no-rule"     // no rule of the policy speaks of the image
	CodeNoSigner   Code = "no-signer"   // nobody may sign
	CodeRejected   Code = "rejected"    // a rule rejects the image whatever is signed
)

// JSON writes the decision in one form only.
func (d Decision) JSON() ([]byte, error) { return json.MarshalIndent(d, "", "  ") }
