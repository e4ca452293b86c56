// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "time"

// Finding is one vulnerability of one package, however many advisories tell of
// it.
type Finding struct {
	ID       string    `json:"id"`      // CVE where it has one
	Aliases  []string  `json:"aliases"` // all other IDs, of the vulnerability and of the advisories that tell of it
	Package  PackageAt `json:"package"` // without Program
	Severity Severity  `json:"severity"`
	Score    float64   `json:"score,omitempty"`  // CVSS, 0 to 10, when there is a vector
	Vector   string    `json:"vector,omitempty"` // CVSS, as written
	FixedIn  string    `json:"fixedIn"`          // empty: there is no version to update to
	State    FixState  `json:"state"`
	Symbols  Presence  `json:"symbols,omitempty"` // Go: whether the program holds what is vulnerable of the package
	Held     []string  `json:"held,omitempty"`    // Go: which of it, "import/path.Symbol"
	Notes    []string  `json:"notes,omitempty"`   // for people: what else the advisories say of it
	Exploit  *Exploit  `json:"exploit,omitempty"` // nil: nobody tells; matching leaves it so
	Remedy   *Remedy   `json:"remedy,omitempty"`  // what to do; nil: nobody asked, as in matching
	Since    time.Time `json:"since,omitzero"`    // from when on a store has known it of the package; zero: nobody kept it
	Proof    []Proof   `json:"proof"`             // at least one
}

// Exploit is what is known of the exploitation of a vulnerability.
type Exploit struct {
	KnownSince  time.Time `json:"knownSince,omitzero"`   // since when it is known to be exploited (CISA's catalogue); zero: it is not
	Probability float64   `json:"probability,omitempty"` // that it is exploited within 30 days (EPSS), 0 to 1
	Percentile  float64   `json:"percentile,omitempty"`  // how many of all vulnerabilities are less likely to be, 0 to 1
}

// Remedy is what would mend a finding.
type Remedy struct {
	Kind    RemedyKind `json:"kind"`
	Base    string     `json:"base,omitempty"`    // the known image whose layer brought the package
	Newer   string     `json:"newer,omitempty"`   // the newest image of the repository of Base that is known not to have the finding, NAME:TAG@DIGEST
	Package string     `json:"package,omitempty"` // to update, by name: that of the finding, or the one that installed it
	To      string     `json:"to,omitempty"`      // a version that mends all findings of that package
	Text    string     `json:"text"`              // in a sentence; equal for all that one step mends
}

// RemedyKind says what has to be changed.
type RemedyKind string

// The remedies.
const (
	RemedyBase    RemedyKind = "update-base"    // build on a newer base image: the package comes with it
	RemedyPackage RemedyKind = "update-package" // in what the image is built from, or in the directory
	RemedyRebuild RemedyKind = "rebuild"        // build again: the package is compiled in, or newer where it is installed from
	RemedyNone    RemedyKind = "none"           // there is nothing to update to
)

// Severity is how bad a vulnerability is, in one word.
type Severity string

// The severities. Negligible is what a distribution calls unimportant.
const (
	SeverityCritical   Severity = "critical"
	SeverityHigh       Severity = "high"
	SeverityMedium     Severity = "medium"
	SeverityLow        Severity = "low"
	SeverityNegligible Severity = "negligible"
	SeverityUnknown    Severity = "unknown" // nobody says
)

// Rank orders severities: 0 is unknown, 5 critical.
func (s Severity) Rank() int {
	switch s {
	case SeverityCritical:
		return 5
	case SeverityHigh:
		return 4
	case SeverityMedium:
		return 3
	case SeverityLow:
		return 2
	case SeverityNegligible:
		return 1
	}
	return 0
}

// FixState says what there is to do about a finding.
type FixState string

// The states of a fix.
const (
	Fixable       FixState = "fixable"             // FixedIn is a version to update to
	Unfixed       FixState = "unfixed"             // there is none (yet)
	WontFix       FixState = "wont-fix"            // and there will be none
	Deferred      FixState = "deferred"            // later, with another update
	EndOfLife     FixState = "end-of-life"         // the package is no longer supported there
	Investigating FixState = "under-investigation" // whether it is vulnerable at all
)

