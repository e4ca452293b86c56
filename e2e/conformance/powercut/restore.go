// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package powercut

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// sector is how much a disk writes at once.
const sector = 512 // bytes

// Luck decides about what was not synced. nil: all of it is lost.
type Luck = *rand.Rand

// node is a file or a directory.
type node struct {
	dir     bool
	data    []byte           // of a file: durable
	names   map[string]*node // of a directory: durable
	pending []change
	now     map[string]*node // of a directory: as the program sees it
	offset  int64            // where the next plain write goes
}

// change is one that is not durable yet.
type change struct {
	at   int // operation
	op   op
	name string // of a directory's entry
	node *node  // nil: the name goes
}

func newNode(dir bool) *node {
	n := &node{dir: dir}
	if dir {
		n.names, n.now = map[string]*node{}, map[string]*node{}
	}
	return n
}

// Restore lays out in dest, which must not be there, what the disk may hold when the power
// fails after the first operations.
func (t *Trace) Restore(dest string, point int, luck Luck) error {
	root := newNode(true)
	for i, o := range t.ops[:point] {
		if err := root.apply(i, o); err != nil {
			return fmt.Errorf("operation %d on %s: %w", i, o.path, err)
		}
	}
	return root.lay(dest, luck)
}

var errNoName = errors.New("there is no such name")

// find returns what a path means to the program now, and the directory it lies in.
func (n *node) find(p string) (parent, found *node, err error) {
	if p == "." {
		return nil, n, nil
	}
	parent = n
	if dir := path.Dir(p); dir != "." {
		if _, parent, err = n.find(dir); err != nil {
			return nil, nil, err
		}
	}
	if parent == nil || !parent.dir {
		return nil, nil, errNoName
	}
	return parent, parent.now[path.Base(p)], nil
}

// apply does an operation.
func (n *node) apply(i int, o op) error {
	parent, found, err := n.find(o.path)
	if err != nil {
		return err
	}
	if found == nil && o.kind != makeFile && o.kind != makeDir {
		return errNoName
	}
	switch o.kind {
	case makeFile, makeDir:
		if found == nil {
			parent.enter(i, path.Base(o.path), newNode(o.kind == makeDir))
		}
	case seek:
		found.offset = o.offset
	case write:
		if o.offset < 0 {
			o.offset = found.offset
			found.offset += int64(len(o.data))
		}
		found.pending = append(found.pending, change{at: i, op: o})
	case truncate:
		found.pending = append(found.pending, change{at: i, op: o})
	case move, link:
		target, _, err := n.find(o.target)
		if err != nil {
			return err
		}
		target.enter(i, path.Base(o.target), found)
		if o.kind == move {
			parent.enter(i, path.Base(o.path), nil)
		}
	case remove:
		parent.enter(i, path.Base(o.path), nil)
	case sync:
		found.pending = slices.DeleteFunc(found.pending, func(c change) bool {
			if c.at < o.covers {
				found.settle(c, len(c.op.data))
			}
			return c.at < o.covers
		})
	}
	return nil
}

// enter changes an entry of a directory.
func (n *node) enter(i int, name string, to *node) {
	if to == nil {
		delete(n.now, name)
	} else {
		n.now[name] = to
	}
	n.pending = append(n.pending, change{at: i, name: name, node: to})
}

// settle makes a change durable; of a write the first bytes.
func (n *node) settle(c change, bytes int) {
	switch {
	case n.dir && c.node == nil:
		delete(n.names, c.name)
	case n.dir:
		n.names[c.name] = c.node
	case c.op.kind == truncate:
		n.resize(c.op.offset)
	default:
		if end := c.op.offset + int64(bytes); end > int64(len(n.data)) {
			n.resize(end)
		}
		copy(n.data[c.op.offset:], c.op.data[:bytes])
	}
}

func (n *node) resize(size int64) {
	if size <= int64(len(n.data)) {
		n.data = n.data[:size]
		return
	}
	n.data = append(n.data, make([]byte, size-int64(len(n.data)))...)
}

// lay writes a node. What was not synced is lost or, where luck decides, there: of
// a directory's changes the first ones, of a file's any, torn where they may be.
func (n *node) lay(dest string, luck Luck) error {
	pending := n.pending
	if luck == nil {
		pending = nil
	} else if n.dir {
		pending = pending[:luck.IntN(len(pending)+1)]
	}
	for _, c := range pending {
		bytes := len(c.op.data)
		if !n.dir {
			switch luck.IntN(4) {
			case 0:
				continue
			case 1:
				bytes = min(bytes, luck.IntN(bytes/sector+1)*sector)
			}
		}
		n.settle(c, bytes)
	}
	n.pending = nil // it may have two names
	if !n.dir {
		return os.WriteFile(dest, n.data, 0o600)
	}
	if err := os.Mkdir(dest, 0o700); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		if err := n.names[name].lay(filepath.Join(dest, name), luck); err != nil {
			return err
		}
	}
	return nil
}
