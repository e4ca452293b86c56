// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package feed keeps advisories up to date: it fetches feeds, or imports them
// from files, and keeps them in the store.
//
// Update brings one feed up to date, Import whatever lies in a file or directory,
// Status says how old each feed is. The package promises that an update is kept
// as a whole or not at all; that an advisory which cannot be read is named, and
// the one that was kept before stays; and that a feed which shrinks by more than
// MaxShrink is refused unless that is allowed.
//
// It does not decide when: whoever runs it does. It matches nothing.
package feed

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/advisory"
	"dossier.dev/dossier/internal/store"
)

// MaxShrink is by how much of its advisories a feed may shrink at once.
const MaxShrink = 0.2

// maxRefused is how many refused advisories a Report names.
const maxRefused = 100

// Keeper keeps feeds.
type Keeper struct {
	Store   store.Store
	Fetcher advisory.Fetcher // of Update
	Limits  advisory.Limits  // of Import
	Now     func() time.Time
	// AllowShrink accepts feeds that shrink by however much.
	AllowShrink bool
}

// Report is what came of an update.
type Report struct {
	Feed    dossier.Feed `json:"feed"`
	Kind    string       `json:"kind,omitempty"` // of what was imported
	Source  string       `json:"source"`
	Added   int          `json:"added"`
	Changed int          `json:"changed"`
	Removed int          `json:"removed"`
	Refused []Refusal    `json:"refused,omitempty"` // the first of those that could not be read
	More    int          `json:"more,omitempty"`    // how many more there are
}

// Refusal is an advisory that could not be read.
type Refusal struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Update brings the feed of an ecosystem up to date. Its errors are those of
// advisory.Fetcher and the store; KindConflict: it would shrink too much.
func (k *Keeper) Update(ctx context.Context, ecosystem string) (Report, error) {
	have, err := k.have(ctx, ecosystem)
	if err != nil {
		return Report{}, err
	}
	u, err := k.Fetcher.Fetch(ctx, ecosystem, have)
	if err != nil {
		return Report{}, err
	}
	report, err := k.keep(ctx, ecosystem, u)
	return report, errors.Join(err, u.Close())
}

// have says what is kept of a feed.
func (k *Keeper) have(ctx context.Context, ecosystem string) (advisory.Have, error) {
	f, _, err := k.feed(ctx, ecosystem)
	if err != nil {
		return advisory.Have{}, err
	}
	have := advisory.Have{Records: f.Records, Known: func(ctx context.Context, ids []string) (n int, err error) {
		err = k.Store.View(ctx, func(r store.Reader) error {
			n, err = r.CountAdvisories(ctx, ecosystem, ids)
			return err
		})
		return n, err
	}}
	if f.Source != k.Fetcher.Base || json.Unmarshal(f.State, &have.State) != nil {
		have.State = advisory.State{} // of another base, or of another program: nothing to continue from
	}
	return have, nil
}

// feed returns a feed that is kept, if it is.
func (k *Keeper) feed(ctx context.Context, name string) (f store.Feed, ok bool, err error) {
	err = k.Store.View(ctx, func(r store.Reader) error {
		all, err := r.Feeds(ctx)
		for _, one := range all {
			if one.Ecosystem == name {
				f, ok = one, true
			}
		}
		return err
	})
	return f, ok, err
}

// keep writes an update.
func (k *Keeper) keep(ctx context.Context, ecosystem string, u *advisory.Update) (Report, error) {
	now := dossier.Instant(k.Now())
	if u.Unchanged {
		state, err := json.Marshal(u.State)
		if err != nil {
			return Report{}, &dossier.Error{Kind: dossier.KindInternal, Op: "keeping feed", Subject: ecosystem, Err: err}
		}
		if err := k.Store.Update(ctx, func(tx store.Tx) error { return tx.TouchFeed(ctx, ecosystem, now, state) }); err != nil {
			return Report{}, err
		}
		f, _, err := k.feed(ctx, ecosystem)
		return Report{Feed: f.Feed, Source: f.Source}, err
	}
	records := u.Records
	if !u.Full { // few: read them before the transaction begins, not in it
		var err error
		if records, err = ahead(records); err != nil {
			return Report{}, err
		}
	}
	return k.put(ctx, store.FeedUpdate{
		Feed: ecosystem, Source: k.Fetcher.Base, AsOf: now, Whole: u.Full,
		State: func() ([]byte, error) { return json.Marshal(u.State) },
	}, records)
}

