// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// FlushEvery is how often entries are written. What is lost when the process is
// killed came within that time and the time that one commit takes: less than a
// second as long as a commit takes less than 600 ms.
const FlushEvery = 400 * time.Millisecond

const (
	// MaxPending is how many entries wait at a time, unless RecorderConfig says
	// otherwise. Those that come beyond are dropped, and counted.
	MaxPending = 32 << 10
	// blocksAtATime is how much of a backlog is written at a time: what was written stays
	// so, whatever becomes of the rest.
	blocksAtATime = 256
	// appendTime is how long one try to write may take.
	appendTime = 30 * time.Second
	// keptCapacity is for how many entries memory is kept however few come; more is kept
	// while a quarter of it is used.
	keptCapacity = 4096
)

// RecorderConfig is what a Recorder needs. Log and Registry are required.
type RecorderConfig struct {
	Log        store.AuditLog
	Registry   string           // what the registry is called: HOST or HOST:PORT
	MaxPending int              // 0: the constant of that name
	Now        func() time.Time // of entries about loss; nil: time.Now
	Logger     *slog.Logger     // nil: silent
}

// Recorder writes entries to a log from a goroutine of its own, which Close ends.
type Recorder struct {
	config RecorderConfig
	wake   chan struct{}   // much is pending
	sync   chan chan error // who wants all that is pending to be written
	quit   chan struct{}   // closed by Close
	done   sync.WaitGroup
	closed sync.Once

	mu      sync.Mutex
	pending []dossier.AuditEntry // raw, in the order in which they came
	ended   bool                 // what comes now is lost
	stats   Stats

	// Of the goroutine alone.
	spare     []dossier.AuditEntry // the memory that pending had before
	unwritten []block
	told      int64 // of Stats.Lost, in blocks that were made
	failing   bool
}

// Stats say what became of entries.
type Stats struct {
	Written int64
	Lost    int64 // dropped because MaxPending others waited, or because the log was away until the end
	Pending int64 // wait now
}

// Start returns a Recorder. ctx gives values only: its end ends nothing.
func Start(ctx context.Context, c RecorderConfig) *Recorder {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.MaxPending = cmp.Or(c.MaxPending, MaxPending)
	r := &Recorder{config: c, wake: make(chan struct{}, 1), sync: make(chan chan error), quit: make(chan struct{})}
	ctx = context.WithoutCancel(ctx)
	r.done.Go(func() { r.loop(ctx) })
	return r
}

