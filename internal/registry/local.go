// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
)

// Local changes repositories for somebody who works in this process instead of
// sending requests: who can read and write the database and the blobs needs no
// leave. All else is as for requests: what is taken is checked, nothing is
// acknowledged before it is durable, and fixed tags stay.
type Local struct {
	h      *Handler
	who    Caller
	client string
}

// Local returns a Local. client is what the program calls itself.
func (h *Handler) Local(who Caller, client string) Local { return Local{h, who, client} }

// Name returns what the registry is called in references.
func (l Local) Name() string { return l.h.config.Name }

// Store returns the database of the registry.
func (l Local) Store() store.Store { return l.h.config.Store }

// call returns a call about a repository, which must be the registry's own.
func (l Local) call(ctx context.Context, path string, d dossier.Digest) (*call, error) {
	const op = "writing repository"
	if err := CheckRepository(path); err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: path, Err: err}
	}
	err := l.h.config.Store.View(ctx, func(r store.Reader) error {
		repo, err := r.Repository(ctx, path)
		if err == nil && repo.Upstream != "" {
			err = dossier.Errorf(dossier.KindInvalid, op, path, "it is a mirror of "+repo.Name+", and nothing is pushed to it")
		}
		return err
	})
	if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
		return nil, err
	}
	r := &http.Request{Header: http.Header{"User-Agent": {l.client}}}
	return &call{Handler: l.h, Request: Request{Repository: path, Digest: d}, who: l.who, r: r}, nil
}

// Needs returns what the registry wants to hold before it takes a manifest.
func (l Local) Needs(n image.Node) []Need { return Needs(n, l.h.config.Sparse) }

// Blob opens a blob of a repository. KindNotFound: the repository does not hold it.
func (l Local) Blob(ctx context.Context, path string, d dossier.Digest) (io.ReadCloser, error) {
	return l.h.Blob(ctx, path, d)
}

// HasBlob reports whether a repository holds a blob. One whose bytes are here, but
// not in this repository, is put into it.
func (l Local) HasBlob(ctx context.Context, path string, d dossier.Digest) (bool, error) {
	c, err := l.call(ctx, path, d)
	if err != nil {
		return false, err
	}
	err = l.h.config.Store.View(ctx, func(r store.Reader) error {
		_, err := r.LinkedBlob(ctx, path, d)
		return err
	})
	if dossier.KindOf(err) != dossier.KindNotFound {
		return err == nil, err
	}
	c.Mount = d
	return c.mount(ctx)
}

// PutBlob takes a blob. KindCorrupt: the bytes have another digest. An error of
// from is in the chain of the one returned.
func (l Local) PutBlob(ctx context.Context, path string, d dossier.Digest, from io.Reader) error {
	c, err := l.call(ctx, path, d)
	if err != nil {
		return err
	}
	w := &writing{Handler: l.h, upload: store.Upload{Repository: path, Algorithm: d.Algorithm()}}
	if err := w.open(ctx, c); err != nil {
		return err
	}
	n, err := w.add(ctx, io.LimitReader(from, l.h.config.MaxBlob+1), -1)
	if err == nil && n > l.h.config.MaxBlob {
		err = &dossier.Error{Kind: dossier.KindLimit, Op: "taking blob", Subject: string(d), Err: errBlobTooLarge}
	}
	if err != nil {
		return errors.Join(err, w.drop(ctx))
	}
	return corrupt(d, w.finish(ctx, c))
}

// corrupt gives an error about a digest its kind.
func corrupt(d dossier.Digest, err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Code == CodeDigestInvalid {
		return &dossier.Error{Kind: dossier.KindCorrupt, Op: "checking", Subject: string(d), Err: e.Err}
	}
	return err
}

