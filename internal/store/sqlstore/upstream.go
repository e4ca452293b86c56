// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"math"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	upstreamBlob = `
SELECT b.digest, b.key, b.size FROM repository_blob AS r
JOIN repository AS m ON m.path = r.repository AND m.upstream = $1
JOIN blob AS b ON b.digest = r.digest
WHERE r.digest = $2 AND b.damage = '' LIMIT 1`

	referrerList = `SELECT repository, subject, body, checked_at FROM upstream_referrer WHERE repository = $1 AND subject = $2`

	putReferrerList = `
INSERT INTO upstream_referrer (repository, subject, body, checked_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (repository, subject) DO UPDATE SET body = excluded.body, checked_at = excluded.checked_at
WHERE upstream_referrer.checked_at <= excluded.checked_at`

	upstreamUse = `
SELECT m.upstream, COUNT(*),
    (SELECT COUNT(DISTINCT x.digest) FROM manifest AS x JOIN repository AS o ON o.path = x.repository WHERE o.upstream = m.upstream AND o.upstream > ''),
    (SELECT COUNT(DISTINCT x.digest) FROM repository_blob AS x JOIN repository AS o ON o.path = x.repository WHERE o.upstream = m.upstream AND o.upstream > ''),
    (SELECT COALESCE(SUM(b.size), 0) FROM blob AS b WHERE b.digest IN (
        SELECT x.digest FROM repository_blob AS x JOIN repository AS o ON o.path = x.repository WHERE o.upstream = m.upstream AND o.upstream > ''))
FROM repository AS m WHERE m.upstream > '' GROUP BY m.upstream ORDER BY m.upstream`

	idleManifests = `
SELECT m.repository, m.digest, m.kept_until, m.size,
    (SELECT COALESCE(SUM(b.size), 0) FROM blob AS b WHERE b.digest IN (
        SELECT l.blob FROM manifest_blob AS l WHERE l.repository = m.repository AND l.manifest = m.digest
        UNION
        SELECT l.blob FROM manifest_child AS c JOIN manifest_blob AS l ON l.repository = c.repository AND l.manifest = c.child
        WHERE c.repository = m.repository AND c.manifest = m.digest))
FROM repository AS r CROSS JOIN manifest AS m -- in that order
WHERE m.repository = r.path AND r.upstream = $1 AND r.upstream > '' AND m.kept_until <= $2 AND (m.kept_until, m.repository, m.digest) > ($3, $4, $5)
  AND NOT EXISTS (SELECT 1 FROM manifest_child AS c WHERE c.repository = m.repository AND c.child = m.digest)
ORDER BY m.kept_until, m.repository, m.digest LIMIT $6`

	childrenOfManifest = `SELECT child FROM manifest_child WHERE repository = $1 AND manifest = $2 ORDER BY child`

	evictManifest = `
DELETE FROM manifest WHERE repository = $1 AND digest = $2 AND kept_until <= $3
  AND NOT EXISTS (SELECT 1 FROM manifest_child WHERE repository = $1 AND child = $2)
  AND EXISTS (SELECT 1 FROM repository WHERE path = $1 AND upstream <> '')`

	// insertMirror also locks a row that is there, so that a manifest and its
	// child that come at the same time see each other.
	insertMirror = `
INSERT INTO repository (path, name, upstream, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (path) DO UPDATE SET upstream = repository.upstream`

	attachBlob = `
INSERT INTO manifest_blob (repository, manifest, blob)
SELECT DISTINCT m.repository, m.digest, e.child FROM edge AS e JOIN manifest AS m ON m.digest = e.parent
WHERE m.repository = $1 AND e.child = $2 AND e.role NOT IN ('subject', 'chain')
ON CONFLICT (repository, manifest, blob) DO NOTHING`

	attachManifest = `
INSERT INTO manifest_child (repository, manifest, child)
SELECT DISTINCT m.repository, m.digest, e.child FROM edge AS e JOIN manifest AS m ON m.digest = e.parent
WHERE m.repository = $1 AND e.child = $2 AND e.role NOT IN ('subject', 'chain')
ON CONFLICT (repository, manifest, child) DO NOTHING`

	completeManifests = `
SELECT DISTINCT m.digest FROM edge AS e JOIN manifest AS m ON m.digest = e.parent
WHERE m.repository = $1 AND e.child = $2 AND e.role IN ('config', 'layer')
  AND NOT EXISTS (
    SELECT 1 FROM edge AS o
    WHERE o.parent = m.digest AND o.role IN ('config', 'layer')
      AND NOT EXISTS (SELECT 1 FROM repository_blob AS b WHERE b.repository = $1 AND b.digest = o.child))
ORDER BY m.digest`
)

func scanReferrerList(row scanner, l *store.ReferrerList) error {
	var checked int64
	err := row.Scan(&l.Repository, &l.Subject, &l.Body, &checked)
	l.CheckedAt = instant(checked)
	return err
}

func scanUpstreamUse(row scanner, u *store.UpstreamUse) error {
	return row.Scan(&u.Upstream, &u.Repositories, &u.Manifests, &u.Blobs, &u.Bytes)
}

// UpstreamBlob implements [store.UpstreamReader].
func (r reader) UpstreamBlob(ctx context.Context, upstream string, d dossier.Digest) (store.Blob, error) {
	const op = "finding blob"
	b, ok, err := one(ctx, r.session, op, scanBlob, upstreamBlob, upstream, d)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindNotFound, op, string(d), "nothing that was pulled from "+upstream+" holds it")
	}
	return b, err
}

// ReferrerList implements [store.UpstreamReader].
func (r reader) ReferrerList(ctx context.Context, path string, subject dossier.Digest) (store.ReferrerList, error) {
	const op = "finding list of referrers"
	l, ok, err := one(ctx, r.session, op, scanReferrerList, referrerList, path, subject)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindNotFound, op, string(subject), "none is kept for "+path)
	}
	return l, err
}

// UpstreamUse implements [store.UpstreamReader].
func (r reader) UpstreamUse(ctx context.Context) ([]store.UpstreamUse, error) {
	return all(ctx, r.session, "counting mirrors", scanUpstreamUse, upstreamUse)
}

// PutMirror implements [store.UpstreamWriter].
func (t *tx) PutMirror(ctx context.Context, r store.Repository) error {
	const op = "making mirror"
	if _, err := t.exec(ctx, op, insertMirror, r.Path, r.Name, r.Upstream, micros(r.CreatedAt)); err != nil {
		return err
	}
	found, err := t.Repository(ctx, r.Path)
	if err == nil && (found.Upstream != r.Upstream || found.Name != r.Name) {
		err = dossier.Errorf(dossier.KindConflict, op, r.Path, "it is another repository, "+found.Name)
	}
	return err
}

// Attach implements [store.UpstreamWriter].
func (t *tx) Attach(ctx context.Context, path string, child store.Child) ([]dossier.Digest, error) {
	const op = "attaching to manifests"
	if !child.Blob {
		_, err := t.exec(ctx, op, attachManifest, path, child.Digest)
		return nil, err
	}
	if _, err := t.exec(ctx, op, attachBlob, path, child.Digest); err != nil {
		return nil, err
	}
	return all(ctx, t.session, op, scanOne[dossier.Digest], completeManifests, path, child.Digest)
}

// PutReferrerList implements [store.UpstreamWriter].
func (t *tx) PutReferrerList(ctx context.Context, l store.ReferrerList) error {
	_, err := t.exec(ctx, "keeping list of referrers", putReferrerList, l.Repository, l.Subject, l.Body, micros(l.CheckedAt))
	return err
}

// IdleManifests implements [store.UpstreamReader].
func (r reader) IdleManifests(ctx context.Context, upstream string, at time.Time, after store.IdleManifest, limit int) ([]store.IdleManifest, error) {
	since := int64(math.MinInt64)
	if after.Digest != "" {
		since = micros(after.KeptUntil)
	}
	return all(ctx, r.session, "finding what nobody asked for", func(row scanner, m *store.IdleManifest) error {
		var kept int64
		err := row.Scan(&m.Repository, &m.Digest, &kept, &m.Size, &m.Blobs)
		m.KeptUntil = instant(kept)
		return err
	}, idleManifests, upstream, micros(at), since, after.Repository, after.Digest, max(0, limit))
}

// EvictManifest implements [store.UpstreamWriter].
func (t *tx) EvictManifest(ctx context.Context, del store.Deletion) ([]dossier.Digest, error) {
	const op = "evicting manifest"
	children, err := all(ctx, t.session, op, scanOne[dossier.Digest], childrenOfManifest, del.Repository, del.Digest)
	if err != nil {
		return nil, err
	}
	var gone []dossier.Digest
	for _, d := range append([]dossier.Digest{del.Digest}, children...) {
		del.Digest = d
		n, err := t.exec(ctx, op, evictManifest, del.Repository, d, micros(del.At))
		if err != nil {
			return nil, err
		}
		if n == 0 && len(gone) == 0 {
			return nil, nil // it stays, and so do its children
		}
		if n > 0 {
			gone = append(gone, d)
			if err := t.bury(ctx, op, del, kindManifest); err != nil {
				return nil, err
			}
		}
	}
	return gone, nil
}
