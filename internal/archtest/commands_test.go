// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// rootCommand is the name of the program: the one command outside a cmd_ file.
const rootCommand = "dossier"

// checkCommands holds internal/cli to its convention: the file cmd_NAME.go
// defines the command NAME, and a transcript testdata/script/NAME*.txtar shows it.
func checkCommands(r *repository) []string {
	var faults []string
	for _, p := range r.packages {
		if p.dir != "internal/cli" {
			continue
		}
		for _, s := range p.production() {
			file := strings.TrimSuffix(path.Base(s.path), ".go")
			name, isCommand := strings.CutPrefix(file, "cmd_")
			defined := s.commands()
			if !isCommand {
				for _, d := range defined {
					if d != rootCommand {
						faults = append(faults, fmt.Sprintf("%s: defines the command %s, which belongs in cmd_%s.go", s.path, d, d))
					}
				}
				continue
			}
			if len(defined) == 0 || defined[0] != name {
				faults = append(faults, fmt.Sprintf("%s: its first cobra.Command is not %s", s.path, name))
			}
			if !r.exists("testdata/script/" + name + "*.txtar") {
				faults = append(faults, fmt.Sprintf("%s: no testdata/script/%s*.txtar runs the command", s.path, name))
			}
		}
	}
	return faults
}

// commands returns the names of the cobra commands that a file makes, in order.
func (s *source) commands() []string {
	var names []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		sel, ok := lit.Type.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Command" {
			return true
		}
		for _, element := range lit.Elts {
			kv, ok := element.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			key, _ := kv.Key.(*ast.Ident)
			value, _ := kv.Value.(*ast.BasicLit)
			if key == nil || value == nil || key.Name != "Use" {
				continue
			}
			if use, err := strconv.Unquote(value.Value); err == nil {
				name, _, _ := strings.Cut(use, " ")
				names = append(names, name)
			}
		}
		return true
	})
	return names
}

// migrations is where each engine keeps its own.
const migrations = "internal/store/sqlstore/migrations"

var migrationName = regexp.MustCompile(`^([0-9]{5})_[a-z0-9_]+\.sql$`)

// checkMigrations finds gaps in the numbers of migrations, and engines that do
// not have the same ones.
func checkMigrations(r *repository) []string {
	var faults []string
	byEngine := map[string][]string{"sqlite": nil, "postgres": nil}
	for _, name := range r.names() {
		rest, ok := strings.CutPrefix(name, migrations+"/")
		if !ok {
			continue
		}
		engine, file, _ := strings.Cut(rest, "/")
		if _, ok := byEngine[engine]; !ok {
			faults = append(faults, name+": lies in the folder of no engine")
			continue
		}
		byEngine[engine] = append(byEngine[engine], file)
		match := migrationName.FindStringSubmatch(file)
		if match == nil {
			faults = append(faults, name+": is not named NNNNN_words.sql")
			continue
		}
		if n, _ := strconv.Atoi(match[1]); n != len(byEngine[engine]) {
			faults = append(faults, fmt.Sprintf("%s: want number %05d", name, len(byEngine[engine])))
		}
	}
	if a, b := len(byEngine["sqlite"]), len(byEngine["postgres"]); a != b {
		faults = append(faults, fmt.Sprintf("%s: sqlite has %d, postgres %d", migrations, a, b))
	}
	return faults
}
