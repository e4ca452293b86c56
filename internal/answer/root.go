// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store"
)

// root identifies a row of the list of images: a digest, or, as long as none is
// known, the reference that places ask for.
type root struct {
	digest dossier.Digest
	asked  string // only when digest is empty
}

// rooted is a place with the image that it belongs to.
type rooted struct {
	dossier.Place
	*asking
	root    root
	outside bool // it lies outside of what was asked for
}

// asking is what places ask for that have the same in their specs.
type asking struct {
	asked  string        // Place.Asked
	tag    store.NameTag // when tagged
	tagged bool          // it is asked for by tag alone
	places []*rooted
}

// askingFor returns what a place asks for.
func (g *gatherer) askingFor(p dossier.Place) *asking {
	a := g.requested[p.Requested]
	if a == nil {
		a = &asking{asked: p.Asked()}
		if known := g.asked[a.asked]; known != nil {
			a = known // written in another way
		} else {
			a.tag, a.tagged = nameTag(a.asked)
			g.asked[a.asked] = a
		}
		g.requested[p.Requested] = a
	}
	return a
}

// readPlaces reads places and finds out which image each belongs to.
func (g *gatherer) readPlaces(ctx context.Context, places iter.Seq2[dossier.Place, error]) error {
	begin := len(g.places)
	for p, err := range places {
		if err != nil {
			return err
		}
		r := &rooted{Place: p, asking: g.askingFor(p)}
		r.places = append(r.places, r)
		g.places = append(g.places, r)
	}
	if err := g.findRoots(ctx, g.places[begin:]); err != nil {
		return err
	}
	for _, p := range g.places[begin:] {
		g.byRoot[p.root] = append(g.byRoot[p.root], p)
	}
	return nil
}

// findRoots sets the root of each place. What the runtime reported is the root,
// except a configuration's digest: that one stands for the manifest it belongs
// to, when exactly one is known or the requested tag says which. A place of
// which the runtime says nothing belongs to what it asks for.
//
// A digest reported with a name is no configuration's, nor is one that was read
// as a manifest: any image may name it as its configuration, and would else take
// over what runs.
func (g *gatherer) findRoots(ctx context.Context, places []*rooted) error {
	var reported []dossier.Digest
	var tags []store.NameTag
	seen := map[store.NameTag]bool{}
	for _, p := range places {
		if p.Digest != "" && !strings.Contains(p.ImageID, "@") {
			reported = append(reported, p.Digest)
		}
		if p.tagged && !seen[p.tag] {
			seen[p.tag] = true
			tags = append(tags, p.tag)
		}
	}
	manifests, err := g.manifestsOf(ctx, distinct(reported))
	if err != nil {
		return err
	}
	if err := g.loadPoints(ctx, tags); err != nil {
		return err
	}
	points := map[string]dossier.Digest{}
	for _, tag := range tags {
		if t := g.points[tag]; t != nil {
			points[tag.Name+":"+tag.Tag] = t.Digest
		}
	}
	children, err := g.childrenAsked(ctx, places, manifests, points)
	if err != nil {
		return err
	}
	for _, p := range places {
		switch {
		case p.Digest != "":
			asked := wanted(p.asked, points)
			p.root.digest = pickManifest(p.Digest, manifests[p.Digest], append([]dossier.Digest{asked}, children[asked]...))
		case p.asked == "":
			p.root.asked = p.Requested
		default:
			p.root.digest = wanted(p.asked, points)
			if p.root.digest == "" {
				p.root.asked = p.asked
			}
		}
	}
	return nil
}

// manifestsOf returns, for those digests that are configurations, the known
// manifests that name them.
func (g *gatherer) manifestsOf(ctx context.Context, ds []dossier.Digest) (map[dossier.Digest][]dossier.Digest, error) {
	edges, err := g.r.Parents(ctx, ds, dossier.RoleConfig)
	if err != nil {
		return nil, err
	}
	if edges, err = g.parentsThen(ctx, edges); err != nil {
		return nil, err
	}
	var children []dossier.Digest
	for _, e := range edges {
		children = append(children, e.Child)
	}
	if err := g.loadImages(ctx, children); err != nil {
		return nil, err
	}
	manifests := map[dossier.Digest][]dossier.Digest{}
	for _, e := range edges {
		if image := g.images[e.Child]; image == nil || image.Kind == dossier.ImageConfig {
			manifests[e.Child] = append(manifests[e.Child], e.Parent)
		}
	}
	return manifests, nil
}

