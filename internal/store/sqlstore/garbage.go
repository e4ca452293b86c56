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
	looseBlobs = `
SELECT b.digest, b.key, b.size, (SELECT COUNT(*) FROM repository_blob AS o WHERE o.digest = r.digest)
FROM repository_blob AS r JOIN blob AS b ON b.digest = r.digest
WHERE r.repository = $1 AND r.digest > $2 AND r.kept_until <= $3
  AND NOT EXISTS (SELECT 1 FROM manifest_blob AS m WHERE m.repository = r.repository AND m.blob = r.digest)
ORDER BY r.digest LIMIT $4`

	untaggedManifests = `
SELECT m.digest, m.size, m.pushed_at, m.kept_until, m.subject,
    COALESCE((SELECT MAX(t.to_at) FROM tag AS t WHERE t.digest = m.digest AND t.name = r.name), m.pushed_at),
    (SELECT COUNT(*) FROM manifest AS s WHERE s.repository = m.repository AND s.digest = m.subject)
FROM manifest AS m JOIN repository AS r ON r.path = m.repository
WHERE m.repository = $1 AND m.digest > $2 AND m.kept_until <= $3
  AND NOT EXISTS (SELECT 1 FROM tag AS t WHERE t.digest = m.digest AND t.to_at IS NULL AND t.name = r.name)
  AND NOT EXISTS (SELECT 1 FROM manifest_child AS c WHERE c.repository = m.repository AND c.child = m.digest)
ORDER BY m.digest LIMIT $4`

	unheldBlobs = `
SELECT digest, key, size FROM blob
WHERE digest > $1 AND stored_at <= $2 AND NOT EXISTS (SELECT 1 FROM repository_blob AS r WHERE r.digest = blob.digest)
ORDER BY digest LIMIT $3`

	garbageBefore = `
SELECT digest, key, size, condemned_at, reason FROM garbage
WHERE condemned_at <= $1 ORDER BY condemned_at, key LIMIT $2`

	keysNamed = `
SELECT key FROM blob WHERE key IN (SELECT key FROM json_each($1))
UNION SELECT key FROM upload WHERE key <> '' AND key IN (SELECT key FROM json_each($2))
UNION SELECT key FROM garbage WHERE key IN (SELECT key FROM json_each($3))`

	// holdings gives manifests and blobs alike.
	holdings = `
SELECT r.path, r.name, r.created_at, 1, m.size, m.pushed_at, m.kept_until, m.subject,
    COALESCE((SELECT MAX(t.to_at) FROM tag AS t WHERE t.digest = m.digest AND t.name = r.name), m.pushed_at),
    (SELECT COUNT(*) FROM manifest AS s WHERE s.repository = m.repository AND s.digest = m.subject)
FROM manifest AS m JOIN repository AS r ON r.path = m.repository WHERE m.digest = $1
UNION ALL
SELECT r.path, r.name, r.created_at, 0, b.size, l.linked_at, l.kept_until, '', 0, 0
FROM repository_blob AS l JOIN repository AS r ON r.path = l.repository JOIN blob AS b ON b.digest = l.digest WHERE l.digest = $1
ORDER BY 1, 4`

	blobState = `SELECT ` + blobColumns + ` FROM blob WHERE digest = $1`

	condemnedOf = `SELECT digest, key, size, condemned_at, reason FROM garbage WHERE digest = $1 ORDER BY condemned_at, key`

	parentsOfBlob     = `SELECT manifest FROM manifest_blob WHERE repository = $1 AND blob = $2 ORDER BY manifest LIMIT $3`
	parentsOfManifest = `SELECT manifest FROM manifest_child WHERE repository = $1 AND child = $2 ORDER BY manifest LIMIT $3`

	tombstonesOf = `
SELECT repository, digest, kind, deleted_at, deleted_by, reason FROM tombstone
WHERE digest = $1 ORDER BY id DESC LIMIT $2`

	// collectBlob takes a row that a lease holds only after it has seen that row as
	// it is now; a manifest that comes to need it in between breaks a foreign key.
	collectBlob = `
DELETE FROM repository_blob WHERE repository = $1 AND digest = $2 AND kept_until <= $3
  AND NOT EXISTS (SELECT 1 FROM manifest_blob WHERE repository = $1 AND blob = $2)`

	condemnBlob = `
DELETE FROM blob WHERE digest = $1 AND stored_at <= $2
  AND NOT EXISTS (SELECT 1 FROM repository_blob WHERE digest = $1)
RETURNING digest, key, size`

	collectManifest = `
DELETE FROM manifest WHERE repository = $1 AND digest = $2 AND kept_until <= $3
  AND NOT EXISTS (SELECT 1 FROM manifest_child WHERE repository = $1 AND child = $2)
  AND NOT EXISTS (SELECT 1 FROM tag WHERE digest = $2 AND to_at IS NULL
                  AND name = (SELECT name FROM repository WHERE path = $1))`

	// collectTag ends the interval that was seen, and none that was pushed to since.
	collectTag = `
UPDATE tag SET to_at = CASE WHEN from_at >= $6 THEN from_at + 1 ELSE $6 END
WHERE name = $1 AND tag = $2 AND digest = $3 AND from_at = $4 AND checked_at = $5 AND to_at IS NULL
RETURNING to_at`

	insertGarbage = `
INSERT INTO garbage (key, digest, size, reason, condemned_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (key) DO NOTHING`

	forgetGarbage = `DELETE FROM garbage WHERE key IN (SELECT key FROM json_each($1))`
)

