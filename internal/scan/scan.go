// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

const op = "looking for vulnerabilities"

// keysAtOnce is how many keys are asked for in one question.
const keysAtOnce = 200

// Options say how a list is made.
type Options struct {
	Now time.Time // which releases still get updates, and how old feeds are
	// MaxAge is how old feeds may be before a note says so; 0: any age.
	MaxAge time.Duration
}

// Find lists what advisories say of packages. KindNotFound: there are no
// advisories at all.
func Find(ctx context.Context, r store.AdvisoryReader, packages []dossier.PackageAt, o Options) (dossier.FindingList, error) {
	out := dossier.FindingList{Packages: len(packages), Feeds: []dossier.Feed{}, Findings: []dossier.Finding{}, NotAssessable: []dossier.NotAssessable{}}
	covering, err := addFeeds(ctx, r, &out, packages, o)
	if err != nil {
		return dossier.FindingList{}, err
	}
	known, err := advisoriesFor(ctx, r, packages)
	if err != nil {
		return dossier.FindingList{}, err
	}
	knowledge := match.Knowledge{At: o.Now, Covers: func(e string) bool { return len(covering[e]) > 0 }}
	results := map[identity]match.Result{}
	for _, p := range packages {
		id := identityOf(p.Package)
		result, ok := results[id]
		if !ok {
			result = match.Match(p.Package, known.of(p.Package))
			results[id] = result
			for _, why := range []string{match.Assess(p.Package, knowledge), result.Unclear} {
				if why != "" {
					out.NotAssessable = append(out.NotAssessable, dossier.NotAssessable{Package: p.PURL, Why: why})
				}
			}
		}
		for _, f := range result.Findings {
			f.Package.Layer, f.Package.Path = p.Layer, p.Path
			out.Findings = append(out.Findings, f)
		}
	}
	if err := addExploits(ctx, r, out.Findings); err != nil {
		return dossier.FindingList{}, err
	}
	slices.SortFunc(out.Findings, Compare)
	slices.SortFunc(out.NotAssessable, func(a, b dossier.NotAssessable) int {
		return cmp.Or(strings.Compare(a.Package, b.Package), strings.Compare(a.Why, b.Why))
	})
	out.NotAssessable = slices.Compact(out.NotAssessable)
	return out, nil
}

// Compare orders findings: the worst first, then those that are known to be
// exploited, then by what identifies them.
func Compare(a, b dossier.Finding) int {
	return cmp.Or(
		cmp.Compare(b.Severity.Rank(), a.Severity.Rank()), cmp.Compare(exploited(b), exploited(a)), cmp.Compare(b.Score, a.Score),
		strings.Compare(a.ID, b.ID), strings.Compare(a.Package.Name, b.Package.Name), strings.Compare(a.Package.PURL, b.Package.PURL),
		strings.Compare(a.Package.Path, b.Package.Path), strings.Compare(string(a.Package.Layer), string(b.Package.Layer)),
	)
}

func exploited(f dossier.Finding) int {
	if f.Exploit == nil || f.Exploit.KnownSince.IsZero() {
		return 0
	}
	return 1
}

// addFeeds names the feeds that have advisories for the packages, and returns
// them by ecosystem.
func addFeeds(ctx context.Context, r store.AdvisoryReader, out *dossier.FindingList, packages []dossier.PackageAt, o Options) (map[string][]store.Feed, error) {
	all, err := r.Feeds(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, &dossier.Error{Kind: dossier.KindNotFound, Op: op, Err: errors.New("there are no advisories"),
			Hint: "get some with dossier db update ECOSYSTEM... or dossier db import PATH"}
	}
	ecosystems := map[string]bool{}
	for _, p := range packages {
		if e := match.NormalEcosystem(p.Ecosystem); e != "" {
			ecosystems[e] = true
		}
	}
	covering, err := r.CoveringFeeds(ctx, slices.Sorted(maps.Keys(ecosystems)))
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, list := range covering {
		for _, f := range list {
			used[f.Ecosystem] = true
		}
	}
	for _, f := range all {
		if f.AsOf.After(out.AsOf) {
			out.AsOf = f.AsOf
		}
		if !used[f.Ecosystem] {
			continue
		}
		out.Feeds = append(out.Feeds, f.Feed)
		if age := o.Now.Sub(f.AsOf); o.MaxAge > 0 && age > o.MaxAge {
			out.Stale = true
			out.Notes = append(out.Notes, fmt.Sprintf("%s: the advisories are of %s, older than %v", f.Ecosystem, f.AsOf.UTC().Format(time.RFC3339), o.MaxAge))
		}
	}
	return covering, nil
}

// identity is all by which Match tells packages apart.
type identity struct {
	dossier.Package // without pointers
	owner           string
	program         *dossier.Program
}

func identityOf(p dossier.Package) identity {
	id := identity{Package: p, program: p.Program}
	if p.Owner != nil {
		id.owner = p.Owner.PURL
	}
	id.Owner, id.Program = nil, nil
	return id
}

// advisories are those that concern some packages, by key.
type advisories map[match.Key][]dossier.Advisory

// of returns those under the keys of a package, each once.
func (a advisories) of(p dossier.Package) []dossier.Advisory {
	type version struct {
		id     string
		sha256 dossier.Digest
	}
	var out []dossier.Advisory
	at := map[version]int{}
	for _, k := range match.Keys(p) {
		for _, one := range a[k] {
			v := version{one.ID, one.SHA256}
			if i, ok := at[v]; ok { // its entries under another key
				out[i].Affected = slices.Concat(out[i].Affected, one.Affected)
				continue
			}
			at[v] = len(out)
			out = append(out, one)
		}
	}
	return out
}

// advisoriesFor reads the advisories for packages.
func advisoriesFor(ctx context.Context, r store.AdvisoryReader, packages []dossier.PackageAt) (advisories, error) {
	wanted := map[match.Key]bool{}
	for _, p := range packages {
		for _, k := range match.Keys(p.Package) {
			wanted[k] = true
		}
	}
	keys := slices.SortedFunc(maps.Keys(wanted), func(a, b match.Key) int {
		return cmp.Or(strings.Compare(a.Ecosystem, b.Ecosystem), strings.Compare(a.Name, b.Name))
	})
	out := advisories{}
	for some := range slices.Chunk(keys, keysAtOnce) {
		list, err := r.Advisories(ctx, store.AdvisoryQuery{Keys: some})
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			out.add(a)
		}
	}
	return out, nil
}

// add files an advisory under the keys of its entries, with those entries.
func (a advisories) add(one dossier.Advisory) {
	entries := map[match.Key][]dossier.Affected{}
	for _, e := range one.Affected {
		k := match.KeyOf(e)
		entries[k] = append(entries[k], e)
	}
	for k, list := range entries {
		one.Affected = list
		a[k] = append(a[k], one)
	}
}

// addExploits says of findings what is known of exploitation.
func addExploits(ctx context.Context, r store.AdvisoryReader, findings []dossier.Finding) error {
	names := map[string]bool{}
	for _, f := range findings {
		names[f.ID] = true
		for _, n := range f.Aliases {
			names[n] = true
		}
	}
	if len(names) == 0 {
		return nil
	}
	known, err := r.Exploits(ctx, slices.Sorted(maps.Keys(names)))
	if err != nil {
		return err
	}
	for i := range findings {
		for _, n := range append([]string{findings[i].ID}, findings[i].Aliases...) {
			if e, ok := known[n]; ok {
				findings[i].Exploit = &e
				break
			}
		}
	}
	return nil
}
