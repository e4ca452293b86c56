// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"context"
	"slices"
	"time"

	"dossier.dev/dossier"
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
		var keys, rows []string
		var size int64
		for _, g := range page {
			if store.IsSmallKey(g.Key) {
				rows = append(rows, g.Key)
			} else if err := c.config.Blobs.Delete(ctx, g.Key); err != nil {
				return freed, err
			}
			keys = append(keys, g.Key)
			size += max(0, g.Size)
		}
		err = c.deleteRows(ctx, rows, func(tx store.Tx) error { return tx.ForgetGarbage(ctx, keys) })
		if err != nil {
			return freed, err
		}
		freed += size
	}
}

// deleteRows deletes rows, and does what else belongs to that in the same transaction. A row
// that the database cannot read cannot be deleted either: it holds up nothing else.
func (c *Collector) deleteRows(ctx context.Context, rows []string, also func(store.Tx) error) error {
	err := c.config.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.DeleteSmallBlobs(ctx, rows); err != nil {
			return err
		}
		return also(tx)
	})
	if dossier.KindOf(err) != dossier.KindCorrupt || len(rows) == 0 {
		return err
	}
	for _, key := range rows {
		err := c.config.Store.Update(ctx, func(tx store.Tx) error { return tx.DeleteSmallBlobs(ctx, []string{key}) })
		if dossier.KindOf(err) == dossier.KindCorrupt {
			c.config.Logger.ErrorContext(ctx, "a row of the database cannot be deleted, and stays", "key", key, "error", err)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return c.config.Store.Update(ctx, also)
}

// orphanRows deletes rows with bytes that no other row names, and returns how many. Both come
// and go in one transaction, but servers of versions before there were such rows forget
// them without that.
func (c *Collector) orphanRows(ctx context.Context) (deleted int, err error) {
	for after := ""; ; {
		var page, old []string
		err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
			if page, err = r.SmallBlobKeys(ctx, after, pageSize); err != nil {
				return err
			}
			named, err := r.KeysNamed(ctx, page)
			old = slices.DeleteFunc(slices.Clone(page), func(key string) bool { return named[key] })
			return err
		})
		if err == nil && len(old) > 0 {
			if err = c.deleteRows(ctx, old, func(store.Tx) error { return nil }); err == nil {
				c.config.Logger.InfoContext(ctx, "deleted rows with bytes that nothing names", "rows", len(old))
				deleted += len(old)
			}
		}
		if err != nil || len(page) < pageSize {
			return deleted, err
		}
		after = page[len(page)-1]
	}
}

// orphans deletes bytes that no row names and returns how many: a process died
// between writing the bytes and the row, or between removing the row and the bytes.
func (c *Collector) orphans(ctx context.Context) (deleted int, err error) {
	deleted, err = c.orphanRows(ctx)
	if dossier.KindOf(err) == dossier.KindCorrupt {
		c.config.Logger.ErrorContext(ctx, "rows with bytes that nothing names could not be looked for", "error", err)
		err = nil // it holds up nothing else
	}
	if err != nil || c.config.Blobs == nil {
		return deleted, err
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
