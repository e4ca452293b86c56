// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"cmp"
	"context"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/audit"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
)

// MaxItems is how many things a Collection lists.
const MaxItems = 10_000

// Plan says what Collect would take away at this moment. It changes nothing.
func (c *Collector) Plan(ctx context.Context) (dossier.Collection, error) {
	p := c.newPass()
	p.DryRun = true
	p.take = func(_ context.Context, page []taking) ([]taking, error) { return page, nil }
	return p.run(ctx)
}

// Collect looks at everything once and takes away what nothing needs. It deletes
// bytes that were condemned long enough ago, when it has a blob store.
func (c *Collector) Collect(ctx context.Context) (dossier.Collection, error) {
	return c.newPass().run(ctx)
}

// pass is one look at everything, or at some repositories.
type pass struct {
	*Collector
	dossier.Collection
	take  func(ctx context.Context, page []taking) ([]taking, error)
	guard *guard
	read  time.Time                   // when guard was
	freed map[dossier.Digest]int      // repositories that let go of a blob
	beat  func(context.Context) error // called from time to time; may be nil
}

func (c *Collector) newPass() *pass {
	p := &pass{Collector: c, freed: map[dossier.Digest]int{}}
	p.AsOf, p.Withheld, p.Items = c.now(), []string{}, []dossier.Collected{}
	p.take = c.takeAway
	return p
}

// run looks at everything.
func (p *pass) run(ctx context.Context) (dossier.Collection, error) {
	if err := p.everything(ctx); err != nil {
		return p.Collection, err
	}
	slices.SortStableFunc(p.Items, func(a, b dossier.Collected) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Digest, b.Digest))
	})
	return p.Collection, nil
}

func (p *pass) everything(ctx context.Context) error {
	err := p.repositories(ctx, func(r store.Repository) error { return p.repository(ctx, r) })
	if err != nil {
		return err
	}
	if err := p.mirrors(ctx); err != nil {
		return err
	}
	if err := p.watched(ctx); err != nil {
		return err
	}
	if err := p.unheld(ctx, p.guard, p.now(), p.page(ctx)); err != nil || p.DryRun {
		return err
	}
	freed, err := p.purge(ctx)
	p.Counts.Freed += freed
	return err
}

// repositories calls f for each repository.
func (c *Collector) repositories(ctx context.Context, f func(store.Repository) error) error {
	for after := ""; ; {
		var page []store.Repository
		err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
			page, err = r.Repositories(ctx, after, pageSize)
			return err
		})
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := f(r); err != nil {
				return err
			}
			after = r.Path
		}
		if len(page) < pageSize {
			return nil
		}
	}
}

// repository looks at one repository.
func (p *pass) repository(ctx context.Context, r store.Repository) error {
	if p.beat != nil {
		if err := p.beat(ctx); err != nil {
			return err
		}
	}
	if err := p.watched(ctx); err != nil {
		return err
	}
	return p.candidates(ctx, r, p.guard, p.now(), p.page(ctx))
}

// watched makes sure that what clusters need is known as of a moment ago.
func (p *pass) watched(ctx context.Context) error {
	if p.guard != nil && p.now().Sub(p.read) < guardAge {
		return nil
	}
	p.read = p.now()
	err := p.config.Store.View(ctx, func(r store.Reader) (err error) {
		p.guard, err = p.watch(ctx, r)
		return err
	})
	if err == nil {
		p.Withheld = append([]string{}, p.guard.unknown...)
	}
	return err
}

// page returns what is done with a page of things that go.
func (p *pass) page(ctx context.Context) func([]taking) error {
	return func(page []taking) error {
		taken, err := p.take(ctx, page)
		for _, t := range taken {
			p.count(t)
		}
		return err
	}
}

