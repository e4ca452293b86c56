// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// lane is the traffic with one host.
type lane struct {
	slots chan struct{} // one for each request that waits for an answer

	mu    sync.Mutex
	until time.Time // the host wants no request before
	used  HostUsage
}

func (l *lane) count(ctx context.Context) {
	tallyOf(ctx).requests.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used.Requests++
}

// heard keeps what the host says of its rate limits.
func (l *lane) heard(h http.Header) {
	limit, remaining := h.Get("RateLimit-Limit"), h.Get("RateLimit-Remaining")
	if limit == "" && remaining == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used.Limit = cmp.Or(limit, l.used.Limit)
	l.used.Remaining = cmp.Or(remaining, l.used.Remaining)
}

// hold keeps all requests back until a time.
func (l *lane) hold(until time.Time, throttled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.until) {
		l.until = until
	}
	if throttled {
		l.used.Throttled++
	}
}

func (l *lane) heldUntil() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

func (l *lane) waited(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used.Waited += d
}

func (l *lane) usage() HostUsage {
	l.mu.Lock()
	defer l.mu.Unlock()
	used := l.used
	used.Until = l.until
	return used
}

// counted counts the bytes of a body.
type counted struct {
	io.ReadCloser
	lane  *lane
	tally *Tally
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.tally.bytes.Add(int64(n))
	c.lane.mu.Lock()
	c.lane.used.Bytes += int64(n)
	c.lane.mu.Unlock()
	return n, err
}
