// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"strings"
	"unicode/utf8"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	deleteTerms = `DELETE FROM term WHERE digest = $1`

	insertTerms     = `INSERT INTO term (key, field, digest, value) VALUES `
	insertTermsTail = ` ON CONFLICT (key, field, digest) DO NOTHING`

	deleteTerm = `DELETE FROM term WHERE key = $1 AND field = $2 AND digest = $3`

	termsOf = `
SELECT key, field, digest, value FROM term
WHERE key = $1 ORDER BY field, digest LIMIT $2`

	termsOfFields = `
SELECT key, field, digest, value FROM term
WHERE key = $1 AND field IN (SELECT key FROM json_each($2)) ORDER BY field, digest LIMIT $3`

	termsBetween = `
SELECT key, field, digest, value FROM term
WHERE key >= $1 AND key < $2 ORDER BY key, field, digest LIMIT $3`

	termsOfFieldsBetween = `
SELECT key, field, digest, value FROM term
WHERE key >= $1 AND key < $2 AND field IN (SELECT key FROM json_each($3)) ORDER BY key, field, digest LIMIT $4`
)

func scanTerm(row scanner, h *store.TermHit) error {
	return row.Scan(&h.Key, &h.Field, &h.Digest, &h.Value)
}

// PutTerms implements [store.ImageWriter]. A term without a Key gets that of
// its Value. Of terms with equal Field and Key the first is kept.
// KindLimit: a key is longer than store.MaxTermKey.
func (t *tx) PutTerms(ctx context.Context, d dossier.Digest, terms []store.Term) error {
	if _, err := t.exec(ctx, opTerms, deleteTerms, d); err != nil {
		return err
	}
	return t.AddTerms(ctx, d, terms)
}

const opTerms = "keeping search terms"

// AddTerms implements [store.ImageWriter], as PutTerms does.
func (t *tx) AddTerms(ctx context.Context, d dossier.Digest, terms []store.Term) error {
	rows := make([][]any, 0, len(terms))
	for _, term := range terms {
		key := term.Key
		if key == "" {
			key = store.Normal(term.Value)
		}
		if len(key) > store.MaxTermKey {
			return dossier.Errorf(dossier.KindLimit, opTerms, string(d), "a key is longer than MaxTermKey")
		}
		rows = append(rows, []any{key, term.Field, d, term.Value})
	}
	return t.insert(ctx, opTerms, insertTerms, insertTermsTail, rows)
}

// DropTerm implements [store.ImageWriter].
func (t *tx) DropTerm(ctx context.Context, d dossier.Digest, term store.Term) error {
	_, err := t.exec(ctx, opTerms, deleteTerm, term.Key, term.Field, d)
	return err
}

// FindTerms implements [store.TermReader].
func (r reader) FindTerms(ctx context.Context, q store.TermQuery) ([]store.TermHit, error) {
	const op = "searching"
	query, args := termsOf, []any{q.Key}
	if q.Prefix {
		query, args = termsBetween, append(args, afterPrefix(q.Key))
	}
	if len(q.Fields) > 0 {
		fields, err := keys(q.Fields)
		if err != nil {
			return nil, err
		}
		query, args = termsOfFields, append(args, fields)
		if q.Prefix {
			query = termsOfFieldsBetween
		}
	}
	return all(ctx, r.session, op, scanTerm, query, append(args, max(0, q.Limit))...)
}

// afterPrefix returns the least text, of those up to MaxTermKey long, that
// sorts after all that begin with prefix.
func afterPrefix(prefix string) string {
	for prefix != "" {
		last, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		if last < utf8.MaxRune {
			next := last + 1
			if !utf8.ValidRune(next) {
				next = 0xE000 // after the surrogates, which are no text
			}
			return prefix + string(next)
		}
	}
	return strings.Repeat(string(utf8.MaxRune), store.MaxTermKey/utf8.UTFMax+1)
}
