// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"fmt"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	tufPrefixes = `SELECT prefix, name, online, due_at FROM tuf_prefix ORDER BY prefix`

	// lockTUF makes others wait on the row, on both engines.
	lockTUF = `
INSERT INTO tuf_prefix (prefix, name, online, due_at) VALUES ($1, $2, 0, 0)
ON CONFLICT (prefix) DO UPDATE SET name = excluded.name
RETURNING prefix, name, online, due_at`

	putTUF = `UPDATE tuf_prefix SET online = $2, due_at = $3 WHERE prefix = $1`

	// moveAllTUF counts all open tags below HOST/PREFIX $2 as moved.
	moveAllTUF = `
INSERT INTO tuf_moved (prefix, name, tag)
SELECT $1, name, tag FROM tag
WHERE to_at IS NULL AND (name = $2 OR (name >= $2 || '/' AND name < $2 || '0'))
ORDER BY name, tag`

	// moveTUF counts a tag as moved for the online prefixes above its repository.
	moveTUF = `
INSERT INTO tuf_moved (prefix, name, tag)
SELECT prefix, $1, $2 FROM tuf_prefix
WHERE online = 1 AND ($1 = name OR substr($1, 1, length(name) + 1) = name || '/')`

	tufMoves = `SELECT id, name, tag FROM tuf_moved WHERE prefix = $1 ORDER BY id LIMIT $2`

	doneTUF = `DELETE FROM tuf_moved WHERE id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))`

	tufFileColumns = `role, version, expires_at, body`

	newestTUF = `SELECT ` + tufFileColumns + ` FROM tuf_file WHERE prefix = $1 AND role = $2 AND replaced_at IS NULL`

	tufVersion = `SELECT ` + tufFileColumns + ` FROM tuf_file WHERE prefix = $1 AND role = $2 AND version = $3`

	tufRoles = `
SELECT role, version, expires_at FROM tuf_file
WHERE prefix = $1 AND replaced_at IS NULL AND expires_at < $2 ORDER BY expires_at, role LIMIT $3`

	replaceTUF = `UPDATE tuf_file SET replaced_at = $3 WHERE prefix = $1 AND role = $2 AND replaced_at IS NULL`

	putTUFFile = `
INSERT INTO tuf_file (prefix, role, version, expires_at, replaced_at, body) VALUES ($1, $2, $3, $4, NULL, $5)
ON CONFLICT (prefix, role, version) DO UPDATE SET expires_at = excluded.expires_at, replaced_at = NULL, body = excluded.body`

	pruneTUF = `DELETE FROM tuf_file WHERE prefix = $1 AND replaced_at IS NOT NULL AND replaced_at < $2 AND role <> 'root'`

	tufKeys = `SELECT id, created_at, secret FROM tuf_key WHERE prefix = $1 ORDER BY created_at DESC, id`

	putTUFKey = `
INSERT INTO tuf_key (prefix, id, created_at, secret) VALUES ($1, $2, $3, $4) ON CONFLICT (prefix, id) DO UPDATE SET secret = excluded.secret`

	tufTrusted = `SELECT ` + tufFileColumns + ` FROM tuf_trusted WHERE source = $1 AND role <> '' ORDER BY role`

	tufSources = `SELECT DISTINCT source FROM tuf_trusted WHERE role <> '' ORDER BY source`

	// lockTUFTrust writes a row of no role, which others wait on.
	lockTUFTrust = `
INSERT INTO tuf_trusted (source, role, version, expires_at, body) VALUES ($1, '', 0, 0, $2)
ON CONFLICT (source, role) DO UPDATE SET version = 0`

	forgetTUF = `DELETE FROM tuf_trusted WHERE source = $1`

	trustTUF     = `INSERT INTO tuf_trusted (source, role, version, expires_at, body) VALUES `
	trustTUFTail = ` ON CONFLICT (source, role) DO UPDATE SET version = excluded.version, expires_at = excluded.expires_at, body = excluded.body`
)

func scanTUFPrefix(row scanner, p *store.TUFPrefix) error {
	var online, due int64
	err := row.Scan(&p.Prefix, &p.Name, &online, &due)
	p.Online, p.Due = online == 1, instant(due)
	return err
}

func scanTUFFile(row scanner, f *store.TUFFile) error {
	var expires int64
	err := row.Scan(&f.Role, &f.Version, &expires, &f.Body)
	f.Expires = instant(expires)
	return err
}

// TUFPrefixes implements [store.TUFReader].
func (r reader) TUFPrefixes(ctx context.Context) ([]store.TUFPrefix, error) {
	return all(ctx, r.session, "reading prefixes of metadata", scanTUFPrefix, tufPrefixes)
}

// TUFFile implements [store.TUFReader].
func (r reader) TUFFile(ctx context.Context, prefix, role string, version int64) (store.TUFFile, error) {
	const op = "reading metadata"
	query, args := newestTUF, []any{prefix, role}
	if version != 0 {
		query, args = tufVersion, append(args, version)
	}
	f, ok, err := one(ctx, r.session, op, scanTUFFile, query, args...)
	if err == nil && !ok {
		subject := role
		if version != 0 {
			subject = fmt.Sprintf("%d.%s", version, role)
		}
		err = dossier.Errorf(dossier.KindNotFound, op, prefix+"/"+subject, "it is not published")
	}
	return f, err
}

