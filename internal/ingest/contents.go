// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"encoding/json"
	"fmt"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/origin"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
)

// contents lays the layers of an image over one another, once all of them were
// read. Until then it asks for those that were not: each layer that comes in asks
// for this job again. A layer that cannot be read is missing from the result,
// which says so.
func (g *Ingest) contents(ctx context.Context, p record.ContentsPayload) (finisher, error) {
	if g.Layer == nil {
		return nil, nil
	}
	var s stack
	var lost map[dossier.Digest]string
	err := g.Store.View(ctx, func(r store.Reader) (err error) {
		if s, err = readStack(ctx, r, p.Manifest); err != nil {
			return err
		}
		lost, err = g.lostLayers(ctx, r, s)
		return err
	})
	if err != nil || s.config == nil {
		return nil, err
	}
	for _, i := range s.unread() {
		if _, ok := lost[s.layers[i].Child]; !ok {
			return func(tx store.Tx) error { return g.askForLayers(ctx, tx, p) }, nil
		}
	}
	return g.lay(ctx, s, lost)
}

// lostLayers returns those layers that were not read and will not be, and why.
func (g *Ingest) lostLayers(ctx context.Context, r store.Reader, s stack) (map[dossier.Digest]string, error) {
	var keys []string
	for _, i := range s.unread() {
		keys = append(keys, string(s.layers[i].Child))
	}
	lost := map[dossier.Digest]string{}
	if len(keys) == 0 {
		return lost, nil
	}
	jobs, err := r.Jobs(ctx, JobLayer, keys, len(keys))
	for _, job := range jobs {
		if job.State == store.JobParked {
			lost[dossier.Digest(job.Key)] = ParseFailure(job.LastError).Message
		}
	}
	return lost, err
}

// askForLayers asks for the layers of an image that were not read, as things
// stand now: the job that calls it is gone already, so that whatever happens
// from here on asks for it anew.
func (g *Ingest) askForLayers(ctx context.Context, tx store.Tx, p record.ContentsPayload) error {
	s, err := readStack(ctx, tx, p.Manifest)
	if err != nil {
		return err
	}
	lost, err := g.lostLayers(ctx, tx, s)
	if err != nil {
		return err
	}
	name := p.Name
	if name == "" {
		if name, err = repositoryOf(ctx, tx, p.Manifest); err != nil || name == "" {
			return err // a local image: nobody can read it from here
		}
	}
	waits := false
	for _, i := range s.unread() {
		if _, ok := lost[s.layers[i].Child]; ok {
			continue
		}
		waits = true
		if _, err := tx.Enqueue(ctx, layerPayload{Name: name, Manifest: p.Manifest, Layer: s.layers[i].Child}.job()); err != nil {
			return err
		}
	}
	if !waits {
		return record.ReadContents(ctx, tx, p.Manifest, name)
	}
	return nil
}

// repositoryOf returns a repository in which a manifest, or an index that has
// it, was found; "" when none is known.
func repositoryOf(ctx context.Context, r store.Reader, manifest dossier.Digest) (string, error) {
	level := []dossier.Digest{manifest}
	for range maxDepth {
		names, err := r.Names(ctx, level)
		if err != nil {
			return "", err
		}
		for _, d := range level {
			if len(names[d]) > 0 {
				return names[d][0].Name, nil
			}
		}
		edges, err := r.Parents(ctx, level, dossier.RolePlatform)
		if err != nil || len(edges) == 0 {
			return "", err
		}
		level = nil
		for _, e := range edges {
			level = append(level, e.Parent)
		}
	}
	return "", nil
}

// maxDepth bounds how many indexes within one another are looked through.
const maxDepth = 8

// lay lays the layers of an image over one another and keeps what is seen.
func (g *Ingest) lay(ctx context.Context, s stack, lost map[dossier.Digest]string) (finisher, error) {
	results, facts, err := g.layerResults(ctx, s, lost)
	if err != nil {
		return nil, err
	}
	if done, err := g.isLaid(ctx, s.manifest, facts); done || err != nil {
		return nil, err
	}
	c, err := origin.ParseConfig(s.config)
	if err != nil {
		return nil, err
	}
	laid := contents.Lay(results)
	programs := origin.Programs(c)
	summary, sets := laid.Summary(facts, contents.Command{Programs: programs, Words: origin.Words(c), Dir: c.WorkingDir})
	program := laid.Program(programs)
	for _, set := range sets {
		if err := g.putSet(ctx, set); err != nil {
			return nil, err
		}
	}
	return func(tx store.Tx) error {
		if err := record.Contents(ctx, tx, s.manifest, summary, program, g.now()); err != nil {
			return err
		}
		_, err := g.lookFor(ctx, tx, s.manifest, g.now().Add(-lookedFor))
		return err
	}, nil
}

