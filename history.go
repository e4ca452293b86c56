// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "time"

// History is what happened to a tag, a repository or an image.
type History struct {
	Subject string        `json:"subject"` // as asked for, normalised
	AsOf    time.Time     `json:"asOf"`
	Tags    []TagInterval `json:"tags"`   // newest first; as of a past time, and those of a digest, by name and tag
	Layers  []LayerStep   `json:"layers"` // base first; empty when a whole repository was asked for
	// Truncated says that there are more tags than are listed.
	Truncated bool `json:"truncated,omitempty"`
}

// TagDiff is how the tags of a repository differ between two times.
type TagDiff struct {
	Repository string      `json:"repository"` // registry and repository
	From       time.Time   `json:"from"`
	To         time.Time   `json:"to"`
	Changes    []TagChange `json:"changes"`        // by tag
	Next       string      `json:"next,omitempty"` // ask for those after this tag to go on; empty: there are no more
}

// TagDiffQuery asks for a TagDiff.
type TagDiffQuery struct {
	Repository string // as people write it, with or without a final slash
	From       time.Time
	To         time.Time // zero: now
	After      string    // tags after this one
	Limit      int       // 0: as many as one answer holds, 1000
}

// TagChange is a tag that is another at the later of two times. One that moved
// and came back is not.
type TagChange struct {
	Tag    string        `json:"tag"`
	Change TagChangeType `json:"change"`
	Was    Digest        `json:"was,omitempty"` // at the earlier time
	Now    Digest        `json:"now,omitempty"` // at the later time
	At     time.Time     `json:"at"`            // since when it is as it was at the later time
}

// TagChangeType says what became of a tag.
type TagChangeType string

// The types of TagChange.
const (
	TagAdded   TagChangeType = "added"
	TagMoved   TagChangeType = "moved"
	TagRemoved TagChangeType = "removed"
)

// LayerStep is one instruction of an image's history and the layer it made.
type LayerStep struct {
	Platform    string    `json:"platform"`
	Instruction string    `json:"instruction"` // as its configuration says; empty when it says nothing
	Created     time.Time `json:"created,omitzero"`
	Comment     string    `json:"comment,omitempty"`
	Layer       Digest    `json:"layer,omitempty"`  // empty: it made no layer
	DiffID      Digest    `json:"diffID,omitempty"` // digest of the uncompressed layer
	Size        int64     `json:"size"`             // compressed, in bytes
	Base        string    `json:"base,omitempty"`   // the known image that has this layer in the same place
}

// Field says where a search term was found.
type Field string

// The fields that can be searched.
const (
	FieldDigest        Field = "digest"
	FieldReference     Field = "reference"
	FieldLabel         Field = "label"         // a label of the configuration, "key=value" or its value
	FieldAnnotation    Field = "annotation"    // of a manifest, an index or a descriptor in one, "key=value" or its value
	FieldSource        Field = "source"        // where the source code lies
	FieldRevision      Field = "revision"      // which commit
	FieldBase          Field = "base"          // name or digest of the base image
	FieldLayer         Field = "layer"         // digest of a layer or its diffID
	FieldProgram       Field = "program"       // path of a Go main package
	FieldVulnerability Field = "vulnerability" // an ID of a vulnerability that a package in the layers has
	FieldPackage       Field = "package"       // name, source package or package URL of a package that the layers hold
	FieldMediaType     Field = "mediaType"     // of a manifest or an index, its configuration or a layer
	FieldArtifactType  Field = "artifactType"  // or the media type of the configuration that stands for it
	FieldPlatform      Field = "platform"      // "os/arch[/variant]"
	FieldSubject       Field = "subject"       // digest of what it refers to
)

// Found is one image that a search found.
type Found struct {
	Digest     Digest    `json:"digest"` // the image: a root, or a manifest that nothing contains
	Field      Field     `json:"field"`
	Match      string    `json:"match"` // what was found there
	References []string  `json:"references"`
	Running    []Running `json:"running"`
	// FirstSeen is when the image was first found in a repository, or running.
	FirstSeen time.Time `json:"firstSeen,omitzero"`
	// Packages are those of the image that the term means, at most FoundPackages.
	Packages []PackageAt `json:"packages,omitempty"`
	// Suppressed says, when a vulnerability was searched for, who says that it does
	// not count in the image; empty: it counts.
	Suppressed []Triage `json:"suppressed,omitempty"`
}

// FoundPackages is how many packages of one image a search lists at most.
const FoundPackages = 20

// FoundList is the result of a search.
type FoundList struct {
	Term      string    `json:"term"`
	AsOf      time.Time `json:"asOf"`
	Found     []Found   `json:"found"`
	Truncated bool      `json:"truncated,omitempty"` // there is more than the limit
}
