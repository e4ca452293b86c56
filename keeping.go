// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "time"

// Pin is an image that a cluster names and may want to run, whether or not a pod
// does: in the template of a controller, in its rollout history, or in a cron job.
type Pin struct {
	Cluster   string `json:"cluster"` // Cluster.ID
	Namespace string `json:"namespace"`
	Kind      string `json:"kind"` // of the object that names it
	Name      string `json:"name"`
	Owner     string `json:"owner,omitempty"` // "KIND/NAME" of the controller above it
	Reference string `json:"reference"`       // the image as written
}

// Quota is how many bytes the repositories at or below a path may hold together.
// Each digest counts once, however many of them hold it.
type Quota struct {
	Prefix string `json:"prefix"` // path
	Limit  int64  `json:"limit"`  // in bytes
	Used   int64  `json:"used"`   // in bytes
}

// QuotaList is the quotas of a registry, by prefix.
type QuotaList struct {
	AsOf   time.Time `json:"asOf"`
	Quotas []Quota   `json:"quotas"`
}

// Keeping says why the registry keeps a digest, or when and why it would go.
type Keeping struct {
	Digest Digest    `json:"digest"`
	AsOf   time.Time `json:"asOf"`
	// Repositories that hold it, by path.
	Repositories []KeptIn `json:"repositories"`
	// Bytes says how its bytes are; nil when they are not, or are a row of the database.
	Bytes *Bytes `json:"bytes,omitempty"`
	// Deleted is what was removed of it, the newest first.
	Deleted []Deleted `json:"deleted"`
}

// KeptIn is a repository that holds a digest.
type KeptIn struct {
	Repository string    `json:"repository"` // path
	Kind       HeldKind  `json:"kind"`
	Size       int64     `json:"size"`
	Since      time.Time `json:"since"`
	// Reasons to keep it; without any it goes.
	Reasons []KeepReason `json:"reasons"`
	// Goes says when and by what it goes, as far as that is known; nil: it does not.
	Goes *Going `json:"goes,omitempty"`
}

// Kept reports whether there is a reason to keep it.
func (k KeptIn) Kept() bool { return len(k.Reasons) > 0 }

// HeldKind says as what a repository holds a digest.
type HeldKind string

// The kinds.
const (
	HeldManifest HeldKind = "manifest"
	HeldBlob     HeldKind = "blob"
	HeldTag      HeldKind = "tag"
	HeldBytes    HeldKind = "bytes" // that no repository holds
)

// KeepReason is one reason to keep something.
type KeepReason struct {
	Kind ReasonKind `json:"kind"`
	Text string     `json:"text"`
	// Digest is what the reason goes by: the parent, the subject, the image that
	// was built on it, or what runs.
	Digest Digest    `json:"digest,omitempty"`
	Until  time.Time `json:"until,omitzero"` // of a lease, or of a rule's age
}

// ReasonKind says what a reason is of.
type ReasonKind string

// The kinds of reason.
const (
	ReasonTag      ReasonKind = "tag"      // a tag points at it
	ReasonParent   ReasonKind = "parent"   // a manifest or an index of the repository needs it
	ReasonCluster  ReasonKind = "cluster"  // a cluster runs it or names it, or what belongs to it
	ReasonSubject  ReasonKind = "subject"  // it refers to something that is there
	ReasonLease    ReasonKind = "lease"    // somebody was told that it is there
	ReasonRule     ReasonKind = "rule"     // a rule keeps it
	ReasonNoRule   ReasonKind = "no rule"  // no rule lets it go
	ReasonWithheld ReasonKind = "withheld" // whether a cluster needs it is not known
)

// Going says when something goes and what makes it go.
type Going struct {
	At   time.Time `json:"at"` // not before; the next collection after it takes it
	Rule string    `json:"rule"`
}

// Bytes says how the bytes of a digest are.
type Bytes struct {
	Size        int64     `json:"size"`
	StoredAt    time.Time `json:"storedAt,omitzero"`
	CheckedAt   time.Time `json:"checkedAt,omitzero"` // when they were last compared with the digest
	Damage      string    `json:"damage,omitempty"`   // what was wrong with them then
	DamagedAt   time.Time `json:"damagedAt,omitzero"` // since when that is known
	CondemnedAt time.Time `json:"condemnedAt,omitzero"`
	Reason      string    `json:"reason,omitempty"` // why they were condemned
}

// DamageList says which blobs of the registry are known to be damaged, and how far
// its bytes were checked.
type DamageList struct {
	AsOf time.Time `json:"asOf"`
	// CheckedSince is when the blob was checked that was checked the longest ago:
	// all others were later. Absent: one was never checked, or there are none.
	CheckedSince time.Time `json:"checkedSince,omitzero"`
	Damaged      int       `json:"damaged"`        // blobs, listed or not
	Blobs        []Damaged `json:"blobs"`          // by digest
	Next         Digest    `json:"next,omitempty"` // ask for those after it to go on; empty: there are no more
}

// Damaged is a blob whose bytes are not those of its digest.
type Damaged struct {
	Digest    Digest    `json:"digest"`
	Size      int64     `json:"size"` // that it should have
	Damage    string    `json:"damage"`
	Since     time.Time `json:"since"` // when it was found
	CheckedAt time.Time `json:"checkedAt"`
	StoredAt  time.Time `json:"storedAt,omitzero"`
	// Repositories that hold it, by path, at most MaxDamagedIn.
	Repositories []string `json:"repositories"`
}

// MaxDamagedIn is how many repositories a Damaged names.
const MaxDamagedIn = 20

// Deleted is what was removed: from a repository, or the bytes when Repository is empty.
type Deleted struct {
	Repository string    `json:"repository,omitempty"` // path
	Kind       HeldKind  `json:"kind"`
	At         time.Time `json:"at"`
	By         string    `json:"by"`
	Reason     string    `json:"reason"`
}

// Collection is what a collection of garbage took away, or would take away.
type Collection struct {
	AsOf      time.Time        `json:"asOf"`
	DryRun    bool             `json:"dryRun"`
	Withheld  []string         `json:"withheld"` // why some things were left that rules let go
	Items     []Collected      `json:"items"`
	Truncated bool             `json:"truncated,omitempty"` // there is more than is listed
	Counts    CollectionCounts `json:"counts"`
}

// CollectionCounts counts what a collection took away.
type CollectionCounts struct {
	Tags      int   `json:"tags"`
	Manifests int   `json:"manifests"`
	Blobs     int   `json:"blobs"`     // from repositories
	Condemned int64 `json:"condemned"` // bytes that no repository holds any more
	Freed     int64 `json:"freed"`     // bytes that were deleted, condemned before
}

// Collected is one thing that a collection took away.
type Collected struct {
	Kind       HeldKind `json:"kind"`
	Repository string   `json:"repository,omitempty"` // path
	Tag        string   `json:"tag,omitempty"`
	Digest     Digest   `json:"digest,omitempty"`
	Size       int64    `json:"size"` // in bytes; of bytes: -1 when nobody knows
	Rule       string   `json:"rule"`
}
