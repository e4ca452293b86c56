// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// RunAudit runs the suite of audit logs. place returns a new, empty place, and
// open a log there, which it closes when the test ends; several may be open at
// one place at a time.
func RunAudit[P any](t *testing.T, place func(t testing.TB) P, open func(t testing.TB, place P) store.AuditLog) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, open func() store.AuditLog)
	}{
		{"nothing yet", auditNothing},
		{"found by every key", auditByKey},
		{"in the order of their ends, page by page", auditPages},
		{"appended once", auditOnce},
		{"a day is dropped", auditDrop},
		{"several writers", auditWriters},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := place(t)
			c.run(t, func() store.AuditLog { return open(t, p) })
		})
	}
}

// block returns a block that ends at a time.
func block(id int64, to time.Time, keys ...int64) store.AuditBlock {
	return store.AuditBlock{ID: id, From: to.Add(-time.Second), To: to, Keys: keys, Body: fmt.Append([]byte{0, 0xff}, "block ", id)}
}

func appendBlocks(t testing.TB, l store.AuditLog, blocks ...store.AuditBlock) {
	t.Helper()
	if err := l.Append(t.Context(), blocks); err != nil {
		t.Fatalf("Append: %v", err)
	}
}

// blocks returns the IDs of what a search finds.
func blocks(t testing.TB, l store.AuditLog, q store.AuditSearch) []int64 {
	t.Helper()
	list, err := l.Blocks(t.Context(), q)
	if err != nil {
		t.Fatalf("Blocks: %v", err)
	}
	ids := []int64{}
	for _, b := range list {
		if diff := cmp.Diff(block(b.ID, b.To), b); diff != "" {
			t.Errorf("block %d (-want +got):\n%s", b.ID, diff)
		}
		ids = append(ids, b.ID)
	}
	return ids
}

func days(t testing.TB, l store.AuditLog) []time.Time {
	t.Helper()
	list, err := l.Days(t.Context())
	if err != nil {
		t.Fatalf("Days: %v", err)
	}
	return list
}

// midnight returns the beginning of the day n days after that of minute(0).
func midnight(n int) time.Time {
	return minute(0).Truncate(24 * time.Hour).Add(time.Duration(n) * 24 * time.Hour)
}

func auditNothing(t *testing.T, open func() store.AuditLog) {
	l := open()
	if got := days(t, l); len(got) > 0 {
		t.Errorf("days are %v, want none", got)
	}
	if got := blocks(t, l, store.AuditSearch{Keys: []int64{1}, Limit: 1}); len(got) > 0 {
		t.Errorf("found %v, want nothing", got)
	}
	if err := l.Drop(t.Context(), midnight(0)); err != nil {
		t.Errorf("Drop: %v", err)
	}
	appendBlocks(t, l)
	_, err := l.Blocks(t.Context(), store.AuditSearch{Limit: 1})
	wantKind(t, err, dossier.KindInvalid)
}

func auditByKey(t *testing.T, open func() store.AuditLog) {
	l := open()
	appendBlocks(t, l, block(11, minute(1), 1), block(5, minute(2), 1, -2))
	appendBlocks(t, l, block(12, minute(3), -2, 1<<62), block(0, minute(3), 1, -2, 1<<62))
	for _, tt := range []struct {
		keys []int64
		want []int64
	}{
		{[]int64{1}, []int64{0, 5, 11}},
		{[]int64{-2}, []int64{12, 0, 5}},
		{[]int64{-2, 1}, []int64{0, 5}},
		{[]int64{1 << 62, -2, 1}, []int64{0}},
		{[]int64{1, 7}, []int64{}},
		{[]int64{7}, []int64{}},
	} {
		if got := blocks(t, l, store.AuditSearch{Keys: tt.keys, Limit: 10}); !slices.Equal(got, tt.want) {
			t.Errorf("%v: found %v, want %v", tt.keys, got, tt.want)
		}
	}
}

