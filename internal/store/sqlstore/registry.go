// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	registryName = `SELECT name FROM registry WHERE id = 1`

	nameRegistry = `INSERT INTO registry (id, name) VALUES (1, $1) ON CONFLICT (id) DO NOTHING`

	repositoryColumns = `path, name, upstream, created_at`

	repositoryByPath = `SELECT ` + repositoryColumns + ` FROM repository WHERE path = $1`

	repositoriesAfter = `SELECT ` + repositoryColumns + ` FROM repository WHERE path > $1 ORDER BY path LIMIT $2`

	insertRepository = `
INSERT INTO repository (path, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (path) DO NOTHING`

	ownRepository = `SELECT 1 FROM repository WHERE name = $1 AND upstream = ''`

	openTags = `
SELECT tag FROM tag
WHERE name = $1 AND tag > $2 AND to_at IS NULL ORDER BY tag LIMIT $3`

	// lastTag is the newest interval of a tag.
	lastTag = `
SELECT id, digest, from_at, to_at FROM tag
WHERE name = $1 AND tag = $2 ORDER BY from_at DESC, id DESC LIMIT 1`

	checkTagRow = `UPDATE tag SET checked_at = CASE WHEN checked_at < $2 THEN $2 ELSE checked_at END WHERE id = $1`

	endTagRow = `UPDATE tag SET to_at = $2 WHERE id = $1 AND to_at IS NULL`
)

func scanRepository(row scanner, r *store.Repository) error {
	var created int64
	err := row.Scan(&r.Path, &r.Name, &r.Upstream, &created)
	r.CreatedAt = instant(created)
	return err
}

// RegistryName implements [store.RegistryReader].
func (r reader) RegistryName(ctx context.Context) (string, error) {
	name, _, err := one(ctx, r.session, "reading the name of the registry", scanOne[string], registryName)
	return name, err
}

// Repository implements [store.RegistryReader].
func (r reader) Repository(ctx context.Context, path string) (store.Repository, error) {
	const op = "finding repository"
	found, ok, err := one(ctx, r.session, op, scanRepository, repositoryByPath, path)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindNotFound, op, path, "nothing was ever pushed to it")
	}
	return found, err
}

// Repositories implements [store.RegistryReader].
func (r reader) Repositories(ctx context.Context, after string, limit int) ([]store.Repository, error) {
	return all(ctx, r.session, "listing repositories", scanRepository, repositoriesAfter, after, max(0, limit))
}

// OpenTags implements [store.RegistryReader].
func (r reader) OpenTags(ctx context.Context, name, after string, limit int) ([]string, error) {
	return all(ctx, r.session, "listing tags", scanOne[string], openTags, name, after, max(0, limit))
}

// NameRegistry implements [store.RegistryWriter].
func (t *tx) NameRegistry(ctx context.Context, name string) (string, error) {
	if _, err := t.exec(ctx, "naming the registry", nameRegistry, name); err != nil {
		return "", err
	}
	return t.RegistryName(ctx)
}

// PutRepository implements [store.RegistryWriter].
func (t *tx) PutRepository(ctx context.Context, path string, at time.Time) (store.Repository, error) {
	const op = "making repository"
	if _, err := t.quotasOf(ctx, path); err != nil { // before the rows of what goes there
		return store.Repository{}, err
	}
	if found, ok, err := one(ctx, t.session, op, scanRepository, repositoryByPath, path); err != nil || ok {
		if err == nil && found.Upstream != "" {
			err = dossier.Errorf(dossier.KindDenied, op, path, "it holds what was pulled from "+found.Upstream+"; nothing else goes there")
		}
		return found, err
	}
	host, err := t.RegistryName(ctx)
	if err != nil {
		return store.Repository{}, err
	}
	if host == "" {
		return store.Repository{}, dossier.Errorf(dossier.KindInvalid, op, path, "the registry has no name")
	}
	if _, err := t.exec(ctx, op, insertRepository, path, host+"/"+path, micros(at)); err != nil {
		return store.Repository{}, err
	}
	return t.Repository(ctx, path)
}

// owns reports whether a repository name is of the registry in this database.
func (t *tx) owns(ctx context.Context, name string) (bool, error) {
	_, own, err := one(ctx, t.session, "finding repository", scanOne[int64], ownRepository, name)
	return own, err
}

