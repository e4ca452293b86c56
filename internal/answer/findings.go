// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

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
	"dossier.dev/dossier/internal/scan"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/vex"
)

// Findings lists what advisories say of what an image holds. Errors are those of
// SBOM. KindNotFound also: there are no advisories.
func (a Answerer) Findings(ctx context.Context, q dossier.FindingQuery) (dossier.FindingList, error) {
	return a.FindingsOf(ctx, q, "")
}

// FindingsOf is Findings for an image by digest.
func (a Answerer) FindingsOf(ctx context.Context, q dossier.FindingQuery, d dossier.Digest) (dossier.FindingList, error) {
	var out dossier.FindingList
	err := a.inImage(ctx, q, d, func(g *gatherer, in inside) (err error) {
		out, err = g.findings(ctx, in, a.Policy)
		return err
	})
	return out, err
}

// inside is one platform of an image, and what it holds.
type inside struct {
	query    dossier.FindingQuery
	digest   dossier.Digest
	platform dossier.PlatformImage
	contents dossier.Contents
	sets     []dossier.Digest
	bases    map[dossier.Digest]string // the known image that brought a layer, by layer
	known    []Base                    // images that lie beneath it
	subject  vex.Subject
}

// inImage finds the platform of an image that is meant, and calls f with it.
func (a Answerer) inImage(ctx context.Context, q dossier.FindingQuery, d dossier.Digest, f func(*gatherer, inside) error) error {
	return a.Store.View(ctx, func(r store.Reader) error {
		g := a.gatherer(r, q.At)
		in := inside{query: q, digest: d}
		var err error
		if d == "" {
			if in.digest, err = lookup(ctx, r, q.Ref, g.then); err != nil {
				return err
			}
		}
		if err := g.readPlacesOf(ctx, []dossier.Digest{in.digest}); err != nil {
			return err
		}
		evidence, err := g.gather(ctx, []root{{digest: in.digest}}, a.Parser)
		if err != nil {
			return err
		}
		if in.platform, err = g.platformOf(&evidence[0], q.Platform); err != nil {
			return err
		}
		fact, err := g.contentsOf(ctx, in.platform.Manifest)
		if err != nil {
			return err
		}
		body := a.Parser.parse(&fact)
		if body.err != nil {
			return &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading the contents of", Subject: string(in.platform.Manifest), Err: body.err}
		}
		in.contents, in.sets = body.contents, setsOf(&body.contents)
		in.known = evidence[0].Bases
		in.bases, in.subject = baseOfLayers(evidence[0].Bases, in), subjectOf(&evidence[0], in.platform)
		return f(g, in)
	})
}

// contentsOf returns the fact of what a manifest holds.
func (g *gatherer) contentsOf(ctx context.Context, manifest dossier.Digest) (dossier.Fact, error) {
	for f, err := range g.r.Holding(ctx, []dossier.Digest{manifest}, g.at, dossier.FactContents) {
		return f, err
	}
	return dossier.Fact{}, &dossier.Error{Kind: dossier.KindNotFound, Op: "reading the contents of", Subject: string(manifest),
		Err: errors.New("its layers were not read yet"), Hint: "a server reads them soon; without --server the command reads them itself"}
}

// findings lists what advisories say of a platform.
func (g *gatherer) findings(ctx context.Context, in inside, p Policy) (dossier.FindingList, error) {
	out := dossier.FindingList{
		Artifact: in.query.Ref, Digest: in.digest, Feeds: []dossier.Feed{}, Findings: []dossier.Finding{}, NotAssessable: []dossier.NotAssessable{},
		Missed: in.contents.Missed,
	}
	if err := g.loadMatchState(ctx); err != nil {
		return out, err
	}
	if len(g.feeds) == 0 {
		return out, &dossier.Error{Kind: dossier.KindNotFound, Op: "looking for vulnerabilities", Err: errors.New("there are no advisories"),
			Hint: "get some with dossier db update ECOSYSTEM... or dossier db import PATH"}
	}
	if more := in.contents.MissedCount - len(in.contents.Missed); more > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%d more parts of the layers were not read", more))
	}
	if err := g.addAssessment(ctx, &out, in, p); err != nil {
		return out, err
	}
	held, err := g.r.FindingsOfSets(ctx, in.sets, g.at.Recorded)
	if err != nil {
		return out, err
	}
	for _, h := range held {
		f := h.Finding
		f.Since = h.Since
		f.Package.Layer, f.Package.Path = h.Layer, h.Path
		out.Findings = append(out.Findings, f)
	}
	if err := g.addExploits(ctx, out.Findings); err != nil {
		return out, err
	}
	slices.SortFunc(out.Findings, scan.Compare)
	if err := g.triageFindings(ctx, &out, in); err != nil {
		return out, err
	}
	scan.Advise(&out, in.bases)
	return out, g.adviseBases(ctx, &out, in, in.known)
}

