// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// MaxRead is how many entries are looked at for one page, unless Reader says
// otherwise. After that it ends, and the next one goes on from there.
const MaxRead = 200_000

// How much one query returns.
const (
	factsAtOnce  = 500
	blocksAtOnce = 64
)

// Reader shows the audit. Store and Log are required.
type Reader struct {
	Store store.Store
	Log   store.AuditLog
	// Sync writes what this process has not written yet. nil: there is nothing.
	Sync func(ctx context.Context) error
	// Visible reports whether who asks may see an entry. nil: everything.
	Visible func(ctx context.Context, e *dossier.AuditEntry) bool
	MaxRead int // 0: the constant of that name
}

// The parts of the audit, in the order of entries of one time.
const (
	partLog = iota
	partEvents
)

// Audit returns a page of the audit, newest first. KindInvalid, KindLimit: the
// query is malformed. Other errors are those of the stores.
func (r *Reader) Audit(ctx context.Context, q dossier.AuditQuery) (dossier.AuditList, error) {
	var registry string
	err := r.Store.View(ctx, func(reader store.Reader) (err error) {
		registry, err = reader.RegistryName(ctx)
		return err
	})
	if err != nil {
		return dossier.AuditList{}, err
	}
	s, err := parse(q, registry)
	if err != nil {
		return dossier.AuditList{}, err
	}
	if r.Sync != nil {
		if err := r.Sync(ctx); err != nil && ctx.Err() != nil {
			return dossier.AuditList{}, err
		} // else the log is away, which reading it will show
	}
	m := merge{reader: r, search: s}
	m.parts[partEvents].fetch, m.parts[partLog].fetch = m.events, m.blocks
	for i := range m.parts {
		// What ends up to maxSpan later may begin before it.
		m.parts[i].bound = place{at: s.before.at, id: math.MaxInt64}
	}
	m.parts[partLog].bound.at += maxSpan.Microseconds()
	return m.page(ctx)
}

// found is an entry with its place.
type found struct {
	place
	dossier.AuditEntry
}

// merge brings the parts of the audit into one order.
type merge struct {
	reader *Reader
	search search
	parts  [2]part
	buffer []found // what was read and is not on the page yet, the newest last
	read   int     // entries that were looked at
}

// part is one part of the audit, read from its end.
type part struct {
	fetch func(ctx context.Context, before store.AuditPlace) (next place, err error)
	bound place // what is left of it ends before this time and ID
	empty bool
}

// page reads until there is a page, or enough was read.
func (m *merge) page(ctx context.Context) (dossier.AuditList, error) {
	list := dossier.AuditList{Entries: []dossier.AuditEntry{}}
	last := m.search.before
	for {
		if err := m.fill(ctx); err != nil {
			return dossier.AuditList{}, err
		}
		n := len(m.buffer)
		if n == 0 || m.buffer[n-1].at <= m.left() {
			if m.left() == math.MinInt64 {
				return list, nil
			}
			// Too much was read: what is left is no later than this.
			list.Next = place{at: m.left(), part: math.MaxInt8}.String()
			return list, nil
		}
		if len(list.Entries) == m.search.Limit {
			list.Next = last.String()
			return list, nil
		}
		list.Entries = append(list.Entries, m.buffer[n-1].AuditEntry)
		last, m.buffer = m.buffer[n-1].place, m.buffer[:n-1]
	}
}

// left returns how late what was not read yet can be.
func (m *merge) left() int64 {
	late := int64(math.MinInt64)
	for _, p := range m.parts {
		if !p.empty {
			late = max(late, p.bound.at)
		}
	}
	return late
}

// fill reads until the newest entry of the buffer is the next of all, or more
// was read than a page may take.
func (m *merge) fill(ctx context.Context) error {
	for i := range m.parts {
		p := &m.parts[i]
		for !p.empty && (len(m.buffer) == 0 || m.buffer[len(m.buffer)-1].at <= p.bound.at) {
			// The next page must begin after this one.
			if m.read > cmp.Or(m.reader.MaxRead, MaxRead) && p.bound.at < m.search.before.at {
				break
			}
			next, err := p.fetch(ctx, store.AuditPlace{At: time.UnixMicro(p.bound.at).UTC(), ID: p.bound.id})
			if err != nil {
				return err
			}
			if p.empty = next == (place{}); !p.empty {
				p.bound = next
			}
			slices.SortFunc(m.buffer, func(a, b found) int { return a.place.compare(b.place) })
		}
	}
	return nil
}

// add puts entries into the buffer that are on the page or after it.
func (m *merge) add(ctx context.Context, part int, id int64, entries []dossier.AuditEntry) {
	m.read += len(entries)
	for i := range entries {
		e := &entries[i]
		at := place{e.At.UnixMicro(), part, id, i}
		if at.compare(m.search.before) < 0 && m.search.matches(e) && (m.reader.Visible == nil || m.reader.Visible(ctx, e)) {
			m.buffer = append(m.buffer, found{at, *e})
		}
	}
}

// query returns what is asked of a store.
func (m *merge) query(before store.AuditPlace, limit int) store.AuditSearch {
	return store.AuditSearch{Keys: m.search.keys(), Since: m.search.Since, Before: before, Limit: limit}
}

// events reads facts. It returns the place of the last, or none when there are
// no more.
func (m *merge) events(ctx context.Context, before store.AuditPlace) (place, error) {
	var list []store.Event
	err := m.reader.Store.View(ctx, func(r store.Reader) (err error) {
		list, err = r.Events(ctx, m.query(before, min(m.search.Limit+1, factsAtOnce)))
		return err
	})
	if err != nil || len(list) == 0 {
		return place{}, err
	}
	for _, e := range list {
		entries, err := entriesOf(e.Fact)
		if err != nil {
			return place{}, err
		}
		m.add(ctx, partEvents, e.Position, entries)
	}
	last := list[len(list)-1]
	return place{at: last.At.UnixMicro(), id: last.Position}, nil
}

// blocks reads blocks, as events does facts.
func (m *merge) blocks(ctx context.Context, before store.AuditPlace) (place, error) {
	list, err := m.reader.Log.Blocks(ctx, m.query(before, min(m.search.Limit+1, blocksAtOnce)))
	if err != nil || len(list) == 0 {
		return place{}, err
	}
	for _, b := range list {
		entries, err := decode(b.From, b.Body)
		if err != nil {
			return place{}, err
		}
		m.add(ctx, partLog, b.ID, entries)
	}
	last := list[len(list)-1]
	return place{at: last.To.UnixMicro(), id: last.ID}, nil
}
