// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package rpmdb reads the databases in which rpm keeps what is installed, in
// all forms that images have: the hash tables of Berkeley DB ("Packages"), rpm's
// own format ("Packages.db"), and SQLite ("rpmdb.sqlite").
//
// It promises to be safe on any bytes: it starts no goroutine, writes no file,
// calls no other program, follows no chain in a circle, and holds one package
// at a time. A database that is broken gives the packages before the fault, and
// an error.
//
// It does not look things up by key, verify signatures, or write. A write-ahead
// log beside an SQLite database is not read.
package rpmdb

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"iter"

	"dossier.dev/dossier"
)

// Package is an installed package.
type Package struct {
	Name, Version, Release string
	Epoch                  int
	Arch                   string
	SourceRPM              string // file name of the source package
	Vendor, License        string
	Module                 string   // "name:stream:version:context"; empty: of no module
	Files                  []string // absolute paths
}

// Limits bound what is read. A zero field means its default.
type Limits struct {
	Header   int // bytes of what is kept of one package; 32 MiB
	Packages int // packages of one database; 200,000
}

// Read yields the packages of the database in r, of size bytes, in the order in
// which they lie. After an error nothing more comes. KindUnsupported: it is none
// of the three forms. KindInvalid: it is broken. KindLimit: see Limits. Errors of
// r are returned as they are.
func Read(r io.ReaderAt, size int64, limits Limits) iter.Seq2[Package, error] {
	limits.Header = cmp.Or(limits.Header, 32<<20)
	limits.Packages = cmp.Or(limits.Packages, 200_000)
	return func(yield func(Package, error) bool) {
		f := &file{r: r, size: size, limits: limits, work: 4*size + 1<<20}
		headers, err := f.form()
		if err != nil {
			yield(Package{}, err)
			return
		}
		count := 0
		for header, err := range headers {
			var p Package
			if err == nil {
				p, err = parseHeader(header)
			}
			if count++; err == nil && count > limits.Packages {
				err = dossier.Errorf(dossier.KindLimit, "reading rpm database", "", fmt.Sprintf("it has more than %d packages", limits.Packages))
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// file is a database that is being read.
type file struct {
	r      io.ReaderAt
	size   int64
	limits Limits
	work   int64 // bytes that may still be read: a broken file can name one place many times
}

// form returns the headers in the file, by its form.
func (f *file) form() (iter.Seq2[[]byte, error], error) {
	head := make([]byte, min(f.size, 512))
	if err := f.at(head, 0); err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("SQLite format 3\x00")) && len(head) >= 100:
		return f.sqlite(head)
	case bytes.HasPrefix(head, []byte("RpmP")) && len(head) >= 32:
		return f.ndb(head)
	case len(head) == 512:
		return f.berkeley(head)
	}
	return nil, dossier.Errorf(dossier.KindUnsupported, "reading rpm database", "", "its form is unknown")
}

// at fills b from an offset.
func (f *file) at(b []byte, offset int64) error {
	if f.work -= int64(len(b)); f.work < 0 {
		return broken("it names the same places again and again")
	}
	if offset < 0 || offset > f.size-int64(len(b)) {
		return broken("it names a place beyond its end")
	}
	if n, err := f.r.ReadAt(b, offset); err != nil && n < len(b) {
		return fmt.Errorf("reading rpm database: %w", err)
	}
	return nil
}

// buffer returns n bytes for a header.
func (f *file) buffer(n uint64) ([]byte, error) {
	if n > uint64(f.limits.Header) {
		return nil, dossier.Errorf(dossier.KindLimit, "reading rpm database", "", fmt.Sprintf("a package has %d bytes, the limit Header is %d", n, f.limits.Header))
	}
	if n > uint64(f.size) {
		return nil, broken("a package is larger than the database")
	}
	return make([]byte, n), nil
}

func broken(why string) error {
	return dossier.Errorf(dossier.KindInvalid, "reading rpm database", "", why)
}

// ndb reads rpm's own format: a table of slots, each of which names a blob.
// Numbers are little-endian, places are counted in blocks of 16 bytes.
func (f *file) ndb(head []byte) (iter.Seq2[[]byte, error], error) {
	const block, page = 16, 4096
	order := binary.LittleEndian
	if version := order.Uint32(head[4:]); version != 0 {
		return nil, dossier.Errorf(dossier.KindUnsupported, "reading rpm database", "", fmt.Sprintf("version %d of its format is unknown", version))
	}
	end := int64(order.Uint32(head[12:])) * page
	if end > f.size {
		return nil, broken("its table is larger than itself")
	}
	return func(yield func([]byte, error) bool) {
		slot := make([]byte, block)
		for offset := int64(2 * block); offset < end; offset += block {
			header, err := f.ndbBlob(slot, offset)
			if header == nil && err == nil {
				continue
			}
			if !yield(header, err) || err != nil {
				return
			}
		}
	}, nil
}

// ndbBlob returns what the slot at an offset names, nil when it is free.
func (f *file) ndbBlob(slot []byte, offset int64) ([]byte, error) {
	order := binary.LittleEndian
	if err := f.at(slot, offset); err != nil {
		return nil, err
	}
	if string(slot[:4]) != "Slot" {
		return nil, broken("its table has a hole")
	}
	id, place := order.Uint32(slot[4:]), int64(order.Uint32(slot[8:]))*16
	if id == 0 {
		return nil, nil
	}
	head := make([]byte, 16)
	if err := f.at(head, place); err != nil {
		return nil, err
	}
	if string(head[:4]) != "BlbS" || order.Uint32(head[4:]) != id {
		return nil, broken("a slot does not name its package")
	}
	b, err := f.buffer(uint64(order.Uint32(head[12:])))
	if err != nil {
		return nil, err
	}
	return b, f.at(b, place+16)
}