// Add hands an entry over. It never waits for the log. Its Repository and Source
// are paths, its Address may have a port; Client, Caller and Code may hold
// anything, the others are well-formed.
func (r *Recorder) Add(e dossier.AuditEntry) {
	r.mu.Lock()
	if r.ended || len(r.pending) >= r.config.MaxPending {
		r.stats.Lost++
		r.mu.Unlock()
		return
	}
	r.pending = append(r.pending, e)
	n := len(r.pending)
	r.mu.Unlock()
	if n == r.config.MaxPending/4 {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// Sync writes what was handed over before it was called. It fails when the log does.
func (r *Recorder) Sync(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case r.sync <- answer:
	case <-r.quit:
		return nil // Close writes it
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stats returns what became of entries so far.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Pending += int64(len(r.pending))
	return s
}

// Close writes what is pending and ends the recorder. It does not close the log.
// Nothing may be handed over any more.
func (r *Recorder) Close() {
	r.closed.Do(func() { close(r.quit) })
	r.done.Wait()
}

// loop writes until Close.
func (r *Recorder) loop(ctx context.Context) {
	ticker := time.NewTicker(FlushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.flush(ctx)
		case <-r.wake:
			r.flush(ctx)
		case answer := <-r.sync:
			answer <- r.flush(ctx)
		case <-r.quit:
			r.end(ctx)
			return
		}
	}
}

// end writes what is left, and says what could not be.
func (r *Recorder) end(ctx context.Context) {
	if r.flush(ctx) == nil {
		r.flush(ctx) // what came while the last was written
	}
	r.mu.Lock()
	lost := int64(len(r.pending))
	for _, b := range r.unwritten {
		lost += b.entries
	}
	r.stats.Lost += lost
	r.stats.Pending, r.pending, r.ended = 0, nil, true
	r.mu.Unlock()
	if lost > 0 {
		r.config.Logger.ErrorContext(ctx, "entries of the audit are lost: they could not be written before the end", "entries", lost)
	}
}

// flush writes what is pending. What it cannot write it keeps and tries again
// the next time; meanwhile more comes in, until MaxPending do.
func (r *Recorder) flush(ctx context.Context) error {
	if len(r.unwritten) == 0 {
		r.take()
	}
	if len(r.unwritten) == 0 {
		return nil
	}
	for len(r.unwritten) > 0 {
		if err := r.write(ctx, r.unwritten[:min(len(r.unwritten), blocksAtATime)]); err != nil {
			if !r.failing {
				r.failing = true
				r.config.Logger.ErrorContext(ctx, "the audit cannot be written, and is tried again", "error", err)
			}
			return err
		}
	}
	r.unwritten = nil
	if r.failing {
		r.failing = false
		r.config.Logger.InfoContext(ctx, "the audit is written again", "lost", r.told)
	}
	return nil
}

// write writes the first of what is unwritten.
func (r *Recorder) write(ctx context.Context, list []block) error {
	ctx, cancel := context.WithTimeout(ctx, appendTime)
	defer cancel()
	var entries int64
	blocks := make([]store.AuditBlock, len(list))
	for i, b := range list {
		blocks[i], entries = b.AuditBlock, entries+b.entries
	}
	if err := r.config.Log.Append(ctx, blocks); err != nil {
		return err
	}
	r.unwritten = r.unwritten[len(list):]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Written += entries
	r.stats.Pending -= entries
	return nil
}

// take makes blocks of what is pending.
func (r *Recorder) take() {
	r.mu.Lock()
	list := r.pending
	r.pending = r.spare[:0]
	lost := r.stats.Lost
	r.stats.Pending += int64(len(list))
	r.mu.Unlock()
	r.spare = nil
	for i := range list {
		r.prepare(&list[i])
	}
	if lost > r.told {
		// Beyond what was handed over: it needs no place among the pending.
		list = append(list, dossier.AuditEntry{
			At: dossier.Instant(r.config.Now()), Action: dossier.ActionLost, Count: lost - r.told, Caller: dossier.AuditCaller{Kind: "dossier"},
		})
		r.told = lost
	}
	r.unwritten = blocks(list)
	if cap(list) <= max(keptCapacity, 4*len(list)) {
		clear(list) // hold on to no texts
		r.spare = list
	}
}

// prepare makes an entry what it is on record.
func (r *Recorder) prepare(e *dossier.AuditEntry) {
	e.At = dossier.Instant(e.At)
	if e.Repository != "" {
		e.Repository = r.config.Registry + "/" + e.Repository
	}
	if e.Source != "" {
		e.Source = r.config.Registry + "/" + e.Source
	}
	e.Address, e.Client, e.Caller, e.Code = hostOf(e.Address), clean(e.Client), cleanCaller(e.Caller), clean(e.Code)
}

// block is a block with the number of its entries that were handed over.
type block struct {
	store.AuditBlock
	entries int64
}

// blocks makes blocks of entries, which it sorts.
func blocks(list []dossier.AuditEntry) []block {
	slices.SortStableFunc(list, func(a, b dossier.AuditEntry) int { return a.At.Compare(b.At) })
	var made []block
	for len(list) > 0 {
		n := 1
		for n < len(list) && n < maxEntries && fits(list[0].At, list[n].At) {
			n++
		}
		set, found := map[word]struct{}{}, map[findable]struct{}{}
		entries := int64(n)
		for i := range list[:n] {
			by := findableOf(&list[i])
			if _, ok := found[by]; !ok { // many differ in time and size only
				found[by] = struct{}{}
				words(set, &list[i])
			}
			if list[i].Action == dossier.ActionLost {
				entries--
			}
		}
		made = append(made, block{entries: entries, AuditBlock: store.AuditBlock{
			ID: rand.Int64(), From: list[0].At, To: list[n-1].At, Keys: keys(set), Body: encode(list[:n]),
		}})
		list = list[n:]
	}
	return made
}

// fits reports whether a block that begins at a time can end at another.
func fits(from, to time.Time) bool {
	return to.Sub(from) <= maxSpan && from.Truncate(24*time.Hour).Equal(to.Truncate(24*time.Hour))
}
