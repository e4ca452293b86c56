// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"bytes"
	"context"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier/internal/store"
)

// heads compares the map that the store keeps with that of the chains, and returns the
// root of the latter.
func (v *verification) heads(ctx context.Context, r store.Reader) (*tlog.Hash, error) {
	m := mapCheck{verification: v, read: func(prefixes []string) (map[string][]byte, error) { return r.LogMap(ctx, prefixes) }}
	leaves := leavesOf(v.chains)
	v.chains = nil // there is nothing left to compare with them
	all, err := m.node("", leaves)
	if err != nil {
		return nil, err
	}
	return &all.hash, m.compare()
}

// leavesOf returns the leaves of the map, sorted.
func leavesOf(chains map[headKey]link) []headLeaf {
	leaves := make([]headLeaf, 0, len(chains))
	for key, end := range chains {
		leaves = append(leaves, headLeaf{key, end.value})
	}
	slices.SortFunc(leaves, compareLeaves)
	return leaves
}

// mapCheck computes the nodes of a map and compares them with those that are kept.
type mapCheck struct {
	*verification
	read func(prefixes []string) (map[string][]byte, error)
	want []store.MapNode // not compared yet
}

// mapPage is how many nodes are compared at a time.
const mapPage = 256

// node computes the node of a prefix, and those below.
func (m *mapCheck) node(prefix string, leaves []headLeaf) (sum, error) {
	if len(leaves) == 0 {
		return sum{}, nil
	}
	n := &headNode{leaves: leaves}
	if len(leaves) > nodeLeaves {
		n = &headNode{parts: make([]sum, fanOut)}
		for i := range fanOut {
			end, _ := slices.BinarySearchFunc(leaves, i+1, func(l headLeaf, want int) int { return digit(l.key, len(prefix)) - want })
			var err error
			if n.parts[i], err = m.node(prefix+hexDigits[i:i+1], leaves[:end]); err != nil {
				return sum{}, err
			}
			leaves = leaves[end:]
		}
	}
	m.want = append(m.want, store.MapNode{Prefix: prefix, Content: n.encode()})
	if len(m.want) < mapPage {
		return n.sum(prefix), nil
	}
	return n.sum(prefix), m.compare()
}

func (m *mapCheck) compare() error {
	prefixes := make([]string, len(m.want))
	for i, n := range m.want {
		prefixes[i] = n.Prefix
	}
	got, err := m.read(prefixes)
	if err != nil {
		return err
	}
	for _, n := range m.want {
		if !bytes.Equal(got[n.Prefix], n.Content) {
			m.fault(-1, "", "node %q of the map is not what the entries give", n.Prefix)
		}
	}
	m.want = m.want[:0]
	return nil
}