// TUFRoles implements [store.TUFReader].
func (r reader) TUFRoles(ctx context.Context, prefix string, before time.Time, limit int) ([]store.TUFFile, error) {
	return all(ctx, r.session, "reading what metadata expires", func(row scanner, f *store.TUFFile) error {
		var expires int64
		err := row.Scan(&f.Role, &f.Version, &expires)
		f.Expires = instant(expires)
		return err
	}, tufRoles, prefix, bound(before), max(0, limit))
}

// TUFKeys implements [store.TUFReader].
func (r reader) TUFKeys(ctx context.Context, prefix string) ([]store.SigningKey, error) {
	return all(ctx, r.session, "reading online keys", scanSigningKey, tufKeys, prefix)
}

// TUFMoves implements [store.TUFReader].
func (r reader) TUFMoves(ctx context.Context, prefix string, limit int) ([]store.TUFMove, error) {
	return all(ctx, r.session, "finding tags that moved", func(row scanner, m *store.TUFMove) error {
		return row.Scan(&m.ID, &m.Name, &m.Tag)
	}, tufMoves, prefix, max(0, limit))
}

// movedTUF counts a tag as moved. It is run with each move of a tag of the registry.
func (t *tx) movedTUF(ctx context.Context, op string, tag store.NameTag) error {
	_, err := t.exec(ctx, op, moveTUF, tag.Name, tag.Tag)
	return err
}

// LockTUF implements [store.TUFWriter].
func (t *tx) LockTUF(ctx context.Context, prefix, name string) (store.TUFPrefix, error) {
	p, _, err := one(ctx, t.session, "locking metadata", scanTUFPrefix, lockTUF, prefix, name)
	return p, err
}

// PutTUF implements [store.TUFWriter].
func (t *tx) PutTUF(ctx context.Context, p store.TUFPrefix) error {
	const op = "changing metadata"
	was, err := t.LockTUF(ctx, p.Prefix, p.Name)
	if err != nil {
		return err
	}
	online := int64(0)
	if p.Online {
		online = 1
	}
	if _, err := t.exec(ctx, op, putTUF, p.Prefix, online, micros(p.Due)); err != nil || !p.Online || was.Online {
		return err
	}
	_, err = t.exec(ctx, op, moveAllTUF, p.Prefix, p.Name)
	return err
}

// PutTUFFile implements [store.TUFWriter].
func (t *tx) PutTUFFile(ctx context.Context, prefix string, f store.TUFFile, at time.Time) error {
	const op = "publishing metadata"
	if _, err := t.exec(ctx, op, replaceTUF, prefix, f.Role, micros(at)); err != nil {
		return err
	}
	_, err := t.exec(ctx, op, putTUFFile, prefix, f.Role, f.Version, micros(f.Expires), f.Body)
	return err
}

// PruneTUF implements [store.TUFWriter].
func (t *tx) PruneTUF(ctx context.Context, prefix string, before time.Time) error {
	_, err := t.exec(ctx, "removing old metadata", pruneTUF, prefix, micros(before))
	return err
}

// PutTUFKey implements [store.TUFWriter].
func (t *tx) PutTUFKey(ctx context.Context, prefix string, k store.SigningKey) error {
	_, err := t.exec(ctx, "keeping an online key", putTUFKey, prefix, k.ID, micros(k.CreatedAt), k.Secret)
	return err
}

// DoneTUF implements [store.TUFWriter].
func (t *tx) DoneTUF(ctx context.Context, moves []store.TUFMove) error {
	ids := make([]int64, len(moves))
	for i, m := range moves {
		ids[i] = m.ID
	}
	_, err := t.exec(ctx, "signing tags that moved", doneTUF, numbers(ids))
	return err
}

// TUFTrusted implements [store.TUFTrustReader].
func (r reader) TUFTrusted(ctx context.Context, source string) ([]store.TUFFile, error) {
	return all(ctx, r.session, "reading trusted metadata", scanTUFFile, tufTrusted, source)
}

// TUFSources implements [store.TUFTrustReader].
func (r reader) TUFSources(ctx context.Context) ([]string, error) {
	return all(ctx, r.session, "reading sources of metadata", scanOne[string], tufSources)
}

// LockTUFTrust implements [store.TUFTrustWriter].
func (t *tx) LockTUFTrust(ctx context.Context, source string) ([]store.TUFFile, error) {
	if _, err := t.exec(ctx, "locking trusted metadata", lockTUFTrust, source, []byte{}); err != nil {
		return nil, err
	}
	return t.TUFTrusted(ctx, source)
}

// TrustTUF implements [store.TUFTrustWriter].
func (t *tx) TrustTUF(ctx context.Context, source string, files []store.TUFFile) error {
	const op = "keeping trusted metadata"
	if _, err := t.exec(ctx, op, forgetTUF, source); err != nil {
		return err
	}
	rows := make([][]any, len(files))
	for i, f := range files {
		rows[i] = []any{source, f.Role, f.Version, micros(f.Expires), f.Body}
	}
	return t.insert(ctx, op, trustTUF, trustTUFTail, rows)
}
