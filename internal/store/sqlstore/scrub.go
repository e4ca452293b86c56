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
	blobColumns = `digest, key, size, stored_at, checked_at, damage, damaged_at`

	blobsToCheck = `
SELECT ` + blobColumns + ` FROM blob
WHERE (checked_at, digest) > ($1, $2) AND checked_at <= $3 ORDER BY checked_at, digest LIMIT $4`

	damagedBlobs = `SELECT ` + blobColumns + ` FROM blob WHERE damage <> '' AND digest > $1 ORDER BY digest LIMIT $2`

	holdersOfBlob = `
SELECT r.path, r.name, r.upstream, r.created_at FROM repository_blob AS b JOIN repository AS r ON r.path = b.repository
WHERE b.digest = $1 ORDER BY r.upstream = '', r.path LIMIT $2`

	countDamaged  = `SELECT COUNT(*) FROM blob WHERE damage <> ''`
	oldestChecked = `SELECT checked_at FROM blob ORDER BY checked_at, digest LIMIT 1`

	// lockBlob locks a row that is there, so that what it says holds until the end.
	lockBlob = `UPDATE blob SET size = size WHERE digest = $1 AND key = $2 RETURNING damage`

	// checkedBlob keeps since when a damage is known.
	checkedBlob = `
UPDATE blob SET checked_at = $3, damage = $4,
    damaged_at = CASE WHEN $5 = '' THEN 0 WHEN damage = '' THEN $3 ELSE damaged_at END
WHERE digest = $1 AND key = $2`
)

func scanBlobState(row scanner, b *store.BlobState) error {
	var stored, checked, damaged int64
	err := row.Scan(&b.Digest, &b.Key, &b.Size, &stored, &checked, &b.Damage, &damaged)
	b.StoredAt, b.CheckedAt, b.DamagedAt = moment(stored), moment(checked), moment(damaged)
	return err
}

// BlobsToCheck implements [store.ScrubReader].
func (r reader) BlobsToCheck(ctx context.Context, before time.Time, after store.BlobState, limit int) ([]store.BlobState, error) {
	from := int64(0)
	if !after.CheckedAt.IsZero() {
		from = micros(after.CheckedAt)
	}
	return all(ctx, r.session, "finding blobs to check", scanBlobState, blobsToCheck, from, after.Digest, micros(before), max(0, limit))
}

// DamagedBlobs implements [store.ScrubReader].
func (r reader) DamagedBlobs(ctx context.Context, after dossier.Digest, limit int) ([]store.BlobState, error) {
	return all(ctx, r.session, "finding damaged blobs", scanBlobState, damagedBlobs, after, max(0, limit))
}

// Holders implements [store.ScrubReader].
func (r reader) Holders(ctx context.Context, d dossier.Digest, limit int) ([]store.Repository, error) {
	return all(ctx, r.session, "finding who holds a blob", scanRepository, holdersOfBlob, d, max(0, limit))
}

// Soundness implements [store.ScrubReader].
func (r reader) Soundness(ctx context.Context) (store.Soundness, error) {
	const op = "counting damaged blobs"
	n, _, err := one(ctx, r.session, op, scanOne[int], countDamaged)
	if err != nil {
		return store.Soundness{}, err
	}
	at, _, err := one(ctx, r.session, op, scanOne[int64], oldestChecked)
	return store.Soundness{Damaged: n, Oldest: moment(at)}, err
}

// CheckedBlob implements [store.ScrubWriter].
func (t *tx) CheckedBlob(ctx context.Context, b store.Blob, at time.Time, damage string) (string, error) {
	const op = "writing down that a blob was checked"
	was, ok, err := one(ctx, t.session, op, scanOne[string], lockBlob, b.Digest, b.Key)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindNotFound, op, string(b.Digest), "its bytes are not kept under that key any more")
	}
	if err == nil {
		_, err = t.exec(ctx, op, checkedBlob, b.Digest, b.Key, micros(at), damage, damage)
	}
	return was, err
}
