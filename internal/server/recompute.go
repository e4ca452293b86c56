// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/feed"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/proof"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

// Recompute compares the packages of a proof with the advisories in a file or a directory, and what that gives
// with the vulnerabilities that the proof names; it adds what it finds to the report. The
// advisories must be those of the feeds that the proof names. It needs no store, and uses a
// temporary directory. Errors are those of reading the advisories.
func Recompute(ctx context.Context, r *proof.Report, path string) (err error) {
	if len(r.Faults) > 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "dossier-feed-")
	if err != nil {
		return &dossier.Error{Kind: dossier.KindStorage, Op: "comparing with advisories", Subject: path, Err: err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(dir, AdvisoryFile)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	k := feed.Keeper{Store: s, Now: time.Now, AllowShrink: true}
	if err := k.Import(ctx, path, func(feed.Report) error { return nil }); err != nil {
		return err
	}
	return s.View(ctx, func(reader store.Reader) error {
		c := recomputing{report: r, path: path, advisories: reader}
		if ok, err := c.feeds(ctx); !ok || err != nil {
			return err
		}
		for _, x := range r.Evidence.Exposures {
			if err := c.exposure(ctx, x); err != nil {
				return err
			}
		}
		return nil
	})
}

// recomputing is a Recompute under way.
type recomputing struct {
	report     *proof.Report
	path       string
	advisories store.Reader
}

func (c *recomputing) fault(format string, args ...any) {
	c.report.Faults = append(c.report.Faults, fmt.Sprintf(format, args...))
}

// feeds compares the advisories with those that the log claims to have used: all of them must be there.
func (c *recomputing) feeds(ctx context.Context) (bool, error) {
	there, err := c.advisories.Feeds(ctx)
	if err != nil {
		return false, err
	}
	digests := map[dossier.Digest]string{}
	named := map[string]bool{}
	for _, f := range there {
		d, err := c.advisories.FeedDigest(ctx, f.Ecosystem, f.Serial)
		if err != nil {
			return false, err
		}
		digests[d] = f.Ecosystem
		named[f.Ecosystem] = true
	}
	if len(c.report.Feeds) == 0 {
		c.fault("the proof names no advisories: nothing in it was compared with %s", c.path)
	}
	for _, f := range c.report.Feeds {
		switch _, ok := digests[f.Digest]; {
		case ok:
			continue
		case named[f.Feed]:
			c.fault("the advisories %s in %s are not those of the proof, whose digest is %s", f.Feed, c.path, f.Digest)
		default:
			c.fault("the advisories %s with the digest %s are not in %s", f.Feed, f.Digest, c.path)
		}
	}
	if len(c.report.Faults) > 0 {
		return false, nil
	}
	c.proven("the advisories are those that the log claims, %d of %d feeds, by their digests", len(c.report.Feeds), len(c.report.Feeds))
	return true, nil
}

func (c *recomputing) proven(format string, args ...any) {
	c.report.Proven = append(c.report.Proven, proof.Finding{By: "this program", What: fmt.Sprintf(format, args...)})
}

// exposure compares one platform.
func (c *recomputing) exposure(ctx context.Context, x answer.Exposure) error {
	packages, ok := c.report.Packages[x.On]
	if !ok {
		c.fault("the packages of %s are not proven, and cannot be compared with advisories", x.On)
		return nil
	}
	for _, p := range x.Packages {
		if !p.Matched {
			c.fault("the proof says of %d packages of %s that they were not compared with advisories yet", p.Count, x.On)
			return nil
		}
	}
	found := map[string]*answer.Vulnerability{}
	holders := map[string]string{}
	for _, p := range packages {
		list, err := c.findings(ctx, p.Package)
		if err != nil {
			return err
		}
		for _, f := range list {
			v := found[f.ID]
			if v == nil {
				v = &answer.Vulnerability{ID: f.ID, Severity: f.Severity}
				found[f.ID], holders[f.ID] = v, p.Name+" "+p.Version
			}
			v.Fixable = v.Fixable || f.State == dossier.Fixable
			if f.Severity.Rank() > v.Severity.Rank() {
				v.Severity = f.Severity
			}
		}
	}
	c.compare(x, found, holders)
	return nil
}

// findings compares one package.
func (c *recomputing) findings(ctx context.Context, p dossier.Package) ([]dossier.Finding, error) {
	keys := match.Keys(p)
	if len(keys) == 0 {
		return nil, nil
	}
	list, err := c.advisories.Advisories(ctx, store.AdvisoryQuery{Keys: keys})
	if err != nil {
		return nil, err
	}
	return match.Match(p, list).Findings, nil
}

// compare compares what was found with what the proof says, of which some may count no more: what
// somebody says of it is shown with the answer.
func (c *recomputing) compare(x answer.Exposure, found map[string]*answer.Vulnerability, holders map[string]string) {
	said := map[string]answer.Vulnerability{}
	for _, v := range x.Vulnerabilities {
		said[v.ID] = v
	}
	for _, v := range x.Suppressed {
		said[v.ID] = cmp.Or(said[v.ID], v.Vulnerability)
	}
	before := len(c.report.Faults)
	for _, id := range slices.Sorted(maps.Keys(found)) {
		v, ok := said[id]
		switch {
		case !ok:
			c.fault("%s in %s of %s is not among the vulnerabilities of the proof", id, holders[id], x.On)
		case v.Fixable != found[id].Fixable:
			c.fault("%s in %s: whether there is a fix is said to be %v, and the advisories say %v", id, holders[id], v.Fixable, found[id].Fixable)
		case v.Severity != found[id].Severity:
			c.fault("%s in %s is said to be %s, and the advisories say %s", id, holders[id], v.Severity, found[id].Severity)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(said)) {
		if found[id] == nil {
			c.fault("%s of %s does not follow from the packages and the advisories", id, x.On)
		}
	}
	if len(c.report.Faults) == before {
		c.proven("the vulnerabilities of %s follow from its packages and the advisories in %s: %d", x.On.Short(), c.path, len(found))
	}
}
