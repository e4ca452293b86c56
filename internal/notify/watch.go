// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// The topics of notices, and what their bodies list.
const (
	topicDigests  = "notify.digests"  // images that began or ceased to run, whose contents were read, or that VEX documents were attached to
	topicPackages = "notify.packages" // packages whose findings changed, by number
	topicAll      = "notify.all"      // nothing: everything is to be compared
)

// jobCompose is the job of who makes events of notices. Its lease sees to it that
// there is one.
const jobCompose = "notify.compose"

// Outbox writes down what changes, in the transaction that changes it, as long as
// somebody is told: whichever process of the database makes the change.
type Outbox struct {
	Gather time.Duration // for which changes are gathered
	Now    func() time.Time
}

// Watch returns a store whose transactions write down which images begin or
// cease to run and are read.
func (o Outbox) Watch(s store.Store) store.Store { return watched{s, o} }

// Findings writes down which packages have other findings. It is a
// finding.Keeper's Changed.
func (o Outbox) Findings(ctx context.Context, tx store.Tx, changes []store.FindingChange) error {
	ids := make([]int64, len(changes))
	for i, c := range changes {
		ids[i] = c.Package
	}
	slices.Sort(ids)
	return o.note(ctx, tx, topicPackages, slices.Compact(ids))
}

// All asks to compare everything with what was told.
func (o Outbox) All(ctx context.Context, tx store.Tx) error { return o.note(ctx, tx, topicAll, nil) }

func (o Outbox) note(ctx context.Context, tx store.Tx, topic string, what any) error {
	if on, err := tx.Telling(ctx); err != nil || !on {
		return err
	}
	b, err := json.Marshal(what)
	if err != nil {
		return err
	}
	if err := tx.Notify(ctx, topic, b); err != nil {
		return err
	}
	_, err = tx.Enqueue(ctx, store.Job{Kind: jobCompose, RunAt: o.Now().Add(cmp.Or(o.Gather, DefaultGather))})
	return err
}

func (o Outbox) digests(ctx context.Context, tx store.Tx, list ...dossier.Digest) error {
	slices.Sort(list)
	return o.note(ctx, tx, topicDigests, slices.Compact(list))
}

type watched struct {
	store.Store
	outbox Outbox
}

// Update implements store.Store.
func (s watched) Update(ctx context.Context, f func(store.Tx) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error { return f(watchedTx{tx, s.outbox}) })
}

// UpdateSoon implements store.Store.
func (s watched) UpdateSoon(ctx context.Context, f func(store.Tx) error) error {
	return s.Store.UpdateSoon(ctx, func(tx store.Tx) error { return f(watchedTx{tx, s.outbox}) })
}

type watchedTx struct {
	store.Tx
	outbox Outbox
}

// SyncRuns implements store.PlaceWriter.
func (t watchedTx) SyncRuns(ctx context.Context, runs []dossier.Run, at time.Time) ([]store.RunChange, error) {
	changes, err := t.Tx.SyncRuns(ctx, runs, at)
	if err != nil || len(changes) == 0 {
		return changes, err
	}
	list := make([]dossier.Digest, len(changes))
	for i, c := range changes {
		list[i] = c.Digest
	}
	return changes, t.outbox.digests(ctx, t.Tx, list...)
}

// PutImageContents implements store.ContentsWriter.
func (t watchedTx) PutImageContents(ctx context.Context, c store.ImageContents) error {
	if err := t.Tx.PutImageContents(ctx, c); err != nil {
		return err
	}
	return t.outbox.digests(ctx, t.Tx, c.Manifest)
}

// Record implements store.FactWriter.
func (t watchedTx) Record(ctx context.Context, s dossier.Statement) (dossier.Fact, bool, error) {
	f, recorded, err := t.Tx.Record(ctx, s)
	if err == nil && recorded && s.Kind == dossier.FactAttachedVEX {
		err = t.outbox.digests(ctx, t.Tx, s.Subject)
	}
	return f, recorded, err
}
