// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	putImage = `
INSERT INTO image (digest, kind, media_type, size, platform) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (digest) DO UPDATE SET
    kind = excluded.kind, media_type = excluded.media_type, size = excluded.size, platform = excluded.platform
WHERE excluded.kind <> 'config' OR image.kind = 'config'`

	deleteEdges = `DELETE FROM edge WHERE parent = $1`

	insertEdges     = `INSERT INTO edge (parent, position, role, child, media_type, size, platform) VALUES `
	insertEdgesTail = ` ON CONFLICT (parent, position, role, child) DO NOTHING`

	insertName = `INSERT INTO name (digest, name, first_seen) VALUES ($1, $2, $3) ON CONFLICT (digest, name) DO NOTHING`

	// earlierName moves FirstSeen back: observations may come out of order.
	earlierName = `UPDATE name SET first_seen = $3 WHERE digest = $1 AND name = $2 AND first_seen > $3`

	imagesByDigest = `
SELECT digest, kind, media_type, size, platform FROM image
WHERE digest IN (SELECT key FROM json_each($1))`

	imagesAfter = `
SELECT digest, kind, media_type, size, platform FROM image
WHERE digest > $1 ORDER BY digest LIMIT $2`

	// edgesFrom and edgesTo are completed by ofRoles and their orders.
	edgesFrom = `
SELECT parent, position, role, child, media_type, size, platform FROM edge
WHERE parent IN (SELECT key FROM json_each($1))`
	edgesFromOrder = ` ORDER BY parent, position, role, child`

	edgesTo = `
SELECT parent, position, role, child, media_type, size, platform FROM edge
WHERE child IN (SELECT key FROM json_each($1))`
	edgesToOrder = ` ORDER BY child, parent, position, role`

	ofRoles = ` AND role IN (SELECT key FROM json_each($2))`

	namesOf = `
SELECT digest, name, first_seen FROM name
WHERE digest IN (SELECT key FROM json_each($1))
ORDER BY digest, first_seen, name`

	digestsBetween = `
