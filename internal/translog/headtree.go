// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// The map is kept in nodes of the store. A node has the subjects whose keys begin
// with its prefix, in hexadecimal digits: up to nodeLeaves of them as
// they are, and more of them in the nodes of the sixteen prefixes that are one digit longer.
// What is rewritten for a new fact is one node a digit, and those nearest the root once
// for all facts of a transaction.
const (
	nodeLeaves = 16
	fanOut     = 16
	digitBits  = 4
)

// headNode is a node: leaves, sorted, or parts.
type headNode struct {
	leaves []headLeaf
	parts  []sum // fanOut of them; nil: leaves
}

// The first byte of an encoded node.
const (
	leafNode byte = iota
	partNode
)

func (n *headNode) encode() []byte {
	if n.parts == nil {
		b := make([]byte, 0, 1+len(n.leaves)*2*tlog.HashSize)
		b = append(b, leafNode)
		for _, l := range n.leaves {
			b = append(append(b, l.key[:]...), l.value[:]...)
		}
		return b
	}
	b := make([]byte, 0, 1+fanOut*(1+tlog.HashSize))
	b = append(b, partNode)
	for _, p := range n.parts {
		b = append(append(b, p.kind), p.hash[:]...)
	}
	return b
}

func decodeNode(prefix string, b []byte) (*headNode, error) {
	fail := func() (*headNode, error) {
		return nil, dossier.Errorf(dossier.KindCorrupt, "reading the map of the log", fmt.Sprintf("node %q", prefix), "it has a form that no server writes")
	}
	n := &headNode{}
	switch {
	case len(b) == 0:
		return fail()
	case b[0] == partNode && len(b) == 1+fanOut*(1+tlog.HashSize):
		n.parts = make([]sum, fanOut)
		for i := range n.parts {
			at := b[1+i*(1+tlog.HashSize):]
			n.parts[i] = sum{at[0], tlog.Hash(at[1:])}
			if at[0] > innerPart {
				return fail()
			}
		}
	case b[0] == leafNode && (len(b)-1)%(2*tlog.HashSize) == 0:
		for b = b[1:]; len(b) > 0; b = b[2*tlog.HashSize:] {
			n.leaves = append(n.leaves, headLeaf{headKey(b), tlog.Hash(b[tlog.HashSize:])})
		}
		if !slices.IsSortedFunc(n.leaves, compareLeaves) {
			return fail()
		}
	default:
		return fail()
	}
	return n, nil
}

// sum returns the sum over the node of a prefix.
func (n *headNode) sum(prefix string) sum {
	if n.parts != nil {
		return sumOfParts(n.parts)
	}
	return sumOf(n.leaves, len(prefix)*digitBits)
}

const hexDigits = "0123456789abcdef"

// digit returns the digit of a key after so many.
func digit(key headKey, depth int) int {
	return int(key[depth/2]>>(digitBits*(1-depth%2))) & 0xf
}

// headTree is the map, whose nodes are loaded as they are needed.
type headTree struct {
	load    func(prefixes []string) (map[string][]byte, error)
	signed  sum                  // over all of it; empty: not known
	nodes   map[string]*headNode // nil: there is none
	changed map[string]bool
}

// newHeadTree returns a map. root is what was signed for it, or nil.
func newHeadTree(root *tlog.Hash, load func([]string) (map[string][]byte, error)) *headTree {
	signed := sum{}
	if root != nil {
		signed = sum{innerPart, *root}
	}
	return &headTree{load: load, signed: signed, nodes: map[string]*headNode{}, changed: map[string]bool{}}
}

// reach loads the nodes on the ways to the keys, those of a depth together.
func (t *headTree) reach(keys []headKey) error {
	for {
		missing := map[string]bool{}
		if _, ok := t.nodes[""]; !ok {
			missing[""] = true
		} else {
			for _, key := range keys {
				if prefix, node := t.find(key); node == nil {
					if _, known := t.nodes[prefix]; !known {
						missing[prefix] = true
					}
				}
			}
		}
		if len(missing) == 0 {
			return nil
		}
		if err := t.fetch(slices.Sorted(maps.Keys(missing))); err != nil {
			return err
		}
	}
}

// fetch loads nodes, those above which were loaded.
func (t *headTree) fetch(prefixes []string) error {
	found, err := t.load(prefixes)
	if err != nil {
		return err
	}
	for _, prefix := range prefixes {
		t.nodes[prefix] = nil
		if b, ok := found[prefix]; ok {
			if t.nodes[prefix], err = decodeNode(prefix, b); err != nil {
				return err
			}
		}
		if err := t.check(prefix); err != nil {
			return err
		}
	}
	return nil
}

