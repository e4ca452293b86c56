// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	tagsOfDigest = `
SELECT ` + tagColumns + ` FROM tag
WHERE digest = $1 AND (name, tag) > ($2, $3) AND from_at <= $4 AND (to_at IS NULL OR to_at > $4)
ORDER BY name, tag LIMIT $5`

	openTagsOfRepository = `
SELECT ` + tagColumns + ` FROM tag
WHERE name = $1 AND tag > $2 AND to_at IS NULL
ORDER BY tag LIMIT $3`

	tagsOfRepository = `
SELECT ` + tagColumns + ` FROM tag
WHERE name = $1 AND tag > $2 AND from_at <= $3 AND (to_at IS NULL OR to_at > $3)
ORDER BY tag LIMIT $4`

	// tagChanges are, of repository $1 and tags after $4, the intervals that cover
	// one end of $2 to $3 and not the other. Of those that cover $2 it says when
	// the last one by $3 ended.
	tagChanges = `
SELECT tag, 0 AS later, digest, from_at, (
    SELECT l.to_at FROM tag AS l WHERE l.name = tag.name AND l.tag = tag.tag AND l.from_at <= $3
    ORDER BY l.from_at DESC, l.id DESC LIMIT 1) AS ended_at
FROM tag WHERE name = $1 AND tag > $4 AND to_at > $2 AND to_at <= $3 AND from_at <= $2
UNION ALL
SELECT tag, 1 AS later, digest, from_at, to_at
FROM tag WHERE name = $1 AND tag > $4 AND from_at > $2 AND from_at <= $3 AND (to_at IS NULL OR to_at > $3)
ORDER BY tag, later LIMIT $5`
)

// TagPage implements [store.TagReader].
func (r reader) TagPage(ctx context.Context, q store.TagQuery) ([]dossier.TagInterval, error) {
	const op = "reading tags"
	limit := max(0, q.Limit)
	switch {
	case q.Digest != "":
		return all(ctx, r.session, op, scanTag, tagsOfDigest, q.Digest, q.After.Name, q.After.Tag, bound(q.At), limit)
	case q.At.IsZero():
		return all(ctx, r.session, op, scanTag, openTagsOfRepository, q.Name, q.After.Tag, limit)
	}
	return all(ctx, r.session, op, scanTag, tagsOfRepository, q.Name, q.After.Tag, micros(q.At), limit)
}

// tagEnd is a tag at one of two times.
type tagEnd struct {
	tag    string
	later  bool
	digest dossier.Digest
	from   int64
	ended  sql.NullInt64
}

func scanTagEnd(row scanner, e *tagEnd) error {
	var later int64
	err := row.Scan(&e.tag, &later, &e.digest, &e.from, &e.ended)
	e.later = later == 1
	return err
}

// TagChanges implements [store.TagReader].
func (r reader) TagChanges(ctx context.Context, q store.TagChangesQuery) ([]dossier.TagChange, string, error) {
	if q.Limit <= 0 {
		return nil, "", nil
	}
	// A tag has two ends at most: the first q.Limit tags are whole, and a row is left if there are more.
	ends, err := all(ctx, r.session, "comparing tags", scanTagEnd, tagChanges, q.Name, micros(q.From), bound(q.To), q.After, 2*q.Limit+1)
	if err != nil {
		return nil, "", err
	}
	var changes []dossier.TagChange
	last, tags := "", 0
	for i := 0; i < len(ends); {
		if tags == q.Limit {
			return changes, last, nil
		}
		first := ends[i]
		n := 1
		if i+1 < len(ends) && ends[i+1].tag == first.tag {
			n = 2
		}
		if c, ok := changeOf(ends[i : i+n]); ok {
			changes = append(changes, c)
		}
		last = first.tag
		tags++
		i += n
	}
	return changes, "", nil
}

// changeOf compares the one or two ends of a tag.
func changeOf(ends []tagEnd) (dossier.TagChange, bool) {
	first := ends[0]
	c := dossier.TagChange{Tag: first.tag}
	switch {
	case len(ends) == 2:
		c.Change, c.Was, c.Now, c.At = dossier.TagMoved, first.digest, ends[1].digest, instant(ends[1].from)
		return c, c.Was != c.Now
	case first.later:
		c.Change, c.Now, c.At = dossier.TagAdded, first.digest, instant(first.from)
	default:
		c.Change, c.Was, c.At = dossier.TagRemoved, first.digest, instant(first.ended.Int64)
	}
	return c, true
}
