// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
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
}

// imagesPerBatch bounds how much evidence is in memory at a time.
const imagesPerBatch = 100

// Images returns the dossier of every image that q selects, ordered by what is
// asked for, then by digest.
func (a Answerer) Images(ctx context.Context, q dossier.ImagesQuery) (dossier.ImageList, error) {
	var list dossier.ImageList
	err := a.Store.View(ctx, func(r store.Reader) error {
		g := newGatherer(r, q.At, a.now())
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
	evidence := make([]Evidence, 0, len(ds))
	err := a.Store.View(ctx, func(r store.Reader) error {
		evidence = evidence[:0]
		g := newGatherer(r, at, a.now())
		if err := g.readPlacesOf(ctx, ds); err != nil {
			return err
		}
		for batch := range slices.Chunk(rootsOf(ds), imagesPerBatch) {
			part, err := g.gather(ctx, batch)
			if err != nil {
				return err
			}
			evidence = append(evidence, part...)
		}
		return nil
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
	evidence, err := a.Gather(ctx, ds, at)
	if err != nil {
		return nil, err
	}
	out := make([]dossier.Dossier, len(ds))
	for i := range evidence {
		out[i] = dossierOf(&evidence[i], root{digest: ds[i]}, a.Policy)
	}
	return out, nil
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
	batches := make(chan gathered)
	var gathering sync.WaitGroup
	defer gathering.Wait() // the reader is not ours after this
	defer cancel()
	gathering.Go(func() {
		defer close(batches)
		for part := range slices.Chunk(roots, imagesPerBatch) {
			evidence, err := g.gather(ctx, part)
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
	out := make([]dossier.Dossier, 0, len(roots))
	for b := range batches {
		if b.err != nil {
			return nil, b.err
		}
		for i := range b.evidence {
			out = append(out, dossierOf(&b.evidence[i], b.roots[i], a.Policy))
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
	roots := map[root]bool{}
	for i := range g.places {
		p := &g.places[i]
		in := len(q.Namespaces) == 0 || slices.Contains(q.Namespaces, p.Namespace)
		if in && q.Selector != "" {
			var err error
			if in, err = cluster.MatchLabels(q.Selector, p.Labels); err != nil {
				return nil, err
			}
		}
		p.outside = !in
		if in {
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
	configs, err := g.r.Edges(ctx, ds, dossier.RoleConfig)
	if err != nil {
		return err
	}
	for _, e := range configs {
		reported = append(reported, e.Child)
	}
	tags, err := g.r.TagsOf(ctx, ds, g.then)
	if err != nil {
		return err
	}
	names, err := g.r.Names(ctx, ds)
	if err != nil {
		return err
	}
	asked := map[string]bool{}
	for _, t := range tags {
		asked[t.Name+":"+t.Tag] = true
		asked[t.Name+":"+t.Tag+"@"+string(t.Digest)] = true
	}
	for d, list := range names {
		for _, n := range list {
			asked[n.Name+"@"+string(d)] = true
		}
	}
	seen := map[string]bool{}
	var places []dossier.Place
	read := func(q store.PlaceQuery) error {
		q.At = g.then
		for p, err := range g.r.Places(ctx, q) {
			if err != nil {
				return err
			}
			id := strings.Join([]string{p.Cluster, p.Key(), string(p.Type), p.Container, p.Requested, p.ImageID}, "\n")
			if !seen[id] {
				seen[id] = true
				places = append(places, p)
				if a := p.Asked(); a != "" {
					asked[a] = true
				}
			}
		}
		return nil
	}
	if err := read(store.PlaceQuery{Digests: distinct(reported)}); err != nil {
		return err
	}
	if len(asked) > 0 {
		if err := read(store.PlaceQuery{Asked: slices.Sorted(maps.Keys(asked))}); err != nil {
			return err
		}
	}
	return g.readPlaces(ctx, func(yield func(dossier.Place, error) bool) {
		for _, p := range places {
			if !yield(p, nil) {
				return
			}
		}
	})
}
