// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
)

// What this file holds is the map of the log: for each subject its head, which is the
// newest of its facts that are in the log, in a Merkle tree of its own
// (docs/spec/log.md). Its root is an extension of the checkpoint.

// Head is the newest fact of a subject that is in the log.
type Head struct {
	Subject dossier.Digest `json:"subject"`
	Seq     int64          `json:"seq"` // how many facts the subject has in the log
	Leaf    dossier.Digest `json:"leaf"`
}

// headKey is where a subject stands in the map: 256 bits, the first leading left or
// right from the root.
type headKey = [sha256.Size]byte

func keyOf(subject dossier.Digest) headKey {
	return sha256.Sum256([]byte("dossier/subject/v1\n" + subject + "\n"))
}

// headLeaf is a head as the map has it.
type headLeaf struct {
	key   headKey
	value tlog.Hash // of the head's text
}

func (h Head) leaf() headLeaf {
	text := fmt.Appendf(nil, "dossier/head/v1\n%s\n%d\n%s\n", h.Subject, h.Seq, h.Leaf)
	return headLeaf{keyOf(h.Subject), sha256.Sum256(text)}
}

func compareLeaves(a, b headLeaf) int { return bytes.Compare(a.key[:], b.key[:]) }

// sum is the hash over a part of the map.
type sum struct {
	kind byte
	hash tlog.Hash // all zero when empty
}

// The kinds of part.
const (
	emptyPart byte = iota // no subject
	leafPart              // one, at whatever depth
	innerPart             // several
)

func (l headLeaf) sum() sum {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(l.key[:])
	h.Write(l.value[:])
	return sum{leafPart, tlog.Hash(h.Sum(nil))}
}

// join returns the sum over two halves. One subject alone moves up to
// where it is no longer alone, so that proofs are as long as the map is large.
func join(left, right sum) sum {
	switch {
	case right.kind == emptyPart && left.kind != innerPart:
		return left
	case left.kind == emptyPart && right.kind != innerPart:
		return right
	}
	return sum{innerPart, innerHash(left.hash, right.hash)}
}

func innerHash(left, right tlog.Hash) tlog.Hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// bitOf returns a bit of a key, the first being 0.
func bitOf(key headKey, bit int) byte { return key[bit/8] >> (7 - bit%8) & 1 }

// halves parts sorted leaves, all bits of which before bit are equal.
func halves(leaves []headLeaf, bit int) (left, right []headLeaf) {
	i, _ := slices.BinarySearchFunc(leaves, byte(1), func(l headLeaf, want byte) int { return int(bitOf(l.key, bit)) - int(want) })
	return leaves[:i], leaves[i:]
}

// sumOf returns the sum over sorted leaves, all bits of which before bit are equal.
func sumOf(leaves []headLeaf, bit int) sum {
	switch len(leaves) {
	case 0:
		return sum{}
	case 1:
		return leaves[0].sum()
	}
	left, right := halves(leaves, bit)
	return join(sumOf(left, bit+1), sumOf(right, bit+1))
}

// sumOfParts returns the sum over parts that lie side by side: a power of two.
func sumOfParts(parts []sum) sum {
	if len(parts) == 1 {
		return parts[0]
	}
	half := len(parts) / 2
	return join(sumOfParts(parts[:half]), sumOfParts(parts[half:]))
}
