// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"io"
	"strconv"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// Audit writes one line an entry.
func Audit(w io.Writer, list dossier.AuditList, opt Options) error {
	columns := []column{{title: "TIME"}, {title: "ACTION"}, {title: "WHAT", min: 24, tail: true}, {title: "DIGEST", spare: true}, {title: "WHO", min: 12}, {title: "FROM", spare: true}}
	if opt.Wide {
		columns = append(columns, column{title: "POD", min: 10}, column{title: "STATUS"}, column{title: "BYTES"}, column{title: "CLIENT", min: 10, spare: true}, column{title: "NOTE", min: 10})
	}
	var rows [][]cell
	for _, e := range list.Entries {
		row := []cell{{text: e.At.UTC().Format(time.RFC3339)}, auditAction(e), {text: auditSubject(e)}, {text: e.Digest.Short()}, {text: auditWho(e.Caller)}, {text: e.Address}}
		if opt.Wide {
			row = append(row, cell{text: e.Caller.Pod}, cell{text: positive(int64(e.Status))}, cell{text: positive(e.Bytes)}, cell{text: e.Client}, cell{text: auditNote(e)})
		}
		rows = append(rows, row)
	}
	return writeTable(w, columns, rows, opt)
}

func auditAction(e dossier.AuditEntry) cell {
	switch {
	case e.Denied:
		return cell{string(e.Action) + " denied", styleBad}
	case e.Action == dossier.ActionLost:
		return cell{string(e.Action) + " " + strconv.FormatInt(e.Count, 10), styleBad}
	case e.Action == dossier.ActionDamage:
		return cell{string(e.Action), styleBad}
	case e.Action == dossier.ActionDelete:
		return cell{string(e.Action), styleWarn}
	}
	return cell{text: string(e.Action)}
}

// auditSubject says what something was done to, without what its digest says.
func auditSubject(e dossier.AuditEntry) string {
	s := e.Repository
	if e.Tag != "" {
		s += ":" + e.Tag
	}
	if e.Object == dossier.ObjectBlob {
		s += " (blob)"
	}
	return strings.TrimSpace(s)
}

// auditWho names a caller. A name alone is that of a user, or with a slash of a
// service account.
func auditWho(c dossier.AuditCaller) string {
	if c.Name != "" && (c.Kind == "user" || c.Kind == "serviceaccount") {
		return c.Name
	}
	return c.String()
}

// auditNote is what else there is to say.
func auditNote(e dossier.AuditEntry) string {
	switch {
	case e.Code != "":
		return e.Code
	case e.Damage != "":
		return e.Damage
	case e.Reason != "":
		return e.Reason
	case e.Was != "":
		return "was " + e.Was.Short()
	case e.Source != "":
		return "from " + e.Source
	}
	return ""
}

// positive writes a number, and 0 as nothing.
func positive(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
