// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package rpmdb

import (
	"encoding/binary"
	"iter"
)

// Types of pages of an SQLite table (SQLite file format, section 1.6).
const (
	pageInterior = 0x05
	pageLeaf     = 0x0d
)

// maxDepth bounds a tree of pages. SQLite's own bound is 20.
const maxDepth = 20

// sqliteFile is an SQLite database.
type sqliteFile struct {
	*file
	page   int64 // bytes of a page
	usable int64 // bytes of a page that hold data
}

// sqlite reads the blobs of the table Packages.
func (f *file) sqlite(head []byte) (iter.Seq2[[]byte, error], error) {
	s := sqliteFile{file: f, page: int64(binary.BigEndian.Uint16(head[16:]))}
	if s.page == 1 {
		s.page = 64 << 10
	}
	s.usable = s.page - int64(head[20])
	if s.page < 512 || s.page&(s.page-1) != 0 || s.usable < 480 {
		return nil, broken("its pages have an impossible size")
	}
	root, err := s.packagesTable()
	if err != nil {
		return nil, err
	}
	return func(yield func([]byte, error) bool) {
		s.walk(root, 0, func(record []byte, err error) bool {
			if err != nil {
				yield(nil, err)
				return false
			}
			columns, err := columnsOf(record)
			if err == nil && (len(columns) < 2 || columns[1] == nil) {
				err = broken("a row of its table has no package")
			}
			if err != nil {
				yield(nil, err)
				return false
			}
			return yield(columns[1], nil)
		})
	}, nil
}

// packagesTable finds the first page of the table in the schema, which is the
// table on page 1: type, name, table, page, statement.
func (s sqliteFile) packagesTable() (uint32, error) {
	var root uint32
	var failed error
	s.walk(1, 0, func(record []byte, err error) bool {
		columns, columnErr := columnsOf(record)
		if err == nil {
			err = columnErr
		}
		if err != nil {
			failed = err
			return false
		}
		if len(columns) >= 4 && string(columns[0]) == "table" && string(columns[1]) == "Packages" {
			for _, b := range columns[3] {
				root = root<<8 | uint32(b)
			}
			return false
		}
		return true
	})
	if failed == nil && root == 0 {
		failed = broken("it has no table Packages")
	}
	return root, failed
}

// walk calls do for each row of a table, in order, until it returns false or
// something is broken, which do gets. It reports whether to go on.
func (s sqliteFile) walk(number uint32, depth int, do func([]byte, error) bool) bool {
	page := make([]byte, s.page)
	if number == 0 || depth > maxDepth {
		do(nil, broken("its pages are no tree"))
		return false
	}
	if err := s.at(page, int64(number-1)*s.page); err != nil {
		do(nil, err)
		return false
	}
	head := page
	if number == 1 {
		head = page[100:]
	}
	kind, cells := head[0], int(binary.BigEndian.Uint16(head[3:]))
	pointers := head[8:]
	if kind == pageInterior {
		pointers = head[12:]
	}
	if kind != pageInterior && kind != pageLeaf || 2*cells > len(pointers) {
		do(nil, broken("a page is not one of a table"))
		return false
	}
	for i := range cells {
		at := int64(binary.BigEndian.Uint16(pointers[2*i:]))
		if at+4 > s.usable {
			do(nil, broken("a row lies beyond its page"))
			return false
		}
		if kind == pageInterior {
			if !s.walk(binary.BigEndian.Uint32(page[at:]), depth+1, do) {
				return false
			}
			continue
		}
		record, err := s.record(page[:s.usable], at)
		if !do(record, err) || err != nil {
			return false
		}
	}
	return kind == pageLeaf || s.walk(binary.BigEndian.Uint32(head[8:]), depth+1, do)
}

// record returns the row in a cell, of which the end may lie on a chain of pages
// of its own (section 1.6, "Cell Payload Overflow Pages").
func (s sqliteFile) record(page []byte, at int64) ([]byte, error) {
	cell := page[at:]
	size, cell, ok := varint(cell)
	if ok {
		_, cell, ok = varint(cell)
	}
	if !ok {
		return nil, broken("a row lies beyond its page")
	}
	out, err := s.buffer(size)
	if err != nil {
		return nil, err
	}
	local := s.local(int64(size))
	if local > int64(len(cell)) {
		return nil, broken("a row lies beyond its page")
	}
	filled := copy(out[:local], cell)
	if filled == len(out) {
		return out, nil
	}
	if len(cell) < filled+4 {
		return nil, broken("a row lies beyond its page")
	}
	next := binary.BigEndian.Uint32(cell[filled:])
	part := make([]byte, s.usable)
	for filled < len(out) {
		if next == 0 {
			return nil, broken("a row is cut off")
		}
		if err := s.at(part, int64(next-1)*s.page); err != nil {
			return nil, err
		}
		next = binary.BigEndian.Uint32(part)
		filled += copy(out[filled:], part[4:])
	}
	return out, nil
}

// local returns how many bytes of a row of that size lie in its cell.
func (s sqliteFile) local(size int64) int64 {
	if size <= s.usable-35 {
		return size
	}
	least := (s.usable-12)*32/255 - 23
	if n := least + (size-least)%(s.usable-4); n <= s.usable-35 {
		return n
	}
	return least
}

// columnsOf returns the values of a row; numbers as big-endian bytes, NULL as
// nil (section 2.1, "Record Format").
func columnsOf(record []byte) ([][]byte, error) {
	size, types, ok := varint(record)
	read := len(record) - len(types)
	if !ok || size > uint64(len(record)) || size < uint64(read) {
		return nil, broken("a row has no head")
	}
	types, values := types[:size-uint64(read)], record[size:]
	var out [][]byte
	for len(types) > 0 {
		var kind uint64
		if kind, types, ok = varint(types); !ok {
			return nil, broken("a row has no head")
		}
		n := uint64(0)
		switch {
		case kind >= 12:
			n = (kind - 12) / 2
		case kind >= 1 && kind <= 7:
			n = [...]uint64{0, 1, 2, 3, 4, 6, 8, 8}[kind]
		}
		if n > uint64(len(values)) {
			return nil, broken("a row is cut off")
		}
		value := values[:n:n]
		if kind == 0 {
			value = nil
		}
		out, values = append(out, value), values[n:]
	}
	return out, nil
}

// varint reads a number of 1 to 9 bytes, 7 bits in each but the ninth.
func varint(b []byte) (n uint64, rest []byte, ok bool) {
	for i := 0; i < len(b) && i < 9; i++ {
		if i == 8 {
			return n<<8 | uint64(b[i]), b[9:], true
		}
		n = n<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}
