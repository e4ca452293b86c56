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

// request is what is known of one name:tag from the places that ask for it.
type request struct {
	running  map[dossier.Digest]map[string]bool // digest -> platforms of the nodes
	policies map[string]bool
}

// addRequests adds where the tags point that the places ask for, and what runs
// under each.
func (b *batch) addRequests(ctx context.Context) error {
	wanted := map[string][]int{} // reference -> evidence
	for i := range b.evidence {
		for _, asked := range b.askedFor(&b.evidence[i]) {
			wanted[asked] = append(wanted[asked], i)
		}
	}
	var tags []store.NameTag
	for asked := range wanted {
		if tag, ok := b.nameTag(asked); ok {
			tags = append(tags, tag)
		} else {
			delete(wanted, asked) // by digest: it cannot move
		}
	}
	requests := b.requests(wanted)
	if err := b.loadPoints(ctx, tags); err != nil {
		return err
	}
	points := map[string]*dossier.TagInterval{}
	var ds []dossier.Digest
	for _, tag := range tags {
		if t := b.points[tag]; t != nil {
			seen := b.asSeenThen(*t)
			points[tag.Name+":"+tag.Tag] = &seen
			ds = append(ds, t.Digest)
		}
	}
	for _, r := range requests {
		ds = slices.AppendSeq(ds, maps.Keys(r.running))
	}
	if err := b.loadTree(ctx, ds); err != nil {
		return err
	}
	for _, asked := range slices.Sorted(maps.Keys(wanted)) {
		tag := b.requestedTag(asked, points[asked], requests[asked])
		for _, i := range wanted[asked] {
			b.evidence[i].Requested = append(b.evidence[i].Requested, tag)
		}
	}
	return b.addTargetFacts(ctx)
}

// maxAsked bounds the tags that are looked at for an image that runs nowhere.
const maxAsked = 50

// askedFor returns the references that places ask for. An image that is in no
// place stands for the tags that point at it, or did.
func (b *batch) askedFor(e *Evidence) []string {
	var asked []string
	for _, p := range e.Places {
		asked = append(asked, b.askingFor(p).asked)
	}
	if len(e.Places) == 0 {
		for _, t := range e.Tags {
			asked = append(asked, t.Name+":"+t.Tag)
		}
		for i := range e.Facts {
			f := &e.Facts[i]
			if f.Kind != dossier.FactTag || f.Subject != e.Subject {
				continue
			}
			if body := b.parser.parse(f); body.err == nil {
				asked = append(asked, body.tag.Name+":"+body.tag.Tag)
			}
		}
	}
	slices.Sort(asked)
	asked = slices.DeleteFunc(slices.Compact(asked), func(s string) bool { return s == "" })
	if len(e.Places) == 0 {
		asked = asked[:min(len(asked), maxAsked)]
	}
	return asked
}

// nameTag is the function of that name, for what may be known.
func (g *gatherer) nameTag(asked string) (store.NameTag, bool) {
	if a := g.asked[asked]; a != nil {
		return a.tag, a.tagged
	}
	return nameTag(asked)
}

// nameTag parts a normalised reference with a tag and no digest.
func nameTag(asked string) (store.NameTag, bool) {
	ref, err := dossier.ParseReference(asked)
	if err != nil || ref.Tag == "" || ref.Digest != "" {
		return store.NameTag{}, false
	}
	return store.NameTag{Name: ref.Name(), Tag: ref.Tag}, true
}

// requests looks for all places that ask for the same tags.
func (b *batch) requests(wanted map[string][]int) map[string]*request {
	requests := map[string]*request{}
	for asked := range wanted {
		r := &request{running: map[dossier.Digest]map[string]bool{}, policies: map[string]bool{}}
		requests[asked] = r
		if a := b.asked[asked]; a != nil {
			for _, p := range a.places {
				r.add(p)
			}
		}
	}
	return requests
}

// add takes in a place that asks for the tag.
func (r *request) add(p *rooted) {
	if p.PullPolicy != "" {
		r.policies[p.PullPolicy] = true
	}
	if !runs(p.Place) || p.root.digest == "" {
		return
	}
	if r.running[p.root.digest] == nil {
		r.running[p.root.digest] = map[string]bool{}
	}
	if p.Platform != "" {
		r.running[p.root.digest][p.Platform] = true
	}
}

func (b *batch) requestedTag(asked string, interval *dossier.TagInterval, r *request) RequestedTag {
	tag := RequestedTag{Reference: asked, Interval: interval, PullPolicies: slices.Sorted(maps.Keys(r.policies))}
	if interval != nil {
		tag.Target = b.content(interval.Digest)
	}
	for _, d := range slices.Sorted(maps.Keys(r.running)) {
		c := b.content(d)
		c.Platforms = slices.Sorted(maps.Keys(r.running[d]))
		tag.Running = append(tag.Running, c)
	}
	return tag
}

// content is what is needed to compare a digest platform by platform.
func (b *batch) content(d dossier.Digest) Content {
	image := b.images[d]
	if image == nil {
		return Content{Digest: d}
	}
	return Content{Digest: d, Kind: image.Kind, Children: b.leaves(d)}
}

