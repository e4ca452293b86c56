// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

// dialect holds the statements that differ between the engines. Empty: the
// engine needs none.
type dialect struct {
	// lockCluster makes other writers of the places of cluster $1 wait until
	// the end of the transaction.
	lockCluster string
	// lease hands out jobs: owner $1, until $2, kinds $3, now $4, at most $5.
	lease string
}

func sqliteDialect() *dialect {
	return &dialect{
		lease: `
WITH ready AS (
    SELECT id, run_at FROM job
    WHERE state = 'ready' AND run_at <= $4 AND kind IN (SELECT key FROM json_each($3))
    ORDER BY run_at, id LIMIT $5
), expired AS (
    SELECT id, run_at FROM job
    WHERE state = 'leased' AND leased_until <= $4 AND kind IN (SELECT key FROM json_each($3))
    ORDER BY run_at, id LIMIT $5
)
UPDATE job SET state = 'leased', owner = $1, leased_until = $2, attempts = attempts + 1
WHERE id IN (
    SELECT id FROM (SELECT id, run_at FROM ready UNION ALL SELECT id, run_at FROM expired) AS due
    ORDER BY run_at, id LIMIT $5
)
RETURNING ` + jobColumns,
	}
}

func postgresDialect() *dialect {
	return &dialect{
		lockCluster: `SELECT pg_advisory_xact_lock(hashtextextended('dossier/cluster/' || $1, 0))`,
		lease: `
WITH ready AS MATERIALIZED (
    SELECT id, run_at FROM job
    WHERE state = 'ready' AND run_at <= $4 AND kind IN (SELECT key FROM json_each($3))
    ORDER BY run_at, id LIMIT $5 FOR UPDATE SKIP LOCKED
), expired AS MATERIALIZED (
    SELECT id, run_at FROM job
    WHERE state = 'leased' AND leased_until <= $4 AND kind IN (SELECT key FROM json_each($3))
    ORDER BY run_at, id LIMIT $5 FOR UPDATE SKIP LOCKED
), due AS MATERIALIZED (
    SELECT id FROM (SELECT id, run_at FROM ready UNION ALL SELECT id, run_at FROM expired) AS either
    ORDER BY run_at, id LIMIT $5
)
UPDATE job SET state = 'leased', owner = $1, leased_until = $2, attempts = attempts + 1
WHERE id IN (SELECT id FROM due)
RETURNING ` + jobColumns,
	}
}
