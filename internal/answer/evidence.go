// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/trust"
)

// Evidence is everything that the answers about one root image rest on. It is
// plain data: serialised as JSON it is the proof of the answers, since judging
// it again gives the same ones (docs/spec/answers.md).
type Evidence struct {
	Subject   dossier.Digest          `json:"subject"` // "" when no digest is known
	AsOf      time.Time               `json:"asOf"`
	Image     *dossier.Image          `json:"image,omitempty"` // nil: it was never read
	Platforms []dossier.PlatformImage `json:"platforms"`
	// Facts are those that hold about the subject, its platform manifests and
	// their configurations, of the kinds that questions are judged by; the
	// image.tag and tag.signed facts of the digests that the requested tags point at; who is
	// pinned as the signer of Names, where the trust policy asks for that; and the
	// configurations of Bases.
	Facts []dossier.Fact `json:"facts"`
	// Edges lead from the subject and from the manifests of Platforms, to
	// platforms and configurations; the layers stand in the manifests.
	Edges     []dossier.Edge        `json:"edges"`
	Names     []Name                `json:"names"`     // repositories it was found in, the first found first
	Tags      []dossier.TagInterval `json:"tags"`      // that point at the subject
	Requested []RequestedTag        `json:"requested"` // each name:tag that places ask for
	Places    []dossier.Place       `json:"places"`
	FirstRun  time.Time             `json:"firstRun,omitzero"` // first seen running anywhere
	Bases     []Base                `json:"bases"`
	// Exposures are what advisories say of what platforms hold: one for each whose
	// layers were read. Feeds are all that there are of advisories.
	Exposures []Exposure     `json:"exposures,omitempty"`
	Feeds     []dossier.Feed `json:"feeds,omitempty"`
	Problems  []Problem      `json:"problems"` // why something could not be read, the newest first
}

// evidenceKinds are the kinds of fact that questions are judged by. What runs is
// judged by Places: of cluster.run facts a popular image has thousands.
func evidenceKinds() []dossier.FactKind {
	return []dossier.FactKind{
		dossier.FactIndex, dossier.FactManifest, dossier.FactConfig, dossier.FactGoBuild, dossier.FactContents, dossier.FactSignature, dossier.FactStatement, dossier.FactName,
		dossier.FactTag, dossier.FactSignedTag,
	}
}

// Name is a repository in which the subject was found.
type Name struct {
	Name      string    `json:"name"` // registry and repository
	FirstSeen time.Time `json:"firstSeen"`
}

// RequestedTag is a name:tag for which the subject runs, or which a template
// that has no pod yet asks for.
type RequestedTag struct {
	Reference string               `json:"reference"`          // normalised, with the tag: "docker.io/library/nginx:latest"
	Interval  *dossier.TagInterval `json:"interval,omitempty"` // where the tag points, by the last check; nil: not known
	// Target is what is known of the digest in Interval. Its Digest is empty
	// when Interval is nil.
	Target Content `json:"target"`
	// Running are the digests that run under this request, the subject among
	// them when it runs.
	Running      []Content `json:"running"`
	PullPolicies []string  `json:"pullPolicies"` // of the containers that ask for it, distinct, sorted
}

// Content is a digest with what is needed to compare it platform by platform.
type Content struct {
	Digest   dossier.Digest    `json:"digest"`
	Kind     dossier.ImageKind `json:"kind,omitempty"`     // "" when it was never read
	Children []dossier.Edge    `json:"children,omitempty"` // dossier.RolePlatform edges to the manifests of an index, and of indexes in it
	// Platforms are those of the nodes where it runs ("os/arch"), distinct,
	// sorted; empty when node platforms cannot be read.
	Platforms []string `json:"platforms,omitempty"`
}

// Base is a known image all of whose layers are the first ones of a platform
// manifest of the subject.
type Base struct {
	On      dossier.Digest   `json:"on,omitempty"`      // that platform manifest; may be empty when there is one only
	Digest  dossier.Digest   `json:"digest"`            // of its manifest
	Parents []dossier.Digest `json:"parents,omitempty"` // known indexes that contain it
	Name    string           `json:"name,omitempty"`    // "docker.io/library/alpine:3.20", the tag when one is known
	Config  dossier.Digest   `json:"config,omitempty"`  // of its configuration; its fact is among Facts when it is known
	Layers  int              `json:"layers"`
	Chain   dossier.Digest   `json:"chain"` // chain ID of all its layers
}

// Problem is why something about the subject could not be read.
type Problem struct {
	Op      string       `json:"op"` // what was tried: "reading manifest"
	Kind    dossier.Kind `json:"kind,omitempty"`
	Message string       `json:"message"`        // empty: it was not tried yet
	Hint    string       `json:"hint,omitempty"` // what a person can do
	At      time.Time    `json:"at"`
}

// Policy is what the answers are judged by. The zero value is the default.
type Policy struct {
	// MaxAge is from when on an image counts as old. Zero means one year;
	// negative means that no image is old.
	MaxAge time.Duration `json:"maxAge,omitempty"`
	// MaxCheckAge is how long the last look at a tag counts as recent. Zero
	// means one day; negative means forever.
	MaxCheckAge time.Duration `json:"maxCheckAge,omitempty"`
	// MaxFeedAge is how long the last update of advisories counts as recent. Zero
	// means three days; negative means forever.
	MaxFeedAge time.Duration `json:"maxFeedAge,omitempty"`
	// Trust says whose signatures count. nil: nobody's, so that nothing is signed.
	Trust *trust.Policy `json:"-"`
	// TrustBefore is what Trust replaced TrustSince, so that it can be said what changed by
	// that. nil: nothing that is remembered.
	TrustBefore *trust.Policy `json:"-"`
	TrustSince  time.Time     `json:"-"`
}

// The defaults of Policy.
const (
	DefaultMaxAge      = 365 * 24 * time.Hour
	DefaultMaxCheckAge = 24 * time.Hour
	DefaultMaxFeedAge  = 72 * time.Hour
)

// older reports whether age exceeds a limit of the policy.
func older(age, limit, standard time.Duration) bool {
	switch {
	case limit < 0:
		return false
	case limit == 0:
		limit = standard
	}
	return age > limit
}
