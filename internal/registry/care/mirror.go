// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// mirrors takes away what was pulled longest ago from upstreams of which more is
// kept than may be.
func (p *pass) mirrors(ctx context.Context) error {
	limits := p.config.Policy.Mirrors
	if len(limits) == 0 {
		return nil
	}
	var use []store.UpstreamUse
	err := p.config.Store.View(ctx, func(r store.Reader) (err error) {
		use, err = r.UpstreamUse(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		at := slices.IndexFunc(use, func(u store.UpstreamUse) bool { return u.Upstream == name })
		if at < 0 || use[at].Bytes <= int64(limits[name]) {
			continue
		}
		if err := p.evict(ctx, name, use[at].Bytes-int64(limits[name])); err != nil {
			return err
		}
	}
	return nil
}

// evict takes manifests away, those first that nobody asked for for the longest time,
// until those that went needed as many bytes. What several of them need is counted
// for each: what is still too much then goes with a later collection.
func (p *pass) evict(ctx context.Context, upstream string, surplus int64) error {
	rule := fmt.Sprintf("more than %d bytes are kept of %s", p.config.Policy.Mirrors[upstream], upstream)
	var after store.IdleManifest
	for surplus > 0 {
		if err := p.watched(ctx); err != nil {
			return err
		}
		if len(p.guard.unknown) > 0 {
			return nil // Withheld says so
		}
		var page []store.IdleManifest
		err := p.config.Store.View(ctx, func(r store.Reader) (err error) {
			page, err = r.IdleManifests(ctx, upstream, p.now(), after, pageSize)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		var goes []taking
		for _, m := range page {
			after = m
			if _, needed := p.guard.reason(m.Digest); needed || surplus <= 0 {
				continue
			}
			surplus -= m.Blobs
			goes = append(goes, taking{evicted: true, Collected: dossier.Collected{
				Kind: dossier.HeldManifest, Repository: m.Repository, Digest: m.Digest, Size: m.Size, Rule: rule,
			}})
		}
		if err := takeSome(goes, p.page(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// takeEvicted takes a manifest out of a mirror with its children, and has what they
// needed looked at.
func (c *Collector) takeEvicted(ctx context.Context, tx store.Tx, t taking, del store.Deletion) (bool, error) {
	gone, err := tx.EvictManifest(ctx, del)
	if err != nil || len(gone) == 0 {
		return false, err
	}
	for _, d := range gone[1:] { // who called us puts the first on record
		del.Digest = d
		if err := witness(ctx, tx, t, del, dossier.ObjectManifest); err != nil {
			return false, err
		}
	}
	_, err = tx.Enqueue(ctx, Review(del.Repository, del.At))
	return true, err
}
