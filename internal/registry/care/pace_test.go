// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"context"
	"testing"
	"time"
)

// TestPace reads at a rate, by a clock that goes on only while it waits: however
// much time was not used before, no more than the rate is read afterwards.
func TestPace(t *testing.T) {
	now := time.Unix(1000, 0)
	p := pace{rate: 1000, now: func() time.Time { return now }, sleep: func(_ context.Context, d time.Duration) error {
		now = now.Add(d)
		return nil
	}}
	for range 3 {
		begin := now
		for range 50 {
			if err := p.took(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
		}
		if took := now.Sub(begin); took < 5*time.Second-paceSlack || took > 5*time.Second+paceSlack {
			t.Errorf("5000 bytes at 1000 a second took %v", took)
		}
		now = now.Add(time.Hour) // nothing is read
	}
	failed := context.Canceled
	p.sleep = func(context.Context, time.Duration) error { return failed }
	if err := p.took(t.Context(), 100_000); err != failed {
		t.Errorf("error %v, want that of the sleep", err)
	}
}
