// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	// putBlob also locks a row that is there: who condemns it waits, and then
	// finds that a repository holds it. Whoever stores bytes has just computed their digest.
	putBlob = `
INSERT INTO blob (digest, key, size, stored_at, checked_at) VALUES ($1, $2, $3, $4, $4)
ON CONFLICT (digest) DO UPDATE SET size = blob.size
RETURNING digest, key, size`

	damagedBlob = `SELECT digest, key, size FROM blob WHERE digest = $1 AND damage <> ''`

	healBlob = `
UPDATE blob SET key = $2, size = $3, stored_at = $4, checked_at = $4, damage = '', damaged_at = 0 WHERE digest = $1`

	blobByDigest = `SELECT digest, key, size FROM blob WHERE digest = $1`

	putSmallBlob    = `INSERT INTO small_blob (content) VALUES ($1) RETURNING id`
	smallBlob       = `SELECT content FROM small_blob WHERE id = $1`
	smallBlobIDs    = `SELECT id FROM small_blob WHERE id > $1 ORDER BY id LIMIT $2`
	deleteSmallBlob = `DELETE FROM small_blob WHERE id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))`
)

func scanBlob(row scanner, b *store.Blob) error { return row.Scan(&b.Digest, &b.Key, &b.Size) }

// PutBlob implements [store.BlobWriter].
func (t *tx) PutBlob(ctx context.Context, b store.Blob) (bool, error) {
	const op = "keeping blob"
	there, _, err := one(ctx, t.session, op, scanBlob, putBlob, b.Digest, b.Key, b.Size, micros(t.now))
	if err != nil || there.Key == b.Key {
		return err == nil, err
	}
	bad, damaged, err := one(ctx, t.session, op, scanBlob, damagedBlob, b.Digest)
	if err != nil || !damaged {
		return false, err
	}
	if _, err := t.exec(ctx, op, healBlob, b.Digest, b.Key, b.Size, micros(t.now)); err != nil {
		return false, err
	}
	_, err = t.exec(ctx, op, insertGarbage, bad.Key, bad.Digest, bad.Size, "it was damaged, and was pushed again", micros(t.now))
	return true, err
}

// Blob implements [store.BlobReader].
func (r reader) Blob(ctx context.Context, d dossier.Digest) (store.Blob, error) {
	const op = "finding blob"
	b, ok, err := one(ctx, r.session, op, scanBlob, blobByDigest, d)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindNotFound, op, string(d), "its bytes are not kept")
	}
	return b, err
}

// PutSmallBlob implements [store.BlobWriter].
func (t *tx) PutSmallBlob(ctx context.Context, content []byte) (string, error) {
	id, _, err := one(ctx, t.session, "keeping bytes", scanOne[int64], putSmallBlob, append([]byte{}, content...))
	if err != nil {
		return "", err
	}
	return store.SmallKey(id), nil
}

// DeleteSmallBlobs implements [store.BlobWriter].
func (t *tx) DeleteSmallBlobs(ctx context.Context, keys []string) error {
	ids := make([]int64, len(keys))
	for i, key := range keys {
		var err error
		if ids[i], err = store.ParseSmallKey(key); err != nil {
			return err
		}
	}
	_, err := t.exec(ctx, "deleting bytes", deleteSmallBlob, numbers(ids))
	return err
}

// SmallBlobKeys implements [store.BlobReader].
func (r reader) SmallBlobKeys(ctx context.Context, after string, limit int) ([]string, error) {
	from := int64(-1)
	if after != "" {
		var err error
		if from, err = store.ParseSmallKey(after); err != nil {
			return nil, err
		}
	}
	return all(ctx, r.session, "listing bytes", func(row scanner, key *string) error {
		var id int64
		err := row.Scan(&id)
		*key = store.SmallKey(id)
		return err
	}, smallBlobIDs, from, max(0, limit))
}

// SmallBlob implements [store.BlobReader].
func (r reader) SmallBlob(ctx context.Context, key string) ([]byte, error) {
	const op = "reading bytes"
	id, err := store.ParseSmallKey(key)
	if err != nil {
		return nil, err
	}
	content, ok, err := one(ctx, r.session, op, scanOne[[]byte], smallBlob, id)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindNotFound, op, key, "there is no such row")
	}
	return content, err
}
