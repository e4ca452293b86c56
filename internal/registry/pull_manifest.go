// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/registry/upstream"
	"dossier.dev/dossier/internal/store"
)

// pullManifest serves a manifest of a mirror. What goes by its digest is right
// once it is kept; where a tag points is looked at again when it was not lately.
func (c *call) pullManifest(ctx context.Context) error {
	have, checkedAt, err := c.kept(ctx)
	found := err == nil
	if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
		return err
	}
	fresh := c.Tag == "" || c.mirror.Offline() || c.now().Sub(checkedAt) < c.mirror.Fresh()
	switch {
	case found && fresh:
		c.served(nil, fromKept)
		return c.sendManifest(have)
	case c.mirror.Offline():
		return c.offline(CodeManifestUnknown)
	case !found:
		m, err := c.fetchManifest(ctx)
		if c.served(err, fromFetched); err != nil {
			return c.upstreamFault(err, CodeManifestUnknown)
		}
		return c.sendManifest(m)
	}
	why := c.mirror.Resting()
	if why == nil {
		var m store.Manifest
		patient, cancel := context.WithTimeoutCause(ctx, upstream.Patience, errImpatient)
		m, why = c.fetchManifest(patient)
		cancel()
		if why == nil {
			c.served(nil, fromFetched)
			return c.sendManifest(m)
		}
		if ctx.Err() == nil && errors.Is(context.Cause(patient), errImpatient) {
			why = errImpatient
			c.mirror.Note(ctx, why)
		}
	}
	if !mayBeStale(why) {
		c.served(why, nil)
		return c.upstreamFault(why, CodeManifestUnknown)
	}
	c.served(nil, fromStale)
	age := max(0, c.now().Sub(checkedAt))
	c.config.Logger.InfoContext(ctx, "what is kept is served although it may have changed",
		"repository", c.mirror.name, "tag", c.Tag, "digest", have.Digest, "age", age, "error", why)
	c.w.Header().Set("Age", strconv.FormatInt(int64(age/time.Second), 10))
	c.stale(checkedAt)
	return c.sendManifest(have)
}

var errImpatient error = dossier.Errorf(dossier.KindUnavailable, "asking an upstream", "", fmt.Sprintf("no answer within %v", upstream.Patience))

// mayBeStale reports whether an upstream failed in a way in which what is kept is
// better than nothing: it could not be asked, or we are too busy to.
func mayBeStale(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code == CodeTooManyRequests
	}
	return dossier.KindOf(err) == dossier.KindUnavailable
}

// kept returns what is kept of the manifest that is asked for, and when a tag
// was seen to point at it. KindNotFound.
func (c *call) kept(ctx context.Context) (m store.Manifest, checkedAt time.Time, err error) {
	err = c.config.Store.View(ctx, func(r store.Reader) (err error) {
		if c.Tag == "" {
			m, err = r.Manifest(ctx, c.Repository, c.Digest)
		} else {
			m, checkedAt, err = c.mirror.tagged(ctx, r, c.Tag)
		}
		return err
	})
	if err == nil {
		err = c.renew(ctx, store.Tx.LeaseManifest, m.Digest, m.KeptUntil)
	}
	return m, checkedAt, err
}

// tagged returns what is kept of the manifest that a tag points at, and when it was seen to.
// KindNotFound.
func (m *mirror) tagged(ctx context.Context, r store.Reader, tag string) (store.Manifest, time.Time, error) {
	open, err := r.TagsAt(ctx, []store.NameTag{{Name: m.name, Tag: tag}}, time.Time{})
	if err != nil {
		return store.Manifest{}, time.Time{}, err
	}
	if len(open) == 0 {
		return store.Manifest{}, time.Time{}, errNotKept
	}
	kept, err := r.Manifest(ctx, m.path, open[0].Digest)
	return kept, open[0].CheckedAt, err
}

func (c *call) sendManifest(m store.Manifest) error {
	c.serve(bytes.NewReader(m.Body), m.Digest, m.MediaType)
	return nil
}

// fetchManifest gets a manifest from its upstream and keeps it.
func (c *call) fetchManifest(ctx context.Context) (store.Manifest, error) {
	f := fetch{Handler: c.Handler, mirror: c.mirror, digest: c.Digest, tag: c.Tag, key: c.Repository + "@" + string(c.Digest)}
	if c.Tag != "" {
		f.key = c.Repository + ":" + c.Tag
	}
	if c.pulls.missing.has(f.key) {
		return store.Manifest{}, dossier.Errorf(dossier.KindNotFound, "pulling", f.key, "a moment ago "+c.mirror.Name()+" did not have it")
	}
	done, err := c.pulls.wait()
	if err != nil {
		return store.Manifest{}, err
	}
	defer done()
	return c.pulls.manifests.Do(ctx, f.key, f.run)
}

// fetch is a manifest on its way from upstream.
type fetch struct {
	*Handler
	*mirror
	digest dossier.Digest
	tag    string // instead of a digest
	key    string
}

