// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// memory is what a gatherer has read. The state that it reads from is one and
// stays the same, so nothing is read twice. What is not there is remembered too.
type memory struct {
	images map[dossier.Digest]*dossier.Image // nil: not known then
	edges  map[dossier.Digest][]dossier.Edge // to platforms and configurations, of the images known then
	names  map[dossier.Digest][]store.Name
	tags   map[dossier.Digest][]dossier.TagInterval // that point at the digest
	points map[store.NameTag]*dossier.TagInterval   // where the tag points; nil: not known

	exposures map[dossier.Digest]store.SetExposure // by set of packages
	exploited map[string]bool                      // vulnerabilities, by ID
}

func newMemory() memory {
	return memory{
		images: map[dossier.Digest]*dossier.Image{},
		edges:  map[dossier.Digest][]dossier.Edge{},
		names:  map[dossier.Digest][]store.Name{},
		tags:   map[dossier.Digest][]dossier.TagInterval{},
		points: map[store.NameTag]*dossier.TagInterval{},

		exposures: map[dossier.Digest]store.SetExposure{},
		exploited: map[string]bool{},
	}
}

// toRead returns the keys that are not in m, each once, and puts them there.
func toRead[K comparable, V any](m map[K]V, keys []K) []K {
	var missing []K
	for _, k := range keys {
		if _, ok := m[k]; !ok {
			var nothing V
			m[k] = nothing
			missing = append(missing, k)
		}
	}
	return missing
}

// loadImages reads images, and the edges that lead from them.
func (g *gatherer) loadImages(ctx context.Context, ds []dossier.Digest) error {
	ds = toRead(g.images, distinct(ds))
	known, err := g.knownThen(ctx, ds)
	if err != nil {
		return err
	}
	images, err := g.r.Images(ctx, ds)
	if err != nil {
		return err
	}
	var parents []dossier.Digest
	for _, d := range ds {
		if image, ok := images[d]; ok && known(d) {
			g.images[d] = &image
			parents = append(parents, d)
		}
	}
	edges, err := g.r.Edges(ctx, parents, dossier.RolePlatform, dossier.RoleConfig)
	if err != nil {
		return err
	}
	for _, e := range edges {
		g.edges[e.Parent] = append(g.edges[e.Parent], e)
	}
	return nil
}

// loadTree reads images and what lies under them, level by level: an index may
// hold indexes.
func (g *gatherer) loadTree(ctx context.Context, roots []dossier.Digest) error {
	seen := map[dossier.Digest]bool{}
	for level := distinct(roots); len(level) > 0; {
		if err := g.loadImages(ctx, level); err != nil {
			return err
		}
		var next []dossier.Digest
		for _, d := range level {
			for _, e := range g.edges[d] {
				if e.Role == dossier.RolePlatform && !seen[e.Child] {
					seen[e.Child] = true
					next = append(next, e.Child)
				}
			}
		}
		level = next
	}
	return nil
}

// leaves returns the edges that lead to the manifests of an index, also of those
// within it, in order and each manifest once. The tree must have been loaded.
func (m memory) leaves(index dossier.Digest) []dossier.Edge {
	var out []dossier.Edge
	seen := map[dossier.Digest]bool{}
	var walk func(dossier.Digest)
	walk = func(d dossier.Digest) {
		for _, e := range m.edges[d] {
			if e.Role != dossier.RolePlatform || seen[e.Child] {
				continue
			}
			seen[e.Child] = true
			if child := m.images[e.Child]; child != nil && child.Kind == dossier.ImageIndex {
				walk(e.Child)
			} else {
				out = append(out, e)
			}
		}
	}
	walk(index)
	return out
}

// platform returns the platform of a known image, or "".
func (m memory) platform(d dossier.Digest) string {
	if image := m.images[d]; image != nil {
		return image.Platform
	}
	return ""
}

// loadNames reads the repositories in which digests were found.
func (g *gatherer) loadNames(ctx context.Context, ds []dossier.Digest) error {
	names, err := g.r.Names(ctx, toRead(g.names, ds))
	for d, list := range names {
		g.names[d] = list
	}
	return err
}

// loadTags reads the tags that point at digests.
func (g *gatherer) loadTags(ctx context.Context, ds []dossier.Digest) error {
	tags, err := g.r.TagsOf(ctx, toRead(g.tags, ds), g.then)
	for _, t := range tags {
		g.tags[t.Digest] = append(g.tags[t.Digest], t)
	}
	return err
}

// loadPoints reads where tags point.
func (g *gatherer) loadPoints(ctx context.Context, tags []store.NameTag) error {
	intervals, err := g.r.TagsAt(ctx, toRead(g.points, tags), g.then)
	for _, t := range intervals {
		g.points[store.NameTag{Name: t.Name, Tag: t.Tag}] = &t
	}
	return err
}
