// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"bytes"
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Limits of Verify.
const (
	verifyPage = 256  // facts in memory
	maxFaults  = 1000 // after which it ends
)

// Fault is something in the store that the log does not agree with.
type Fault struct {
	Index int64          `json:"index"` // of the entry; -1: none
	Fact  dossier.Digest `json:"fact,omitempty"`
	What  string         `json:"what"`
}

// Report is what Verify found.
type Report struct {
	Origin  string  `json:"origin"`
	Key     string  `json:"key"`
	Size    int64   `json:"size"` // entries that were checked
	Root    string  `json:"root"`
	Erased  int64   `json:"erased"`  // facts of whose body the hash is left
	Waiting bool    `json:"waiting"` // there are facts that are not in the log yet
	Faults  []Fault `json:"faults"`
}

// verification is a Verify under way.
type verification struct {
	store  store.Store
	report Report
	head   store.LogHead
	tree   *tree
	chains map[headKey]link
	broken bool // an entry is missing: what comes after it cannot be checked

	mapRoot *tlog.Hash // that the chains give; nil: not computed
}

// link is the end of a subject's chain so far: how many facts it has, and the value of the
// last of them as a head of the map. There is one for each subject, so it is kept small.
type link struct {
	seq   int64
	value tlog.Hash
}

// Verify computes the whole log again from the facts and compares: each fact with its
// leaf, the chain of each subject, each tile, the map, and the checkpoint with its
// signature. key is the verifier key that the log must have, or empty for the one
// that the store names, which then proves nothing against who can write it.
func Verify(ctx context.Context, s store.Store, key string) (Report, error) {
	v := &verification{store: s, chains: map[headKey]link{}}
	v.report.Faults = []Fault{}
	err := s.View(ctx, func(r store.Reader) (err error) {
		if v.head, err = r.LogHead(ctx); err != nil {
			return err
		}
		v.report.Waiting, err = waiting(ctx, r)
		return err
	})
	if err != nil {
		return v.report, err
	}
	v.report.Key = v.head.Key
	if key != "" && key != v.head.Key {
		v.fault(-1, "", "the log names the key %s, not the one that was asked for", v.head.Key)
		v.report.Key = key
	}
	// Full tiles are checked and forgotten: the root needs those of the right edge.
	v.tree = newTree(0, func(at store.TileAt) ([]byte, error) {
		return nil, dossier.Errorf(dossier.KindInternal, "checking the log", fmt.Sprint(at), "the tile was forgotten")
	})
	if err := v.facts(ctx); err != nil {
		return v.report, err
	}
	if err := v.settle(ctx); err != nil {
		return v.report, err
	}
	return v.report, v.checkpoint()
}

func (v *verification) fault(index int64, fact dossier.Digest, format string, args ...any) {
	if len(v.report.Faults) < maxFaults {
		v.report.Faults = append(v.report.Faults, Fault{index, fact, fmt.Sprintf(format, args...)})
	}
}

// facts checks all entries, in order.
func (v *verification) facts(ctx context.Context) error {
	for v.more() {
		if err := v.store.View(ctx, func(r store.Reader) error { return v.page(ctx, r) }); err != nil {
			return err
		}
	}
	return nil
}

// more reports whether there are entries to check.
func (v *verification) more() bool {
	return !v.broken && v.tree.size < v.head.Size && len(v.report.Faults) < maxFaults
}

// page checks the next entries and the tiles that they fill.
func (v *verification) page(ctx context.Context, r store.Reader) error {
	page, err := r.LogFacts(ctx, v.tree.size, int(min(verifyPage, v.head.Size-v.tree.size)))
	if err != nil {
		return err
	}
	if len(page) == 0 || page[0].Index != v.tree.size {
		v.fault(v.tree.size, "", "the entry is missing")
		v.broken = true
		return nil
	}
	for _, f := range page {
		if f.Index != v.tree.size {
			v.fault(v.tree.size, "", "the entry is missing")
			v.broken = true
			return nil
		}
		v.fact(f)
		if err := v.tree.add(tlog.RecordHash(Entry(f.Subject, f.Seq, f.Leaf))); err != nil {
			return err
		}
	}
	return v.tiles(ctx, r)
}

