// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Exposure is what advisories say of what one platform of the subject holds.
type Exposure struct {
	On              dossier.Digest  `json:"on"`              // its manifest
	Vulnerabilities []Vulnerability `json:"vulnerabilities"` // each once, by ID
	Packages        []Compared      `json:"packages"`        // all that it holds, those together of which the same is to be said
	// Suppressed are vulnerabilities that somebody says do not count, each once.
	Suppressed []SuppressedVulnerability `json:"suppressed,omitempty"`
}

// Vulnerability is one that packages of a platform have.
type Vulnerability struct {
	ID        string           `json:"id"`
	Severity  dossier.Severity `json:"severity"`            // the worst that it has for one of them
	Fixable   bool             `json:"fixable,omitempty"`   // for one of them
	Exploited bool             `json:"exploited,omitempty"` // it is known to be
}

// Compared is how many packages were compared with which advisories.
type Compared struct {
	Count     int      `json:"count"`
	Matched   bool     `json:"matched"` // false: they were not compared yet
	Ecosystem string   `json:"ecosystem,omitempty"`
	Feeds     []string `json:"feeds,omitempty"`   // that have advisories for the ecosystem
	Reason    string   `json:"reason,omitempty"`  // why nothing can be said of them, whatever advisories there are
	Unclear   string   `json:"unclear,omitempty"` // why not all could be judged
}

// addExposures adds what advisories say of what the platforms hold, as it was
// known at the time from which knowledge is asked for.
func (b *batch) addExposures(ctx context.Context) error {
	if b.unassessed {
		return nil
	}
	type platform struct {
		evidence int
		manifest dossier.Digest
		sets     []dossier.Digest
	}
	var platforms []platform
	var sets []dossier.Digest
	for i := range b.evidence {
		for j := range b.evidence[i].Facts {
			f := &b.evidence[i].Facts[j]
			if f.Kind != dossier.FactContents {
				continue
			}
			body := b.parser.parse(f)
			if body.err != nil {
				continue
			}
			p := platform{i, f.Subject, setsOf(&body.contents)}
			platforms = append(platforms, p)
			sets = append(sets, p.sets...)
		}
	}
	if len(platforms) == 0 {
		return nil
	}
	if err := b.loadMatchState(ctx); err != nil {
		return err
	}
	if err := b.loadExposures(ctx, distinct(sets)); err != nil {
		return err
	}
	for _, p := range platforms {
		e := &b.evidence[p.evidence]
		e.Feeds = b.feeds
		e.Exposures = append(e.Exposures, b.exposureOf(p.manifest, p.sets))
		b.sets[p.manifest] = p.sets
	}
	if err := b.markExploited(ctx); err != nil {
		return err
	}
	return b.triageExposures(ctx)
}

// setsOf returns the sets of packages of an image.
func setsOf(c *dossier.Contents) []dossier.Digest {
	var sets []dossier.Digest
	for _, l := range c.Layers {
		if l.Set != "" {
			sets = append(sets, l.Set)
		}
	}
	return sets
}

// loadMatchState reads with what packages were compared.
func (g *gatherer) loadMatchState(ctx context.Context) error {
	if g.matched != nil {
		return nil
	}
	state, err := g.r.MatchState(ctx, g.at.Recorded)
	if err != nil {
		return err
	}
	g.matched, g.feeds = &state, make([]dossier.Feed, len(state.Feeds))
	for i, f := range state.Feeds {
		g.feeds[i] = f.Feed
	}
	return nil
}

// loadExposures reads what advisories say of sets.
func (g *gatherer) loadExposures(ctx context.Context, sets []dossier.Digest) error {
	missing := toRead(g.exposures, sets)
	if len(missing) == 0 {
		return nil
	}
	var found map[dossier.Digest]store.SetExposure
	var err error
	if g.at.Recorded.IsZero() {
		found, err = g.remembered.read(ctx, g.r, g.matched.Generation, missing)
	} else {
		found, err = g.r.Exposures(ctx, missing, g.at.Recorded)
	}
	maps.Copy(g.exposures, found)
	return err
}

// exposureOf brings together what is said of the sets of one platform.
func (g *gatherer) exposureOf(manifest dossier.Digest, sets []dossier.Digest) Exposure {
	byID := map[string]*Vulnerability{}
	counts := map[store.PackagesAlike]int{}
	out := Exposure{On: manifest, Vulnerabilities: []Vulnerability{}, Packages: []Compared{}}
	for _, set := range sets {
		for _, f := range g.exposures[set].Findings {
			v := byID[f.ID]
			if v == nil {
				v = &Vulnerability{ID: f.ID, Severity: f.Severity}
				byID[f.ID] = v
			}
			v.Fixable = v.Fixable || f.State == dossier.Fixable
			if f.Severity.Rank() > v.Severity.Rank() {
				v.Severity = f.Severity
			}
		}
		for _, p := range g.exposures[set].Packages {
			n := p.Count
			p.Count = 0
			counts[p] += n
		}
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		out.Vulnerabilities = append(out.Vulnerabilities, *byID[id])
	}
	for p, n := range counts {
		out.Packages = append(out.Packages, Compared{
			Count: n, Matched: p.Matched, Ecosystem: p.Ecosystem, Feeds: g.matched.Covers[p.Ecosystem], Reason: p.Reason, Unclear: p.Unclear,
		})
	}
	slices.SortFunc(out.Packages, func(a, b Compared) int {
		return cmp.Or(cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Unclear, b.Unclear), cmp.Compare(a.Count, b.Count))
	})
	return out
}

// markExploited notes which vulnerabilities are known to be exploited.
func (b *batch) markExploited(ctx context.Context) error {
	ids := map[string]bool{}
	for _, e := range b.evidence {
		for _, x := range e.Exposures {
			for _, v := range x.Vulnerabilities {
				ids[v.ID] = true
			}
		}
	}
	known, err := b.exploits(ctx, toRead(b.exploited, slices.Collect(maps.Keys(ids))))
	if err != nil {
		return err
	}
	for id, e := range known {
		b.exploited[id] = !e.KnownSince.IsZero() && !e.KnownSince.After(b.asOf)
	}
	for _, e := range b.evidence {
		for _, x := range e.Exposures {
			for i, v := range x.Vulnerabilities {
				x.Vulnerabilities[i].Exploited = b.exploited[v.ID]
			}
		}
	}
	return nil
}

// exploits returns what is known of the exploitation of vulnerabilities.
func (g *gatherer) exploits(ctx context.Context, ids []string) (map[string]dossier.Exploit, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var known map[string]dossier.Exploit
	err := g.inAdvisories(ctx, func(r store.Reader) (err error) {
		known, err = r.Exploits(ctx, ids)
		return err
	})
	return known, err
}
