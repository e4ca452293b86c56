// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/origin"
	"dossier.dev/dossier/internal/store"
)

// maxIntervals bounds how much of a tag's history is returned.
const maxIntervals = 1000

// History returns the tags of a repository over time (ref ends in a slash), or
// those of an image with its layers. Errors are those of Lookup.
func (a Answerer) History(ctx context.Context, ref string) (dossier.History, error) {
	h := dossier.History{Subject: ref, AsOf: dossier.Instant(a.now()), Tags: []dossier.TagInterval{}, Layers: []dossier.LayerStep{}}
	if repository, ok := strings.CutSuffix(ref, "/"); ok {
		return a.repositoryHistory(ctx, h, repository)
	}
	err := a.Store.View(ctx, func(r store.Reader) error {
		g := newGatherer(r, dossier.Times{}, a.now())
		d, err := lookup(ctx, r, ref, g.then)
		if err != nil {
			return err
		}
		return g.history(ctx, &h, ref, d)
	})
	return h, err
}

// HistoryOf is History for an image by digest.
func (a Answerer) HistoryOf(ctx context.Context, subject string, d dossier.Digest) (dossier.History, error) {
	h := dossier.History{Subject: subject, AsOf: dossier.Instant(a.now()), Tags: []dossier.TagInterval{}, Layers: []dossier.LayerStep{}}
	err := a.Store.View(ctx, func(r store.Reader) error {
		return newGatherer(r, dossier.Times{}, a.now()).history(ctx, &h, subject, d)
	})
	return h, err
}

func (a Answerer) repositoryHistory(ctx context.Context, h dossier.History, repository string) (dossier.History, error) {
	ref, err := dossier.ParseReference(repository)
	if err != nil {
		return h, err
	}
	h.Subject = ref.Name()
	err = a.Store.View(ctx, func(r store.Reader) error {
		tags, err := r.TagHistory(ctx, ref.Name(), "", maxIntervals)
		if err == nil && len(tags) == 0 {
			return dossier.Errorf(dossier.KindNotFound, "looking up repository", ref.Name(), "no tag of it was ever seen")
		}
		h.Tags = tags
		return err
	})
	return h, err
}

// history fills in the tags and layers of one image.
func (g *gatherer) history(ctx context.Context, h *dossier.History, subject string, d dossier.Digest) error {
	evidence, err := g.gather(ctx, []root{{digest: d}})
	if err != nil {
		return err
	}
	e := evidence[0]
	h.Tags = append([]dossier.TagInterval{}, e.Tags...)
	if ref, err := dossier.ParseReference(subject); err == nil && ref.Digest == "" && !dossier.IsDigestPrefix(subject) {
		h.Subject = ref.WithDefaultTag().String()
		if h.Tags, err = g.r.TagHistory(ctx, ref.Name(), ref.WithDefaultTag().Tag, maxIntervals); err != nil {
			return err
		}
	}
	if e.Image == nil {
		return &dossier.Error{Kind: dossier.KindNotFound, Op: "reading the layers of", Subject: string(d),
			Hint: "the image was not read yet; dossier show reads it"}
	}
	h.Layers = layersOf(&e)
	return nil
}

// layersOf returns the steps of each platform, with the base each layer is from.
func layersOf(e *Evidence) []dossier.LayerStep {
	bodies := map[dossier.Digest][]byte{}
	for _, f := range e.Facts {
		if f.Kind == dossier.FactManifest || f.Kind == dossier.FactConfig {
			bodies[f.Subject] = f.Body
		}
	}
	steps := []dossier.LayerStep{}
	for _, p := range e.Platforms {
		manifest, err := origin.ParseManifest(bodies[p.Manifest])
		if err != nil {
			continue // not read
		}
		config, err := origin.ParseConfig(bodies[p.Config])
		if err != nil {
			continue
		}
		n := 0
		chains := dossier.ChainIDs(config.DiffIDs)
		for _, s := range origin.Steps(config, manifest) {
			s.Platform = p.Platform
			if n < len(chains) {
				s.Base = baseOf(e.Bases, chains, n)
			}
			if s.DiffID != "" || s.Layer != "" {
				n++
			}
			steps = append(steps, s)
		}
	}
	return steps
}

// baseOf names the smallest known image that contains the layer at a position.
func baseOf(bases []Base, chains []dossier.Digest, position int) string {
	for _, b := range slices.Backward(bases) { // the fewest layers first
		if b.Layers > position && b.Layers <= len(chains) && chains[b.Layers-1] == b.Chain {
			if b.Name != "" {
				return b.Name
			}
			return string(b.Digest)
		}
	}
	return ""
}
