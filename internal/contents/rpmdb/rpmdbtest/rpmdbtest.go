// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package rpmdbtest writes databases of rpm for tests, and compares what the
// package rpmdb reads with what others read. It writes the least that rpm's own
// readers would take, and does not write SQLite: tests let SQLite do that.
package rpmdbtest

import (
	"encoding/binary"
	"fmt"
	"path"
	"slices"

	"dossier.dev/dossier/internal/contents/rpmdb"
)

// Tags and types of an rpm header, and types of Berkeley DB's pages and items.
const (
	tagName, tagVersion, tagRelease, tagEpoch         = 1000, 1001, 1002, 1003
	tagArch, tagSourceRPM, tagModule                  = 1022, 1044, 5096
	tagDirIndexes, tagBaseNames, tagDirNames          = 1116, 1117, 1118
	typeInt32, typeString, typeStringArray            = 4, 6, 8
	pageHead, pageMeta, pageHash, pageOverflow        = 26, 8, 13, 7
	itemOffPage                                       = 3
	berkeleyHash                               uint32 = 0x00061561
)

// Header writes an rpm header, as databases keep it.
func Header(p rpmdb.Package) []byte {
	var index, data []byte
	n := 0
	add := func(tag, kind, count uint32, value []byte) {
		for _, v := range []uint32{tag, kind, uint32(len(data)), count} {
			index = binary.BigEndian.AppendUint32(index, v)
		}
		data = append(data, value...)
		n++
	}
	text := func(tag uint32, s string) { add(tag, typeString, 1, append([]byte(s), 0)) }
	text(tagName, p.Name)
	text(tagVersion, p.Version)
	text(tagRelease, p.Release)
	text(tagArch, p.Arch)
	text(tagSourceRPM, p.SourceRPM)
	text(tagModule, p.Module)
	var bases, dirs, indexes []byte
	for i, f := range p.Files {
		dir, base := path.Split(f)
		bases = append(append(bases, base...), 0)
		dirs = append(append(dirs, dir...), 0)
		indexes = binary.BigEndian.AppendUint32(indexes, uint32(i))
	}
	count := uint32(len(p.Files))
	add(tagBaseNames, typeStringArray, count, bases)
	add(tagDirNames, typeStringArray, count, dirs)
	for len(data)%4 != 0 {
		data = append(data, 0)
	}
	add(tagDirIndexes, typeInt32, count, indexes)
	add(tagEpoch, typeInt32, 1, binary.BigEndian.AppendUint32(nil, uint32(p.Epoch)))
	out := binary.BigEndian.AppendUint32(nil, uint32(n))
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	return slices.Concat(out, index, data)
}

// Sample returns n packages that differ in all they say. Package i has 3*i files.
func Sample(n int) []rpmdb.Package {
	var out []rpmdb.Package
	for i := range n {
		p := rpmdb.Package{
			Name: fmt.Sprintf("package%03d", i), Version: "1.2", Release: fmt.Sprintf("%d.el9", i), Epoch: i % 3, Arch: "x86_64",
			SourceRPM: fmt.Sprintf("source%d-1.2-1.el9.src.rpm", i), Files: []string{},
		}
		if i%4 == 1 {
			p.Module = "nodejs:18:9020020230327152102:rhel9"
		}
		for j := range i * 3 {
			p.Files = append(p.Files, fmt.Sprintf("/usr/share/%s/file%04d", p.Name, j))
		}
		out = append(out, p)
	}
	return out
}

// NDB writes rpm's own format, Packages.db.
func NDB(packages []rpmdb.Package) []byte {
	order := binary.LittleEndian
	pages := (len(packages)+2)/256 + 1
	table := make([]byte, pages*4096)
	copy(table, "RpmP")
	order.PutUint32(table[12:], uint32(pages))
	for at := 32; at < len(table); at += 16 {
		copy(table[at:], "Slot")
	}
	out := table
	for i, p := range packages {
		h := Header(p)
		order.PutUint32(out[32+16*i+4:], uint32(i+1))
		order.PutUint32(out[32+16*i+8:], uint32(len(out)/16))
		blob := make([]byte, 16, 16+len(h)+16)
		copy(blob, "BlbS")
		order.PutUint32(blob[4:], uint32(i+1))
		order.PutUint32(blob[12:], uint32(len(h)))
		blob = append(blob, h...)
		for len(blob)%16 != 0 {
			blob = append(blob, 0)
		}
		out = append(out, blob...)
	}
	return out
}

// Berkeley writes a hash table of Berkeley DB, Packages, with one package a page.
func Berkeley(packages []rpmdb.Package, order binary.ByteOrder) []byte {
	const size = 512
	page := func(number, kind byte) []byte {
		p := make([]byte, size)
		order.PutUint32(p[8:], uint32(number))
		p[25] = kind
		return p
	}
	meta := page(0, pageMeta)
	order.PutUint32(meta[12:], berkeleyHash)
	order.PutUint32(meta[16:], 9)
	order.PutUint32(meta[20:], size)
	pages := [][]byte{meta}
	for _, p := range packages {
		h := Header(p)
		table := page(0, pageHash)
		order.PutUint16(table[20:], 2)
		order.PutUint16(table[26:], size-5)
		order.PutUint16(table[28:], size-5-12)
		table[size-5] = 1
		item := table[size-5-12:]
		item[0] = itemOffPage
		order.PutUint32(item[4:], uint32(len(pages)+1))
		order.PutUint32(item[8:], uint32(len(h)))
		pages = append(pages, table)
		for len(h) > 0 {
			o := page(0, pageOverflow)
			n := copy(o[pageHead:], h)
			order.PutUint16(o[22:], uint16(n))
			if h = h[n:]; len(h) > 0 {
				order.PutUint32(o[16:], uint32(len(pages)+1))
			}
			pages = append(pages, o)
		}
	}
	order.PutUint32(meta[32:], uint32(len(pages)-1))
	return slices.Concat(pages...)
}