// ahead reads records into memory.
func ahead(records iter.Seq2[advisory.Record, error]) (iter.Seq2[advisory.Record, error], error) {
	type read struct {
		record advisory.Record
		err    error
	}
	var list []read
	for r, err := range records {
		if _, refused := errors.AsType[*advisory.Refused](err); err != nil && !refused {
			return nil, err
		}
		list = append(list, read{r, err})
	}
	return func(yield func(advisory.Record, error) bool) {
		for _, r := range list {
			if !yield(r.record, r.err) {
				return
			}
		}
	}, nil
}

// put applies an update in one transaction.
func (k *Keeper) put(ctx context.Context, u store.FeedUpdate, records iter.Seq2[advisory.Record, error]) (Report, error) {
	u.MayShrink = MaxShrink
	if k.AllowShrink {
		u.MayShrink = 1
	}
	var report Report
	err := k.Store.Update(ctx, func(tx store.Tx) error {
		report = Report{}
		u.Records = report.sift(ctx, records)
		c, err := tx.PutAdvisories(ctx, u)
		report.Feed, report.Source = c.Feed.Feed, c.Source
		report.Added, report.Changed, report.Removed = c.Added, c.Changed, c.Removed
		return err
	})
	if err != nil {
		return Report{}, err
	}
	return report, nil
}

// sift passes records on as the store takes them, and notes those that were
// refused. What is kept under their names stays.
func (r *Report) sift(ctx context.Context, records iter.Seq2[advisory.Record, error]) iter.Seq2[store.Advisory, error] {
	return func(yield func(store.Advisory, error) bool) {
		for record, err := range records {
			if ctx.Err() != nil {
				yield(store.Advisory{}, ctx.Err())
				return
			}
			out := store.Advisory{Advisory: record.Advisory, Bytes: record.Bytes}
			if refused, ok := errors.AsType[*advisory.Refused](err); ok {
				r.refuse(refused)
				out, err = store.Advisory{Advisory: dossier.Advisory{ID: idOf(refused.Name)}}, nil
			}
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

func (r *Report) refuse(e *advisory.Refused) {
	if len(r.Refused) >= maxRefused {
		r.More++
		return
	}
	r.Refused = append(r.Refused, Refusal{Name: e.Name, Why: e.Err.Error()})
}

// idOf returns the ID for which a file is named.
func idOf(name string) string {
	return strings.TrimSuffix(filepath.Base(filepath.ToSlash(name)), ".json")
}

// Import keeps what lies in a file or a directory. Each feed in it is kept by
// itself, and replaces what was kept of it. report is called after each; what was
// reported stays when a later one fails.
func (k *Keeper) Import(ctx context.Context, path string, report func(Report) error) error {
	found, err := advisory.Find(path, k.Limits)
	if err != nil {
		return err
	}
	for _, f := range found {
		r, err := k.importOne(ctx, f)
		if err == nil {
			r.Kind, r.Source = string(f.Kind), path
			err = report(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) importOne(ctx context.Context, f advisory.Found) (Report, error) {
	now := dossier.Instant(k.Now())
	switch f.Kind {
	case advisory.KindKEV:
		b, err := advisory.ReadDocument(f.Paths[0], k.Limits)
		if err != nil {
			return Report{}, err
		}
		since, err := advisory.ReadKEV(b, k.Limits)
		if err != nil {
			return Report{}, err
		}
		err = k.Store.Update(ctx, func(tx store.Tx) error { return tx.PutExploited(ctx, since) })
		return Report{Feed: dossier.Feed{Ecosystem: f.Feed, AsOf: now, Records: len(since)}, Added: len(since)}, err
	case advisory.KindEPSS:
		file, err := os.Open(f.Paths[0])
		if err != nil {
			return Report{}, &dossier.Error{Kind: dossier.KindStorage, Op: "importing", Subject: f.Paths[0], Err: err}
		}
		defer file.Close()
		list, err := advisory.ReadEPSS(file, k.Limits)
		if err != nil {
			return Report{}, err
		}
		err = k.Store.Update(ctx, func(tx store.Tx) error { return tx.PutLikelihoods(ctx, list) })
		return Report{Feed: dossier.Feed{Ecosystem: f.Feed, AsOf: now, Records: len(list)}, Added: len(list)}, err
	}
	return k.put(ctx, store.FeedUpdate{Feed: f.Feed, Source: f.Paths[0], AsOf: now, Whole: true}, f.Records(k.Limits))
}
