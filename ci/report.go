// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// report is what a run of lanes came to.
type report struct {
	lanes    []string
	outcomes []outcome
}

func (r report) failed() bool {
	for _, o := range r.outcomes {
		if o.err != nil {
			return true
		}
	}
	return false
}

// word says in one word how a step ended.
func (o outcome) word() string {
	switch {
	case o.err != nil:
		return "FAILED"
	case o.tally.passed == 0 && len(o.tally.skipped) > 0:
		return "skipped"
	}
	return "ok"
}

// print writes the table of lanes, what failed, what was skipped, and the counts
// as the last line.
func (r report) print(w io.Writer) {
	var sum tally
	fmt.Fprintf(w, "%-8s %8s  %s\n", "LANE", "MINUTES", "RESULT")
	for _, name := range r.lanes {
		var took time.Duration
		var failed []string
		skipped := true
		for _, o := range r.outcomes {
			if o.lane != name {
				continue
			}
			took += o.took
			sum.add(o.tally)
			skipped = skipped && o.word() == "skipped"
			if o.err != nil {
				failed = append(failed, o.step)
			}
		}
		result := "ok"
		switch {
		case skipped:
			result = "skipped"
		case len(failed) > 0:
			result = "FAILED: " + strings.Join(failed, ", ")
		}
		fmt.Fprintf(w, "%-8s %8s  %s\n", name, minutes(took), result)
	}
	for _, name := range sum.failed {
		fmt.Fprintf(w, "failed: %s\n", name)
	}
	for _, s := range sum.skipped {
		fmt.Fprintf(w, "skipped: %s: %s\n", s.name, s.why)
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", sum.passed, len(sum.failed), len(sum.skipped))
}

// minutes writes a duration in minutes, to a tenth.
func minutes(d time.Duration) string { return fmt.Sprintf("%.1f", d.Minutes()) }
