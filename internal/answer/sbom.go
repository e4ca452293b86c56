// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/contents/bill"
	"dossier.dev/dossier/internal/origin"
	"dossier.dev/dossier/internal/store"
)

// SBOM lists what an image holds, from the facts about its layers. Errors are
// those of Lookup. KindNotFound: it is not for that platform, or its layers were
// not read yet.
func (a Answerer) SBOM(ctx context.Context, q dossier.SBOMQuery) (dossier.SBOM, error) {
	return a.inventory(ctx, q, "", false)
}

// SBOMOf is SBOM for an image by digest.
func (a Answerer) SBOMOf(ctx context.Context, q dossier.SBOMQuery, d dossier.Digest) (dossier.SBOM, error) {
	return a.inventory(ctx, q, d, false)
}

// Inventory is SBOM with what the programs among the packages are linked from,
// which advisories ask for; for an image by digest, or when that is empty for
// what q means.
func (a Answerer) Inventory(ctx context.Context, q dossier.SBOMQuery, d dossier.Digest) (dossier.SBOM, error) {
	return a.inventory(ctx, q, d, true)
}

func (a Answerer) inventory(ctx context.Context, q dossier.SBOMQuery, d dossier.Digest, programs bool) (dossier.SBOM, error) {
	var out dossier.SBOM
	err := a.Store.View(ctx, func(r store.Reader) error {
		g := a.gatherer(r, q.At)
		of := d
		var err error
		if of == "" {
			if of, err = lookup(ctx, r, q.Ref, g.then); err != nil {
				return err
			}
		}
		g.unassessed = true
		out, err = g.sbom(ctx, q, of)
		return err
	})
	if !programs {
		for i := range out.Packages {
			out.Packages[i].Program = nil
		}
	}
	return out, err
}

func (g *gatherer) sbom(ctx context.Context, q dossier.SBOMQuery, d dossier.Digest) (dossier.SBOM, error) {
	if err := g.readPlacesOf(ctx, []dossier.Digest{d}); err != nil {
		return dossier.SBOM{}, err
	}
	evidence, err := g.gather(ctx, []root{{digest: d}}, nil)
	if err != nil {
		return dossier.SBOM{}, err
	}
	e := &evidence[0]
	p, err := g.platformOf(e, q.Platform)
	if err != nil {
		return dossier.SBOM{}, err
	}
	out := dossier.SBOM{
		Digest: d, Manifest: p.Manifest, Platform: p.Platform, Name: nameOfSBOM(e, q.Ref), AsOf: e.AsOf,
		Layers: []dossier.SBOMLayer{}, Packages: []dossier.SBOMPackage{}, Missed: []dossier.Missed{}, Attached: []dossier.BillDiff{},
	}
	if err := g.addContents(ctx, &out, e); err != nil {
		return dossier.SBOM{}, err
	}
	return out, g.addAttached(ctx, &out)
}

// addAttached compares the bills of materials that are attached to the platform's
// manifest, or to the index that was asked for, with what was observed.
func (g *gatherer) addAttached(ctx context.Context, out *dossier.SBOM) error {
	observed := make([]string, len(out.Packages))
	for i := range out.Packages {
		observed[i] = out.Packages[i].PURL
	}
	for f, err := range g.r.Holding(ctx, distinct([]dossier.Digest{out.Manifest, out.Digest}), g.at, dossier.FactAttached) {
		if err != nil {
			return err
		}
		d := dossier.BillDiff{On: f.Subject, Fact: f.ID}
		if json.Unmarshal(f.Body, &d.AttachedBill) != nil {
			continue
		}
		if d.Problem == "" {
			if err := g.compareBill(ctx, &d, observed); err != nil {
				return err
			}
		}
		out.Attached = append(out.Attached, d)
	}
	return nil
}

