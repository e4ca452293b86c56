// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package rpmdb

import (
	"encoding/binary"
	"iter"
)

// Of Berkeley DB's format: the magic of a hash table, the types of its pages,
// the type of an item that lies on pages of its own, and the size of what is in
// front of each page.
const (
	berkeleyHash     = 0x00061561
	pageHashUnsorted = 2
	pageOverflow     = 7
	pageHash         = 13
	itemOffPage      = 3
	pageHead         = 26
)

// berkeley reads the values of a hash table. Packages are larger than a page, so
// each lies on a chain of pages of its own; the table's pages say where it
// begins.
func (f *file) berkeley(head []byte) (iter.Seq2[[]byte, error], error) {
	var order binary.ByteOrder
	switch {
	case binary.LittleEndian.Uint32(head[12:]) == berkeleyHash:
		order = binary.LittleEndian
	case binary.BigEndian.Uint32(head[12:]) == berkeleyHash:
		order = binary.BigEndian
	default:
		return nil, broken("it is no hash table of Berkeley DB, and no other database of rpm")
	}
	size := int64(order.Uint32(head[20:]))
	if size < 512 || size > 64<<10 || size&(size-1) != 0 {
		return nil, broken("its pages have an impossible size")
	}
	return func(yield func([]byte, error) bool) {
		page := make([]byte, size)
		for offset := size; offset+size <= f.size; offset += size {
			if err := f.at(page, offset); err != nil {
				yield(nil, err)
				return
			}
			if page[25] != pageHash && page[25] != pageHashUnsorted {
				continue
			}
			// Keys and values take turns.
			for i := 1; i < int(order.Uint16(page[20:])); i += 2 {
				header, err := f.berkeleyItem(page, i, order)
				if header == nil && err == nil {
					continue
				}
				if !yield(header, err) || err != nil {
					return
				}
			}
		}
	}, nil
}

// berkeleyItem returns item i of a page, nil when it is too small for a package.
func (f *file) berkeleyItem(page []byte, i int, order binary.ByteOrder) ([]byte, error) {
	index := pageHead + 2*i
	if index+2 > len(page) {
		return nil, broken("a page has more items than room")
	}
	at := int(order.Uint16(page[index:]))
	if at >= len(page) {
		return nil, broken("an item lies beyond its page")
	}
	if page[at] != itemOffPage {
		return nil, nil
	}
	if at+12 > len(page) {
		return nil, broken("an item lies beyond its page")
	}
	next, total := order.Uint32(page[at+4:]), order.Uint32(page[at+8:])
	out, err := f.buffer(uint64(total))
	if err != nil {
		return nil, err
	}
	part := make([]byte, len(page))
	for filled := 0; filled < len(out); {
		if err := f.at(part, int64(next)*int64(len(page))); err != nil {
			return nil, err
		}
		n := int(order.Uint16(part[22:]))
		if part[25] != pageOverflow || n == 0 || n > len(part)-pageHead {
			return nil, broken("the pages of a package are not chained")
		}
		filled += copy(out[filled:], part[pageHead:pageHead+n])
		next = order.Uint32(part[16:])
	}
	return out, nil
}
