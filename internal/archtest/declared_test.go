// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"go/ast"
	"slices"
	"strings"
)

// checkExported finds exported names of packages and methods of exported types
// without a comment. Fields and constants may have theirs at the end of the line
// or above their group.
func checkExported(r *repository) []string {
	var faults []string
	for _, s := range r.handwritten() {
		if s.test {
			continue
		}
		for _, decl := range s.file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
					faults = append(faults, s.at(d.Pos(), "exported %s has no comment", d.Name.Name))
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if name := undocumented(d, spec); name != "" {
						faults = append(faults, s.at(spec.Pos(), "exported %s has no comment", name))
					}
				}
			}
		}
	}
	return faults
}

// exportedReceiver reports whether a function belongs to the package itself or
// to an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if ix, ok := t.(*ast.IndexExpr); ok {
		t = ix.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}

// undocumented returns the name of an exported type, constant or variable that
// has no comment, or "".
func undocumented(d *ast.GenDecl, spec ast.Spec) string {
	switch sp := spec.(type) {
	case *ast.TypeSpec:
		if sp.Name.IsExported() && sp.Doc == nil && sp.Comment == nil && d.Doc == nil {
			return sp.Name.Name
		}
	case *ast.ValueSpec:
		if sp.Doc == nil && sp.Comment == nil && d.Doc == nil {
			for _, name := range sp.Names {
				if name.IsExported() {
					return name.Name
				}
			}
		}
	}
	return ""
}

// untested names packages that have no tests of their own, and why.
func untested() map[string]string {
	return map[string]string{
		"cmd/dossier": "one call",
	}
}

// testedCheck returns the check that every package of the main module has tests.
// A test kit is tested by those who use it.
func testedCheck(exceptions map[string]string) func(*repository) []string {
	return func(r *repository) []string {
		var faults []string
		used := map[string]bool{}
		for _, p := range r.packages {
			if p.nested || p.isKit() || slices.ContainsFunc(p.sources, func(s *source) bool { return s.test }) {
				continue
			}
			used[p.dir] = true
			if exceptions[p.dir] == "" {
				faults = append(faults, orRoot(p.dir)+": has no tests")
			}
		}
		for dir := range exceptions {
			if !used[dir] && r.exists(dir) {
				faults = append(faults, dir+": has tests: remove the exception")
			}
		}
		return faults
	}
}

// parsers are the packages that parse bytes from outside.
func parsers() []string {
	return []string{"", "internal/advisory", "internal/cluster", "internal/contents", "internal/contents/rpmdb", "internal/form", "internal/image", "internal/intoto", "internal/layer", "internal/match", "internal/origin", "internal/registry/access", "internal/translog", "internal/trust", "internal/tuf", "internal/vex"}
}

// fuzzCheck returns the check that packages have a fuzz test.
func fuzzCheck(dirs []string) func(*repository) []string {
	return func(r *repository) []string {
		var faults []string
		for _, p := range r.packages {
			if slices.Contains(dirs, p.dir) && !slices.ContainsFunc(p.sources, (*source).hasFuzz) {
				faults = append(faults, orRoot(p.dir)+": parses bytes from outside and has no fuzz test")
			}
		}
		return faults
	}
}

// hasFuzz reports whether a file has a fuzz test.
func (s *source) hasFuzz() bool {
	return s.test && slices.ContainsFunc(s.file.Decls, func(d ast.Decl) bool {
		fn, ok := d.(*ast.FuncDecl)
		return ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz")
	})
}
