// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"

	"dossier.dev/dossier"
)

// Quotas writes quotas as a table.
func Quotas(w io.Writer, list dossier.QuotaList, opt Options) error {
	columns := []column{{title: "PREFIX"}, {title: "USED"}, {title: "LIMIT"}, {title: "PART"}}
	var rows [][]cell
	for _, q := range list.Quotas {
		part := "-"
		if q.Limit > 0 {
			part = fmt.Sprintf("%.0f %%", 100*float64(q.Used)/float64(q.Limit))
		}
		rows = append(rows, []cell{{text: q.Prefix}, {text: Bytes(q.Used)}, {text: Bytes(q.Limit)}, {text: part}})
	}
	return writeTable(w, columns, rows, opt)
}
