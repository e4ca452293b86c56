// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	pinColumns = `cluster, namespace, kind, name, reference, owner`

	allPins = `SELECT ` + pinColumns + ` FROM pin ORDER BY cluster, namespace, kind, name, reference`

	pinsOf = `SELECT ` + pinColumns + ` FROM pin WHERE cluster = $1`

	pinsOfObject = `SELECT ` + pinColumns + ` FROM pin WHERE cluster = $1 AND namespace = $2 AND kind = $3 AND name = $4`

	insertPins     = `INSERT INTO pin (` + pinColumns + `) VALUES `
	insertPinsTail = ` ON CONFLICT (cluster, namespace, kind, name, reference) DO UPDATE SET owner = excluded.owner`

	deletePin = `DELETE FROM pin WHERE cluster = $1 AND namespace = $2 AND kind = $3 AND name = $4 AND reference = $5`

	allListings = `SELECT cluster, part, scope, at, problem FROM listing ORDER BY cluster, part`

	putListing = `
INSERT INTO listing (cluster, part, at, problem, scope) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (cluster, part) DO UPDATE SET problem = excluded.problem, scope = excluded.scope,
    at = CASE WHEN excluded.problem = '' AND excluded.at > listing.at THEN excluded.at ELSE listing.at END`

	forgetListings = `DELETE FROM listing WHERE cluster = $1`
)

func scanPin(row scanner, p *dossier.Pin) error {
	return row.Scan(&p.Cluster, &p.Namespace, &p.Kind, &p.Name, &p.Reference, &p.Owner)
}

// Pins implements [store.PinReader].
func (r reader) Pins(ctx context.Context) ([]dossier.Pin, error) {
	return all(ctx, r.session, "reading what clusters name", scanPin, allPins)
}

// Listings implements [store.PinReader].
func (r reader) Listings(ctx context.Context) ([]store.Listing, error) {
	return all(ctx, r.session, "reading listings", func(row scanner, l *store.Listing) error {
		var at int64
		err := row.Scan(&l.Cluster, &l.Part, &l.Scope, &at, &l.Problem)
		l.At = instant(at)
		return err
	}, allListings)
}

// PutPins implements [store.PinWriter].
func (t *tx) PutPins(ctx context.Context, cluster string, pins []dossier.Pin, replaced func(dossier.Pin) bool) error {
	const op = "keeping what a cluster names"
	if err := t.lockCluster(ctx, cluster); err != nil {
		return err
	}
	there, err := all(ctx, t.session, op, scanPin, pinsOf, cluster)
	if err != nil {
		return err
	}
	return t.replacePins(ctx, op, cluster, there, pins, replaced)
}

// PutObjectPins implements [store.PinWriter].
func (t *tx) PutObjectPins(ctx context.Context, cluster string, objects, pins []dossier.Pin) error {
	const op = "keeping what objects name"
	if err := t.lockCluster(ctx, cluster); err != nil {
		return err
	}
	var there []dossier.Pin
	for _, o := range objects {
		list, err := all(ctx, t.session, op, scanPin, pinsOfObject, cluster, o.Namespace, o.Kind, o.Name)
		if err != nil {
			return err
		}
		there = append(there, list...)
	}
	return t.replacePins(ctx, op, cluster, there, pins, nil)
}

// replacePins writes pins that are not there as they are, and removes those there that
// are not among them and that replaced (nil: always) reports.
func (t *tx) replacePins(ctx context.Context, op, cluster string, there, pins []dossier.Pin, replaced func(dossier.Pin) bool) error {
	same := make(map[dossier.Pin]bool, len(there))
	for _, p := range there {
		same[p] = true
	}
	var rows [][]any
	seen := make(map[dossier.Pin]bool, len(pins))
	for _, p := range pins {
		p.Cluster = cluster
		key := p
		key.Owner = ""
		if seen[key] {
			continue
		}
		seen[key] = true
		if !same[p] {
			rows = append(rows, []any{p.Cluster, p.Namespace, p.Kind, p.Name, p.Reference, p.Owner})
		}
	}
	if err := t.insert(ctx, op, insertPins, insertPinsTail, rows); err != nil {
		return err
	}
	for _, p := range there {
		key := p
		key.Owner = ""
		if seen[key] || replaced != nil && !replaced(p) {
			continue
		}
		if _, err := t.exec(ctx, op, deletePin, p.Cluster, p.Namespace, p.Kind, p.Name, p.Reference); err != nil {
			return err
		}
	}
	return nil
}

// PutListing implements [store.PinWriter].
func (t *tx) PutListing(ctx context.Context, l store.Listing) error {
	if l.Problem != "" {
		l.At = time.Time{}
	}
	_, err := t.exec(ctx, "keeping listing", putListing, l.Cluster, l.Part, micros(l.At), l.Problem, l.Scope)
	return err
}

// ForgetListings implements [store.PinWriter].
func (t *tx) ForgetListings(ctx context.Context, cluster string) error {
	_, err := t.exec(ctx, "forgetting listings", forgetListings, cluster)
	return err
}
