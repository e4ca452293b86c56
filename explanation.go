// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "time"

// FindingQuery says of which image findings are meant.
type FindingQuery struct {
	Ref      string // as people write references
	Platform string // "os/arch[/variant]"; empty: one that runs, or else linux/amd64, or else the first
	At       Times  // findings are those of the advisories that were known at Recorded
	Attached bool   // let VEX documents that are attached to the image take out findings, whatever the configuration says
}

// Explanation is why packages of an image have a vulnerability, or do not, with
// the bytes that say so: whoever has it can judge again.
type Explanation struct {
	Vulnerability string             `json:"vulnerability"` // as it was asked for: any ID or alias
	Artifact      string             `json:"artifact"`
	Digest        Digest             `json:"digest"`
	Manifest      Digest             `json:"manifest"` // of the platform
	AsOf          time.Time          `json:"asOf"`
	Packages      []ExplainedPackage `json:"packages"` // that advisories of it name, by purl; each once
}

// ExplainedPackage is a package, and what there is about it.
type ExplainedPackage struct {
	Package  PackageAt  `json:"package"`           // with Program
	Finding  *Finding   `json:"finding,omitempty"` // as it is kept; nil: it does not have the vulnerability
	Since    time.Time  `json:"since,omitzero"`    // from when on it has been known to have it
	Verdicts []Verdict  `json:"verdicts"`          // what each advisory means for it
	Records  []Original `json:"records"`           // those advisories
}

// Original is the bytes of an advisory.
type Original struct {
	ID     string `json:"id"`
	Feed   string `json:"feed"`
	SHA256 Digest `json:"sha256"`
	Bytes  []byte `json:"bytes"`
}

// Verdict is what one advisory means for a package.
type Verdict struct {
	Advisory string   `json:"advisory"`
	Names    []string `json:"names"`  // of the vulnerability
	Reason   string   `json:"reason"` // docs/spec/advisories.md: "affected", "fixed", ...
	Proof    Proof    `json:"proof"`
}
