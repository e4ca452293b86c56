// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier/internal/store"
)

// Status is how a feed stands.
type Status struct {
	Feed      string    `json:"feed"`
	Source    string    `json:"source"`
	Serial    int64     `json:"serial"`
	Records   int       `json:"records"`
	AsOf      time.Time `json:"asOf"`      // when it was last found to be current
	ChangedAt time.Time `json:"changedAt"` // when something in it last changed
	Stale     bool      `json:"stale"`     // AsOf is longer ago than it may be
}

// StatusList is how all feeds stand.
type StatusList struct {
	At    time.Time `json:"at"`
	Feeds []Status  `json:"feeds"` // by name
}

// Stale returns the names of the feeds that are.
func (l StatusList) Stale() []string {
	var out []string
	for _, f := range l.Feeds {
		if f.Stale {
			out = append(out, f.Feed)
		}
	}
	return out
}

// ReadStatus returns how all feeds stand at a time. Those that were not found to
// be current for longer than maxAge are stale; 0: none is.
func ReadStatus(ctx context.Context, s store.Store, at time.Time, maxAge time.Duration) (StatusList, error) {
	out := StatusList{At: at, Feeds: []Status{}}
	err := s.View(ctx, func(r store.Reader) error {
		feeds, err := r.Feeds(ctx)
		for _, f := range feeds {
			out.Feeds = append(out.Feeds, Status{
				Feed: f.Ecosystem, Source: f.Source, Serial: f.Serial, Records: f.Records, AsOf: f.AsOf, ChangedAt: f.ChangedAt,
				Stale: maxAge > 0 && at.Sub(f.AsOf) > maxAge,
			})
		}
		return err
	})
	slices.SortFunc(out.Feeds, func(a, b Status) int { return strings.Compare(a.Feed, b.Feed) })
	return out, err
}
