// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"dossier.dev/dossier"
)

// What this file holds is how things of the registry come to an end. Whatever is
// taken away is taken by one statement that says under what condition, so that
// no state that was read before is relied upon; a lease (LeaseBlob,
// LeaseManifest) that is renewed at the same time wins, or finds nothing to renew.

// GarbageReader finds what nothing needs.
type GarbageReader interface {
	// LooseBlobs returns up to limit blobs of a repository, after one and in
	// order, that no manifest of it needs and whose lease has ended at a time.
	LooseBlobs(ctx context.Context, path string, after dossier.Digest, at time.Time, limit int) ([]LooseBlob, error)
	// UntaggedManifests returns up to limit manifests of a repository, after one and
	// in order, to which no tag points, that no index there needs, and whose lease has
	// ended at a time.
	UntaggedManifests(ctx context.Context, path string, after dossier.Digest, at time.Time, limit int) ([]UntaggedManifest, error)
	// UnheldBlobs returns up to limit blobs, after one and in order, that no
	// repository holds and that were stored at a time or before.
	UnheldBlobs(ctx context.Context, after dossier.Digest, before time.Time, limit int) ([]Blob, error)
	// Garbage returns up to limit blobs that were condemned at a time or before,
	// the first condemned first.
	Garbage(ctx context.Context, before time.Time, limit int) ([]Garbage, error)
	// Condemned returns what is condemned of a digest.
	Condemned(ctx context.Context, d dossier.Digest) ([]Garbage, error)
	// KeysNamed returns those of the keys that any row names.
	KeysNamed(ctx context.Context, keys []string) (map[string]bool, error)
}

// KeepingReader reads what is kept of a digest, and what was.
type KeepingReader interface {
	// Holdings returns in which repositories a digest is, by path.
	Holdings(ctx context.Context, d dossier.Digest) ([]Holding, error)
	// BlobState returns how the bytes of a digest are, or KindNotFound.
	BlobState(ctx context.Context, d dossier.Digest) (BlobState, error)
	// Tombstones returns up to limit deletions of a digest, newest first.
	Tombstones(ctx context.Context, d dossier.Digest, limit int) ([]Tombstone, error)
}

// GarbageWriter takes away what nothing needs. The methods report whether they
// did: in between, something may have come to need it.
type GarbageWriter interface {
	// CollectBlob takes a blob out of a repository when no manifest of it needs it
	// and its lease has ended at del.At. When no other repository holds it, it is
	// condemned.
	CollectBlob(ctx context.Context, del Deletion) (bool, error)
	// CollectManifest takes a manifest out of a repository when no tag points at
	// it, no index needs it, and its lease has ended at del.At.
	CollectManifest(ctx context.Context, del Deletion) (bool, error)
	// CollectTag makes a tag of an own repository point nowhere when its interval is
	// still the one that was seen, and nothing was pushed to it since.
	CollectTag(ctx context.Context, seen dossier.TagInterval, at time.Time) (TagMove, error)
	// CondemnBlob removes the record of a blob that no repository holds and that was
	// stored at a time or before. Its bytes can no longer be found but as Garbage.
	CondemnBlob(ctx context.Context, d dossier.Digest, before, at time.Time, reason string) (bool, error)
	// ForgetGarbage forgets condemned bytes once they are deleted.
	ForgetGarbage(ctx context.Context, keys []string) error
}

// LooseBlob is a blob that a repository holds and does not need.
type LooseBlob struct {
	Blob
	Holders int // repositories that hold it, this one among them
}

// UntaggedManifest is a manifest that goes by no tag.
type UntaggedManifest struct {
	Digest       dossier.Digest
	Size         int64
	PushedAt     time.Time
	KeptUntil    time.Time
	UntaggedAt   time.Time      // when it lost its last tag; PushedAt when it never had one
	Subject      dossier.Digest // what it refers to; may be empty
	SubjectThere bool           // in the same repository
}

// BlobState says how the bytes of a digest are.
type BlobState struct {
	Blob
	StoredAt  time.Time
	CheckedAt time.Time // when they were last compared with the digest; zero: never
	Damage    string    // what was wrong with them then; empty: nothing
	DamagedAt time.Time // when that was found
}

// Garbage is bytes that nobody can find any more.
type Garbage struct {
	Blob
	CondemnedAt time.Time
	Reason      string
}

// Holding says that a digest is in a repository.
type Holding struct {
	Repository Repository
	Manifest   bool // else a blob
	Size       int64
	Since      time.Time
	KeptUntil  time.Time
	Parents    []dossier.Digest // manifests there that need it, at most MaxParents

	// Of a manifest:
	UntaggedAt   time.Time      // when a tag last ceased to point at it; Since when none ever did
	Subject      dossier.Digest // what it refers to; may be empty
	SubjectThere bool           // in the same repository
}

// MaxParents is how many parents a Holding names.
const MaxParents = 20

// Tombstone is what is left of what was deleted.
type Tombstone struct {
	Repository string // path; empty: the bytes themselves
	Digest     dossier.Digest
	Manifest   bool // else a blob
	At         time.Time
	By         string
	Reason     string
}
