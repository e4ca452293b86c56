// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"errors"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
)

// Reason says in one word why something is not believed.
type Reason string

// The reasons (docs/spec/tuf.md).
const (
	ReasonExpired     Reason = "expired"         // root, snapshot or targets are past their time
	ReasonFreeze      Reason = "freeze"          // the newest timestamp to be had is too old
	ReasonRollback    Reason = "rollback"        // a version is lower than one that was seen
	ReasonThreshold   Reason = "threshold"       // not enough keys have signed
	ReasonMix         Reason = "mix-and-match"   // a file is not the one that is named by who names it
	ReasonUnknown     Reason = "unknown-target"  // nothing is signed of the tag
	ReasonDigest      Reason = "digest-differs"  // the tag means another digest
	ReasonLength      Reason = "length-differs"  // the manifest has another length
	ReasonRoot        Reason = "root-not-pinned" // no root is trusted, or another one is
	ReasonShared      Reason = "shared-role"     // one name of a role has two delegators
	ReasonClock       Reason = "clock"           // this clock is behind what was signed
	ReasonAge         Reason = "age-unknown"     // an age is asked for and no time of signing is given
	ReasonSize        Reason = "too-large"       // a file has more bytes than it may
	ReasonMalformed   Reason = "malformed"       // a file is no metadata, or not what it should be
	ReasonMissing     Reason = "missing"         // a file is not there
	ReasonUnreachable Reason = "unreachable"     // the repository does not answer, and what is kept is not enough
)

// SignedBy says whose key signed that a tag means a digest.
type SignedBy string

// Who signs.
const (
	ByOwner  SignedBy = "owner"  // a key that its owner keeps
	ByOnline SignedBy = "online" // the key of the server that also signs the timestamp: who has the server can move the tag
)

// Request asks whether a tag means a digest.
type Request struct {
	Source     string         // name of the pinned repository: HOST/PREFIX
	Repository string         // path
	Tag        string         // of it
	Digest     dossier.Digest // that the tag is thought to mean; empty: what it means is asked
	Length     int64          // of the manifest; 0: not known
	MaxAge     time.Duration  // of the timestamp; 0: as long as it is not expired
	Root       []byte         // a root to pin, unless it is pinned; empty: none
	FirstUse   bool           // pin the first root that the repository gives, when none is
}

// Result is what is signed of a tag, or why it is not believed.
type Result struct {
	Source   string         `json:"source"`
	Target   string         `json:"target"` // REPOSITORY:TAG
	Verified bool           `json:"verified"`
	Reason   Reason         `json:"reason,omitempty"` // why it is not verified
	Why      string         `json:"why,omitempty"`    // in words
	Asked    dossier.Digest `json:"asked,omitempty"`
	Digest   dossier.Digest `json:"digest,omitempty"` // what is signed
	Length   int64          `json:"length,omitempty"` // of the manifest, in bytes
	PushedAt time.Time      `json:"pushedAt,omitzero"`
	SignedBy SignedBy       `json:"signedBy,omitempty"`
	Role     string         `json:"role,omitempty"` // that signed it
	Keys     []string       `json:"keys,omitempty"` // IDs that may sign for the role
	AsOf     time.Time      `json:"asOf,omitzero"`  // when the timestamp was signed
	// Expires is until when it may be believed without looking again.
	Expires time.Time `json:"expires,omitzero"`
	Pinned  string    `json:"pinned,omitempty"`  // how the root came to be trusted: "given", "first use"
	Offline bool      `json:"offline,omitempty"` // nobody was asked
	Checks  []Check   `json:"checks"`
}

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"` // root, timestamp, snapshot, targets or a role, target, age, digest, length
	Input  string `json:"input,omitempty"`
	Passed bool   `json:"passed"`
	Reason Reason `json:"reason,omitempty"`
	Why    string `json:"why,omitempty"`
}

// failure is a check that did not pass.
type failure struct {
	check  string
	reason Reason
	why    error
}

// Error implements error.
func (f *failure) Error() string { return fmt.Sprintf("%s: %s: %v", f.check, f.reason, f.why) }

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.why }

func fail(check string, reason Reason, format string, args ...any) *failure {
	return &failure{check, reason, fmt.Errorf(format, args...)}
}

// classify gives the reason for an error of go-tuf or of reading a file.
func classify(check string, err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	reason := ReasonMalformed
	switch {
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		reason = ReasonExpired
	case errors.Is(err, &metadata.ErrBadVersionNumber{}):
		reason = ReasonRollback
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		reason = ReasonThreshold
	case errors.Is(err, &metadata.ErrLengthOrHashMismatch{}):
		reason = ReasonMix
	case dossier.KindOf(err) == dossier.KindLimit:
		reason = ReasonSize
	case dossier.KindOf(err) == dossier.KindNotFound:
		reason = ReasonMissing
	case dossier.KindOf(err) == dossier.KindUnavailable || dossier.KindOf(err) == dossier.KindDenied:
		reason = ReasonUnreachable
	}
	return &failure{check, reason, err}
}
