// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"dossier.dev/dossier"
)

// ScrubReader finds blobs whose bytes are to be compared with their digest, and
// those that were found to be damaged.
type ScrubReader interface {
	// BlobsToCheck returns up to limit blobs that were last compared with their
	// digest at a time or before, the longest ago first, those that were never first
	// of all; after one of them in that order.
	BlobsToCheck(ctx context.Context, before time.Time, after BlobState, limit int) ([]BlobState, error)
	// DamagedBlobs returns up to limit blobs that are known to be damaged, after one
	// and in order.
	DamagedBlobs(ctx context.Context, after dossier.Digest, limit int) ([]BlobState, error)
	// Holders returns up to limit repositories that hold a blob, damaged or not:
	// mirrors first, then by path.
	Holders(ctx context.Context, d dossier.Digest, limit int) ([]Repository, error)
	// Soundness says how it stands with all blobs.
	Soundness(ctx context.Context) (Soundness, error)
}

// ScrubWriter writes down what comparing bytes with their digest has shown.
type ScrubWriter interface {
	// CheckedBlob says that the bytes of a blob were compared with its digest, and
	// what was wrong with them; empty: nothing. It returns what was on record before.
	// A damaged blob is as if it were not there (ContentReader). KindNotFound: it
	// is not kept any more, or under another key: nothing changes.
	CheckedBlob(ctx context.Context, b Blob, at time.Time, damage string) (was string, err error)
}

// Soundness says how it stands with all blobs.
type Soundness struct {
	Damaged int       // known to be
	Oldest  time.Time // of all last checks; zero: there is a blob that was never checked, or none at all
}
