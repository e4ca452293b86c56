// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Monitor follows a log as anybody can, by what it serves. It reads every entry once, computes tree and
// map from them, and so knows whether the log is what it signs for. It keeps the newest fact of each
// subject in memory.
type Monitor struct {
	// Fetch returns a resource of the log by its path, "checkpoint" or "tile/...".
	Fetch func(ctx context.Context, path string) ([]byte, error)
	Log   note.Verifier

	tree  *tree
	heads *headTree
	seqs  map[dossier.Digest]int64
	known Checkpoint // that was followed last
}

// Followed is what a Monitor saw.
type Followed struct {
	Checkpoint Checkpoint
	Signed     []byte // the checkpoint as it was signed
	New        int64  // entries since it looked last
	Subjects   int    // that have entries
}

// corrupt is how the log is caught lying.
func corrupt(c Checkpoint, format string, args ...any) error {
	return dossier.Errorf(dossier.KindCorrupt, "following the log", c.Origin, fmt.Sprintf(format, args...))
}

// Follow reads what was appended since it was called last. before are checkpoints of the log that
// were signed earlier, to compare with while the entries come by.
// KindCorrupt: the log shows another history than before, or signs for what its entries do not
// give; KindDenied: its checkpoint is not signed by it. Other errors are those of Fetch.
func (m *Monitor) Follow(ctx context.Context, before ...Checkpoint) (Followed, error) {
	if m.tree == nil {
		m.tree = newTree(0, func(at store.TileAt) ([]byte, error) {
			return nil, dossier.Errorf(dossier.KindInternal, "following the log", fmt.Sprint(at), "the tile was forgotten")
		})
		m.heads = newHeadTree(nil, func([]string) (map[string][]byte, error) { return nil, nil })
		m.seqs = map[dossier.Digest]int64{}
	}
	signed, err := m.Fetch(ctx, "checkpoint")
	if err != nil {
		return Followed{}, err
	}
	c, err := OpenCheckpoint(signed, m.Log)
	if err != nil {
		return Followed{}, err
	}
	f := Followed{Checkpoint: c, Signed: signed, New: c.Size - m.tree.size}
	for _, b := range append(before, m.known) {
		if b.Size > c.Size {
			return f, corrupt(c, "it had %d entries and has %d", b.Size, c.Size)
		}
	}
	stops := slices.DeleteFunc(slices.Clone(before), func(b Checkpoint) bool { return b.Size < m.tree.size })
	stops = append(stops, c)
	slices.SortStableFunc(stops, func(a, b Checkpoint) int { return int(min(max(a.Size-b.Size, -1), 1)) })
	for _, stop := range stops {
		if err := m.readTo(ctx, c, stop.Size); err != nil {
			return f, err
		}
		if err := m.compare(c, stop); err != nil {
			return f, err
		}
	}
	m.known, f.Subjects = c, len(m.seqs)
	return f, nil
}

// compare compares what the entries give with what was signed for them.
func (m *Monitor) compare(c, signed Checkpoint) error {
	if signed.Size == 0 {
		return nil
	}
	root, err := m.tree.root()
	if err != nil {
		return err
	}
	if root != signed.Root {
		return corrupt(c, "its first %d entries give the root %s, and %s was signed: it shows two histories", signed.Size, root, signed.Root)
	}
	if got := m.heads.root(); signed.Map != nil && got != *signed.Map {
		return corrupt(c, "the map of its first %d entries has the root %s, and %s was signed", signed.Size, got, signed.Map)
	}
	clear(m.heads.changed)
	return nil
}

// readTo reads entries until there are so many.
func (m *Monitor) readTo(ctx context.Context, c Checkpoint, size int64) error {
	for m.tree.size < size {
		at := tilePath{store.TileAt{Level: entriesLevel, Index: m.tree.size / tileWidth}, min(tileWidth, c.Size-m.tree.size/tileWidth*tileWidth)}
		b, err := m.Fetch(ctx, at.String())
		if err != nil {
			return err
		}
		if err := m.bundle(c, b, at, size); err != nil {
			return err
		}
	}
	return nil
}

// bundle takes the entries of a bundle that are new, up to a size of the log.
func (m *Monitor) bundle(c Checkpoint, b []byte, at tilePath, size int64) error {
	last := map[dossier.Digest]Head{}
	for i := range at.width {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return corrupt(c, "%s ends within entry %d", at, at.Index*tileWidth+i)
		}
		text := b[2 : 2+binary.BigEndian.Uint16(b)]
		b = b[2+len(text):]
		index := at.Index*tileWidth + i
		if index < m.tree.size || index >= size {
			continue
		}
		head, err := parseEntry(text)
		if err != nil {
			return corrupt(c, "entry %d: %v", index, err)
		}
		if before := m.seqs[head.Subject]; head.Seq != before+1 {
			return corrupt(c, "entry %d is number %d about %s, after number %d", index, head.Seq, head.Subject, before)
		}
		m.seqs[head.Subject], last[head.Subject] = head.Seq, head
		if err := m.tree.add(tlog.RecordHash(text)); err != nil {
			return err
		}
	}
	if len(b) > 0 {
		return corrupt(c, "%s goes on after its entries", at)
	}
	m.forget()
	if _, err := m.heads.update(slices.Collect(maps.Values(last))); err != nil {
		return err
	}
	return nil
}

// forget drops full tiles: the root needs those of the right edge.
func (m *Monitor) forget() {
	maps.DeleteFunc(m.tree.tiles, func(_ store.TileAt, hashes []byte) bool { return len(hashes) == tileBytes })
	clear(m.tree.changed)
}

// parseEntry is the inverse of Entry.
func parseEntry(text []byte) (Head, error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) != 5 || lines[0] != "dossier/entry/v1" || lines[4] != "" {
		return Head{}, errors.New("it does not have the form of an entry")
	}
	seq, err := strconv.ParseInt(lines[2], 10, 64)
	subject, leaf := dossier.Digest(lines[1]), dossier.Digest(lines[3])
	_, err2 := dossier.ParseDigest(lines[1])
	_, err3 := dossier.ParseDigest(lines[3])
	if errors.Join(err, err2, err3) != nil || !bytes.Equal(Entry(subject, seq, leaf), text) {
		return Head{}, errors.New("it does not have the form of an entry")
	}
	return Head{subject, seq, leaf}, nil
}
