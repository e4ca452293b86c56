// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"regexp"
	"slices"
	"strings"
)

// The budgets of lines. What grows beyond them wants to be two things.
const (
	maxFileLines     = 500
	maxTestFileLines = 800
	maxFuncLines     = 100
	maxTestFuncLines = 200 // tables are long
	maxMethods       = 7
)

// overBudget names what may be longer, and why: "path" for a file, "path:Func"
// for a function.
func overBudget() map[string]string {
	return map[string]string{}
}

// budgetCheck returns the check of file and function lengths.
func budgetCheck(exceptions map[string]string) func(*repository) []string {
	return func(r *repository) []string {
		var faults []string
		used := map[string]bool{}
		tooLong := func(key string, lines, budget int) {
			if lines <= budget {
				return
			}
			used[key] = true
			if exceptions[key] == "" {
				faults = append(faults, fmt.Sprintf("%s: has %d lines, the budget is %d", key, lines, budget))
			}
		}
		for _, s := range r.handwritten() {
			fileBudget, funcBudget := maxFileLines, maxFuncLines
			if s.test {
				fileBudget, funcBudget = maxTestFileLines, maxTestFuncLines
			}
			tooLong(s.path, s.lines, fileBudget)
			for _, decl := range s.file.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
					lines := s.fset.Position(fn.End()).Line - s.fset.Position(fn.Pos()).Line + 1
					tooLong(s.path+":"+fn.Name.Name, lines, funcBudget)
				}
			}
		}
		for key := range exceptions {
			if !used[key] {
				faults = append(faults, key+": is within the budget: remove the exception")
			}
		}
		return faults
	}
}

// handwritten returns all Go files that no program generated.
func (r *repository) handwritten() []*source {
	var out []*source
	for _, p := range r.packages {
		for _, s := range p.sources {
			if !ast.IsGenerated(s.file) {
				out = append(out, s)
			}
		}
	}
	return out
}

// licence is how each Go file begins.
const licence = "// SPDX-FileCopyrightText: The Dossier Authors\n// SPDX-License-Identifier: Apache-2.0\n\n"

func checkLicences(r *repository) []string {
	var faults []string
	for _, s := range r.handwritten() {
		if !bytes.HasPrefix(s.text, []byte(licence)) {
			faults = append(faults, s.path+": does not begin with the two SPDX lines and an empty one")
		}
	}
	return faults
}

func checkFormat(r *repository) []string {
	var faults []string
	for _, s := range r.handwritten() {
		if formatted, err := format.Source(s.text); err != nil || !bytes.Equal(formatted, s.text) {
			faults = append(faults, s.path+": is not as gofmt writes it")
		}
	}
	return faults
}

var sentenceEnd = regexp.MustCompile(`[.!?:](\s|$)`)

// checkDocs finds packages without a doc comment of at least two sentences: what
// it is, and what it promises or does not do.
func checkDocs(r *repository) []string {
	var faults []string
	for _, p := range r.packages {
		var doc string
		for _, s := range p.production() {
			doc += s.file.Doc.Text()
		}
		if !slices.ContainsFunc(p.sources, func(s *source) bool { return !s.test }) {
			faults = append(faults, p.dir+": has tests only: add a doc.go that says what they are")
			continue
		}
		name := p.sources[0].file.Name.Name
		want := "Package " + strings.TrimSuffix(name, "_test") + " "
		switch {
		case len(sentenceEnd.FindAllString(doc, -1)) < 2:
			faults = append(faults, fmt.Sprintf("%s: its package doc has fewer than two sentences", orRoot(p.dir)))
		case name != "main" && !strings.HasPrefix(doc, want):
			faults = append(faults, fmt.Sprintf("%s: its package doc does not begin with %q", orRoot(p.dir), want))
		}
	}
	return faults
}

func orRoot(dir string) string {
	if dir == "" {
		return "root package"
	}
	return dir
}

// drawers are names of packages that say nothing about what is inside.
var drawers = regexp.MustCompile(`^(utils?|common|helpers?|managers?|types|misc|shared|base)$`)

func checkPackageNames(r *repository) []string {
	var faults []string
	for _, p := range r.packages {
		if name := p.sources[0].file.Name.Name; drawers.MatchString(name) {
			faults = append(faults, fmt.Sprintf("%s: a package named %s takes anything: name it for what it has", p.dir, name))
		}
	}
	return faults
}

// checkInterfaces finds interfaces with too many methods of their own. Embedded
// interfaces do not count: they can be asked for one by one.
func checkInterfaces(r *repository) []string {
	var faults []string
	for _, s := range r.handwritten() {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if it, ok := n.(*ast.InterfaceType); ok {
				methods := 0
				for _, f := range it.Methods.List {
					methods += len(f.Names)
				}
				if methods > maxMethods {
					faults = append(faults, s.at(it.Pos(), "an interface with %d methods, the limit is %d", methods, maxMethods))
				}
			}
			return true
		})
	}
	return faults
}

// checkMachine finds paths of somebody's machine. The roots are put together
// here so that this file passes its own check.
func checkMachine(r *repository) []string {
	var faults []string
	for _, name := range r.names() {
		for _, dir := range []string{"root", "work", "Users"} {
			if i := bytes.Index(r.files[name], []byte("/"+dir+"/")); i >= 0 {
				line := 1 + bytes.Count(r.files[name][:i], []byte("\n"))
				faults = append(faults, fmt.Sprintf("%s:%d: names a path of somebody's machine", name, line))
			}
		}
	}
	return faults
}
