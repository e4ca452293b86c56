// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// tagPagesAndChanges moves tags about at random and compares what TagPage,
// TagsAt and TagChanges say of any time with what the whole history says.
func tagPagesAndChanges(t *testing.T, s store.Store) {
	rng := rand.New(rand.NewPCG(1, 2))
	names := []string{"example.com/a", "example.com/b"}
	const steps = 120
	var tags []store.NameTag
	for _, name := range names {
		for _, tag := range []string{"1", "1.0", "B", "a", "latest"} {
			tags = append(tags, store.NameTag{Name: name, Tag: tag})
		}
	}
	update(t, s, func(tx store.Tx) error {
		for at := range steps {
			tag := tags[rng.IntN(len(tags))]
			var err error
			if rng.IntN(4) == 0 {
				_, _, err = tx.DropTag(t.Context(), tag.Name, tag.Tag, minute(at))
			} else {
				_, _, err = tx.PointTag(t.Context(), tag.Name, tag.Tag, digest(fmt.Sprint(rng.IntN(3))), minute(at))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	var all []dossier.TagInterval
	for _, name := range names {
		all = append(all, read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) {
			return r.TagHistory(t.Context(), name, "", 10*steps)
		})...)
	}
	slices.SortFunc(all, func(a, b dossier.TagInterval) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Tag, b.Tag), a.From.Compare(b.From))
	})
	for range 60 {
		from, to := minute(rng.IntN(steps+10)-5), minute(rng.IntN(steps+10)-5)
		if from.After(to) {
			from, to = to, from
		}
		if rng.IntN(4) == 0 {
			to = time.Time{}
		}
		limit := 1 + rng.IntN(4)
		view(t, s, func(r store.Reader) error {
			checkTagsAt(t, r, all, tags, to, limit)
			for _, name := range names {
				checkTagChanges(t, r, all, name, from, to, limit)
			}
			return nil
		})
	}
}

// openAt returns the intervals that cover a time.
func openAt(all []dossier.TagInterval, at time.Time) []dossier.TagInterval {
	var open []dossier.TagInterval
	for _, i := range all {
		if at.IsZero() && i.To.IsZero() || !at.IsZero() && !i.From.After(at) && (i.To.IsZero() || i.To.After(at)) {
			open = append(open, i)
		}
	}
	return open
}

// checkTagsAt compares the tags of a time, page by page.
func checkTagsAt(t *testing.T, r store.Reader, all []dossier.TagInterval, tags []store.NameTag, at time.Time, limit int) {
	t.Helper()
	open := openAt(all, at)
	got, err := r.TagsAt(t.Context(), tags, at)
	if diff := gocmp.Diff(open, got); diff != "" || err != nil {
		t.Errorf("TagsAt %v: %v (-want +got):\n%s", at, err, diff)
	}
	check := func(q store.TagQuery, mine func(dossier.TagInterval) bool) {
		t.Helper()
		var want, got []dossier.TagInterval
		for _, i := range open {
			if mine(i) {
				want = append(want, i)
			}
		}
		for q.At, q.Limit = at, limit; ; {
			page, err := r.TagPage(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page...)
			if len(page) < limit {
				break
			}
			q.After = store.NameTag{Name: page[limit-1].Name, Tag: page[limit-1].Tag}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("TagPage %+v (-want +got):\n%s", q, diff)
		}
	}
	for i := range 3 {
		d := digest(fmt.Sprint(i))
		check(store.TagQuery{Digest: d}, func(i dossier.TagInterval) bool { return i.Digest == d })
	}
	for _, name := range []string{"example.com/a", "example.com/b"} {
		check(store.TagQuery{Name: name}, func(i dossier.TagInterval) bool { return i.Name == name })
	}
}

// checkTagChanges compares two times of a repository, page by page.
func checkTagChanges(t *testing.T, r store.Reader, all []dossier.TagInterval, name string, from, to time.Time, limit int) {
	t.Helper()
	was, now := map[string]dossier.TagInterval{}, map[string]dossier.TagInterval{}
	for at, into := range map[time.Time]map[string]dossier.TagInterval{from: was, to: now} {
		for _, i := range openAt(all, at) {
			if i.Name == name {
				into[i.Tag] = i
			}
		}
	}
	if from.Equal(to) {
		was = now
	}
	var want []dossier.TagChange
	for _, tag := range []string{"1", "1.0", "B", "a", "latest"} {
		before, isBefore := was[tag]
		after, isAfter := now[tag]
		switch {
		case isBefore && isAfter && before.Digest != after.Digest:
			want = append(want, dossier.TagChange{Tag: tag, Change: dossier.TagMoved, Was: before.Digest, Now: after.Digest, At: after.From})
		case isAfter && !isBefore:
			want = append(want, dossier.TagChange{Tag: tag, Change: dossier.TagAdded, Now: after.Digest, At: after.From})
		case isBefore && !isAfter:
			want = append(want, dossier.TagChange{Tag: tag, Change: dossier.TagRemoved, Was: before.Digest, At: goneBy(all, name, tag, to)})
		}
	}
	var got []dossier.TagChange
	for q := (store.TagChangesQuery{Name: name, From: from, To: to, Limit: limit}); ; {
		page, next, err := r.TagChanges(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
		if q.After = next; next == "" {
			break
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("TagChanges of %s from %v to %v (-want +got):\n%s", name, from, to, diff)
	}
}

// goneBy returns when a tag that is gone at a time was dropped.
func goneBy(all []dossier.TagInterval, name, tag string, at time.Time) time.Time {
	var gone time.Time
	for _, i := range all {
		if i.Name == name && i.Tag == tag && (at.IsZero() || !i.From.After(at)) && i.To.After(gone) {
			gone = i.To
		}
	}
	return gone
}
