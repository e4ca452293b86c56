// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/store"
)

// pullTags lists the tags of a mirror as its upstream has them; when that cannot
// be asked, those that were ever seen and are not known to be gone.
func (c *call) pullTags(ctx context.Context) error {
	why := c.mirror.Resting()
	if c.mirror.Offline() {
		return c.listTags(ctx)
	}
	if why == nil {
		var tags []string
		n := c.pageLength(MaxPage)
		if tags, why = c.fetchTags(ctx, n); why == nil {
			c.sendTags(tags, n)
			return nil
		}
	}
	if mayBeStale(why) {
		c.stale(time.Time{})
		if err := c.listTags(ctx); dossier.KindOf(err) != dossier.KindNotFound {
			return err
		}
		c.w.Header().Del("Warning")
	}
	return c.upstreamFault(why, CodeNameUnknown)
}

// fetchTags returns up to n tags, and one more when there are more.
func (c *call) fetchTags(ctx context.Context, n int) ([]string, error) {
	done, err := c.pulls.wait()
	if err != nil {
		return nil, err
	}
	defer done()
	remote, err := c.mirror.Repository(c.mirror.remote)
	if err != nil {
		return nil, err
	}
	tags, more, err := remote.Tags(ctx, c.Last, max(1, n))
	c.mirror.Note(ctx, err)
	switch {
	case err != nil:
		return nil, err
	case len(tags) > n: // it knows no pages
		slices.Sort(tags)
		tags = slices.DeleteFunc(tags, func(tag string) bool { return tag <= c.Last })
	case more:
		tags = append(tags, "")
	}
	return tags, nil
}

// stale says that what is sent may have changed since it was seen.
func (c *call) stale(seen time.Time) {
	text := c.mirror.Name() + " cannot be asked"
	if !seen.IsZero() {
		text += "; seen " + seen.Format(time.RFC3339)
	}
	c.w.Header().Set("Warning", fmt.Sprintf("111 - %q", text))
}

// pullReferrers lists what refers to a manifest, as the upstream of a mirror has
// it ("Listing Referrers"). The list is kept.
func (c *call) pullReferrers(ctx context.Context) error {
	kept, seen, err := c.keptReferrers(ctx)
	found := err == nil
	if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
		return err
	}
	switch {
	case found && (c.mirror.Offline() || c.now().Sub(seen) < c.mirror.Fresh()):
		c.pageOfReferrers(kept)
		return nil
	case c.mirror.Offline():
		return c.listReferrers(ctx) // those that were pulled
	}
	why := c.mirror.Resting()
	if why == nil || !found {
		var list []image.Referrer
		if list, why = c.fetchReferrers(ctx); why == nil {
			c.pageOfReferrers(list)
			return nil
		}
	}
	if !found || !mayBeStale(why) {
		return c.upstreamFault(why, CodeManifestUnknown)
	}
	c.stale(seen)
	c.pageOfReferrers(kept)
	return nil
}

// keptReferrers returns the list that is kept, and when it was seen. KindNotFound.
func (c *call) keptReferrers(ctx context.Context) ([]image.Referrer, time.Time, error) {
	var l store.ReferrerList
	err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
		l, err = r.ReferrerList(ctx, c.Repository, c.Digest)
		return err
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	var list []image.Referrer
	if err := json.Unmarshal(l.Body, &list); err != nil {
		return nil, time.Time{}, &dossier.Error{Kind: dossier.KindInternal, Op: "reading list of referrers", Subject: string(c.Digest), Err: err}
	}
	return list, l.CheckedAt, nil
}

// fetchReferrers gets the list from upstream, and keeps it when there is
// anything in it, or the manifest is kept: nobody can fill the database with questions.
func (c *call) fetchReferrers(ctx context.Context) ([]image.Referrer, error) {
	done, err := c.pulls.wait()
	if err != nil {
		return nil, err
	}
	defer done()
	m, subject := c.mirror, c.Digest
	return c.pulls.lists.Do(ctx, m.path+"@"+string(subject), func(ctx context.Context) ([]image.Referrer, error) {
		at := c.now()
		remote, err := m.Repository(m.remote)
		if err != nil {
			return nil, err
		}
		list, err := remote.Referrers(ctx, subject)
		if m.Note(ctx, err); err != nil {
			return nil, err
		}
		slices.SortFunc(list, func(a, b image.Referrer) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
		list = slices.CompactFunc(list, func(a, b image.Referrer) bool { return a.Digest == b.Digest })
		body, err := json.Marshal(list)
		if err != nil {
			return nil, &dossier.Error{Kind: dossier.KindInternal, Op: "keeping list of referrers", Subject: string(subject), Err: err}
		}
		return list, c.config.Store.Update(ctx, func(tx store.Tx) error {
			if _, err := tx.Manifest(ctx, m.path, subject); dossier.KindOf(err) == dossier.KindNotFound && len(list) == 0 {
				return nil
			} else if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
				return err
			}
			if err := tx.PutMirror(ctx, m.repository(at)); err != nil {
				return err
			}
			return tx.PutReferrerList(ctx, store.ReferrerList{Repository: m.path, Subject: subject, Body: body, CheckedAt: at})
		})
	})
}

// pageOfReferrers sends a page of a list, which is in the order of digests.
func (c *call) pageOfReferrers(all []image.Referrer) {
	n, size, more := c.pageLength(maxReferrers), 0, false
	list := []descriptor{}
	for _, r := range all {
		if string(r.Digest) <= c.Last || c.ArtifactType != "" && r.ArtifactType != c.ArtifactType || n == 0 {
			continue
		}
		d := descriptor{MediaType: r.MediaType, Digest: r.Digest, Size: r.Size, ArtifactType: r.ArtifactType}
		if len(r.Annotations) > 0 {
			d.Annotations, _ = json.Marshal(r.Annotations) // strings: cannot fail
		}
		if more = len(list) == n || len(list) > 0 && size+len(d.Annotations) > maxReferrersBytes; more {
			break
		}
		list = append(list, d)
		size += len(d.Annotations)
	}
	c.sendReferrers(list, more, n)
}
