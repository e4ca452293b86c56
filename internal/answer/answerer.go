// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/store"
)

// Answerer answers from a store. It writes nothing and reads nothing else.
type Answerer struct {
	Store  store.Store
	Policy Policy
	Now    func() time.Time // nil: time.Now
	// Parser remembers what facts say from one answer to the next. nil: each is
	// parsed once an answer.
	Parser *Parser
	Order  Order // of versions; nil: ranges of versions cannot be searched for
	// Advisories has the advisories with which packages were compared. nil: Store.
	Advisories store.Store
	Exposures  *Exposures // nil: nothing is remembered from one answer to the next
	Triage     *Triage    // what somebody says of findings; nil: nobody does
	Trusted    *Trusted   // whom to trust, which may change; nil: as Policy says
}

// gatherer returns one that reads from a state of the store.
func (a Answerer) gatherer(r store.Reader, at dossier.Times) *gatherer {
	g := newGatherer(r, at, a.now())
	g.advisories, g.remembered, g.triage, g.trust = a.Advisories, a.Exposures, a.Triage, a.policy().Trust
	return g
}

// Bounds of how much evidence is in memory at a time. An image can have thousands of findings,
// or none: how many images are taken follows from those before them.
const (
	imagesPerBatch   = 50
	findingsPerBatch = 5000
	firstBatch       = 16
)

// nextBatch returns how many images are taken after those of some evidence.
func nextBatch(evidence []Evidence) int {
	findings := 0
	for i := range evidence {
		for _, x := range evidence[i].Exposures {
			findings += len(x.Vulnerabilities) + len(x.Suppressed)
		}
	}
	return max(1, min(imagesPerBatch, len(evidence)*findingsPerBatch/max(1, findings)))
}

// Images returns the dossier of every image that q selects, ordered by what is
// asked for, then by digest.
func (a Answerer) Images(ctx context.Context, q dossier.ImagesQuery) (dossier.ImageList, error) {
	var list dossier.ImageList
	err := a.Store.View(ctx, func(r store.Reader) error {
		g := a.gatherer(r, q.At)
		list = dossier.ImageList{AsOf: g.asOf, Clusters: []dossier.Cluster{}, Images: []dossier.Dossier{}}
		var err error
		if list.Clusters, err = clusters(ctx, r, q.Clusters); err != nil {
			return err
		}
		if err := g.readPlaces(ctx, r.Places(ctx, store.PlaceQuery{Clusters: q.Clusters, At: g.then})); err != nil {
			return err
		}
		roots, err := g.selectRoots(q)
		if err != nil {
			return err
		}
		list.Images, err = a.judge(ctx, g, roots)
		return err
	})
	return list, err
}

// Gather reads the evidence about the given digests, in that order, whether they
// run or not, as of the given times. It decides nothing: Judge does.
func (a Answerer) Gather(ctx context.Context, ds []dossier.Digest, at dossier.Times) ([]Evidence, error) {
	return a.gather(ctx, ds, at, a.parser())
}

// answerBodies is how many bytes of bodies are remembered while one answer is made.
const answerBodies = 4 << 20

func (a Answerer) parser() *Parser {
	if a.Parser == nil {
		return NewParser(answerBodies)
	}
	return a.Parser
}

// GatherWith is Gather for one digest, and calls also with the evidence and the state
// that it was read from.
func (a Answerer) GatherWith(ctx context.Context, d dossier.Digest, at dossier.Times, also func(store.Reader, Evidence) error) (Evidence, error) {
	evidence, err := a.gatherWith(ctx, []dossier.Digest{d}, at, a.parser(), func(r store.Reader, evidence []Evidence) error { return also(r, evidence[0]) })
	if err != nil {
		return Evidence{}, err
	}
	return evidence[0], nil
}

func (a Answerer) gather(ctx context.Context, ds []dossier.Digest, at dossier.Times, with *Parser) ([]Evidence, error) {
	return a.gatherWith(ctx, ds, at, with, func(store.Reader, []Evidence) error { return nil })
}

func (a Answerer) gatherWith(ctx context.Context, ds []dossier.Digest, at dossier.Times, with *Parser, also func(store.Reader, []Evidence) error) ([]Evidence, error) {
	evidence := make([]Evidence, 0, len(ds))
	err := a.Store.View(ctx, func(r store.Reader) error {
		evidence = evidence[:0]
		g := a.gatherer(r, at)
		if err := g.readPlacesOf(ctx, ds); err != nil {
			return err
		}
		for batch := range slices.Chunk(rootsOf(ds), imagesPerBatch) {
			part, err := g.gather(ctx, batch, with)
			if err != nil {
				return err
			}
			evidence = append(evidence, part...)
		}
		return also(r, evidence)
	})
	return evidence, err
}

