// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"dossier.dev/dossier"
)

// A mirror is a repository of the own registry that holds what was pulled
// through it from a repository elsewhere. It goes by a path, "docker.io/org/app", and
// in references by the name that it has there. Its tags are what was seen there
// (TagWriter.PointTag), and its manifests may lack children.

// UpstreamReader reads what was pulled through.
type UpstreamReader interface {
	// UpstreamBlob returns the record of a blob that any mirror of an upstream
	// holds, or KindNotFound.
	UpstreamBlob(ctx context.Context, upstream string, d dossier.Digest) (Blob, error)
	// ReferrerList returns what was heard to refer to a manifest of a mirror, or KindNotFound.
	ReferrerList(ctx context.Context, path string, subject dossier.Digest) (ReferrerList, error)
	// UpstreamUse says what the mirrors of each upstream hold, by upstream.
	UpstreamUse(ctx context.Context) ([]UpstreamUse, error)
	// IdleManifests returns up to limit manifests in the mirrors of an upstream whose
	// lease has ended at a time and that no index needs, by the end of their lease,
	// repository and digest, those after one.
	IdleManifests(ctx context.Context, upstream string, at time.Time, after IdleManifest, limit int) ([]IdleManifest, error)
}

// UpstreamWriter keeps what is pulled through.
type UpstreamWriter interface {
	// PutMirror adds a mirror unless it is there. Whoever else calls it for
	// that path waits until the end of the transaction. KindConflict: the path
	// is of a repository that is none.
	PutMirror(ctx context.Context, r Repository) error
	// Attach makes the manifests of a mirror need a child that came after them,
	// a blob or a manifest. It returns those manifests that name the child and
	// have their configuration and all layers now, in order.
	Attach(ctx context.Context, path string, child Child) (complete []dossier.Digest, err error)
	// EvictManifest takes a manifest out of a mirror, whether or not tags point at it,
	// when no index needs it and its lease has ended at del.At, and with it those that
	// nothing but it needed. It returns what it took.
	EvictManifest(ctx context.Context, del Deletion) ([]dossier.Digest, error)
	// PutReferrerList replaces a list of referrers.
	PutReferrerList(ctx context.Context, l ReferrerList) error
}

// ReferrerList is what a registry said refers to a manifest.
type ReferrerList struct {
	Repository string // path
	Subject    dossier.Digest
	Body       []byte // as JSON
	CheckedAt  time.Time
}

// IdleManifest is a manifest in a mirror that nobody asked for since some time before
// KeptUntil.
type IdleManifest struct {
	Repository string // path
	Digest     dossier.Digest
	KeptUntil  time.Time
	Size       int64 // of it
	Blobs      int64 // bytes of the blobs that it and its children need
}

// UpstreamUse is what the mirrors of an upstream hold. What several of them hold
// counts once.
type UpstreamUse struct {
	Upstream     string
	Repositories int
	Manifests    int
	Blobs        int
	Bytes        int64 // of blobs
}
