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

// lastInterval is the newest interval of a tag.
type lastInterval struct {
	id     int64
	digest dossier.Digest
	from   int64
	to     sql.NullInt64
}

func scanLast(row scanner, l *lastInterval) error { return row.Scan(&l.id, &l.digest, &l.from, &l.to) }

// next returns the time of a change that was asked for at a time: later than all
// that is on record.
func (l lastInterval) next(at time.Time) time.Time {
	after := l.from + 1
	if l.to.Valid {
		after = l.to.Int64
	}
	return instant(max(micros(at), after))
}

// SetTag implements [store.RegistryWriter]. Of two that come at the same time
// the unique index over open intervals lets one pass; the other is run again and
// sees it. No statement here ends the interval of a fixed tag.
func (t *tx) SetTag(ctx context.Context, tag store.NameTag, d dossier.Digest, at time.Time, fixed bool) (store.TagMove, error) {
	const op = "pointing tag"
	last, found, err := one(ctx, t.session, op, scanLast, lastTag, tag.Name, tag.Tag)
	if err != nil {
		return store.TagMove{}, err
	}
	move := store.TagMove{At: at}
	open := found && !last.to.Valid
	switch {
	case open && last.digest == d:
		_, err := t.exec(ctx, op, checkTagRow, last.id, micros(at))
		return move, err
	case open && fixed:
		return move, &dossier.Error{Kind: dossier.KindConflict, Op: op, Subject: tag.Name + ":" + tag.Tag,
			Hint: "Push under a tag of its own, or delete this one first.",
			Err:  &store.TagHeld{Digest: last.digest, Since: instant(last.from)}}
	}
	if found {
		move.At = last.next(at)
	}
	move.Moved = true
	if open {
		move.Was = last.digest
		n, err := t.exec(ctx, op, endTagRow, last.id, micros(move.At))
		if err != nil {
			return store.TagMove{}, err
		}
		if n == 0 { // another moved or dropped it at this moment
			return t.SetTag(ctx, tag, d, at, fixed)
		}
	}
	_, err = t.exec(ctx, op, insertTag, tag.Name, tag.Tag, d, micros(move.At))
	return move, err
}

// ClearTag implements [store.RegistryWriter].
func (t *tx) ClearTag(ctx context.Context, tag store.NameTag, at time.Time) (store.TagMove, error) {
	const op = "dropping tag"
	last, found, err := one(ctx, t.session, op, scanLast, lastTag, tag.Name, tag.Tag)
	if err != nil || !found || last.to.Valid {
		return store.TagMove{At: at}, err
	}
	move := store.TagMove{Was: last.digest, At: last.next(at)}
	n, err := t.exec(ctx, op, endTagRow, last.id, micros(move.At))
	move.Moved = n > 0 // else another dropped or moved it at this moment
	if !move.Moved {
		move.Was = ""
	}
	return move, err
}
