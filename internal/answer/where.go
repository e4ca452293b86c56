// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// minRevision is from how many digits on a term is taken as the beginning of a
// commit.
const minRevision = 7

// maxFound bounds the images that one search returns.
const maxFound = 100_000

// Where finds images by a digest or a prefix of one, or by a term, as
// docs/spec/search.md says. At most limit images are returned.
func (a Answerer) Where(ctx context.Context, term string, limit int) (dossier.FoundList, error) {
	list := dossier.FoundList{Term: term, AsOf: dossier.Instant(a.now()), Found: []dossier.Found{}}
	term = strings.TrimSpace(term)
	if term == "" || limit <= 0 {
		return list, dossier.Errorf(dossier.KindInvalid, "searching", term, "want a term, and a limit above 0")
	}
	limit = min(limit, maxFound)
	err := a.Store.View(ctx, func(r store.Reader) error {
		list.Found, list.Truncated = []dossier.Found{}, false
		hits, packages, err := a.find(ctx, r, term, 4*limit)
		if err != nil {
			return err
		}
		found, err := foundOf(ctx, r, hits)
		if err != nil {
			return err
		}
		if len(found) > limit {
			found, list.Truncated = found[:limit], true
		}
		list.Truncated = list.Truncated || len(hits) >= 4*limit || packages.more
		g := a.gatherer(r, dossier.Times{})
		if list.Found, err = g.describe(ctx, found, packages.at); err != nil {
			return err
		}
		return g.triageFound(ctx, list.Found, packages)
	})
	return list, err
}

// find returns digests of any kind at which the term stands, and the packages
// that it means.
func (a Answerer) find(ctx context.Context, r store.Reader, term string, limit int) ([]store.TermHit, packageHits, error) {
	id, only := cutFold(term, string(dossier.FieldVulnerability)+"=")
	found, err := a.findVulnerable(ctx, r, id, limit)
	if err != nil || only || len(found.terms) > 0 {
		return found.terms, found, err
	}
	packages, mayBe := parsePackageTerm(term)
	if mayBe {
		if found, err = a.findPackages(ctx, r, packages, limit); err != nil || packages.only {
			return found.terms, found, err
		}
	}
	hits, err := findTerms(ctx, r, term, limit)
	return append(hits, found.terms...), found, err
}

// findTerms returns digests of any kind at which the term stands.
func findTerms(ctx context.Context, r store.Reader, term string, limit int) ([]store.TermHit, error) {
	queries, err := termQueries(term, limit)
	if err != nil {
		return nil, err
	}
	var hits []store.TermHit
	if dossier.IsDigestPrefix(term) {
		ds, err := r.MatchDigest(ctx, term, limit)
		if err != nil {
			return nil, err
		}
		for _, d := range ds {
			hits = append(hits, store.TermHit{Digest: d, Term: store.Term{Field: dossier.FieldDigest, Value: string(d)}})
		}
	}
	for _, q := range queries {
		found, err := r.FindTerms(ctx, q)
		if err != nil {
			return nil, err
		}
		hits = append(hits, found...)
	}
	return hits, nil
}

// termQueries returns what to look up for a term as people write it: the text in
// any field, a reference in its full form, and where the text is FIELD=VALUE,
// label:KEY=VALUE or annotation:KEY=VALUE, the rest of it in that field.
func termQueries(term string, limit int) ([]store.TermQuery, error) {
	text, prefix := strings.CutSuffix(term, "*")
	if text == "" {
		return nil, dossier.Errorf(dossier.KindInvalid, "searching", term, "want some text before the *")
	}
	query := func(key string, fields ...dossier.Field) store.TermQuery {
		return store.TermQuery{Key: key, Prefix: prefix || isRevision(key), Fields: fields, Limit: limit}
	}
	keys := []string{store.Normal(text)}
	if ref, err := dossier.ParseReference(strings.TrimSuffix(text, ":")); err == nil && ref.Digest == "" {
		full := store.ReferenceKey(ref.Name(), ref.Tag)
		if strings.HasSuffix(text, ":") {
			full += ":"
		}
		keys = append(keys, full, store.Normal(full)) // letter case counts in tags only, and people may not know it
	}
	slices.Sort(keys)
	var queries []store.TermQuery
	for _, key := range slices.Compact(keys) {
		queries = append(queries, query(key))
	}
	if field, value, ok := inField(text); ok && (value != "" || prefix) {
		queries = append(queries, query(store.Normal(value), field))
	}
	return queries, nil
}

// inField reads FIELD=VALUE, and label: or annotation: before what is looked for.
func inField(text string) (dossier.Field, string, bool) {
	for _, field := range []dossier.Field{dossier.FieldLabel, dossier.FieldAnnotation} {
		if rest, ok := cutFold(text, string(field)+":"); ok {
			return field, rest, true
		}
	}
	for _, field := range searchable() {
		if rest, ok := cutFold(text, string(field)+"="); ok {
			return field, rest, true
		}
	}
	return "", "", false
}

