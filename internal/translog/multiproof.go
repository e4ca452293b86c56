// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Leaf is an entry as the tree has it.
type Leaf struct {
	Index int64
	Hash  tlog.Hash // tlog.RecordHash of the entry
}

// Inclusions proves at once that several entries are in the tree of a size. The
// proof has the hashes of those subtrees, from left to right, that hold none of
// the entries and lie directly beside one that does: what several entries need it has
// once. For one entry it has the hashes of RFC 6962, 2.1.1, in another order.
// KindInvalid: an index is not in the tree.
func Inclusions(ctx context.Context, r store.LogReader, indexes []int64, size int64) ([]tlog.Hash, error) {
	indexes = slices.Compact(slices.Sorted(slices.Values(indexes)))
	if n := len(indexes); n == 0 || indexes[0] < 0 || indexes[n-1] >= size {
		return nil, dossier.Errorf(dossier.KindInvalid, "proving entries", fmt.Sprint(indexes), fmt.Sprintf("they are not among the first %d", size))
	}
	var wanted []int64 // stored hashes
	var counts []int   // how many of them make one hash of the proof
	beside(0, size, indexes, func(low, high int64) {
		parts := perfect(low, high)
		wanted, counts = append(wanted, parts...), append(counts, len(parts))
	})
	hashes, err := reading(ctx, r, size).ReadHashes(wanted)
	if err != nil {
		return nil, err
	}
	proof := make([]tlog.Hash, len(counts))
	for i, n := range counts {
		proof[i] = joined(hashes[:n])
		hashes = hashes[n:]
	}
	return proof, nil
}

// beside calls yield with the ranges of entries, from left to right, whose hashes
// prove the entries with the given indexes, which lie in [low, high).
func beside(low, high int64, indexes []int64, yield func(low, high int64)) {
	switch {
	case len(indexes) == 0:
		yield(low, high)
	case high-low > 1:
		middle := low + split(high-low)
		i, _ := slices.BinarySearch(indexes, middle)
		beside(low, middle, indexes[:i], yield)
		beside(middle, high, indexes[i:], yield)
	}
}

// split returns how many of n entries the left subtree has: the largest power of two
// below n.
func split(n int64) int64 {
	k := int64(1)
	for k*2 < n {
		k *= 2
	}
	return k
}

// perfect returns which stored hashes make up that of the range of entries, which is
// a subtree.
func perfect(low, high int64) []int64 {
	var list []int64
	for low < high {
		level, width := 0, int64(1)
		for width*2 <= high-low {
			level, width = level+1, width*2
		}
		list = append(list, tlog.StoredHashIndex(level, low/width))
		low += width
	}
	return list
}

// joined returns the hash over subtrees of falling size.
func joined(hashes []tlog.Hash) tlog.Hash {
	h := hashes[len(hashes)-1]
	for _, left := range slices.Backward(hashes[:len(hashes)-1]) {
		h = tlog.NodeHash(left, h)
	}
	return h
}

// errProof says that a proof does not prove what it should.
var errProof = errors.New("the proof does not lead to the root")

// CheckInclusions checks a proof by Inclusions that the leaves are in the tree that the
// checkpoint is of. KindDenied: it does not prove that.
func CheckInclusions(proof []tlog.Hash, c Checkpoint, leaves []Leaf) error {
	fail := func(err error) error {
		return &dossier.Error{Kind: dossier.KindDenied, Op: "checking that entries are in the log", Subject: c.Origin, Err: err}
	}
	at := map[int64]tlog.Hash{}
	var indexes []int64
	for _, l := range leaves {
		if l.Index < 0 || l.Index >= c.Size {
			return fail(fmt.Errorf("entry %d is not among the first %d", l.Index, c.Size))
		}
		if h, ok := at[l.Index]; ok && h != l.Hash {
			return fail(fmt.Errorf("entry %d is said to be two things", l.Index))
		} else if !ok {
			at[l.Index] = l.Hash
			indexes = append(indexes, l.Index)
		}
	}
	if len(indexes) == 0 {
		return fail(errors.New("there are none"))
	}
	slices.Sort(indexes)
	walk := inclusionWalk{at, proof}
	root, err := walk.root(0, c.Size, indexes)
	if err == nil && (root != c.Root || len(walk.proof) > 0) {
		err = errProof
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// inclusionWalk computes a root from leaves and what is left of a proof.
type inclusionWalk struct {
	leaves map[int64]tlog.Hash
	proof  []tlog.Hash
}

func (w *inclusionWalk) root(low, high int64, indexes []int64) (tlog.Hash, error) {
	if len(indexes) == 0 {
		if len(w.proof) == 0 {
			return tlog.Hash{}, errProof
		}
		h := w.proof[0]
		w.proof = w.proof[1:]
		return h, nil
	}
	if high-low == 1 {
		return w.leaves[low], nil
	}
	middle := low + split(high-low)
	i, _ := slices.BinarySearch(indexes, middle)
	left, err := w.root(low, middle, indexes[:i])
	if err != nil {
		return tlog.Hash{}, err
	}
	right, err := w.root(middle, high, indexes[i:])
	return tlog.NodeHash(left, right), err
}