// settle checks what was appended since it began, and then the map, of which there is only
// the newest state.
func (v *verification) settle(ctx context.Context) error {
	if v.more() || v.broken {
		return nil
	}
	return v.store.View(ctx, func(r store.Reader) error {
		head, err := r.LogHead(ctx)
		if err != nil {
			return err
		}
		if head.Size < v.head.Size {
			v.fault(-1, "", "the log had %d entries and has %d", v.head.Size, head.Size)
			return nil
		}
		for v.head = head; v.more(); {
			if err := v.page(ctx, r); err != nil {
				return err
			}
		}
		if err := v.strays(ctx, r); err != nil {
			return err
		}
		if v.report.Waiting, err = waiting(ctx, r); err != nil || v.broken || len(v.report.Faults) >= maxFaults {
			return err
		}
		if head.Mapped > head.Size {
			v.fault(-1, "", "the map has %d entries, the log %d", head.Mapped, head.Size)
		}
		if head.Mapped < head.Size { // an appender that has none yet goes on with it
			v.report.Waiting = true
			return nil
		}
		v.mapRoot, err = v.heads(ctx, r)
		return err
	})
}

// strays finds facts that somebody else put there, or took away from what waits for the log.
func (v *verification) strays(ctx context.Context, r store.Reader) error {
	list, err := r.LogStrays(ctx, maxFaults-len(v.report.Faults))
	for _, id := range list {
		v.fault(-1, id, "the fact is not in the log, and does not wait for it")
	}
	return err
}

// fact checks one fact and its place in the chain of its subject.
func (v *verification) fact(f store.LogFact) {
	id := f.Fact.ID
	switch {
	case f.Subject == "":
		v.fault(f.Index, "", "the fact was deleted")
		return
	case f.Erased:
		v.report.Erased++
	case dossier.BodyHash(f.Fact.Salt, f.Fact.Body) != f.BodyHash:
		v.fault(f.Index, id, "the body is another one than was recorded")
	case f.Fact.Statement.ID() != id:
		v.fault(f.Index, id, "the fact has another ID than its content")
	}
	if f.Fact.LeafOf(f.BodyHash) != f.Leaf {
		v.fault(f.Index, id, "header and leaf disagree: one of them was changed")
	}
	own := Head{f.Subject, f.Seq, f.Leaf}.leaf()
	before := v.chains[own.key]
	said := link{seq: f.Seq - 1}
	if f.Fact.Prev != "" {
		said.value = Head{f.Subject, f.Seq - 1, f.Fact.Prev}.leaf().value
	}
	if said != before {
		v.fault(f.Index, id, "number %d of the facts of %s does not follow number %d", f.Seq, f.Subject, before.seq)
	}
	v.chains[own.key] = link{f.Seq, own.value}
}

// tiles compares what was computed with what is kept, and forgets full tiles.
func (v *verification) tiles(ctx context.Context, r store.Reader) error {
	for _, want := range v.tree.changes() {
		got, err := r.LogTile(ctx, want.TileAt)
		if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
			return err
		}
		// More may have been appended meanwhile.
		if len(got) < len(want.Hashes) || len(got) > tileBytes || !bytes.Equal(got[:len(want.Hashes)], want.Hashes) {
			v.fault(-1, "", "tile %d/%d is not what the entries give", want.Level, want.Index)
		}
		if len(want.Hashes) == tileBytes {
			delete(v.tree.tiles, want.TileAt)
		}
		delete(v.tree.changed, want.TileAt)
	}
	return nil
}

// checkpoint checks what was signed.
func (v *verification) checkpoint() error {
	v.report.Size = v.tree.size
	if v.head.Size == 0 || v.tree.size < v.head.Size {
		return nil
	}
	root, err := v.tree.root()
	if err != nil {
		return err
	}
	v.report.Root = root.String()
	verifier, err := note.NewVerifier(v.report.Key)
	if err != nil {
		return &dossier.Error{Kind: dossier.KindInvalid, Op: "reading the key of the log", Subject: v.report.Key, Err: err}
	}
	v.report.Origin = verifier.Name()
	c, err := OpenCheckpoint(v.head.Checkpoint, verifier)
	switch {
	case err != nil:
		v.fault(-1, "", "the checkpoint: %v", err)
	case c.Size != v.head.Size:
		v.fault(-1, "", "the checkpoint is signed for %d entries, there are %d", c.Size, v.head.Size)
	case c.Root != root:
		v.fault(-1, "", "the checkpoint is signed for other entries: its root is %s, theirs %s", c.Root, root)
	case v.mapRoot == nil && c.Map != nil && v.head.Mapped < v.head.Size:
		v.fault(-1, "", "the map has %d entries, and was signed for %d", v.head.Mapped, c.Size)
	case v.mapRoot != nil && (c.Map == nil || *c.Map != *v.mapRoot):
		v.fault(-1, "", "the checkpoint is signed for another map than the entries give, whose root is %s", v.mapRoot)
	}
	return nil
}

// waiting reports whether there are facts that are not in the log yet.
func waiting(ctx context.Context, r store.LogReader) (bool, error) {
	entries, err := r.Unlogged(ctx, 1)
	return len(entries) > 0, err
}