func auditPages(t *testing.T, open func() store.AuditLog) {
	l := open()
	end := midnight(1)
	list := []store.AuditBlock{
		block(4, end.Add(-time.Microsecond), 1), block(9, end, 1), block(2, end, 1), block(7, end.Add(time.Hour), 1),
		block(1, end.Add(50*time.Hour), 1), block(8, minute(0), 1),
	}
	appendBlocks(t, l, list...)
	want := []int64{1, 7, 9, 2, 4, 8}
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []int64
		q := store.AuditSearch{Keys: []int64{1}, Limit: limit}
		for {
			page, err := l.Blocks(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range page {
				got = append(got, b.ID)
				q.Before = store.AuditPlace{At: b.To, ID: b.ID}
			}
			if len(page) < limit {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %v, want %v", limit, got, want)
		}
	}
	for _, tt := range []struct {
		q    store.AuditSearch
		want []int64
	}{
		{store.AuditSearch{Since: end}, []int64{1, 7, 9, 2}},
		{store.AuditSearch{Since: end.Add(time.Microsecond)}, []int64{1, 7}},
		{store.AuditSearch{Before: store.AuditPlace{At: end}}, []int64{4, 8}},
		{store.AuditSearch{Before: store.AuditPlace{At: end, ID: 9}}, []int64{2, 4, 8}},
		{store.AuditSearch{Since: end, Before: store.AuditPlace{At: end.Add(time.Hour)}}, []int64{9, 2}},
	} {
		tt.q.Keys, tt.q.Limit = []int64{1}, 10
		if got := blocks(t, l, tt.q); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.q, got, tt.want)
		}
	}
	if got, want := days(t, l), []time.Time{midnight(0), midnight(1), midnight(3)}; !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("days are %v, want %v", got, want)
	}
}

func auditOnce(t *testing.T, open func() store.AuditLog) {
	l := open()
	b := block(1, minute(1), 1)
	appendBlocks(t, l, b)
	appendBlocks(t, l, b, block(2, minute(2), 1))
	if got, want := blocks(t, l, store.AuditSearch{Keys: []int64{1}, Limit: 10}), []int64{2, 1}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func auditDrop(t *testing.T, open func() store.AuditLog) {
	l := open()
	for i := range 3 {
		appendBlocks(t, l, block(int64(i), midnight(i).Add(time.Hour), 1))
	}
	if err := l.Drop(t.Context(), midnight(1)); err != nil {
		t.Fatalf("Drop: %v", err)
	}
	search := store.AuditSearch{Keys: []int64{1}, Limit: 10}
	if got, want := blocks(t, l, search), []int64{2, 0}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	if got, want := days(t, l), []time.Time{midnight(0), midnight(2)}; !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("days are %v, want %v", got, want)
	}
	// A day that another drops while this one writes it.
	if err := open().Drop(t.Context(), midnight(2)); err != nil {
		t.Fatalf("Drop: %v", err)
	}
	appendBlocks(t, l, block(3, midnight(2).Add(time.Hour), 1))
	appendBlocks(t, l, block(1, midnight(1).Add(time.Hour), 1))
	if got, want := blocks(t, open(), search), []int64{3, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

// auditWriters lets several logs append at one place, from several goroutines each.
func auditWriters(t *testing.T, open func() store.AuditLog) {
	const writers, each = 6, 10
	logs := []store.AuditLog{open(), open()}
	together(t, writers, func(w int) error {
		for i := range each {
			b := block(int64(w*each+i), midnight(i%2).Add(time.Duration(i)*time.Minute), 1)
			if err := logs[w%len(logs)].Append(t.Context(), []store.AuditBlock{b}); err != nil {
				return err
			}
		}
		return nil
	})
	if got := blocks(t, open(), store.AuditSearch{Keys: []int64{1}, Limit: 1000}); len(got) != writers*each {
		t.Errorf("%d blocks are there, want %d", len(got), writers*each)
	}
}
