// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// Result is what advisories say of a package.
type Result struct {
	Findings []dossier.Finding // by ID
	// Unclear says why something could not be judged, empty when all could: the
	// versions cannot be compared, or there is none.
	Unclear string
}

// Match judges a package against advisories: those under its Keys, or all of
// them that share names. Others are passed over.
func Match(p dossier.Package, advisories []dossier.Advisory) Result {
	var result Result
	incomparable := 0
	for _, g := range judgeAll(p, advisories) {
		if f, ok := g.finding(p); ok {
			result.Findings = append(result.Findings, f)
			continue
		}
		if slices.ContainsFunc(g.verdicts, func(v *Verdict) bool { return v.own && v.Reason == Incomparable }) {
			incomparable++
		}
	}
	if incomparable > 0 {
		result.Unclear = unclear(p, incomparable)
	}
	slices.SortFunc(result.Findings, func(a, b dossier.Finding) int { return compareIDs(a.ID, b.ID) })
	return result
}

// Verdicts returns what each advisory means for a package, or for the package
// that owns it, with the names of the vulnerability; for an advisory about
// several, each. By names, then advisory.
func Verdicts(p dossier.Package, advisories []dossier.Advisory) []Verdict {
	var out []Verdict
	for _, g := range judgeAll(p, advisories) {
		for _, v := range g.verdicts {
			v.Names = g.names
			out = append(out, *v)
		}
	}
	return out
}

// group is what advisories say of one vulnerability.
type group struct {
	names    []string
	verdicts []*Verdict // by advisory, the package's own first
}

// judgeAll judges by every advisory and brings together what is about the same.
func judgeAll(p dossier.Package, advisories []dossier.Advisory) []*group {
	subjects := []*subject{newSubject(p)}
	if p.Owner != nil {
		subjects = append(subjects, newSubject(*p.Owner))
	}
	advisories = slices.Clone(advisories)
	slices.SortStableFunc(advisories, func(a, b dossier.Advisory) int {
		if c := strings.Compare(a.ID, b.ID); c != 0 {
			return c
		}
		return strings.Compare(string(a.SHA256), string(b.SHA256))
	})
	all := groups{map[string]string{}}
	var verdicts []*Verdict
	for i, s := range subjects {
		for j := range advisories {
			if s.family == nil {
				continue
			}
			v := s.judge(&advisories[j])
			if v == nil {
				continue
			}
			v.own = i == 0
			for _, names := range Names(advisories[j]) {
				all.join(names)
				each := *v
				each.names = names
				verdicts = append(verdicts, &each)
			}
		}
	}
	byRoot := map[string]*group{}
	var out []*group
	for _, v := range verdicts {
		root := all.find(v.names[0])
		g := byRoot[root]
		if g == nil {
			g = &group{}
			byRoot[root] = g
			out = append(out, g)
		}
		g.names = append(g.names, v.names...)
		g.verdicts = append(g.verdicts, v)
	}
	for _, g := range out {
		slices.SortFunc(g.names, compareIDs)
		g.names = slices.Compact(g.names)
		g.followProgram()
		if p.Owner != nil {
			g.followOwner(subjects[0], subjects[1])
		}
	}
	slices.SortFunc(out, func(a, b *group) int { return compareIDs(best(a.names), best(b.names)) })
	return out
}

// followProgram lets advisories that know which packages of a module are
// vulnerable overrule those that only know the module.
func (g *group) followProgram() {
	absent := slices.ContainsFunc(g.verdicts, func(v *Verdict) bool { return v.own && (v.Reason == Absent || v.Reason == Platform) })
	linked := slices.ContainsFunc(g.verdicts, func(v *Verdict) bool {
		return v.own && v.Reason == Affected && len(v.entry.Imports) > 0
	})
	if !absent || linked {
		return
	}
	for _, v := range g.verdicts {
		if v.own && v.Reason == Affected && len(v.entry.Imports) == 0 {
			v.Reason = Overruled
		}
	}
}

// followOwner drops what advisories of a language say of a package that the
// distribution installed, where the distribution speaks for it: it mends old
// versions without giving them new numbers. It speaks when it names the
// vulnerability, or when it names all that it is concerned by. The finding is
// then that of the distribution's package, if there is one. Programs that were
// linked from other packages are no part of that: the distribution looks at
// their source, not at what it was linked into them.
func (g *group) followOwner(own, owner *subject) {
	if owner.family == nil || !owner.family.distribution || owner.foreign {
		return
	}
	spoke := slices.ContainsFunc(g.verdicts, func(v *Verdict) bool { return !v.own && v.Reason != Withdrawn && v.Reason != Incomparable })
	all := owner.family.comprehensive && own.Type != "golang" && own.Type != "cargo"
	if !spoke && !all {
		return
	}
	for _, v := range g.verdicts {
		if v.own && v.Reason == Affected {
			v.Reason = Owned
		}
	}
}

// finding makes a finding of a group, when one of its advisories counts.
func (g *group) finding(p dossier.Package) (dossier.Finding, bool) {
	var counts []*Verdict
	for _, v := range g.verdicts {
		if v.own && v.Reason == Affected {
			counts = append(counts, v)
		}
	}
	if len(counts) == 0 {
		return dossier.Finding{}, false
	}
	f := dossier.Finding{ID: best(g.names), Package: dossier.PackageAt{Package: p}, Aliases: []string{}}
	f.Package.Program = nil
	names := slices.Clone(g.names)
	for _, v := range counts {
		names = append(names, v.Advisory)
		f.Proof = append(f.Proof, v.Proof)
		f.Notes = appendNew(f.Notes, v.note)
		f.Held = append(f.Held, v.held...)
	}
	slices.SortFunc(names, compareIDs)
	for _, n := range slices.Compact(names) {
		if n != f.ID {
			f.Aliases = append(f.Aliases, n)
		}
	}
	slices.Sort(f.Held)
	f.Held = slices.Compact(f.Held)
	if p.Type == "golang" {
		f.Symbols = presence(counts)
	}
	f.State, f.FixedIn = fix(newSubject(p).family, counts)
	f.Severity, f.Score, f.Vector = severity(p, g, counts)
	return f, true
}

// presence is the surest that the verdicts say.
func presence(counts []*Verdict) dossier.Presence {
	out := dossier.SymbolsUnknown
	for _, v := range counts {
		switch {
		case v.presence == dossier.SymbolsPresent:
			return v.presence
		case v.presence == dossier.SymbolsAbsent:
			out = v.presence
		}
	}
	return out
}

// fix says what there is to do: the highest of the versions that fix it by the
// advisories, so that all of them are satisfied.
func fix(f *family, counts []*Verdict) (dossier.FixState, string) {
	state, fixed := dossier.Unfixed, ""
	for _, v := range counts {
		if !v.fixable() {
			if v.entry.State != "" {
				state = v.entry.State
			}
			continue
		}
		if fixed == "" {
			fixed = v.Proof.Fixed
			continue
		}
		a, errA := f.version(fixed)
		b, errB := f.version(v.Proof.Fixed)
		if errA != nil || errB != nil {
			continue
		}
		if c, ok := compare(b, a); ok && c > 0 {
			fixed = v.Proof.Fixed
		}
	}
	if fixed != "" {
		state = dossier.Fixable
	}
	return state, fixed
}

func appendNew(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
