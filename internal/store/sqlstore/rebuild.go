// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	factSubjects   = `SELECT DISTINCT subject FROM fact WHERE subject > $1 ORDER BY subject LIMIT $2`
	imageSubjects  = `SELECT digest FROM image WHERE digest > $1 ORDER BY digest LIMIT $2`
	namedSubjects  = `SELECT DISTINCT digest FROM name WHERE digest > $1 ORDER BY digest LIMIT $2`
	termedSubjects = `SELECT DISTINCT digest FROM term WHERE digest > $1 ORDER BY digest LIMIT $2`

	retractionsOf = `
SELECT fact, by, recorded_at FROM retraction
WHERE fact IN (SELECT position FROM fact WHERE subject = $1) ORDER BY fact, by`

	retractionFacts = `SELECT ` + factColumns + ` FROM fact WHERE subject = $1 AND kind = 'retraction' ORDER BY seq`

	dropRetractions = `DELETE FROM retraction WHERE fact IN (SELECT position FROM fact WHERE subject = $1)`

	termsOfDigest = `SELECT key, field, digest, value FROM term WHERE digest = $1`

	dropImage      = `DELETE FROM image WHERE digest = $1`
	dropImageRead  = `DELETE FROM image_read WHERE manifest = $1`
	dropNames      = `DELETE FROM name WHERE digest = $1`
	dropMembers    = `DELETE FROM package_member WHERE package_set = $1`
	openSet        = `UPDATE package_set SET layer = $2, whole = 0 WHERE digest = $1`
	replacePackage = `
UPDATE package SET ecosystem = $2, name = $3, program = $4, body = $5
WHERE digest = $1 AND (ecosystem <> $2 OR name <> $3 OR body <> $5 OR coalesce(program, 0) <> coalesce($4, 0))
RETURNING id`
	unmatchPackages = `UPDATE package_match SET rules = 0 WHERE package IN (SELECT CAST(key AS BIGINT) FROM json_each($1))`

	keptSet = `
SELECT p.digest, p.ecosystem, p.name, p.body, coalesce(r.digest, ''), m.path FROM package_set AS s
JOIN package_member AS m ON m.package_set = s.id JOIN package AS p ON p.id = m.package
LEFT JOIN program AS r ON r.id = p.program
WHERE s.digest = $1`

	// keptTerms takes the words that there should be: by package alone they are not found.
	keptTerms = `
SELECT p.digest, t.term FROM package_term AS t JOIN package AS p ON p.id = t.package
WHERE t.term IN (SELECT key FROM json_each($2))
  AND t.package IN (SELECT m.package FROM package_member AS m JOIN package_set AS s ON s.id = m.package_set WHERE s.digest = $1)`
)

// Subjects implements [store.ProjectionReader].
func (r reader) Subjects(ctx context.Context, after dossier.Digest, limit int) ([]dossier.Digest, error) {
	var found []dossier.Digest
	for _, query := range []string{factSubjects, imageSubjects, namedSubjects, termedSubjects} {
		list, err := all(ctx, r.session, "listing subjects", scanOne[dossier.Digest], query, after, max(0, limit))
		if err != nil {
			return nil, err
		}
		found = append(found, list...)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	return found[:min(len(found), max(0, limit))], nil
}

// takenBack is a row of retraction.
type takenBack struct{ fact, by, at int64 }

// Chained implements [store.ProjectionReader].
func (r reader) Chained(ctx context.Context, subject dossier.Digest) (bool, error) {
	const op = "comparing a chain"
	if r.dialect.headOf != "" {
		newest, _, err := one(ctx, r.session, op, scanHead, newestOf, subject)
		if err != nil {
			return false, err
		}
		kept, _, err := one(ctx, r.session, op, scanHead, r.dialect.headOf, subject)
		if err != nil || kept != newest {
			return false, err
		}
	}
	want, err := r.takenBack(ctx, subject)
	if err != nil {
		return false, err
	}
	got, err := all(ctx, r.session, op, func(row scanner, t *takenBack) error { return row.Scan(&t.fact, &t.by, &t.at) }, retractionsOf, subject)
	return slices.Equal(got, want), err
}

// takenBack returns the retractions that the facts of a subject say, as retractionsOf does.
func (r reader) takenBack(ctx context.Context, subject dossier.Digest) ([]takenBack, error) {
	const op = "reading retractions"
	facts, err := all(ctx, r.session, op, scanFact, retractionFacts, subject)
	if err != nil {
		return nil, err
	}
	var list []takenBack
	for _, f := range facts {
		var body dossier.RetractionBody
		if json.Unmarshal(f.Body, &body) != nil {
			continue
		}
		about, ok, err := one(ctx, r.session, op, scanFact, factByID, body.Fact)
		if err != nil {
			return nil, err
		}
		if ok && about.Subject == subject && about.Kind != dossier.FactRetraction {
			list = append(list, takenBack{about.Position, f.Position, micros(f.RecordedAt)})
		}
	}
	slices.SortFunc(list, func(a, b takenBack) int { return cmp.Or(cmp.Compare(a.fact, b.fact), cmp.Compare(a.by, b.by)) })
	return list, nil
}

// mendHead makes the end of a chain, as it is kept, what the facts say.
func (t *tx) mendHead(ctx context.Context, op string, subject dossier.Digest) error {
	if t.dialect.lockHead == "" {
		return nil
	}
	if _, _, err := one(ctx, t.session, op, scanHead, t.dialect.lockHead, subject); err != nil { // others wait
		return err
	}
	newest, ok, err := one(ctx, t.session, op, scanHead, newestOf, subject)
	if err != nil {
		return err
	}
	if ok {
		return t.moveHead(ctx, op, subject, newest)
	}
	_, err = t.exec(ctx, op, t.dialect.dropHead, subject)
	return err
}

// MendChain implements [store.ProjectionWriter].
func (t *tx) MendChain(ctx context.Context, subject dossier.Digest) error {
	const op = "mending a chain"
	if err := t.mendHead(ctx, op, subject); err != nil {
		return err
	}
	list, err := t.takenBack(ctx, subject)
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, op, dropRetractions, subject); err != nil {
		return err
	}
	for _, r := range list {
		if _, err := t.exec(ctx, op, insertRetraction, r.fact, r.by, r.at); err != nil {
			return err
		}
	}
	return nil
}

