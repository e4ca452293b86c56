// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"encoding/json"
	"iter"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	insertPrograms     = `INSERT INTO program (digest, body) VALUES `
	insertProgramsTail = ` ON CONFLICT (digest) DO NOTHING`

	programIDs = `SELECT digest, id FROM program WHERE digest IN (SELECT key FROM json_each($1))`

	insertPackages     = `INSERT INTO package (digest, ecosystem, name, program, body) VALUES `
	insertPackagesTail = ` ON CONFLICT (digest) DO NOTHING`

	packageIDs = `SELECT digest, id FROM package WHERE digest IN (SELECT key FROM json_each($1))`

	insertPackageTerms     = `INSERT INTO package_term (term, package) VALUES `
	insertPackageTermsTail = ` ON CONFLICT (term, package) DO NOTHING`

	insertSet = `INSERT INTO package_set (digest, layer, whole) VALUES ($1, $2, 0) ON CONFLICT (digest) DO NOTHING`

	setByDigest = `SELECT id, layer, whole FROM package_set WHERE digest = $1`

	completeSet = `UPDATE package_set SET whole = 1 WHERE id = $1`

	insertMembers     = `INSERT INTO package_member (package_set, package, path) VALUES `
	insertMembersTail = ` ON CONFLICT (package_set, package, path) DO NOTHING`

	membersOf = `
SELECT p.body, s.layer, m.path FROM package_set AS s
JOIN package_member AS m ON m.package_set = s.id JOIN package AS p ON p.id = m.package
WHERE s.digest = $1 AND s.whole = 1 ORDER BY m.package, m.path`

	packagesByTerm = `
SELECT p.id, p.body FROM package AS p
WHERE p.id IN (SELECT package FROM package_term WHERE term = $1)
ORDER BY p.name, p.id LIMIT $2`

	packagesByPrefix = `
SELECT p.id, p.body FROM package AS p
WHERE p.id IN (SELECT package FROM package_term WHERE term >= $1 AND term < $2)
ORDER BY p.name, p.id LIMIT $3`

	holdersOf = `
SELECT m.package, i.manifest, s.layer, m.path FROM package_member AS m
JOIN package_set AS s ON s.id = m.package_set JOIN image_set AS i ON i.package_set = s.id
WHERE m.package IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
ORDER BY m.package, m.package_set, i.manifest, m.path LIMIT $2`

	programOf = `
SELECT r.body FROM package AS p LEFT JOIN program AS r ON r.id = p.program WHERE p.id = $1`
)

// row is a digest and the number of its row.
type row struct {
	digest dossier.Digest
	id     int64
}

func scanRow(s scanner, r *row) error { return s.Scan(&r.digest, &r.id) }

// rowsOf returns the numbers of the rows that a query finds by digest.
func (s *session) rowsOf(ctx context.Context, op, query string, ds []dossier.Digest) (map[dossier.Digest]int64, error) {
	list, err := keys(ds)
	if err != nil {
		return nil, err
	}
	rows, err := all(ctx, s, op, scanRow, query, list)
	if err != nil {
		return nil, err
	}
	found := make(map[dossier.Digest]int64, len(rows))
	for _, r := range rows {
		found[r.digest] = r.id
	}
	return found, nil
}

// PutPackages implements [store.ContentsWriter].
func (t *tx) PutPackages(ctx context.Context, set store.PackageSet, whole bool) error {
	const op = "keeping packages"
	if _, err := t.exec(ctx, op, insertSet, set.Digest, set.Layer); err != nil {
		return err
	}
	kept, _, err := one(ctx, t.session, op, scanSet, setByDigest, set.Digest)
	if err != nil || kept.whole {
		return err
	}
	ids, err := t.putPackages(ctx, set.Packages)
	if err != nil {
		return err
	}
	members := make([][]any, len(set.Packages))
	for i, p := range set.Packages {
		members[i] = []any{kept.id, ids[i], p.Path}
	}
	if err := t.insert(ctx, op, insertMembers, insertMembersTail, members); err != nil || !whole {
		return err
	}
	_, err = t.exec(ctx, op, completeSet, kept.id)
	return err
}

