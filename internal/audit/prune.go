// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"time"

	"dossier.dev/dossier/internal/store"
)

// Prune drops the days of a log that ended longer than keep before now, and
// returns how many. keep must be positive.
func Prune(ctx context.Context, log store.AuditLog, now time.Time, keep time.Duration) (int, error) {
	days, err := log.Days(ctx)
	if err != nil {
		return 0, err
	}
	dropped := 0
	for _, d := range days {
		if d.Add(24 * time.Hour).After(now.Add(-keep)) {
			break
		}
		if err := log.Drop(ctx, d); err != nil {
			return dropped, err
		}
		dropped++
	}
	return dropped, nil
}
