// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"fmt"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func logCases() []testCase {
	return []testCase{
		{"facts wait for the log in order", factsWaitForLog},
		{"tiles and head stay", tilesStay},
		{"no fact strays", noFactStrays},
		{"appenders take turns", appendersTakeTurns},
		{"what was not committed is not in the log", logRollsBack},
		{"the map follows the log", mapFollows},
		{"cosignatures are of one size", cosignaturesFit},
		{"witnesses take turns", witnessesTakeTurns},
	}
}

// noFactStrays: each fact waits for the log from when it was recorded, until it is in it.
func noFactStrays(t *testing.T, s store.Store) {
	recordFor(t, s, "a", 3)
	strays := func() []dossier.Digest {
		return read(t, s, func(r store.Reader) ([]dossier.Digest, error) { return r.LogStrays(t.Context(), 10) })
	}
	if list := strays(); len(list) > 0 {
		t.Errorf("before they are appended: %v", list)
	}
	update(t, s, func(tx store.Tx) error {
		head, err := tx.LockLog(t.Context())
		if err != nil {
			return err
		}
		entries, err := tx.Unlogged(t.Context(), 2)
		if err != nil {
			return err
		}
		for i := range entries {
			entries[i].Index = int64(i)
		}
		head.Size, head.Mapped, head.Checkpoint = 2, 2, []byte("signed")
		return tx.AppendLog(t.Context(), entries, nil, head)
	})
	if list := strays(); len(list) > 0 {
		t.Errorf("after two of them were appended: %v", list)
	}
}

// recordFor records n facts about a subject.
func recordFor(t *testing.T, s store.Store, subject string, n int) []dossier.Fact {
	t.Helper()
	return written(t, s, func(tx store.Tx) ([]dossier.Fact, error) {
		var facts []dossier.Fact
		for i := range n {
			f, _, err := tx.Record(t.Context(), dossier.Statement{Subject: digest(subject), Kind: "test", Source: fmt.Sprint("test:", subject, i)})
			if err != nil {
				return nil, err
			}
			facts = append(facts, f)
		}
		return facts, nil
	})
}

// appendAll appends what waits, as an appender does, and returns how much that was.
func appendAll(t *testing.T, s store.Store, limit int) (n int, err error) {
	err = s.Update(t.Context(), func(tx store.Tx) error {
		head, err := tx.LockLog(t.Context())
		if err != nil {
			return err
		}
		entries, err := tx.Unlogged(t.Context(), limit)
		if err != nil {
			return err
		}
		for i := range entries {
			entries[i].Index = head.Size + int64(i)
		}
		n = len(entries)
		return tx.AppendLog(t.Context(), entries, nil, store.LogHead{Size: head.Size + int64(n), Mapped: head.Size + int64(n), Key: "key", Checkpoint: []byte("signed")})
	})
	return n, err
}

func factsWaitForLog(t *testing.T, s store.Store) {
	waiting := func(want bool) {
		t.Helper()
		got := read(t, s, func(r store.Reader) ([]store.LogEntry, error) { return r.Unlogged(t.Context(), 1) })
		if (len(got) > 0) != want {
			t.Errorf("Unlogged: %v, want some: %v", got, want)
		}
	}
	waiting(false)
	var facts []dossier.Fact
	for _, subject := range []string{"a", "b", "a"} {
		facts = append(facts, recordFor(t, s, subject, 3)...)
	}
	facts = facts[:6] // the last three were known
	waiting(true)
	for _, want := range []int{4, 2, 0} {
		if got, err := appendAll(t, s, 4); err != nil || got != want {
			t.Errorf("%d were appended, want %d: %v", got, want, err)
		}
	}
	waiting(false)
	entries := read(t, s, func(r store.Reader) ([]store.LogEntry, error) { return r.LogEntries(t.Context(), 1, 10) })
	full := read(t, s, func(r store.Reader) ([]store.LogFact, error) { return r.LogFacts(t.Context(), 1, 10) })
	if len(entries) != 5 || len(full) != 5 {
		t.Fatalf("%d entries, %d facts, want 5", len(entries), len(full))
	}
	ids := make([]dossier.Digest, len(facts))
	for i, f := range facts {
		ids[i] = f.ID
		if i == 0 {
			continue
		}
		e, l := entries[i-1], full[i-1]
		if e.Index != int64(i) || e.Subject != f.Subject || e.Seq != f.Seq || e.Leaf != f.Leaf {
			t.Errorf("entry %d is %+v, want that of %+v", i, e, f)
		}
		if l.LogEntry != e || l.Erased || l.Fact.ID != f.ID || l.Fact.LeafOf(l.BodyHash) != f.Leaf || l.Fact.Prev != f.Prev {
			t.Errorf("fact %d is %+v, want %+v", i, l, f)
		}
	}
	indexes := read(t, s, func(r store.Reader) (map[dossier.Digest]int64, error) {
		return r.LogIndexes(t.Context(), append(ids, digest("none")))
	})
	if len(indexes) != len(facts) || indexes[facts[5].ID] != 5 {
		t.Errorf("indexes: %v", indexes)
	}
}

