// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	jobColumns = `id, kind, key, payload, state, run_at, attempts, owner, leased_until, last_error, created_at`

	insertJob = `
INSERT INTO job (kind, key, payload, state, run_at, attempts, owner, leased_until, last_error, created_at)
VALUES ($1, $2, $3, 'ready', $4, 0, '', $5, '', $6)
ON CONFLICT (kind, key) DO NOTHING`

	// hastenJob moves a job that is there to an earlier time, and makes a
	// parked one ready.
	hastenJob = `
UPDATE job SET
    run_at = CASE WHEN run_at > $4 THEN $4 ELSE run_at END,
    payload = CASE WHEN state = 'parked' THEN $3 ELSE payload END,
    attempts = CASE WHEN state = 'parked' THEN 0 ELSE attempts END,
    state = CASE WHEN state = 'parked' THEN 'ready' ELSE state END
WHERE kind = $1 AND key = $2`

	finishJob = `DELETE FROM job WHERE id = $1 AND owner = $2 AND state = 'leased'`

	retryJob = `
UPDATE job SET state = 'ready', run_at = $3, owner = '', leased_until = $4, last_error = $5
WHERE id = $1 AND owner = $2 AND state = 'leased'`

	renewJob = `UPDATE job SET leased_until = $3 WHERE id = $1 AND owner = $2 AND state = 'leased'`

	parkJob = `
UPDATE job SET state = 'parked', owner = '', leased_until = $3, last_error = $4
WHERE id = $1 AND owner = $2 AND state = 'leased'`

	jobsOfKind = `
SELECT ` + jobColumns + ` FROM job
WHERE kind = $1 AND ($2 = '{}' OR key IN (SELECT key FROM json_each($3)))
ORDER BY id LIMIT $4`

	countJobs = `SELECT kind, state, COUNT(*) FROM job GROUP BY kind, state ORDER BY kind, state`

	// nextJob gives the first time after $1 at which a job becomes ready or a
	// lease runs out.
	nextJob = `
SELECT due FROM (
    SELECT MIN(run_at) AS due FROM job WHERE state = 'ready' AND run_at > $1
    UNION ALL
    SELECT MIN(leased_until) AS due FROM job WHERE state = 'leased' AND leased_until > $1
) AS next WHERE due IS NOT NULL ORDER BY due LIMIT 1`

	insertNotice = `INSERT INTO notice (topic, body, at) VALUES ($1, $2, $3)`

	forgetNotices = `DELETE FROM notice WHERE id = $1`

	noticesAfter = `SELECT id, topic, body, at FROM notice WHERE id > $1 ORDER BY id LIMIT $2`
)

func scanJob(row scanner, j *store.Job) error {
	var runAt, leasedUntil, createdAt int64
	if err := row.Scan(&j.ID, &j.Kind, &j.Key, &j.Payload, &j.State, &runAt, &j.Attempts,
		&j.Owner, &leasedUntil, &j.LastError, &createdAt); err != nil {
		return err
	}
	j.RunAt, j.LeasedUntil, j.CreatedAt = instant(runAt), instant(leasedUntil), instant(createdAt)
	if len(j.Payload) == 0 {
		j.Payload = nil
	}
	return nil
}

// Enqueue implements [store.JobWriter]. Of job, only Kind, Key, Payload and
// RunAt count.
func (t *tx) Enqueue(ctx context.Context, job store.Job) (bool, error) {
	const op = "enqueuing job"
	if job.RunAt.IsZero() {
		job.RunAt = t.now
	}
	t.enqueue = true
	n, err := t.exec(ctx, op, insertJob, job.Kind, job.Key, job.Payload, micros(job.RunAt), micros(time.Time{}), micros(t.now))
	if err != nil || n > 0 {
		return n > 0, err
	}
	_, err = t.exec(ctx, op, hastenJob, job.Kind, job.Key, job.Payload, micros(job.RunAt))
	return false, err
}

