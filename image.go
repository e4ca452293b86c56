// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "strings"

// Role says what a child is to its parent manifest or index.
type Role string

// The roles of an Edge.
const (
	RolePlatform    Role = "platform"    // index -> the manifest (or index) of a platform
	RoleAttestation Role = "attestation" // index -> a BuildKit attestation manifest
	RoleConfig      Role = "config"      // manifest -> its configuration
	RoleLayer       Role = "layer"       // manifest -> a layer
	RoleSubject     Role = "subject"     // manifest -> what it refers to
	RoleChain       Role = "chain"       // manifest -> the chain ID of all its layers (image spec, "Layer ChainID")
)

// Edge is one descriptor inside a manifest or index.
type Edge struct {
	Parent    Digest `json:"parent"`
	Child     Digest `json:"child"`
	Role      Role   `json:"role"`
	Position  int    `json:"position"` // within the parent, from 0
	MediaType string `json:"mediaType,omitempty"`
	Size      int64  `json:"size"`
	Platform  string `json:"platform,omitempty"` // "os/arch[/variant]"; only where the descriptor states one
}

// ImageKind says what a digest is.
type ImageKind string

// The kinds of Image.
const (
	ImageIndex    ImageKind = "index"
	ImageManifest ImageKind = "manifest"
	ImageArtifact ImageKind = "artifact" // a manifest that is no image to run
	ImageConfig   ImageKind = "config"
)

// Image is what Dossier knows of a digest by having read it.
type Image struct {
	Digest    Digest    `json:"digest"`
	Kind      ImageKind `json:"kind"`
	MediaType string    `json:"mediaType"`
	Size      int64     `json:"size"`               // of the manifest, index or configuration itself, in bytes
	Platform  string    `json:"platform,omitempty"` // "os/arch[/variant]" as its configuration says; empty for an index
}

// PlatformImage is one platform of a root image.
type PlatformImage struct {
	Platform string `json:"platform"` // "os/arch[/variant]", or "" when unknown
	Manifest Digest `json:"manifest"`
	Config   Digest `json:"config"`
	Pods     int    `json:"pods"` // that run it; 0 when node platforms cannot be read
}

// PlatformMatches reports whether an image for platform have runs where one of
// want is asked for: equal, or want leaves the variant open ("linux/arm64"
// takes "linux/arm64/v8"). An unknown platform, and an empty list, match anything.
func PlatformMatches(have string, want []string) bool {
	if have == "" || len(want) == 0 {
		return true
	}
	for _, w := range want {
		if have == w || strings.HasPrefix(have, w+"/") {
			return true
		}
	}
	return false
}

// ChainIDs returns the chain IDs of a stack of layers: of the first layer alone, of the
// first two, and so on (OCI image spec, "Layer ChainID"). Two images with equal
// chain IDs at a position have the same content up to there.
func ChainIDs(diffIDs []Digest) []Digest {
	ids := make([]Digest, len(diffIDs))
	for i, d := range diffIDs {
		if i == 0 {
			ids[i] = d
			continue
		}
		ids[i] = FromBytes([]byte(string(ids[i-1]) + " " + string(d)))
	}
	return ids
}
