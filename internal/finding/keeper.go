// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package finding keeps what advisories say of packages true, as either change.
//
// A package that is new is compared once with all advisories under its keys; an
// advisory that is new, changed or gone is followed to the packages under its keys
// and to no other. Both are independent of how many images have a package, and
// read nothing but the database. What there is to do follows from what is stored:
// from packages that were not compared, and from how far changes of advisories
// were followed. So a process may die at any point, and nothing is lost; and what
// is done twice changes nothing.
//
// The package promises that findings are those that match.Match finds for each
// package among all advisories that are known, whatever the order in which either
// became known, once Step says that nothing is left to do. It does not say what
// they mean for an image: that is answered by package answer.
package finding

import (
	"context"
	"math"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

// Sizes of a step. They bound transactions, and what is in memory.
const (
	packagesAtOnce = 256
	changesAtOnce  = 2000
)

// Keeper keeps findings. Store and Advisories may be one.
type Keeper struct {
	Store      store.Store // of packages and findings
	Advisories store.Store
	// Changed, if not nil, is called with what changed, in the transaction that
	// changes it.
	Changed func(ctx context.Context, tx store.Tx, changes []store.FindingChange) error
}

// Step does a part of what there is to do, and reports whether it did something:
// then there may be more. KindConflict: another process did in between; try again.
func (k *Keeper) Step(ctx context.Context) (bool, error) {
	var state store.MatchState
	var feeds []store.Feed
	var ecosystems map[string][]string
	if err := k.Store.View(ctx, func(r store.Reader) (err error) {
		state, err = r.MatchState(ctx, time.Time{})
		return err
	}); err != nil {
		return false, err
	}
	if err := k.Advisories.View(ctx, func(r store.Reader) (err error) {
		if feeds, err = r.Feeds(ctx); err == nil {
			ecosystems, err = r.FeedEcosystems(ctx)
		}
		return err
	}); err != nil {
		return false, err
	}
	next := store.MatchState{Position: state.Position, Covers: map[string][]string{}}
	for _, f := range feeds {
		f.State = nil
		next.Feeds = append(next.Feeds, f)
	}
	for _, f := range feeds { // by name, so that the lists are in order
		for _, e := range ecosystems[f.Ecosystem] {
			next.Covers[e] = append(next.Covers[e], f.Ecosystem)
		}
	}
	switch {
	case isOther(state, feeds):
		return true, k.begin(ctx, state, next)
	case len(state.Feeds) == 0 && len(feeds) == 0 && state.Position == (store.AdvisoryPosition{}):
		// Nothing is known: packages are looked at, so that this can be said of them.
	default:
		if done, err := k.follow(ctx, state, next); done || err != nil {
			return done, err
		}
	}
	return k.compareNew(ctx, state)
}

// Drain does all that there is to do, calling report, if not nil, after each step.
func (k *Keeper) Drain(ctx context.Context, report func()) error {
	for {
		more, err := k.Step(ctx)
		switch {
		case dossier.KindOf(err) == dossier.KindConflict:
		case err != nil:
			return err
		case !more:
			return nil
		}
		if report != nil {
			report()
		}
	}
}

// isOther reports whether the advisories are not those that were followed so far:
// the first ones, or those of another database.
func isOther(state store.MatchState, feeds []store.Feed) bool {
	if state.Position == (store.AdvisoryPosition{}) {
		return len(feeds) > 0
	}
	was := map[string]store.Feed{}
	newest := int64(0)
	for _, f := range state.Feeds {
		was[f.Ecosystem] = f
	}
	for _, f := range feeds {
		w, ok := was[f.Ecosystem]
		if ok && (f.Serial < w.Serial || f.Serial == w.Serial && !f.ChangedAt.Equal(w.ChangedAt)) {
			return true
		}
		newest = max(newest, f.Serial)
	}
	return len(feeds) > 0 && len(state.Feeds) > 0 && newest < state.Position.Serial && slices.ContainsFunc(state.Feeds, func(f store.Feed) bool {
		return !slices.ContainsFunc(feeds, func(now store.Feed) bool { return now.Ecosystem == f.Ecosystem })
	})
}

// begin lets all packages be compared anew, with what is known now. That costs
// less than to follow each change since the world began.
func (k *Keeper) begin(ctx context.Context, state, next store.MatchState) error {
	for _, f := range next.Feeds {
		next.Position.Serial = max(next.Position.Serial, f.Serial)
	}
	next.Position.Version = math.MaxInt64
	return k.put(ctx, store.Matched{Generation: state.Generation, State: &next, Restart: true})
}

// follow follows changes of advisories to the packages that they are about. It
// reports false when there are none.
func (k *Keeper) follow(ctx context.Context, state, next store.MatchState) (bool, error) {
	var changes []store.AdvisoryChange
	err := k.Advisories.View(ctx, func(r store.Reader) (err error) {
		changes, err = r.AdvisoryChanges(ctx, state.Position, changesAtOnce)
		return err
	})
	if err != nil {
		return false, err
	}
	if len(changes) == 0 {
		if sameFeeds(state, next) {
			return false, nil
		}
		return true, k.put(ctx, store.Matched{Generation: state.Generation, State: &next})
	}
	names := map[match.Key][]string{}
	for _, c := range changes {
		for _, key := range c.Keys {
			names[key] = append(names[key], c.Names...)
		}
	}
	found, err := k.rematch(ctx, names)
	if err != nil {
		return false, err
	}
	generation := state.Generation
	for len(found) > packagesAtOnce {
		if err := k.put(ctx, store.Matched{Generation: generation, Packages: found[:packagesAtOnce]}); err != nil {
			return false, err
		}
		generation++
		found = found[packagesAtOnce:]
	}
	next.Position = changes[len(changes)-1].AdvisoryPosition
	if len(changes) == changesAtOnce {
		// What the feeds are now is true at the end of what changed only.
		next.Feeds, next.Covers = state.Feeds, state.Covers
	}
	return true, k.put(ctx, store.Matched{Generation: generation, Packages: found, State: &next})
}

// sameFeeds reports whether nothing about feeds is new.
func sameFeeds(a, b store.MatchState) bool {
	same := slices.EqualFunc(a.Feeds, b.Feeds, func(a, b store.Feed) bool {
		return a.Ecosystem == b.Ecosystem && a.Source == b.Source && a.Serial == b.Serial && a.AsOf.Equal(b.AsOf)
	})
	for e, feeds := range b.Covers {
		same = same && slices.Equal(feeds, a.Covers[e])
	}
	return same && len(a.Covers) == len(b.Covers)
}

// put takes a step in a transaction.
func (k *Keeper) put(ctx context.Context, m store.Matched) error {
	return k.Store.Update(ctx, func(tx store.Tx) error {
		changes, err := tx.PutMatched(ctx, m)
		if err != nil || k.Changed == nil || len(changes) == 0 {
			return err
		}
		return k.Changed(ctx, tx, changes)
	})
}
