// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
)

// report is a figure as it was measured.
type report struct {
	name, about, command  string
	commit                string // of the program that was measured
	at                    time.Time
	loadBefore, loadAfter float64
	rows                  []row
}

// row is one measure and, when it has one, its limit.
type row struct {
	what, got, limit string
	missed           bool
}

// note reports something that has no limit.
func (r *report) note(what, format string, args ...any) {
	r.rows = append(r.rows, row{what: what, got: fmt.Sprintf(format, args...)})
}

// within reports a time that has a limit.
func (r *report) within(what string, got, limit time.Duration) {
	r.rows = append(r.rows, row{what: what, got: load.Short(got), limit: "at most " + load.Short(limit), missed: got > limit})
}

// bounded reports a number of bytes that has a limit.
func (r *report) bounded(what string, got, limit int64) {
	r.rows = append(r.rows, row{what: what, got: megabytes(got), limit: "at most " + megabytes(limit), missed: got > limit})
}

// atLeast reports a ratio that has a least value.
func (r *report) atLeast(what string, got, limit float64) {
	r.rows = append(r.rows, row{what: what, got: fmt.Sprintf("%.2f", got), limit: fmt.Sprintf("at least %.2f", limit), missed: !(got >= limit)})
}

// atMost reports a ratio that has a greatest value.
func (r *report) atMost(what string, got, limit float64) {
	r.rows = append(r.rows, row{what: what, got: fmt.Sprintf("%.2f", got), limit: fmt.Sprintf("at most %.2f", limit), missed: !(got <= limit)})
}

// exactly reports a count that has one right value.
func (r *report) exactly(what string, got, want int) {
	r.rows = append(r.rows, row{what: what, got: fmt.Sprint(got), limit: fmt.Sprint(want), missed: got != want})
}

// quantiles reports latencies of which p99 has a limit.
func (r *report) quantiles(what string, s *load.Sample, limit time.Duration) {
	r.rows = append(r.rows, row{
		what: what, got: s.String(), limit: "p99 at most " + load.Short(limit),
		missed: s.N() == 0 || s.Failed > 0 || s.Quantile(0.99) > limit,
	})
}

// usage reports what a run cost beside its time.
func (r *report) usage(u measure.Usage) {
	r.note("processor, user + system", "%s + %s", load.Short(u.User), load.Short(u.System))
}

func (r *report) missed() int {
	n := 0
	for _, row := range r.rows {
		if row.missed {
			n++
		}
	}
	return n
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// table shows the rows.
func (r *report) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for _, row := range r.rows {
		verdict := ""
		switch {
		case row.missed:
			verdict = "MISSED"
		case row.limit != "":
			verdict = "reached"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", row.what, row.got, row.limit, verdict)
	}
	w.Flush() // a strings.Builder takes everything
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// section is the report as a part of RESULTS.md.
func (r *report) section() string {
	return fmt.Sprintf("## %s\n\n%s%s.\n\n%s at %s; load average %.1f before, %.1f after; `%s`<br>\n%s\n\n```\n%s```\n",
		r.name, strings.ToUpper(r.about[:1]), r.about[1:], r.at.Format("2006-01-02 15:04 UTC"), r.commit, r.loadBefore, r.loadAfter,
		r.command, measure.Machine(), r.table())
}

// preface is how RESULTS.md begins.
const preface = `# Results

What ` + "`make bench`" + ` found, each figure when it was measured last. [README.md](README.md) says what is measured and how. A
load average far above zero before a figure says that the machine had other work: take times then as upper bounds.
`

// keep replaces the section of a report in a file of results, or adds it.
func keep(file string, r *report) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keeping results: %w", err)
	}
	if err := os.WriteFile(file, []byte(replace(string(old), r.name, r.section())), 0o644); err != nil {
		return fmt.Errorf("keeping results: %w", err)
	}
	return nil
}

// replace returns a text of results with one section put in, in the order of figures.
func replace(text, name, section string) string {
	sections := map[string]string{}
	for i, part := range strings.Split("\n"+text, "\n## ") {
		if i > 0 {
			title, _, _ := strings.Cut(part, "\n")
			sections[title] = "## " + strings.TrimRight(part, "\n") + "\n"
		}
	}
	sections[name] = section
	var b strings.Builder
	b.WriteString(preface)
	for _, f := range figures() {
		if s, ok := sections[f.name]; ok {
			b.WriteString("\n" + s)
			delete(sections, f.name)
		}
	}
	var others []string
	for title := range sections {
		others = append(others, title)
	}
	slices.Sort(others)
	for _, title := range others {
		b.WriteString("\n" + sections[title])
	}
	return b.String()
}