// compareBill reads a bill and notes how it differs from what was observed.
func (g *gatherer) compareBill(ctx context.Context, d *dossier.BillDiff, observed []string) error {
	for f, err := range g.r.Holding(ctx, []dossier.Digest{d.Document}, g.at, dossier.FactBill) {
		if err != nil {
			return err
		}
		b, err := bill.Parse(f.Body, bill.Limits{})
		if err != nil {
			d.Problem = err.Error()
			return nil
		}
		diff := bill.Compare(b, observed)
		d.Agree = diff.Agree
		list := func(to *[]string, texts []string) {
			*to = texts[:min(len(texts), dossier.DiffPackages)]
			d.More += len(texts) - len(*to)
		}
		list(&d.Missing, texts(diff.Missing))
		list(&d.Extra, texts(diff.Extra))
		var otherwise []string
		for _, pair := range diff.Otherwise {
			otherwise = append(otherwise, pair[0].String()+", not "+pair[1].Version)
		}
		list(&d.Otherwise, otherwise)
	}
	return nil
}

func texts(keys []bill.Key) []string {
	var out []string
	for _, k := range keys {
		out = append(out, k.String())
	}
	return out
}

// nameOfSBOM is what an image is called: where it was found, or else how it was
// asked for.
func nameOfSBOM(e *Evidence, ref string) string {
	if len(e.Names) > 0 {
		return e.Names[0].Name
	}
	return ref
}

// platformOf picks the platform that is asked for, or else one that runs.
func (g *gatherer) platformOf(e *Evidence, want string) (dossier.PlatformImage, error) {
	const op = "finding platform"
	if e.Image == nil {
		return dossier.PlatformImage{}, &dossier.Error{Kind: dossier.KindNotFound, Op: op, Subject: string(e.Subject),
			Err: errors.New("the image was not read"), Hint: "dossier show reads it"}
	}
	all := e.Platforms
	if want != "" {
		// Those that do not run are no evidence of the answers, but may be asked for.
		b := batch{gatherer: g}
		all = b.platformsOf(&Evidence{Subject: e.Subject, Image: e.Image})
	}
	var names []string
	best := -1
	for i, p := range all {
		names = append(names, p.Platform)
		switch {
		case want != "" && !dossier.PlatformMatches(p.Platform, []string{want}):
		case best < 0, p.Pods > all[best].Pods, p.Pods == all[best].Pods && p.Platform == "linux/amd64":
			best = i
		}
	}
	if best < 0 {
		return dossier.PlatformImage{}, &dossier.Error{Kind: dossier.KindNotFound, Op: op, Subject: want,
			Err: fmt.Errorf("%s is not for it", e.Subject.Short()), Hint: "it is for " + strings.Join(names, ", ")}
	}
	return all[best], nil
}

// addContents lays the layers of the platform over one another, as the fact of
// its contents says.
func (g *gatherer) addContents(ctx context.Context, out *dossier.SBOM, e *Evidence) error {
	bodies, err := g.bodiesOf(ctx, out.Manifest)
	if err != nil {
		return err
	}
	fact, ok := bodies[dossier.FactContents]
	if !ok {
		return &dossier.Error{Kind: dossier.KindNotFound, Op: "reading the contents of", Subject: string(out.Manifest),
			Err: errors.New("its layers were not read yet"), Hint: "a server reads them soon; without --server the command reads them itself"}
	}
	var summary dossier.Contents
	if err := json.Unmarshal(fact.Body, &summary); err != nil {
		return &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading the contents of", Subject: string(out.Manifest), Err: err}
	}
	out.Version, out.Evidence = summary.Version, []dossier.Digest{fact.ID}
	results, err := g.layersOf(ctx, summary, out)
	if err != nil {
		return err
	}
	slices.Sort(out.Evidence)
	out.Evidence = slices.Compact(out.Evidence)
	out.Layers = layersOfSBOM(results, bodies, e.Bases)
	image := contents.Fold(results)
	out.Distribution = image.Distribution
	out.Missed = append(out.Missed, image.Missed...)
	for i, l := range summary.Layers {
		if l.Fact == "" {
			out.Missed = append(out.Missed, whyUnreadLayer(summary, i))
		}
	}
	if c, err := origin.ParseConfig(bodies[dossier.FactConfig].Body); err == nil {
		if age, ok := origin.ParseCreated(c.Created); ok {
			out.Created = dossier.Instant(age.At)
		}
	}
	out.Packages = slices.Grow(out.Packages, len(image.Packages))
	for i, p := range image.All() {
		f := &image.Packages[i]
		out.Packages = append(out.Packages, dossier.SBOMPackage{PackageAt: p, License: f.License, Base: out.Layers[f.Position].Base})
	}
	return nil
}

