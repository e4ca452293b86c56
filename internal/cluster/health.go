// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"sync"
	"time"
)

// Health says how well a Live hears from its cluster.
type Health struct {
	Synced      bool      // Watch has told the whole state at least once, and still runs
	LastContact time.Time // of the last list, or message of a watch; zero: never
	LastError   error     // since the last contact; nil: none
	LastErrorAt time.Time
}

// Health returns the present state. A quiet watch is heard from about once a
// minute.
func (l *Live) Health() Health {
	l.health.mu.Lock()
	defer l.health.mu.Unlock()
	return l.health.Health
}

// health guards a Health.
type health struct {
	mu sync.Mutex
	Health
}

func (h *health) ok(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.LastContact, h.LastError, h.LastErrorAt = at, nil, time.Time{}
}

func (h *health) failed(err error, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.LastError, h.LastErrorAt = err, at
}

func (h *health) synced(is bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Synced = is
}