func tilesStay(t *testing.T, s store.Store) {
	recordFor(t, s, "a", 2)
	err := s.View(t.Context(), func(r store.Reader) error {
		head, err := r.LogHead(t.Context())
		if head.Size != 0 || head.Key != "" || len(head.Checkpoint) > 0 {
			t.Errorf("the head of nothing is %+v", head)
		}
		if err != nil {
			return err
		}
		_, err = r.LogTile(t.Context(), store.TileAt{})
		return err
	})
	wantKind(t, err, dossier.KindNotFound)
	for round := range 2 {
		tile := store.LogTile{TileAt: store.TileAt{Level: 1, Index: 1 << 40}, Hashes: bytes.Repeat([]byte{0, byte(round)}, 32)}
		update(t, s, func(tx store.Tx) error {
			head, err := tx.LockLog(t.Context())
			if err != nil {
				return err
			}
			entries, err := tx.Unlogged(t.Context(), 1)
			if err != nil {
				return err
			}
			entries[0].Index = head.Size
			return tx.AppendLog(t.Context(), entries, []store.LogTile{tile}, store.LogHead{Size: head.Size + 1, Key: "key", Checkpoint: []byte{0, byte(round)}})
		})
		view(t, s, func(r store.Reader) error {
			got, err := r.LogTile(t.Context(), tile.TileAt)
			if !bytes.Equal(got, tile.Hashes) {
				t.Errorf("round %d: the tile is %x", round, got)
			}
			if err != nil {
				return err
			}
			head, err := r.LogHead(t.Context())
			if head.Size != int64(round+1) || head.Key != "key" || !bytes.Equal(head.Checkpoint, []byte{0, byte(round)}) {
				t.Errorf("round %d: the head is %+v", round, head)
			}
			return err
		})
	}
}