func rootsOf(ds []dossier.Digest) []root {
	roots := make([]root, len(ds))
	for i, d := range ds {
		roots[i] = root{digest: d}
	}
	return roots
}

// Digests returns the dossiers of the given digests, in that order, whether they run or not.
func (a Answerer) Digests(ctx context.Context, ds []dossier.Digest, at dossier.Times) ([]dossier.Dossier, error) {
	with := a.parser()
	evidence, err := a.gather(ctx, ds, at, with)
	if err != nil {
		return nil, err
	}
	out, policy := make([]dossier.Dossier, len(ds)), a.policy()
	for i := range evidence {
		out[i] = dossierOf(&evidence[i], root{digest: ds[i]}, policy, with)
	}
	return out, nil
}

// policy returns what to judge by now: for all images of one answer the same.
func (a Answerer) policy() Policy {
	p := a.Policy
	if a.Trusted != nil {
		p.Trust, p.TrustBefore, p.TrustSince = a.Trusted.Policy()
	}
	return p
}

func (a Answerer) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

// judge gathers the evidence about roots, batch by batch, and judges each batch
// while the next is gathered.
func (a Answerer) judge(ctx context.Context, g *gatherer, roots []root) ([]dossier.Dossier, error) {
	type gathered struct {
		roots    []root
		evidence []Evidence
		err      error
	}
	ctx, cancel := context.WithCancel(ctx)
	with := a.parser()
	batches := make(chan gathered)
	var gathering sync.WaitGroup
	defer gathering.Wait() // the reader is not ours after this
	defer cancel()
	gathering.Go(func() {
		defer close(batches)
		size := firstBatch
		for rest := roots; len(rest) > 0; {
			part := rest[:min(size, len(rest))]
			rest = rest[len(part):]
			evidence, err := g.gather(ctx, part, with)
			size = nextBatch(evidence)
			select {
			case batches <- gathered{part, evidence, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	out, policy := make([]dossier.Dossier, 0, len(roots)), a.policy()
	for b := range batches {
		if b.err != nil {
			return nil, b.err
		}
		for i := range b.evidence {
			out = append(out, dossierOf(&b.evidence[i], b.roots[i], policy, with))
		}
	}
	return out, ctx.Err()
}

func clusters(ctx context.Context, r store.Reader, ids []string) ([]dossier.Cluster, error) {
	all, err := r.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	out := []dossier.Cluster{}
	for _, c := range all {
		if len(ids) == 0 || slices.Contains(ids, c.ID) {
			out = append(out, c)
		}
	}
	return out, nil
}

// selectRoots returns the images of the places in the namespaces and with the
// labels asked for. Places elsewhere no longer count as places of these images,
// but still tell what else runs under the same tags.
func (g *gatherer) selectRoots(q dossier.ImagesQuery) ([]root, error) {
	match, err := cluster.ParseSelector(q.Selector)
	if err != nil {
		return nil, err
	}
	roots := map[root]bool{}
	for _, p := range g.places {
		p.outside = len(q.Namespaces) > 0 && !slices.Contains(q.Namespaces, p.Namespace) || !match(p.Labels)
		if !p.outside {
			roots[p.root] = true
		}
	}
	return slices.SortedFunc(maps.Keys(roots), func(a, b root) int {
		return cmp.Or(cmp.Compare(a.asked, b.asked), cmp.Compare(a.digest, b.digest))
	}), nil
}

// readPlacesOf reads the places of the digests, and of everything that runs
// under the tags they are asked for by.
func (g *gatherer) readPlacesOf(ctx context.Context, ds []dossier.Digest) error {
	reported := slices.Clone(ds)
	if err := g.loadTree(ctx, ds); err != nil {
		return err
	}
	if err := g.loadTags(ctx, ds); err != nil {
		return err
	}
	if err := g.loadNames(ctx, ds); err != nil {
		return err
	}
	asked := map[string]bool{}
	for _, d := range ds {
		if config := configOf(g.edges[d]); config != "" {
			reported = append(reported, config)
		}
		for _, t := range g.tags[d] {
			asked[t.Name+":"+t.Tag] = true
			asked[t.Name+":"+t.Tag+"@"+string(d)] = true
		}
		for _, n := range g.names[d] {
			asked[n.Name+"@"+string(d)] = true
		}
	}
	return g.readPlaces(ctx, g.r.Places(ctx, store.PlaceQuery{
		Digests: distinct(reported), Asked: slices.Sorted(maps.Keys(asked)), Related: true, At: g.then,
	}))
}
