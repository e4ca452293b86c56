// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"archive/tar"
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

const (
	maxLinks    = 40  // symbolic and hard links that are followed for one path
	maxSettings = 200 // build settings that are kept

	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// tree is the file system of an image, of which layers are read when they are
// needed.
type tree struct {
	layers  []Layer // base first
	limits  Limits
	indexed []*layerIndex // as layers; nil: not read yet
	wanted  map[string]bool
	bases   map[string]bool // last elements of wanted paths
	entries int
}

// layerIndex is what matters of the names in one layer. Regular files that
// cannot be run are left out unless they are called like a wanted one.
type layerIndex struct {
	files map[string]*file
	white map[string]bool // paths that are deleted beneath
	opaq  map[string]bool // directories of which everything beneath is hidden
}

// file is an entry of a layer.
type file struct {
	layer int
	path  string // absolute and clean
	kind  byte   // tar type flag: regular, directory, symbolic link, hard link, or another
	mode  fs.FileMode
	link  string

	examined bool     // the content was looked at
	spool    *os.File // the content, when it is a program
}

func (f *file) executable() bool { return f.kind == tar.TypeReg && f.mode&0o111 != 0 }

func newTree(layers []Layer, limits Limits) *tree {
	return &tree{
		layers:  layers,
		limits:  limits,
		indexed: make([]*layerIndex, len(layers)),
		wanted:  map[string]bool{},
		bases:   map[string]bool{},
	}
}

// want says which paths are worth keeping when a layer is read.
func (t *tree) want(paths ...string) {
	for _, p := range paths {
		t.wanted[p] = true
		t.bases[path.Base(p)] = true
	}
}

// close removes what was kept.
func (t *tree) close() {
	for _, x := range t.indexed {
		x.discard()
	}
}

func (x *layerIndex) discard() {
	if x == nil {
		return
	}
	for _, f := range x.files {
		if f.spool != nil {
			f.spool.Close()
			os.Remove(f.spool.Name())
			f.spool = nil
		}
	}
}

// find returns the entry at an absolute path with all links followed, or nil
// when there is none.
func (t *tree) find(ctx context.Context, p string) (*file, error) {
	top := len(t.layers) - 1
	at, rest := "/", strings.Split(p, "/") // at has no links in it
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		at = path.Join(at, name)
		f, err := t.lookup(ctx, at, top)
		if err != nil {
			return nil, err
		}
		for ; f != nil && f.kind == tar.TypeLink && links < maxLinks; links++ {
			t.want(f.link)
			if f, err = t.lookup(ctx, f.link, f.layer); err != nil {
				return nil, err
			}
		}
		switch {
		case f == nil || links > maxLinks || len(rest) > maxPath:
			return nil, nil
		case f.kind == tar.TypeSymlink:
			links++
			at = path.Dir(at)
			if strings.HasPrefix(f.link, "/") {
				at = "/"
			}
			rest = slices.Concat(strings.Split(f.link, "/"), rest)
			t.want(path.Join(at, path.Join(rest...)))
		case len(rest) == 0:
			return f, nil
		case f.kind != tar.TypeDir:
			return nil, nil
		}
	}
	return nil, nil // a directory
}

// lookup returns the entry at p, without following it, as layers up to top
// make it; nil when there is none.
func (t *tree) lookup(ctx context.Context, p string, top int) (*file, error) {
	implied := false
	for i := top; i >= 0; i-- {
		x, err := t.index(ctx, i)
		if err != nil {
			return nil, err
		}
		f := x.files[p]
		switch {
		case f != nil && f.kind == impliedDir:
			implied = true
		case f != nil:
			return f, nil
		}
		if x.hides(p) {
			break
		}
	}
	if implied {
		return &file{path: p, kind: tar.TypeDir}, nil
	}
	return nil, nil
}

// hides reports whether nothing beneath this layer is seen at p: it was
// deleted, or a directory above it was deleted, emptied or replaced.
func (x *layerIndex) hides(p string) bool {
	if x.white[p] {
		return true
	}
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		f := x.files[dir]
		if x.white[dir] || x.opaq[dir] || f != nil && f.kind != tar.TypeDir && f.kind != impliedDir {
			return true
		}
		if dir == "/" {
			return false
		}
	}
}

