// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package load asks at a constant rate and sorts what it took.
//
// It promises an open loop: a request begins when its time has come, whether
// earlier ones were answered or not, and its latency counts from that time, so
// that a server that stalls cannot hide it. It does not know what is asked.
package load

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Sample is the latencies of a run.
type Sample struct {
	sorted []time.Duration
	Failed int
	First  error // of those that failed
}

// Add adds the latency of a request, or that it failed.
func (s *Sample) Add(d time.Duration, err error) {
	if err != nil {
		s.Failed++
		if s.First == nil {
			s.First = err
		}
		return
	}
	i, _ := slices.BinarySearch(s.sorted, d)
	s.sorted = slices.Insert(s.sorted, i, d)
}

// N is how many succeeded.
func (s *Sample) N() int { return len(s.sorted) }

// Quantile returns the least latency that a part q of all, from 0 to 1, does not
// exceed; 0 when there is none.
func (s *Sample) Quantile(q float64) time.Duration {
	if len(s.sorted) == 0 {
		return 0
	}
	i := int(q*float64(len(s.sorted))+0.999999) - 1
	return s.sorted[min(max(i, 0), len(s.sorted)-1)]
}

// Mean returns the mean latency; 0 when there is none.
func (s *Sample) Mean() time.Duration {
	var sum time.Duration
	for _, d := range s.sorted {
		sum += d
	}
	return sum / time.Duration(max(1, len(s.sorted)))
}

// String shows median, 99th of a hundred and the worst.
func (s *Sample) String() string {
	text := fmt.Sprintf("p50 %s  p99 %s  max %s  of %d", Short(s.Quantile(0.5)), Short(s.Quantile(0.99)), Short(s.Quantile(1)), s.N())
	if s.Failed > 0 {
		text += fmt.Sprintf(", %d FAILED: %v", s.Failed, s.First)
	}
	return text
}

// Short writes a duration with three digits.
func Short(d time.Duration) string {
	switch {
	case d >= 100*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.2f ms", float64(d)/1e6)
}

// Constant calls f rate times a second for a while, each call in its own
// goroutine, and returns when all have. The number of the call is given to f.
func Constant(ctx context.Context, rate int, d time.Duration, f func(ctx context.Context, i int) error) *Sample {
	var (
		mu sync.Mutex
		wg sync.WaitGroup
		s  = &Sample{}
	)
	begin := time.Now()
	for i := range int(float64(rate) * d.Seconds()) {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			err := f(ctx, i)
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			s.Add(took, err)
		})
	}
	wg.Wait()
	return s
}
