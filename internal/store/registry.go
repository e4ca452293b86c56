// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"time"

	"dossier.dev/dossier"
)

// What this file holds is the truth of Dossier's own registry, unlike the
// projections of images that lie elsewhere. Its repositories go by their path,
// "org/app", and in references by their name, "HOST/org/app", where HOST is what
// the registry is called.

// Repository is a repository of the registry.
type Repository struct {
	Path      string
	Name      string // as in references and tag intervals
	Upstream  string // the registry of which it is a mirror; empty: it is none
	CreatedAt time.Time
}

// RegistryReader reads repositories and their tags.
type RegistryReader interface {
	// RegistryName returns what the registry is called, or "" when it has no name yet.
	RegistryName(ctx context.Context) (string, error)
	// Repository returns the repository of a path, or KindNotFound.
	Repository(ctx context.Context, path string) (Repository, error)
	// Repositories returns up to limit repositories after a path, in the order of paths.
	Repositories(ctx context.Context, after string, limit int) ([]Repository, error)
	// OpenTags returns up to limit tags of a repository, by name, that point
	// somewhere now, after a tag and in order.
	OpenTags(ctx context.Context, name, after string, limit int) ([]string, error)
	// Manifests returns up to limit manifests that a repository holds, after one and
	// in the order of digests, without their bodies.
	Manifests(ctx context.Context, path string, after dossier.Digest, limit int) ([]Manifest, error)
}

// RegistryWriter changes repositories and their tags.
type RegistryWriter interface {
	// NameRegistry gives the registry its name if it has none, and returns the one it has.
	NameRegistry(ctx context.Context, name string) (string, error)
	// PutRepository adds a repository unless it is there. KindInvalid: the
	// registry has no name. KindDenied: it is there and is a mirror.
	PutRepository(ctx context.Context, path string, at time.Time) (Repository, error)
	// SetTag points a tag of an own repository at a digest. A fixed tag that
	// points elsewhere stays and is a KindConflict, with a *TagHeld that says
	// where to and since when.
	SetTag(ctx context.Context, tag NameTag, d dossier.Digest, at time.Time, fixed bool) (TagMove, error)
	// AdoptTag says that a tag of an own repository pointed at a digest from a time
	// on, as another registry knew it. What is on record here stays: nothing
	// changes when the tag points there already, or was moved or dropped here after
	// that time. Else it is as SetTag.
	AdoptTag(ctx context.Context, tag NameTag, d dossier.Digest, from time.Time, fixed bool) (TagMove, error)
	// ClearTag makes a tag of an own repository point nowhere.
	ClearTag(ctx context.Context, tag NameTag, at time.Time) (TagMove, error)
}

// TagMove is what SetTag or ClearTag did. A clock that went backwards must not
// undo a push, so At may be somewhat later than what was asked for.
type TagMove struct {
	Moved bool           // false: it was so already
	Was   dossier.Digest // where the tag pointed before; "": nowhere
	At    time.Time
}

// TagHeld is why a fixed tag did not move.
type TagHeld struct {
	Digest dossier.Digest // where it points
	Since  time.Time
}

// Error implements error.
func (e *TagHeld) Error() string {
	return fmt.Sprintf("it does not move: it points at %s since %s", e.Digest, e.Since.Format(time.RFC3339))
}

// ContentReader reads what repositories hold. A path whose repository is not
// there holds nothing. A damaged blob is as if it were not there.
type ContentReader interface {
	// LinkedBlob returns a blob that a repository holds, or KindNotFound.
	LinkedBlob(ctx context.Context, path string, d dossier.Digest) (LinkedBlob, error)
	// BlobHolders returns up to limit paths of repositories that hold a blob, after a path and in order.
	BlobHolders(ctx context.Context, d dossier.Digest, after string, limit int) ([]string, error)
	// Manifest returns a manifest that a repository holds, or KindNotFound.
	Manifest(ctx context.Context, path string, d dossier.Digest) (Manifest, error)
	// TaggedManifest returns the manifest that a tag of a repository points at now,
	// or KindNotFound.
	TaggedManifest(ctx context.Context, path, tag string) (Manifest, error)
	// Referrers returns manifests that name a subject, without their bodies, by
	// digest.
	Referrers(ctx context.Context, q ReferrerQuery) ([]Manifest, error)
	// Upload returns an upload of a repository, or KindNotFound.
	Upload(ctx context.Context, path, id string) (Upload, error)
}

// LinkedBlob is a blob in a repository.
type LinkedBlob struct {
	Blob
	KeptUntil time.Time // no rule takes it away before, whether or not a manifest needs it
}

