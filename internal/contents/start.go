// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// Program returns the build information of the Go program at the first of the
// absolute paths at which there is a file, with all links followed; nil when
// there is none, or when that file is no Go program.
func (s *Stack) Program(paths []string) *dossier.GoBuild {
	for _, p := range paths {
		at := s.tree.resolve(strings.TrimPrefix(p, "/"))
		if found, ok := s.tree.files[at]; ok && found.file.Go != nil {
			g := *found.file.Go
			g.Path, g.Layer = printable("/"+at), s.layers[found.layer].Digest
			return &g
		}
		if s.has(at) {
			return nil
		}
	}
	return nil
}

// has reports whether anything but a directory is seen at a path without
// symbolic links.
func (s *Stack) has(p string) bool {
	spelt := append(s.tree.aliasesTo(p).of(p), p)
	for i := len(s.layers) - 1; i >= 0; i-- {
		l := &s.layers[i]
		if slices.ContainsFunc(spelt, l.Names.Has) {
			return true
		}
		if slices.ContainsFunc(spelt, l.hides) {
			return false
		}
	}
	return false
}

// hides reports whether a layer deletes or replaces what lies beneath it at a
// path, as it is spelt.
func (l *LayerResult) hides(p string) bool {
	if l.Dirs.Has(p) || contains(l.Removed, p) || contains(l.Opaque, "") {
		return true
	}
	for dir := parentOf(p); dir != ""; dir = parentOf(dir) {
		if contains(l.Removed, dir) || contains(l.Opaque, dir) || l.Names.Has(dir) && !l.isLink(dir) {
			return true
		}
	}
	return false
}

func (l *LayerResult) isLink(p string) bool {
	_, ok := slices.BinarySearchFunc(l.Links, p, func(link Link, p string) int { return strings.Compare(link.Path, p) })
	return ok
}

func contains(sorted []string, s string) bool {
	_, ok := slices.BinarySearch(sorted, s)
	return ok
}

// parentOf returns the directory of a path, "" at the top.
func parentOf(p string) string {
	return p[:max(strings.LastIndexByte(p, '/'), 0)]
}
