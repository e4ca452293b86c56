// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/feed"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

// alike is packages that have the same keys, and so the same advisories.
type alike struct {
	keys     []match.Key
	packages []store.KnownPackage
	feed.About
}

// byKeys brings together packages that have the same keys.
func byKeys(packages []store.KnownPackage) []*alike {
	groups := map[string]*alike{}
	for _, p := range packages {
		keys := match.Keys(p.Package)
		var name strings.Builder
		for _, k := range keys {
			name.WriteString(k.Ecosystem + "\n" + k.Name + "\n")
		}
		g := groups[name.String()]
		if g == nil {
			g = &alike{keys: keys}
			groups[name.String()] = g
		}
		g.packages = append(g.packages, p)
	}
	return slices.Collect(maps.Values(groups))
}

// compareNew compares packages that were not compared yet. It reports false when
// there are none.
func (k *Keeper) compareNew(ctx context.Context, state store.MatchState) (bool, error) {
	var packages []store.KnownPackage
	err := k.Store.View(ctx, func(r store.Reader) (err error) {
		packages, err = r.UnmatchedPackages(ctx, match.Rules, packagesAtOnce)
		return err
	})
	if err != nil || len(packages) == 0 {
		return false, err
	}
	groups := byKeys(packages)
	if err := k.readWhole(ctx, groups); err != nil {
		return false, err
	}
	var out []store.PackageFindings
	for _, g := range groups {
		for _, p := range g.packages {
			f, err := k.whole(ctx, g, p)
			if err != nil {
				return false, err
			}
			out = append(out, f)
		}
	}
	return true, k.put(ctx, store.Matched{Generation: state.Generation, Packages: inOrder(out)})
}

// readWhole reads all advisories about groups.
func (k *Keeper) readWhole(ctx context.Context, groups []*alike) error {
	return k.Advisories.View(ctx, func(r store.Reader) (err error) {
		for _, g := range groups {
			if g.Advisories = nil; len(g.keys) == 0 {
				continue
			}
			if g.Advisories, err = r.Advisories(ctx, store.AdvisoryQuery{Keys: g.keys}); err != nil {
				return err
			}
		}
		return nil
	})
}

// whole is what all advisories, those of its group, say of a package.
func (k *Keeper) whole(ctx context.Context, g *alike, p store.KnownPackage) (store.PackageFindings, error) {
	judge := func(p dossier.Package) match.Result { return match.Match(p, g.Advisories) }
	r := judge(p.Package)
	f := store.PackageFindings{
		Package: p.ID, Findings: r.Findings, Unclear: r.Unclear,
		Rules: match.Rules, Keys: g.keys, Ecosystem: match.NormalEcosystem(p.Ecosystem), Reason: match.AssessPackage(p.Package),
	}
	return f, k.withProgram(ctx, &f, p, judge)
}

// withProgram judges anew what was found of a module of a Go program, with what
// is linked into it. That takes away from what was found and never adds to it, so
// programs are read only where something was.
func (k *Keeper) withProgram(ctx context.Context, f *store.PackageFindings, p store.KnownPackage, judge func(dossier.Package) match.Result) error {
	if p.Type != "golang" || len(f.Findings) == 0 {
		return nil
	}
	return k.Store.View(ctx, func(r store.Reader) (err error) {
		if p.Program, err = r.Program(ctx, p.ID); err != nil || p.Program == nil {
			return err
		}
		f.Findings = judge(p.Package).Findings
		return nil
	})
}

// inOrder sorts by package, so that two writers lock rows in one order.
func inOrder(list []store.PackageFindings) []store.PackageFindings {
	slices.SortFunc(list, func(a, b store.PackageFindings) int { return cmp.Compare(a.Package, b.Package) })
	return list
}

// rematch judges again the packages under keys, each for the vulnerabilities that
// have one of the names given for the key.
func (k *Keeper) rematch(ctx context.Context, names map[match.Key][]string) ([]store.PackageFindings, error) {
	var packages []store.KnownPackage
	err := k.Store.View(ctx, func(r store.Reader) (err error) {
		packages, err = r.PackagesUnder(ctx, slices.Collect(maps.Keys(names)))
		return err
	})
	if err != nil || len(packages) == 0 {
		return nil, err
	}
	groups := byKeys(packages)
	err = k.Advisories.View(ctx, func(r store.Reader) error {
		for _, g := range groups {
			var about []string
			for _, key := range g.keys {
				about = append(about, names[key]...)
			}
			var err error
			if g.About, err = feed.ReadAbout(ctx, r, g.keys, about, time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []store.PackageFindings
	for _, g := range groups {
		for _, p := range g.packages {
			f, err := k.rematchOne(ctx, g, p)
			if err != nil {
				return nil, err
			}
			out = append(out, f)
		}
	}
	return inOrder(out), nil
}

// rematchOne judges one package again. Where something cannot be judged, or could
// not before, all is: that is said of the package as a whole.
func (k *Keeper) rematchOne(ctx context.Context, g *alike, p store.KnownPackage) (store.PackageFindings, error) {
	judged := g.Rematch(p.Package)
	if judged.Unclear == "" && p.Unclear == "" {
		f := store.PackageFindings{Package: p.ID, Names: judged.Names, Findings: judged.Findings}
		return f, k.withProgram(ctx, &f, p, func(p dossier.Package) match.Result { return g.Rematch(p).Result })
	}
	all := &alike{keys: g.keys}
	if err := k.readWhole(ctx, []*alike{all}); err != nil {
		return store.PackageFindings{}, err
	}
	return k.whole(ctx, all, p)
}
