// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"context"
	"fmt"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Limits of one look.
const (
	pageSize = 200       // things that one transaction looks at, or takes away
	maxTags  = 1_000_000 // of one repository
	// guardAge is how long what clusters need is taken for what they need now: a
	// collection that takes longer looks again.
	guardAge = 30 * time.Second
)

// taking is one thing that a plan takes away.
type taking struct {
	dossier.Collected
	tag     dossier.TagInterval // of a tag: as it was seen
	holders int                 // of a blob: repositories that hold it
	evicted bool                // of a manifest in a mirror: tags do not keep it
}

// candidates yields, page by page, what goes from a repository at a moment, in the
// order in which it is taken: what goes never makes anything else go at once, for
// what it frees is leased. So the order does not change what goes.
func (c *Collector) candidates(ctx context.Context, repo store.Repository, g *guard, now time.Time, take func([]taking) error) error {
	if r := c.rules.forManifests(repo.Path); r != nil {
		if err := c.manifests(ctx, repo, r, g, now, take); err != nil {
			return err
		}
	}
	// The tags of a mirror are what was seen elsewhere.
	if l := c.rules.forTags(repo.Path); len(l) > 0 && repo.Upstream == "" {
		page, err := c.tags(ctx, repo, l, g, now)
		if err != nil {
			return err
		}
		for len(page) > 0 {
			n := min(pageSize, len(page))
			if err := take(page[:n]); err != nil {
				return err
			}
			page = page[n:]
		}
	}
	return c.blobs(ctx, repo, g, now, take)
}

// manifests takes manifests that no tag and no index keeps.
func (c *Collector) manifests(ctx context.Context, repo store.Repository, r *rule, g *guard, now time.Time, take func([]taking) error) error {
	for after := dossier.Digest(""); ; {
		var page []store.UntaggedManifest
		err := c.config.Store.View(ctx, func(reader store.Reader) (err error) {
			page, err = reader.UntaggedManifests(ctx, repo.Path, after, now, pageSize)
			return err
		})
		if err != nil {
			return err
		}
		var goes []taking
		for _, m := range page {
			after = m.Digest
			if v := judgeManifest(manifest{UntaggedManifest: m}, r, g, now); len(v.reasons) == 0 {
				goes = append(goes, taking{Collected: dossier.Collected{
					Kind: dossier.HeldManifest, Repository: repo.Path, Digest: m.Digest, Size: m.Size, Rule: v.rule,
				}})
			}
		}
		if err := takeSome(goes, take); err != nil || len(page) < pageSize {
			return err
		}
	}
}

func takeSome(goes []taking, take func([]taking) error) error {
	if len(goes) == 0 {
		return nil
	}
	return take(goes)
}

// tags returns the tags that go.
func (c *Collector) tags(ctx context.Context, repo store.Repository, l rules, g *guard, now time.Time) ([]taking, error) {
	states, err := c.tagStates(ctx, repo, l)
	if err != nil {
		return nil, err
	}
	verdicts := judgeTags(states, l, g, now)
	var goes []taking
	for _, t := range states {
		if v, ok := verdicts[t.Tag]; ok && len(v.reasons) == 0 {
			goes = append(goes, taking{tag: t.TagInterval, Collected: dossier.Collected{
				Kind: dossier.HeldTag, Repository: repo.Path, Tag: t.Tag, Digest: t.Digest, Rule: v.rule,
			}})
		}
	}
	return goes, nil
}

