// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Tiles hold up to tileWidth hashes, 1<<tileHeight.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	tileBytes  = tileWidth * tlog.HashSize
)

// tree is a tree whose tiles are loaded as they are needed. It implements
// tlog.HashReader.
type tree struct {
	size    int64
	load    func(store.TileAt) ([]byte, error)
	tiles   map[store.TileAt][]byte
	changed map[store.TileAt]bool
}

func newTree(size int64, load func(store.TileAt) ([]byte, error)) *tree {
	return &tree{size: size, load: load, tiles: map[store.TileAt][]byte{}, changed: map[store.TileAt]bool{}}
}

// tile returns the hashes of a tile, of which there must be so many.
func (t *tree) tile(at store.TileAt, hashes int64) ([]byte, error) {
	data, ok := t.tiles[at]
	if !ok && hashes > 0 {
		var err error
		if data, err = t.load(at); err != nil {
			return nil, err
		}
		t.tiles[at] = data
	}
	if int64(len(data)) < hashes*tlog.HashSize {
		return nil, dossier.Errorf(dossier.KindCorrupt, "reading the log", fmt.Sprintf("tile %d/%d", at.Level, at.Index),
			fmt.Sprintf("it has %d bytes where %d hashes are needed", len(data), hashes))
	}
	return data, nil
}

// add appends a leaf, and to the tiles above those that are full.
func (t *tree) add(h tlog.Hash) error {
	n := t.size
	t.size++
	for level := int64(0); ; level++ {
		at := store.TileAt{Level: level, Index: n / tileWidth}
		data, err := t.tile(at, n%tileWidth)
		if err != nil {
			return err
		}
		// What lies beyond was never signed for.
		data = append(data[:n%tileWidth*tlog.HashSize:n%tileWidth*tlog.HashSize], h[:]...)
		t.tiles[at], t.changed[at] = data, true
		if len(data) < tileBytes {
			return nil
		}
		h, n = tileRoot(data), n/tileWidth
	}
}

// tileRoot returns the hash over a full tile.
func tileRoot(data []byte) tlog.Hash {
	hashes := make([]tlog.Hash, tileWidth)
	for i := range hashes {
		hashes[i] = tlog.Hash(data[i*tlog.HashSize:])
	}
	for len(hashes) > 1 {
		for i := range len(hashes) / 2 {
			hashes[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
		}
		hashes = hashes[:len(hashes)/2]
	}
	return hashes[0]
}

// ReadHashes implements tlog.HashReader.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		at := tlog.TileForIndex(tileHeight, index)
		data, err := t.tile(store.TileAt{Level: int64(at.L), Index: at.N}, int64(at.W))
		if err != nil {
			return nil, err
		}
		if hashes[i], err = tlog.HashFromTile(at, data, index); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// root returns the hash over the whole tree.
func (t *tree) root() (tlog.Hash, error) { return tlog.TreeHash(t.size, t) }

// changes returns the tiles that are not as they were loaded, from the leaves up.
func (t *tree) changes() []store.LogTile {
	var list []store.LogTile
	for _, at := range slices.SortedFunc(maps.Keys(t.changed), func(a, b store.TileAt) int {
		return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.Index, b.Index))
	}) {
		list = append(list, store.LogTile{TileAt: at, Hashes: t.tiles[at]})
	}
	return list
}
