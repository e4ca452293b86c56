// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/origin"
	"dossier.dev/dossier/internal/store"
)

// maxIntervals bounds how much of a history is returned.
const maxIntervals = 1000

// History returns the tags of a repository over time (ref ends in a slash), or
// those of an image with its layers. With a time it returns what was so then.
// Errors are those of Lookup.
func (a Answerer) History(ctx context.Context, ref string, at time.Time) (dossier.History, error) {
	if repository, ok := strings.CutSuffix(ref, "/"); ok {
		return a.repositoryHistory(ctx, ref, repository, at)
	}
	var h dossier.History
	err := a.Store.View(ctx, func(r store.Reader) error {
		g := a.gatherer(r, dossier.Times{Valid: at})
		subject, err := knownAs(ctx, r, ref)
		if err != nil {
			return err
		}
		h = g.emptyHistory(subject)
		d, err := lookup(ctx, r, subject, g.then)
		if err != nil {
			return err
		}
		return g.history(ctx, &h, subject, d)
	})
	return h, err
}

// HistoryOf is History for an image by digest.
func (a Answerer) HistoryOf(ctx context.Context, subject string, d dossier.Digest, at time.Time) (dossier.History, error) {
	var h dossier.History
	err := a.Store.View(ctx, func(r store.Reader) error {
		g := a.gatherer(r, dossier.Times{Valid: at})
		h = g.emptyHistory(subject)
		return g.history(ctx, &h, subject, d)
	})
	return h, err
}

func (g *gatherer) emptyHistory(subject string) dossier.History {
	return dossier.History{Subject: subject, AsOf: g.asOf, Tags: []dossier.TagInterval{}, Layers: []dossier.LayerStep{}}
}

func (a Answerer) repositoryHistory(ctx context.Context, subject, repository string, at time.Time) (dossier.History, error) {
	var h dossier.History
	err := a.Store.View(ctx, func(r store.Reader) error {
		known, err := knownAs(ctx, r, repository)
		if err != nil {
			return err
		}
		ref, err := dossier.ParseReference(known)
		if err != nil {
			return err
		}
		g := a.gatherer(r, dossier.Times{Valid: at})
		h = g.emptyHistory(ref.Name())
		seen, err := r.TagHistory(ctx, ref.Name(), "", maxIntervals+1)
		if err != nil {
			return err
		}
		if len(seen) == 0 {
			return dossier.Errorf(dossier.KindNotFound, "looking up repository", ref.Name(), "no tag of it was ever seen")
		}
		if !at.IsZero() {
			if seen, err = r.TagPage(ctx, store.TagQuery{Name: ref.Name(), At: at, Limit: maxIntervals + 1}); err != nil {
				return err
			}
		}
		setTags(&h, seen)
		return nil
	})
	return h, err
}

// Changes compares the tags of a repository at two times. KindNotFound: no tag
// of it was ever seen. KindInvalid: From is not before To.
func (a Answerer) Changes(ctx context.Context, q dossier.TagDiffQuery) (dossier.TagDiff, error) {
	const op = "comparing two times of"
	ref, err := dossier.ParseReference(strings.TrimSuffix(q.Repository, "/"))
	if err != nil {
		return dossier.TagDiff{}, err
	}
	name, now := ref.Name(), dossier.Instant(a.now())
	diff := dossier.TagDiff{Repository: name, From: dossier.Instant(q.From), To: dossier.Instant(q.To)}
	if q.To.IsZero() {
		diff.To = now
	}
	if q.From.IsZero() || !diff.From.Before(diff.To) {
		return diff, dossier.Errorf(dossier.KindInvalid, op, name, "want a time from which on, before the one until which")
	}
	limit := MaxChanges
	if q.Limit > 0 {
		limit = min(q.Limit, MaxChanges)
	}
	err = a.Store.View(ctx, func(r store.Reader) error {
		seen, err := r.TagHistory(ctx, name, "", 1)
		if err != nil {
			return err
		}
		if len(seen) == 0 {
			return dossier.Errorf(dossier.KindNotFound, op, name, "no tag of it was ever seen")
		}
		diff.Changes, diff.Next, err = r.TagChanges(ctx, store.TagChangesQuery{
			Name: name, From: diff.From, To: dossier.Instant(q.To), After: q.After, Limit: limit,
		})
		diff.Changes = append([]dossier.TagChange{}, diff.Changes...)
		return err
	})
	return diff, err
}

// MaxChanges is how many tags Changes compares at a time.
const MaxChanges = 1000

// history fills in the tags and layers of one image.
func (g *gatherer) history(ctx context.Context, h *dossier.History, subject string, d dossier.Digest) error {
	evidence, err := g.gather(ctx, []root{{digest: d}}, nil)
	if err != nil {
		return err
	}
	e := evidence[0]
	tags, err := g.tagsFor(ctx, h, subject, d)
	if err != nil {
		return err
	}
	setTags(h, tags)
	if e.Image == nil && len(tags) == 0 {
		return &dossier.Error{Kind: dossier.KindNotFound, Op: "reading the layers of", Subject: string(d),
			Hint: "the image was not read yet; dossier show reads it"}
	}
	h.Layers = layersOf(&e)
	return nil
}

// tagsFor returns the intervals of the tag that a subject names, or else those of
// the tags that point at d, and one more than are listed.
func (g *gatherer) tagsFor(ctx context.Context, h *dossier.History, subject string, d dossier.Digest) ([]dossier.TagInterval, error) {
	const most = maxIntervals + 1
	ref, err := dossier.ParseReference(subject)
	if err == nil && ref.Digest == "" && !dossier.IsDigestPrefix(subject) && !dossier.IsLocal(subject) {
		ref = ref.WithDefaultTag()
		h.Subject = ref.String()
		var tags []dossier.TagInterval
		if g.then.IsZero() {
			tags, err = g.r.TagHistory(ctx, ref.Name(), ref.Tag, most)
		} else {
			tags, err = g.r.TagsAt(ctx, []store.NameTag{{Name: ref.Name(), Tag: ref.Tag}}, g.then)
		}
		if err != nil || len(tags) > 0 {
			return tags, err
		}
	}
	return g.r.TagPage(ctx, store.TagQuery{Digest: d, At: g.then, Limit: most})
}

func setTags(h *dossier.History, tags []dossier.TagInterval) {
	h.Truncated = len(tags) > maxIntervals
	h.Tags = append([]dossier.TagInterval{}, tags[:min(len(tags), maxIntervals)]...)
}

// layersOf returns the steps of each platform, with the base each layer is from.
func layersOf(e *Evidence) []dossier.LayerStep {
	bodies := map[dossier.Digest]*parsed{}
	for i := range e.Facts {
		if f := &e.Facts[i]; f.Kind == dossier.FactManifest || f.Kind == dossier.FactConfig {
			bodies[f.Subject] = parseBody(f.Kind, f.Body)
		}
	}
	steps := []dossier.LayerStep{}
	for _, p := range e.Platforms {
		manifest, config := bodies[p.Manifest], bodies[p.Config]
		if manifest == nil || manifest.err != nil || config == nil || config.err != nil {
			continue // not read
		}
		n := 0
		chains := dossier.ChainIDs(config.config.DiffIDs)
		for _, s := range origin.Steps(config.config, manifest.manifest) {
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
