// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package ingest turns what happens outside into facts: pods that appear,
// images that nobody has read yet, tags that may have moved.
//
// Whatever is to be done is a job in the database, made in the transaction of
// the facts that ask for it and removed in the transaction of the facts that it
// gave. So a process may die at any point: nothing acknowledged is lost, and
// what is done twice changes nothing. Events are hints; a full list
// ([Ingest.Apply]) closes every gap that lost events left.
//
// The package reaches the outside only through the functions in [Config]. It
// judges nothing, and apart from the registry it is the only writer of facts.
package ingest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/trust"
)

// Images reads images. image.Client is one.
type Images interface {
	// Resolve returns what a reference points at now.
	// KindNotFound: nothing. KindUnavailable: try later.
	Resolve(ctx context.Context, ref string) (image.Descriptor, error)
	// Read reads manifests and configurations and checks every digest.
	// KindCorrupt, KindLimit, KindUnsupported: it will not get better.
	Read(ctx context.Context, ref string, opt image.ReadOptions) (*image.Tree, error)
}

// Config is what an Ingest works with. Store and Images are required.
type Config struct {
	Store  store.Store
	Images Images
	Layer  LayerReader // nil: layers are not read
	// Artifacts opens what is attached to images; nil: that is not read.
	Artifacts ArtifactReader
	// Signed is called in the transaction that records what is signed about an image or an
	// index, with the reference by which it was read; nil: nobody wants to know.
	Signed func(ctx context.Context, tx store.Tx, ref string, on dossier.Digest, evidence []trust.Evidence) error
	Logger *slog.Logger
	Now    func() time.Time

	Workers  int           // jobs done at a time; 0: DefaultWorkers
	Readers  int           // layers read at a time, beside those; 0: DefaultReaders
	Lease    time.Duration // how long a dead worker holds a job; 0: DefaultLease
	TagFresh time.Duration // a tag checked this recently is not checked again; 0: DefaultTagFresh
	// Revive lets jobs that were parked run again when something asks for them
	// anew. A command that a person typed does; a loop does not.
	Revive bool
}

// Defaults of Config.
const (
	DefaultWorkers  = 24
	DefaultReaders  = 2
	DefaultLease    = 90 * time.Second
	DefaultTagFresh = 15 * time.Minute
)

// Ingest does the work. Its methods may be called from several goroutines.
type Ingest struct {
	Config
	owner string
}

// New returns an Ingest with defaults filled in.
func New(c Config) *Ingest {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Workers == 0 {
		c.Workers = DefaultWorkers
	}
	if c.Readers == 0 {
		c.Readers = DefaultReaders
	}
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	if c.TagFresh == 0 {
		c.TagFresh = DefaultTagFresh
	}
	return &Ingest{Config: c, owner: rand.Text()}
}

func (g *Ingest) now() time.Time { return dossier.Instant(g.Now()) }
