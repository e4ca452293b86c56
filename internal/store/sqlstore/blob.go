// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	insertBlob = `INSERT INTO blob (digest, key, size) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING`

	blobByDigest = `SELECT digest, key, size FROM blob WHERE digest = $1`
)

func scanBlob(row scanner, b *store.Blob) error { return row.Scan(&b.Digest, &b.Key, &b.Size) }

// PutBlob implements [store.BlobWriter].
func (t *tx) PutBlob(ctx context.Context, b store.Blob) (bool, error) {
	const op = "keeping blob"
	n, err := t.exec(ctx, op, insertBlob, b.Digest, b.Key, b.Size)
	if err != nil || n > 0 {
		return n > 0, err
	}
	kept, _, err := one(ctx, t.session, op, scanBlob, blobByDigest, b.Digest)
	return kept.Key == b.Key, err
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
