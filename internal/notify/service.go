// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Defaults of a Service.
const (
	DefaultGather = 10 * time.Second
	defaultPoll   = time.Second
	defaultLease  = time.Minute // twice as long as a request may take, and more
	// lookEvery is how often everything is compared with what was told, whatever
	// notices there were: ignores expire, and files change.
	lookEvery = time.Hour
)

// Service makes events and sends them. Any number may share a database.
type Service struct {
	Outbox
	Store   store.Store
	Targets []*Target
	Base    string // URL of the server; may be empty
	// List returns what is known of the findings of an image. KindNotFound: nothing
	// (yet).
	List   func(ctx context.Context, d dossier.Digest) (dossier.FindingList, error)
	Expiry func(after time.Time) time.Time // when the next ignore ends; zero: none does. May be nil
	Logger *slog.Logger

	Poll    time.Duration // between two looks for work; 0: 1s
	Lease   time.Duration // for which work of who died is nobody's; 0: 1m
	Absence time.Duration // after which it is told that a workload is gone; 0: 2m

	owner string
	mu    sync.Mutex
	sent  map[SentKey]int64
}

// SentKey is one count of requests.
type SentKey struct{ Target, Outcome string }

// Outcomes of requests.
const (
	Delivered = "delivered"
	Failed    = "failed" // and tried again
	Parked    = "parked" // and not tried again
)

// Sent returns how many requests ended how, in this process.
func (s *Service) Sent() map[SentKey]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[SentKey]int64{}
	for _, t := range s.Targets {
		for _, outcome := range []string{Delivered, Failed, Parked} {
			k := SentKey{t.config.Name, outcome}
			out[k] = s.sent[k]
		}
	}
	return out
}

func (s *Service) count(t *Target, outcome string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[SentKey{t.config.Name, outcome}]++
}

func (s *Service) now() time.Time         { return dossier.Instant(s.Now()) }
func (s *Service) poll() time.Duration    { return cmp.Or(s.Poll, defaultPoll) }
func (s *Service) lease() time.Duration   { return cmp.Or(s.Lease, defaultLease) }
func (s *Service) absence() time.Duration { return cmp.Or(s.Absence, absence) }

// Run works until ctx ends. It returns the store's error when that refuses.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.owner == "" {
		s.owner, s.sent = rand.Text(), map[SentKey]int64{}
	}
	s.mu.Unlock()
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	wg.Go(func() { stop(s.keepComposing(inner)) })
	for _, t := range s.Targets {
		wg.Go(func() { stop(s.keepSending(inner, t)) })
	}
	wg.Wait()
	for _, t := range s.Targets {
		t.client.CloseIdleConnections()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return context.Cause(inner)
}

// keepComposing composes what there is until ctx ends.
func (s *Service) keepComposing(ctx context.Context) error {
	var looked time.Time // when everything was compared last
	for {
		if now := s.now(); !now.Before(s.nextLook(looked)) {
			if err := s.look(ctx, now); err != nil {
				return err
			}
			looked = now
		}
		job, ok, err := s.take(ctx, jobCompose)
		if err == nil && ok {
			err = s.compose(ctx, job)
			if err != nil && ctx.Err() == nil && dossier.KindOf(err) != dossier.KindConflict {
				s.Logger.ErrorContext(ctx, "events could not be made and are tried again", "error", err, "attempt", job.Attempts)
				err = s.later(ctx, job, s.now().Add(backoff(job.Attempts)))
			} else if err != nil && ctx.Err() != nil { // this process ends: another need not wait for the lease to
				return errors.Join(ctx.Err(), s.later(context.WithoutCancel(ctx), job, s.now()))
			}
		}
		if err != nil && dossier.KindOf(err) != dossier.KindConflict {
			return err
		}
		if !s.sleep(ctx) {
			return ctx.Err()
		}
	}
}

// look asks to compare everything, and forgets what was given up long ago: until
// something else is given up nobody else does.
func (s *Service) look(ctx context.Context, now time.Time) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.DropParked(ctx, now.Add(-keepParked)); err != nil {
			return err
		}
		return s.All(ctx, tx)
	})
}

// nextLook is when everything is compared again: after lookEvery, or when the next
// ignore ends. That is asked each time, since files of ignores change.
func (s *Service) nextLook(last time.Time) time.Time {
	next := last.Add(lookEvery)
	if s.Expiry == nil || last.IsZero() {
		return next
	}
	if at := s.Expiry(last); !at.IsZero() && at.Before(next) {
		return at
	}
	return next
}

// take leases the job of a kind, if one is due.
func (s *Service) take(ctx context.Context, kind string) (job store.Job, ok bool, err error) {
	now := s.now()
	due := false
	if err := s.Store.View(ctx, func(r store.Reader) error {
		jobs, err := r.Jobs(ctx, kind, nil, 1)
		due = len(jobs) > 0 && (jobs[0].State == store.JobReady && !jobs[0].RunAt.After(now) || jobs[0].State == store.JobLeased && jobs[0].LeasedUntil.Before(now))
		return err
	}); err != nil || !due {
		return job, false, err
	}
	err = s.Store.UpdateSoon(ctx, func(tx store.Tx) error {
		jobs, err := tx.Lease(ctx, s.owner, []string{kind}, 1, now, s.lease())
		if err != nil {
			return err
		}
		if len(jobs) == 0 {
			return errNone
		}
		job = jobs[0]
		return nil
	})
	if errors.Is(err, errNone) {
		return job, false, nil
	}
	return job, err == nil, err
}

// errNone ends a transaction that wrote nothing.
var errNone = errors.New("there is nothing to do")

// later gives a job back until a time.
func (s *Service) later(ctx context.Context, job store.Job, at time.Time) error {
	return s.Store.UpdateSoon(ctx, func(tx store.Tx) error { return tx.Retry(ctx, job.ID, s.owner, "", at) })
}

func (s *Service) sleep(ctx context.Context) bool {
	timer := time.NewTimer(s.poll())
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