// TermsOf implements [store.ProjectionReader].
func (r reader) TermsOf(ctx context.Context, d dossier.Digest) ([]store.Term, error) {
	hits, err := all(ctx, r.session, "reading search terms", scanTerm, termsOfDigest, d)
	terms := make([]store.Term, len(hits))
	for i, h := range hits {
		terms[i] = h.Term
	}
	slices.SortFunc(terms, func(a, b store.Term) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Field, b.Field)) })
	return terms, err
}

// DropImage implements [store.ProjectionWriter].
func (t *tx) DropImage(ctx context.Context, d dossier.Digest) error {
	for _, query := range []string{deleteEdges, deleteImageSets, dropImageRead, dropImage} {
		if _, err := t.exec(ctx, "dropping an image", query, d); err != nil {
			return err
		}
	}
	return nil
}

// ReplaceNames implements [store.ProjectionWriter].
func (t *tx) ReplaceNames(ctx context.Context, d dossier.Digest, names []store.Name) error {
	const op = "replacing names"
	_, err := t.exec(ctx, op, dropNames, d)
	for _, n := range names {
		if err == nil {
			_, err = t.exec(ctx, op, insertName, d, n.Name, micros(n.FirstSeen))
		}
	}
	return err
}

// ReplacePackages implements [store.ProjectionWriter].
func (t *tx) ReplacePackages(ctx context.Context, set store.PackageSet) error {
	const op = "replacing packages"
	if _, err := t.exec(ctx, op, openSet, set.Digest, set.Layer); err != nil {
		return err
	}
	kept, ok, err := one(ctx, t.session, op, scanSet, setByDigest, set.Digest)
	if err != nil {
		return err
	}
	if ok {
		if _, err := t.exec(ctx, op, dropMembers, kept.id); err != nil {
			return err
		}
	}
	if err := t.PutPackages(ctx, set, true); err != nil {
		return err
	}
	return t.replaceEach(ctx, set.Packages)
}

// replaceEach replaces what is kept of packages, which are there.
func (t *tx) replaceEach(ctx context.Context, packages []dossier.PackageAt) error {
	const op = "replacing packages"
	programs, err := t.putPrograms(ctx, packages)
	if err != nil {
		return err
	}
	digests := store.PackageIDs(packages)
	ids, err := t.rowsOf(ctx, op, packageIDs, digests)
	if err != nil {
		return err
	}
	var changed []int64
	var terms [][]any
	done := map[dossier.Digest]bool{}
	for i, p := range packages {
		if done[digests[i]] {
			continue
		}
		done[digests[i]] = true
		var program any
		if p.Program != nil {
			program = programs[p.Program]
			p.Program = nil
		}
		body, err := json.Marshal(p.Package)
		if err != nil {
			return &dossier.Error{Kind: dossier.KindInternal, Op: op, Subject: p.PURL, Err: err}
		}
		id, isOther, err := one(ctx, t.session, op, scanOne[int64], replacePackage, digests[i], p.Ecosystem, p.Name, program, string(body))
		if err != nil {
			return err
		}
		if isOther {
			changed = append(changed, id)
		}
		for _, term := range store.PackageTerms(p.Package) {
			terms = append(terms, []any{term, ids[digests[i]]})
		}
	}
	if len(changed) > 0 {
		if _, err := t.exec(ctx, op, unmatchPackages, numbers(changed)); err != nil {
			return err
		}
	}
	return t.insert(ctx, op, insertPackageTerms, insertPackageTermsTail, terms)
}

// KeptSet implements [store.ProjectionReader].
func (r reader) KeptSet(ctx context.Context, set dossier.Digest, terms []string) ([]store.KeptPackage, bool, error) {
	const op = "comparing packages"
	kept, _, err := one(ctx, r.session, op, scanSet, setByDigest, set)
	if err != nil {
		return nil, false, err
	}
	type word struct {
		id   dossier.Digest
		term string
	}
	wanted, err := keys(terms)
	if err != nil {
		return nil, false, err
	}
	words, err := all(ctx, r.session, op, func(s scanner, w *word) error { return s.Scan(&w.id, &w.term) }, keptTerms, set, wanted)
	if err != nil {
		return nil, false, err
	}
	own := map[dossier.Digest][]string{}
	for _, w := range words {
		own[w.id] = append(own[w.id], w.term)
	}
	for _, list := range own {
		slices.Sort(list)
	}
	packages, err := all(ctx, r.session, op, func(s scanner, p *store.KeptPackage) error {
		var body []byte
		var program dossier.Digest
		if err := s.Scan(&p.ID, &p.Ecosystem, &p.Name, &body, &program, &p.Path); err != nil {
			return err
		}
		p.Own = dossier.FromBytes(fmt.Appendf(body, "\n%s", program))
		p.Terms = own[p.ID]
		return nil
	}, keptSet, set)
	return packages, kept.whole, err
}
