// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/storetest"
)

// memory is an audit log in memory, which can be told to fail and to wait.
type memory struct {
	mu     sync.Mutex
	blocks []store.AuditBlock  // in order
	err    error               // of Append
	hold   chan struct{}       // not nil: Append waits until it is closed
	tries  int                 // of Append
	fail   func(try int) error // nil: as err says
}

func comparePlaces(a, b store.AuditPlace) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID))
}

func placeOf(b store.AuditBlock) store.AuditPlace { return store.AuditPlace{At: b.To, ID: b.ID} }

func (m *memory) Append(_ context.Context, blocks []store.AuditBlock) error {
	m.mu.Lock()
	m.tries++
	hold := m.hold
	m.mu.Unlock()
	if hold != nil {
		<-hold
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if m.fail != nil {
		if err := m.fail(m.tries); err != nil {
			return err
		}
	}
	for _, b := range blocks {
		if i, found := slices.BinarySearchFunc(m.blocks, placeOf(b), func(b store.AuditBlock, p store.AuditPlace) int {
			return comparePlaces(placeOf(b), p)
		}); !found {
			m.blocks = slices.Insert(m.blocks, i, b)
		}
	}
	return nil
}

func (m *memory) Blocks(_ context.Context, q store.AuditSearch) ([]store.AuditBlock, error) {
	if len(q.Keys) == 0 {
		return nil, dossier.Errorf(dossier.KindInvalid, "searching", "", "there is no key")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []store.AuditBlock
	for _, b := range slices.Backward(m.blocks) {
		all := !slices.ContainsFunc(q.Keys, func(k int64) bool { return !slices.Contains(b.Keys, k) })
		if all && !b.To.Before(q.Since) && (q.Before.At.IsZero() || comparePlaces(placeOf(b), q.Before) < 0) && len(list) < q.Limit {
			b.Keys = nil
			list = append(list, b)
		}
	}
	return list, nil
}

func (m *memory) Days(context.Context) ([]time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var days []time.Time
	for _, b := range m.blocks {
		days = append(days, b.To.Truncate(24*time.Hour))
	}
	return slices.CompactFunc(days, time.Time.Equal), nil
}

func (m *memory) Drop(_ context.Context, day time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blocks = slices.DeleteFunc(m.blocks, func(b store.AuditBlock) bool { return b.To.Truncate(24 * time.Hour).Equal(day) })
	return nil
}

func (*memory) Close() error { return nil }

// set changes how the log behaves.
func (m *memory) set(err error, hold chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err, m.hold = err, hold
}

func (m *memory) attempts() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tries
}

// entries returns all entries of the log, in the order of blocks.
func (m *memory) entries(t testing.TB) []dossier.AuditEntry {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	list := []dossier.AuditEntry{}
	for _, b := range m.blocks {
		entries, err := decode(b.From, b.Body)
		if err != nil {
			t.Fatal(err)
		}
		if first, last := entries[0].At, entries[len(entries)-1].At; !first.Equal(b.From) || !last.Equal(b.To) {
			t.Errorf("block from %v to %v has entries from %v to %v", b.From, b.To, first, last)
		}
		list = append(list, entries...)
	}
	return list
}

// TestMemory holds the log of these tests to what all logs promise.
func TestMemory(t *testing.T) {
	place := func(testing.TB) *memory { return &memory{} }
	storetest.RunAudit(t, place, func(_ testing.TB, m *memory) store.AuditLog { return m })
}
