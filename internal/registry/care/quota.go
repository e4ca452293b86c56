// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"context"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Quotas says how much of each quota is used.
func (c *Collector) Quotas(ctx context.Context) (dossier.QuotaList, error) {
	list := dossier.QuotaList{AsOf: c.now(), Quotas: []dossier.Quota{}}
	err := c.config.Store.View(ctx, func(r store.Reader) error {
		quotas, err := r.Quotas(ctx)
		list.Quotas = append(list.Quotas, quotas...)
		return err
	})
	return list, err
}
