// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"errors"
	"go/ast"
	"go/token"
	"go/types"
)

// checkState finds package-level state that changes while the program runs, and
// init functions: what a package does must follow from its arguments. Test files,
// test kits and modules for tests are free.
func checkState(r *repository) []string {
	var faults []string
	for _, p := range r.packages {
		if p.nested || p.isKit() || len(p.production()) == 0 {
			continue
		}
		uses := resolve(p)
		for _, s := range p.production() {
			v := stateVisitor{source: s, uses: uses}
			for _, decl := range s.file.Decls {
				v.declaration(decl)
			}
			ast.Inspect(s.file, v.visit)
			faults = append(faults, v.faults...)
		}
	}
	return faults
}

// resolve says what each identifier of a package means. Imports are not read,
// so what comes from other packages stays unknown.
func resolve(p *pkg) map[*ast.Ident]types.Object {
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	var files []*ast.File
	for _, s := range p.production() {
		files = append(files, s.file)
	}
	// The error only repeats that imports are unknown.
	_, _ = config.Check(p.dir, p.sources[0].fset, files, info)
	return info.Uses
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not read") }

type stateVisitor struct {
	source *source
	uses   map[*ast.Ident]types.Object
	faults []string
}

func (v *stateVisitor) declaration(decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil && d.Name.Name == "init" {
			v.faults = append(v.faults, v.source.at(d.Pos(), "an init function: make it a value that somebody asks for"))
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if vs, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.VAR && isLock(vs) {
				v.faults = append(v.faults, v.source.at(vs.Pos(), "package-level %s guards state that changes: put both in a struct", vs.Names[0].Name))
			}
		}
	}
}

// isLock reports whether a variable is of a type of sync or sync/atomic.
func isLock(spec *ast.ValueSpec) bool {
	isOne := func(e ast.Expr) bool {
		if ix, ok := e.(*ast.IndexExpr); ok {
			e = ix.X
		}
		sel, ok := e.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		id, ok := sel.X.(*ast.Ident)
		// A pool holds what is made again when it is not there: nobody can tell whether it was.
		return ok && (id.Name == "sync" && sel.Sel.Name != "Pool" || id.Name == "atomic")
	}
	if spec.Type != nil && isOne(spec.Type) {
		return true
	}
	for _, value := range spec.Values {
		if lit, ok := value.(*ast.CompositeLit); ok && lit.Type != nil && isOne(lit.Type) {
			return true
		}
	}
	return false
}

func (v *stateVisitor) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			for _, left := range n.Lhs {
				v.written(left, "is assigned to")
			}
		}
	case *ast.IncDecStmt:
		v.written(n.X, "is counted up or down")
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			v.written(n.Key, "is assigned to")
			v.written(n.Value, "is assigned to")
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			v.written(n.X, addressTaken)
		}
	case *ast.CallExpr:
		if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 {
			if id.Name == "delete" || id.Name == "clear" || id.Name == "copy" {
				v.written(n.Args[0], "is changed by "+id.Name)
			}
		}
	}
	return true
}

const addressTaken = "has its address taken"

// written adds a fault when an expression that is written to is, or is part
// of, a package-level variable.
func (v *stateVisitor) written(e ast.Expr, how string) {
	id := operand(e)
	if id == nil {
		return
	}
	switch obj := v.uses[id].(type) {
	case *types.Var:
		if obj.Pkg() != nil && obj.Parent() == obj.Pkg().Scope() {
			v.faults = append(v.faults, v.source.at(id.Pos(), "package-level %s %s", id.Name, how))
		}
	case *types.PkgName:
		if how == addressTaken { // many APIs ask for a pointer to a constant
			return
		}
		v.faults = append(v.faults, v.source.at(id.Pos(), "a variable of package %s %s", id.Name, how))
	}
}

// operand returns the identifier that an expression starts from, or nil.
func operand(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.ParenExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return nil
		}
	}
}
