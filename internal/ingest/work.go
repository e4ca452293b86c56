// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
)

// The kinds of job.
const (
	JobRead     = "image.read"       // read an image: readPayload
	JobTag      = "image.tag"        // see where a tag points: tagPayload
	JobLayer    = "layer.contents"   // read what a layer holds: layerPayload
	JobContents = record.JobContents // lay the layers of an image: record.ContentsPayload
	JobBill     = "image.bill"       // read the bills of materials attached to an image: billPayload
)

// QuickKinds returns the kinds of job that ask for little, many of which are
// done at a time.
func QuickKinds() []string { return []string{JobRead, JobTag} }

// LayerKinds returns the kinds of job that read layers and what is attached to
// images, few of which are done at a time.
func LayerKinds() []string { return []string{JobContents, JobLayer, JobBill} }

// Kinds returns all kinds of job in the order in which they follow one another.
func Kinds() []string { return slices.Concat(QuickKinds(), LayerKinds()) }

// Progress tells how far a Drain has come.
type Progress struct {
	Done, Failed int
	Waiting      int // jobs known to be ready or under way
}

// Run does jobs until ctx ends, then waits for those under way. It returns the
// store's error when the store refuses writes.
func (g *Ingest) Run(ctx context.Context) error {
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var crews sync.WaitGroup
	for _, kinds := range [][]string{QuickKinds(), LayerKinds()} {
		crews.Go(func() { stop(g.work(inner, kinds, nil, false)) }) // one that ends ends the other
	}
	crews.Wait()
	if ctx.Err() != nil {
		return nil // it is how Run ends
	}
	return context.Cause(inner)
}

// Drain does jobs of the kinds until none is due, also not in other processes
// that share the database. Jobs that wait for another try are left alone.
// report, if not nil, is called after each job. When ctx ends before, Drain
// returns its error; when the store refuses writes, the store's.
func (g *Ingest) Drain(ctx context.Context, kinds []string, report func(Progress)) error {
	done := Progress{} // by the crew before
	for _, part := range [][]string{QuickKinds(), LayerKinds()} {
		part = slices.DeleteFunc(part, func(k string) bool { return !slices.Contains(kinds, k) })
		if len(part) == 0 {
			continue
		}
		var last Progress
		err := g.work(ctx, part, func(p Progress) {
			last = p
			if report != nil {
				report(Progress{Done: done.Done + p.Done, Failed: done.Failed + p.Failed, Waiting: p.Waiting})
			}
		}, true)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		done.Done, done.Failed = done.Done+last.Done, done.Failed+last.Failed
	}
	return nil
}

// pollInterval is after what time jobs of other processes are noticed.
const pollInterval = time.Second

// crew is the workers of one Run or Drain, and what they have in hand.
type crew struct {
	*Ingest
	kinds   []string
	workers int // jobs done at a time
	report  func(Progress)
	queue   []store.Job  // leased, not begun
	busy    int          // workers with a job
	results chan outcome // one for each job that ends
	news    chan error   // what waiting for jobs gave
	waiting bool         // somebody waits for jobs
	state   Progress
	wg      sync.WaitGroup
}

// outcome is how a job ended.
type outcome struct {
	failed error // why it was not done
	broken error // why the store did not take it back either: to go on would be of no use
}