// check compares a node that was loaded with what the one above it says. Nobody
// signs for what somebody else wrote into the map.
func (t *headTree) check(prefix string) error {
	got := sum{}
	if n := t.nodes[prefix]; n != nil {
		got = n.sum(prefix)
	}
	want := sum{}
	if prefix != "" {
		want = t.nodes[prefix[:len(prefix)-1]].parts[strings.IndexByte(hexDigits, prefix[len(prefix)-1])]
	} else if want = t.signed; want.kind == emptyPart {
		return nil
	} else {
		got.kind = want.kind
	}
	if got == want {
		return nil
	}
	return &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading the map of the log", Subject: fmt.Sprintf("node %q", prefix),
		Err: errors.New("it is not what was signed for"), Hint: "dossier log verify says what was changed"}
}

// find returns the node in which the key is or would be: nil when there is none, or
// it was not loaded.
func (t *headTree) find(key headKey) (string, *headNode) {
	prefix := make([]byte, 0, 2*len(key))
	node := t.nodes[""]
	for node != nil && node.parts != nil && len(prefix) < 2*len(key) {
		prefix = append(prefix, hexDigits[digit(key, len(prefix))])
		node = t.nodes[string(prefix)]
	}
	return string(prefix), node
}

// put sets heads, whose ways were reached.
func (t *headTree) put(leaf headLeaf) {
	prefix, node := t.find(leaf.key)
	if node == nil {
		node = &headNode{}
	}
	i, found := slices.BinarySearchFunc(node.leaves, leaf, compareLeaves)
	if found {
		node.leaves[i] = leaf
	} else {
		node.leaves = slices.Insert(node.leaves, i, leaf)
	}
	t.set(prefix, node)
	for n := range len(prefix) {
		t.changed[prefix[:n]] = true
	}
}

// set puts a node in its place, and parts it when it has too many leaves.
func (t *headTree) set(prefix string, node *headNode) {
	t.nodes[prefix], t.changed[prefix] = node, true
	if len(node.leaves) <= nodeLeaves {
		return
	}
	leaves := node.leaves
	node.leaves, node.parts = nil, make([]sum, fanOut)
	for i := range fanOut {
		var own []headLeaf
		for _, l := range leaves {
			if digit(l.key, len(prefix)) == i {
				own = append(own, l)
			}
		}
		child := prefix + hexDigits[i:i+1]
		t.nodes[child] = nil
		if len(own) > 0 {
			t.set(child, &headNode{leaves: own})
		}
	}
}

// root computes the sums that changed and returns that over all.
func (t *headTree) root() tlog.Hash {
	list := slices.SortedFunc(maps.Keys(t.changed), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	for _, prefix := range list {
		if prefix == "" {
			continue
		}
		parent := t.nodes[prefix[:len(prefix)-1]]
		parent.parts[strings.IndexByte(hexDigits, prefix[len(prefix)-1])] = t.nodes[prefix].sum(prefix)
	}
	if t.nodes[""] == nil {
		return tlog.Hash{}
	}
	return t.nodes[""].sum("").hash
}

// changes returns the nodes that are not as they were loaded. root was called.
func (t *headTree) changes() []store.MapNode {
	var list []store.MapNode
	for _, prefix := range slices.Sorted(maps.Keys(t.changed)) {
		list = append(list, store.MapNode{Prefix: prefix, Content: t.nodes[prefix].encode()})
	}
	return list
}

// update sets heads and returns the root.
func (t *headTree) update(heads []Head) (tlog.Hash, error) {
	leaves := make([]headLeaf, len(heads))
	keys := make([]headKey, len(heads))
	for i, h := range heads {
		leaves[i] = h.leaf()
		keys[i] = leaves[i].key
	}
	keys = append(keys, headKey{}) // the root is wanted whatever changes
	if err := t.reach(keys); err != nil {
		return tlog.Hash{}, err
	}
	for _, l := range leaves {
		t.put(l)
	}
	return t.root(), nil
}

// lastHeads returns the heads that entries leave behind, the last of each subject.
func lastHeads(entries []store.LogEntry) []Head {
	last := map[dossier.Digest]Head{}
	for _, e := range entries {
		last[e.Subject] = Head{e.Subject, e.Seq, e.Leaf}
	}
	list := make([]Head, 0, len(last))
	for _, subject := range slices.Sorted(maps.Keys(last)) {
		list = append(list, last[subject])
	}
	return list
}
