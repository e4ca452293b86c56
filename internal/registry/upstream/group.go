// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"dossier.dev/dossier"
)

// Group lets many who want the same at the same time wait for one who gets it.
// The zero value is ready.
type Group[T any] struct {
	mu     sync.Mutex
	closed bool
	calls  map[string]*groupCall[T]
	all    sync.WaitGroup
}

type groupCall[T any] struct {
	waiting int
	cancel  context.CancelFunc
	done    chan struct{}
	value   T
	err     error
}

// Do returns what f returns, which is called once for all who ask for a key at
// the same time. f goes on as long as any of them waits; who has no more time
// leaves. KindUnavailable: the Group is closed.
func (g *Group[T]) Do(ctx context.Context, key string, f func(ctx context.Context) (T, error)) (T, error) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		var none T
		return none, errClosed("asking an upstream", key)
	}
	c, ok := g.calls[key]
	if !ok {
		c = g.start(ctx, key, f)
	}
	c.waiting++
	g.mu.Unlock()
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		g.leave(key, c)
		var none T
		return none, fmt.Errorf("waiting for what others ask for: %w", ctx.Err())
	}
}

// start calls f for a key that nobody asks for. The caller holds the lock.
func (g *Group[T]) start(ctx context.Context, key string, f func(ctx context.Context) (T, error)) *groupCall[T] {
	// It belongs to all who wait, not to the first.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &groupCall[T]{cancel: cancel, done: make(chan struct{})}
	if g.calls == nil {
		g.calls = map[string]*groupCall[T]{}
	}
	g.calls[key] = c
	g.all.Go(func() {
		defer cancel()
		c.value, c.err = guarded(ctx, key, f)
		g.mu.Lock()
		if g.calls[key] == c {
			delete(g.calls, key)
		}
		g.mu.Unlock()
		close(c.done)
	})
	return c
}

// leave ends a call that nobody waits for any more.
func (g *Group[T]) leave(key string, c *groupCall[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.waiting--; c.waiting > 0 {
		return
	}
	if g.calls[key] == c {
		delete(g.calls, key) // who comes now begins anew
	}
	c.cancel()
}

// Close ends all calls and waits for their end.
func (g *Group[T]) Close() {
	g.mu.Lock()
	g.closed = true
	for _, c := range g.calls {
		c.cancel()
	}
	g.mu.Unlock()
	g.all.Wait()
}

// guarded calls f, and makes an error of a panic: one request must not end all
// others.
func guarded[T any](ctx context.Context, subject string, f func(ctx context.Context) (T, error)) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &dossier.Error{Kind: dossier.KindInternal, Op: "asking an upstream", Subject: subject, Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	return f(ctx)
}

func errClosed(op, subject string) error {
	return dossier.Errorf(dossier.KindUnavailable, op, subject, "the server is ending")
}