// addTargetFacts adds the tag facts of what requested tags point at elsewhere:
// they prove that a tag has moved, and that it is signed to mean that.
func (b *batch) addTargetFacts(ctx context.Context) error {
	targets := map[dossier.Digest][]int{}
	for i, e := range b.evidence {
		for _, tag := range e.Requested {
			if d := tag.Target.Digest; d != "" && d != e.Subject && !slices.Contains(targets[d], i) {
				targets[d] = append(targets[d], i)
			}
		}
	}
	for fact, err := range b.r.Holding(ctx, slices.Sorted(maps.Keys(targets)), b.at, dossier.FactTag, dossier.FactSignedTag) {
		if err != nil {
			return err
		}
		for _, i := range targets[fact.Subject] {
			b.evidence[i].Facts = append(b.evidence[i].Facts, fact)
		}
	}
	return nil
}

// owner is a platform of an image in the batch, as far as it may have a base.
type owner struct {
	evidence int
	manifest dossier.Digest
	layers   int
}

// addBases finds known images that are the lower layers of those in the batch,
// with their configurations: what is inherited from there is not an image's own.
func (b *batch) addBases(ctx context.Context) error {
	owners := b.basesWanted()
	chains, err := b.r.Parents(ctx, slices.Sorted(maps.Keys(owners)), dossier.RoleChain)
	if err != nil {
		return err
	}
	if chains, err = b.parentsThen(ctx, chains); err != nil {
		return err
	}
	bases := map[dossier.Digest]*Base{}
	for _, e := range chains {
		bases[e.Parent] = &Base{Digest: e.Parent}
	}
	if err := b.nameBases(ctx, bases); err != nil {
		return err
	}
	configs, err := b.configsOf(ctx, bases)
	if err != nil {
		return err
	}
	for _, chain := range chains {
		for _, o := range owners[chain.Child] {
			base := *bases[chain.Parent]
			base.On, base.Layers, base.Chain = o.manifest, o.layers, chain.Child
			e := &b.evidence[o.evidence]
			e.Bases = append(e.Bases, base)
			if f, ok := configs[base.Config]; ok && !slices.ContainsFunc(e.Facts, func(have dossier.Fact) bool { return have.ID == f.ID }) {
				e.Facts = append(e.Facts, f)
			}
		}
	}
	for i := range b.evidence {
		slices.SortFunc(b.evidence[i].Bases, compareBases)
	}
	return nil
}

// parentsThen returns the edges from what had been read at the time asked for.
func (g *gatherer) parentsThen(ctx context.Context, edges []dossier.Edge) ([]dossier.Edge, error) {
	var parents []dossier.Digest
	for _, e := range edges {
		parents = append(parents, e.Parent)
	}
	known, err := g.knownThen(ctx, parents)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(edges, func(e dossier.Edge) bool { return !known(e.Parent) }), nil
}

// basesWanted returns, for each chain ID that a base would have, who is built on it.
func (b *batch) basesWanted() map[dossier.Digest][]owner {
	owners := map[dossier.Digest][]owner{}
	for i, e := range b.evidence {
		for _, p := range e.Platforms {
			c := b.configs[p.Config]
			if c == nil || len(c.chains) < 2 {
				continue // without layers below the top there is no base
			}
			for n, id := range c.chains[:len(c.chains)-1] {
				owners[id] = append(owners[id], owner{i, p.Manifest, n + 1})
			}
		}
	}
	return owners
}

// configsOf sets the configuration of each base and returns its fact, by digest.
func (b *batch) configsOf(ctx context.Context, bases map[dossier.Digest]*Base) (map[dossier.Digest]dossier.Fact, error) {
	edges, err := b.r.Edges(ctx, slices.Sorted(maps.Keys(bases)), dossier.RoleConfig)
	if err != nil {
		return nil, err
	}
	var configs []dossier.Digest
	for _, e := range edges {
		bases[e.Parent].Config = e.Child
		configs = append(configs, e.Child)
	}
	facts := map[dossier.Digest]dossier.Fact{}
	for f, err := range b.r.Holding(ctx, distinct(configs), b.at, dossier.FactConfig) {
		if err != nil {
			return nil, err
		}
		facts[f.Subject] = f
	}
	return facts, nil
}

// compareBases puts the bases with the most layers first.
func compareBases(x, y Base) int {
	return cmp.Or(cmp.Compare(y.Layers, x.Layers), cmp.Compare(x.Digest, y.Digest), cmp.Compare(x.On, y.On))
}

// nameBases adds the indexes that contain the bases, and a name for each.
func (b *batch) nameBases(ctx context.Context, bases map[dossier.Digest]*Base) error {
	manifests := slices.Sorted(maps.Keys(bases))
	parents, err := b.r.Parents(ctx, manifests, dossier.RolePlatform)
	if err != nil {
		return err
	}
	if parents, err = b.parentsThen(ctx, parents); err != nil {
		return err
	}
	all := slices.Clone(manifests)
	for _, e := range parents {
		bases[e.Child].Parents = append(bases[e.Child].Parents, e.Parent)
		all = append(all, e.Parent)
	}
	all = distinct(all)
	if err := b.loadTags(ctx, all); err != nil {
		return err
	}
	if err := b.loadNames(ctx, all); err != nil {
		return err
	}
	for _, base := range bases {
		base.Name = b.nameOf(append([]dossier.Digest{base.Digest}, base.Parents...))
	}
	return nil
}

// nameOf returns a tag that points at one of the digests, else a repository that
// has one, the first digest first.
func (b *batch) nameOf(ds []dossier.Digest) string {
	for _, d := range ds {
		if tags := b.tags[d]; len(tags) > 0 {
			t := slices.MinFunc(tags, compareTags)
			return t.Name + ":" + t.Tag
		}
	}
	for _, d := range ds {
		if names := b.namesThen(b.names[d]); len(names) > 0 {
			return names[0].Name
		}
	}
	return ""
}
