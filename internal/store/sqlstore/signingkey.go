// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"

	"dossier.dev/dossier/internal/store"
)

const (
	signingKeys = `SELECT id, created_at, secret FROM signing_key ORDER BY created_at DESC, id LIMIT $1`

	insertSigningKey = `
INSERT INTO signing_key (id, created_at, secret) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET secret = excluded.secret`

	deleteSigningKey = `DELETE FROM signing_key WHERE id = $1`
)

func scanSigningKey(row scanner, k *store.SigningKey) error {
	var created int64
	err := row.Scan(&k.ID, &created, &k.Secret)
	k.CreatedAt = instant(created)
	return err
}

// SigningKeys implements [store.SigningKeyReader].
func (r reader) SigningKeys(ctx context.Context, limit int) ([]store.SigningKey, error) {
	return all(ctx, r.session, "reading signing keys", scanSigningKey, signingKeys, max(0, limit))
}

// PutSigningKey implements [store.SigningKeyWriter].
func (t *tx) PutSigningKey(ctx context.Context, k store.SigningKey) error {
	_, err := t.exec(ctx, "keeping a signing key", insertSigningKey, k.ID, micros(k.CreatedAt), k.Secret)
	return err
}

// DeleteSigningKey implements [store.SigningKeyWriter].
func (t *tx) DeleteSigningKey(ctx context.Context, id string) error {
	_, err := t.exec(ctx, "removing a signing key", deleteSigningKey, id)
	return err
}
