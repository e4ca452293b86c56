// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// late is a store that who first uses it opens: opening one takes a command longer than most
// of its questions. It implements [store.Store].
type late struct {
	open func(context.Context) (store.Store, error)

	opening chan struct{} // has one place, for who looks at what follows
	store   store.Store   // nil: it is not open
	closed  bool
}

func newLate(open func(context.Context) (store.Store, error)) *late {
	return &late{open: open, opening: make(chan struct{}, 1)}
}

var errClosed = errors.New("it is closed")

// opened returns the store. When it could not be opened the next call tries again.
func (l *late) opened(ctx context.Context) (store.Store, error) {
	const op = "opening advisories"
	select {
	case l.opening <- struct{}{}:
		defer func() { <-l.opening }()
	case <-ctx.Done():
		return nil, &dossier.Error{Kind: dossier.KindUnavailable, Op: op, Err: ctx.Err()}
	}
	if l.closed {
		return nil, &dossier.Error{Kind: dossier.KindUnavailable, Op: op, Err: errClosed}
	}
	if l.store != nil {
		return l.store, nil
	}
	s, err := l.open(ctx)
	if err == nil {
		l.store = s
	}
	return s, err
}

// View implements store.Store.
func (l *late) View(ctx context.Context, f func(store.Reader) error) error {
	s, err := l.opened(ctx)
	if err != nil {
		return err
	}
	return s.View(ctx, f)
}

// Update implements store.Store.
func (l *late) Update(ctx context.Context, f func(store.Tx) error) error {
	s, err := l.opened(ctx)
	if err != nil {
		return err
	}
	return s.Update(ctx, f)
}

// UpdateSoon implements store.Store.
func (l *late) UpdateSoon(ctx context.Context, f func(store.Tx) error) error {
	s, err := l.opened(ctx)
	if err != nil {
		return err
	}
	return s.UpdateSoon(ctx, f)
}

// Settle implements store.Store.
func (l *late) Settle(ctx context.Context) error {
	s, err := l.opened(ctx)
	if err != nil {
		return err
	}
	return s.Settle(ctx)
}

// Wait implements store.Store.
func (l *late) Wait(ctx context.Context, d time.Duration) error {
	s, err := l.opened(ctx)
	if err != nil {
		return err
	}
	return s.Wait(ctx, d)
}

// Close implements store.Store. What was never opened stays so.
func (l *late) Close() error {
	l.opening <- struct{}{}
	defer func() { <-l.opening }()
	l.closed = true
	if l.store == nil {
		return nil
	}
	return l.store.Close()
}