// layersOf returns what was found in each layer, and adds the facts that say so to the
// evidence. Layers are unpacked side by side.
func (g *gatherer) layersOf(ctx context.Context, summary dossier.Contents, out *dossier.SBOM) ([]contents.LayerResult, error) {
	results := make([]contents.LayerResult, len(summary.Layers))
	var unpacking errgroup.Group
	unpacking.SetLimit(runtime.GOMAXPROCS(0))
	for i, l := range summary.Layers {
		if l.Fact == "" {
			results[i] = contents.LayerResult{Digest: l.Layer}
			continue
		}
		f, err := g.r.Fact(ctx, l.Fact)
		if err != nil {
			return nil, errors.Join(err, unpacking.Wait())
		}
		out.Evidence = append(out.Evidence, f.ID)
		unpacking.Go(func() (err error) {
			results[i], err = contents.Decode(f.Body)
			return err
		})
	}
	return results, unpacking.Wait()
}

// whyUnreadLayer says of a layer why it was not read.
func whyUnreadLayer(c dossier.Contents, i int) dossier.Missed {
	for _, m := range c.Missed {
		if m.Layer == c.Layers[i].Layer && m.Reason == dossier.MissedLayer {
			return m
		}
	}
	return dossier.Missed{Layer: c.Layers[i].Layer, Reason: dossier.MissedLayer, Detail: "it was not read"}
}

// bodiesOf returns the facts about a manifest that hold, and that of its
// configuration, by kind.
func (g *gatherer) bodiesOf(ctx context.Context, manifest dossier.Digest) (map[dossier.FactKind]dossier.Fact, error) {
	edges, err := g.r.Edges(ctx, []dossier.Digest{manifest}, dossier.RoleConfig)
	if err != nil {
		return nil, err
	}
	subjects := []dossier.Digest{manifest}
	for _, e := range edges {
		subjects = append(subjects, e.Child)
	}
	facts := map[dossier.FactKind]dossier.Fact{}
	for f, err := range g.r.Holding(ctx, subjects, g.at, dossier.FactContents, dossier.FactManifest, dossier.FactConfig) {
		if err != nil {
			return nil, err
		}
		facts[f.Kind] = f
	}
	return facts, nil
}

// layersOfSBOM lists the layers with the base that each is from.
func layersOfSBOM(results []contents.LayerResult, facts map[dossier.FactKind]dossier.Fact, bases []Base) []dossier.SBOMLayer {
	out := make([]dossier.SBOMLayer, len(results))
	for i, r := range results {
		out[i] = dossier.SBOMLayer{Digest: r.Digest, DiffID: r.DiffID, Size: r.Size}
	}
	manifest, err := origin.ParseManifest(facts[dossier.FactManifest].Body)
	if err != nil {
		return out
	}
	config, err := origin.ParseConfig(facts[dossier.FactConfig].Body)
	if err != nil || len(config.DiffIDs) != len(out) {
		return out
	}
	chains := dossier.ChainIDs(config.DiffIDs)
	n := 0
	for _, s := range origin.Steps(config, manifest) {
		if s.DiffID == "" && s.Layer == "" || n >= len(out) {
			continue
		}
		out[n].DiffID, out[n].Size, out[n].Instruction, out[n].Base = config.DiffIDs[n], s.Size, s.Instruction, baseOf(bases, chains, n)
		n++
	}
	return out
}