// Manifest is a manifest or an index in a repository. Pushed to two
// repositories it is two.
type Manifest struct {
	Repository   string // path
	Digest       dossier.Digest
	MediaType    string
	ArtifactType string         // distribution spec, "Listing Referrers"
	Subject      dossier.Digest // what it refers to, there or not; may be empty
	Annotations  []byte         // a JSON object; kept where there is a subject
	Size         int64          // of Body, in bytes
	Body         []byte
	PushedAt     time.Time // first
	KeptUntil    time.Time // no rule takes it away before
}

// Child is something that a manifest needs.
type Child struct {
	Digest   dossier.Digest
	Blob     bool // a blob, else a manifest
	Optional bool // it may be missing
}

// ReferrerQuery selects referrers.
type ReferrerQuery struct {
	Repository   string // path
	Subject      dossier.Digest
	ArtifactType string         // empty: any
	After        dossier.Digest // of the referrer
	Limit        int
}

// ContentWriter changes what repositories hold.
type ContentWriter interface {
	// LinkBlob makes a repository hold a blob, and keep it until a time at least.
	// KindNotFound: there is no record of the blob.
	LinkBlob(ctx context.Context, path string, d dossier.Digest, at, until time.Time) error
	// LeaseBlob makes a repository keep a blob that it holds until a time at
	// least: who was told that it is there may rely on it. KindNotFound.
	LeaseBlob(ctx context.Context, path string, d dossier.Digest, until time.Time) error
	// LeaseManifest is LeaseBlob for a manifest. Whoever points a tag at a manifest
	// that he has not just put must call it first, in the same transaction.
	LeaseManifest(ctx context.Context, path string, d dossier.Digest, until time.Time) error
	// UnlinkBlob takes a blob out of a repository. KindNotFound: it is not
	// there. KindConflict: a manifest needs it.
	UnlinkBlob(ctx context.Context, del Deletion) error
	// PutManifest adds a manifest unless it is there. When the repository lacks
	// children that are not optional it returns those and writes nothing.
	// As long as a manifest is there its children cannot be removed, and until
	// m.KeptUntil none but DeleteManifest removes it.
	PutManifest(ctx context.Context, m Manifest, children []Child) (missing []dossier.Digest, err error)
	// DeleteManifest takes a manifest out of a repository; tags are left to the
	// caller. KindNotFound: it is not there. KindConflict: an index needs it.
	DeleteManifest(ctx context.Context, del Deletion) error
}

// Deletion says what is removed from a repository, when, by whom and why. It is kept.
type Deletion struct {
	Repository string // path
	Digest     dossier.Digest
	At         time.Time
	By         string
	Reason     string // empty: who did it asked for it by name
	// KeptUntil is until when what a manifest needed is kept without it: pushes
	// that share it may be under way.
	KeptUntil time.Time
}

// Upload is a blob on its way into a repository. Whoever writes it holds it.
type Upload struct {
	ID         string
	Repository string // path
	Owner      string // who began it
	Key        string // of the blob
	Token      []byte // of the blob store; nil: nothing was written yet
	Size       int64  // bytes written
	Algorithm  string // of the digest that the client promised; empty: not said
	Hash       []byte // state of a hash of that algorithm, where it is not the blob store's
	Holder     string
	HeldUntil  time.Time
	ExpiresAt  time.Time
}

// UploadWriter changes uploads.
type UploadWriter interface {
	// CreateUpload adds an upload that nobody holds.
	CreateUpload(ctx context.Context, u Upload) error
	// HoldUpload gives an upload to holder until a time. KindNotFound: there is
	// none of that ID in the repository. KindConflict: somebody else holds it at now.
	HoldUpload(ctx context.Context, path, id, holder string, now, until time.Time) (Upload, error)
	// RenewUpload lets who holds an upload hold it longer. KindConflict: holder does not.
	RenewUpload(ctx context.Context, id, holder string, until time.Time) error
	// SaveUpload keeps Key, Token, Size, Algorithm, Hash and ExpiresAt of an upload that u.Holder
	// holds, and lets go of it. KindConflict: u.Holder does not hold it.
	SaveUpload(ctx context.Context, u Upload) error
	// EndUpload removes an upload. KindConflict: holder does not hold it.
	EndUpload(ctx context.Context, id, holder string) error
	// ExpireUploads removes up to limit uploads that expired before now and that nobody holds.
	ExpireUploads(ctx context.Context, now time.Time, limit int) (int, error)
}
