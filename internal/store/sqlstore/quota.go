// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	quotaColumns = `prefix, max_bytes, bytes`

	allQuotas = `SELECT ` + quotaColumns + ` FROM quota ORDER BY prefix`

	// anyQuota spares those who have none the list of candidates.
	anyQuota = `SELECT EXISTS (SELECT 1 FROM quota)`

	quotasAmong = `SELECT prefix FROM quota WHERE prefix IN (SELECT key FROM json_each($1)) ORDER BY prefix`

	quotaByPrefix = `SELECT ` + quotaColumns + ` FROM quota WHERE prefix = $1`

	// lockQuota makes others who change what counts for it wait.
	lockQuota = `UPDATE quota SET bytes = bytes WHERE prefix = $1`

	putQuota = `
INSERT INTO quota (prefix, max_bytes, bytes) VALUES ($1, $2, 0) ON CONFLICT (prefix) DO UPDATE SET max_bytes = excluded.max_bytes`

	deleteQuota = `DELETE FROM quota WHERE prefix = $1`

	// countQuota counts what repositories from $1, $1 || '/' up to $1 || '0' hold: '0' comes after '/'.
	countQuota = `
INSERT INTO quota_item (prefix, digest, size)
SELECT $1, digest, MAX(size) FROM (
    SELECT r.digest, b.size FROM repository_blob AS r JOIN blob AS b ON b.digest = r.digest
    WHERE r.repository = $1
    UNION ALL
    SELECT r.digest, b.size FROM repository_blob AS r JOIN blob AS b ON b.digest = r.digest
    WHERE r.repository > $2 AND r.repository < $3
    UNION ALL
    SELECT digest, size FROM manifest WHERE repository = $1
    UNION ALL
    SELECT digest, size FROM manifest WHERE repository > $2 AND repository < $3
) AS held GROUP BY digest`

	sumQuota = `
UPDATE quota SET bytes = (SELECT COALESCE(SUM(size), 0) FROM quota_item WHERE quota_item.prefix = quota.prefix) WHERE prefix = $1`

	insertQuotaBlob = `
INSERT INTO quota_item (prefix, digest, size) SELECT $1, digest, size FROM blob WHERE digest = $2
ON CONFLICT (prefix, digest) DO NOTHING RETURNING size`

	insertQuotaManifest = `
INSERT INTO quota_item (prefix, digest, size) VALUES ($1, $2, $3) ON CONFLICT (prefix, digest) DO NOTHING RETURNING size`

	addToQuota = `
UPDATE quota SET bytes = bytes + $2 WHERE prefix = $1 AND (max_bytes = 0 OR bytes + $2 <= max_bytes)`

	// deleteQuotaItem removes what no repository below the prefix holds any more.
	deleteQuotaItem = `
DELETE FROM quota_item WHERE prefix = $1 AND digest = $2
  AND NOT EXISTS (SELECT 1 FROM repository_blob AS r WHERE r.digest = $2 AND r.repository = $1)
  AND NOT EXISTS (SELECT 1 FROM repository_blob AS r WHERE r.digest = $2 AND r.repository > $3 AND r.repository < $4)
  AND NOT EXISTS (SELECT 1 FROM manifest AS m WHERE m.digest = $2 AND m.repository = $1)
  AND NOT EXISTS (SELECT 1 FROM manifest AS m WHERE m.digest = $2 AND m.repository > $3 AND m.repository < $4)
RETURNING size`

	takeFromQuota = `UPDATE quota SET bytes = bytes - $2 WHERE prefix = $1`
)

func scanQuota(row scanner, q *dossier.Quota) error { return row.Scan(&q.Prefix, &q.Limit, &q.Used) }

// Quotas implements [store.QuotaReader].
func (r reader) Quotas(ctx context.Context) ([]dossier.Quota, error) {
	return all(ctx, r.session, "reading quotas", scanQuota, allQuotas)
}

// below returns between which paths those of repositories below a prefix lie.
func below(prefix string) (after, before string) { return prefix + "/", prefix + "0" }

