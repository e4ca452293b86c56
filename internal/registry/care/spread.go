// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"context"
	"maps"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/origin"
)

// spread finds what belongs to what is needed as a whole: its parts and theirs,
// the indexes that list it and all that they list, what refers to any of these,
// and the images that they were built on, as a whole in turn.
func (w *watcher) spread(ctx context.Context) error {
	for len(w.queue) > 0 {
		if len(w.needed) > maxNeeded {
			return &dossier.Error{Kind: dossier.KindLimit, Op: "finding what clusters need", Err: errTooMany}
		}
		level := slices.Sorted(maps.Keys(w.queue))
		w.queue = map[dossier.Digest]bool{}
		for some := range slices.Chunk(level, atOnce) {
			if err := w.surroundings(ctx, some); err != nil {
				return err
			}
		}
	}
	return nil
}

// surroundings adds what lies directly around digests.
func (w *watcher) surroundings(ctx context.Context, ds []dossier.Digest) error {
	up, err := w.reader.Parents(ctx, ds, dossier.RolePlatform, dossier.RoleAttestation, dossier.RoleConfig)
	if err != nil {
		return err
	}
	for _, e := range up {
		w.follow(e.Parent, e.Child, "what lists", true)
	}
	if err := w.parts(ctx, ds); err != nil {
		return err
	}
	return w.bases(ctx, ds)
}

// follow adds to what is needed because of via.
func (w *watcher) follow(d, via dossier.Digest, as string, whole bool) {
	w.add(d, need{use: w.needed[via].use, as: as, via: via}, whole)
}

// parts adds the parts of digests and what refers to them, down to the last
// layer. What else has the same part is not needed for that.
func (w *watcher) parts(ctx context.Context, ds []dossier.Digest) error {
	for len(ds) > 0 {
		var below []dossier.Digest
		next := func(d, via dossier.Digest, as string, leaf bool) {
			if _, ok := w.needed[d]; !ok && !leaf {
				below = append(below, d)
			}
			w.follow(d, via, as, false)
		}
		for some := range slices.Chunk(ds, atOnce) {
			down, err := w.reader.Edges(ctx, some,
				dossier.RolePlatform, dossier.RoleAttestation, dossier.RoleConfig, dossier.RoleLayer)
			if err != nil {
				return err
			}
			for _, e := range down {
				next(e.Child, e.Parent, "a part of", e.Role == dossier.RoleLayer)
			}
			referrers, err := w.reader.Parents(ctx, some, dossier.RoleSubject)
			if err != nil {
				return err
			}
			for _, e := range referrers {
				next(e.Parent, e.Child, "a referrer of", false)
			}
		}
		if err := w.bases(ctx, below); err != nil {
			return err
		}
		ds = below
	}
	return nil
}

// bases adds the images that those among digests were built on: what they say
// themselves, and those whose layers they begin with.
func (w *watcher) bases(ctx context.Context, ds []dossier.Digest) error {
	for some := range slices.Chunk(ds, atOnce) {
		chains := map[dossier.Digest]dossier.Digest{} // chain ID: the configuration that has it
		for fact, err := range w.reader.Holding(ctx, some, dossier.Times{}, dossier.FactIndex, dossier.FactManifest, dossier.FactConfig) {
			if err != nil {
				return err
			}
			terms, err := origin.Terms(fact.Kind, fact.Body)
			if err != nil {
				continue // it is what it is, and names no base that can be read
			}
			for _, t := range terms {
				if d, err := dossier.ParseDigest(t.Value); t.Field == dossier.FieldBase && err == nil {
					w.follow(d, fact.Subject, "a base of", true)
				}
			}
			if fact.Kind != dossier.FactConfig {
				continue
			}
			c, err := origin.ParseConfig(fact.Body)
			if err != nil || slices.Contains(c.DiffIDs, "") {
				continue
			}
			for _, id := range dossier.ChainIDs(c.DiffIDs) {
				chains[id] = fact.Subject
			}
		}
		if err := w.lower(ctx, chains); err != nil {
			return err
		}
	}
	return nil
}

// lower adds the images of which all layers are the first ones of another, which
// is not the same: chains says which configuration has a chain.
func (w *watcher) lower(ctx context.Context, chains map[dossier.Digest]dossier.Digest) error {
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(chains)), atOnce) {
		found, err := w.reader.Parents(ctx, ids, dossier.RoleChain)
		if err != nil {
			return err
		}
		var manifests []dossier.Digest
		for _, e := range found {
			manifests = append(manifests, e.Parent)
		}
		configs := map[dossier.Digest]dossier.Digest{}
		edges, err := w.reader.Edges(ctx, manifests, dossier.RoleConfig)
		if err != nil {
			return err
		}
		for _, e := range edges {
			configs[e.Parent] = e.Child
		}
		for _, e := range found {
			if config := chains[e.Child]; configs[e.Parent] != config {
				w.follow(e.Parent, w.imageOf(config), "a base of", true)
			}
		}
	}
	return nil
}

// imageOf returns the manifest for whose sake a configuration is needed, if it is.
func (w *watcher) imageOf(config dossier.Digest) dossier.Digest {
	if n := w.needed[config]; n.as != "" {
		return n.via
	}
	return config
}
