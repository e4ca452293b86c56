// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"dossier.dev/dossier"
)

// SBOM writes one line for each package, and what was not read.
func SBOM(w io.Writer, s dossier.SBOM, opt Options) error {
	columns := []column{{title: "PACKAGE", min: 16}, {title: "VERSION", min: 10}, {title: "TYPE"}, {title: "LICENCE", min: 8, spare: true}, {title: "LAYER"}, {title: "BASE", min: 8, spare: true}, {title: "PATH", min: 16, tail: true}}
	if opt.Wide {
		columns = append(columns, column{title: "PURL", min: 16})
	}
	rows := make([][]cell, 0, len(s.Packages))
	for _, p := range s.Packages {
		if !opt.Wide { // one package of hundred licences would make every line as long
			p.License = shorten(p.License, maxLicense, false, opt.ASCII)
		}
		row := []cell{{text: p.Name}, orDash(p.Version), {text: p.Type}, orDash(p.License), {text: p.Layer.Short()}, orDash(p.Base), {text: p.Path}}
		if opt.Wide {
			row = append(row, cell{text: p.PURL})
		}
		rows = append(rows, row)
	}
	if err := writeTable(w, columns, rows, opt); err != nil {
		return err
	}
	var b strings.Builder
	for _, m := range s.Missed {
		fmt.Fprintf(&b, "not read: %s\n", Clean(missedText(m)))
	}
	for _, d := range s.Attached {
		writeBill(&b, d)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// maxLicense is how many cells the licence of a package takes in a table that is not wide.
const maxLicense = 48

// writeBill says how a bill of materials that is attached to the image differs
// from what was found.
func writeBill(b *strings.Builder, d dossier.BillDiff) {
	who := d.Format
	if len(d.Tools) > 0 {
		who += " by " + strings.Join(d.Tools, ", ")
	}
	fmt.Fprintf(b, "attached (%s): %s, %s: ", Clean(d.How), Clean(cmp.Or(who, "a document")), Clean(d.Document.Short()))
	if d.Problem != "" {
		fmt.Fprintf(b, "not read: %s\n", Clean(d.Problem))
		return
	}
	fmt.Fprintf(b, "%s, %d as found\n", count(d.Packages, "package"), d.Agree)
	for _, l := range []struct {
		what  string
		lines []string
	}{{"not in it", d.Missing}, {"only in it", d.Extra}, {"differs", d.Otherwise}} {
		for _, text := range l.lines {
			fmt.Fprintf(b, "  %s: %s\n", l.what, Clean(text))
		}
	}
	if d.More > 0 {
		fmt.Fprintf(b, "  and %d more\n", d.More)
	}
}

// orDash is a cell that may be empty.
func orDash(s string) cell {
	if s == "" {
		return cell{"-", styleFaint}
	}
	return cell{text: s}
}
