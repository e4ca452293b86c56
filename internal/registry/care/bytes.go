// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"context"
	"time"

	"dossier.dev/dossier/internal/store"
)

// orphanAge is how old bytes must be that no row names before they are deleted:
// older than any request can be that is about to write the row.
const orphanAge = 48 * time.Hour

// purge deletes bytes that were condemned long enough ago, and returns how many.
// When it dies in between, the row is still there and the next purge goes on:
// deleting what is gone does nothing.
func (c *Collector) purge(ctx context.Context) (freed int64, err error) {
	if c.config.Blobs == nil {
		return 0, nil
	}
	for {
		var page []store.Garbage
		err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
			page, err = r.Garbage(ctx, c.now().Add(-c.config.Policy.Delay), pageSize)
			return err
		})
		if err != nil || len(page) == 0 {
			return freed, err
		}
		if err := c.config.Store.Settle(ctx); err != nil { // that nothing names them must outlast a power cut
			return freed, err
		}
		keys := make([]string, 0, len(page))
		for _, g := range page {
			if err := c.config.Blobs.Delete(ctx, g.Key); err != nil {
				return freed, err
			}
			keys = append(keys, g.Key)
			freed += max(0, g.Size)
		}
		if err := c.config.Store.Update(ctx, func(tx store.Tx) error { return tx.ForgetGarbage(ctx, keys) }); err != nil {
			return freed, err
		}
	}
}

// orphans deletes bytes that no row names and returns how many: a process died
// between writing the bytes and the row, or between removing the row and the bytes.
func (c *Collector) orphans(ctx context.Context) (deleted int, err error) {
	if c.config.Blobs == nil {
		return 0, nil
	}
	before := c.now().Add(-orphanAge)
	var old []string
	flush := func() error {
		named := map[string]bool{}
		err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
			named, err = r.KeysNamed(ctx, old)
			return err
		})
		if err == nil {
			err = c.config.Store.Settle(ctx)
		}
		for _, key := range old {
			if err != nil {
				break
			}
			if named[key] {
				continue
			}
			if err = c.config.Blobs.Delete(ctx, key); err == nil {
				deleted++
				c.config.Logger.InfoContext(ctx, "deleted bytes that no row names", "key", key)
			}
		}
		old = old[:0]
		return err
	}
	for info, err := range c.config.Blobs.List(ctx, "") {
		if err != nil {
			return deleted, err
		}
		if info.Time.After(before) {
			continue
		}
		if old = append(old, info.Key); len(old) == pageSize {
			if err := flush(); err != nil {
				return deleted, err
			}
		}
	}
	return deleted, flush()
}