// appendersTakeTurns has several append while facts of few subjects are recorded: each fact
// is in the log once, and those of a subject are in their order.
func appendersTakeTurns(t *testing.T, s store.Store) {
	const writers, each = 8, 12
	together(t, writers, func(w int) error {
		for i := range each {
			if w%2 == 0 {
				if _, err := appendAll(t, s, 5); err != nil {
					return err
				}
				continue
			}
			err := s.Update(t.Context(), func(tx store.Tx) error {
				_, _, err := tx.Record(t.Context(), dossier.Statement{Subject: digest(fmt.Sprint(i % 3)), Kind: "test", Source: fmt.Sprint(w, "/", i)})
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	for {
		n, err := appendAll(t, s, 100)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	entries := read(t, s, func(r store.Reader) ([]store.LogEntry, error) { return r.LogEntries(t.Context(), 0, 1000) })
	if want := writers / 2 * each; len(entries) != want {
		t.Errorf("%d entries, want %d", len(entries), want)
	}
	seqs := map[dossier.Digest]int64{}
	for i, e := range entries {
		if e.Index != int64(i) || e.Seq != seqs[e.Subject]+1 {
			t.Errorf("entry %d is %+v, after number %d of its subject", i, e, seqs[e.Subject])
		}
		seqs[e.Subject] = e.Seq
	}
}

func logRollsBack(t *testing.T, s store.Store) {
	recordFor(t, s, "a", 1)
	boom := fmt.Errorf("boom")
	err := s.Update(t.Context(), func(tx store.Tx) error {
		if _, err := tx.LockLog(t.Context()); err != nil {
			return err
		}
		entries, err := tx.Unlogged(t.Context(), 10)
		if err != nil {
			return err
		}
		if err := tx.AppendLog(t.Context(), entries, nil, store.LogHead{Size: 1, Key: "key", Checkpoint: []byte("signed")}); err != nil {
			return err
		}
		return boom
	})
	if err != boom {
		t.Fatalf("Update: %v", err)
	}
	if n, err := appendAll(t, s, 10); n != 1 || err != nil {
		t.Errorf("%d were appended, %v, want 1", n, err)
	}
}

// mapFollows puts nodes of the map, and asks for the newest entries of subjects.
func mapFollows(t *testing.T, s store.Store) {
	for round := range 2 {
		var nodes []store.MapNode
		for i := range 300 {
			nodes = append(nodes, store.MapNode{Prefix: fmt.Sprintf("%x", i), Content: []byte{0, byte(i), byte(round)}})
		}
		update(t, s, func(tx store.Tx) error {
			if _, err := tx.LockLog(t.Context()); err != nil {
				return err
			}
			return tx.PutLogMap(t.Context(), append(nodes, store.MapNode{Content: []byte{byte(round)}}))
		})
		got := read(t, s, func(r store.Reader) (map[string][]byte, error) {
			return r.LogMap(t.Context(), []string{"", "a", "ff", "none"})
		})
		if len(got) != 3 || !bytes.Equal(got[""], []byte{byte(round)}) || !bytes.Equal(got["ff"], []byte{0, 255, byte(round)}) {
			t.Errorf("round %d: nodes %v", round, got)
		}
	}
	a := recordFor(t, s, "a", 3)
	if n, err := appendAll(t, s, 2); n != 2 || err != nil {
		t.Fatalf("%d were appended, %v, want 2", n, err)
	}
	recordFor(t, s, "b", 1)
	heads := read(t, s, func(r store.Reader) ([]store.LogEntry, error) {
		return r.LogHeads(t.Context(), []dossier.Digest{digest("b"), digest("a"), digest("none"), digest("a")})
	})
	if len(heads) != 1 || heads[0].Subject != a[0].Subject || heads[0].Seq != 2 || heads[0].Leaf != a[1].Leaf || heads[0].Index != 1 {
		t.Errorf("heads %+v, want the second of %+v", heads, a)
	}
	if head := read(t, s, func(r store.Reader) (store.LogHead, error) { return r.LogHead(t.Context()) }); head.Mapped != 2 {
		t.Errorf("the map has %d entries, want 2", head.Mapped)
	}
}

// cosignaturesFit puts cosignatures of a size that the log has, and of one that it had.
func cosignaturesFit(t *testing.T, s store.Store) {
	recordFor(t, s, "a", 3)
	if _, err := appendAll(t, s, 2); err != nil {
		t.Fatal(err)
	}
	for size, want := range map[int64]string{1: "signed", 2: "cosigned 2"} {
		update(t, s, func(tx store.Tx) error {
			return tx.PutCosigned(t.Context(), size, fmt.Appendf(nil, "cosigned %d", size))
		})
		head := read(t, s, func(r store.Reader) (store.LogHead, error) { return r.LogHead(t.Context()) })
		if size == 2 && string(head.Checkpoint) != want || size == 1 && string(head.Checkpoint) == "cosigned 1" || head.Size != 2 {
			t.Errorf("size %d: the head is %+v", size, head)
		}
	}
}

// witnessesTakeTurns has several raise what was witnessed of two logs by one each: none is lost.
func witnessesTakeTurns(t *testing.T, s store.Store) {
	const writers, each = 4, 10
	together(t, writers, func(w int) error {
		for range each {
			origin := fmt.Sprint("log ", w%2)
			err := s.Update(t.Context(), func(tx store.Tx) error {
				seen, err := tx.LockWitnessed(t.Context(), origin)
				if err != nil {
					return err
				}
				if seen.Origin != origin || seen.Size > 0 && !bytes.Equal(seen.Root, fmt.Append(nil, seen.Size)) {
					t.Errorf("%s: %+v", origin, seen)
				}
				seen.Size++
				seen.Root, seen.Checkpoint = fmt.Append(nil, seen.Size), []byte("signed")
				return tx.PutWitnessed(t.Context(), seen)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	for w := range 2 {
		var seen store.Witnessed
		update(t, s, func(tx store.Tx) (err error) {
			seen, err = tx.LockWitnessed(t.Context(), fmt.Sprint("log ", w))
			return err
		})
		if seen.Size != writers/2*each || string(seen.Checkpoint) != "signed" {
			t.Errorf("log %d: %+v", w, seen)
		}
	}
}
