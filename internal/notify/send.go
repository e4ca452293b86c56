// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Pace of tries.
const (
	firstPause    = 5 * time.Second
	maxPause      = 15 * time.Minute
	maxRetryAfter = time.Hour           // however long a receiver asks to wait
	keepParked    = 30 * 24 * time.Hour // for which events that were given up are kept
	sentAtOnce    = 50
)

// backoff is the pause after a number of failures: twice as long each time, and
// between half of that and all of it, so that many do not come back at once.
func backoff(failures int) time.Duration {
	pause := maxPause
	if failures < 10 {
		pause = min(maxPause, firstPause<<max(0, failures-1))
	}
	return pause/2 + rand.N(pause/2)
}

// jobSend is the kind of the job of who sends to a target.
func jobSend(target string) string { return "notify.send:" + target }

// keepSending sends to a target until ctx ends.
func (s *Service) keepSending(ctx context.Context, t *Target) error {
	for {
		if err := s.send(ctx, t); err != nil && dossier.KindOf(err) != dossier.KindConflict {
			return err
		}
		if !s.sleep(ctx) {
			return ctx.Err()
		}
	}
}

// send sends what is due to a target, if nobody else does.
func (s *Service) send(ctx context.Context, t *Target) error {
	var next time.Time
	if err := s.Store.View(ctx, func(r store.Reader) (err error) {
		next, err = r.NextDelivery(ctx, t.config.Name)
		return err
	}); err != nil || next.IsZero() || next.After(s.now()) {
		return err
	}
	kind := jobSend(t.config.Name)
	var job store.Job
	err := s.Store.UpdateSoon(ctx, func(tx store.Tx) error {
		jobs, err := tx.Jobs(ctx, kind, nil, 1)
		if err != nil {
			return err
		}
		// A job that is there says when the target is asked next: to enqueue it once
		// more would have it asked now, for the sake of an event that came since.
		if len(jobs) == 0 {
			if _, err := tx.Enqueue(ctx, store.Job{Kind: kind, RunAt: s.now()}); err != nil {
				return err
			}
		}
		jobs, err = tx.Lease(ctx, s.owner, []string{kind}, 1, s.now(), s.lease())
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
		return nil // another process sends, or the target asked for patience
	}
	if err != nil {
		return err
	}
	err = s.sendAll(ctx, t, job)
	if err != nil && ctx.Err() != nil { // this process ends: another need not wait for the lease to
		err = errors.Join(ctx.Err(), s.later(context.WithoutCancel(ctx), job, s.now()))
	}
	return err
}

// sendAll sends what is due, in order, as long as the target answers.
func (s *Service) sendAll(ctx context.Context, t *Target, job store.Job) error {
	for {
		var due []store.Delivery
		if err := s.Store.View(ctx, func(r store.Reader) (err error) {
			due, err = r.Deliveries(ctx, t.config.Name, s.now(), sentAtOnce)
			return err
		}); err != nil {
			return err
		}
		if len(due) == 0 {
			return s.Store.UpdateSoon(ctx, func(tx store.Tx) error { return tx.Finish(ctx, job.ID, s.owner) })
		}
		for _, d := range due {
			a := s.post(ctx, t, d)
			if ctx.Err() != nil && a.err != nil { // it was broken off, or never begun
				return ctx.Err()
			}
			down, err := s.note(context.WithoutCancel(ctx), t, job, d, a)
			if err != nil || down {
				return err
			}
		}
	}
}

// answer is how a request ended.
type answer struct {
	err   error         // nil: the event was taken
	down  bool          // the target takes nothing now; else it is this event that it refuses
	after time.Duration // that it asks to wait
}

// note writes down how a request ended. down reports that the target is to be left
// alone for some time.
func (s *Service) note(ctx context.Context, t *Target, job store.Job, d store.Delivery, a answer) (down bool, err error) {
	now := s.now()
	outcome := Delivered
	if a.err != nil {
		outcome = Failed
		d.Attempts++
		d.LastError = a.err.Error()
		d.RunAt = now.Add(max(backoff(d.Attempts), a.after))
		if now.Sub(d.At) >= cmp.Or(t.config.GiveUp, defaultGiveUp) {
			d.Parked, outcome = true, Parked
		}
	}
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.Renew(ctx, job.ID, s.owner, now.Add(s.lease())); err != nil {
			return err
		}
		if a.err == nil {
			return tx.DropDelivery(ctx, d.ID)
		}
		if err := tx.PutDelivery(ctx, d); err != nil {
			return err
		}
		if d.Parked {
			if _, err := tx.DropParked(ctx, now.Add(-keepParked)); err != nil {
				return err
			}
		}
		if a.down && !d.Parked {
			return tx.Retry(ctx, job.ID, s.owner, d.LastError, d.RunAt)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	s.count(t, outcome)
	switch outcome {
	case Failed:
		s.Logger.WarnContext(ctx, "an event was not taken and is sent again", "target", t.config.Name, "event", d.Event, "error", a.err, "attempts", d.Attempts, "again", d.RunAt)
	case Parked:
		s.Logger.ErrorContext(ctx, "an event was given up", "target", t.config.Name, "event", d.Event, "error", a.err, "attempts", d.Attempts, "since", d.At)
	}
	return a.down && !d.Parked, nil
}

// post sends an event once.
func (s *Service) post(ctx context.Context, t *Target, d store.Delivery) answer {
	keys, err := t.keys()
	if err != nil {
		return answer{err: err, down: true}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.config.URL, bytes.NewReader(d.Body))
	if err != nil {
		return answer{err: err, down: true}
	}
	at := s.Now()
	r.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	r.Header.Set("User-Agent", "dossier")
	r.Header.Set(HeaderID, d.Event)
	r.Header.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	r.Header.Set(HeaderSignature, Sign(keys, d.Event, at, d.Body))
	resp, err := t.client.Do(r)
	if err != nil {
		return answer{err: unsent(err, t.client.Timeout), down: true}
	}
	// Read so that the connection can be used again; whatever becomes of it, the status counts.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply))
	_ = resp.Body.Close()
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode <= 299:
		return answer{} // whatever became of the rest of the answer
	case resp.StatusCode >= 300 && resp.StatusCode <= 399:
		err = fmt.Errorf("%s: redirects are not followed: write where they lead into the configuration", resp.Status)
	default:
		err = errors.New(resp.Status)
	}
	return answer{err: err, after: retryAfter(resp.Header.Get("Retry-After"), at), down: resp.StatusCode >= 500 || resp.StatusCode < 400 ||
		slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests}, resp.StatusCode)}
}

// unsent says why a request was not answered, and what to do where that is for the
// configuration to mend. The URL is left out: who knows that of a chat's hook may
// write there.
func unsent(err error, patience time.Duration) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &authority):
		return fmt.Errorf("%w: if the target's certificate comes from an authority of your own, name a file with that in ca", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v", patience)
	}
	return err
}

// retryAfter reads the header of that name (RFC 9110, section 10.2.3).
func retryAfter(text string, now time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.Atoi(text); err == nil || errors.Is(err, strconv.ErrRange) { // which gives the nearest number
		wait = time.Duration(min(max(seconds, 0), int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
