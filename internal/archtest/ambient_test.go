// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"go/ast"
	"slices"
)

// ambient is something that a package can reach without being given it. Below a
// row it must come as an argument, so that a test can give another.
type ambient struct {
	pkg   string
	names []string
	from  string   // the lowest row that may call it
	only  []string // the packages that are asked; nil: all
	hint  string
}

// The rows that ambients name.
const (
	programLayer = "program"
	wiringLayer  = "wiring"
)

// ambients is the list of this repository.
func ambients() []ambient {
	return []ambient{
		{"context", []string{"Background", "TODO"}, wiringLayer, nil, "take the context of the caller"},
		{"time", []string{"Now", "Since", "Until"}, wiringLayer, timeless(), "take the time as an argument"},
		{"os", []string{"Getenv", "LookupEnv", "Environ"}, programLayer, nil, "take it as an argument"},
		{"os", []string{"Exit"}, programLayer, nil, "return an error"},
		{"fmt", []string{"Print", "Printf", "Println"}, programLayer, nil, "write to the writer that was given"},
	}
}

// timeless are the packages whose results depend on their arguments alone. Others
// may measure how long something takes.
func timeless() []string { return []string{"", "internal/origin", "internal/render", "internal/trust"} }

// checkAmbient finds calls of what a package must be given. Tests, packages for
// tests, and programs are free.
func (a architecture) checkAmbient(r *repository) []string {
	var faults []string
	for _, p := range r.packages {
		if p.nested || p.forTests() || p.isProgram() {
			continue
		}
		for _, s := range p.production() {
			for _, am := range ambients() {
				if !a.mayCall(p.dir, am) {
					faults = append(faults, s.calls(am)...)
				}
			}
		}
	}
	return faults
}

// mayCall reports whether a directory lies in the row of an ambient or above, or
// is not asked.
func (a architecture) mayCall(dir string, am ambient) bool {
	if am.only != nil && !slices.Contains(am.only, dir) {
		return true
	}
	rank, _, ok := a.place(dir)
	from := slices.IndexFunc(a.layers, func(l layer) bool { return l.name == am.from })
	return ok && rank <= from
}

// calls returns a fault for each call of an ambient.
func (s *source) calls(am ambient) []string {
	if !slices.Contains(s.imports(), am.pkg) {
		return nil
	}
	var faults []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && id.Name == am.pkg && slices.Contains(am.names, sel.Sel.Name) {
			faults = append(faults, s.at(call.Pos(), "calls %s.%s: %s", am.pkg, sel.Sel.Name, am.hint))
		}
		return true
	})
	return faults
}

// forbiddenImports are packages with a better one, by import path.
func forbiddenImports() map[string]string {
	return map[string]string{
		"log":                   "log/slog, passed in",
		"io/ioutil":             "os and io",
		"math/rand":             "math/rand/v2, or crypto/rand for what must not be guessed",
		"github.com/pkg/errors": "fmt.Errorf with %w",
	}
}

// importCheck returns the check of a list of forbidden imports in code that is
// no test. An exception is "package import" with its reason.
func importCheck(forbidden, exceptions map[string]string) func(*repository) []string {
	return func(r *repository) []string {
		var faults []string
		used := map[string]bool{}
		for _, p := range r.packages {
			if p.nested || p.forTests() {
				continue
			}
			for _, s := range p.production() {
				for _, imported := range s.imports() {
					better, bad := forbidden[imported]
					key := p.dir + " " + imported
					used[key] = used[key] || bad
					if bad && exceptions[key] == "" {
						faults = append(faults, s.path+": imports "+imported+": use "+better)
					}
				}
			}
		}
		for key := range exceptions {
			if !used[key] {
				faults = append(faults, key+": is no longer imported: remove the exception")
			}
		}
		return faults
	}
}
