// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "time"

// Advisory is what matters of an advisory for matching: a record of the Open
// Source Vulnerability format (OSV schema 1.7), without its prose.
type Advisory struct {
	ID        string     `json:"id"`
	SHA256    Digest     `json:"sha256"`         // of its exact bytes
	Feed      string     `json:"feed,omitempty"` // that has it; empty: it was not kept
	Modified  time.Time  `json:"modified"`
	Published time.Time  `json:"published,omitzero"`
	Withdrawn time.Time  `json:"withdrawn,omitzero"` // not zero: it was taken back then, and concerns nothing
	Aliases   []string   `json:"aliases,omitempty"`  // the same vulnerability in other databases
	Upstream  []string   `json:"upstream,omitempty"` // vulnerabilities that it passes on
	Related   []string   `json:"related,omitempty"`
	Summary   string     `json:"summary,omitempty"`
	Ratings   []Rating   `json:"ratings,omitempty"`
	Affected  []Affected `json:"affected,omitempty"`
}

// Rating is how bad someone says it is.
type Rating struct {
	Type  string `json:"type"`  // CVSS_V2, CVSS_V3, CVSS_V4; others are words of a distribution or database
	Score string `json:"score"` // a vector, or the word
}

// Affected is what an advisory says of one package.
type Affected struct {
	Ecosystem string   `json:"ecosystem"`          // as written there: "Debian:12", "Go"
	Name      string   `json:"name"`               // as written there
	Source    bool     `json:"source,omitempty"`   // it says that Name is that of a source package
	Ranges    []Range  `json:"ranges,omitempty"`   // of versions that are vulnerable
	Versions  []string `json:"versions,omitempty"` // that are vulnerable, each listed
	Ratings   []Rating `json:"ratings,omitempty"`  // for this package; they go before the advisory's
	State     FixState `json:"state,omitempty"`    // what the distribution says of a fix where no range has one
	Note      string   `json:"note,omitempty"`     // its words for that
	// Unreleased says that what fixes it is no version of this release: its
	// range has an end, but there is nothing to update to.
	Unreleased bool     `json:"unreleased,omitempty"`
	Stream     string   `json:"stream,omitempty"`  // rpm: "name:stream" of the module of which the fixed version is a build
	Imports    []Import `json:"imports,omitempty"` // Go: the packages of the module that are vulnerable; none: all
	Custom     []Range  `json:"custom,omitempty"`  // Go: ranges of versions that are none for the go command
}

// RangeType says how versions of a range are compared.
type RangeType string

// The types of range that are matched. Ranges of commits (GIT) are not.
const (
	RangeSemver    RangeType = "SEMVER"
	RangeEcosystem RangeType = "ECOSYSTEM"
)

// Range is versions given by where something begins and ends.
type Range struct {
	Type   RangeType `json:"type"`
	Events []Event   `json:"events"`
}

// Event is a version at which something changes. One field is set.
type Event struct {
	Introduced   string `json:"introduced,omitempty"` // "0": before all versions
	Fixed        string `json:"fixed,omitempty"`
	LastAffected string `json:"last_affected,omitempty"`
	Limit        string `json:"limit,omitempty"`
}

// Import is a Go package that is vulnerable.
type Import struct {
	Path    string   `json:"path"`
	Symbols []string `json:"symbols,omitempty"` // "Func" or "Type.Method"; none: all
	OS      []string `json:"goos,omitempty"`    // none: all
	Arch    []string `json:"goarch,omitempty"`  // none: all
}

// Feed is a set of advisories that is kept up to date as a whole.
type Feed struct {
	Ecosystem string    `json:"ecosystem"`         // or the name under which it was imported
	Serial    int64     `json:"serial"`            // rises by one with each update that changed something
	AsOf      time.Time `json:"asOf"`              // when it was last found to be current
	Records   int       `json:"records,omitempty"` // advisories in it
}
