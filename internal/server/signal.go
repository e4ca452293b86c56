// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"sync"

	"dossier.dev/dossier/internal/store"
)

// signal tells any number of waiters that something was written.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

func newSignal() *signal { return &signal{ch: make(chan struct{})} }

// next returns a channel that is closed at the next write.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ch
}

func (s *signal) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ch)
	s.ch = make(chan struct{})
}

// signalling is a store whose writes raise a signal.
type signalling struct {
	store.Store
	changed *signal
}

// Update implements store.Store.
func (s signalling) Update(ctx context.Context, f func(store.Tx) error) error {
	return s.after(s.Store.Update(ctx, f))
}

// UpdateSoon implements store.Store.
func (s signalling) UpdateSoon(ctx context.Context, f func(store.Tx) error) error {
	return s.after(s.Store.UpdateSoon(ctx, f))
}

// after raises the signal unless a write failed.
func (s signalling) after(err error) error {
	if err == nil {
		s.changed.raise()
	}
	return err
}
