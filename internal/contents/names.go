// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"dossier.dev/dossier"
)

// Names is a set of paths of which only hashes are kept, 8 bytes each, sorted:
// enough to tell whether a path is among them. Two paths are taken for one
// another once in 2^64.
type Names []uint64

// nameHash is the first 8 bytes of the SHA-256 of a path.
func nameHash(path string) uint64 {
	var most [256]byte // so that paths take no memory; longer ones do
	sum := sha256.Sum256(append(most[:0], path...))
	return binary.BigEndian.Uint64(sum[:])
}

// normal sorts n and drops doubles.
func (n Names) normal() Names {
	slices.Sort(n)
	return slices.Compact(n)
}

// Has reports whether a path is in the set, which must be sorted.
func (n Names) Has(path string) bool {
	if len(n) == 0 {
		return false
	}
	return n.has(nameHash(path))
}

// has is Has for the hash of a path. Hashes are spread evenly: that tells about where one
// is, which a search begins from.
func (n Names) has(hash uint64) bool {
	if len(n) == 0 {
		return false
	}
	near, _ := bits.Mul64(hash, uint64(len(n)))
	low, high := int(near), int(near)
	for step := 16; low > 0 && n[low] > hash; step *= 2 {
		low = max(0, low-step)
	}
	for step := 16; high < len(n) && n[high] < hash; step *= 2 {
		high = min(len(n), high+step)
	}
	_, ok := slices.BinarySearch(n[low:min(len(n), high+1)], hash)
	return ok
}

// MarshalText writes the hashes one after the other, big-endian, in base64.
func (n Names) MarshalText() ([]byte, error) {
	b := make([]byte, 0, 8*len(n))
	for _, h := range n {
		b = binary.BigEndian.AppendUint64(b, h)
	}
	return base64.StdEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText is the inverse of MarshalText. KindInvalid: the text is not
// what MarshalText writes of a sorted set.
func (n *Names) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err == nil && len(b)%8 != 0 {
		err = fmt.Errorf("%d bytes are no whole number of hashes", len(b))
	}
	if err != nil {
		return &dossier.Error{Kind: dossier.KindInvalid, Op: "reading names of a layer", Err: err}
	}
	out := make(Names, 0, len(b)/8)
	for ; len(b) > 0; b = b[8:] {
		out = append(out, binary.BigEndian.Uint64(b))
	}
	if !slices.IsSorted(out) {
		return dossier.Errorf(dossier.KindInvalid, "reading names of a layer", "", "they are not sorted")
	}
	*n = out
	return nil
}
