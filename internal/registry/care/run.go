// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// The kinds of job. Whoever leases one does it, in whatever process; what the hints
// of events miss, the next look at everything finds.
const (
	JobReview    = "registry.review"    // look at one repository, whose path is the key
	JobReconcile = "registry.reconcile" // look at everything
)

// Kinds returns the kinds of job.
func Kinds() []string { return []string{JobReview, JobReconcile, JobScrub} }

// collecting are the kinds that Tick does.
func collecting() []string { return []string{JobReview, JobReconcile} }

// Review returns the job that looks at a repository once something there may have
// come to be garbage.
func Review(path string, at time.Time) store.Job {
	return store.Job{Kind: JobReview, Key: path, RunAt: at}
}

// How jobs are done.
const (
	reviewsAtOnce = 32
	minJobLease   = 10 * time.Second
	maxJobLease   = 2 * time.Minute
	retryAfter    = time.Minute
)

// Run does what is due, again and again, until ctx ends. What fails is logged and
// tried again.
func (c *Collector) Run(ctx context.Context) {
	if c.config.Policy.Off {
		return
	}
	for {
		if err := c.Tick(ctx); err != nil && ctx.Err() == nil {
			c.config.Logger.ErrorContext(ctx, "garbage could not be collected", "error", err)
		}
		pause := c.config.Policy.Every
		timer := time.NewTimer(pause - pause/8 + rand.N(pause/4+1)) // many collectors do not look at once
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// Tick does what is due now: reviews, the look at everything when it is time for
// that, and the deletion of condemned bytes.
func (c *Collector) Tick(ctx context.Context) error {
	if err := c.schedule(ctx, JobReconcile); err != nil {
		return err
	}
	p := c.newPass()
	for {
		jobs, err := c.lease(ctx, collecting())
		if err != nil {
			return err
		}
		if len(jobs) == 0 {
			break
		}
		var failed error
		for _, job := range jobs {
			failed = errors.Join(failed, c.do(ctx, p, job))
		}
		if failed != nil {
			return failed
		}
	}
	freed, err := c.purge(ctx)
	p.Counts.Freed += freed
	if c.config.Observe != nil {
		c.config.Observe(p.Counts)
	}
	return err
}

// schedule makes the only job of a kind, when there is none.
func (c *Collector) schedule(ctx context.Context, kind string) error {
	there := false
	err := c.config.Store.View(ctx, func(r store.Reader) error {
		jobs, err := r.Jobs(ctx, kind, nil, 1)
		there = len(jobs) > 0
		return err
	})
	if err != nil || there {
		return err
	}
	return c.config.Store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Enqueue(ctx, store.Job{Kind: kind, RunAt: c.now()})
		return err
	})
}

var errNoJob = errors.New("no job is due")

func (c *Collector) lease(ctx context.Context, kinds []string) (jobs []store.Job, err error) {
	err = c.config.Store.Update(ctx, func(tx store.Tx) (err error) {
		if jobs, err = tx.Lease(ctx, c.owner, kinds, reviewsAtOnce, c.now(), c.jobLease()); err == nil && len(jobs) == 0 {
			err = errNoJob // nothing is written
		}
		return err
	})
	if errors.Is(err, errNoJob) {
		return nil, nil
	}
	return jobs, err
}

// jobLease is for how long a collector that died holds a job. Two that do one at a
// time do no harm.
func (c *Collector) jobLease() time.Duration {
	return min(max(c.config.Policy.Every, minJobLease), maxJobLease)
}

// do does one job. When it fails it is put back.
func (c *Collector) do(ctx context.Context, p *pass, job store.Job) error {
	p.beat = c.beat(job)
	defer func() { p.beat = nil }()
	err := c.perform(ctx, p, job)
	if dossier.KindOf(err) == dossier.KindConflict {
		return nil // somebody else does it by now
	}
	return errors.Join(err, c.putBack(context.WithoutCancel(ctx), job, err, c.now().Add(c.config.Policy.Reconcile)))
}

// putBack ends a job, or lets it be done again: soon after it failed, at a time
// when it never ends.
func (c *Collector) putBack(ctx context.Context, job store.Job, failed error, again time.Time) error {
	err := c.config.Store.Update(ctx, func(tx store.Tx) error {
		switch {
		case failed != nil:
			return tx.Retry(ctx, job.ID, c.owner, failed.Error(), c.now().Add(retryAfter))
		case job.Kind == JobReview:
			return tx.Finish(ctx, job.ID, c.owner)
		}
		return tx.Retry(ctx, job.ID, c.owner, "", again)
	})
	if dossier.KindOf(err) == dossier.KindConflict {
		return nil // somebody else has it
	}
	return err
}

func (c *Collector) perform(ctx context.Context, p *pass, job store.Job) error {
	if job.Kind == JobReconcile {
		if err := p.everything(ctx); err != nil {
			return err
		}
		_, err := c.orphans(ctx)
		return err
	}
	var repo store.Repository
	err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
		repo, err = r.Repository(ctx, job.Key)
		return err
	})
	if dossier.KindOf(err) == dossier.KindNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return p.repository(ctx, repo)
}

// beat returns a function that holds a job longer when it is time to. KindConflict:
// somebody else has it.
func (c *Collector) beat(job store.Job) func(context.Context) error {
	until := job.LeasedUntil
	return func(ctx context.Context) error {
		now := c.now()
		if until.Sub(now) > c.jobLease()/2 {
			return nil
		}
		until = now.Add(c.jobLease())
		return c.config.Store.Update(ctx, func(tx store.Tx) error { return tx.Renew(ctx, job.ID, c.owner, until) })
	}
}
