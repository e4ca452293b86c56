// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/origin"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
)

const (
	// rebuiltAtOnce is how many subjects are listed at a time.
	rebuiltAtOnce = 256
	// rebuildPasses bounds how often all subjects are gone through: what an image is can depend on
	// the edge that leads to it, and so on up to the index.
	rebuildPasses = 4
)

// Mended is something that was not as the facts say, and is now.
type Mended struct {
	Subject dossier.Digest `json:"subject"`
	What    string         `json:"what"`
}

// Rebuilt is what Rebuild did.
type Rebuilt struct {
	Subjects int `json:"subjects"` // that were compared
	Mended   int `json:"mended"`   // things that were not as the facts say
	Packages int `json:"packages"` // sets of packages among them: findings are to be compared again
}

// rebuilding is a Rebuild under way.
type rebuilding struct {
	*Ingest
	told     func(Mended) error
	result   Rebuilt
	verified map[dossier.Digest]bool // sets of packages
}

// mending puts one thing right.
type mending struct {
	what string
	do   func(ctx context.Context, tx store.Tx) error
}

// Rebuild compares what is kept of images, names, search terms, chains and contents with what
// the facts say, and puts right what is not so; told is called after each. One subject after the
// other is read, and what is wrong about it is compared again and written in one
// transaction: others may write meanwhile, and a Rebuild that was interrupted is begun again. Facts are read and never
// written. What is no projection of facts is left as it is: places, tags, and findings
// with their history.
func (g *Ingest) Rebuild(ctx context.Context, told func(Mended) error) (Rebuilt, error) {
	b := &rebuilding{Ingest: g, told: told, verified: map[dossier.Digest]bool{}}
	for range rebuildPasses {
		before := b.result.Mended
		b.result.Subjects = 0
		if err := b.each(ctx, b.image); err != nil {
			return b.result, err
		}
		if b.result.Mended == before {
			break
		}
	}
	return b.result, b.each(ctx, b.contents)
}

