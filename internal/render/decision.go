// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"time"

	"dossier.dev/dossier/internal/trust"
)

// Decision prints what came of verifying, a line for each signer that evidence was held
// against, and with Wide each check.
func Decision(w io.Writer, d trust.Decision, opt Options) error {
	word := "verified: " + d.Reason
	if !d.Verified {
		word = fmt.Sprintf("not verified (%s): %s", d.Code, d.Reason)
	}
	if _, err := fmt.Fprintf(w, "%s\n%s\n", Clean(word), asked(d.Asked)); err != nil {
		return err
	}
	if d.Pin != nil {
		if _, err := fmt.Fprintln(w, Clean(pinned(*d.Pin))); err != nil {
			return err
		}
	}
	if len(d.Trials) == 0 {
		return nil
	}
	columns := []column{{title: "SIGNER", min: 8}, {title: "EVIDENCE"}, {title: "CHECK"}, {title: "RESULT"}, {title: "WHAT", min: 20}}
	var rows [][]cell
	for _, t := range d.Trials {
		rows = append(rows, trialRows(t, opt.Wide)...)
	}
	return writeTable(w, columns, rows, opt)
}

// pinned says who is pinned, in words.
func pinned(p trust.Pin) string {
	if p.Made {
		return fmt.Sprintf("pinned for %s from now on: %s", p.Scope, p.Signer)
	}
	return fmt.Sprintf("pinned for %s: %s, since %s, by %s", p.Scope, p.Signer, p.At.UTC().Format(time.RFC3339), p.Image)
}

// asked says what was asked, in words.
func asked(q trust.Question) string {
	s := Clean(q.Reference)
	if s != "" {
		s += " "
	}
	s += string(q.Digest)
	if q.Predicate != "" {
		s += ", statement " + Clean(q.Predicate)
	}
	return s
}

func trialRows(t trust.Trial, wide bool) [][]cell {
	head := []cell{{text: t.Signer}, {text: t.Evidence.Short()}}
	var rows [][]cell
	for _, c := range t.Checks {
		style, what := styleGood, c.Input
		switch c.Outcome {
		case trust.Failed:
			style, what = styleBad, c.Detail
		case trust.Logged:
			style, what = styleWarn, c.Detail
		}
		if wide || c.Outcome == trust.Failed || c.Outcome == trust.Logged {
			rows = append(rows, append(head[:2:2], cell{text: c.Name}, cell{string(c.Outcome), style}, cell{text: what}))
		}
	}
	if t.Verified && !wide {
		what := t.Key
		if !t.SignedAt.IsZero() {
			what += ", " + t.SignedAt.Format(time.RFC3339)
		}
		rows = append(rows, append(head[:2:2], cell{text: "all"}, cell{"passed", styleGood}, cell{text: what}))
	}
	return rows
}
