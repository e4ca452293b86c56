// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"

	"dossier.dev/dossier"
)

// QuotaReader reads quotas.
type QuotaReader interface {
	// Quotas returns all quotas, by prefix.
	Quotas(ctx context.Context) ([]dossier.Quota, error)
}

// QuotaWriter writes quotas. What counts for them is counted by the methods that put
// blobs and manifests into repositories and take them away: those return an
// *OverQuota when there would be more than may be.
type QuotaWriter interface {
	// SetQuotas makes quotas those that hold, by prefix and limit. What repositories below a
	// new one hold is counted now, also if it is too much.
	SetQuotas(ctx context.Context, quotas []dossier.Quota) error
}

// OverQuota says that something is too large for a quota.
type OverQuota struct {
	dossier.Quota
	Digest dossier.Digest // of what was to be kept
	Size   int64          // of it, in bytes
}

// Error implements error.
func (e *OverQuota) Error() string {
	return fmt.Sprintf("repositories below %s may hold %d bytes and hold %d: %s with %d bytes does not fit in", e.Prefix, e.Limit, e.Used, e.Digest, e.Size)
}

// Unwrap gives it its kind.
func (e *OverQuota) Unwrap() error {
	return &dossier.Error{Kind: dossier.KindDenied, Op: "keeping", Subject: string(e.Digest),
		Hint: "Delete images there that nobody needs, or have the quota raised."}
}
