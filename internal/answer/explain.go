// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/feed"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

// Explain says why packages of an image have a vulnerability, by any of its IDs,
// or do not. Errors are those of Findings. KindNotFound also: no advisory that was
// known then names it.
func (a Answerer) Explain(ctx context.Context, q dossier.FindingQuery, id string) (dossier.Explanation, error) {
	return a.ExplainOf(ctx, q, id, "")
}

// ExplainOf is Explain for an image by digest.
func (a Answerer) ExplainOf(ctx context.Context, q dossier.FindingQuery, id string, d dossier.Digest) (dossier.Explanation, error) {
	var out dossier.Explanation
	err := a.inImage(ctx, q, d, func(g *gatherer, in inside) (err error) {
		out, err = g.explain(ctx, in, id)
		return err
	})
	return out, err
}

// about is what advisories say of one package, and what is kept of that.
type about struct {
	store.MatchedPackage
	finding *store.KnownFinding
	names   []string
	list    []dossier.Advisory
}

func (g *gatherer) explain(ctx context.Context, in inside, id string) (dossier.Explanation, error) {
	out := dossier.Explanation{
		Vulnerability: id, Artifact: in.query.Ref, Digest: in.digest, Manifest: in.platform.Manifest, AsOf: g.asOf, Packages: []dossier.ExplainedPackage{},
	}
	packages, err := g.r.PackagesOfSets(ctx, in.sets, g.at.Recorded)
	if err != nil {
		return out, err
	}
	held, err := g.r.FindingsOfSets(ctx, in.sets, g.at.Recorded)
	if err != nil {
		return out, err
	}
	kept := map[int64][]*store.KnownFinding{}
	for i := range held {
		kept[held[i].Package] = append(kept[held[i].Package], &held[i].KnownFinding)
	}
	list, err := g.aboutVulnerability(ctx, packages, id)
	if err != nil {
		return out, err
	}
	for _, p := range list {
		for _, f := range kept[p.ID] {
			if named(f.Finding, p.names) {
				p.finding = f
			}
		}
		e, err := g.explainPackage(ctx, p)
		if err != nil {
			return out, err
		}
		out.Packages = append(out.Packages, e)
	}
	slices.SortFunc(out.Packages, func(a, b dossier.ExplainedPackage) int { return cmp.Compare(a.Package.PURL, b.Package.PURL) })
	return out, nil
}

// named reports whether a finding has one of the names.
func named(f dossier.Finding, names []string) bool {
	return slices.ContainsFunc(append([]string{f.ID}, f.Aliases...), func(n string) bool { return slices.Contains(names, n) })
}

// inAdvisories calls f with where the advisories are.
func (g *gatherer) inAdvisories(ctx context.Context, f func(store.Reader) error) error {
	if g.advisories == nil {
		return f(g.r)
	}
	return g.advisories.View(ctx, f)
}

// aboutVulnerability returns those of the packages that advisories of a
// vulnerability name, each once, with those advisories.
func (g *gatherer) aboutVulnerability(ctx context.Context, packages []store.MatchedPackage, id string) ([]*about, error) {
	var out []*about
	err := g.inAdvisories(ctx, func(r store.Reader) error {
		out = nil
		spellings := []string{id, strings.ToUpper(id)}
		if kind, rest, ok := strings.Cut(id, "-"); ok {
			spellings = append(spellings, strings.ToUpper(kind)+"-"+strings.ToLower(rest)) // GHSA
		}
		known, err := r.Advisories(ctx, store.AdvisoryQuery{Names: spellings, At: g.at.Recorded})
		if err != nil {
			return err
		}
		if len(known) == 0 {
			return &dossier.Error{Kind: dossier.KindNotFound, Op: "explaining", Subject: id, Err: errors.New("no advisory that is known names it"),
				Hint: "dossier db status lists the feeds of advisories"}
		}
		keys := map[match.Key]bool{}
		var names []string
		for _, a := range known {
			for _, k := range match.KeysOf(a) {
				keys[k] = true
			}
			for _, same := range match.Names(a) {
				if a.ID == id || slices.ContainsFunc(same, func(n string) bool { return strings.EqualFold(n, id) }) {
					names = append(names, same...)
				}
			}
		}
		seen := map[int64]bool{}
		for _, p := range packages {
			of := match.Keys(p.PackageAt.Package)
			if seen[p.ID] || !slices.ContainsFunc(of, func(k match.Key) bool { return keys[k] }) {
				continue
			}
			seen[p.ID] = true
			read, err := feed.ReadAbout(ctx, r, of, names, g.at.Recorded)
			if err != nil {
				return err
			}
			out = append(out, &about{MatchedPackage: p, names: read.Names, list: read.Advisories})
		}
		return nil
	})
	return out, err
}

// explainPackage adds the bytes of the advisories, and what each means.
func (g *gatherer) explainPackage(ctx context.Context, p *about) (dossier.ExplainedPackage, error) {
	e := dossier.ExplainedPackage{Package: p.PackageAt, Verdicts: []dossier.Verdict{}, Records: []dossier.Original{}}
	var err error
	if e.Package.Program, err = g.r.Program(ctx, p.ID); err != nil {
		return e, err
	}
	if p.finding != nil {
		e.Finding, e.Since = &p.finding.Finding, p.finding.Since
	}
	for _, v := range match.Verdicts(e.Package.Package, p.list) {
		if slices.ContainsFunc(v.Names, func(n string) bool { return slices.Contains(p.names, n) }) {
			e.Verdicts = append(e.Verdicts, dossier.Verdict{Advisory: v.Advisory, Names: v.Names, Reason: string(v.Reason), Proof: v.Proof})
		}
	}
	err = g.inAdvisories(ctx, func(r store.Reader) error {
		for _, a := range p.list {
			b, err := r.AdvisoryBytes(ctx, a.SHA256)
			if err != nil {
				return err
			}
			e.Records = append(e.Records, dossier.Original{ID: a.ID, Feed: a.Feed, SHA256: a.SHA256, Bytes: b})
		}
		return nil
	})
	return e, err
}
