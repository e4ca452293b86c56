// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"
)

// SigningKey is a key with which the registry signs its tokens.
type SigningKey struct {
	ID        string
	CreatedAt time.Time
	Secret    []byte // in a form that its user knows
}

// SigningKeyReader reads signing keys.
type SigningKeyReader interface {
	// SigningKeys returns up to limit keys, the newest first, then by ID.
	SigningKeys(ctx context.Context, limit int) ([]SigningKey, error)
}

// SigningKeyWriter changes signing keys.
type SigningKeyWriter interface {
	// PutSigningKey adds a key. Of one that is there it replaces the secret.
	PutSigningKey(ctx context.Context, k SigningKey) error
	// DeleteSigningKey removes a key, if it is there.
	DeleteSigningKey(ctx context.Context, id string) error
}
