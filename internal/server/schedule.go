// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/advisory"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/feed"
	"dossier.dev/dossier/internal/store"
)

// Pace of updates of advisories.
const (
	feedEvery    = time.Hour       // unless told otherwise
	minFeedEvery = time.Minute     // more often is no use to anybody
	feedRetry    = 5 * time.Minute // after an update that failed
)

// feedSchedule updates feeds of advisories from time to time.
type feedSchedule struct {
	engine *Engine
	config config.Advisories
	failed map[string]time.Time // when the last update of an ecosystem failed
}

// validateAdvisories finds faults in where advisories come from.
func (c ServeConfig) validateAdvisories(fault func(subject, why, hint string)) {
	a := c.Advisories
	switch {
	case a.Base == "" && len(a.Ecosystems) > 0:
		fault("advisories.ecosystems", "nothing says where they are fetched from", "give advisories.base, such as "+AdvisoryBase)
	case a.Base != "" && len(a.Ecosystems) == 0:
		fault("advisories.base", "nothing says which ecosystems are fetched", "give advisories.ecosystems, such as [Debian, Alpine, Go, npm]")
	case a.Base != "" && c.Offline && strings.HasPrefix(a.Base, "http"):
		fault("advisories.base", "it lies on the network, which offline forbids", "give a directory, or leave it out and import files")
	}
	if a.Every != 0 && a.Every < minFeedEvery {
		fault("advisories.every", "it is shorter than a minute", "write a time such as 1h")
	}
	if a.MaxAge < 0 {
		fault("advisories.maxAge", "it is negative", "write a time such as 72h")
	}
}

// run updates what is due until ctx ends. When that is, the store tells: a server
// that begins does not fetch what another, or it itself before, has just fetched.
func (s *feedSchedule) run(ctx context.Context) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = time.Minute
	defer transport.CloseIdleConnections()
	feeds := Feeds{feed.Keeper{
		Store: s.engine.advisories, Now: s.engine.config.Now,
		Fetcher: advisory.Fetcher{Dir: s.engine.config.Data, Client: &http.Client{Transport: transport}},
	}, s.engine.config}
	if err := feeds.From(s.config.Base); err != nil {
		s.engine.config.Logger.ErrorContext(ctx, "advisories are not updated", "error", err)
		return
	}
	for ctx.Err() == nil {
		next := s.updateDue(ctx, &feeds)
		timer := time.NewTimer(next + rand.N(next/8+1)) // many servers do not fetch at once
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// updateDue updates the feeds that are due, and returns after what time the next
// one is.
func (s *feedSchedule) updateDue(ctx context.Context, feeds *Feeds) time.Duration {
	every := cmp.Or(s.config.Every, feedEvery)
	next := every
	for _, ecosystem := range s.config.Ecosystems {
		wait, err := s.due(ctx, ecosystem, every)
		if err == nil && wait <= 0 {
			wait, err = every, s.update(ctx, feeds, ecosystem)
		}
		if err != nil {
			if ctx.Err() != nil {
				return next
			}
			s.failed[ecosystem] = s.engine.config.Now()
			wait = min(every, feedRetry)
			s.engine.config.Logger.ErrorContext(ctx, "advisories could not be updated", "feed", ecosystem, "error", err, "hint", dossier.HintOf(err), "again", wait)
		}
		next = min(next, wait)
	}
	s.warnOfAge(ctx)
	return max(next, time.Second)
}

// due returns after what time a feed is to be updated: at once, 0 or less.
func (s *feedSchedule) due(ctx context.Context, ecosystem string, every time.Duration) (time.Duration, error) {
	now := s.engine.config.Now()
	wait := time.Duration(0)
	err := s.engine.advisories.View(ctx, func(r store.Reader) error {
		wait = 0
		feeds, err := r.Feeds(ctx)
		for _, f := range feeds {
			if f.Ecosystem == ecosystem {
				wait = f.AsOf.Add(every).Sub(now)
			}
		}
		return err
	})
	if at, ok := s.failed[ecosystem]; ok {
		wait = max(wait, at.Add(min(every, feedRetry)).Sub(now))
	}
	return wait, err
}

func (s *feedSchedule) update(ctx context.Context, feeds *Feeds, ecosystem string) error {
	r, err := feeds.Update(ctx, ecosystem)
	if err != nil {
		return err
	}
	delete(s.failed, ecosystem)
	log := s.engine.config.Logger
	for _, refused := range r.Refused {
		log.WarnContext(ctx, "an advisory was refused", "feed", ecosystem, "advisory", refused.Name, "why", refused.Why)
	}
	log.InfoContext(ctx, "advisories are up to date", "feed", ecosystem, "serial", r.Feed.Serial, "advisories", r.Feed.Records,
		"added", r.Added, "changed", r.Changed, "removed", r.Removed)
	return nil
}

// warnOfAge says which feeds are older than they may be.
func (s *feedSchedule) warnOfAge(ctx context.Context) {
	list, err := feed.ReadStatus(ctx, s.engine.advisories, dossier.Instant(s.engine.config.Now()), s.engine.maxFeedAge())
	if stale := list.Stale(); err == nil && len(stale) > 0 {
		s.engine.config.Logger.WarnContext(ctx, "advisories are old", "feeds", strings.Join(stale, ", "),
			"error", errors.New("they were not found to be current for longer than "+s.engine.maxFeedAge().String()))
	}
}
