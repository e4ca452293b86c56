// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/trust"
)

// gatherer reads evidence from one consistent state of a store.
type gatherer struct {
	memory
	r    store.Reader
	at   dossier.Times
	asOf time.Time // what "now" is in the evidence
	// then is the time of intervals: zero for now.
	then time.Time

	places    []*rooted          // of all clusters in question, not only of the images in question
	byRoot    map[root][]*rooted // the same
	requested map[string]*asking // by Place.Requested
	asked     map[string]*asking // by Place.Asked
	problems  *problems          // nil: not read yet

	advisories store.Store       // nil: r has them
	remembered *Exposures        // may be nil
	triage     *Triage           // may be nil
	trust      *trust.Policy     // whose signatures of attached documents count; nil: nobody is known
	attached   bool              // attached documents count, whatever triage says
	matched    *store.MatchState // nil: not read yet
	feeds      []dossier.Feed    // of matched
	unassessed bool              // nobody wants to know what advisories say
}

func newGatherer(r store.Reader, at dossier.Times, now time.Time) *gatherer {
	g := &gatherer{
		memory: newMemory(), byRoot: map[root][]*rooted{}, requested: map[string]*asking{}, asked: map[string]*asking{},
		r: r, at: at, asOf: dossier.Instant(now), then: at.Valid,
	}
	if !at.Valid.IsZero() {
		g.asOf = at.Valid
	}
	// Intervals keep when something was so, and Dossier learnt of it at once: an
	// interval that began after Recorded was not known then.
	if !at.Recorded.IsZero() && (g.then.IsZero() || at.Recorded.Before(g.then)) {
		g.then = at.Recorded
	}
	return g
}

// knownThen returns a function that reports which of the digests had been read
// at the time from which knowledge is asked for. Images and edges are kept
// without times: what was learnt of them later must not be evidence.
func (g *gatherer) knownThen(ctx context.Context, ds []dossier.Digest) (func(dossier.Digest) bool, error) {
	if g.at.Recorded.IsZero() || len(ds) == 0 {
		return func(dossier.Digest) bool { return true }, nil
	}
	known := map[dossier.Digest]bool{}
	at := dossier.Times{Recorded: g.at.Recorded}
	for f, err := range g.r.Holding(ctx, distinct(ds), at, dossier.FactIndex, dossier.FactManifest, dossier.FactConfig) {
		if err != nil {
			return nil, err
		}
		known[f.Subject] = true
	}
	return func(d dossier.Digest) bool { return known[d] }, nil
}

// asSeenThen takes out of an interval what happened after the time asked for.
// Looks that found nothing new are not kept one by one: of one before Recorded
// nothing is known when there was one after it.
func (g *gatherer) asSeenThen(t dossier.TagInterval) dossier.TagInterval {
	if g.then.IsZero() {
		return t
	}
	if t.To.After(g.then) {
		t.To = time.Time{}
	}
	if t.CheckedAt.After(g.then) {
		t.CheckedAt = g.then
		if !g.at.Recorded.IsZero() {
			t.CheckedAt = t.From
		}
	}
	return t
}

