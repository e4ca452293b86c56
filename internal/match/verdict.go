// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"slices"

	"dossier.dev/dossier"
)

// Reason says why an advisory does or does not count for a package.
type Reason string

// The reasons.
const (
	Affected     Reason = "affected"     // it counts
	Unaffected   Reason = "unaffected"   // no range holds the version, and nothing of the package was fixed before it
	Fixed        Reason = "fixed"        // the version is the one that fixes it, or later
	Never        Reason = "never"        // the advisory says that no version of the package is vulnerable ("fixed in 0")
	Withdrawn    Reason = "withdrawn"    // the advisory was taken back
	Harmless     Reason = "harmless"     // it is about no vulnerability
	Stream       Reason = "stream"       // it is about a build of another module stream
	Absent       Reason = "absent"       // the Go program holds nothing of the vulnerable packages
	Platform     Reason = "platform"     // it is about another operating system or architecture
	Owned        Reason = "owned"        // the distribution that owns the package says otherwise, or does not say so
	Overruled    Reason = "overruled"    // another advisory for the same vulnerability knows more
	Incomparable Reason = "incomparable" // its versions cannot be compared with the package's
	Foreign      Reason = "foreign"      // the package is not of the distribution whose advisory it is
)

// Verdict is what one advisory means for a package.
type Verdict struct {
	Advisory string   `json:"advisory"`
	Names    []string `json:"names"` // of the vulnerability
	Reason   Reason   `json:"reason"`
	// Proof is the range that holds the version, or the one that says that it is
	// fixed. It has no more than the advisory when no range was looked at.
	Proof dossier.Proof `json:"proof"`

	names    []string // as Names gives them
	advisory *dossier.Advisory
	entry    *dossier.Affected
	presence dossier.Presence
	held     []string
	note     string
	own      bool // of the package itself, not of the package that owns it
	pro      bool // from the part of Ubuntu that needs a subscription
}

// fixable reports whether there is a version to update to.
func (v *Verdict) fixable() bool { return v.Proof.Fixed != "" && !v.entry.Unreleased && !v.pro }

// decisive orders reasons of entries of one advisory: the first one decides.
func (r Reason) decisive() int {
	return slices.Index([]Reason{Affected, Incomparable, Fixed, Never, Absent, Platform, Foreign, Stream, Unaffected, Harmless, Withdrawn}, r)
}
