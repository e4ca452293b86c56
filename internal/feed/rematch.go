// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

// Rematched is what advisories say of some vulnerabilities of a package.
type Rematched struct {
	match.Result
	// Names are all names of the vulnerabilities that were judged. What was found
	// before under one of them is replaced by Findings.
	Names []string
}

// Rematch judges a package again, for the vulnerabilities with one of the names
// alone: those of an AdvisoryChange. It reads only advisories that share a name
// with them, and finds what match.Match would among all.
func Rematch(ctx context.Context, r store.AdvisoryReader, p dossier.Package, names []string, at time.Time) (Rematched, error) {
	a, err := ReadAbout(ctx, r, match.Keys(p), names, at)
	if err != nil {
		return Rematched{}, err
	}
	return a.Rematch(p), nil
}

// About is all that advisories under some keys say of some vulnerabilities.
type About struct {
	// Names, in order, are all names of the vulnerabilities.
	Names      []string
	Advisories []dossier.Advisory
}

// ReadAbout reads what advisories under keys, as they were known at a time, say of
// the vulnerabilities with one of the names, and of those that are the same.
func ReadAbout(ctx context.Context, r store.AdvisoryReader, keys []match.Key, names []string, at time.Time) (About, error) {
	out := About{Names: slices.Clone(names)}
	for {
		slices.Sort(out.Names)
		out.Names = slices.Compact(out.Names)
		var err error
		if out.Advisories, err = r.Advisories(ctx, store.AdvisoryQuery{Keys: keys, Names: out.Names, At: at}); err != nil {
			return About{}, err
		}
		more := connected(out.Advisories, out.Names)
		if len(more) == 0 {
			return out, nil
		}
		out.Names = append(out.Names, more...)
	}
}

// Rematch judges a package, whose keys are those that were read.
func (a About) Rematch(p dossier.Package) Rematched {
	out := Rematched{Names: a.Names, Result: match.Match(p, a.Advisories)}
	out.Findings = slices.DeleteFunc(out.Findings, func(f dossier.Finding) bool { return !about(f, a.Advisories, a.Names) })
	return out
}

// connected returns names that mean the same as one of names, and are not among
// them. Both lists are in order.
func connected(list []dossier.Advisory, names []string) (more []string) {
	for _, a := range list {
		for _, same := range match.Names(a) {
			if !slices.ContainsFunc(same, in(names)) {
				continue // another vulnerability of the same bulletin
			}
			for _, n := range same {
				if !in(names)(n) {
					more = append(more, n)
				}
			}
		}
	}
	return more
}

// in reports whether a name is in a list, which is in order.
func in(names []string) func(string) bool {
	return func(n string) bool { _, ok := slices.BinarySearch(names, n); return ok }
}

// about reports whether a finding is about a vulnerability with one of the names,
// and not only in a bulletin that is also about one.
func about(f dossier.Finding, list []dossier.Advisory, names []string) bool {
	mine := append([]string{f.ID}, f.Aliases...)
	for _, a := range list {
		for _, same := range match.Names(a) {
			if slices.Contains(mine, same[0]) && slices.ContainsFunc(same, in(names)) {
				return true
			}
		}
	}
	return false
}
