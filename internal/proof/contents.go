// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"context"
	"encoding/json"
	"sync"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/store"
)

// addLayers adds what was read of the layers that facts about contents name.
func (f *File) addLayers(ctx context.Context, r store.Reader, facts []dossier.Fact) error {
	for _, fact := range facts {
		var c dossier.Contents
		if fact.Kind != dossier.FactContents || json.Unmarshal(fact.Body, &c) != nil {
			continue
		}
		for _, l := range c.Layers {
			if l.Fact == "" || f.Layers[l.Fact] != nil {
				continue
			}
			layer, err := r.Fact(ctx, l.Fact)
			if dossier.KindOf(err) == dossier.KindNotFound {
				continue // the check says so
			}
			if err != nil {
				return err
			}
			if f.Layers == nil {
				f.Layers = map[dossier.Digest][]byte{}
			}
			f.Layers[l.Fact] = layer.Body
		}
	}
	return nil
}

// FeedDigests remembers the digests of feeds, each of which is over all advisories of one. Its zero value is
// ready; it may be used at a time.
type FeedDigests struct {
	mu    sync.Mutex
	known map[string]FeedState // the newest, by feed
}

// feeds returns the digests of feeds as they were when packages were compared with them.
func (p Prover) feeds(ctx context.Context, feeds []dossier.Feed) ([]FeedState, error) {
	if len(feeds) == 0 {
		return nil, nil
	}
	advisories := p.Answerer.Advisories
	if advisories == nil {
		advisories = p.Answerer.Store
	}
	remembered := p.Digests
	if remembered == nil {
		remembered = &FeedDigests{}
	}
	var list []FeedState
	for _, feed := range feeds {
		state, err := remembered.of(ctx, advisories, feed)
		if dossier.KindOf(err) == dossier.KindNotFound {
			continue // it was removed since, and nothing is claimed of it
		}
		if err != nil {
			return nil, err
		}
		list = append(list, state)
	}
	return list, nil
}

func (d *FeedDigests) of(ctx context.Context, advisories store.Store, feed dossier.Feed) (FeedState, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if state, ok := d.known[feed.Ecosystem]; ok && state.Serial == feed.Serial {
		return state, nil
	}
	state := FeedState{Feed: feed.Ecosystem, Serial: feed.Serial}
	err := advisories.View(ctx, func(r store.Reader) (err error) {
		state.Digest, err = r.FeedDigest(ctx, feed.Ecosystem, feed.Serial)
		return err
	})
	if err != nil {
		return state, err
	}
	if d.known == nil {
		d.known = map[string]FeedState{}
	}
	d.known[feed.Ecosystem] = state
	return state, nil
}

// contents lays the layers of each platform over one another, as they were read, and compares the
// packages with those that its fact names.
func (c *check) contents() {
	c.report.Packages = map[dossier.Digest][]dossier.PackageAt{}
	n := 0
	for _, f := range c.evidence.Facts {
		var said dossier.Contents
		if f.Kind != dossier.FactContents || json.Unmarshal(f.Body, &said) != nil {
			continue
		}
		results, facts, ok := c.layers(said)
		if !ok {
			continue
		}
		_, sets := contents.Lay(results).Summary(facts, contents.Command{})
		if contents.Serial(said.Version) != contents.Serial(contents.Version) {
			c.claimed("which packages %s holds: another version of this program, %s, laid its layers", f.Subject.Short(), said.Version)
			continue
		}
		packages, ok := samePackages(said, sets)
		if !ok {
			c.fault("the packages of %s are not those that its layers give", f.Subject)
			continue
		}
		c.report.Packages[f.Subject] = packages
		n += len(packages)
	}
	if n > 0 {
		c.proven("this program", "%s: they follow from what was read of the layers", count(n, "package is in the image", "packages are in the image"))
	}
}

// layers returns what was read of the layers that a fact names. It reports false when something is
// wrong or missing, and has said so.
func (c *check) layers(said dossier.Contents) ([]contents.LayerResult, []dossier.Digest, bool) {
	results, facts := make([]contents.LayerResult, len(said.Layers)), make([]dossier.Digest, len(said.Layers))
	for i, l := range said.Layers {
		if facts[i] = l.Fact; l.Fact == "" {
			results[i] = contents.LayerResult{Version: contents.Version, Digest: l.Layer}
			continue
		}
		body, ok := c.file.Layers[l.Fact]
		if !ok {
			c.claimed("what was read of the layer %s: it is not in the file", l.Layer.Short())
			return nil, nil, false
		}
		fact := dossier.Statement{Subject: l.Layer, Kind: dossier.FactLayer, Source: "image", Body: body}
		if fact.ID() != l.Fact {
			c.fault("what was read of the layer %s is not what the fact %s says", l.Layer, l.Fact)
			return nil, nil, false
		}
		var err error
		if results[i], err = contents.Decode(body); err != nil {
			c.fault("what was read of the layer %s: %v", l.Layer, err)
			return nil, nil, false
		}
	}
	return results, facts, true
}

// samePackages returns the packages of sets when those are the ones that a fact names.
func samePackages(said dossier.Contents, sets []store.PackageSet) ([]dossier.PackageAt, bool) {
	var packages []dossier.PackageAt
	for _, l := range said.Layers {
		if l.Set == "" {
			continue
		}
		if len(sets) == 0 || sets[0].Digest != l.Set || sets[0].Layer != l.Layer {
			return nil, false
		}
		packages = append(packages, sets[0].Packages...)
		sets = sets[1:]
	}
	return packages, len(sets) == 0
}
