// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"sync/atomic"
	"time"
)

// Usage is what a client used of each host ("host" or "host:port").
type Usage struct {
	Hosts map[string]HostUsage
}

// HostUsage is what a client used of one host.
type HostUsage struct {
	Requests  int64         // sent, tokens and repetitions included
	Bytes     int64         // of bodies received
	Throttled int64         // answers 429
	Waited    time.Duration // sum of the pauses, over all goroutines
	// Limit and Remaining are the RateLimit headers seen last, as sent:
	// "100;w=21600" is 100 in six hours.
	Limit     string
	Remaining string
	Until     time.Time // the host wants no requests before; may be over
}

// Requests returns the sum over all hosts.
func (u Usage) Requests() int64 {
	var n int64
	for _, h := range u.Hosts {
		n += h.Requests
	}
	return n
}

// Tally counts the requests made under a context. It may be read at any time.
type Tally struct {
	requests atomic.Int64
	bytes    atomic.Int64
}

// Requests returns how many requests were sent.
func (t *Tally) Requests() int64 { return t.requests.Load() }

// Bytes returns how many bytes of bodies were received.
func (t *Tally) Bytes() int64 { return t.bytes.Load() }

type tallyKey struct{}

// WithTally returns a context under which t counts. A Tally already there does
// not see them.
func WithTally(ctx context.Context, t *Tally) context.Context {
	return context.WithValue(ctx, tallyKey{}, t)
}

// tallyOf returns the tally of a context; without one, one that nobody reads.
func tallyOf(ctx context.Context) *Tally {
	if t, ok := ctx.Value(tallyKey{}).(*Tally); ok {
		return t
	}
	return &Tally{}
}