// cutFold is strings.CutPrefix in which letter case makes no difference.
func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// searchable are the fields of terms, those first that say the most.
func searchable() []dossier.Field {
	return []dossier.Field{
		dossier.FieldReference, dossier.FieldSource, dossier.FieldRevision, dossier.FieldBase, dossier.FieldProgram, dossier.FieldVulnerability, dossier.FieldPackage,
		dossier.FieldSubject, dossier.FieldArtifactType, dossier.FieldLayer, dossier.FieldLabel, dossier.FieldAnnotation,
		dossier.FieldPlatform, dossier.FieldMediaType,
	}
}

func isRevision(s string) bool {
	return len(s) >= minRevision && len(s) <= 40 && strings.Trim(s, "0123456789abcdef") == ""
}

// weight orders fields by how much they say: what is found in several is shown
// with the first. A digest, which is no term, says more than any.
func weight(f dossier.Field) int { return slices.Index(searchable(), f) }

// candidate is a root image and why it was found.
type candidate struct {
	digest dossier.Digest
	hit    store.TermHit
}

// foundOf follows edges from where a term stands to the images that contain it.
// There are no circles: an image contains the digests of what lies in it.
func foundOf(ctx context.Context, r store.Reader, hits []store.TermHit) ([]candidate, error) {
	level := map[dossier.Digest]store.TermHit{}
	for _, h := range hits {
		if known, ok := level[h.Digest]; !ok || weight(h.Field) < weight(known.Field) {
			level[h.Digest] = h
		}
	}
	found := map[dossier.Digest]store.TermHit{}
	for len(level) > 0 {
		var ds []dossier.Digest
		for d := range level {
			ds = append(ds, d)
		}
		parents, err := r.Parents(ctx, distinct(ds), dossier.RoleConfig, dossier.RolePlatform)
		if err != nil {
			return nil, err
		}
		next := map[dossier.Digest]store.TermHit{}
		for _, e := range parents {
			hit := level[e.Child]
			if known, ok := next[e.Parent]; !ok || weight(hit.Field) < weight(known.Field) {
				next[e.Parent] = hit
			}
		}
		for _, e := range parents {
			delete(level, e.Child)
		}
		for d, h := range level { // nothing contains it
			if _, ok := found[d]; !ok {
				found[d] = h
			}
		}
		level = next
	}
	out := make([]candidate, 0, len(found))
	for d, h := range found {
		out = append(out, candidate{d, h})
	}
	slices.SortFunc(out, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(weight(a.hit.Field), weight(b.hit.Field)), cmp.Compare(a.hit.Key, b.hit.Key), cmp.Compare(a.digest, b.digest))
	})
	return out, nil
}

// describe adds names and places to what was found. A platform manifest or a configuration
// that runs by itself counts to the image that contains it. packages are those
// that were found, by manifest.
func (g *gatherer) describe(ctx context.Context, found []candidate, packages map[dossier.Digest][]dossier.PackageAt) ([]dossier.Found, error) {
	if len(found) == 0 {
		return []dossier.Found{}, nil // a query for no digests would select all
	}
	owner := map[dossier.Digest][]int{}
	var ds []dossier.Digest
	for i, c := range found {
		owner[c.digest] = append(owner[c.digest], i)
		ds = append(ds, c.digest)
	}
	names, err := g.r.Names(ctx, ds)
	if err != nil {
		return nil, err
	}
	for level := distinct(ds); len(level) > 0; {
		edges, err := g.r.Edges(ctx, level, dossier.RolePlatform, dossier.RoleConfig)
		if err != nil {
			return nil, err
		}
		level = nil
		for _, e := range edges {
			if _, ok := owner[e.Child]; !ok {
				level = append(level, e.Child)
			}
			owner[e.Child] = append(owner[e.Child], owner[e.Parent]...)
		}
		ds = append(ds, level...)
	}
	places := make([][]dossier.Place, len(found))
	for p, err := range g.r.Places(ctx, store.PlaceQuery{Digests: distinct(ds)}) {
		if err != nil {
			return nil, err
		}
		for _, i := range slices.Compact(slices.Sorted(slices.Values(owner[p.Digest]))) {
			places[i] = append(places[i], p)
		}
	}
	held := make([][]dossier.PackageAt, len(found))
	for _, d := range distinct(ds) {
		for _, i := range slices.Compact(slices.Sorted(slices.Values(owner[d]))) {
			held[i] = append(held[i], packages[d]...)
		}
	}
	first, err := g.r.FirstRun(ctx, distinct(ds))
	if err != nil {
		return nil, err
	}
	out := make([]dossier.Found, 0, len(found))
	for i, c := range found {
		e := Evidence{Subject: c.digest, Places: places[i]}
		seen := first[c.digest]
		for _, n := range names[c.digest] {
			e.Names = append(e.Names, Name{Name: n.Name})
			if seen.IsZero() || n.FirstSeen.Before(seen) {
				seen = n.FirstSeen
			}
		}
		out = append(out, dossier.Found{
			Digest: c.digest, Field: c.hit.Field, Match: c.hit.Value,
			References: referencesOf(&e), Running: runningOf(places[i]),
			FirstSeen: seen, Packages: distinctPackages(held[i]),
		})
	}
	return out, nil
}
