// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// maxFile is the size from which on a file is taken for data and not read.
const maxFile = 2 << 20

// repository is what the checks look at: every text file, and the Go packages
// among them.
type repository struct {
	module   string // path of the main module, as its go.mod says
	files    map[string][]byte
	packages []*pkg // by directory; the root is ""
}

// pkg is the Go files of one directory, tests included.
type pkg struct {
	dir     string // with slashes, from the root of the repository
	nested  bool   // in another module than the main one
	sources []*source
}

// source is one Go file.
type source struct {
	path  string
	test  bool
	text  []byte
	file  *ast.File
	fset  *token.FileSet
	lines int
}

// load reads a repository. Directories that git or a tool owns are left out,
// and so are the Go files below testdata as packages.
func load(fsys fs.FS) (*repository, error) {
	r := &repository{files: map[string][]byte{}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", ".cache", "node_modules"}, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if name == ".git" { // of a second work tree: the path of the first
			return nil
		}
		if !info.Mode().IsRegular() || info.Size() > maxFile {
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		if !bytes.ContainsRune(text, 0) {
			r.files[name] = text
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the repository: %w", err)
	}
	r.module = moduleLine(r.files["go.mod"])
	if err := r.parse(); err != nil {
		return nil, err
	}
	return r, nil
}

// moduleLine returns the path after "module" in a go.mod.
func moduleLine(mod []byte) string {
	for line := range strings.Lines(string(mod)) {
		if rest, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// parse fills in the packages. A file that does not parse is an error: no rule
// can be checked on it.
func (r *repository) parse() error {
	fset := token.NewFileSet()
	byDir := map[string]*pkg{}
	for _, name := range r.names() {
		if !strings.HasSuffix(name, ".go") || slices.Contains(strings.Split(name, "/"), "testdata") {
			continue
		}
		text := r.files[name]
		file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parsing the repository: %w", err)
		}
		dir := strings.TrimPrefix(path.Dir(name), ".")
		p := byDir[dir]
		if p == nil {
			p = &pkg{dir: dir, nested: r.nested(dir)}
			byDir[dir] = p
			r.packages = append(r.packages, p)
		}
		p.sources = append(p.sources, &source{
			path: name, test: strings.HasSuffix(name, "_test.go"), text: text,
			file: file, fset: fset, lines: bytes.Count(text, []byte("\n")),
		})
	}
	slices.SortFunc(r.packages, func(a, b *pkg) int { return strings.Compare(a.dir, b.dir) })
	return nil
}

// names returns the paths of all files in order.
func (r *repository) names() []string {
	names := make([]string, 0, len(r.files))
	for name := range r.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// nested reports whether a directory belongs to a module below the main one.
func (r *repository) nested(dir string) bool {
	for ; dir != "" && dir != "."; dir = path.Dir(dir) {
		if _, ok := r.files[dir+"/go.mod"]; ok {
			return true
		}
	}
	return false
}

// exists reports whether a path, which may end in a slash or hold the wildcards
// of path.Match, names a file or a directory of the repository.
func (r *repository) exists(name string) bool {
	name = strings.TrimSuffix(name, "/")
	depth := strings.Count(name, "/") + 1
	for file := range r.files {
		parts := strings.Split(file, "/")
		if len(parts) < depth {
			continue
		}
		if ok, err := path.Match(name, strings.Join(parts[:depth], "/")); ok && err == nil {
			return true
		}
	}
	return false
}

// imports returns the import paths of a file.
func (s *source) imports() []string {
	var paths []string
	for _, spec := range s.file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// at writes a fault at a place in the file.
func (s *source) at(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: ", s.path, s.fset.Position(pos).Line) + fmt.Sprintf(format, args...)
}

// production returns the files that are no tests and were written by hand.
func (p *pkg) production() []*source {
	var out []*source
	for _, s := range p.sources {
		if !s.test && !ast.IsGenerated(s.file) {
			out = append(out, s)
		}
	}
	return out
}

// isKit reports whether a package exists for tests: its code imports testing.
func (p *pkg) isKit() bool {
	return slices.ContainsFunc(p.production(), func(s *source) bool {
		return slices.Contains(s.imports(), "testing")
	})
}

// forTests reports whether a package is written for tests, though a program may
// link it, as the demo does: a kit, or a package named so.
func (p *pkg) forTests() bool {
	return p.isKit() || strings.HasPrefix(path.Base(p.dir), "test")
}

// isProgram reports whether a package is a program.
func (p *pkg) isProgram() bool { return p.sources[0].file.Name.Name == "main" }

// local returns the directory of a package of the main module, and whether the
// import path names one.
func (r *repository) local(importPath string) (dir string, ok bool) {
	if importPath == r.module {
		return "", true
	}
	return strings.CutPrefix(importPath, r.module+"/")
}
