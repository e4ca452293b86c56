// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/translog"
)

// TestInclusions proves sets of entries in trees of many sizes. A proof of one entry has
// the hashes of tlog's, which is another program; each change of a proof,
// of a leaf or of the tree is refused.
func TestInclusions(t *testing.T) {
	l := newLab(t)
	random := rand.New(rand.NewPCG(5, 4))
	for _, n := range []int{1, 1, 1, 4, 250, 1, 43, 300} {
		l.record(t, n)
		c := l.checkpoint(t)
		entries := read(t, l.store, func(r store.Reader) ([]store.LogEntry, error) { return r.LogEntries(t.Context(), 0, l.n) })
		leaf := func(i int64) translog.Leaf {
			e := entries[i]
			return translog.Leaf{Index: i, Hash: tlog.RecordHash(translog.Entry(e.Subject, e.Seq, e.Leaf))}
		}
		for _, count := range []int{1, 2, 20, l.n} {
			var indexes []int64
			var leaves []translog.Leaf
			for range count {
				i := random.Int64N(c.Size)
				indexes, leaves = append(indexes, i), append(leaves, leaf(i))
			}
			proof := read(t, l.store, func(r store.Reader) ([]tlog.Hash, error) {
				return translog.Inclusions(t.Context(), r, indexes, c.Size)
			})
			if err := translog.CheckInclusions(proof, c, leaves); err != nil {
				t.Fatalf("%v of %d: %v", indexes, c.Size, err)
			}
			if count == 1 {
				one := read(t, l.store, func(r store.Reader) (tlog.RecordProof, error) {
					return translog.Inclusion(t.Context(), r, indexes[0], c.Size)
				})
				if got, want := sortedHashes(proof), sortedHashes(one); !slices.Equal(got, want) {
					t.Errorf("entry %d of %d: proof %v, want %v", indexes[0], c.Size, got, want)
				}
			}
			for name, forge := range map[string]func() error{
				"a leaf": func() error {
					other := slices.Clone(leaves)
					other[0].Hash[3] ^= 1
					return translog.CheckInclusions(proof, c, other)
				},
				"an index": func() error {
					other := slices.Clone(leaves)
					other[0].Index = (other[0].Index + 1) % c.Size
					return translog.CheckInclusions(proof, c, other)
				},
				"beyond the tree": func() error {
					return translog.CheckInclusions(proof, c, append(slices.Clone(leaves), translog.Leaf{Index: c.Size}))
				},
				"nothing": func() error { return translog.CheckInclusions(proof, c, nil) },
				"more":    func() error { return translog.CheckInclusions(append(slices.Clone(proof), tlog.Hash{}), c, leaves) },
				"another root": func() error {
					other := c
					other.Root[0] ^= 1
					return translog.CheckInclusions(proof, other, leaves)
				},
			} {
				if name == "an index" && c.Size == 1 {
					continue
				}
				if err := forge(); dossier.KindOf(err) != dossier.KindDenied {
					t.Errorf("%v of %d, %s: %v", indexes, c.Size, name, err)
				}
			}
			for i := range proof {
				other := slices.Clone(proof)
				other[i][7] ^= 1
				if err := translog.CheckInclusions(other, c, leaves); err == nil {
					t.Errorf("%v of %d: hash %d was changed and nobody minds", indexes, c.Size, i)
				}
				if err := translog.CheckInclusions(slices.Delete(slices.Clone(proof), i, i+1), c, leaves); err == nil {
					t.Errorf("%v of %d: hash %d was left out and nobody minds", indexes, c.Size, i)
				}
			}
		}
	}
	for _, indexes := range [][]int64{nil, {-1}, {0, int64(l.n)}} {
		err := l.store.View(t.Context(), func(r store.Reader) error {
			_, err := translog.Inclusions(t.Context(), r, indexes, int64(l.n))
			return err
		})
		if dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("Inclusions of %v: %v", indexes, err)
		}
	}
}

func sortedHashes(hashes []tlog.Hash) []string {
	var list []string
	for _, h := range hashes {
		list = append(list, fmt.Sprintf("%x", h[:]))
	}
	slices.Sort(list)
	return list
}
