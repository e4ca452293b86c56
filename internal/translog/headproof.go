// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// The parts of a proof of heads, which is the map from the root down and from left to
// right, as far as the subjects in question need it (docs/spec/proof.md).
const (
	proofEmpty byte = iota // there is no subject here
	proofHead              // the head in question is the only one here
	proofOther             // another one is; its key and value follow
	proofInner             // the left half follows, then the right one
	proofHash              // nothing in question is here; the hash follows
)

// Heads returns the heads of subjects, those of them that have facts in the log,
// and proves for all of them what the map says at the size of the log.
// KindInvalid: there are no subjects.
func Heads(ctx context.Context, r store.Reader, subjects []dossier.Digest) ([]Head, []byte, error) {
	subjects = slices.Compact(slices.Sorted(slices.Values(subjects)))
	if len(subjects) == 0 {
		return nil, nil, dossier.Errorf(dossier.KindInvalid, "proving heads", "", "there are no subjects")
	}
	ends, err := r.LogHeads(ctx, subjects)
	if err != nil {
		return nil, nil, err
	}
	var heads []Head
	for _, e := range ends {
		heads = append(heads, Head{e.Subject, e.Seq, e.Leaf})
	}
	keys := make([]headKey, len(subjects))
	for i, s := range subjects {
		keys[i] = keyOf(s)
	}
	slices.SortFunc(keys, func(a, b headKey) int { return bytes.Compare(a[:], b[:]) })
	t := newHeadTree(nil, func(prefixes []string) (map[string][]byte, error) { return r.LogMap(ctx, prefixes) })
	if err := t.reach(keys); err != nil {
		return nil, nil, err
	}
	proof, err := t.prove(nil, t.part(""), 0, keys)
	return heads, proof, err
}

// headPart is a part of the map at some depth: leaves, parts that lie side by side, or
// only a sum.
type headPart struct {
	prefix string // of the node; of a single part, its own
	leaves []headLeaf
	parts  []sum
	first  int // which part of the node is the first
	sum    sum
}

func (t *headTree) part(prefix string) headPart {
	p := headPart{prefix: prefix}
	if n := t.nodes[prefix]; n != nil {
		p.leaves, p.parts, p.sum = n.leaves, n.parts, n.sum(prefix)
	}
	return p
}

func (t *headTree) halves(p headPart, bit int) (left, right headPart) {
	if p.parts == nil {
		a, b := halves(p.leaves, bit)
		return headPart{prefix: p.prefix, leaves: a, sum: sumOf(a, bit+1)}, headPart{prefix: p.prefix, leaves: b, sum: sumOf(b, bit+1)}
	}
	half := len(p.parts) / 2
	of := func(parts []sum, first int) headPart {
		if len(parts) > 1 {
			return headPart{prefix: p.prefix, parts: parts, first: first, sum: sumOfParts(parts)}
		}
		child := p.prefix + hexDigits[first:first+1]
		if t.nodes[child] != nil {
			return t.part(child)
		}
		return headPart{prefix: child, sum: parts[0]}
	}
	return of(p.parts[:half], p.first), of(p.parts[half:], p.first+half)
}

// prove appends what proves the keys, which lie in the part, to b.
func (t *headTree) prove(b []byte, p headPart, bit int, keys []headKey) ([]byte, error) {
	switch {
	case p.sum.kind == emptyPart:
		return append(b, proofEmpty), nil
	case len(keys) == 0:
		return append(append(b, proofHash), p.sum.hash[:]...), nil
	case p.sum.kind == innerPart:
		left, right := t.halves(p, bit)
		i := firstRight(keys, bit)
		b, err := t.prove(append(b, proofInner), left, bit+1, keys[:i])
		if err != nil {
			return nil, err
		}
		return t.prove(b, right, bit+1, keys[i:])
	}
	leaf, err := t.only(p, bit)
	switch {
	case err != nil:
		return nil, err
	case slices.Contains(keys, leaf.key):
		return append(b, proofHead), nil
	}
	return append(append(append(b, proofOther), leaf.key[:]...), leaf.value[:]...), nil
}

// only returns the leaf that is alone in a part, maybe further down and where none of the keys
// has led yet.
func (t *headTree) only(p headPart, bit int) (headLeaf, error) {
	for p.parts != nil {
		left, right := t.halves(p, bit)
		if p = left; left.sum.kind == emptyPart {
			p = right
		}
		bit++
	}
	if len(p.leaves) == 0 {
		if err := t.fetch([]string{p.prefix}); err != nil {
			return headLeaf{}, err
		}
		if p = t.part(p.prefix); p.parts != nil {
			return t.only(p, bit)
		}
	}
	if len(p.leaves) == 0 {
		return headLeaf{}, dossier.Errorf(dossier.KindCorrupt, "reading the map of the log", fmt.Sprintf("node %q", p.prefix), "it has no leaf where there is one")
	}
	return p.leaves[0], nil
}