// each calls f with all subjects.
func (b *rebuilding) each(ctx context.Context, f func(context.Context, dossier.Digest) error) error {
	for after := dossier.Digest(""); ; {
		var page []dossier.Digest
		err := b.Store.View(ctx, func(r store.Reader) (err error) {
			page, err = r.Subjects(ctx, after, rebuiltAtOnce)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, d := range page {
			if err := f(ctx, d); err != nil {
				return err
			}
		}
		after = page[len(page)-1]
	}
}

// mend does what compare finds, if it still finds it in the transaction that does it.
func (b *rebuilding) mend(ctx context.Context, d dossier.Digest, compare func(context.Context, store.Reader) ([]mending, error)) ([]mending, error) {
	var list []mending
	err := b.Store.View(ctx, func(r store.Reader) (err error) {
		list, err = compare(ctx, r)
		return err
	})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	err = b.Store.Update(ctx, func(tx store.Tx) (err error) {
		if list, err = compare(ctx, tx); err != nil {
			return err
		}
		for _, m := range list {
			if err := m.do(ctx, tx); err != nil {
				return fmt.Errorf("mending %s of %s: %w", m.what, d, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		b.result.Mended++
		if err := b.told(Mended{d, m.what}); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// image mends what is kept of a subject itself.
func (b *rebuilding) image(ctx context.Context, d dossier.Digest) error {
	b.result.Subjects++
	_, err := b.mend(ctx, d, func(ctx context.Context, r store.Reader) ([]mending, error) {
		chained, err := r.Chained(ctx, d)
		if err != nil {
			return nil, err
		}
		if !chained { // first of all: which facts hold depends on it
			return []mending{{"the end of its chain, or a retraction", func(ctx context.Context, tx store.Tx) error { return tx.MendChain(ctx, d) }}}, nil
		}
		facts := map[dossier.FactKind][]dossier.Fact{}
		for f, err := range r.Holding(ctx, []dossier.Digest{d}, dossier.Times{}) {
			if err != nil {
				return nil, err
			}
			facts[f.Kind] = append(facts[f.Kind], f)
		}
		var list []mending
		for _, compare := range []func(context.Context, store.Reader, dossier.Digest, map[dossier.FactKind][]dossier.Fact) (*mending, error){
			compareImage, compareNames, compareLayer, compareTerms,
		} {
			m, err := compare(ctx, r, d, facts)
			if err != nil {
				return nil, err
			}
			if m != nil {
				list = append(list, *m)
			}
		}
		return list, nil
	})
	return err
}

// compareImage compares what a subject is, and where it leads.
func compareImage(ctx context.Context, r store.Reader, d dossier.Digest, facts map[dossier.FactKind][]dossier.Fact) (*mending, error) {
	images, err := r.Images(ctx, []dossier.Digest{d})
	if err != nil {
		return nil, err
	}
	kept, there := images[d]
	node, err := nodeOf(ctx, r, d, kept, facts)
	if err != nil {
		return nil, err
	}
	if node == nil {
		if !there {
			return nil, nil
		}
		return &mending{"an image of which there is no fact", func(ctx context.Context, tx store.Tx) error { return tx.DropImage(ctx, d) }}, nil
	}
	want, edges, err := record.Image(ctx, r, *node, nil)
	if err != nil {
		return nil, err
	}
	have, err := r.Edges(ctx, []dossier.Digest{d})
	if err != nil {
		return nil, err
	}
	sortEdges(have)
	sorted := slices.Clone(edges)
	sortEdges(sorted)
	sorted = slices.CompactFunc(sorted, func(a, b dossier.Edge) bool { return compareEdges(a, b) == 0 })
	if kept == want && slices.Equal(have, sorted) {
		return nil, nil
	}
	return &mending{"what it is, or where it leads", func(ctx context.Context, tx store.Tx) error {
		if there && kept.Kind != want.Kind {
			if err := tx.DropImage(ctx, d); err != nil {
				return err
			}
		}
		return tx.PutImage(ctx, want, edges)
	}}, nil
}

func compareEdges(a, b dossier.Edge) int {
	return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Child, b.Child))
}

func sortEdges(edges []dossier.Edge) { slices.SortStableFunc(edges, compareEdges) }

// nodeOf reads the bytes of a subject, nil when there are none that can be read. Media type and platform
// are said by what leads to it, of which there may be several: what is kept counts when one of them says it.
func nodeOf(ctx context.Context, r store.Reader, d dossier.Digest, kept dossier.Image, facts map[dossier.FactKind][]dossier.Fact) (*image.Node, error) {
	parents, err := r.Parents(ctx, []dossier.Digest{d})
	if err != nil {
		return nil, err
	}
	var types, platforms []string
	for _, e := range parents {
		types = append(types, e.MediaType)
		if e.Role == dossier.RolePlatform && e.Platform != "" {
			platforms = append(platforms, e.Platform)
		}
	}
	as := image.Descriptor{Digest: d, MediaType: kept.MediaType}
	if len(types) > 0 {
		as.MediaType = oneOf(types, kept.MediaType)
	}
	for _, kind := range []dossier.FactKind{dossier.FactIndex, dossier.FactManifest} {
		for _, f := range facts[kind] {
			for _, as := range []image.Descriptor{as, {Digest: d}} { // what is kept may be wrong
				node, err := image.ParseManifest(as, f.Body)
				if err != nil {
					continue
				}
				own, _, err := record.Image(ctx, r, node, nil)
				if own.Platform != "" {
					platforms = append(platforms, own.Platform)
				}
				node.Platform = oneOf(platforms, kept.Platform)
				return &node, err
			}
		}
	}
	for _, f := range facts[dossier.FactConfig] {
		if node, err := image.ParseConfig(as, f.Body); err == nil {
			return &node, nil
		}
	}
	return nil, nil
}

// oneOf returns what is kept when it is in the list, else the first of it.
func oneOf(list []string, kept string) string {
	switch {
	case len(list) == 0:
		return ""
	case slices.Contains(list, kept):
		return kept
	}
	return list[0]
}

// compareNames compares under which names a subject was found. It may have been seen earlier than
// when that was recorded, and never later.
func compareNames(ctx context.Context, r store.Reader, d dossier.Digest, facts map[dossier.FactKind][]dossier.Fact) (*mending, error) {
	said := map[string]time.Time{}
	for _, f := range facts[dossier.FactName] {
		var body dossier.NameBody
		if json.Unmarshal(f.Body, &body) == nil && body.Name != "" {
			said[body.Name] = f.ValidAt
		}
	}
	names, err := r.Names(ctx, []dossier.Digest{d})
	if err != nil {
		return nil, err
	}
	same := len(names[d]) == len(said)
	for _, n := range names[d] {
		at, ok := said[n.Name]
		same = same && ok && !n.FirstSeen.After(at)
		if ok && n.FirstSeen.Before(at) {
			said[n.Name] = n.FirstSeen
		}
	}
	if same {
		return nil, nil
	}
	var want []store.Name
	for _, name := range slices.Sorted(maps.Keys(said)) {
		want = append(want, store.Name{Name: name, FirstSeen: said[name]})
	}
	return &mending{"the names under which it was found", func(ctx context.Context, tx store.Tx) error { return tx.ReplaceNames(ctx, d, want) }}, nil
}

// compareLayer compares whether a layer was read.
func compareLayer(ctx context.Context, r store.Reader, d dossier.Digest, facts map[dossier.FactKind][]dossier.Fact) (*mending, error) {
	list := facts[dossier.FactLayer]
	if len(list) == 0 {
		return nil, nil
	}
	f := list[len(list)-1]
	result, err := contents.Decode(f.Body)
	if err != nil {
		return nil, err
	}
	read, err := r.LayersRead(ctx, []dossier.Digest{d})
	serial := contents.Serial(result.Version)
	if l, ok := read[d]; err != nil || ok && l.Serial >= serial {
		return nil, err
	}
	return &mending{"that the layer was read", func(ctx context.Context, tx store.Tx) error {
		return tx.PutLayerRead(ctx, store.LayerRead{Digest: d, Serial: serial, At: f.RecordedAt})
	}}, nil
}

// compareTerms compares the words under which a subject is found.
func compareTerms(ctx context.Context, r store.Reader, d dossier.Digest, _ map[dossier.FactKind][]dossier.Fact) (*mending, error) {
	want, err := record.TermsOf(ctx, r, d)
	if err != nil {
		return nil, err
	}
	have, err := r.TermsOf(ctx, d)
	if err != nil || sameTerms(have, want) {
		return nil, err
	}
	return &mending{"the words under which it is found", func(ctx context.Context, tx store.Tx) error {
		terms, err := record.TermsOf(ctx, tx, d) // names may have been mended
		if err != nil {
			return err
		}
		return tx.PutTerms(ctx, d, terms)
	}}, nil
}

// sameTerms compares terms as they are kept, sorted, with those that follow from facts: of those
// with equal field and key the first counts.
func sameTerms(have, want []store.Term) bool {
	type place struct {
		key   string
		field dossier.Field
	}
	first := map[place]string{}
	for _, t := range want {
		at := place{cmp.Or(t.Key, store.Normal(t.Value)), t.Field}
		if _, ok := first[at]; !ok {
			first[at] = t.Value
		}
	}
	for _, t := range have {
		if value, ok := first[place{t.Key, t.Field}]; !ok || value != t.Value {
			return false
		}
	}
	return len(have) == len(first)
}

// contents mends what is kept of the contents of an image.
func (b *rebuilding) contents(ctx context.Context, d dossier.Digest) error {
	var said dossier.Contents
	var recorded time.Time
	var s stack
	err := b.Store.View(ctx, func(r store.Reader) (err error) {
		said, recorded = dossier.Contents{}, time.Time{}
		for f, err := range r.Holding(ctx, []dossier.Digest{d}, dossier.Times{}, dossier.FactContents) {
			if err != nil {
				return err
			}
			if json.Unmarshal(f.Body, &said) == nil {
				recorded = f.RecordedAt
			}
		}
		if recorded.IsZero() {
			return nil
		}
		s, err = readStack(ctx, r, d)
		return err
	})
	if err != nil || recorded.IsZero() || s.config == nil {
		return err
	}
	want := store.ImageContents{Manifest: d, Serial: contents.Serial(said.Version), At: recorded}
	for _, l := range said.Layers {
		if l.Set != "" {
			want.Sets = append(want.Sets, l.Set)
		}
	}
	sets, err := b.laidAgain(ctx, s, want.Sets)
	if err != nil {
		return err
	}
	done, err := b.mend(ctx, d, func(ctx context.Context, r store.Reader) ([]mending, error) {
		return b.compareContents(ctx, r, want, sets)
	})
	for range done {
		b.result.Packages++
	}
	for _, set := range want.Sets {
		b.verified[set] = true
	}
	return err
}

// laidAgain lays the layers of an image for those of its sets that were not compared yet. What an older
// or a newer program laid otherwise is missing from the result.
func (b *rebuilding) laidAgain(ctx context.Context, s stack, wanted []dossier.Digest) ([]store.PackageSet, error) {
	left := slices.DeleteFunc(slices.Clone(wanted), func(set dossier.Digest) bool { return b.verified[set] })
	if len(left) == 0 {
		return nil, nil
	}
	results, facts, err := b.layerResults(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	c, err := origin.ParseConfig(s.config)
	if err != nil {
		return nil, err
	}
	_, sets := contents.Lay(results).Summary(facts, contents.Command{Programs: origin.Programs(c), Words: origin.Words(c), Dir: c.WorkingDir})
	return slices.DeleteFunc(sets, func(set store.PackageSet) bool { return !slices.Contains(left, set.Digest) }), nil
}

// compareContents compares the sets of an image, and which of them it has.
func (b *rebuilding) compareContents(ctx context.Context, r store.Reader, want store.ImageContents, sets []store.PackageSet) ([]mending, error) {
	var list []mending
	for _, set := range sets {
		var terms []string
		for _, p := range set.Packages {
			terms = append(terms, store.PackageTerms(p.Package)...)
		}
		kept, whole, err := r.KeptSet(ctx, set.Digest, terms)
		if err != nil {
			return nil, err
		}
		if !whole || !isKept(kept, set) {
			list = append(list, mending{"packages", func(ctx context.Context, tx store.Tx) error { return tx.ReplacePackages(ctx, set) }})
		}
	}
	known, err := r.ImageContents(ctx, []dossier.Digest{want.Manifest})
	if err != nil {
		return nil, err
	}
	whole, err := r.WholeSets(ctx, want.Sets)
	if err != nil {
		return nil, err
	}
	for _, set := range want.Sets {
		if !whole[set] && !slices.ContainsFunc(sets, func(s store.PackageSet) bool { return s.Digest == set }) {
			// Another program laid it: it is laid anew as when that is newer, from the same facts.
			return append(list, mending{"packages, which are to be laid anew", func(ctx context.Context, tx store.Tx) error {
				return record.ReadContents(ctx, tx, want.Manifest, "")
			}}), nil
		}
	}
	if have, ok := known[want.Manifest]; !ok || !slices.Equal(have.Sets, want.Sets) || have.Serial != want.Serial {
		list = append(list, mending{"which packages it has", func(ctx context.Context, tx store.Tx) error { return tx.PutImageContents(ctx, want) }})
	}
	return list, nil
}

// isKept reports whether the rows of a set say what it is.
func isKept(kept []store.KeptPackage, set store.PackageSet) bool {
	type member struct {
		id   dossier.Digest
		path string
	}
	want := map[member]dossier.Package{}
	for i, id := range store.PackageIDs(set.Packages) {
		want[member{id, set.Packages[i].Path}] = set.Packages[i].Package
	}
	if len(kept) != len(want) {
		return false
	}
	for _, k := range kept {
		p, ok := want[member{k.ID, k.Path}]
		missing := func(term string) bool { return !slices.Contains(k.Terms, term) }
		if !ok || k.Own != k.ID || k.Name != p.Name || k.Ecosystem != p.Ecosystem || slices.ContainsFunc(store.PackageTerms(p), missing) {
			return false
		}
	}
	return true
}
