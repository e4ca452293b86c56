// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"

	"dossier.dev/dossier"
)

// SBOM writes one line for each package, and what was not read.
func SBOM(w io.Writer, s dossier.SBOM, opt Options) error {
	columns := []column{{title: "PACKAGE", min: 16}, {title: "VERSION", min: 10}, {title: "TYPE"}, {title: "LICENCE", min: 8, spare: true}, {title: "LAYER"}, {title: "BASE", min: 8, spare: true}, {title: "PATH", min: 16, tail: true}}
	if opt.Wide {
		columns = append(columns, column{title: "PURL", min: 16})
	}
	var rows [][]cell
	for _, p := range s.Packages {
		row := []cell{{text: p.Name}, orDash(p.Version), {text: p.Type}, orDash(p.License), {text: p.Layer.Short()}, orDash(p.Base), {text: p.Path}}
		if opt.Wide {
			row = append(row, cell{text: p.PURL})
		}
		rows = append(rows, row)
	}
	if err := writeTable(w, columns, rows, opt); err != nil {
		return err
	}
	for _, m := range s.Missed {
		if _, err := fmt.Fprintf(w, "not read: %s\n", Clean(missedText(m))); err != nil {
			return err
		}
	}
	return nil
}

// orDash is a cell that may be empty.
func orDash(s string) cell {
	if s == "" {
		return cell{"-", styleFaint}
	}
	return cell{text: s}
}