// firstRight returns which of sorted keys, all bits of which before bit are equal, is the
// first in the right half.
func firstRight(keys []headKey, bit int) int {
	i, _ := slices.BinarySearchFunc(keys, byte(1), func(k headKey, want byte) int { return int(bitOf(k, bit)) - int(want) })
	return i
}

// CheckHeads checks a proof by Heads against the root of a map: that the heads are the
// newest facts of their subjects, and that those of the subjects that have no head are not in
// the log. KindDenied: it does not prove that.
func CheckHeads(proof []byte, root tlog.Hash, subjects []dossier.Digest, heads []Head) error {
	w := headWalk{proof: proof, leaves: map[headKey]headLeaf{}}
	var keys []headKey
	for _, s := range slices.Compact(slices.Sorted(slices.Values(subjects))) {
		keys = append(keys, keyOf(s))
	}
	slices.SortFunc(keys, func(a, b headKey) int { return bytes.Compare(a[:], b[:]) })
	fail := func(err error) error {
		return &dossier.Error{Kind: dossier.KindDenied, Op: "checking the newest facts of digests", Err: err}
	}
	for _, h := range heads {
		if !slices.Contains(subjects, h.Subject) {
			return fail(fmt.Errorf("it was not asked about %s", h.Subject))
		}
		if strings.ContainsAny(string(h.Leaf), "\n") {
			return fail(errors.New("a leaf is no digest"))
		}
		l := h.leaf()
		w.leaves[l.key] = l
	}
	if len(keys) == 0 || len(w.leaves) != len(heads) {
		return fail(errors.New("a head is there twice, or nothing is"))
	}
	got, err := w.root(0, headKey{}, keys)
	if err == nil && (got != root || len(w.proof) > 0 || len(w.leaves) > 0) {
		err = errHeadProof
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

var errHeadProof = errors.New("the proof does not lead to the root of the map")

// headWalk computes a root from what is left of a proof and of the heads.
type headWalk struct {
	proof  []byte
	leaves map[headKey]headLeaf
}

func (w *headWalk) take(n int) ([]byte, error) {
	if len(w.proof) < n {
		return nil, errHeadProof
	}
	b := w.proof[:n]
	w.proof = w.proof[n:]
	return b, nil
}

// root returns the hash over the part whose keys begin with the first bits of path, in which
// the keys lie.
func (w *headWalk) root(bit int, path headKey, keys []headKey) (tlog.Hash, error) {
	op, err := w.take(1)
	if err != nil {
		return tlog.Hash{}, err
	}
	switch {
	case op[0] == proofEmpty: // a key with a head is left over, and CheckHeads sees it
		return tlog.Hash{}, nil
	case op[0] == proofHash && len(keys) == 0:
		b, err := w.take(tlog.HashSize)
		if err != nil {
			return tlog.Hash{}, err
		}
		return tlog.Hash(b), nil
	case op[0] == proofInner && len(keys) > 0 && bit < 8*len(path):
		i := firstRight(keys, bit)
		left, err := w.root(bit+1, path, keys[:i])
		if err != nil {
			return tlog.Hash{}, err
		}
		path[bit/8] |= 1 << (7 - bit%8)
		right, err := w.root(bit+1, path, keys[i:])
		return innerHash(left, right), err
	case op[0] == proofHead:
		for _, k := range keys {
			if l, ok := w.leaves[k]; ok { // of two, the other is left over
				delete(w.leaves, k)
				return l.sum().hash, nil
			}
		}
	case op[0] == proofOther && len(keys) > 0:
		return w.other(bit, path, keys)
	}
	return tlog.Hash{}, errHeadProof
}

// other reads the head of a subject that was not asked about.
func (w *headWalk) other(bit int, path headKey, keys []headKey) (tlog.Hash, error) {
	b, err := w.take(2 * tlog.HashSize)
	if err != nil {
		return tlog.Hash{}, err
	}
	l := headLeaf{headKey(b), tlog.Hash(b[tlog.HashSize:])}
	if slices.Contains(keys, l.key) {
		return tlog.Hash{}, errHeadProof
	}
	for i := range bit {
		if bitOf(l.key, i) != bitOf(path, i) {
			return tlog.Hash{}, errHeadProof
		}
	}
	return l.sum().hash, nil
}
