// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	tagColumns = `name, tag, digest, from_at, to_at, checked_at`

	checkTag = `
UPDATE tag SET checked_at = CASE WHEN checked_at < $4 THEN $4 ELSE checked_at END
WHERE name = $1 AND tag = $2 AND to_at IS NULL AND digest = $3`

	endTag = `
UPDATE tag SET to_at = $3
WHERE name = $1 AND tag = $2 AND to_at IS NULL AND from_at <= $3
RETURNING digest`

	// laterTag finds an interval that an observation at $3 is too old to
	// follow: one that is open, or ended after it.
	laterTag = `
SELECT 1 FROM (
    SELECT to_at FROM tag WHERE name = $1 AND tag = $2 ORDER BY from_at DESC, id DESC LIMIT 1) AS latest
WHERE to_at IS NULL OR to_at > $3`

	insertTag = `
INSERT INTO tag (name, tag, digest, from_at, checked_at) VALUES ($1, $2, $3, $4, $4)`

	tagsOf = `
SELECT ` + tagColumns + ` FROM tag
WHERE digest IN (SELECT key FROM json_each($1)) AND from_at <= $2 AND (to_at IS NULL OR to_at > $2)
ORDER BY name, tag, from_at`

	// openTagsNamed is completed by groups of parameters.
	openTagsNamed = `
SELECT ` + tagColumns + ` FROM tag
WHERE to_at IS NULL AND (name, tag) IN (VALUES `

	// tagsNamedAt likewise; $1 is the time. Of each tag only the last interval
	// that began by then is looked at, however many there are.
	tagsNamedAt = `
SELECT ` + tagColumns + ` FROM tag
WHERE (to_at IS NULL OR to_at > $1) AND id IN (
    SELECT (SELECT t.id FROM tag AS t WHERE t.name = w.column1 AND t.tag = w.column2 AND t.from_at <= $1
            ORDER BY t.from_at DESC, t.id DESC LIMIT 1)
    FROM (VALUES `

	tagHistory = `
SELECT ` + tagColumns + ` FROM tag
WHERE name = $1 AND tag = $2 ORDER BY from_at DESC, id DESC LIMIT $3`

	repositoryHistory = `
SELECT ` + tagColumns + ` FROM tag
WHERE name = $1 ORDER BY from_at DESC, id DESC LIMIT $2`
)

func scanTag(row scanner, i *dossier.TagInterval) error {
	var from, checked int64
	var to sql.NullInt64
	if err := row.Scan(&i.Name, &i.Tag, &i.Digest, &from, &to, &checked); err != nil {
		return err
	}
	i.From, i.CheckedAt = instant(from), instant(checked)
	if to.Valid {
		i.To = instant(to.Int64)
	}
	return nil
}

// PointTag implements [store.TagWriter].
func (t *tx) PointTag(ctx context.Context, name, tag string, d dossier.Digest, at time.Time) (dossier.Digest, bool, error) {
	const op = "pointing tag"
	if own, err := t.owns(ctx, name); err != nil || own {
		return "", false, err
	}
	if n, err := t.exec(ctx, op, checkTag, name, tag, d, micros(at)); err != nil || n > 0 {
		return "", false, err
	}
	was, ended, err := one(ctx, t.session, op, scanOne[dossier.Digest], endTag, name, tag, micros(at))
	if err != nil {
		return "", false, err
	}
	if !ended {
		_, later, err := one(ctx, t.session, op, scanOne[int64], laterTag, name, tag, micros(at))
		if err != nil || later {
			return "", false, err
		}
	}
	if _, err := t.exec(ctx, op, insertTag, name, tag, d, micros(at)); err != nil {
		return "", false, err
	}
	return was, true, nil
}

// DropTag implements [store.TagWriter].
func (t *tx) DropTag(ctx context.Context, name, tag string, at time.Time) (dossier.Digest, bool, error) {
	if own, err := t.owns(ctx, name); err != nil || own {
		return "", false, err
	}
	return one(ctx, t.session, "dropping tag", scanOne[dossier.Digest], endTag, name, tag, micros(at))
}

// TagsOf implements [store.TagReader]. Order: by name and tag.
func (r reader) TagsOf(ctx context.Context, ds []dossier.Digest, at time.Time) ([]dossier.TagInterval, error) {
	if len(ds) == 0 {
		return nil, nil
	}
	list, err := keys(ds)
	if err != nil {
		return nil, err
	}
	return all(ctx, r.session, "reading tags", scanTag, tagsOf, list, bound(at))
}

// TagsAt implements [store.TagReader]. Order: by name and tag.
func (r reader) TagsAt(ctx context.Context, tags []store.NameTag, at time.Time) ([]dossier.TagInterval, error) {
	const atOnce = 200
	sorted := slices.SortedFunc(slices.Values(tags), func(a, b store.NameTag) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Tag, b.Tag)
	})
	var found []dossier.TagInterval
	for part := range slices.Chunk(slices.Compact(sorted), atOnce) {
		query, tail, args := openTagsNamed, `) ORDER BY name, tag`, []any{}
		if !at.IsZero() {
			query, tail, args = tagsNamedAt, `) AS w) ORDER BY name, tag`, append(args, micros(at))
		}
		first := len(args) + 1
		for _, t := range part {
			args = append(args, t.Name, t.Tag)
		}
		list, err := all(ctx, r.session, "reading tags", scanTag, query+groups(first, len(part), 2)+tail, args...)
		if err != nil {
			return nil, err
		}
		found = append(found, list...)
	}
	return found, nil
}

// TagHistory implements [store.TagReader].
func (r reader) TagHistory(ctx context.Context, name, tag string, limit int) ([]dossier.TagInterval, error) {
	const op = "reading tag history"
	if tag == "" {
		return all(ctx, r.session, op, scanTag, repositoryHistory, name, max(0, limit))
	}
	return all(ctx, r.session, op, scanTag, tagHistory, name, tag, max(0, limit))
}
