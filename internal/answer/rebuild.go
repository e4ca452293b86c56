// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/origin"
)

// maxSteps bounds the instructions and arguments that a recipe shows.
const maxSteps = 500

// part is something that a recipe needs.
type part struct {
	name string // as summary and gaps call it
	need string // what gives it
	have []found
	gap  string // why what is there does not do; "" when it does
}

// judgeRebuild follows docs/spec/answers.md, "rebuild".
func judgeRebuild(s *survey) dossier.Answer {
	d := s.draft("source", "revision", "base", "baseDigest", "instructions", "arguments", "builder", "gaps")
	parts := []part{
		{name: "source", need: "the label org.opencontainers.image.source", have: d.set("source", s.sources()...)},
		{name: "revision", need: "the label org.opencontainers.image.revision", have: d.set("revision", s.revisions()...)},
		{name: "base", need: "the annotations org.opencontainers.image.base.name and base.digest", have: d.set("base", s.baseNames()...)},
		{name: "instructions", need: "a builder that keeps the history", have: d.set("instructions", s.instructions()...)},
	}
	digests := d.set("baseDigest", s.baseDigests()...)
	arguments := d.set("arguments", s.arguments()...)
	d.set("builder", agree(s.of(origin.Builder), sameText)...)
	s.setStatements(d, s.rebuildStatement)

	if s.unread() {
		return d.unknown(s.whyUnread())
	}
	for i := range parts {
		p := &parts[i]
		switch n := len(valid(p.have)); {
		case n == 0:
			p.gap = "no " + p.name
		case n > 1:
			p.gap = p.name + " disputed"
		}
	}
	// Provenance that names what was run in a known source stands in for the history.
	if p := &parts[3]; len(p.have) == 0 {
		for i, x := range s.stated {
			if x.Provenance != nil && x.Provenance.EntryPoint != "" && x.Provenance.Source != "" {
				p.have, p.gap = append(p.have, found{value: x.Provenance.EntryPoint, grade: s.stated[i].grade, cites: []cite{x.cite()}}), ""
			}
		}
	}
	if _, ok := s.modified(); ok && parts[1].gap == "" {
		parts[1].gap = "source modified"
	}
	switch base := &parts[2]; {
	case len(valid(digests)) == 0 && base.gap == "":
		base.gap = "base not pinned"
	case len(valid(digests)) > 0 && base.gap == "no base":
		base.have, base.gap = digests, ""
	}
	return s.recipe(d, parts, arguments)
}

// recipe judges the parts.
func (s *survey) recipe(d *draft, parts []part, arguments []found) dossier.Answer {
	var have, gaps, needs []string
	var rests []found
	for _, p := range parts {
		if len(valid(p.have)) > 0 {
			have = append(have, p.name)
			rests = append(rests, valid(p.have)...)
		}
		if p.gap != "" {
			gaps = append(gaps, p.gap)
			needs = append(needs, p.need)
		}
	}
	if len(have) == 0 {
		return d.unknown("no recipe", "A recipe needs "+strings.Join(needs, ", ")+".")
	}
	summary := strings.Join(have, ", ")
	if len(gaps) == 0 {
		return d.answer(dossier.StatusOK, summary, "Nobody has tried this recipe yet.", append(rests, arguments...)...)
	}
	d.set("gaps", found{value: gaps, grade: dossier.Lowest(grades(rests)...)})
	return d.answer(dossier.StatusWarn, summary+"; "+joinGaps(gaps),
		"The recipe lacks "+strings.Join(needs, ", ")+".", rests...)
}

// joinGaps says "no" once for all that is missing.
func joinGaps(gaps []string) string {
	var missing, other []string
	for _, g := range gaps {
		if name, ok := strings.CutPrefix(g, "no "); ok {
			missing = append(missing, name)
		} else {
			other = append(other, g)
		}
	}
	if len(missing) > 0 {
		other = slices.Insert(other, 0, "no "+strings.Join(missing, ", "))
	}
	return strings.Join(other, ", ")
}

func grades(values []found) []dossier.Grade {
	var out []dossier.Grade
	for _, f := range values {
		out = append(out, f.grade)
	}
	return out
}

// Instructions are those of one platform, oldest first.
type Instructions struct {
	Platform string   `json:"platform"`
	Steps    []string `json:"steps"`
}

// instructions returns one value, the instructions of each platform that were
// run on top of the base; or none when no history says any.
func (s *survey) instructions() []found {
	var list []Instructions
	var cites []cite
	for _, c := range s.configs {
		var steps []string
		for _, step := range origin.Steps(origin.Config{History: s.own(c)}, origin.Manifest{}) {
			if step.Instruction != "" && len(steps) < maxSteps {
				steps = append(steps, step.Instruction)
			}
		}
		if len(steps) > 0 {
			list = append(list, Instructions{c.Platform.String(), steps})
			cites = append(cites, cite{c.fact, string(origin.InHistory), fmt.Sprintf("%d instructions", len(steps)), dossier.GradeClaimed})
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b Instructions) int { return cmp.Compare(a.Platform, b.Platform) })
	return []found{{value: list, grade: dossier.GradeClaimed, cites: cites}}
}

// arguments returns one value, the list of build arguments as NAME=VALUE, or
// none when none are recorded.
func (s *survey) arguments() []found {
	var list []string
	var cites []cite
	for _, c := range s.configs {
		args := origin.Arguments(origin.Config{History: s.own(c)})
		for _, a := range args[:min(len(args), maxSteps)] {
			list = append(list, a.String())
		}
		if len(args) > 0 {
			cites = append(cites, cite{c.fact, string(origin.InHistory), fmt.Sprintf("%d arguments", len(args)), dossier.GradeClaimed})
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	return []found{{value: slices.Compact(list), grade: dossier.GradeClaimed, cites: cites}}
}

// own returns the history of c without that of the base: all that the base's
// configuration begins with or, when that is not known, all up to its last
// layer.
func (s *survey) own(c config) []origin.HistoryEntry {
	if s.base == nil {
		return c.History
	}
	if n := len(s.baseHistory); n > 0 && n <= len(c.History) && slices.Equal(c.History[:n], s.baseHistory) {
		return c.History[n:]
	}
	layers := 0
	for i, h := range c.History {
		if layers == s.base.Layers {
			return c.History[i:]
		}
		if !h.EmptyLayer {
			layers++
		}
	}
	return nil
}
