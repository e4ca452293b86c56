// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Limits.
const (
	maxBatch = 4096 // entries of one transaction
	// pollEvery is how often a log looks for facts of other processes.
	pollEvery = 50 * time.Millisecond
)

// Config is what a Log is made of. Store, Signer and Key are required.
type Config struct {
	Store  store.Store
	Signer note.Signer // Ed25519; its name is the origin of the log
	Key    string      // the verifier key of Signer, as note.NewEd25519VerifierKey writes it
	Logger *slog.Logger
	// Witnesses are asked to sign each checkpoint before more is appended.
	Witnesses []*Asked
	HTTP      *http.Client // to ask them with; nil: http.DefaultClient
}

// Log appends facts to the log of a store.
type Log struct{ config Config }

// New returns a Log. KindInvalid: the key is not that of the signer.
func New(c Config) (*Log, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.HTTP == nil {
		c.HTTP = http.DefaultClient
	}
	v, err := note.NewVerifier(c.Key)
	if err == nil && (v.Name() != c.Signer.Name() || v.KeyHash() != c.Signer.KeyHash()) {
		err = errors.New("it is another one's")
	}
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "opening the log", Subject: c.Key, Err: err}
	}
	return &Log{c}, nil
}

// Run appends facts soon after they were recorded, until ctx ends.
func (l *Log) Run(ctx context.Context) error {
	var asked time.Time // witnesses, the last time
	for {
		n, err := l.Append(ctx)
		if err != nil {
			return err
		}
		if len(l.config.Witnesses) > 0 && (n > 0 || time.Since(asked) > askAgain) {
			if _, err := l.Cosign(ctx); err != nil {
				return err
			}
			asked = time.Now()
		}
		if n == maxBatch {
			continue
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// Append appends the facts that are not in the log yet, at most maxBatch, and
// returns how many those were. When there are none, nothing is written.
// KindConflict: the log is signed by another key.
//
// What is to be written is worked out from what can be read, and written when the log is
// still as it was: other writers of the store need not wait for hashes. It is not waited for
// the disk: whoever shows a head to the world settles the store first (store.Store.Settle).
func (l *Log) Append(ctx context.Context) (int, error) {
	for {
		var p *step
		err := l.config.Store.View(ctx, func(r store.Reader) (err error) {
			p, err = l.plan(ctx, r)
			return err
		})
		if err != nil || p == nil {
			return 0, err
		}
		moved := false
		err = l.config.Store.UpdateSoon(ctx, func(tx store.Tx) (err error) {
			moved, err = p.write(ctx, tx)
			return err
		})
		if err != nil || !moved {
			return p.count, err
		}
	}
}

// step is what takes the log from one state to the next.
type step struct {
	before, after store.LogHead
	entries       []store.LogEntry
	tiles         []store.LogTile
	nodes         []store.MapNode
	count         int // what Append returns
}

// plan works out the next step; there is none when all facts are in the log.
func (l *Log) plan(ctx context.Context, r store.Reader) (*step, error) {
	entries, err := r.Unlogged(ctx, maxBatch)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	head, err := r.LogHead(ctx)
	if err != nil {
		return nil, err
	}
	if head.Key != "" && head.Key != l.config.Key {
		return nil, &dossier.Error{Kind: dossier.KindConflict, Op: "appending to the log", Subject: l.config.Key,
			Err: errors.New("the log is signed by " + head.Key), Hint: "give each replica the same key, with --log-key"}
	}
	if head.Mapped < head.Size {
		return l.catchUp(ctx, r, head)
	}
	t := newTree(head.Size, func(at store.TileAt) ([]byte, error) { return r.LogTile(ctx, at) })
	for i := range entries {
		e := &entries[i]
		e.Index = t.size
		if err := t.add(tlog.RecordHash(Entry(e.Subject, e.Seq, e.Leaf))); err != nil {
			return nil, err
		}
	}
	root, err := t.root()
	if err != nil {
		return nil, err
	}
	mapRoot, nodes, err := l.move(ctx, r, head.Checkpoint, lastHeads(entries))
	if err != nil {
		return nil, err
	}
	after := store.LogHead{Size: t.size, Key: l.config.Key, Mapped: t.size}
	after.Checkpoint, err = Checkpoint{Origin: l.config.Signer.Name(), Size: t.size, Root: root, Map: &mapRoot}.sign(l.config.Signer)
	return &step{before: head, after: after, entries: entries, tiles: t.changes(), nodes: nodes, count: len(entries)}, err
}

// write takes the step, unless somebody else has moved the log meanwhile.
func (s *step) write(ctx context.Context, tx store.Tx) (moved bool, err error) {
	head, err := tx.LockLog(ctx)
	if err != nil || !sameHead(head, s.before) {
		return err == nil, err
	}
	if err := tx.PutLogMap(ctx, s.nodes); err != nil {
		return false, err
	}
	return false, tx.AppendLog(ctx, s.entries, s.tiles, s.after)
}

func sameHead(a, b store.LogHead) bool {
	return a.Size == b.Size && a.Key == b.Key && a.Mapped == b.Mapped && bytes.Equal(a.Checkpoint, b.Checkpoint)
}

// move puts heads into the map and returns its root and the nodes that change.
// KindCorrupt: the map is not the one that the checkpoint was signed for.
func (l *Log) move(ctx context.Context, r store.Reader, signed []byte, heads []Head) (tlog.Hash, []store.MapNode, error) {
	var before *tlog.Hash
	if len(signed) > 0 {
		verifier, err := note.NewVerifier(l.config.Key)
		if err != nil {
			return tlog.Hash{}, nil, err
		}
		c, err := OpenCheckpoint(signed, verifier)
		if err != nil {
			return tlog.Hash{}, nil, err
		}
		before = c.Map
	}
	t := newHeadTree(before, func(prefixes []string) (map[string][]byte, error) { return r.LogMap(ctx, prefixes) })
	root, err := t.update(heads)
	if err != nil {
		return tlog.Hash{}, nil, err
	}
	return root, t.changes(), nil
}

// catchUp puts entries into the map that were appended before there was one. Append returns
// maxBatch as long as there may be more to do.
func (l *Log) catchUp(ctx context.Context, r store.Reader, head store.LogHead) (*step, error) {
	entries, err := r.LogEntries(ctx, head.Mapped, maxBatch)
	if err == nil && len(entries) == 0 {
		err = dossier.Errorf(dossier.KindCorrupt, "appending to the log", fmt.Sprint(head.Mapped), "the entry is missing")
	}
	if err != nil {
		return nil, err
	}
	_, nodes, err := l.move(ctx, r, nil, lastHeads(entries))
	after := head
	after.Mapped = entries[len(entries)-1].Index + 1
	return &step{before: head, after: after, nodes: nodes, count: maxBatch}, err
}

// Key returns the verifier key of the log.
func (l *Log) Key() string { return l.config.Key }

// Claim signs a text of lines with the key of the log, as a signed note. KindInvalid: the text
// begins as checkpoints of the log do.
func (l *Log) Claim(text string) ([]byte, error) {
	if strings.HasPrefix(text, l.config.Signer.Name()+"\n") {
		return nil, dossier.Errorf(dossier.KindInvalid, "signing a claim", l.config.Signer.Name(), "it could be taken for a checkpoint")
	}
	return note.Sign(&note.Note{Text: text}, l.config.Signer)
}

// Inclusion proves that an entry is in the tree of a size (RFC 6962, 2.1.1).
func Inclusion(ctx context.Context, r store.LogReader, index, size int64) (tlog.RecordProof, error) {
	return tlog.ProveRecord(size, index, reading(ctx, r, size))
}

// Consistency proves that the tree of a size extends that of an earlier one
// (RFC 6962, 2.1.2).
func Consistency(ctx context.Context, r store.LogReader, earlier, size int64) (tlog.TreeProof, error) {
	return tlog.ProveTree(size, earlier, reading(ctx, r, size))
}

func reading(ctx context.Context, r store.LogReader, size int64) *tree {
	return newTree(size, func(at store.TileAt) ([]byte, error) { return r.LogTile(ctx, at) })
}