// LooseBlobs implements [store.GarbageReader].
func (r reader) LooseBlobs(ctx context.Context, path string, after dossier.Digest, at time.Time, limit int) ([]store.LooseBlob, error) {
	return all(ctx, r.session, "finding blobs that nothing needs", func(row scanner, b *store.LooseBlob) error {
		return row.Scan(&b.Digest, &b.Key, &b.Size, &b.Holders)
	}, looseBlobs, path, after, micros(at), max(0, limit))
}

// UntaggedManifests implements [store.GarbageReader].
func (r reader) UntaggedManifests(ctx context.Context, path string, after dossier.Digest, at time.Time, limit int) ([]store.UntaggedManifest, error) {
	return all(ctx, r.session, "finding manifests without tags", func(row scanner, m *store.UntaggedManifest) error {
		var pushed, kept, untagged, subjects int64
		err := row.Scan(&m.Digest, &m.Size, &pushed, &kept, &m.Subject, &untagged, &subjects)
		m.PushedAt, m.KeptUntil, m.UntaggedAt, m.SubjectThere = instant(pushed), instant(kept), instant(untagged), subjects > 0
		return err
	}, untaggedManifests, path, after, micros(at), max(0, limit))
}

// UnheldBlobs implements [store.GarbageReader].
func (r reader) UnheldBlobs(ctx context.Context, after dossier.Digest, before time.Time, limit int) ([]store.Blob, error) {
	return all(ctx, r.session, "finding blobs that nobody holds", scanBlob, unheldBlobs, after, micros(before), max(0, limit))
}

// Garbage implements [store.GarbageReader].
func (r reader) Garbage(ctx context.Context, before time.Time, limit int) ([]store.Garbage, error) {
	return all(ctx, r.session, "finding condemned bytes", scanGarbage, garbageBefore, micros(before), max(0, limit))
}

func scanGarbage(row scanner, g *store.Garbage) error {
	var at int64
	err := row.Scan(&g.Digest, &g.Key, &g.Size, &at, &g.Reason)
	g.CondemnedAt = instant(at)
	return err
}

// Condemned implements [store.GarbageReader].
func (r reader) Condemned(ctx context.Context, d dossier.Digest) ([]store.Garbage, error) {
	return all(ctx, r.session, "finding condemned bytes", scanGarbage, condemnedOf, d)
}

// BlobState implements [store.KeepingReader].
func (r reader) BlobState(ctx context.Context, d dossier.Digest) (store.BlobState, error) {
	const op = "finding blob"
	b, ok, err := one(ctx, r.session, op, scanBlobState, blobState, d)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindNotFound, op, string(d), "its bytes are not kept")
	}
	return b, err
}

// moment is instant for a time that may never have been: 0.
func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return instant(us)
}

// KeysNamed implements [store.GarbageReader].
func (r reader) KeysNamed(ctx context.Context, names []string) (map[string]bool, error) {
	list, err := keys(names)
	if err != nil {
		return nil, err
	}
	found, err := all(ctx, r.session, "finding keys", scanOne[string], keysNamed, list, list, list)
	set := make(map[string]bool, len(found))
	for _, key := range found {
		set[key] = true
	}
	return set, err
}

