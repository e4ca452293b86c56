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
	out := Rematched{Names: slices.Clone(names)}
	var list []dossier.Advisory
	for {
		slices.Sort(out.Names)
		out.Names = slices.Compact(out.Names)
		var err error
		if list, err = r.Advisories(ctx, store.AdvisoryQuery{Keys: match.Keys(p), Names: out.Names, At: at}); err != nil {
			return Rematched{}, err
		}
		more := connected(list, out.Names)
		if len(more) == 0 {
			break
		}
		out.Names = append(out.Names, more...)
	}
	out.Result = match.Match(p, list)
	out.Findings = slices.DeleteFunc(out.Findings, func(f dossier.Finding) bool { return !about(f, list, out.Names) })
	return out, nil
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
