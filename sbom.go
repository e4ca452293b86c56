// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "time"

// SBOM is what an image of one platform holds, package by package: a software
// bill of materials, found in the bytes of its layers.
type SBOM struct {
	Digest       Digest        `json:"digest"`   // of the image that was asked for
	Manifest     Digest        `json:"manifest"` // of the platform
	Platform     string        `json:"platform"`
	Name         string        `json:"name"` // a repository in which it was found, or how it was asked for
	AsOf         time.Time     `json:"asOf"`
	Created      time.Time     `json:"created,omitzero"`       // of the image, as its configuration says
	Version      string        `json:"version"`                // of what read the layers
	Distribution *Distribution `json:"distribution,omitempty"` // nil: nothing says which
	Layers       []SBOMLayer   `json:"layers"`                 // base first
	Packages     []SBOMPackage `json:"packages"`               // by purl, layer and path
	Missed       []Missed      `json:"missed"`                 // what was not read
	Attached     []BillDiff    `json:"attached"`               // bills of materials that others attached to the image, compared
	Evidence     []Digest      `json:"evidence"`               // IDs of the facts that it stands on
}

// SBOMLayer is a layer of an image.
type SBOMLayer struct {
	Digest      Digest `json:"digest"`
	DiffID      Digest `json:"diffID,omitempty"` // digest of the uncompressed layer
	Size        int64  `json:"size"`             // as transferred, in bytes
	Base        string `json:"base,omitempty"`   // the known image that has this layer in the same place
	Instruction string `json:"instruction,omitempty"`
}

// SBOMPackage is a package of an image.
type SBOMPackage struct {
	PackageAt
	License string `json:"license,omitempty"` // as the package says
	Base    string `json:"base,omitempty"`    // the known image that has its layer in the same place
}

// SBOMQuery says which contents are meant.
type SBOMQuery struct {
	Ref      string // as people write references
	Platform string // "os/arch[/variant]"; empty: one that runs, or else linux/amd64, or else the first
	At       Times
}

// AttachedBill is the body of a FactAttached: where a bill of materials was
// found, and what it is. What it says is a claim.
type AttachedBill struct {
	Document Digest   `json:"document"`           // of its bytes; the subject of its FactBill
	How      string   `json:"how"`                // "referrer", "cosign" (a tag made from the digest) or "buildkit" (in the index)
	Manifest Digest   `json:"manifest"`           // that holds it
	Format   string   `json:"format,omitempty"`   // "SPDX 2.3", "CycloneDX 1.6"
	Tools    []string `json:"tools,omitempty"`    // that made it, as it says
	Packages int      `json:"packages,omitempty"` // with a package URL
	Problem  string   `json:"problem,omitempty"`  // why it was not read
}

// AttachedStatement is an in-toto statement that was found attached to an image.
type AttachedStatement struct {
	Document  Digest `json:"document"`            // of its bytes
	How       string `json:"how"`                 // as in AttachedBill
	Manifest  Digest `json:"manifest"`            // that holds it
	Predicate string `json:"predicate,omitempty"` // type of its predicate
	Bytes     []byte `json:"bytes,omitempty"`     // the statement, exactly
	Problem   string `json:"problem,omitempty"`   // why it says nothing
}

// BillDiff is how an attached bill of materials differs from what was observed.
// Packages are written "TYPE NAME VERSION"; each list has at most DiffPackages.
type BillDiff struct {
	AttachedBill
	On        Digest   `json:"on"`                  // what it is attached to: the platform's manifest, or an index
	Fact      Digest   `json:"fact"`                // ID of the FactAttached
	Agree     int      `json:"agree"`               // packages that both have
	Missing   []string `json:"missing,omitempty"`   // observed, and not in the bill
	Extra     []string `json:"extra,omitempty"`     // in the bill, and not observed
	Otherwise []string `json:"otherwise,omitempty"` // in both, in another version: "TYPE NAME VERSION, not VERSION"
	More      int      `json:"more,omitempty"`      // differences that are not listed
}

// DiffPackages is how many packages each list of a BillDiff has at most.
const DiffPackages = 50