// gather reads the evidence about images in as few queries as it can.
func (g *gatherer) gather(ctx context.Context, roots []root, with *Parser) ([]Evidence, error) {
	b := batch{gatherer: g, evidence: make([]Evidence, len(roots)), parser: with, sets: map[dossier.Digest][]dossier.Digest{}}
	for i, root := range roots {
		b.evidence[i] = Evidence{Subject: root.digest, AsOf: g.asOf}
	}
	b.addPlaces(roots)
	steps := []func(context.Context) error{
		b.addImages, b.addFacts, b.addNames, b.addPins, b.addTags, b.addExposures, b.addRequests, b.addRuns, b.addBases,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return b.evidence, b.addProblems(ctx, roots)
}

// batch is a set of images about which evidence is being gathered.
type batch struct {
	*gatherer
	evidence []Evidence
	configs  map[dossier.Digest]*parsed
	sets     map[dossier.Digest][]dossier.Digest // of packages, by manifest
	parser   *Parser
}

func (b *batch) addPlaces(roots []root) {
	for i, r := range roots {
		for _, p := range b.byRoot[r] {
			if !p.outside {
				b.evidence[i].Places = append(b.evidence[i].Places, p.Place)
			}
		}
	}
}

// subjects returns the digests of the batch.
func (b *batch) subjects() []dossier.Digest {
	var ds []dossier.Digest
	for _, e := range b.evidence {
		if e.Subject != "" {
			ds = append(ds, e.Subject)
		}
	}
	return ds
}

// addImages adds what the subjects are, their edges and platforms.
func (b *batch) addImages(ctx context.Context) error {
	if err := b.loadTree(ctx, b.subjects()); err != nil {
		return err
	}
	for i := range b.evidence {
		e := &b.evidence[i]
		if e.Image = b.images[e.Subject]; e.Image != nil {
			e.Edges = slices.Clone(b.edges[e.Subject])
			e.Platforms = b.platformsOf(e)
		}
	}
	return nil
}

// platformsOf lists the platforms of an image that run: all of them when it runs
// nowhere, or when a node's platform is not known. It adds their edges.
func (b *batch) platformsOf(e *Evidence) []dossier.PlatformImage {
	if e.Image.Kind != dossier.ImageIndex {
		return []dossier.PlatformImage{{
			Platform: e.Image.Platform,
			Manifest: e.Subject,
			Config:   configOf(b.edges[e.Subject]),
			Pods:     podsOn(e.Places, ""),
		}}
	}
	var all, run []dossier.PlatformImage
	for _, edge := range b.leaves(e.Subject) {
		p := dossier.PlatformImage{
			Platform: cmp.Or(edge.Platform, b.platform(edge.Child)),
			Manifest: edge.Child,
			Config:   configOf(b.edges[edge.Child]),
		}
		if p.Platform != "" {
			p.Pods = podsOn(e.Places, p.Platform)
		}
		all = append(all, p)
		if p.Pods > 0 {
			run = append(run, p)
		}
	}
	if len(run) == 0 || slices.ContainsFunc(e.Places, func(p dossier.Place) bool { return p.Pod != "" && p.Platform == "" }) {
		run = all
	}
	for _, p := range run {
		e.Edges = append(e.Edges, b.edges[p.Manifest]...)
	}
	return run
}

func configOf(edges []dossier.Edge) dossier.Digest {
	for _, e := range edges {
		if e.Role == dossier.RoleConfig {
			return e.Child
		}
	}
	return ""
}

// podsOn counts the pods that run the image on a platform ("" counts all).
func podsOn(places []dossier.Place, platform string) int {
	pods := map[string]bool{}
	for _, p := range places {
		if runs(p) && (platform == "" || p.Platform != "" && dossier.PlatformMatches(platform, []string{p.Platform})) {
			pods[p.Cluster+" "+p.Key()] = true
		}
	}
	return len(pods)
}

// runs reports whether a place is a container that was started: the runtime
// said which image it is. Of image volumes it need not say so.
func runs(p dossier.Place) bool {
	return p.Pod != "" && (p.Digest != "" || p.Type == dossier.ImageVolume)
}

// addFacts adds the facts of the subjects, their platform manifests and
// configurations.
func (b *batch) addFacts(ctx context.Context) error {
	owners := map[dossier.Digest][]int{} // subject of a fact -> evidence
	for i, e := range b.evidence {
		if e.Subject == "" {
			continue
		}
		own := []dossier.Digest{e.Subject}
		for _, p := range e.Platforms {
			own = append(own, p.Manifest, p.Config)
		}
		for _, d := range distinct(own) {
			owners[d] = append(owners[d], i)
		}
	}
	b.configs = map[dossier.Digest]*parsed{}
	for fact, err := range b.r.Holding(ctx, slices.Sorted(maps.Keys(owners)), b.at, evidenceKinds()...) {
		if err != nil {
			return err
		}
		if fact.Kind == dossier.FactConfig {
			b.configs[fact.Subject] = b.parser.parse(&fact)
		}
		if fact.Kind.Event() {
			continue // who did it is not evidence about the image, and not for everybody
		}
		for _, i := range owners[fact.Subject] {
			b.evidence[i].Facts = append(b.evidence[i].Facts, fact)
		}
	}
	return nil
}

func (b *batch) addNames(ctx context.Context) error {
	if err := b.loadNames(ctx, b.subjects()); err != nil {
		return err
	}
	for i := range b.evidence {
		e := &b.evidence[i]
		for _, n := range b.namesThen(b.names[e.Subject]) {
			e.Names = append(e.Names, Name{Name: n.Name, FirstSeen: n.FirstSeen})
		}
	}
	return nil
}

// namesThen returns those of the names that were known then.
func (g *gatherer) namesThen(names []store.Name) []store.Name {
	if g.then.IsZero() {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(n store.Name) bool { return n.FirstSeen.After(g.then) })
}

func (b *batch) addTags(ctx context.Context) error {
	if err := b.loadTags(ctx, b.subjects()); err != nil {
		return err
	}
	for i := range b.evidence {
		e := &b.evidence[i]
		for _, t := range b.tags[e.Subject] {
			e.Tags = append(e.Tags, b.asSeenThen(t))
		}
		slices.SortFunc(e.Tags, compareTags)
	}
	return nil
}

func compareTags(a, b dossier.TagInterval) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Tag, b.Tag), a.From.Compare(b.From))
}

func (b *batch) addRuns(ctx context.Context) error {
	first, err := b.r.FirstRun(ctx, b.subjects())
	if err != nil {
		return err
	}
	for i := range b.evidence {
		at := first[b.evidence[i].Subject]
		if b.then.IsZero() || !at.After(b.then) {
			b.evidence[i].FirstRun = at
		}
	}
	return nil
}

// distinct sorts digests and takes out doubles and the empty one.
func distinct(ds []dossier.Digest) []dossier.Digest {
	ds = slices.Clone(ds)
	slices.Sort(ds)
	ds = slices.Compact(ds)
	if len(ds) > 0 && ds[0] == "" {
		ds = ds[1:]
	}
	return ds
}
