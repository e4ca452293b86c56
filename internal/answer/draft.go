// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"dossier.dev/dossier"
)

// Widths of what people read, in characters.
const (
	maxSummary  = 60
	maxCitation = 200
)

// cite is one use of a fact.
type cite struct {
	fact  *dossier.Fact
	use   string // citation kind: "config.label"
	text  string // what the fact says there
	grade dossier.Grade
}

// found is one value of a detail and what it stands on.
type found struct {
	value   any
	grade   dossier.Grade
	cites   []cite
	invalid string
}

// text returns the value when it is a string.
func (f found) text() string {
	s, _ := f.value.(string)
	return s
}

// seen is a value that Dossier saw itself. Facts that are nil are left out.
func seen(value any, cites ...cite) found {
	return found{value: value, grade: dossier.GradeObserved, cites: slices.DeleteFunc(cites, func(c cite) bool { return c.fact == nil })}
}

// draft is an answer in the making.
type draft struct {
	s       *survey
	details map[string][]found
}

// draft begins an answer that has these details, each an empty list at first.
func (s *survey) draft(keys ...string) *draft {
	d := &draft{s: s, details: map[string][]found{}}
	for _, k := range keys {
		d.details[k] = nil
	}
	return d
}

// set gives a detail its values and returns them.
func (d *draft) set(key string, values ...found) []found {
	d.details[key] = values
	return values
}

// merge makes one value of all that a detail has, a list: they are no
// disagreement. Equal ones that follow one another are one.
func (d *draft) merge(key string) {
	var list []string
	all := found{grade: dossier.GradeReproduced}
	for _, f := range d.details[key] {
		list = append(list, f.text())
		all.cites = append(all.cites, f.cites...)
		all.grade = min(all.grade, f.grade)
	}
	if len(list) > 0 {
		all.value = slices.Compact(list)
		d.details[key] = []found{all}
	}
}

// answer completes the draft. rests are what status and summary rest on; their
// lowest grade is the answer's.
func (d *draft) answer(status dossier.Status, summary, next string, rests ...found) dossier.Answer {
	a := dossier.Answer{
		Status:   status,
		Summary:  clip(summary, maxSummary),
		AsOf:     d.s.AsOf,
		Details:  make(map[string][]dossier.Value, len(d.details)),
		Evidence: []dossier.Citation{},
		Next:     next,
	}
	all := make([]found, 0, len(d.details)+len(rests))
	for _, key := range slices.Sorted(maps.Keys(d.details)) {
		values := make([]dossier.Value, 0, len(d.details[key]))
		for _, f := range d.details[key] {
			values = append(values, dossier.Value{Value: f.value, Grade: f.grade, Evidence: ids(f.cites), Invalid: f.invalid})
		}
		a.Details[key] = values
		all = append(all, d.details[key]...)
	}
	var grades []dossier.Grade
	for _, f := range rests {
		grades = append(grades, f.grade)
	}
	a.Grade = dossier.Lowest(grades...)
	a.Evidence = citations(append(all, rests...))
	return a
}

// unknown completes the draft as one that does not know.
func (d *draft) unknown(summary, next string) dossier.Answer {
	return d.answer(dossier.StatusUnknown, summary, next)
}

// ids returns the facts of cites, each once, sorted.
func ids(cites []cite) []dossier.Digest {
	out := make([]dossier.Digest, 0, len(cites))
	for _, c := range cites {
		out = append(out, c.fact.ID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// citations lists each (fact, use) once, with all that it says there.
func citations(values []found) []dossier.Citation {
	type key struct {
		id  dossier.Digest
		use string
	}
	at := map[key]int{}
	var texts [][]string
	out := make([]dossier.Citation, 0, len(values))
	for _, f := range values {
		for _, c := range f.cites {
			k := key{c.fact.ID, c.use}
			i, ok := at[k]
			if !ok {
				i = len(out)
				at[k] = i
				out = append(out, dossier.Citation{ID: c.fact.ID, Kind: c.use, Source: c.fact.Source, At: c.fact.RecordedAt, Grade: c.grade})
				texts = append(texts, nil)
			}
			out[i].Grade = min(out[i].Grade, c.grade)
			if !slices.Contains(texts[i], c.text) {
				texts[i] = append(texts[i], c.text)
			}
		}
	}
	for i := range out {
		slices.Sort(texts[i])
		out[i].Summary = clip(strings.Join(texts[i], ", "), maxCitation)
	}
	slices.SortFunc(out, func(a, b dossier.Citation) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// agree makes one value of claims that say the same, in their order. A value
// that several facts support is as good as the best of them.
func agree(claims []claim, same func(a, b string) bool) []found {
	var out []found
	for _, c := range claims {
		out = merge(out, c.found(), same)
	}
	return out
}

// merge adds f to list, or its support to the value there that says the same.
func merge(list []found, f found, same func(a, b string) bool) []found {
	for i := range list {
		if same(list[i].text(), f.text()) {
			list[i].cites = append(slices.Clip(list[i].cites), f.cites...)
			list[i].grade = max(list[i].grade, f.grade)
			if f.invalid == "" {
				list[i].invalid = ""
			}
			return list
		}
	}
	return append(list, f)
}

// found is the value that a claim gives.
func (c claim) found() found {
	grade, text := max(c.grade, dossier.GradeClaimed), c.Key+"="+c.Value
	if c.by != "" {
		text += ", signed by " + c.by
	}
	return found{
		value:   c.Value,
		grade:   grade,
		cites:   []cite{{c.fact, string(c.Where), text, grade}},
		invalid: c.Invalid,
	}
}

// valid returns the values that have no fault.
func valid(values []found) []found {
	var out []found
	for _, f := range values {
		if f.invalid == "" {
			out = append(out, f)
		}
	}
	return out
}

// first returns the first valid value.
func first(values []found) (found, bool) {
	for _, f := range values {
		if f.invalid == "" {
			return f, true
		}
	}
	return found{}, false
}

func sameText(a, b string) bool { return a == b }

// clip cuts s to n characters.
func clip(s string, n int) string {
	if len(s) <= n || utf8.RuneCountInString(s) <= n {
		return s
	}
	end := 0
	for range n - 1 {
		_, size := utf8.DecodeRuneInString(s[end:])
		end += size
	}
	return strings.ToValidUTF8(s[:end], "\uFFFD") + "…"
}