// putPackages keeps packages that are new, and returns the numbers of all.
func (t *tx) putPackages(ctx context.Context, packages []dossier.PackageAt) ([]int64, error) {
	const op = "keeping packages"
	programs, err := t.putPrograms(ctx, packages)
	if err != nil {
		return nil, err
	}
	digests := store.PackageIDs(packages)
	known, err := t.rowsOf(ctx, op, packageIDs, digests)
	if err != nil {
		return nil, err
	}
	var rows [][]any
	isNew := map[dossier.Digest]dossier.Package{}
	for i, p := range packages {
		if _, ok := known[digests[i]]; ok {
			continue
		}
		if _, ok := isNew[digests[i]]; ok {
			continue
		}
		var program any
		if p.Program != nil {
			program = programs[p.Program]
			p.Program = nil
		}
		isNew[digests[i]] = p.Package
		body, err := json.Marshal(p.Package)
		if err != nil {
			return nil, &dossier.Error{Kind: dossier.KindInternal, Op: op, Subject: p.PURL, Err: err}
		}
		rows = append(rows, []any{digests[i], p.Ecosystem, p.Name, program, string(body)})
	}
	if err := t.insert(ctx, op, insertPackages, insertPackagesTail, rows); err != nil {
		return nil, err
	}
	if known, err = t.rowsOf(ctx, op, packageIDs, digests); err != nil {
		return nil, err
	}
	var terms, unmatched [][]any
	for d, p := range isNew {
		unmatched = append(unmatched, []any{known[d], 0, 0, "", "", ""})
		for _, term := range store.PackageTerms(p) {
			terms = append(terms, []any{term, known[d]})
		}
	}
	if err := t.insert(ctx, op, insertPackageMatch, insertPackageMatchTail, unmatched); err != nil {
		return nil, err
	}
	ids := make([]int64, len(packages))
	for i, d := range digests {
		ids[i] = known[d]
	}
	return ids, t.insert(ctx, op, insertPackageTerms, insertPackageTermsTail, terms)
}

// putPrograms keeps what is linked into the programs of packages, and returns
// the number of each.
func (t *tx) putPrograms(ctx context.Context, packages []dossier.PackageAt) (map[*dossier.Program]int64, error) {
	const op = "keeping programs"
	digests := map[*dossier.Program]dossier.Digest{}
	var rows [][]any
	for _, p := range packages {
		if _, ok := digests[p.Program]; ok || p.Program == nil {
			continue
		}
		body, err := json.Marshal(p.Program)
		if err != nil {
			return nil, &dossier.Error{Kind: dossier.KindInternal, Op: op, Subject: p.PURL, Err: err}
		}
		digests[p.Program] = dossier.FromBytes(body)
		rows = append(rows, []any{digests[p.Program], body})
	}
	if len(rows) == 0 {
		return nil, nil
	}
	if err := t.insert(ctx, op, insertPrograms, insertProgramsTail, rows); err != nil {
		return nil, err
	}
	var list []dossier.Digest
	for _, d := range digests {
		list = append(list, d)
	}
	known, err := t.rowsOf(ctx, op, programIDs, list)
	ids := map[*dossier.Program]int64{}
	for p, d := range digests {
		ids[p] = known[d]
	}
	return ids, err
}

// SetPackages implements [store.PackageReader].
func (r reader) SetPackages(ctx context.Context, set dossier.Digest) iter.Seq2[dossier.PackageAt, error] {
	return func(yield func(dossier.PackageAt, error) bool) {
		const op = "reading packages"
		rows, err := all(ctx, r.session, op, func(s scanner, v *dossier.PackageAt) error {
			var body []byte
			if err := s.Scan(&body, &v.Layer, &v.Path); err != nil {
				return err
			}
			return json.Unmarshal(body, &v.Package)
		}, membersOf, set)
		if err != nil {
			yield(dossier.PackageAt{}, err)
			return
		}
		for _, v := range rows {
			if !yield(v, nil) {
				return
			}
		}
	}
}

func scanPackage(s scanner, v *store.KnownPackage) error {
	var body []byte
	if err := s.Scan(&v.ID, &body); err != nil {
		return err
	}
	return json.Unmarshal(body, &v.Package)
}

// FindPackages implements [store.PackageReader].
func (r reader) FindPackages(ctx context.Context, term string, prefix bool, limit int) ([]store.KnownPackage, error) {
	const op = "searching packages"
	if !prefix {
		return all(ctx, r.session, op, scanPackage, packagesByTerm, term, max(0, limit))
	}
	return all(ctx, r.session, op, scanPackage, packagesByPrefix, term, afterPrefix(term), max(0, limit))
}

// PackageHolders implements [store.PackageReader].
func (r reader) PackageHolders(ctx context.Context, packages []int64, limit int) ([]store.PackageHolder, error) {
	if len(packages) == 0 {
		return nil, nil
	}
	return all(ctx, r.session, "finding images with packages", func(s scanner, h *store.PackageHolder) error {
		return s.Scan(&h.Package, &h.Manifest, &h.Layer, &h.Path)
	}, holdersOf, numbers(packages), max(0, limit))
}

// Program implements [store.PackageReader].
func (r reader) Program(ctx context.Context, id int64) (*dossier.Program, error) {
	const op = "reading program of a package"
	body, ok, err := one(ctx, r.session, op, scanOne[[]byte], programOf, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, dossier.Errorf(dossier.KindNotFound, op, "", "there is no such package")
	}
	if body == nil {
		return nil, nil
	}
	var p dossier.Program
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: op, Err: err}
	}
	return &p, nil
}
