// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package load_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"dossier.dev/dossier/bench/load"
)

func TestQuantile(t *testing.T) {
	tests := []struct {
		n    int
		q    float64
		want time.Duration
	}{
		{0, 0.5, 0}, {1, 0, 1}, {1, 0.99, 1}, {100, 0.5, 50}, {100, 0.99, 99}, {100, 1, 100}, {1000, 0.99, 990}, {101, 0.99, 100}, {3, 0.5, 2},
	}
	for _, test := range tests {
		var s load.Sample
		for i := range test.n {
			s.Add(time.Duration((i*7919)%test.n+1), nil) // in no order
		}
		if got := s.Quantile(test.q); got != test.want {
			t.Errorf("quantile %v of 1 to %d: got %d, want %d", test.q, test.n, got, test.want)
		}
	}
}

// TestConstant: a server that stalls for a second is charged for the requests
// that came meanwhile.
func TestConstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		stalled := errors.New("stalled")
		s := load.Constant(t.Context(), 100, 3*time.Second, func(_ context.Context, i int) error {
			if i == 0 {
				return stalled
			}
			if end := begin.Add(2 * time.Second); time.Since(begin) >= time.Second && time.Until(end) > 0 {
				time.Sleep(time.Until(end))
			}
			return nil
		})
		if s.N() != 299 || s.Failed != 1 || s.First != stalled {
			t.Errorf("%d succeeded, %d failed with %v", s.N(), s.Failed, s.First)
		}
		if got := s.Quantile(1); got != time.Second {
			t.Errorf("the worst took %v, want 1s", got)
		}
		if got := s.Quantile(0.5); got != 0 {
			t.Errorf("the median took %v, want 0s", got)
		}
	})
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1234 * time.Microsecond: "1.23 ms", 56789 * time.Microsecond: "56.8 ms", 567 * time.Millisecond: "567 ms",
		5678 * time.Millisecond: "5.68 s", 56789 * time.Millisecond: "56.8 s", 567 * time.Second: "567 s",
	} {
		if got := load.Short(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
