// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	linkedBlob = `
SELECT b.digest, b.key, b.size, r.kept_until FROM repository_blob AS r JOIN blob AS b ON b.digest = r.digest
WHERE r.repository = $1 AND r.digest = $2 AND b.damage = ''`

	blobHolders = `
SELECT r.repository FROM repository_blob AS r JOIN blob AS b ON b.digest = r.digest
WHERE r.digest = $1 AND r.repository > $2 AND b.damage = '' ORDER BY r.repository LIMIT $3`

	linkBlob = `
INSERT INTO repository_blob (repository, digest, linked_at, kept_until)
SELECT $1, digest, $3, $4 FROM blob WHERE digest = $2 AND damage = ''
ON CONFLICT (repository, digest) DO UPDATE SET
    kept_until = CASE WHEN repository_blob.kept_until < excluded.kept_until THEN excluded.kept_until ELSE repository_blob.kept_until END`

	leaseBlob = `
UPDATE repository_blob SET kept_until = CASE WHEN kept_until < $3 THEN $3 ELSE kept_until END
WHERE repository = $1 AND digest = $2 AND EXISTS (SELECT 1 FROM blob WHERE digest = $2 AND damage = '')`

	leaseManifest = `
UPDATE manifest SET kept_until = CASE WHEN kept_until < $3 THEN $3 ELSE kept_until END
WHERE repository = $1 AND digest = $2`

	unlinkBlob = `
DELETE FROM repository_blob WHERE repository = $1 AND digest = $2
  AND NOT EXISTS (SELECT 1 FROM manifest_blob WHERE repository = $1 AND blob = $2)`

	manifestOfBlob = `SELECT manifest FROM manifest_blob WHERE repository = $1 AND blob = $2 ORDER BY manifest LIMIT 1`

	blobsThere = `
SELECT r.digest FROM repository_blob AS r JOIN blob AS b ON b.digest = r.digest
WHERE r.repository = $1 AND r.digest IN (SELECT key FROM json_each($2)) AND b.damage = ''`

	manifestsThere = `
SELECT digest FROM manifest WHERE repository = $1 AND digest IN (SELECT key FROM json_each($2))`

	referrerColumns = `repository, digest, media_type, artifact_type, subject, size, pushed_at, annotations`

	manifestByDigest = `
SELECT ` + referrerColumns + `, kept_until, body FROM manifest WHERE repository = $1 AND digest = $2`

	manifestByTag = `
SELECT m.repository, m.digest, m.media_type, m.artifact_type, m.subject, m.size, m.pushed_at, m.annotations, m.kept_until, m.body
FROM repository AS r
JOIN tag AS t ON t.name = r.name AND t.tag = $2 AND t.to_at IS NULL
JOIN manifest AS m ON m.repository = r.path AND m.digest = t.digest
WHERE r.path = $1`

	referrersAfter = `
SELECT ` + referrerColumns + ` FROM manifest
WHERE repository = $1 AND subject = $2 AND subject <> '' AND digest > $3
  AND ($4 = '' OR artifact_type = $4)
ORDER BY digest LIMIT $5`

	manifestsAfter = `
SELECT ` + referrerColumns + ` FROM manifest
WHERE repository = $1 AND digest > $2 ORDER BY digest LIMIT $3`

	// insertManifest also locks a row that is there: who deletes it waits, and then
	// sees the lease.
	insertManifest = `
