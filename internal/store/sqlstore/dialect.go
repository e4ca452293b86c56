// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

// dialect holds the statements that differ between the engines. Empty: the
// engine needs none.
type dialect struct {
	// lockHead makes other writers of facts of subject $1 wait until the end of the
	// transaction, and gives the end of its chain; headOf gives it, moveHead sets it to
	// link $2 with leaf $3, dropHead forgets it. SQLite has one writer, and finds the end
	// where the facts are.
	lockHead, headOf, moveHead, dropHead string
	// lockCluster makes other writers of the places of cluster $1 wait until
	// the end of the transaction.
	lockCluster string
	// lockQuotas makes everybody who looks for quotas wait until the end of the
	// transaction, and waits for all who have.
	lockQuotas string
	// lease hands out jobs: owner $1, until $2, kinds $3, now $4, at most $5.
	lease string
	// keepBlobs keeps the blobs that manifest $2 of repository $1 needs until $3, in
	// the order of their digests where rows are locked one by one.
	keepBlobs string
}

func sqliteDialect() *dialect {
	return &dialect{
		keepBlobs: `
UPDATE repository_blob SET kept_until = $3 WHERE repository = $1 AND kept_until < $3
  AND digest IN (SELECT blob FROM manifest_blob WHERE repository = $1 AND manifest = $2)`,
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
		lockHead: `
INSERT INTO head (subject, seq, leaf) VALUES ($1, 0, '')
ON CONFLICT (subject) DO UPDATE SET seq = head.seq
RETURNING seq, leaf`,
		headOf:   `SELECT seq, leaf FROM head WHERE subject = $1`,
		moveHead: `UPDATE head SET seq = $2, leaf = $3 WHERE subject = $1`,
		dropHead: `DELETE FROM head WHERE subject = $1`,
		keepBlobs: `
WITH needed AS MATERIALIZED (
    SELECT digest FROM repository_blob WHERE repository = $1 AND kept_until < $3
      AND digest IN (SELECT blob FROM manifest_blob WHERE repository = $1 AND manifest = $2)
    ORDER BY digest FOR NO KEY UPDATE
)
UPDATE repository_blob SET kept_until = $3 WHERE repository = $1 AND digest IN (SELECT digest FROM needed)`,
		lockQuotas:  `LOCK TABLE quota IN ACCESS EXCLUSIVE MODE`,
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
