// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
)

// MatchState says with what the packages that are known were compared.
type MatchState struct {
	// Generation rises with every change of findings. Who changes them says from
	// which one it began, so that no two do at once.
	Generation int64
	// Position is up to where changes of advisories were followed. Zero: nothing
	// was compared yet.
	Position AdvisoryPosition
	Feeds    []Feed // as they were then, by name; without State
	// Covers says which of the feeds have advisories for an ecosystem
	// (match.NormalEcosystem).
	Covers map[string][]string
}

// PackageFindings is what advisories say of a package.
type PackageFindings struct {
	Package int64 // KnownPackage.ID
	// Names, sorted, are those of the vulnerabilities that were judged: what was
	// found before under one of them is replaced by Findings. nil: all were.
	Names    []string
	Findings []dossier.Finding // of the package alone: without place

	// What follows is of no account unless Names is nil.
	Rules     int         // match.Rules of who judged; above 0
	Keys      []match.Key // match.Keys of the package
	Ecosystem string      // match.NormalEcosystem of it; may be empty
	Reason    string      // match.AssessPackage of it
	Unclear   string      // match.Result.Unclear
}

// Matched is a step forward of findings.
type Matched struct {
	Generation int64 // that it was made from
	Packages   []PackageFindings
	// State, if not nil, is what they were compared with from now on: its Position,
	// Feeds and Covers.
	State *MatchState
	// Restart makes all packages count as not compared.
	Restart bool
}

// FindingChange is that a vulnerability of a package became known, or ceased to be.
type FindingChange struct {
	Package       int64
	Vulnerability string // dossier.Finding.ID
	Gone          bool
}

// KnownFinding is a finding of a package.
type KnownFinding struct {
	Package int64 // KnownPackage.ID
	// Since is from when on the vulnerability has been known of the package.
	Since time.Time
	dossier.Finding
}

// HeldFinding is a finding of a package of an image, at one place in it.
type HeldFinding struct {
	KnownFinding
	Layer dossier.Digest
	Path  string
}

// SetExposure is what advisories say of the packages of a set.
type SetExposure struct {
	Findings []SetFinding    // each once
	Packages []PackagesAlike // each once
}

// SetFinding is a vulnerability that packages of a set have.
type SetFinding struct {
	ID       string
	Severity dossier.Severity
	State    dossier.FixState
}

// PackagesAlike is how many packages of a set have the same to say of what can
// be known of their vulnerabilities.
type PackagesAlike struct {
	Count     int
	Matched   bool // they were compared
	Ecosystem string
	Reason    string // see PackageFindings
	Unclear   string
}

// MatchedPackage is a package of an image, at one place in it, with what can be
// known of its vulnerabilities.
type MatchedPackage struct {
	ID int64
	dossier.PackageAt
	PackagesAlike
}

// FindingReader reads what advisories say of packages. Times are of what was
// known then; zero: now.
type FindingReader interface {
	// MatchState returns with what packages were compared; of a past time the Feeds and Covers only.
	MatchState(ctx context.Context, at time.Time) (MatchState, error)
	// UnmatchedPackages returns up to limit packages that were not compared by
	// rules, or newer ones; without Program.
	UnmatchedPackages(ctx context.Context, rules, limit int) ([]KnownPackage, error)
	// PackagesUnder returns the packages that have one of the keys, by ID, without
	// Program. Those that were not compared yet are not among them.
	PackagesUnder(ctx context.Context, keys []match.Key) ([]KnownPackage, error)
	// FindingsNamed returns up to limit findings of which one of the names, in whatever
	// letter case, is the ID or an alias, by package.
	FindingsNamed(ctx context.Context, name string, at time.Time, limit int) ([]KnownFinding, error)
	// FindingsOfSets returns the findings of the packages of sets, place by place.
	FindingsOfSets(ctx context.Context, sets []dossier.Digest, at time.Time) ([]HeldFinding, error)
	// PackagesOfSets returns the packages of sets, place by place.
	PackagesOfSets(ctx context.Context, sets []dossier.Digest, at time.Time) ([]MatchedPackage, error)
	// Exposures returns what advisories say of sets, by set, in short.
	Exposures(ctx context.Context, sets []dossier.Digest, at time.Time) (map[dossier.Digest]SetExposure, error)
}

// ExposureReader tells what changed of exposures.
type ExposureReader interface {
	// SetsChanged returns up to limit sets of whose packages Exposures may say
	// something else than in an earlier generation.
	SetsChanged(ctx context.Context, generation int64, limit int) ([]dossier.Digest, error)
}

// FindingWriter writes what advisories say of packages. All of it can be made
// again from packages and advisories.
type FindingWriter interface {
	// PutMatched takes a step forward, and returns what changed, by package.
	// Findings that ceased to be stay, for questions about the past. One that says
	// the same but for the bytes of its advisories stays the one it was, with the
	// new proof. KindConflict: somebody else did in between.
	PutMatched(ctx context.Context, m Matched) ([]FindingChange, error)
}
