// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// waker tells those who wait for jobs that there may be some.
type waker struct {
	mu     sync.Mutex
	news   bool          // a job was enqueued since the last Lease
	rung   chan struct{} // closed, and replaced, by ring
	latest time.Time     // the latest time for which jobs were leased
}

func newWaker() *waker { return &waker{rung: make(chan struct{})} }

// ring wakes all who wait, and the next one to wait if nobody leases before.
func (w *waker) ring() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.news = true
	close(w.rung)
	w.rung = make(chan struct{})
}

// leased notes that somebody looks for jobs that are due at now.
func (w *waker) leased(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.news = false
	if now.After(w.latest) {
		w.latest = now
	}
}

// listen returns whether there is news already, and else the channel that ring
// will close, with the time up to which jobs were looked for.
func (w *waker) listen() (news bool, rung <-chan struct{}, latest time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.news, w.rung, w.latest
}

// Wait implements [store.Store]. It returns when this process enqueues a job or
// makes one ready again, when a job's time comes or a lease runs out, and after d.
// KindUnavailable: ctx has ended, or the store is closed.
func (s *Store) Wait(ctx context.Context, d time.Duration) error {
	const op = "waiting for jobs"
	news, rung, latest := s.wake.listen()
	if news {
		return nil
	}
	err := s.View(ctx, func(r store.Reader) error {
		due, ok, err := one(ctx, r.(reader).session, op, scanOne[int64], nextJob, micros(latest))
		if ok {
			d = min(d, instant(due).Sub(s.now()))
		}
		return err
	})
	if err != nil {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-rung:
	case <-timer.C:
	case <-s.quit:
		return &dossier.Error{Kind: dossier.KindUnavailable, Op: op, Err: errClosed}
	case <-ctx.Done():
		return engineError(op, "", ctx.Err())
	}
	return nil
}