// impliedDir marks a directory that a layer has no entry for, only for files
// in it. Whether it is one, a lower layer may say otherwise.
const impliedDir = 'i'

// goBuild returns the Go build information of f, or nil.
func (t *tree) goBuild(ctx context.Context, f *file) (*dossier.GoBuild, error) {
	if !f.examined {
		// It was found by a link after its layer had been read.
		t.want(f.path)
		x, err := t.read(ctx, f.layer)
		if err != nil {
			return nil, err
		}
		t.indexed[f.layer].discard()
		t.indexed[f.layer] = x
		if f = x.files[f.path]; f == nil {
			return nil, nil
		}
	}
	if f.spool == nil {
		return nil, nil // no program by its first bytes
	}
	r := &watchedReader{ReaderAt: f.spool}
	info, err := readBuildInfo(r)
	if r.err != nil {
		return nil, fmt.Errorf("reading Go build information of %s: %w", printable(f.path), r.err)
	}
	if err != nil {
		return nil, nil // debug/buildinfo has no error of its own for "not Go"
	}
	g := &dossier.GoBuild{
		Path:      printable(f.path),
		Layer:     t.layers[f.layer].Digest,
		GoVersion: printable(info.GoVersion),
		Main:      printable(info.Path),
		Module:    printable(info.Main.Path),
		Version:   printable(info.Main.Version),
		Deps:      len(info.Deps),
	}
	for _, s := range info.Settings[:min(len(info.Settings), maxSettings)] {
		if g.Settings == nil {
			g.Settings = map[string]string{}
		}
		g.Settings[printable(s.Key)] = printable(s.Value)
	}
	return g, nil
}

// readBuildInfo is buildinfo.Read for files from outside: the readers of
// executables in the standard library do not promise to be safe on them, and
// one that fails must not end the process.
func readBuildInfo(r io.ReaderAt) (info *buildinfo.BuildInfo, err error) {
	defer func() {
		if p := recover(); p != nil {
			info, err = nil, fmt.Errorf("reading executable: %v", p)
		}
	}()
	return buildinfo.Read(r)
}

// watchedReader remembers an error that is not the end of the file, so that a
// disk that fails is not taken for a program that is not Go.
type watchedReader struct {
	io.ReaderAt
	err error
}

func (r *watchedReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, off)
	if err != nil && err != io.EOF && off >= 0 {
		r.err = err
	}
	return n, err
}

// index returns the index of a layer, and reads the layer when it must.
func (t *tree) index(ctx context.Context, i int) (*layerIndex, error) {
	if t.indexed[i] == nil {
		x, err := t.read(ctx, i)
		if err != nil {
			return nil, err
		}
		t.indexed[i] = x
	}
	return t.indexed[i], nil
}

// cleanName returns the absolute path of a tar entry.
func cleanName(name string) string { return path.Clean("/" + name) }

// add takes an entry into the index. A later entry of the same name replaces
// an earlier one, as when unpacking.
func (x *layerIndex) add(f *file) {
	dir, base := path.Split(f.path)
	dir = path.Clean(dir)
	switch {
	case base == opaque:
		x.opaq[dir] = true
		return
	case strings.HasPrefix(base, whiteout+whiteout):
		return // kept by union file systems for themselves
	case strings.HasPrefix(base, whiteout):
		x.white[path.Join(dir, strings.TrimPrefix(base, whiteout))] = true
		return
	}
	if old := x.files[f.path]; old != nil && old.spool != nil {
		old.spool.Close()
		os.Remove(old.spool.Name())
	}
	x.files[f.path] = f
	for ; dir != "/" && x.files[dir] == nil; dir = path.Dir(dir) {
		x.files[dir] = &file{layer: f.layer, path: dir, kind: impliedDir}
	}
}

// isProgram reports whether the first bytes of a file are those of an
// executable that the go command can build: ELF, PE or Mach-O.
func isProgram(head []byte) bool {
	return slices.ContainsFunc([]string{"\x7fELF", "MZ", "\xfe\xed\xfa", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe"},
		func(magic string) bool { return strings.HasPrefix(string(head), magic) })
}