// childrenAsked returns the children of the indexes that places ask for, where
// several manifests have the configuration that the runtime reports.
func (g *gatherer) childrenAsked(ctx context.Context, places []*rooted, manifests map[dossier.Digest][]dossier.Digest, points map[string]dossier.Digest) (map[dossier.Digest][]dossier.Digest, error) {
	var asked []dossier.Digest
	for _, p := range places {
		if len(manifests[p.Digest]) > 1 {
			asked = append(asked, wanted(p.asked, points))
		}
	}
	if asked = distinct(asked); len(asked) == 0 {
		return nil, nil
	}
	if err := g.loadImages(ctx, asked); err != nil {
		return nil, err
	}
	children := map[dossier.Digest][]dossier.Digest{}
	for _, d := range asked {
		for _, e := range g.edges[d] {
			if e.Role == dossier.RolePlatform {
				children[d] = append(children[d], e.Child)
			}
		}
	}
	return children, nil
}

// pickManifest returns the manifest that a reported digest stands for: the only
// one of that configuration, or the first that was requested. Else it is the
// digest itself.
func pickManifest(reported dossier.Digest, manifests, requested []dossier.Digest) dossier.Digest {
	if len(manifests) == 1 {
		return manifests[0]
	}
	for _, r := range requested {
		if slices.Contains(manifests, r) {
			return r
		}
	}
	return reported
}

// wanted returns the digest that a reference names or its tag points at.
func wanted(asked string, points map[string]dossier.Digest) dossier.Digest {
	if _, digest, ok := strings.Cut(asked, "@"); ok {
		return dossier.Digest(digest)
	}
	return points[asked]
}

// problems are the failures of jobs, by what they were about.
type problems struct {
	read map[dossier.Digest][]Problem
	tag  map[string][]Problem // by name:tag
}

// maxProblems bounds how many failed jobs are looked through.
const maxProblems = 20_000

// loadProblems reads, once, why images could not be read.
func (g *gatherer) loadProblems(ctx context.Context) error {
	if g.problems != nil {
		return nil
	}
	g.problems = &problems{read: map[dossier.Digest][]Problem{}, tag: map[string][]Problem{}}
	if !g.then.IsZero() {
		return nil // jobs tell of now only
	}
	for _, kind := range []string{ingest.JobRead, ingest.JobTag} {
		jobs, err := g.r.Jobs(ctx, kind, nil, maxProblems)
		if err != nil {
			return err
		}
		for _, job := range jobs {
			about, _, _ := strings.Cut(job.Key, " ")
			p := problemOf(job)
			if kind == ingest.JobTag {
				g.problems.tag[about] = append(g.problems.tag[about], p)
			} else {
				g.problems.read[dossier.Digest(about)] = append(g.problems.read[dossier.Digest(about)], p)
			}
		}
	}
	return nil
}

func problemOf(job store.Job) Problem {
	op := "reading the image"
	if job.Kind == ingest.JobTag {
		op = "looking where the tag points"
	}
	if job.LastError == "" {
		return Problem{Op: op, At: job.CreatedAt}
	}
	f := ingest.ParseFailure(job.LastError)
	at := f.At
	if at.IsZero() {
		at = job.CreatedAt
	}
	return Problem{Op: op, Kind: f.Kind, Message: f.Message, Hint: f.Hint, At: at}
}

// badReference is a reference that cannot be read, shown beside itself.
func badReference(err error, at time.Time) Problem {
	p := Problem{Op: "reading the reference", Kind: dossier.KindOf(err), Message: err.Error(), Hint: dossier.HintOf(err), At: at}
	if e, ok := errors.AsType[*dossier.Error](err); ok && e.Err != nil {
		p.Message = e.Err.Error()
	}
	return p
}

// staleCheck is from when on a tag that was not looked at again has a reason.
const staleCheck = time.Hour

// complete reports whether an image was read, and its tags looked at lately: then
// there is no problem to look for.
func (b *batch) complete(e *Evidence) bool {
	return e.Image != nil && !slices.ContainsFunc(e.Requested, func(t RequestedTag) bool {
		return t.Interval == nil || e.AsOf.Sub(t.Interval.CheckedAt) > staleCheck
	})
}

// addProblems adds why the images could not be read, the newest first.
func (b *batch) addProblems(ctx context.Context, roots []root) error {
	for i := range b.evidence {
		e := &b.evidence[i]
		if b.complete(e) {
			continue
		}
		if err := b.loadProblems(ctx); err != nil {
			return err
		}
		e.Problems = slices.Clone(b.problems.read[e.Subject])
		if asked := roots[i].asked; asked != "" {
			if _, err := dossier.ParseReference(asked); err != nil {
				e.Problems = append(e.Problems, badReference(err, e.AsOf))
			}
			e.Problems = append(e.Problems, b.problems.tag[asked]...)
		}
		for _, tag := range e.Requested {
			e.Problems = append(e.Problems, b.problems.tag[tag.Reference]...)
		}
		slices.SortStableFunc(e.Problems, func(x, y Problem) int { return y.At.Compare(x.At) })
		e.Problems = slices.CompactFunc(e.Problems, func(x, y Problem) bool { return x == y })
	}
	return nil
}
