// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// maxDeleted is how many deletions of a digest Why tells of.
const maxDeleted = 100

// Why says why a digest is kept, or when and why it goes, in each repository that
// holds it, or in one when a path is given; and what was deleted of it.
// KindNotFound: nothing was ever kept of it.
func (c *Collector) Why(ctx context.Context, path string, d dossier.Digest) (dossier.Keeping, error) {
	now := c.now()
	var k dossier.Keeping
	err := c.config.Store.View(ctx, func(r store.Reader) error {
		k = dossier.Keeping{Digest: d, AsOf: now, Repositories: []dossier.KeptIn{}, Deleted: []dossier.Deleted{}}
		g, err := c.watch(ctx, r)
		if err != nil {
			return err
		}
		held, err := r.Holdings(ctx, d)
		if err != nil {
			return err
		}
		for _, h := range held {
			if path != "" && h.Repository.Path != path {
				continue
			}
			in, err := c.whyIn(ctx, r, g, d, h, now)
			if err != nil {
				return err
			}
			k.Repositories = append(k.Repositories, in)
		}
		if k.Bytes, err = c.bytesOf(ctx, r, d); err != nil {
			return err
		}
		dead, err := r.Tombstones(ctx, d, maxDeleted)
		for _, t := range dead {
			if path == "" || t.Repository == path {
				k.Deleted = append(k.Deleted, deleted(t))
			}
		}
		return err
	})
	if err == nil && len(k.Repositories) == 0 && len(k.Deleted) == 0 && k.Bytes == nil {
		err = &dossier.Error{Kind: dossier.KindNotFound, Op: "asking why the registry keeps", Subject: string(d),
			Err: errNeverKept, Hint: "give a digest of a manifest or a blob of this registry"}
	}
	return k, err
}

// whyIn explains what one repository holds.
func (c *Collector) whyIn(ctx context.Context, r store.Reader, g *guard, d dossier.Digest, h store.Holding, now time.Time) (dossier.KeptIn, error) {
	in := dossier.KeptIn{Repository: h.Repository.Path, Kind: dossier.HeldBlob, Size: h.Size, Since: h.Since}
	var v verdict
	if h.Manifest {
		in.Kind = dossier.HeldManifest
		m, err := manifestState(ctx, r, d, h)
		if err != nil {
			return in, err
		}
		v = judgeManifest(m, c.rules.forManifests(h.Repository.Path), g, now)
	} else {
		parts, err := partsOfImages(ctx, r, g, []dossier.Digest{d})
		if err != nil {
			return in, err
		}
		v = judgeBlob(d, h, parts[d], g, now)
	}
	in.Reasons, in.Goes = slices.Clone(v.reasons), v.going(now)
	if in.Reasons == nil {
		in.Reasons = []dossier.KeepReason{}
	}
	return in, nil
}

// manifestState reads what is to be known of a manifest.
func manifestState(ctx context.Context, r store.Reader, d dossier.Digest, h store.Holding) (manifest, error) {
	m := manifest{parents: h.Parents, UntaggedManifest: store.UntaggedManifest{
		Digest: d, Size: h.Size, PushedAt: h.Since, KeptUntil: h.KeptUntil, UntaggedAt: h.UntaggedAt,
		Subject: h.Subject, SubjectThere: h.SubjectThere,
	}}
	open, err := r.TagsOf(ctx, []dossier.Digest{d}, time.Time{})
	for _, i := range open {
		if i.Name == h.Repository.Name {
			m.tags = append(m.tags, i.Tag)
		}
	}
	return m, err
}

// bytesOf returns how the bytes of a digest are; nil: there are none.
func (c *Collector) bytesOf(ctx context.Context, r store.Reader, d dossier.Digest) (*dossier.Bytes, error) {
	b, err := r.BlobState(ctx, d)
	if err == nil {
		return &dossier.Bytes{Size: b.Size, StoredAt: b.StoredAt, CheckedAt: b.CheckedAt, Damage: b.Damage, DamagedAt: b.DamagedAt}, nil
	}
	if dossier.KindOf(err) != dossier.KindNotFound {
		return nil, err
	}
	list, err := r.Condemned(ctx, d)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	last := list[len(list)-1]
	return &dossier.Bytes{Size: last.Size, CondemnedAt: last.CondemnedAt, Reason: last.Reason}, nil
}

// deleted is a tombstone in the words of an answer.
func deleted(t store.Tombstone) dossier.Deleted {
	kind := dossier.HeldBlob
	if t.Manifest {
		kind = dossier.HeldManifest
	}
	return dossier.Deleted{Repository: t.Repository, Kind: kind, At: t.At, By: t.By, Reason: cmp.Or(t.Reason, "it was asked for")}
}

var errNeverKept = errors.New("nothing was ever kept of it")