// lastInterval is the newest interval of a tag; the zero value, when there is none.
type lastInterval struct {
	id     int64
	digest dossier.Digest
	from   int64
	to     sql.NullInt64
}

func scanLast(row scanner, l *lastInterval) error { return row.Scan(&l.id, &l.digest, &l.from, &l.to) }

func (t *tx) lastOf(ctx context.Context, op string, tag store.NameTag) (lastInterval, error) {
	last, _, err := one(ctx, t.session, op, scanLast, lastTag, tag.Name, tag.Tag)
	return last, err
}

func (l lastInterval) open() bool { return l.id != 0 && !l.to.Valid }

// next returns the time of a change that was asked for at a time: later than all
// that is on record.
func (l lastInterval) next(at time.Time) time.Time {
	switch {
	case l.id == 0:
		return at
	case l.to.Valid:
		return instant(max(micros(at), l.to.Int64))
	}
	return instant(max(micros(at), l.from+1))
}

const opPoint = "pointing tag"

// SetTag implements [store.RegistryWriter].
func (t *tx) SetTag(ctx context.Context, tag store.NameTag, d dossier.Digest, at time.Time, fixed bool) (store.TagMove, error) {
	for {
		last, err := t.lastOf(ctx, opPoint, tag)
		if err != nil {
			return store.TagMove{}, err
		}
		if last.open() && last.digest == d {
			_, err := t.exec(ctx, opPoint, checkTagRow, last.id, micros(at))
			return store.TagMove{At: at}, err
		}
		move, err := t.moveTag(ctx, tag, last, d, at, fixed)
		if err != nil || move.Moved {
			return move, err
		}
	}
}

// AdoptTag implements [store.RegistryWriter].
func (t *tx) AdoptTag(ctx context.Context, tag store.NameTag, d dossier.Digest, from time.Time, fixed bool) (store.TagMove, error) {
	at := micros(from)
	for {
		last, err := t.lastOf(ctx, opPoint, tag)
		if err != nil {
			return store.TagMove{}, err
		}
		if last.open() && (last.digest == d || last.from >= at) || last.to.Valid && last.to.Int64 > at {
			return store.TagMove{At: from}, nil
		}
		move, err := t.moveTag(ctx, tag, last, d, from, fixed)
		if err != nil || move.Moved {
			return move, err
		}
	}
}

// moveTag begins an interval of a tag after its last one, which it ends when that
// is open and the tag is not fixed. It has not moved when another moved or dropped
// it at this moment: look again. Of two that come at the same time when none is
// open, the unique index over open intervals lets one pass; the other
// transaction is run again and sees it.
func (t *tx) moveTag(ctx context.Context, tag store.NameTag, last lastInterval, d dossier.Digest, at time.Time, fixed bool) (store.TagMove, error) {
	if last.open() && fixed {
		return store.TagMove{}, &dossier.Error{Kind: dossier.KindConflict, Op: opPoint, Subject: tag.Name + ":" + tag.Tag,
			Hint: "Push under a tag of its own, or delete this one first.",
			Err:  &store.TagHeld{Digest: last.digest, Since: instant(last.from)}}
	}
	move := store.TagMove{Moved: true, At: last.next(at)}
	if last.open() {
		move.Was = last.digest
		n, err := t.exec(ctx, opPoint, endTagRow, last.id, micros(move.At))
		if err != nil || n == 0 {
			return store.TagMove{}, err
		}
	}
	if _, err := t.exec(ctx, opPoint, insertTag, tag.Name, tag.Tag, d, micros(move.At)); err != nil {
		return move, err
	}
	return move, t.movedTUF(ctx, opPoint, tag)
}

// ClearTag implements [store.RegistryWriter].
func (t *tx) ClearTag(ctx context.Context, tag store.NameTag, at time.Time) (store.TagMove, error) {
	const op = "dropping tag"
	last, err := t.lastOf(ctx, op, tag)
	if err != nil || !last.open() {
		return store.TagMove{At: at}, err
	}
	move := store.TagMove{Was: last.digest, At: last.next(at)}
	n, err := t.exec(ctx, op, endTagRow, last.id, micros(move.At))
	move.Moved = n > 0 // else another dropped or moved it at this moment
	if err != nil || !move.Moved {
		move.Was = ""
		return move, err
	}
	return move, t.movedTUF(ctx, op, tag)
}
