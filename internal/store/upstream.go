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

// UpstreamUse is what the mirrors of an upstream hold. What several of them hold
// counts once.
type UpstreamUse struct {
	Upstream     string
	Repositories int
	Manifests    int
	Blobs        int
	Bytes        int64 // of blobs
}
