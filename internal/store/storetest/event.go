// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func eventCases() []testCase {
	return []testCase{
		{"found by every key", eventsByKey},
		{"in the order of time, page by page", eventPages},
		{"indexed once", eventOnce},
		{"of no fact", eventOfNoFact},
	}
}

// event records and indexes one.
func event(t testing.TB, s store.Store, name string, at time.Time, keys ...int64) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		f, _, err := tx.Record(t.Context(), dossier.Statement{Subject: digest("subject"), Kind: "event", Source: name, ValidAt: at})
		if err != nil {
			return err
		}
		return tx.IndexEvent(t.Context(), f.ID, at, keys)
	})
}

// events returns what a search finds: the sources of the facts.
func events(t testing.TB, s store.Store, q store.AuditSearch) []string {
	t.Helper()
	list := read(t, s, func(r store.Reader) ([]store.Event, error) { return r.Events(t.Context(), q) })
	names := []string{}
	for _, e := range list {
		if !e.At.Equal(e.ValidAt) || e.Position == 0 || e.ID != e.Statement.ID() {
			t.Errorf("event %+v is not whole", e)
		}
		names = append(names, e.Source)
	}
	return names
}

func eventsByKey(t *testing.T, s store.Store) {
	const a, b, big, small = 1, -2, math.MaxInt64, math.MinInt64
	event(t, s, "a", minute(1), a)
	event(t, s, "ab", minute(2), a, b)
	event(t, s, "b big", minute(3), b, big)
	event(t, s, "all", minute(4), a, b, big, small)
	for _, tt := range []struct {
		keys []int64
		want []string
	}{
		{[]int64{a}, []string{"all", "ab", "a"}},
		{[]int64{b}, []string{"all", "b big", "ab"}},
		{[]int64{big}, []string{"all", "b big"}},
		{[]int64{small}, []string{"all"}},
		{[]int64{b, a}, []string{"all", "ab"}},
		{[]int64{b, big, a, small}, []string{"all"}},
		{[]int64{a, 7}, []string{}},
		{[]int64{7}, []string{}},
	} {
		got := events(t, s, store.AuditSearch{Keys: tt.keys, Limit: 10})
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.keys, diff)
		}
	}
	err := s.View(t.Context(), func(r store.Reader) error {
		_, err := r.Events(t.Context(), store.AuditSearch{Limit: 1})
		return err
	})
	wantKind(t, err, dossier.KindInvalid)
}

func eventPages(t *testing.T, s store.Store) {
	// Several at one time, and one that was recorded late.
	for i, at := range []int{5, 1, 3, 3, 3, 2, 4} {
		event(t, s, fmt.Sprint(i), minute(at), 1)
	}
	want := []string{"0", "6", "4", "3", "2", "5", "1"}
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []string
		q := store.AuditSearch{Keys: []int64{1}, Limit: limit}
		for {
			page := read(t, s, func(r store.Reader) ([]store.Event, error) { return r.Events(t.Context(), q) })
			for _, e := range page {
				got = append(got, e.Source)
				q.Before = store.AuditPlace{At: e.At, ID: e.Position}
			}
			if len(page) < limit {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
		}
	}
	got := events(t, s, store.AuditSearch{Keys: []int64{1}, Since: minute(3), Before: store.AuditPlace{At: minute(5)}, Limit: 10})
	if want := []string{"6", "4", "3", "2"}; !slices.Equal(got, want) {
		t.Errorf("since and before: %v, want %v", got, want)
	}
}

func eventOnce(t *testing.T, s store.Store) {
	for range 2 {
		event(t, s, "a", minute(1), 1, 2)
	}
	if got := events(t, s, store.AuditSearch{Keys: []int64{2}, Limit: 10}); len(got) != 1 {
		t.Errorf("found %v, want one", got)
	}
}

func eventOfNoFact(t *testing.T, s store.Store) {
	err := s.Update(t.Context(), func(tx store.Tx) error { return tx.IndexEvent(t.Context(), digest("none"), minute(0), []int64{1}) })
	wantKind(t, err, dossier.KindNotFound)
}
