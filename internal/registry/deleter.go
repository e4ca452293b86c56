// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"net/http"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/store"
)

// deletion says what is removed, and by whom.
func (c *call) deletion(at time.Time) store.Deletion {
	return store.Deletion{Repository: c.Repository, Digest: c.Digest, At: at, By: c.who.String(), KeptUntil: at.Add(c.config.Lease)}
}

// deleteBlob takes a blob out of a repository ("Deleting Blobs"). Its bytes stay
// until nobody needs them.
func (c *call) deleteBlob(ctx context.Context) error {
	del := c.deletion(c.now())
	err := c.config.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.UnlinkBlob(ctx, del); err != nil {
			return err
		}
		return c.event(ctx, tx, dossier.FactDelete, del.Digest, del.At, dossier.EventBody{Object: dossier.ObjectBlob})
	})
	if err != nil {
		return when(err, dossier.KindNotFound, CodeBlobUnknown)
	}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// tagged returns what a tag points at now. KindNotFound: nothing.
func tagged(ctx context.Context, r store.Reader, tag store.NameTag) (dossier.Digest, error) {
	open, err := r.TagsAt(ctx, []store.NameTag{tag}, time.Time{})
	if err != nil {
		return "", err
	}
	if len(open) == 0 {
		return "", dossier.Errorf(dossier.KindNotFound, "finding tag", tag.Name+":"+tag.Tag, "it points at nothing")
	}
	return open[0].Digest, nil
}

// deleteManifest drops a tag ("Deleting Tags"), or removes a manifest with all
// tags that point at it ("Deleting Manifests").
func (c *call) deleteManifest(ctx context.Context) error {
	at := c.now()
	err := c.config.Store.Update(ctx, func(tx store.Tx) error {
		repo, err := tx.Repository(ctx, c.Repository)
		if err != nil {
			return when(err, dossier.KindNotFound, CodeNameUnknown)
		}
		if repo.Upstream != "" {
			return c.forget(ctx, tx, repo, at)
		}
		d, body := c.Digest, dossier.EventBody{Object: dossier.ObjectManifest}
		tags := []store.NameTag{{Name: repo.Name, Tag: c.Tag}}
		if c.Tag == "" {
			del := c.deletion(at)
			if err := tx.DeleteManifest(ctx, del); err != nil {
				return err
			}
			if _, err := tx.Enqueue(ctx, care.Review(c.Repository, del.KeptUntil)); err != nil {
				return err
			}
			if tags, err = tagsOf(ctx, tx, repo.Name, c.Digest); err != nil {
				return err
			}
		} else if d, err = tagged(ctx, tx, tags[0]); err != nil {
			return err
		} else {
			body.Object = dossier.ObjectTag
		}
		for _, tag := range tags {
			body.Tags = append(body.Tags, dossier.EventTag{Tag: tag.Tag})
		}
		if err := clearTags(ctx, tx, tags, at); err != nil {
			return err
		}
		return c.event(ctx, tx, dossier.FactDelete, d, at, body)
	})
	if err != nil {
		return when(err, dossier.KindNotFound, CodeManifestUnknown)
	}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// forget removes a manifest from a mirror. Its tags are what is seen elsewhere,
// where nobody deletes them from here.
func (c *call) forget(ctx context.Context, tx store.Tx, repo store.Repository, at time.Time) error {
	if c.Tag != "" {
		return fault(CodeUnsupported, "the tags of %s are those of %s", c.Repository, repo.Upstream)
	}
	if err := tx.DeleteManifest(ctx, c.deletion(at)); err != nil {
		return err
	}
	return c.event(ctx, tx, dossier.FactDelete, c.Digest, at, dossier.EventBody{Object: dossier.ObjectManifest})
}

// tagsOf returns the tags of a repository that point at a digest now.
func tagsOf(ctx context.Context, r store.Reader, name string, d dossier.Digest) ([]store.NameTag, error) {
	open, err := r.TagsOf(ctx, []dossier.Digest{d}, time.Time{})
	if err != nil {
		return nil, err
	}
	open = slices.DeleteFunc(open, func(i dossier.TagInterval) bool { return i.Name != name })
	tags := make([]store.NameTag, len(open))
	for i, interval := range open {
		tags[i] = store.NameTag{Name: interval.Name, Tag: interval.Tag}
	}
	return tags, nil
}

// clearTags drops tags and records it.
func clearTags(ctx context.Context, tx store.Tx, tags []store.NameTag, at time.Time) error {
	for _, tag := range tags {
		move, err := tx.ClearTag(ctx, tag, at)
		if err != nil {
			return err
		}
		if !move.Moved {
			continue // another dropped it at this moment
		}
		if err := record.Moved(ctx, tx, tag, move.Was, "", move.At); err != nil {
			return err
		}
	}
	return nil
}
