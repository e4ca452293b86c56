// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package rpmdb

import (
	"bytes"
	"encoding/binary"
	"path"
)

// Tags of an rpm header that matter here.
const (
	tagName       = 1000
	tagVersion    = 1001
	tagRelease    = 1002
	tagEpoch      = 1003
	tagVendor     = 1011
	tagLicense    = 1014
	tagArch       = 1022
	tagSourceRPM  = 1044
	tagDirIndexes = 1116
	tagBaseNames  = 1117
	tagDirNames   = 1118
	tagModule     = 5096
)

// Types of their values.
const (
	typeInt32       = 4
	typeString      = 6
	typeStringArray = 8
	typeI18NString  = 9
)

// header is the index and the data of an rpm header: numbers are big-endian,
// an entry is tag, type, offset into the data, and count.
type header struct {
	entries map[uint32]entry
	data    []byte
}

type entry struct {
	kind, count uint32
	value       []byte // to the end of the data
}

// maxEntries is how many entries a header may have; real ones have about 100.
const maxEntries = 1 << 16

// parseHeader reads a header as databases keep it.
func parseHeader(b []byte) (Package, error) {
	if len(b) < 8 {
		return Package{}, broken("a package is cut off")
	}
	n, size := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	b = b[8:]
	if n > maxEntries || uint64(n)*16+uint64(size) > uint64(len(b)) {
		return Package{}, broken("a package is cut off")
	}
	h := header{entries: make(map[uint32]entry, n), data: b[n*16 : uint64(n)*16+uint64(size)]}
	for ; n > 0; n, b = n-1, b[16:] {
		offset := binary.BigEndian.Uint32(b[8:])
		if offset > size {
			continue // the trailer of a region, which counts backwards
		}
		h.entries[binary.BigEndian.Uint32(b)] = entry{
			kind:  binary.BigEndian.Uint32(b[4:]),
			count: binary.BigEndian.Uint32(b[12:]),
			value: h.data[offset:],
		}
	}
	p := Package{
		Name: h.text(tagName), Version: h.text(tagVersion), Release: h.text(tagRelease),
		Arch: h.text(tagArch), SourceRPM: h.text(tagSourceRPM), Vendor: h.text(tagVendor), License: h.text(tagLicense),
		Module: h.text(tagModule), Files: h.files(),
	}
	if epoch := h.numbers(tagEpoch); len(epoch) > 0 {
		p.Epoch = int(epoch[0])
	}
	if p.Name == "" || p.Version == "" {
		return Package{}, broken("a package has no name or version")
	}
	return p, nil
}

// text returns a string, or "". Old versions of rpm write "(none)" for nothing.
func (h header) text(tag uint32) string {
	e := h.entries[tag]
	if e.kind != typeString && e.kind != typeI18NString {
		return ""
	}
	text, _, _ := bytes.Cut(e.value, []byte{0})
	if string(text) == "(none)" {
		return ""
	}
	return string(text)
}

// texts returns an array of strings, nil when it is cut off.
func (h header) texts(tag uint32) []string {
	e := h.entries[tag]
	if e.kind != typeStringArray || uint64(e.count) > uint64(len(e.value)) {
		return nil
	}
	out := make([]string, 0, e.count)
	for rest := e.value; uint32(len(out)) < e.count; {
		text, more, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return nil
		}
		out, rest = append(out, string(text)), more
	}
	return out
}

// numbers returns an array of numbers, nil when it is cut off.
func (h header) numbers(tag uint32) []uint32 {
	e := h.entries[tag]
	if e.kind != typeInt32 || uint64(e.count)*4 > uint64(len(e.value)) {
		return nil
	}
	out := make([]uint32, e.count)
	for i := range out {
		out[i] = binary.BigEndian.Uint32(e.value[4*i:])
	}
	return out
}

// files returns the paths of the package: of each its last element, and which
// of the directories it lies in.
func (h header) files() []string {
	bases, dirs, indexes := h.texts(tagBaseNames), h.texts(tagDirNames), h.numbers(tagDirIndexes)
	if len(bases) != len(indexes) {
		return nil
	}
	out := make([]string, 0, len(bases))
	for i, base := range bases {
		if int64(indexes[i]) < int64(len(dirs)) {
			out = append(out, path.Join("/", dirs[indexes[i]], base))
		}
	}
	return out
}
