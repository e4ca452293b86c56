// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/advisory"
	"dossier.dev/dossier/internal/feed"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

// AdvisoryFile is the name of the embedded database of advisories within
// Config.Data. It is apart from DatabaseFile because it can be fetched again.
const AdvisoryFile = "advisories.db"

// AdvisoryBase is where feeds of advisories are published.
const AdvisoryBase = "https://osv-vulnerabilities.storage.googleapis.com"

// Feeds keeps the feeds of advisories of this process.
type Feeds struct {
	feed.Keeper
	config Config
}

// OpenFeeds opens the database of advisories: a file of its own in Data, or the
// tables of Database. Close must be called. Its errors are those of Open.
func OpenFeeds(ctx context.Context, c Config) (*Feeds, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	s, err := openAdvisories(ctx, c)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = time.Minute
	return &Feeds{feed.Keeper{
		Store: s, Now: c.Now, Fetcher: advisory.Fetcher{Base: AdvisoryBase, Dir: c.Data, Client: &http.Client{Transport: transport}},
	}, c}, nil
}

func openAdvisories(ctx context.Context, c Config) (store.Store, error) {
	config := sqlstore.Config{URL: c.Database, Now: c.Now, Logger: c.Logger}
	if c.Database == "" {
		config.Path = filepath.Join(c.Data, AdvisoryFile)
	}
	return sqlstore.Open(ctx, config)
}

// From says where feeds lie: a web address, file:// or a directory, which is
// remembered from the root on.
func (f *Feeds) From(base string) error {
	if !strings.Contains(base, "://") {
		abs, err := filepath.Abs(base)
		if err != nil {
			return &dossier.Error{Kind: dossier.KindInvalid, Op: "finding feeds", Subject: base, Err: err}
		}
		base = abs
	}
	f.Fetcher.Base = base
	return nil
}

// Update brings the feed of an ecosystem up to date. KindDenied: it lies on the
// network, and that must not be used.
func (f *Feeds) Update(ctx context.Context, ecosystem string) (feed.Report, error) {
	if f.config.Offline && strings.HasPrefix(f.Fetcher.Base, "http") {
		return feed.Report{}, &dossier.Error{
			Kind: dossier.KindDenied, Op: "updating advisories", Subject: ecosystem, Err: errors.New("--offline allows no network"),
			Hint: "Import them from files: dossier db import PATH.",
		}
	}
	return f.Keeper.Update(ctx, ecosystem)
}

// Status says how all feeds stand; maxAge is as for feed.ReadStatus.
func (f *Feeds) Status(ctx context.Context, maxAge time.Duration) (feed.StatusList, error) {
	return feed.ReadStatus(ctx, f.Store, dossier.Instant(f.Now()), maxAge)
}

// Close closes the database.
func (f *Feeds) Close() error {
	f.Fetcher.Client.CloseIdleConnections()
	return f.Store.Close()
}
