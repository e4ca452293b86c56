// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
)

// tagPayload asks to see where a tag points, and to read what it points at.
type tagPayload struct {
	Name      string   `json:"name"`
	Tag       string   `json:"tag"`
	Platforms []string `json:"platforms,omitempty"` // that are of interest; empty: all
}

func (p tagPayload) job() store.Job {
	return newJob(JobTag, TagKey(p.Name, p.Tag)+" "+strings.Join(p.Platforms, ","), p)
}

// TagKey is what the keys of jobs that check a tag begin with.
func TagKey(name, tag string) string { return name + ":" + tag }

// tag resolves a tag, and reads what it points at when that is new: only then
// can one see whether a platform moved or merely the index around it.
func (g *Ingest) tag(ctx context.Context, p tagPayload) (finisher, error) {
	_, finish, err := g.resolveTag(ctx, p)
	return finish, err
}

// resolveTag is tag, and returns the digest too: none when the tag, which was
// there before, is gone.
func (g *Ingest) resolveTag(ctx context.Context, p tagPayload) (dossier.Digest, finisher, error) {
	ref := p.Name + ":" + p.Tag
	at := g.now()
	root, err := g.Images.Resolve(ctx, ref)
	if dossier.KindOf(err) == dossier.KindNotFound {
		if gone, viewErr := g.tagIsKnown(ctx, p); viewErr == nil && gone {
			return "", func(tx store.Tx) error { return dropTag(ctx, tx, p, at) }, nil
		}
	}
	if err != nil {
		return "", nil, err
	}
	tree, err := g.readResolved(ctx, ref, root, p.Platforms)
	if err != nil {
		return "", nil, err
	}
	return root.Digest, g.keep(ctx, finding{tree: tree, root: root.Digest, name: p.Name, tag: &p, at: at}), nil
}

// readResolved reads what a reference was resolved to, as far as it is needed.
// It returns nil when all of it is known.
func (g *Ingest) readResolved(ctx context.Context, ref string, root image.Descriptor, platforms []string) (*image.Tree, error) {
	complete := false
	err := g.Store.View(ctx, func(r store.Reader) (err error) {
		complete, err = isComplete(ctx, r, root.Digest, platforms)
		return err
	})
	if err != nil || complete {
		return nil, err
	}
	return g.Images.Read(ctx, ref, image.ReadOptions{Root: root, Platforms: platforms, Known: g.known(ctx, platforms)})
}

func (g *Ingest) tagIsKnown(ctx context.Context, p tagPayload) (bool, error) {
	known := false
	err := g.Store.View(ctx, func(r store.Reader) error {
		tags, err := r.TagsAt(ctx, []store.NameTag{{Name: p.Name, Tag: p.Tag}}, time.Time{})
		known = len(tags) > 0
		return err
	})
	return known, err
}

// pointTag keeps where a tag points. Only a change is a fact.
func pointTag(ctx context.Context, tx store.Tx, p tagPayload, d dossier.Digest, at time.Time) error {
	was, moved, err := tx.PointTag(ctx, p.Name, p.Tag, d, at)
	if err != nil || !moved {
		return err
	}
	return record.Moved(ctx, tx, store.NameTag{Name: p.Name, Tag: p.Tag}, was, d, at)
}

// dropTag keeps that a tag is gone.
func dropTag(ctx context.Context, tx store.Tx, p tagPayload, at time.Time) error {
	was, dropped, err := tx.DropTag(ctx, p.Name, p.Tag, at)
	if err != nil || !dropped {
		return err
	}
	return record.Moved(ctx, tx, store.NameTag{Name: p.Name, Tag: p.Tag}, was, "", at)
}