// Lease implements [store.JobWriter]. Without kinds it hands out nothing.
func (t *tx) Lease(ctx context.Context, owner string, kinds []string, n int, now time.Time, d time.Duration) ([]store.Job, error) {
	t.wake.leased(now)
	if n <= 0 || len(kinds) == 0 {
		return nil, nil
	}
	list, err := keys(kinds)
	if err != nil {
		return nil, err
	}
	jobs, err := all(ctx, t.session, "leasing jobs", scanJob, t.dialect.lease,
		owner, micros(now.Add(d)), list, micros(now), n)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(jobs, func(a, b store.Job) int { // RETURNING has no order
		return cmp.Or(a.RunAt.Compare(b.RunAt), cmp.Compare(a.ID, b.ID))
	})
	return jobs, nil
}

// Finish implements [store.JobWriter].
func (t *tx) Finish(ctx context.Context, id int64, owner string) error {
	return t.held(ctx, "finishing job", owner, finishJob, id, owner)
}

// Retry implements [store.JobWriter].
func (t *tx) Retry(ctx context.Context, id int64, owner, lastError string, at time.Time) error {
	t.enqueue = true
	return t.held(ctx, "retrying job", owner, retryJob, id, owner, micros(at), micros(time.Time{}), lastError)
}

// Renew implements [store.JobKeeper].
func (t *tx) Renew(ctx context.Context, id int64, owner string, until time.Time) error {
	return t.held(ctx, "renewing the lease of job", owner, renewJob, id, owner, micros(until))
}

// Park implements [store.JobWriter].
func (t *tx) Park(ctx context.Context, id int64, owner, lastError string) error {
	return t.held(ctx, "parking job", owner, parkJob, id, owner, micros(time.Time{}), lastError)
}

// held runs a statement that changes the one job that owner holds.
func (t *tx) held(ctx context.Context, op, owner, query string, args ...any) error {
	n, err := t.exec(ctx, op, query, args...)
	if err == nil && n == 0 {
		err = dossier.Errorf(dossier.KindConflict, op, "", owner+" no longer holds it")
	}
	return err
}

// Notify implements [store.JobWriter].
func (t *tx) Notify(ctx context.Context, topic string, body []byte) error {
	_, err := t.exec(ctx, "adding notice", insertNotice, topic, body, micros(t.now))
	return err
}

// Forget implements [store.JobWriter].
func (t *tx) Forget(ctx context.Context, ids []int64) error {
	for _, id := range ids {
		if _, err := t.exec(ctx, "removing notice", forgetNotices, id); err != nil {
			return err
		}
	}
	return nil
}

// Jobs implements [store.JobReader].
func (r reader) Jobs(ctx context.Context, kind string, jobKeys []string, limit int) ([]store.Job, error) {
	list, err := keys(jobKeys)
	if err != nil {
		return nil, err
	}
	return all(ctx, r.session, "reading jobs", scanJob, jobsOfKind, kind, list, list, max(0, limit))
}

// CountJobs implements [store.JobReader]. Order: by kind and state.
func (r reader) CountJobs(ctx context.Context) ([]store.JobCount, error) {
	return all(ctx, r.session, "counting jobs", func(row scanner, c *store.JobCount) error {
		return row.Scan(&c.Kind, &c.State, &c.N)
	}, countJobs)
}

// Notices implements [store.JobReader].
func (r reader) Notices(ctx context.Context, after int64, limit int) ([]store.Notice, error) {
	return all(ctx, r.session, "reading notices", func(row scanner, n *store.Notice) error {
		var at int64
		if err := row.Scan(&n.ID, &n.Topic, &n.Body, &at); err != nil {
			return err
		}
		n.At = instant(at)
		if len(n.Body) == 0 {
			n.Body = nil
		}
		return nil
	}, noticesAfter, after, max(0, limit))
}