SELECT digest FROM image WHERE digest >= $1 AND digest < $2
UNION
SELECT digest FROM place WHERE digest >= $1 AND digest < $2
ORDER BY digest LIMIT $3`
)

func scanImage(row scanner, i *dossier.Image) error {
	return row.Scan(&i.Digest, &i.Kind, &i.MediaType, &i.Size, &i.Platform)
}

func scanEdge(row scanner, e *dossier.Edge) error {
	return row.Scan(&e.Parent, &e.Position, &e.Role, &e.Child, &e.MediaType, &e.Size, &e.Platform)
}

// PutImage implements [store.ImageWriter]. KindInvalid: an edge leads from
// elsewhere.
func (t *tx) PutImage(ctx context.Context, image dossier.Image, edges []dossier.Edge) error {
	const op = "keeping image"
	rows := make([][]any, 0, len(edges))
	for _, e := range edges {
		if e.Parent != image.Digest {
			return dossier.Errorf(dossier.KindInvalid, op, string(image.Digest), "an edge leads from "+string(e.Parent))
		}
		rows = append(rows, []any{e.Parent, e.Position, e.Role, e.Child, e.MediaType, e.Size, e.Platform})
	}
	n, err := t.exec(ctx, op, putImage, image.Digest, image.Kind, image.MediaType, image.Size, image.Platform)
	if err != nil || n == 0 {
		return err
	}
	if _, err := t.exec(ctx, op, deleteEdges, image.Digest); err != nil {
		return err
	}
	return t.insert(ctx, op, insertEdges, insertEdgesTail, rows)
}

// PutName implements [store.ImageWriter].
func (t *tx) PutName(ctx context.Context, d dossier.Digest, name string, at time.Time) (bool, error) {
	const op = "keeping name"
	n, err := t.exec(ctx, op, insertName, d, name, micros(at))
	if err != nil || n > 0 {
		return n > 0, err
	}
	_, err = t.exec(ctx, op, earlierName, d, name, micros(at))
	return false, err
}

// Images implements [store.ImageReader].
func (r reader) Images(ctx context.Context, ds []dossier.Digest) (map[dossier.Digest]dossier.Image, error) {
	if len(ds) == 0 {
		return map[dossier.Digest]dossier.Image{}, nil
	}
	list, err := keys(ds)
	if err != nil {
		return nil, err
	}
	images, err := all(ctx, r.session, "reading images", scanImage, imagesByDigest, list)
	if err != nil {
		return nil, err
	}
	found := make(map[dossier.Digest]dossier.Image, len(images))
	for _, i := range images {
		found[i.Digest] = i
	}
	return found, nil
}

// ListImages implements [store.ImageReader].
func (r reader) ListImages(ctx context.Context, after dossier.Digest, limit int) ([]dossier.Image, error) {
	return all(ctx, r.session, "reading images", scanImage, imagesAfter, after, max(0, limit))
}

// Edges implements [store.ImageReader].
func (r reader) Edges(ctx context.Context, parents []dossier.Digest, roles ...dossier.Role) ([]dossier.Edge, error) {
	return r.edges(ctx, edgesFrom, edgesFromOrder, parents, roles)
}

// Parents implements [store.ImageReader].
func (r reader) Parents(ctx context.Context, children []dossier.Digest, roles ...dossier.Role) ([]dossier.Edge, error) {
	return r.edges(ctx, edgesTo, edgesToOrder, children, roles)
}

func (r reader) edges(ctx context.Context, query, order string, ends []dossier.Digest, roles []dossier.Role) ([]dossier.Edge, error) {
	if len(ends) == 0 {
		return nil, nil
	}
	endKeys, err := keys(ends)
	if err != nil {
		return nil, err
	}
	args := []any{endKeys}
	if len(roles) > 0 {
		roleKeys, err := keys(roles)
		if err != nil {
			return nil, err
		}
		query += ofRoles
		args = append(args, roleKeys)
	}
	return all(ctx, r.session, "reading edges", scanEdge, query+order, args...)
}

// Names implements [store.ImageReader].
func (r reader) Names(ctx context.Context, ds []dossier.Digest) (map[dossier.Digest][]store.Name, error) {
	if len(ds) == 0 {
		return map[dossier.Digest][]store.Name{}, nil
	}
	type row struct {
		digest dossier.Digest
		store.Name
	}
	list, err := keys(ds)
	if err != nil {
		return nil, err
	}
	rows, err := all(ctx, r.session, "reading names", func(s scanner, v *row) error {
		var seen int64
		err := s.Scan(&v.digest, &v.Name.Name, &seen)
		v.FirstSeen = instant(seen)
		return err
	}, namesOf, list)
	if err != nil {
		return nil, err
	}
	found := map[dossier.Digest][]store.Name{}
	for _, v := range rows {
		found[v.digest] = append(found[v.digest], v.Name)
	}
	return found, nil
}

// MatchDigest implements [store.ImageReader]. Nothing begins with a prefix that
// has other characters than lower-case hexadecimal digits.
func (r reader) MatchDigest(ctx context.Context, prefix string, limit int) ([]dossier.Digest, error) {
	algorithms := []string{dossier.SHA256, dossier.SHA512}
	if algorithm, digits, ok := strings.Cut(prefix, ":"); ok {
		if !slices.Contains(algorithms, algorithm) {
			return nil, nil
		}
		algorithms, prefix = []string{algorithm}, digits
	}
	if strings.Trim(prefix, "0123456789abcdef") != "" {
		return nil, nil
	}
	var found []dossier.Digest
	for _, algorithm := range algorithms {
		from := algorithm + ":" + prefix
		list, err := all(ctx, r.session, "matching digest", scanOne[dossier.Digest],
			digestsBetween, from, from+"g", max(0, limit-len(found))) // no digit sorts after f
		if err != nil {
			return nil, err
		}
		found = append(found, list...)
	}
	return found, nil
}