// count notes what was taken.
func (p *pass) count(t taking) {
	switch t.Kind {
	case dossier.HeldTag:
		p.Counts.Tags++
	case dossier.HeldManifest:
		p.Counts.Manifests++
	default:
		if t.Kind == dossier.HeldBlob {
			p.Counts.Blobs++
		}
		if p.freed[t.Digest]++; p.freed[t.Digest] == t.holders {
			p.Counts.Condemned += t.Size
		}
	}
	if len(p.Items) < MaxItems {
		p.Items = append(p.Items, t.Collected)
	} else {
		p.Truncated = true
	}
}

// takeAway takes a page of things away, each only if nothing has come to need it,
// and returns those that were.
func (c *Collector) takeAway(ctx context.Context, page []taking) ([]taking, error) {
	slices.SortStableFunc(page, func(a, b taking) int { return cmp.Compare(a.Digest, b.Digest) }) // in which all lock
	var taken []taking
	err := c.config.Store.Update(ctx, func(tx store.Tx) error {
		taken = taken[:0]
		now := c.now()
		for _, t := range page {
			did, err := c.takeOne(ctx, tx, t, now)
			if err != nil {
				return err
			}
			if did {
				taken = append(taken, t)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range taken {
		c.config.Logger.InfoContext(ctx, "collected", "kind", t.Kind, "repository", t.Repository, "tag", t.Tag, "digest", t.Digest, "rule", t.Rule)
	}
	return taken, nil
}

// takeOne takes one thing away, if nothing has come to need it.
func (c *Collector) takeOne(ctx context.Context, tx store.Tx, t taking, now time.Time) (bool, error) {
	del := store.Deletion{
		Repository: t.Repository, Digest: t.Digest, At: now, By: By, Reason: t.Rule, KeptUntil: now.Add(c.config.Policy.Lease),
	}
	var taken bool
	var err error
	object := dossier.ObjectBlob
	switch t.Kind {
	case dossier.HeldBlob:
		taken, err = tx.CollectBlob(ctx, del)
	case dossier.HeldManifest:
		object = dossier.ObjectManifest
		if runs, err := runsNow(ctx, tx, t.Digest); err != nil || runs {
			return false, err
		}
		if t.evicted {
			taken, err = c.takeEvicted(ctx, tx, t, del)
		} else {
			taken, err = tx.CollectManifest(ctx, del)
		}
	case dossier.HeldTag:
		object = dossier.ObjectTag
		var move store.TagMove
		if move, err = tx.CollectTag(ctx, t.tag, now); err == nil && move.Moved {
			taken, del.Digest = true, move.Was
			err = record.Moved(ctx, tx, store.NameTag{Name: t.tag.Name, Tag: t.tag.Tag}, move.Was, "", move.At)
		}
	default: // bytes, which are in no repository
		return tx.CondemnBlob(ctx, t.Digest, now.Add(-c.config.Policy.Lease), now, t.Rule)
	}
	if err != nil || !taken {
		return false, err
	}
	return true, witness(ctx, tx, t, del, object)
}

// witness puts on record that something was taken out of a repository, and why.
func witness(ctx context.Context, tx store.Tx, t taking, del store.Deletion, object dossier.AuditObject) error {
	host, err := tx.RegistryName(ctx)
	if err != nil {
		return err
	}
	body := dossier.EventBody{
		Name: host + "/" + t.Repository, Object: object, Reason: t.Rule, Caller: dossier.AuditCaller{Kind: "dossier", Name: By},
	}
	if object == dossier.ObjectTag {
		body.Tags = []dossier.EventTag{{Tag: t.tag.Tag}}
	}
	return audit.Record(ctx, tx, audit.Event{Kind: dossier.FactDelete, Digest: del.Digest, At: del.At, Body: body})
}

// runsNow reports whether a digest runs anywhere at this very moment.
func runsNow(ctx context.Context, r store.Reader, d dossier.Digest) (bool, error) {
	for _, err := range r.Places(ctx, store.PlaceQuery{Digests: []dossier.Digest{d}}) {
		return err == nil, err
	}
	return false, nil
}