// work leases jobs ahead of the workers and hands them out, until ctx ends or,
// if so wanted, nothing is left to do. What was not begun is given back.
func (g *Ingest) work(ctx context.Context, kinds []string, report func(Progress), untilIdle bool) error {
	workers := g.Workers
	if slices.Contains(kinds, JobLayer) {
		workers = g.Readers
	}
	c := &crew{Ingest: g, kinds: kinds, workers: workers, report: report, results: make(chan outcome, workers), news: make(chan error, 1)}
	inner, stop := context.WithCancel(ctx) // of the jobs, and of waiting for more
	defer c.wg.Wait()
	defer stop()
	defer func() { c.giveBack(context.WithoutCancel(ctx), c.queue) }()
	for ctx.Err() == nil {
		if len(c.queue) == 0 && c.busy < workers {
			var err error
			if c.queue, err = g.lease(ctx, kinds, 2*workers); err != nil {
				return err
			}
		}
		if len(c.queue) > 0 && c.busy < workers {
			c.begin(inner)
			continue
		}
		if c.busy == 0 && untilIdle {
			if idle, err := g.idle(ctx, kinds); idle || err != nil {
				return err
			}
		}
		if err := c.wait(inner); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// begin hands the next job to a worker. One that has stood in the queue so long
// that its lease may run out under the work is given back.
func (c *crew) begin(ctx context.Context) {
	job := c.queue[0]
	c.queue = c.queue[1:]
	if job.LeasedUntil.Sub(c.now()) < c.Lease/2 {
		c.giveBack(ctx, []store.Job{job})
		return
	}
	c.busy++
	c.wg.Go(func() { c.results <- c.do(ctx, job) })
}

// wait returns when a job has ended or, as long as a worker is free, when there
// may be a new one.
func (c *crew) wait(ctx context.Context) error {
	if c.busy < c.workers && !c.waiting {
		c.waiting = true
		c.wg.Go(func() { c.news <- c.Store.Wait(ctx, pollInterval) })
	}
	select {
	case o := <-c.results:
		c.busy--
		c.count(o.failed == nil)
		return o.broken
	case err := <-c.news:
		c.waiting = false
		return err
	case <-ctx.Done():
	}
	return nil
}

func (c *crew) count(ok bool) {
	if ok {
		c.state.Done++
	} else {
		c.state.Failed++
	}
	c.state.Waiting = len(c.queue) + c.busy
	if c.report != nil {
		c.report(c.state)
	}
}

// maxJobsSeen bounds how many jobs idle looks through.
const maxJobsSeen = 100_000

// idle reports whether no job of the kinds is leased or due.
func (g *Ingest) idle(ctx context.Context, kinds []string) (bool, error) {
	idle := true
	err := g.Store.View(ctx, func(r store.Reader) error {
		idle = true
		counts, err := r.CountJobs(ctx)
		if err != nil {
			return err
		}
		for _, n := range counts {
			if n.State == store.JobLeased && slices.Contains(kinds, n.Kind) {
				idle = false
				return nil
			}
		}
		for _, kind := range kinds {
			jobs, err := r.Jobs(ctx, kind, nil, maxJobsSeen)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(jobs, func(j store.Job) bool { return j.State == store.JobReady && !j.RunAt.After(g.now()) }) {
				idle = false
				return nil
			}
		}
		return nil
	})
	return idle, err
}

// errNoJob ends a transaction that has written nothing.
var errNoJob = errors.New("no job is due")

// lease takes jobs that are due, for more than the free workers: it costs a transaction.
func (g *Ingest) lease(ctx context.Context, kinds []string, n int) ([]store.Job, error) {
	var jobs []store.Job
	err := g.Store.UpdateSoon(ctx, func(tx store.Tx) (err error) {
		if jobs, err = tx.Lease(ctx, g.owner, kinds, n, g.now(), g.Lease); err == nil && len(jobs) == 0 {
			err = errNoJob
		}
		return err
	})
	if errors.Is(err, errNoJob) {
		return nil, nil
	}
	return jobs, err
}

// do does one job. When it fails, do puts the job back, or parks it.
func (g *Ingest) do(ctx context.Context, job store.Job) outcome {
	o := outcome{failed: g.attempt(ctx, job)}
	switch {
	case o.failed == nil:
	case ctx.Err() != nil:
		g.giveBack(context.WithoutCancel(ctx), []store.Job{job})
	default:
		o.broken = g.fail(ctx, job, o.failed)
	}
	return o
}

func (g *Ingest) attempt(ctx context.Context, job store.Job) error {
	if job.Attempts > maxBegun {
		return dossier.Errorf(dossier.KindLimit, "doing job", job.Kind+" "+job.Key,
			fmt.Sprintf("it was begun %d times and never came to an end", job.Attempts-1))
	}
	ctx, cancel := context.WithTimeout(ctx, maxJobTime)
	defer cancel()
	defer g.hold(ctx, cancel, job)()
	var tally image.Tally
	finish, err := g.perform(image.WithTally(ctx, &tally), job)
	g.Logger.InfoContext(ctx, "job done outside", slog.String("kind", job.Kind), slog.String("key", job.Key),
		slog.Int64("requests", tally.Requests()), slog.Int64("bytes", tally.Bytes()), slog.Bool("failed", err != nil))
	if err != nil {
		return err
	}
	// A job whose end is lost comes back, and is done again.
	return g.Store.UpdateSoon(ctx, func(tx store.Tx) error {
		// First, so that the rest may ask for the same job anew, and so that who
		// asked for it meanwhile is waited for.
		if err := tx.Finish(ctx, job.ID, g.owner); err != nil || finish == nil {
			return err
		}
		return finish(tx)
	})
}

// maxJobTime bounds one job: a layer may take long, but not for ever.
const maxJobTime = 45 * time.Minute

// hold renews the lease of a job until the function it returns is called. When
// the lease is lost, it cancels the work: somebody else does it by then.
func (g *Ingest) hold(ctx context.Context, cancel context.CancelFunc, job store.Job) (release func()) {
	ctx, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(g.Lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			err := g.Store.UpdateSoon(ctx, func(tx store.Tx) error {
				return tx.Renew(ctx, job.ID, g.owner, g.now().Add(g.Lease))
			})
			if dossier.KindOf(err) == dossier.KindConflict {
				cancel()
				return
			}
		}
	})
	return func() {
		stop()
		done.Wait()
	}
}

// finisher writes what a job found, in the transaction that finishes the job.
type finisher func(tx store.Tx) error

// perform does the outside part of a job and returns the part that writes.
func (g *Ingest) perform(ctx context.Context, job store.Job) (finisher, error) {
	switch job.Kind {
	case JobRead:
		return performAs(ctx, job, g.read)
	case JobTag:
		return performAs(ctx, job, g.tag)
	case JobLayer:
		return performAs(ctx, job, g.layer)
	case JobContents:
		return performAs(ctx, job, g.contents)
	case JobBill:
		return performAs(ctx, job, g.bills)
	}
	return nil, dossier.Errorf(dossier.KindUnsupported, "doing job", job.Kind, "no worker does this kind")
}

func performAs[P any](ctx context.Context, job store.Job, f func(context.Context, P) (finisher, error)) (finisher, error) {
	var p P
	if err := json.Unmarshal(job.Payload, &p); err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading the payload of job", Subject: job.Kind + " " + job.Key, Err: err}
	}
	return f(ctx, p)
}

func newJob(kind, key string, payload any) store.Job {
	b, _ := json.Marshal(payload) // structs of strings: cannot fail
	return store.Job{Kind: kind, Key: key, Payload: b}
}