INSERT INTO manifest (repository, digest, media_type, artifact_type, subject, size, pushed_at, kept_until, annotations, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (repository, digest) DO UPDATE SET media_type = excluded.media_type,
    kept_until = CASE WHEN manifest.kept_until < excluded.kept_until THEN excluded.kept_until ELSE manifest.kept_until END`

	insertManifestBlobs     = `INSERT INTO manifest_blob (repository, manifest, blob) VALUES `
	insertManifestBlobsTail = ` ON CONFLICT (repository, manifest, blob) DO NOTHING`

	insertManifestChildren     = `INSERT INTO manifest_child (repository, manifest, child) VALUES `
	insertManifestChildrenTail = ` ON CONFLICT (repository, manifest, child) DO NOTHING`

	deleteManifest = `
DELETE FROM manifest WHERE repository = $1 AND digest = $2
  AND NOT EXISTS (SELECT 1 FROM manifest_child WHERE repository = $1 AND child = $2)`

	parentOfManifest = `SELECT manifest FROM manifest_child WHERE repository = $1 AND child = $2 ORDER BY manifest LIMIT 1`

	// keepChildren keeps the manifests that one needs.
	keepChildren = `
UPDATE manifest SET kept_until = $3 WHERE repository = $1 AND kept_until < $3
  AND digest IN (SELECT child FROM manifest_child WHERE repository = $1 AND manifest = $2)`

	insertTombstone = `
INSERT INTO tombstone (repository, digest, kind, deleted_at, deleted_by, reason) VALUES ($1, $2, $3, $4, $5, $6)`
)

func scanReferrer(row scanner, m *store.Manifest) error {
	var pushed int64
	err := row.Scan(&m.Repository, &m.Digest, &m.MediaType, &m.ArtifactType, &m.Subject, &m.Size, &pushed, &m.Annotations)
	m.PushedAt = instant(pushed)
	return err
}

func scanManifest(row scanner, m *store.Manifest) error {
	var pushed, kept int64
	err := row.Scan(&m.Repository, &m.Digest, &m.MediaType, &m.ArtifactType, &m.Subject, &m.Size, &pushed, &m.Annotations, &kept, &m.Body)
	m.PushedAt, m.KeptUntil = instant(pushed), instant(kept)
	return err
}

func scanLinkedBlob(row scanner, b *store.LinkedBlob) error {
	var kept int64
	err := row.Scan(&b.Digest, &b.Key, &b.Size, &kept)
	b.KeptUntil = instant(kept)
	return err
}

// LinkedBlob implements [store.ContentReader].
func (r reader) LinkedBlob(ctx context.Context, path string, d dossier.Digest) (store.LinkedBlob, error) {
	const op = "finding blob"
	b, ok, err := one(ctx, r.session, op, scanLinkedBlob, linkedBlob, path, d)
	if err == nil && !ok {
		err = notHeld(op, path, d)
	}
	return b, err
}

// BlobHolders implements [store.ContentReader].
func (r reader) BlobHolders(ctx context.Context, d dossier.Digest, after string, limit int) ([]string, error) {
	return all(ctx, r.session, "finding blob", scanOne[string], blobHolders, d, after, max(0, limit))
}

// Manifest implements [store.ContentReader].
func (r reader) Manifest(ctx context.Context, path string, d dossier.Digest) (store.Manifest, error) {
	const op = "finding manifest"
	m, ok, err := one(ctx, r.session, op, scanManifest, manifestByDigest, path, d)
	if err == nil && !ok {
		err = notHeld(op, path, d)
	}
	return m, err
}

// TaggedManifest implements [store.ContentReader].
func (r reader) TaggedManifest(ctx context.Context, path, tag string) (store.Manifest, error) {
	const op = "finding tag"
	m, ok, err := one(ctx, r.session, op, scanManifest, manifestByTag, path, tag)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindNotFound, op, path+":"+tag, "it points at no manifest of the repository")
	}
	return m, err
}

// Manifests implements [store.RegistryReader].
func (r reader) Manifests(ctx context.Context, path string, after dossier.Digest, limit int) ([]store.Manifest, error) {
	return all(ctx, r.session, "listing manifests", scanReferrer, manifestsAfter, path, after, max(0, limit))
}

// Referrers implements [store.ContentReader].
func (r reader) Referrers(ctx context.Context, q store.ReferrerQuery) ([]store.Manifest, error) {
	return all(ctx, r.session, "finding referrers", scanReferrer, referrersAfter,
		q.Repository, q.Subject, q.After, q.ArtifactType, max(0, q.Limit))
}

// notHeld says that a repository does not hold something.
func notHeld(op, path string, d dossier.Digest) error {
	return dossier.Errorf(dossier.KindNotFound, op, string(d), "it is not in "+path)
}

// LinkBlob implements [store.ContentWriter].
func (t *tx) LinkBlob(ctx context.Context, path string, d dossier.Digest, at, until time.Time) error {
	const op = "linking blob"
	if _, err := t.quotasOf(ctx, path); err != nil {
		return err
	}
	n, err := t.exec(ctx, op, linkBlob, path, d, micros(at), micros(until))
	if err == nil && n == 0 {
		err = dossier.Errorf(dossier.KindNotFound, op, string(d), "its bytes are not kept")
	}
	if err != nil {
		return err
	}
	return t.chargeBlob(ctx, path, d)
}

// LeaseBlob implements [store.ContentWriter].
func (t *tx) LeaseBlob(ctx context.Context, path string, d dossier.Digest, until time.Time) error {
	return t.lease(ctx, "keeping blob", leaseBlob, path, d, until)
}

// LeaseManifest implements [store.ContentWriter].
func (t *tx) LeaseManifest(ctx context.Context, path string, d dossier.Digest, until time.Time) error {
	return t.lease(ctx, "keeping manifest", leaseManifest, path, d, until)
}

func (t *tx) lease(ctx context.Context, op, query, path string, d dossier.Digest, until time.Time) error {
	n, err := t.exec(ctx, op, query, path, d, micros(until))
	if err == nil && n == 0 {
		err = notHeld(op, path, d)
	}
	return err
}

// UnlinkBlob implements [store.ContentWriter].
func (t *tx) UnlinkBlob(ctx context.Context, del store.Deletion) error {
	const op = "deleting blob"
	if _, err := t.quotasOf(ctx, del.Repository); err != nil {
		return err
	}
	n, err := t.exec(ctx, op, unlinkBlob, del.Repository, del.Digest)
	if err != nil {
		return err
	}
	if n == 0 {
		return t.whyKept(ctx, op, manifestOfBlob, del)
	}
	return t.bury(ctx, op, del, kindBlob)
}

// The kinds of tombstone.
const (
	kindBlob     = "blob"
	kindManifest = "manifest"
)

// bury leaves a tombstone of what a repository held, and gives back its quota.
func (t *tx) bury(ctx context.Context, op string, del store.Deletion, kind string) error {
	if err := t.discharge(ctx, del.Repository, del.Digest); err != nil {
		return err
	}
	_, err := t.exec(ctx, op, insertTombstone, del.Repository, del.Digest, kind, micros(del.At), del.By, del.Reason)
	return err
}

// DeleteManifest implements [store.ContentWriter].
func (t *tx) DeleteManifest(ctx context.Context, del store.Deletion) error {
	const op = "deleting manifest"
	if _, err := t.quotasOf(ctx, del.Repository); err != nil {
		return err
	}
	if err := t.keepParts(ctx, op, del); err != nil {
		return err
	}
	n, err := t.exec(ctx, op, deleteManifest, del.Repository, del.Digest)
	if err != nil {
		return err
	}
	if n == 0 {
		return t.whyKept(ctx, op, parentOfManifest, del)
	}
	return t.bury(ctx, op, del, kindManifest)
}

// keepParts keeps what a manifest needs for some time without it.
func (t *tx) keepParts(ctx context.Context, op string, del store.Deletion) error {
	for _, query := range []string{t.dialect.keepBlobs, keepChildren} {
		if _, err := t.exec(ctx, op, query, del.Repository, del.Digest, micros(del.KeptUntil)); err != nil {
			return err
		}
	}
	return nil
}

// whyKept returns why nothing was deleted: a manifest needs it, or it is not there.
func (t *tx) whyKept(ctx context.Context, op, query string, del store.Deletion) error {
	holder, held, err := one(ctx, t.session, op, scanOne[string], query, del.Repository, del.Digest)
	switch {
	case err != nil:
		return err
	case held:
		return &dossier.Error{Kind: dossier.KindConflict, Op: op, Subject: string(del.Digest),
			Hint: "Delete that manifest first.", Err: fmt.Errorf("manifest %s needs it", holder)}
	}
	return notHeld(op, del.Repository, del.Digest)
}

// PutManifest implements [store.ContentWriter].
func (t *tx) PutManifest(ctx context.Context, m store.Manifest, children []store.Child) ([]dossier.Digest, error) {
	const op = "keeping manifest"
	if _, err := t.quotasOf(ctx, m.Repository); err != nil {
		return nil, err
	}
	blobs, err := t.there(ctx, op, blobsThere, m.Repository, children, true)
	if err != nil {
		return nil, err
	}
	manifests, err := t.there(ctx, op, manifestsThere, m.Repository, children, false)
	if err != nil {
		return nil, err
	}
	// In the order of digests, in which all lock: no two wait for each other.
	children = slices.SortedFunc(slices.Values(children), func(a, b store.Child) int { return cmp.Compare(a.Digest, b.Digest) })
	var missing []dossier.Digest
	var blobRows, childRows [][]any
	for _, c := range children {
		switch {
		case c.Blob && blobs[c.Digest]:
			blobRows = append(blobRows, []any{m.Repository, m.Digest, c.Digest})
		case !c.Blob && manifests[c.Digest]:
			childRows = append(childRows, []any{m.Repository, m.Digest, c.Digest})
		case !c.Optional:
			missing = append(missing, c.Digest)
		}
	}
	if len(missing) > 0 {
		return missing, nil
	}
	_, err = t.exec(ctx, op, insertManifest, m.Repository, m.Digest, m.MediaType, m.ArtifactType, m.Subject,
		m.Size, micros(m.PushedAt), micros(m.KeptUntil), m.Annotations, m.Body)
	if err != nil {
		return nil, err
	}
	if err := t.chargeManifest(ctx, m.Repository, m.Digest, m.Size); err != nil {
		return nil, err
	}
	if err := t.insert(ctx, op, insertManifestBlobs, insertManifestBlobsTail, blobRows); err != nil {
		return nil, err
	}
	return nil, t.insert(ctx, op, insertManifestChildren, insertManifestChildrenTail, childRows)
}

// there returns which of the children that are blobs, or that are not, are in a
// repository.
func (t *tx) there(ctx context.Context, op, query, path string, children []store.Child, blobs bool) (map[dossier.Digest]bool, error) {
	var wanted []dossier.Digest
	for _, c := range children {
		if c.Blob == blobs {
			wanted = append(wanted, c.Digest)
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	list, err := keys(wanted)
	if err != nil {
		return nil, err
	}
	found, err := all(ctx, t.session, op, scanOne[dossier.Digest], query, path, list)
	set := make(map[dossier.Digest]bool, len(found))
	for _, d := range found {
		set[d] = true
	}
	return set, err
}
