// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	putLayerRead = `
INSERT INTO layer_read (digest, serial, read_at) VALUES ($1, $2, $3)
ON CONFLICT (digest) DO UPDATE SET serial = excluded.serial, read_at = excluded.read_at
WHERE layer_read.serial < excluded.serial`

	layersRead = `
SELECT digest, serial, read_at FROM layer_read WHERE digest IN (SELECT key FROM json_each($1))`

	oldLayers = `
SELECT digest, serial, read_at FROM layer_read
WHERE serial < $1 AND (read_at > $2 OR read_at = $2 AND digest > $3) ORDER BY read_at, digest LIMIT $4`

	putImageRead = `
INSERT INTO image_read (manifest, serial, read_at) VALUES ($1, $2, $3)
ON CONFLICT (manifest) DO UPDATE SET serial = excluded.serial, read_at = excluded.read_at`

	deleteImageSets = `DELETE FROM image_set WHERE manifest = $1`

	insertImageSets = `INSERT INTO image_set (manifest, position, package_set) VALUES `

	imagesRead = `
SELECT manifest, serial, read_at, looked_at FROM image_read WHERE manifest IN (SELECT key FROM json_each($1))`

	oldImages = `
SELECT manifest, serial, read_at, looked_at FROM image_read
WHERE serial < $1 AND (read_at > $2 OR read_at = $2 AND manifest > $3) ORDER BY read_at, manifest LIMIT $4`

	putLook = `UPDATE image_read SET looked_at = $2 WHERE manifest = $1`

	notLooked = `
SELECT manifest, serial, read_at, looked_at FROM image_read
WHERE looked_at < $1 AND (looked_at > $2 OR looked_at = $2 AND manifest > $3) ORDER BY looked_at, manifest LIMIT $4`

	imageSets = `
SELECT i.manifest, s.digest FROM image_set AS i JOIN package_set AS s ON s.id = i.package_set
WHERE i.manifest IN (SELECT key FROM json_each($1)) ORDER BY i.manifest, i.position`

	wholeSets = `
SELECT digest, id FROM package_set WHERE whole = 1 AND digest IN (SELECT key FROM json_each($1))`
)

// packageSet is a row of package_set.
type packageSet struct {
	id    int64
	layer dossier.Digest
	whole bool
}

func scanSet(s scanner, v *packageSet) error {
	var whole int64
	err := s.Scan(&v.id, &v.layer, &whole)
	v.whole = whole != 0
	return err
}

func scanLayerRead(s scanner, l *store.LayerRead) error {
	var at int64
	err := s.Scan(&l.Digest, &l.Serial, &at)
	l.At = instant(at)
	return err
}

func scanImageRead(s scanner, c *store.ImageContents) error {
	var at, looked int64
	err := s.Scan(&c.Manifest, &c.Serial, &at, &looked)
	c.At, c.Looked = instant(at), instant(looked)
	return err
}

// PutLayerRead implements [store.ContentsWriter].
func (t *tx) PutLayerRead(ctx context.Context, l store.LayerRead) error {
	_, err := t.exec(ctx, "keeping that a layer was read", putLayerRead, l.Digest, l.Serial, micros(l.At))
	return err
}

// PutImageContents implements [store.ContentsWriter].
func (t *tx) PutImageContents(ctx context.Context, c store.ImageContents) error {
	const op = "keeping contents of image"
	sets, err := t.rowsOf(ctx, op, wholeSets, c.Sets)
	if err != nil {
		return err
	}
	rows := make([][]any, len(c.Sets))
	for i, d := range c.Sets {
		id, ok := sets[d]
		if !ok {
			return dossier.Errorf(dossier.KindNotFound, op, string(c.Manifest), fmt.Sprintf("the set of packages %s is not there", d))
		}
		rows[i] = []any{c.Manifest, i, id}
	}
	if _, err := t.exec(ctx, op, putImageRead, c.Manifest, c.Serial, micros(c.At)); err != nil {
		return err
	}
	if _, err := t.exec(ctx, op, deleteImageSets, c.Manifest); err != nil {
		return err
	}
	return t.insert(ctx, op, insertImageSets, "", rows)
}

// PutLook implements [store.ContentsWriter].
func (t *tx) PutLook(ctx context.Context, manifest dossier.Digest, at time.Time) error {
	_, err := t.exec(ctx, "keeping that somebody looked", putLook, manifest, micros(at))
	return err
}

// LayersRead implements [store.ContentsReader].
func (r reader) LayersRead(ctx context.Context, ds []dossier.Digest) (map[dossier.Digest]store.LayerRead, error) {
	list, err := keys(ds)
	if err != nil {
		return nil, err
	}
	rows, err := all(ctx, r.session, "finding layers", scanLayerRead, layersRead, list)
	found := make(map[dossier.Digest]store.LayerRead, len(rows))
	for _, l := range rows {
		found[l.Digest] = l
	}
	return found, err
}

// OldLayers implements [store.ContentsReader].
func (r reader) OldLayers(ctx context.Context, serial int, after store.LayerRead, limit int) ([]store.LayerRead, error) {
	return all(ctx, r.session, "finding old layers", scanLayerRead, oldLayers, serial, micros(after.At), after.Digest, max(0, limit))
}

// OldImages implements [store.ContentsReader].
func (r reader) OldImages(ctx context.Context, serial int, after store.ImageContents, limit int) ([]store.ImageContents, error) {
	return all(ctx, r.session, "finding old images", scanImageRead, oldImages, serial, micros(after.At), after.Manifest, max(0, limit))
}

// NotLooked implements [store.ContentsReader].
func (r reader) NotLooked(ctx context.Context, since time.Time, after store.ImageContents, limit int) ([]store.ImageContents, error) {
	return all(ctx, r.session, "finding images", scanImageRead, notLooked, micros(since), micros(after.Looked), after.Manifest, max(0, limit))
}

// ImageContents implements [store.ContentsReader].
func (r reader) ImageContents(ctx context.Context, manifests []dossier.Digest) (map[dossier.Digest]store.ImageContents, error) {
	const op = "reading contents of images"
	list, err := keys(manifests)
	if err != nil {
		return nil, err
	}
	rows, err := all(ctx, r.session, op, scanImageRead, imagesRead, list)
	if err != nil {
		return nil, err
	}
	found := make(map[dossier.Digest]store.ImageContents, len(rows))
	for _, c := range rows {
		found[c.Manifest] = c
	}
	type pair struct{ manifest, set dossier.Digest }
	sets, err := all(ctx, r.session, op, func(s scanner, p *pair) error { return s.Scan(&p.manifest, &p.set) }, imageSets, list)
	for _, p := range sets {
		c := found[p.manifest]
		c.Sets = append(c.Sets, p.set)
		found[p.manifest] = c
	}
	return found, err
}

// WholeSets implements [store.ContentsReader].
func (r reader) WholeSets(ctx context.Context, sets []dossier.Digest) (map[dossier.Digest]bool, error) {
	rows, err := r.rowsOf(ctx, "finding sets of packages", wholeSets, slices.Clone(sets))
	found := make(map[dossier.Digest]bool, len(rows))
	for d := range rows {
		found[d] = true
	}
	return found, err
}
