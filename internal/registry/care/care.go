// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry/small"
	"dossier.dev/dossier/internal/store"
)

// Defaults of the policy.
const (
	DefaultLease     = 24 * time.Hour
	DefaultDelay     = time.Hour
	DefaultEvery     = 5 * time.Minute
	DefaultReconcile = 6 * time.Hour
	DefaultListAge   = time.Hour
)

// By is who deletes, in tombstones.
const By = "gc"

// Config is what a Collector works with. Store is required.
type Config struct {
	Store  store.Store
	Blobs  blob.Store // nil: bytes are left to a collector that has them
	Policy config.Care
	// Pulled says when an image was last pulled from a repository; ok is false when
	// nobody can say. nil: nobody can.
	Pulled func(ctx context.Context, path string, d dossier.Digest) (at time.Time, ok bool, err error)
	// Registry is what the registry is called, in events.
	Registry string
	// Restore gets a damaged blob from the upstream of a mirror again. nil: nobody can.
	Restore func(ctx context.Context, path string, d dossier.Digest) error
	// Scrubbed is told of every blob that was checked: its damage before, and now.
	// nil: nobody is.
	Scrubbed func(was, damage string)
	// Observe is told of every collection. nil: nobody is.
	Observe func(dossier.CollectionCounts)

	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now
}

// Collector takes away what nothing needs. Its methods may be called from
// several goroutines, and there may be several in any number of processes.
type Collector struct {
	config Config
	rules  rules
	owner  string // of jobs
}

// New returns a Collector. Errors: those of Validate.
func New(c Config) (*Collector, error) {
	rules, err := compile(c.Policy)
	if err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Blobs != nil {
		c.Blobs = small.Over(c.Blobs, c.Store)
	}
	p := &c.Policy
	p.Lease = cmp.Or(p.Lease, DefaultLease)
	p.Delay = cmp.Or(p.Delay, DefaultDelay)
	p.Every = cmp.Or(p.Every, DefaultEvery)
	p.Reconcile = cmp.Or(p.Reconcile, DefaultReconcile)
	p.ListAge = cmp.Or(p.ListAge, DefaultListAge)
	p.Scrub.Rate = cmp.Or(p.Scrub.Rate, DefaultScrubRate)
	p.Scrub.Age = cmp.Or(p.Scrub.Age, DefaultScrubAge)
	return &Collector{config: c, rules: rules, owner: "care " + rand.Text()}, nil
}

// Validate returns all that is wrong with a policy as one joined error, each a
// KindInvalid.
func Validate(p config.Care) error {
	_, err := compile(p)
	return err
}

func (c *Collector) now() time.Time { return dossier.Instant(c.config.Now()) }