// run asks what a tag names by HEAD, and for the manifest only when it is not
// kept.
func (f fetch) run(ctx context.Context) (store.Manifest, error) {
	at := f.Handler.now()
	remote, err := f.Repository(f.remote)
	if err != nil {
		return store.Manifest{}, err
	}
	if m, err := f.lately(ctx, at); dossier.KindOf(err) != dossier.KindNotFound {
		return m, err
	}
	d := f.digest
	if f.tag != "" {
		root, err := remote.Head(ctx, f.tag)
		if f.Note(ctx, err); err != nil {
			return store.Manifest{}, f.failed(ctx, err, at)
		}
		d = root.Digest
	}
	var have store.Manifest
	err = f.config.Store.View(ctx, func(r store.Reader) (err error) {
		have, err = r.Manifest(ctx, f.path, d)
		return err
	})
	if err == nil {
		return have, f.config.Store.Update(ctx, func(tx store.Tx) error { return f.point(ctx, tx, d, at) })
	}
	if dossier.KindOf(err) != dossier.KindNotFound {
		return store.Manifest{}, err
	}
	node, err := remote.Manifest(ctx, d)
	if f.Note(ctx, err); err != nil {
		return store.Manifest{}, f.failed(ctx, err, at)
	}
	return f.keep(ctx, node, at)
}

// lately returns what the tag names when another fetch has just asked, which ended after
// this one's client had looked. KindNotFound.
func (f fetch) lately(ctx context.Context, at time.Time) (m store.Manifest, err error) {
	if f.tag == "" {
		return m, errNotKept
	}
	err = f.config.Store.View(ctx, func(r store.Reader) error {
		var checkedAt time.Time
		var err error
		m, checkedAt, err = f.tagged(ctx, r, f.tag)
		if err == nil && at.Sub(checkedAt) >= f.Fresh() {
			err = errNotKept
		}
		return err
	})
	return m, err
}

// failed remembers what an upstream does not have. A tag that is gone there is
// gone here.
func (f fetch) failed(ctx context.Context, err error, at time.Time) error {
	if dossier.KindOf(err) != dossier.KindNotFound {
		return err
	}
	f.pulls.missing.add(f.key)
	if f.tag == "" {
		return err
	}
	tag := store.NameTag{Name: f.name, Tag: f.tag}
	return errors.Join(err, f.config.Store.Update(ctx, func(tx store.Tx) error {
		was, dropped, err := tx.DropTag(ctx, tag.Name, tag.Tag, at)
		if err != nil || !dropped {
			return err
		}
		return record.Moved(ctx, tx, tag, was, "", at)
	}))
}

// point keeps where a tag was seen to point. Only a change is a fact.
func (f fetch) point(ctx context.Context, tx store.Tx, d dossier.Digest, at time.Time) error {
	if f.tag == "" {
		return nil
	}
	was, moved, err := tx.PointTag(ctx, f.name, f.tag, d, at)
	if err != nil || !moved {
		return err
	}
	if was != "" {
		f.config.Logger.InfoContext(ctx, "a tag moved upstream", "repository", f.name, "tag", f.tag, "was", was, "digest", d)
	}
	return record.Moved(ctx, tx, store.NameTag{Name: f.name, Tag: f.tag}, was, d, at)
}

// errMeanwhile is why keeping is tried again: something came that changes it.
var errMeanwhile = errors.New("what it needs came at the same time")

// keep keeps a manifest with whatever of its children is there. It, where its
// tag points, and its facts are one transaction.
func (f fetch) keep(ctx context.Context, node image.Node, at time.Time) (store.Manifest, error) {
	const attempts = 5 // of which the second one succeeds
	p := &push{node: node}
	p.describe(true)
	for i := range p.children {
		p.children[i].Optional = true
	}
	p.manifest.Repository, p.manifest.PushedAt, p.manifest.KeptUntil = f.path, at, at.Add(f.config.Lease)
	for range attempts {
		missing, err := f.readConfig(ctx, p)
		if err == nil {
			err = f.config.Store.Update(ctx, func(tx store.Tx) error { return f.write(ctx, tx, p, missing) })
		}
		if !errors.Is(err, errMeanwhile) {
			return p.manifest, err
		}
	}
	return store.Manifest{}, errMeanwhile
}

// write writes a manifest, whose configuration was missing or not.
func (f fetch) write(ctx context.Context, tx store.Tx, p *push, missing dossier.Digest) error {
	at := p.manifest.PushedAt
	if err := tx.PutMirror(ctx, f.repository(at)); err != nil {
		return err
	}
	if missing != "" {
		if _, err := tx.LinkedBlob(ctx, f.path, missing); dossier.KindOf(err) != dossier.KindNotFound {
			return errors.Join(errMeanwhile, err)
		}
	}
	if _, err := tx.PutManifest(ctx, p.manifest, p.children); err != nil {
		return err
	}
	if _, err := p.learn(ctx, tx, f.name); err != nil {
		return err
	}
	if _, err := tx.Attach(ctx, f.path, store.Child{Digest: p.node.Digest}); err != nil {
		return err
	}
	if edge, ok := p.configEdge(); ok && missing == "" {
		complete, err := tx.Attach(ctx, f.path, store.Child{Digest: edge.Child, Blob: true})
		if err == nil {
			err = f.askForContents(ctx, tx, f.mirror, complete)
		}
		if err != nil {
			return err
		}
	}
	return f.point(ctx, tx, p.node.Digest, at)
}

// askForContents has what images hold read, once all of their layers are there:
// nothing is downloaded for that.
func (h *Handler) askForContents(ctx context.Context, tx store.Tx, m *mirror, manifests []dossier.Digest) error {
	if !h.config.Contents {
		return nil
	}
	for _, d := range manifests {
		if err := record.ReadContents(ctx, tx, d, m.name); err != nil {
			return err
		}
	}
	return nil
}