// baseOfLayers returns which known image, the one with the fewest layers, has
// each of the layers in the same place.
func baseOfLayers(bases []Base, in inside) map[dossier.Digest]string {
	out := map[dossier.Digest]string{}
	for i, l := range in.contents.Layers {
		fewest := 0
		for _, b := range bases {
			if (b.On == in.platform.Manifest || b.On == "") && b.Name != "" && i < b.Layers && b.Layers < len(in.contents.Layers) && (fewest == 0 || b.Layers < fewest) {
				fewest, out[l.Layer] = b.Layers, b.Name
			}
		}
	}
	return out
}

// addAssessment counts packages, says of which nothing can be said, and names
// the feeds that have advisories for them.
func (g *gatherer) addAssessment(ctx context.Context, out *dossier.FindingList, in inside, p Policy) error {
	packages, err := g.r.PackagesOfSets(ctx, in.sets, g.at.Recorded)
	if err != nil {
		return err
	}
	out.Packages = len(packages)
	used := map[string]bool{}
	pending := 0
	for _, held := range packages {
		c := Compared{Ecosystem: held.PackagesAlike.Ecosystem, Feeds: g.matched.Covers[held.PackagesAlike.Ecosystem], Reason: held.Reason, Unclear: held.Unclear}
		for _, f := range c.Feeds {
			used[f] = true
		}
		why := c.assess(g.asOf)
		if !held.Matched {
			pending++
			why = "it was not compared with advisories yet"
		}
		if why != "" {
			out.NotAssessable = append(out.NotAssessable, dossier.NotAssessable{Package: held.PURL, Why: why})
		}
	}
	if pending > 0 {
		out.Notes = append(out.Notes, plural(pending, "package")+" were not compared with advisories yet")
	}
	slices.SortFunc(out.NotAssessable, func(a, b dossier.NotAssessable) int {
		return cmp.Or(strings.Compare(a.Package, b.Package), strings.Compare(a.Why, b.Why))
	})
	out.NotAssessable = slices.Compact(out.NotAssessable)
	for _, f := range g.feeds {
		if f.AsOf.After(out.AsOf) {
			out.AsOf = f.AsOf
		}
		if !used[f.Ecosystem] {
			continue
		}
		out.Feeds = append(out.Feeds, f)
		if older(g.asOf.Sub(f.AsOf), p.MaxFeedAge, DefaultMaxFeedAge) {
			out.Stale = true
			out.Notes = append(out.Notes, fmt.Sprintf("%s: the advisories are of %s, %s old", f.Ecosystem, f.AsOf.Format(time.RFC3339), days(g.asOf.Sub(f.AsOf))))
		}
	}
	return nil
}

// addExploits says of findings what is known of exploitation.
func (g *gatherer) addExploits(ctx context.Context, findings []dossier.Finding) error {
	names := map[string]bool{}
	for _, f := range findings {
		names[f.ID] = true
		for _, n := range f.Aliases {
			names[n] = true
		}
	}
	known, err := g.exploits(ctx, slices.Sorted(maps.Keys(names)))
	if err != nil {
		return err
	}
	for i := range findings {
		for _, n := range append([]string{findings[i].ID}, findings[i].Aliases...) {
			if e, ok := known[n]; ok {
				if e.KnownSince.After(g.asOf) {
					e.KnownSince = time.Time{}
				}
				findings[i].Exploit = &e
				break
			}
		}
	}
	return nil
}