// Presence says whether a program holds a symbol.
type Presence string

// The presences.
const (
	SymbolsPresent Presence = "present"
	SymbolsAbsent  Presence = "absent"  // the package is linked in, what is vulnerable of it is not
	SymbolsUnknown Presence = "unknown" // the program's symbols could not be read, or the advisory names none
)

// Proof is why an advisory concerns a package: which bytes said it, and which of
// their ranges holds which version. Whoever has both can judge again.
type Proof struct {
	Advisory     string `json:"advisory"`       // its ID
	SHA256       Digest `json:"sha256"`         // of its bytes
	Feed         string `json:"feed,omitempty"` // that had it
	Ecosystem    string `json:"ecosystem"`      // as the advisory writes it
	Name         string `json:"name"`           // of the package, as the advisory writes it
	Version      string `json:"version"`        // that was compared: of the package or of its source
	Introduced   string `json:"introduced,omitempty"`
	Fixed        string `json:"fixed,omitempty"`        // the first version that is not vulnerable
	LastAffected string `json:"lastAffected,omitempty"` // or the last that is
	Listed       bool   `json:"listed,omitempty"`       // no range: the version is one of those listed
}

// NotAssessable is a package of which nobody can say whether it is vulnerable.
type NotAssessable struct {
	Package string `json:"package"` // its purl
	Why     string `json:"why"`
}

// FindingList is what advisories say of the packages of one artifact: an image,
// a directory, or what a bill of materials lists.
type FindingList struct {
	Artifact string `json:"artifact"` // as it was asked for
	Digest   Digest `json:"digest,omitempty"`
	// AsOf is when the newest of the feeds was last found to be current: the list
	// says what was known then.
	AsOf          time.Time       `json:"asOf"`
	Stale         bool            `json:"stale,omitempty"`      // one of the feeds is older than it may be
	Packages      int             `json:"packages"`             // how many the artifact has
	Feeds         []Feed          `json:"feeds"`                // that have advisories for its packages, by name
	Findings      []Finding       `json:"findings"`             // the worst first
	Suppressed    []Suppressed    `json:"suppressed,omitempty"` // that somebody says do not count; not among Findings
	NotAssessable []NotAssessable `json:"notAssessable"`        // by package
	Missed        []Missed        `json:"missed,omitempty"`     // what was not read of the artifact
	Notes         []string        `json:"notes,omitempty"`      // what else must be known to read the list: feeds that are old, ignores that have expired
}

// Suppressed is a finding that somebody says does not count.
type Suppressed struct {
	Finding
	By []Triage `json:"by"` // who said so, at least one
}

// Triage is what somebody says of a vulnerability in something: an entry of a
// VEX document, or of a file of what is to be ignored. It is a claim.
type Triage struct {
	Source        string    `json:"source"`           // the file or the document
	Format        string    `json:"format"`           // "OpenVEX", "CSAF", "CycloneDX" or "ignore"
	Author        string    `json:"author,omitempty"` // VEX: who wrote it; ignore: its owner
	Status        string    `json:"status"`           // of VEX: "not_affected", "fixed", ...; "ignored"
	Justification string    `json:"justification,omitempty"`
	Reason        string    `json:"reason,omitempty"`   // in words
	At            time.Time `json:"at,omitzero"`        // when it was said
	Expires       time.Time `json:"expires,omitzero"`   // ignore: from when on it no longer holds
	Document      Digest    `json:"document,omitempty"` // of the bytes that say so
	// Grade is how well it is proven who says so, of what is attached to an image:
	// claimed, or signed by Signer. Empty: whoever asks, or runs the server, gave the file.
	Grade  Grade  `json:"grade,omitempty"`
	Signer string `json:"signer,omitempty"` // as the trust policy names them
}

// Standing says in words how well it is proven who says so, to follow what is said;
// empty where that is for whoever gave the file to know.
func (t Triage) Standing() string {
	switch t.Grade {
	case GradeSigned:
		return " (signed by " + t.Signer + ")"
	case GradeClaimed:
		return " (claimed: no signature was verified)"
	}
	return ""
}