// tagStates reads all tags of a repository, and what rules ask of them.
func (c *Collector) tagStates(ctx context.Context, repo store.Repository, l rules) ([]tagState, error) {
	var states []tagState
	err := c.config.Store.View(ctx, func(r store.Reader) error {
		states = nil
		for after := ""; ; {
			names, err := r.OpenTags(ctx, repo.Name, after, pageSize)
			if err != nil {
				return err
			}
			keys := make([]store.NameTag, len(names))
			for i, name := range names {
				keys[i], after = store.NameTag{Name: repo.Name, Tag: name}, name
			}
			open, err := r.TagsAt(ctx, keys, time.Time{})
			if err != nil {
				return err
			}
			for _, i := range open {
				state := tagState{TagInterval: i}
				if subject, ok := subjectOfTag(i.Tag); ok {
					_, err := r.Manifest(ctx, repo.Path, subject)
					if state.subjectThere = err == nil; err != nil && dossier.KindOf(err) != dossier.KindNotFound {
						return err
					}
				}
				states = append(states, state)
			}
			if len(states) > maxTags {
				return dossier.Errorf(dossier.KindLimit, "looking at tags", repo.Path, fmt.Sprintf("it has more than %d", maxTags))
			}
			if len(names) < pageSize {
				return nil
			}
		}
	})
	if err != nil || c.config.Pulled == nil {
		return states, err
	}
	for i, s := range states {
		if r := l.forTag(s.Tag); r != nil && r.tags.KeepPulled > 0 {
			states[i].pulledAt, states[i].pulledKnown, err = c.config.Pulled(ctx, repo.Path, s.Digest)
			if err != nil {
				return nil, err
			}
		}
	}
	return states, nil
}

// blobs takes blobs that no manifest needs.
func (c *Collector) blobs(ctx context.Context, repo store.Repository, g *guard, now time.Time, take func([]taking) error) error {
	for after := dossier.Digest(""); ; {
		var page []store.LooseBlob
		var parts map[dossier.Digest]bool
		err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
			if page, err = r.LooseBlobs(ctx, repo.Path, after, now, pageSize); err != nil {
				return err
			}
			ds := make([]dossier.Digest, len(page))
			for i, b := range page {
				ds[i] = b.Digest
			}
			parts, err = partsOfImages(ctx, r, g, ds)
			return err
		})
		if err != nil {
			return err
		}
		var goes []taking
		for _, b := range page {
			after = b.Digest
			if v := judgeBlob(b.Digest, store.Holding{}, parts[b.Digest], g, now); len(v.reasons) == 0 {
				goes = append(goes, taking{holders: b.Holders, Collected: dossier.Collected{
					Kind: dossier.HeldBlob, Repository: repo.Path, Digest: b.Digest, Size: b.Size, Rule: v.rule,
				}})
			}
		}
		if err := takeSome(goes, take); err != nil || len(page) < pageSize {
			return err
		}
	}
}

// partsOfImages returns which blobs are known to be parts of images. It asks only
// when that matters: when not all is known of what clusters need.
func partsOfImages(ctx context.Context, r store.Reader, g *guard, ds []dossier.Digest) (map[dossier.Digest]bool, error) {
	if len(g.unknown) == 0 {
		return nil, nil
	}
	parts := map[dossier.Digest]bool{}
	edges, err := r.Parents(ctx, ds, dossier.RoleConfig, dossier.RoleLayer, dossier.RolePlatform)
	for _, e := range edges {
		parts[e.Child] = true
	}
	return parts, err
}

// unheldRule is by what the bytes of blobs go.
const unheldRule = "no repository holds it"

// unheld takes blobs that no repository holds.
func (c *Collector) unheld(ctx context.Context, g *guard, now time.Time, take func([]taking) error) error {
	for after := dossier.Digest(""); ; {
		var page []store.Blob
		var parts map[dossier.Digest]bool
		err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
			if page, err = r.UnheldBlobs(ctx, after, now.Add(-c.config.Policy.Lease), pageSize); err != nil {
				return err
			}
			ds := make([]dossier.Digest, len(page))
			for i, b := range page {
				ds[i] = b.Digest
			}
			parts, err = partsOfImages(ctx, r, g, ds)
			return err
		})
		if err != nil {
			return err
		}
		var goes []taking
		for _, b := range page {
			after = b.Digest
			if v := judgeBlob(b.Digest, store.Holding{}, parts[b.Digest], g, now); len(v.reasons) == 0 {
				goes = append(goes, taking{holders: 1, Collected: dossier.Collected{
					Kind: dossier.HeldBytes, Digest: b.Digest, Size: b.Size, Rule: unheldRule,
				}})
			}
		}
		if err := takeSome(goes, take); err != nil || len(page) < pageSize {
			return err
		}
	}
}