// Holdings implements [store.KeepingReader].
func (r reader) Holdings(ctx context.Context, d dossier.Digest) ([]store.Holding, error) {
	const op = "finding who holds a digest"
	list, err := all(ctx, r.session, op, func(row scanner, h *store.Holding) error {
		var created, manifest, since, kept, untagged, subjects int64
		err := row.Scan(&h.Repository.Path, &h.Repository.Name, &created, &manifest, &h.Size, &since, &kept, &h.Subject, &untagged, &subjects)
		h.Repository.CreatedAt, h.Manifest, h.Since, h.KeptUntil = instant(created), manifest == 1, instant(since), instant(kept)
		h.UntaggedAt, h.SubjectThere = moment(untagged), subjects > 0
		return err
	}, holdings, d)
	if err != nil {
		return nil, err
	}
	for i, h := range list {
		query := parentsOfBlob
		if h.Manifest {
			query = parentsOfManifest
		}
		list[i].Parents, err = all(ctx, r.session, op, scanOne[dossier.Digest], query, h.Repository.Path, d, store.MaxParents)
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Tombstones implements [store.KeepingReader].
func (r reader) Tombstones(ctx context.Context, d dossier.Digest, limit int) ([]store.Tombstone, error) {
	return all(ctx, r.session, "reading tombstones", func(row scanner, s *store.Tombstone) error {
		var kind string
		var at int64
		err := row.Scan(&s.Repository, &s.Digest, &kind, &at, &s.By, &s.Reason)
		s.Manifest, s.At = kind == kindManifest, instant(at)
		return err
	}, tombstonesOf, d, max(0, limit))
}

// CollectBlob implements [store.GarbageWriter].
func (t *tx) CollectBlob(ctx context.Context, del store.Deletion) (bool, error) {
	const op = "collecting blob"
	if _, err := t.quotasOf(ctx, del.Repository); err != nil {
		return false, err
	}
	n, err := t.exec(ctx, op, collectBlob, del.Repository, del.Digest, micros(del.At))
	if err != nil || n == 0 {
		return false, err
	}
	if err := t.bury(ctx, op, del, kindBlob); err != nil {
		return false, err
	}
	_, err = t.condemn(ctx, op, math.MaxInt64, del)
	return true, err
}

// condemn removes the record of a blob that was stored at or before a time, when
// no repository holds it.
func (t *tx) condemn(ctx context.Context, op string, before int64, del store.Deletion) (bool, error) {
	b, ok, err := one(ctx, t.session, op, scanBlob, condemnBlob, del.Digest, before)
	if err != nil || !ok {
		return false, err
	}
	_, err = t.exec(ctx, op, insertGarbage, b.Key, b.Digest, b.Size, del.Reason, micros(del.At))
	return true, err
}

// CollectManifest implements [store.GarbageWriter].
func (t *tx) CollectManifest(ctx context.Context, del store.Deletion) (bool, error) {
	const op = "collecting manifest"
	if _, err := t.quotasOf(ctx, del.Repository); err != nil {
		return false, err
	}
	if err := t.keepParts(ctx, op, del); err != nil {
		return false, err
	}
	n, err := t.exec(ctx, op, collectManifest, del.Repository, del.Digest, micros(del.At))
	if err != nil || n == 0 {
		return false, err
	}
	return true, t.bury(ctx, op, del, kindManifest)
}

// CollectTag implements [store.GarbageWriter].
func (t *tx) CollectTag(ctx context.Context, seen dossier.TagInterval, at time.Time) (store.TagMove, error) {
	ended, ok, err := one(ctx, t.session, "collecting tag", scanOne[int64], collectTag,
		seen.Name, seen.Tag, seen.Digest, micros(seen.From), micros(seen.CheckedAt), micros(at))
	if err != nil || !ok {
		return store.TagMove{At: at}, err
	}
	return store.TagMove{Moved: true, Was: seen.Digest, At: instant(ended)}, nil
}

// CondemnBlob implements [store.GarbageWriter].
func (t *tx) CondemnBlob(ctx context.Context, d dossier.Digest, before, at time.Time, reason string) (bool, error) {
	return t.condemn(ctx, "condemning blob", micros(before), store.Deletion{Digest: d, At: at, Reason: reason})
}

// ForgetGarbage implements [store.GarbageWriter].
func (t *tx) ForgetGarbage(ctx context.Context, names []string) error {
	list, err := keys(names)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, "forgetting deleted bytes", forgetGarbage, list)
	return err
}