// SetQuotas implements [store.QuotaWriter].
func (t *tx) SetQuotas(ctx context.Context, quotas []dossier.Quota) error {
	const op = "setting quotas"
	// Who puts something into a repository has looked for quotas before, and holds them until
	// its end: none that is under way then is missed by counting.
	if t.dialect.lockQuotas != "" {
		if _, err := t.exec(ctx, op, t.dialect.lockQuotas); err != nil {
			return err
		}
	}
	there, err := t.Quotas(ctx)
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	for _, q := range there {
		gone[q.Prefix] = true
	}
	for _, q := range quotas {
		isNew := !gone[q.Prefix]
		delete(gone, q.Prefix)
		if _, err := t.exec(ctx, op, putQuota, q.Prefix, q.Limit); err != nil {
			return err
		}
		if !isNew {
			continue
		}
		after, before := below(q.Prefix)
		if _, err := t.exec(ctx, op, countQuota, q.Prefix, after, before); err != nil {
			return err
		}
		if _, err := t.exec(ctx, op, sumQuota, q.Prefix); err != nil {
			return err
		}
	}
	for prefix := range gone {
		if _, err := t.exec(ctx, op, deleteQuota, prefix); err != nil {
			return err
		}
	}
	return nil
}

// quotasOf returns the prefixes of the quotas that are about a repository, and
// makes others who change what counts for them wait until the end of the
// transaction. Whoever will lock other rows for a repository calls it before, so
// that no two wait for each other.
func (t *tx) quotasOf(ctx context.Context, path string) ([]string, error) {
	const op = "looking for quotas"
	if found, ok := t.quotas[path]; ok {
		return found, nil
	}
	if some, _, err := one(ctx, t.session, op, scanOne[bool], anyQuota); err != nil || !some {
		return nil, err
	}
	var candidates []string
	for i, c := range path {
		if c == '/' {
			candidates = append(candidates, path[:i])
		}
	}
	list, err := keys(append(candidates, path))
	if err != nil {
		return nil, err
	}
	found, err := all(ctx, t.session, op, scanOne[string], quotasAmong, list)
	if err != nil {
		return nil, err
	}
	for _, prefix := range found { // from the top downwards, as everybody does
		if _, err := t.exec(ctx, op, lockQuota, prefix); err != nil {
			return nil, err
		}
	}
	if t.quotas == nil {
		t.quotas = map[string][]string{}
	}
	t.quotas[path] = found
	return found, nil
}

// chargeBlob counts a blob that a repository has come to hold.
func (t *tx) chargeBlob(ctx context.Context, path string, d dossier.Digest) error {
	return t.charge(ctx, path, d, insertQuotaBlob)
}

// chargeManifest counts a manifest that a repository has come to hold.
func (t *tx) chargeManifest(ctx context.Context, path string, d dossier.Digest, size int64) error {
	return t.charge(ctx, path, d, insertQuotaManifest, size)
}

// charge counts something for each quota of a repository that does not count it
// yet, with a statement that inserts it.
func (t *tx) charge(ctx context.Context, path string, d dossier.Digest, insert string, more ...any) error {
	const op = "counting for quota"
	prefixes, err := t.quotasOf(ctx, path)
	if err != nil {
		return err
	}
	for _, prefix := range prefixes {
		size, isNew, err := one(ctx, t.session, op, scanOne[int64], insert, append([]any{prefix, d}, more...)...)
		if err != nil {
			return err
		}
		if !isNew {
			continue
		}
		n, err := t.exec(ctx, op, addToQuota, prefix, size)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		q, _, err := one(ctx, t.session, op, scanQuota, quotaByPrefix, prefix)
		if err != nil {
			return err
		}
		return &store.OverQuota{Quota: q, Digest: d, Size: size}
	}
	return nil
}

// discharge gives back, for each quota of a repository, what was taken out of it,
// unless another repository below the prefix holds it.
func (t *tx) discharge(ctx context.Context, path string, d dossier.Digest) error {
	const op = "giving back quota"
	prefixes, err := t.quotasOf(ctx, path)
	if err != nil {
		return err
	}
	for _, prefix := range prefixes {
		after, before := below(prefix)
		size, gone, err := one(ctx, t.session, op, scanOne[int64], deleteQuotaItem, prefix, d, after, before)
		if err != nil {
			return err
		}
		if !gone {
			continue
		}
		if _, err := t.exec(ctx, op, takeFromQuota, prefix, size); err != nil {
			return err
		}
	}
	return nil
}
