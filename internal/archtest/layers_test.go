// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// layer is one row of packages. A package imports packages of lower rows and
// the root, never of its own row, so that what stands side by side can be read,
// tested and replaced alone.
type layer struct {
	name     string
	packages []string // directories; those below belong to them
}

// edge is an import that the rows forbid and a reason allows.
type edge struct{ from, to, why string }

// architecture is the layer table.
type architecture struct {
	layers     []layer // the highest first
	exceptions []edge
}

// dossierArchitecture is the table of this repository. ARCHITECTURE.md draws it.
func dossierArchitecture() architecture {
	return architecture{
		layers: []layer{
			{"program", []string{"cmd/dossier"}},
			{"command line", []string{"internal/cli"}},
			{"wiring", []string{"internal/server"}},
			{"samples", []string{"internal/demo", "internal/soak"}}, // their tests read their world as the product does
			{"faces", []string{"internal/api"}},
			{"proofs", []string{"internal/proof"}},
			{"answers", []string{"internal/answer", "internal/render"}},
			{"work", []string{"internal/ingest", "internal/registry", "internal/scan", "internal/finding", "internal/notify"}},
			{"recording", []string{"internal/audit", "internal/record", "internal/feed", "internal/translog"}},
			{"reading evidence", []string{"internal/contents", "internal/origin", "internal/trust"}},
			{"outside world", []string{"internal/image", "internal/cluster", "internal/advisory", "internal/vex", "internal/tuf"}},
			{"storage", []string{"internal/store", "internal/blob"}},
			{"alone", []string{"client", "ci", "internal/durable", "internal/config", "internal/intoto", "internal/layer", "internal/match", "internal/seal", "internal/testimage", "internal/testprogram", "internal/archtest"}},
			{"words", []string{"internal/form", "internal/heap", "internal/pattern"}},
		},
	}
}

// place returns the rank of a directory's row, highest first, and the entry of
// the table it belongs to. The root has no row.
func (a architecture) place(dir string) (rank int, entry string, ok bool) {
	for i, l := range a.layers {
		for _, p := range l.packages {
			if dir == p || strings.HasPrefix(dir, p+"/") {
				return i, p, true
			}
		}
	}
	return 0, "", false
}

// checkLayers finds imports that lead up or aside, packages without a row, and
// rows and exceptions without a package.
func (a architecture) checkLayers(r *repository) []string {
	var faults []string
	used := make([]bool, len(a.exceptions))
	seen := map[string]bool{}
	for _, p := range r.packages {
		if p.nested || p.dir == "" {
			continue
		}
		rank, entry, ok := a.place(p.dir)
		if !ok {
			faults = append(faults, p.dir+": has no row in the layer table (internal/archtest/layers_test.go)")
			continue
		}
		seen[entry] = true
		for _, s := range p.sources {
			for _, imported := range s.imports() {
				dir, ok := r.local(imported)
				if !ok || dir == "" {
					continue
				}
				toRank, toEntry, known := a.place(dir)
				if !known || toEntry == entry || toRank > rank {
					continue
				}
				if i := a.exception(p.dir, dir); i >= 0 {
					used[i] = true
					continue
				}
				faults = append(faults, fmt.Sprintf("%s: imports %s, which is %s: a package imports lower rows and the root only",
					s.path, dir, relation(rank, toRank)))
			}
		}
	}
	for _, l := range a.layers {
		for _, p := range l.packages {
			if !seen[p] {
				faults = append(faults, p+": is in the layer table, but there is no such package")
			}
		}
	}
	for i, e := range a.exceptions {
		if !used[i] {
			faults = append(faults, fmt.Sprintf("%s: no longer imports %s: remove the exception", e.from, e.to))
		}
	}
	return faults
}

func (a architecture) exception(from, to string) int {
	return slices.IndexFunc(a.exceptions, func(e edge) bool { return e.from == from && e.to == to })
}

func relation(rank, to int) string {
	if rank == to {
		return "in its own row"
	}
	return "in a higher row"
}

// checkKits finds test kits that the program would link: a package whose code
// imports testing may be imported by tests and by other kits only.
func checkKits(r *repository) []string {
	kits := map[string]bool{}
	for _, p := range r.packages {
		kits[p.dir] = !p.nested && p.isKit()
	}
	var faults []string
	for _, p := range r.packages {
		if p.nested || kits[p.dir] {
			continue
		}
		for _, s := range p.production() {
			for _, imported := range s.imports() {
				if dir, ok := r.local(imported); ok && kits[dir] {
					faults = append(faults, fmt.Sprintf("%s: imports %s, a test kit, outside tests", s.path, dir))
				}
			}
		}
	}
	return faults
}

// checkRoot finds anything but the standard library in the root package, and the
// parts of that which do I/O.
func checkRoot(r *repository) []string {
	var faults []string
	for _, p := range r.packages {
		if p.dir != "" {
			continue
		}
		for _, s := range p.production() {
			for _, imported := range s.imports() {
				switch {
				case !isStandard(imported):
					faults = append(faults, fmt.Sprintf("%s: imports %s: the root package is vocabulary, and imports the standard library only", s.path, imported))
				case doesIO(imported):
					faults = append(faults, fmt.Sprintf("%s: imports %s: the root package does no I/O", s.path, imported))
				}
			}
		}
	}
	return faults
}

// doesIO reports whether a package of the standard library reaches outside.
func doesIO(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return slices.Contains([]string{"os", "net", "database", "log", "syscall"}, first)
}

// isStandard reports whether an import path is of the standard library: its
// first element has no dot.
func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}
