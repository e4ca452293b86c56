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

	termsOf = `
SELECT key, field, digest, value FROM term
WHERE key = $1 ORDER BY field, digest LIMIT $2`

	termsBetween = `
SELECT key, field, digest, value FROM term
WHERE key >= $1 AND key < $2 ORDER BY key, field, digest LIMIT $3`
)

func scanTerm(row scanner, h *store.TermHit) error {
	return row.Scan(&h.Key, &h.Field, &h.Digest, &h.Value)
}

// PutTerms implements [store.ImageWriter]. A term without a Key gets that of
// its Value. Of terms with equal Field and Key the first is kept.
// KindLimit: a key is longer than store.MaxTermKey.
func (t *tx) PutTerms(ctx context.Context, d dossier.Digest, terms []store.Term) error {
	const op = "keeping search terms"
	if _, err := t.exec(ctx, op, deleteTerms, d); err != nil {
		return err
	}
	rows := make([][]any, 0, len(terms))
	for _, term := range terms {
		key := term.Key
		if key == "" {
			key = store.Normal(term.Value)
		}
		if len(key) > store.MaxTermKey {
			return dossier.Errorf(dossier.KindLimit, op, string(d), "a key is longer than MaxTermKey")
		}
		rows = append(rows, []any{key, term.Field, d, term.Value})
	}
	return t.insert(ctx, op, insertTerms, insertTermsTail, rows)
}

// FindTerms implements [store.TermReader].
func (r reader) FindTerms(ctx context.Context, key string, prefix bool, limit int) ([]store.TermHit, error) {
	const op = "searching"
	if !prefix {
		return all(ctx, r.session, op, scanTerm, termsOf, key, max(0, limit))
	}
	return all(ctx, r.session, op, scanTerm, termsBetween, key, afterPrefix(key), max(0, limit))
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
