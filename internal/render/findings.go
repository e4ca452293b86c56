// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// Findings writes a line for each finding, and below them how many there are, by
// which advisories, and what was not judged. Notes are for stderr.
func Findings(w io.Writer, list dossier.FindingList, opt Options) error {
	columns := []column{{title: "SEVERITY"}, {title: "VULNERABILITY"}, {title: "PACKAGE", min: 12}, {title: "VERSION", min: 10}, {title: "FIXED IN", min: 10}, {title: "LAYER", spare: true}, {title: "PATH", min: 16, spare: true, tail: true}}
	if opt.Wide {
		columns = append(columns, column{title: "ALIASES", min: 16}, column{title: "PURL", min: 16})
	}
	var rows [][]cell
	for _, f := range list.Findings {
		row := []cell{
			{severityText(f), severityStyle(f.Severity)}, {text: f.ID}, {text: f.Package.Name}, orDash(f.Package.Version), fixCell(f),
			orDash(f.Package.Layer.Short()), orDash(f.Package.Path),
		}
		if opt.Wide {
			row = append(row, orDash(strings.Join(f.Aliases, ", ")), cell{text: f.Package.PURL})
		}
		rows = append(rows, row)
	}
	if len(rows) > 0 {
		if err := writeTable(w, columns, rows, opt); err != nil {
			return err
		}
	}
	var b strings.Builder
	fmt.Fprintln(&b, findingSummary(list))
	for _, line := range toDo(list.Findings) {
		fmt.Fprintf(&b, "to do: %s\n", Clean(line))
	}
	for _, f := range list.Feeds {
		fmt.Fprintf(&b, "advisories: %s, serial %d, as of %s\n", Clean(f.Ecosystem), f.Serial, f.AsOf.UTC().Format(time.RFC3339))
	}
	for _, s := range list.Suppressed {
		for _, t := range s.By {
			fmt.Fprintf(&b, "suppressed: %s in %s: %s\n", Clean(s.ID), Clean(strings.TrimSpace(s.Package.Name+" "+s.Package.Version)), Clean(triageText(t)))
		}
	}
	for _, line := range notAssessableLines(list.NotAssessable) {
		fmt.Fprintf(&b, "not assessable: %s\n", Clean(line))
	}
	for _, m := range list.Missed {
		fmt.Fprintf(&b, "not read: %s\n", Clean(missedText(m)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// severityText is a severity, with a mark for what is known to be exploited.
func severityText(f dossier.Finding) string {
	if f.Exploit != nil && !f.Exploit.KnownSince.IsZero() {
		return string(f.Severity) + ", exploited"
	}
	return string(f.Severity)
}

func severityStyle(s dossier.Severity) string {
	switch s {
	case dossier.SeverityCritical, dossier.SeverityHigh:
		return styleBad
	case dossier.SeverityMedium:
		return styleWarn
	}
	return ""
}

// fixCell is the version to update to, or why there is none.
func fixCell(f dossier.Finding) cell {
	if f.FixedIn != "" {
		return cell{text: f.FixedIn}
	}
	return cell{"(" + string(f.State) + ")", styleFaint}
}

// severities are all of them, the worst first.
func severities() []dossier.Severity {
	return []dossier.Severity{dossier.SeverityCritical, dossier.SeverityHigh, dossier.SeverityMedium, dossier.SeverityLow, dossier.SeverityNegligible, dossier.SeverityUnknown}
}

// findingSummary counts. Where something could not be judged it never says that
// there is nothing.
func findingSummary(list dossier.FindingList) string {
	unjudged := map[string]bool{}
	for _, n := range list.NotAssessable {
		unjudged[n.Package] = true
	}
	of := count(list.Packages, "package")
	if len(list.Findings) == 0 {
		switch {
		case list.Packages == 0:
			return "no packages were found: nothing can be said"
		case len(list.Feeds) == 0:
			return "nothing can be said of " + of + ": there are no advisories for them"
		case len(unjudged) > 0:
			return fmt.Sprintf("no known vulnerabilities in those of %s that could be judged", of) + suppressedText(list)
		case len(list.Suppressed) > 0:
			return "no known vulnerabilities in " + of + suppressedText(list)
		}
		return "no known vulnerabilities in " + of
	}
	by, concerned, fixable := map[dossier.Severity]int{}, map[string]bool{}, 0
	for _, f := range list.Findings {
		by[f.Severity]++
		concerned[f.Package.PURL] = true
		if f.State == dossier.Fixable {
			fixable++
		}
	}
	var parts []string
	for _, s := range severities() {
		if by[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", by[s], s))
		}
	}
	text := fmt.Sprintf("%s in %d of %s: %s; %d fixable", count(len(list.Findings), "finding"), len(concerned), of, strings.Join(parts, ", "), fixable)
	if n := len(list.Suppressed); n > 0 {
		text += fmt.Sprintf("; %d suppressed", n)
	}
	return text
}

// maxToDo is how many steps the table lists.
const maxToDo = 20

// toDo is what would mend findings, a step a line, what mends the worst first.
// What cannot be mended is not among it.
func toDo(findings []dossier.Finding) []string {
	type step struct {
		text  string
		worst dossier.Severity
		n     int
	}
	at := map[string]int{}
	var steps []step
	for _, f := range findings { // the worst first
		if f.Remedy == nil || f.Remedy.Kind == dossier.RemedyNone {
			continue
		}
		i, ok := at[f.Remedy.Text]
		if !ok {
			i = len(steps)
			at[f.Remedy.Text] = i
			steps = append(steps, step{f.Remedy.Text, f.Severity, 0})
		}
		steps[i].n++
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Or(b.worst.Rank()-a.worst.Rank(), b.n-a.n) })
	var out []string
	for _, s := range steps[:min(len(steps), maxToDo)] {
		out = append(out, fmt.Sprintf("%s (%s, the worst %s)", s.text, count(s.n, "finding"), s.worst))
	}
	if n := len(steps) - maxToDo; n > 0 {
		out = append(out, fmt.Sprintf("and %d more; -o json has all", n))
	}
	return out
}

// suppressedText says after a sentence that there is more than it tells.
func suppressedText(list dossier.FindingList) string {
	switch n := len(list.Suppressed); n {
	case 0:
		return ""
	case 1:
		return " but the one that is suppressed"
	default:
		return fmt.Sprintf(" but the %d that are suppressed", n)
	}
}

// triageText says who says what, and why.
func triageText(t dossier.Triage) string {
	text := t.Status
	if t.Justification != "" {
		text += " (" + t.Justification + ")"
	}
	text += ", says " + cmp.Or(t.Author, "someone") + " in " + t.Source + t.Standing()
	if !t.Expires.IsZero() {
		text += " until " + t.Expires.UTC().Format(time.DateOnly)
	}
	if t.Reason != "" {
		text += ": " + t.Reason
	}
	return text
}

// notAssessableLines counts packages by why nothing can be said of them.
func notAssessableLines(list []dossier.NotAssessable) []string {
	by := map[string][]string{}
	var reasons []string
	for _, n := range list {
		if by[n.Why] == nil {
			reasons = append(reasons, n.Why)
		}
		by[n.Why] = append(by[n.Why], n.Package)
	}
	slices.SortStableFunc(reasons, func(a, b string) int { return cmp.Or(len(by[b])-len(by[a]), strings.Compare(a, b)) })
	var out []string
	for _, why := range reasons {
		who := by[why]
		line := count(len(who), "package") + ": " + why
		if len(who) <= 3 {
			line += " (" + strings.Join(who, ", ") + ")"
		}
		out = append(out, line)
	}
	return out
}
