// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"
)

// What this file holds is signed metadata (TUF): what the registry publishes for
// a prefix of its repositories, and what a verifier trusts of others.

// TUFPrefix is a prefix of repositories for which metadata is published.
type TUFPrefix struct {
	Prefix string    // path of a repository, or above some
	Name   string    // as in references: HOST/PREFIX
	Online bool      // the server signs what is tagged
	Due    time.Time // when something is to be signed again
}

// TUFFile is one version of a file of metadata.
type TUFFile struct {
	Role    string
	Version int64
	Expires time.Time
	Body    []byte // as signed
}

// TUFMove is a tag that moved and of which nothing is signed yet.
type TUFMove struct {
	ID int64
	NameTag
}

// TUFReader reads published metadata.
type TUFReader interface {
	// TUFPrefixes returns all prefixes in order.
	TUFPrefixes(ctx context.Context) ([]TUFPrefix, error)
	// TUFFile returns a version of a file, or the newest when version is 0. KindNotFound.
	TUFFile(ctx context.Context, prefix, role string, version int64) (TUFFile, error)
	// TUFRoles returns the newest version of each role that expires before a time, without its body,
	// up to limit, the first to expire first.
	TUFRoles(ctx context.Context, prefix string, before time.Time, limit int) ([]TUFFile, error)
	// TUFKeys returns the online keys of a prefix, the newest first.
	TUFKeys(ctx context.Context, prefix string) ([]SigningKey, error)
	// TUFMoves returns up to limit moves of tags below an online prefix, by rising ID.
	TUFMoves(ctx context.Context, prefix string, limit int) ([]TUFMove, error)
}

// TUFWriter changes published metadata.
type TUFWriter interface {
	// LockTUF returns a prefix, which it adds unless it is there, and makes all others
	// who lock it wait until the end of the transaction.
	LockTUF(ctx context.Context, prefix, name string) (TUFPrefix, error)
	// PutTUF changes a prefix that is there. When it comes to be Online, all tags
	// below it count as moved.
	PutTUF(ctx context.Context, p TUFPrefix) error
	// PutTUFFile adds a version, which becomes the newest of its role whatever its
	// number. One of the same number is replaced.
	PutTUFFile(ctx context.Context, prefix string, f TUFFile, at time.Time) error
	// PruneTUF removes versions, but those of root, that ceased to be the newest before a time.
	PruneTUF(ctx context.Context, prefix string, before time.Time) error
	// PutTUFKey adds an online key. Of one that is there it replaces the secret.
	PutTUFKey(ctx context.Context, prefix string, k SigningKey) error
	// DoneTUF removes moves.
	DoneTUF(ctx context.Context, moves []TUFMove) error
}

// TUFTrustReader reads what a verifier trusts.
type TUFTrustReader interface {
	// TUFTrusted returns the files that are trusted of a source, by role. None: it is not pinned.
	TUFTrusted(ctx context.Context, source string) ([]TUFFile, error)
	// TUFSources returns the names of all sources in order.
	TUFSources(ctx context.Context) ([]string, error)
}

// TUFTrustWriter changes what a verifier trusts.
type TUFTrustWriter interface {
	// LockTUFTrust is TUFTrusted, and makes all others who lock the source wait until the end
	// of the transaction: what is trusted must not go back because two look at once.
	LockTUFTrust(ctx context.Context, source string) ([]TUFFile, error)
	// TrustTUF replaces the trusted files of a source; none: it is forgotten.
	TrustTUF(ctx context.Context, source string, files []TUFFile) error
}