// HasManifest reports whether a repository holds a manifest, with all that it
// needs.
func (l Local) HasManifest(ctx context.Context, path string, d dossier.Digest) (bool, error) {
	err := l.h.config.Store.View(ctx, func(r store.Reader) error {
		_, err := r.Manifest(ctx, path, d)
		return err
	})
	if dossier.KindOf(err) == dossier.KindNotFound {
		return false, nil
	}
	return err == nil, err
}

// PutManifest takes a manifest, which was pushed at a time, and what follows from
// it. Its media type may be empty when it says it itself. KindCorrupt: it is no
// manifest, or has another digest. KindNotFound: the repository lacks something
// that it needs.
func (l Local) PutManifest(ctx context.Context, path string, m image.Descriptor, b []byte, at time.Time) error {
	c, err := l.call(ctx, path, m.Digest)
	if err != nil {
		return err
	}
	if len(b) > MaxManifest {
		return &dossier.Error{Kind: dossier.KindLimit, Op: "taking manifest", Subject: string(m.Digest), Err: errManifestTooLarge}
	}
	if !m.Digest.Matches(b) {
		return corrupt(m.Digest, wrongDigest(m.Digest, dossier.FromBytes(b)))
	}
	p, err := c.newPush(ctx, b, m.Digest, m.MediaType, at)
	if err == nil {
		err = c.config.Store.Update(ctx, func(tx store.Tx) error { return c.keep(ctx, tx, p) })
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Code == CodeManifestBlobUnknown {
		return &dossier.Error{Kind: dossier.KindNotFound, Op: "taking manifest", Subject: string(m.Digest), Err: e.Err}
	}
	return err
}

// TagPoint says that a tag pointed at a digest from a time on.
type TagPoint struct {
	Digest dossier.Digest
	From   time.Time
}

// Adopt records where a tag pointed elsewhere, as far as the manifests are here.
// What is on record of it stays: what is older than that changes nothing. It
// reports whether it recorded anything. A fixed tag that points elsewhere here is a
// KindConflict, with a *store.TagHeld.
func (l Local) Adopt(ctx context.Context, path, tag string, points []TagPoint) (bool, error) {
	c, err := l.call(ctx, path, "")
	if err == nil {
		err = checkTag(tag)
	}
	if err != nil {
		return false, &dossier.Error{Kind: dossier.KindInvalid, Op: "adopting tag", Subject: path + ":" + tag, Err: err}
	}
	points = slices.SortedStableFunc(slices.Values(points), func(a, b TagPoint) int { return a.From.Compare(b.From) })
	if done, err := c.pointsThere(ctx, tag, points); err != nil || done {
		return false, err
	}
	changed := false
	err = c.config.Store.Update(ctx, func(tx store.Tx) error {
		changed = false
		repo, err := tx.Repository(ctx, path)
		if err != nil {
			return err
		}
		name := store.NameTag{Name: repo.Name, Tag: tag}
		known, err := tx.TagHistory(ctx, name.Name, name.Tag, 1)
		if err != nil {
			return err
		}
		// What moved elsewhere, moved; from when the tag is here, our rules hold.
		fixed := len(known) > 0 && c.config.Fixed != nil && c.config.Fixed(path, tag)
		for _, p := range points {
			moved, err := c.adopt(ctx, tx, name, p, fixed)
			if err != nil {
				return err
			}
			changed = changed || moved
		}
		return nil
	})
	return changed, err
}

// pointsThere reports whether a tag points at the last of the points already, as
// it does when they were adopted before: then nothing is written.
func (c *call) pointsThere(ctx context.Context, tag string, points []TagPoint) (bool, error) {
	there := len(points) == 0
	err := c.config.Store.View(ctx, func(r store.Reader) error {
		repo, err := r.Repository(ctx, c.Repository)
		if err != nil || there {
			return err
		}
		open, err := r.TagsAt(ctx, []store.NameTag{{Name: repo.Name, Tag: tag}}, time.Time{})
		there = len(open) == 1 && open[0].Digest == points[len(points)-1].Digest
		return err
	})
	return there, err
}

// adopt records one point of a tag.
func (c *call) adopt(ctx context.Context, tx store.Tx, tag store.NameTag, p TagPoint, fixed bool) (bool, error) {
	err := tx.LeaseManifest(ctx, c.Repository, p.Digest, c.now().Add(c.config.Lease))
	if dossier.KindOf(err) == dossier.KindNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	move, err := tx.AdoptTag(ctx, tag, p.Digest, p.From, fixed)
	if err != nil || !move.Moved {
		return false, err
	}
	if err := record.Moved(ctx, tx, tag, move.Was, p.Digest, move.At); err != nil {
		return false, err
	}
	return true, c.event(ctx, tx, dossier.FactRetag, p.Digest, c.now(), dossier.EventBody{
		Object: dossier.ObjectTag, Tags: []dossier.EventTag{{Tag: tag.Tag, Was: move.Was, Moved: true}},
	})
}

// Restore points a tag at what it pointed at at a time, and returns what changed;
// its Change is empty when the tag pointed there already. KindNotFound: it pointed
// at nothing then, or the manifest is gone. A fixed tag that points elsewhere is a
// KindConflict, with a *store.TagHeld.
func (l Local) Restore(ctx context.Context, path, tag string, at time.Time) (dossier.TagChange, error) {
	const op = "restoring tag"
	c, err := l.call(ctx, path, "")
	if err != nil {
		return dossier.TagChange{}, err
	}
	var change dossier.TagChange
	err = c.config.Store.Update(ctx, func(tx store.Tx) error {
		repo, err := tx.Repository(ctx, path)
		if err != nil {
			return err
		}
		name := store.NameTag{Name: repo.Name, Tag: tag}
		then, err := tx.TagsAt(ctx, []store.NameTag{name}, at)
		if err != nil {
			return err
		}
		if len(then) == 0 {
			return dossier.Errorf(dossier.KindNotFound, op, name.Name+":"+tag, "it pointed at nothing then")
		}
		d, now := then[0].Digest, c.now()
		err = tx.LeaseManifest(ctx, path, d, now.Add(c.config.Lease))
		if dossier.KindOf(err) == dossier.KindNotFound {
			return gone(ctx, tx, op, path, name, d)
		}
		if err != nil {
			return err
		}
		fixed := c.config.Fixed != nil && c.config.Fixed(path, tag)
		move, err := tx.SetTag(ctx, name, d, now, fixed)
		if err != nil {
			return err
		}
		change = dossier.TagChange{Tag: tag, Was: move.Was, Now: d, At: move.At}
		if !move.Moved {
			change.Was = d
			return nil
		}
		change.Change = dossier.TagMoved
		if move.Was == "" {
			change.Change = dossier.TagAdded
		}
		if err := record.Moved(ctx, tx, name, move.Was, d, move.At); err != nil {
			return err
		}
		return c.event(ctx, tx, dossier.FactRetag, d, now, dossier.EventBody{
			Object: dossier.ObjectTag, Tags: []dossier.EventTag{{Tag: tag, Was: move.Was, Moved: true}},
		})
	})
	return change, err
}

// gone says that a manifest is no longer in a repository, and who took it away.
func gone(ctx context.Context, r store.Reader, op, path string, tag store.NameTag, d dossier.Digest) error {
	e := &dossier.Error{Kind: dossier.KindNotFound, Op: op, Subject: tag.Name + ":" + tag.Tag,
		Hint: "Push that image again, under this tag.", Err: fmt.Errorf("it pointed at %s, which is no longer in the repository", d)}
	stones, err := r.Tombstones(ctx, d, 100)
	if err != nil {
		return err
	}
	for _, s := range stones {
		if s.Repository == path && s.Manifest {
			by := s.By
			if s.Reason != "" {
				by += " (" + s.Reason + ")"
			}
			e.Err = fmt.Errorf("it pointed at %s, which %s deleted at %s", d, by, s.At.Format(time.RFC3339))
			break
		}
	}
	return e
}
