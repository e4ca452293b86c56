// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"errors"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	uploadColumns = `id, repository, owner, key, token, size, algorithm, hash, holder, held_until, expires_at`

	uploadByID = `SELECT ` + uploadColumns + ` FROM upload WHERE id = $1 AND repository = $2`

	insertUpload = `
INSERT INTO upload (id, repository, owner, key, token, size, algorithm, hash, holder, held_until, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', 0, $9)`

	holdUpload = `
UPDATE upload SET holder = $3, held_until = $5
WHERE id = $1 AND repository = $2 AND (holder = '' OR holder = $3 OR held_until <= $4)
RETURNING ` + uploadColumns

	renewUpload = `UPDATE upload SET held_until = $3 WHERE id = $1 AND holder = $2`

	saveUpload = `
UPDATE upload SET token = $3, size = $4, hash = $5, expires_at = $6, key = $7, algorithm = $8, holder = '', held_until = 0
WHERE id = $1 AND holder = $2`

	endUpload = `DELETE FROM upload WHERE id = $1 AND holder = $2`

	expireUploads = `
DELETE FROM upload WHERE id IN (
    SELECT id FROM upload WHERE expires_at < $1 AND (holder = '' OR held_until <= $1) ORDER BY expires_at LIMIT $2)`
)

var errHeld = errors.New("somebody else writes it")

func scanUpload(row scanner, u *store.Upload) error {
	var held, expires int64
	err := row.Scan(&u.ID, &u.Repository, &u.Owner, &u.Key, &u.Token, &u.Size, &u.Algorithm, &u.Hash, &u.Holder, &held, &expires)
	u.HeldUntil, u.ExpiresAt = instant(held), instant(expires)
	return err
}

// Upload implements [store.ContentReader].
func (r reader) Upload(ctx context.Context, path, id string) (store.Upload, error) {
	const op = "finding upload"
	u, ok, err := one(ctx, r.session, op, scanUpload, uploadByID, id, path)
	if err == nil && !ok {
		err = noUpload(op, id, path)
	}
	return u, err
}

func noUpload(op, id, path string) error {
	return dossier.Errorf(dossier.KindNotFound, op, id, "it has ended, or was never begun in "+path)
}

// CreateUpload implements [store.UploadWriter].
func (t *tx) CreateUpload(ctx context.Context, u store.Upload) error {
	_, err := t.exec(ctx, "beginning upload", insertUpload,
		u.ID, u.Repository, u.Owner, u.Key, u.Token, u.Size, u.Algorithm, u.Hash, micros(u.ExpiresAt))
	return err
}

// HoldUpload implements [store.UploadWriter].
func (t *tx) HoldUpload(ctx context.Context, path, id, holder string, now, until time.Time) (store.Upload, error) {
	const op = "holding upload"
	u, held, err := one(ctx, t.session, op, scanUpload, holdUpload, id, path, holder, micros(now), micros(until))
	if err != nil || held {
		return u, err
	}
	if _, err := t.Upload(ctx, path, id); err != nil {
		return u, err
	}
	return u, lostUpload(op, id)
}

func lostUpload(op, id string) error {
	return &dossier.Error{Kind: dossier.KindConflict, Op: op, Subject: id,
		Hint: "Ask where the upload stands, and go on from there.", Err: errHeld}
}

// RenewUpload implements [store.UploadWriter].
func (t *tx) RenewUpload(ctx context.Context, id, holder string, until time.Time) error {
	const op = "holding upload"
	return t.changeUpload(ctx, op, id, renewUpload, holder, micros(until))
}

// SaveUpload implements [store.UploadWriter].
func (t *tx) SaveUpload(ctx context.Context, u store.Upload) error {
	const op = "keeping upload"
	return t.changeUpload(ctx, op, u.ID, saveUpload, u.Holder, u.Token, u.Size, u.Hash, micros(u.ExpiresAt), u.Key, u.Algorithm)
}

// EndUpload implements [store.UploadWriter].
func (t *tx) EndUpload(ctx context.Context, id, holder string) error {
	const op = "ending upload"
	return t.changeUpload(ctx, op, id, endUpload, holder)
}

// changeUpload changes an upload that must be held: when no row is, somebody
// else has it.
func (t *tx) changeUpload(ctx context.Context, op, id, query string, args ...any) error {
	n, err := t.exec(ctx, op, query, append([]any{id}, args...)...)
	if err == nil && n == 0 {
		return lostUpload(op, id)
	}
	return err
}

// ExpireUploads implements [store.UploadWriter].
func (t *tx) ExpireUploads(ctx context.Context, now time.Time, limit int) (int, error) {
	n, err := t.exec(ctx, "ending old uploads", expireUploads, micros(now), max(0, limit))
	return int(n), err
}
