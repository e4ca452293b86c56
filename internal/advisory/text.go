// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

// ratings returns vectors and the words that say something.
func ratings(list []severity, words ...word) []dossier.Rating {
	var out []dossier.Rating
	for _, s := range list {
		if s.Score != "" {
			out = append(out, dossier.Rating{Type: printable(s.Type), Score: printable(s.Score)})
		}
	}
	for _, w := range words {
		if s := strings.ToLower(strings.TrimRight(printable(string(w)), "*")); s != "" && s != "not yet assigned" && s != "end-of-life" {
			out = append(out, dossier.Rating{Type: "WORD", Score: s})
		}
	}
	return out
}

var (
	// rated is how updates of Red Hat's kin begin their summaries.
	rated = pattern.New(`^(Critical|Important|Moderate|Low): `)
	// streamed finds "name:stream" in them.
	streamed = pattern.New(`(?:^|\s)([A-Za-z0-9][A-Za-z0-9_.+-]*:[A-Za-z0-9][A-Za-z0-9_.+-]*)(?:\s|$)`)
)

// ratingIn returns how bad an update says it is.
func ratingIn(id, summary string) word {
	if m := rated.FindStringSubmatch(summary); m != nil && strings.Contains(id, "SA-") {
		return word(m[1])
	}
	return ""
}

// streamIn returns the module stream that the summary of an update names, or "".
func streamIn(summary string) string {
	if m := streamed.FindStringSubmatch(summary); m != nil {
		return m[1]
	}
	return ""
}

// firstFix returns the first version that fixes something.
func firstFix(list []dossier.Range) string {
	for _, r := range list {
		for _, e := range r.Events {
			if e.Fixed != "" {
				return e.Fixed
			}
		}
	}
	return ""
}

// names returns the IDs among a list, sorted, each once. What is none, as a
// sentence or an address, is left out: nothing can be found under it.
func names(list []string, limits Limits) []string {
	var out []string
	for _, id := range list {
		if idPattern.MatchString(id) && len(id) <= limits.Text {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// maxShown is how many bytes of a text for people are kept.
const maxShown = 1024

// printable returns s as valid UTF-8 on one line, cut to maxShown.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), maxShown)], "\uFFFD"))
	return strings.TrimSpace(s)
}

// short cuts what is quoted in an error.
func short(s string) string { return printable(s[:min(len(s), 40)]) }
