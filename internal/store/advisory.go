// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"iter"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
)

// Feed is a feed of advisories that is kept.
type Feed struct {
	dossier.Feed
	Source    string    // where it comes from, for people
	ChangedAt time.Time // of Serial
	State     []byte    // what its fetcher wants to remember; nil: nothing
}

// Advisory is an advisory with its exact bytes.
type Advisory struct {
	dossier.Advisory
	Bytes []byte // nil: what is kept under its ID, if anything, stays as it is
}

// FeedUpdate is what is new in a feed.
type FeedUpdate struct {
	Feed   string
	Source string
	AsOf   time.Time // when it was read
	// Whole says that Records are all there are: what is kept and not among them
	// was removed.
	Whole   bool
	Records iter.Seq2[Advisory, error]
	// State returns what the fetcher wants to remember; it is called after the
	// last of Records. nil: nothing.
	State func() ([]byte, error)
	// MayShrink is by how much of its records, or of those that are not withdrawn,
	// a feed may shrink at once, 0 to 1.
	MayShrink float64
}

// FeedChange is what an update changed.
type FeedChange struct {
	Feed
	Added, Changed, Removed int
}

// AdvisoryQuery asks for advisories. Either Keys or Names must be given.
type AdvisoryQuery struct {
	Keys  []match.Key // those found under one of them
	Names []string    // those that have one of these names, their own or a vulnerability's
	At    time.Time   // with what was known then; zero: now
}

// AdvisoryPosition is a place in the order in which versions of advisories became
// known or ceased to be.
type AdvisoryPosition struct{ Serial, Version int64 }

// AdvisoryChange is that a version of an advisory became known, or ceased to be.
type AdvisoryChange struct {
	AdvisoryPosition
	Feed, ID string
	Gone     bool        // it ceased to be the current one
	Keys     []match.Key // under which it is found
	Names    []string    // as AdvisoryQuery.Names; in order
}

// AdvisoryReader reads advisories.
type AdvisoryReader interface {
	// Feeds returns all feeds, by name.
	Feeds(ctx context.Context) ([]Feed, error)
	// CoveringFeeds returns the feeds that have advisories for each of the
	// ecosystems (match.NormalEcosystem), by name.
	CoveringFeeds(ctx context.Context, ecosystems []string) (map[string][]Feed, error)
	// Advisories returns what was asked for, by ID, with the feed that has each,
	// and with those of their entries that are under Keys, if there are any. The same bytes
	// in several feeds are one.
	Advisories(ctx context.Context, q AdvisoryQuery) ([]dossier.Advisory, error)
	// AdvisoryBytes returns the exact bytes of an advisory. KindNotFound: there is
	// none with that digest.
	AdvisoryBytes(ctx context.Context, sha256 dossier.Digest) ([]byte, error)
	// AdvisoryChanges returns up to limit changes after a position, in order.
	AdvisoryChanges(ctx context.Context, after AdvisoryPosition, limit int) ([]AdvisoryChange, error)
	// CountAdvisories returns how many of the IDs a feed has.
	CountAdvisories(ctx context.Context, feed string, ids []string) (int, error)
	// Exploits returns what is known of the exploitation of vulnerabilities, by
	// name.
	Exploits(ctx context.Context, names []string) (map[string]dossier.Exploit, error)
}

// EcosystemReader reads what feeds are for.
type EcosystemReader interface {
	// FeedEcosystems returns for which ecosystems (match.NormalEcosystem) each feed
	// has advisories, by feed.
	FeedEcosystems(ctx context.Context) (map[string][]string, error)
	// FeedDigest returns what names all advisories that a feed had at a serial: the SHA-256 of
	// a line "dossier/feed/v1" and one for each advisory, in the order of IDs, with its ID as a JSON
	// string and the digest of its bytes. KindNotFound: there is no such feed.
	FeedDigest(ctx context.Context, feed string, serial int64) (dossier.Digest, error)
}

// AdvisoryWriter writes advisories.
type AdvisoryWriter interface {
	// PutAdvisories applies an update. Versions that are replaced or removed stay,
	// for questions about the past. Records are read once each time the
	// transaction runs. It returns their errors; KindConflict: the feed would
	// shrink by more than it may.
	PutAdvisories(ctx context.Context, u FeedUpdate) (FeedChange, error)
	// TouchFeed says that a feed was found to be current at a time, and what its
	// fetcher wants to remember. KindNotFound: there is no such feed.
	TouchFeed(ctx context.Context, name string, asOf time.Time, state []byte) error
	// RemoveFeed forgets a feed; its advisories cease to be known.
	// KindNotFound: there is no such feed.
	RemoveFeed(ctx context.Context, name string) error
	// PutExploited replaces since when vulnerabilities are known to be exploited.
	PutExploited(ctx context.Context, since map[string]time.Time) error
	// PutLikelihoods replaces how likely it is that vulnerabilities are exploited.
	PutLikelihoods(ctx context.Context, list map[string]dossier.Exploit) error
}
