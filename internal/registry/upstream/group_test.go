// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry/upstream"
)

func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g upstream.Group[int]
		var calls atomic.Int32
		release := make(chan struct{})
		f := func(ctx context.Context) (int, error) {
			n := calls.Add(1)
			select {
			case <-release:
				return int(n), nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		var all sync.WaitGroup
		ask := func(ctx context.Context, key string, want int, wantErr error) {
			all.Go(func() {
				if got, err := g.Do(ctx, key, f); got != want || !errors.Is(err, wantErr) {
					t.Errorf("%s: %d, %v, want %d, %v", key, got, err, want, wantErr)
				}
			})
			synctest.Wait()
		}
		hasty, leave := context.WithCancel(t.Context())
		ask(hasty, "a", 0, context.Canceled) // who begins does not own it
		for range 9 {
			ask(t.Context(), "a", 1, nil)
		}
		alone, leaveAlone := context.WithCancel(t.Context())
		ask(alone, "b", 0, context.Canceled)
		leave()
		leaveAlone() // nobody waits for b any more
		synctest.Wait()
		ask(t.Context(), "b", 3, nil)
		close(release)
		all.Wait()
		if calls.Load() != 3 {
			t.Errorf("%d calls, want 3", calls.Load())
		}
		if _, err := g.Do(t.Context(), "c", func(context.Context) (int, error) { panic("oh") }); dossier.KindOf(err) != dossier.KindInternal {
			t.Errorf("panic: %v", err)
		}
		release = make(chan struct{})
		ask(t.Context(), "d", 0, context.Canceled)
		g.Close()
		all.Wait()
		if _, err := g.Do(t.Context(), "e", f); dossier.KindOf(err) != dossier.KindUnavailable {
			t.Errorf("closed: %v", err)
		}
	})
}