// layerResults returns what was found in the layers of an image, with the IDs of
// the facts that say so: "" for those that were not read.
func (g *Ingest) layerResults(ctx context.Context, s stack, lost map[dossier.Digest]string) ([]contents.LayerResult, []dossier.Digest, error) {
	results, facts := make([]contents.LayerResult, len(s.layers)), make([]dossier.Digest, len(s.layers))
	known := map[dossier.Digest]int{}
	for i, l := range s.layers {
		if first, ok := known[l.Child]; ok {
			results[i], facts[i] = results[first], facts[first]
			continue
		}
		known[l.Child] = i
		fact, err := g.layerFact(ctx, l.Child)
		if err != nil {
			return nil, nil, err
		}
		if fact == nil {
			results[i] = unreadLayer(l.Child, "it could not be read: "+lost[l.Child])
			continue
		}
		if results[i], err = contents.Decode(fact.Body); err != nil {
			return nil, nil, fmt.Errorf("laying layers of %s: %w", s.manifest, err)
		}
		facts[i] = fact.ID
		if want := s.diffID(i); want != "" && results[i].DiffID != "" && results[i].DiffID != want {
			results[i] = unreadLayer(l.Child, fmt.Sprintf("decompressed it has the digest %s, the image's configuration says %s", results[i].DiffID, want))
			facts[i] = ""
		}
	}
	return results, facts, nil
}

// unreadLayer stands for a layer of which nothing is known.
func unreadLayer(d dossier.Digest, why string) contents.LayerResult {
	return contents.LayerResult{Version: contents.Version, Digest: d, Missed: []dossier.Missed{{Reason: dossier.MissedLayer, Detail: why}}}
}

// layerFact returns the fact of what a layer holds, nil when there is none.
func (g *Ingest) layerFact(ctx context.Context, layer dossier.Digest) (*dossier.Fact, error) {
	var found *dossier.Fact
	err := g.Store.View(ctx, func(r store.Reader) error {
		found = nil
		for f, err := range r.Holding(ctx, []dossier.Digest{layer}, dossier.Times{}, dossier.FactLayer) {
			if err != nil {
				return err
			}
			found = &f
		}
		return nil
	})
	return found, err
}

// isLaid reports whether an image was laid from these facts by this program or a
// newer one.
func (g *Ingest) isLaid(ctx context.Context, manifest dossier.Digest, facts []dossier.Digest) (bool, error) {
	same := false
	err := g.Store.View(ctx, func(r store.Reader) error {
		same = false
		for f, err := range r.Holding(ctx, []dossier.Digest{manifest}, dossier.Times{}, dossier.FactContents) {
			if err != nil {
				return err
			}
			var c dossier.Contents
			if json.Unmarshal(f.Body, &c) != nil || contents.Serial(c.Version) < contents.Serial(contents.Version) || len(c.Layers) != len(facts) {
				return nil
			}
			same = true
			for i, l := range c.Layers {
				same = same && l.Fact == facts[i]
			}
		}
		return nil
	})
	return same, err
}

// packagesPerUpdate bounds the transactions in which packages are kept.
const packagesPerUpdate = 250

// putSet keeps a set of packages, unless it is there, part by part.
func (g *Ingest) putSet(ctx context.Context, set store.PackageSet) error {
	there := false
	err := g.Store.View(ctx, func(r store.Reader) error {
		whole, err := r.WholeSets(ctx, []dossier.Digest{set.Digest})
		there = whole[set.Digest]
		return err
	})
	all := set.Packages
	for err == nil && !there && len(all) > 0 {
		set.Packages = all[:min(len(all), packagesPerUpdate)]
		all = all[len(set.Packages):]
		err = g.Store.UpdateSoon(ctx, func(tx store.Tx) error { return tx.PutPackages(ctx, set, len(all) == 0) })
	}
	return err
}
