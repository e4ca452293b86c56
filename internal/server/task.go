// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Pauses between two tries of a task that failed.
const (
	firstPause = time.Second
	maxPause   = time.Minute
)

// task is background work that goes on until it is told to end, whatever fails.
type task struct {
	name string
	log  *slog.Logger

	mu  sync.Mutex
	err error // why it does not run now; nil: it does
}

// keep runs f until ctx ends, and again after a pause each time it fails. It is
// for f to say, by set(nil), that all is well again.
func (t *task) keep(ctx context.Context, f func(context.Context) error) error {
	pause := firstPause
	for {
		begin := time.Now()
		err := f(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		t.set(err)
		if time.Since(begin) > maxPause {
			pause = firstPause // it had run well
		}
		wait := pause/2 + rand.N(pause/2) // many servers do not come back at once
		t.log.WarnContext(ctx, "background work failed and is tried again", "task", t.name, "error", err, "pause", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, maxPause)
	}
}

func (t *task) set(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

// ready returns why the task does not run, or nil.
func (t *task) ready(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}
