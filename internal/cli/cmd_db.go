// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/feed"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
)

func (p *program) dbCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "db",
		Short: "Advisories: fetch, import, and see how old they are",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.dbUpdate(), p.dbImport(), p.dbStatus())
	return cmd
}

func (p *program) dbUpdate() *cobra.Command {
	var from string
	var shrink bool
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "update [ECOSYSTEM]...",
		Short: "Fetch what is new",
		Long: `Bring the feeds of ecosystems up to date, as OSV names them: Debian, Alpine,
AlmaLinux, Go, npm, PyPI, ... Without ECOSYSTEM those that are there already.
Only what changed is fetched, and what broke off is continued.

A feed that lost more than a fifth of its advisories is refused: look whether
that may be, and allow it with --allow-shrink.`,
		Example: `  dossier db update Debian Go npm
  dossier db update
  dossier db update --from https://mirror.example/osv Debian
  dossier db update --from /media/osv Debian`,
		RunE: func(cmd *cobra.Command, ecosystems []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return p.withFeeds(cmd.Context(), func(f *server.Feeds) error {
				f.AllowShrink = shrink
				if err := f.From(from); err != nil {
					return err
				}
				return errors.Join(p.updateFeeds(cmd.Context(), f, ecosystems, out), p.match(cmd.Context()))
			})
		},
	}
	out.register(cmd.Flags())
	cmd.Flags().StringVar(&from, "from", server.AdvisoryBase, "`base` of the feeds: a web address, file:// or a directory")
	cmd.Flags().BoolVar(&shrink, "allow-shrink", false, "accept a feed that lost more than a fifth of its advisories")
	return cmd
}

func (p *program) dbImport() *cobra.Command {
	var shrink bool
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "import PATH...",
		Short: "Read advisories from files",
		Long: `Read advisories from files, or all that lie in a directory, without a network:
archives (all.zip) or files of OSV, Alpine's secdb, Debian's security tracker and
lists (DSA/list, DLA/list, CVE/list), CSAF and VEX documents, CISA's catalogue of
exploited vulnerabilities (KEV) and EPSS scores. What a file is, is seen from what
is in it. A feed replaces the one of the same name.`,
		Example: `  dossier db import Go/all.zip main.json known_exploited_vulnerabilities.json
  dossier db import /media/advisories`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("dossier db import takes one PATH or more, got none")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, paths []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return p.withFeeds(cmd.Context(), func(f *server.Feeds) error {
				f.AllowShrink = shrink
				reports := []feed.Report{}
				var err error
				for _, path := range paths {
					err = errors.Join(err, f.Import(cmd.Context(), path, func(r feed.Report) error {
						reports = append(reports, r)
						return p.reportFeed(r, out)
					}))
				}
				return errors.Join(p.reportFeeds(reports, out), err, p.match(cmd.Context()))
			})
		},
	}
	out.register(cmd.Flags())
	cmd.Flags().BoolVar(&shrink, "allow-shrink", false, "accept a feed that lost more than a fifth of its advisories")
	return cmd
}

func (p *program) dbStatus() *cobra.Command {
	var age time.Duration
	var fail bool
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Which feeds there are, and how old they are",
		Long: `List the feeds of advisories, and when each was last found to be current. With
--fail-stale the exit code is 3 when one is older than --max-age, or there is none.`,
		Example: `  dossier db status
  dossier db status --max-age 24h --fail-stale`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return p.withFeeds(cmd.Context(), func(f *server.Feeds) error { return p.feedStatus(cmd.Context(), f, age, fail, out) })
		},
	}
	out.register(cmd.Flags())
	cmd.Flags().DurationVar(&age, "max-age", 72*time.Hour, "how old a feed may be")
	cmd.Flags().BoolVar(&fail, "fail-stale", false, "exit with 3 when a feed is older")
	return cmd
}

// withFeeds runs f on the feeds of the store of this machine.
func (p *program) withFeeds(ctx context.Context, f func(*server.Feeds) error) (err error) {
	if p.global.server != "" {
		return usageError{&dossier.Error{
			Kind: dossier.KindUnsupported, Op: "opening advisories", Subject: p.global.server,
			Err: errors.New("a server looks after its own"), Hint: "leave out --server, or run it where the server's data is",
		}}
	}
	if err := p.checkStore(); err != nil {
		return err
	}
	feeds, err := server.OpenFeeds(ctx, p.engineConfig())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, feeds.Close()) }()
	return f(feeds)
}

func (p *program) updateFeeds(ctx context.Context, f *server.Feeds, ecosystems []string, out outputFlags) error {
	if len(ecosystems) == 0 {
		list, err := f.Status(ctx, 0)
		if err != nil {
			return err
		}
		for _, s := range list.Feeds {
			if s.Source == f.Fetcher.Base {
				ecosystems = append(ecosystems, s.Feed)
			}
		}
		if len(ecosystems) == 0 {
			return usageError{&dossier.Error{
				Kind: dossier.KindInvalid, Op: "updating advisories", Err: errors.New("no feed came from there yet"),
				Hint: "name ecosystems, such as dossier db update Debian Alpine Go npm",
			}}
		}
	}
	reports := []feed.Report{}
	var failed error
	for _, e := range ecosystems {
		r, err := f.Update(ctx, e)
		if err == nil {
			reports = append(reports, r)
			err = p.reportFeed(r, out)
		}
		failed = errors.Join(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(p.reportFeeds(reports, out), failed)
}

// match compares the packages that are stored with the advisories as they are now.
func (p *program) match(ctx context.Context) error {
	engine, err := p.engine(ctx)
	if err != nil {
		return err
	}
	return errors.Join(engine.Match(ctx), engine.Close())
}

// reportFeed says what came of one feed: on stderr what could not be read, and
// on stdout the rest, unless programs read that.
func (p *program) reportFeed(r feed.Report, out outputFlags) error {
	for _, refused := range r.Refused {
		p.note("%s: %s was refused: %s", render.Clean(r.Feed.Ecosystem), render.Clean(refused.Name), render.Clean(refused.Why))
	}
	if r.More > 0 {
		p.note("%s: %d more were refused", render.Clean(r.Feed.Ecosystem), r.More)
	}
	if out.data() {
		return nil
	}
	return render.FeedReport(p.stdout, r)
}

func (p *program) reportFeeds(reports []feed.Report, out outputFlags) error {
	if !out.data() {
		return nil
	}
	return out.write(p, reports, nil)
}

func (p *program) feedStatus(ctx context.Context, f *server.Feeds, age time.Duration, fail bool, out outputFlags) error {
	list, err := f.Status(ctx, age)
	if err != nil {
		return err
	}
	err = out.write(p, list, func(o render.Options) error {
		if len(list.Feeds) == 0 {
			return nil
		}
		return render.Feeds(p.stdout, list, o)
	})
	if err != nil {
		return err
	}
	stale := list.Stale()
	switch {
	case len(list.Feeds) == 0:
		p.note("there are no advisories yet: dossier db update or dossier db import gets some")
	case len(stale) > 0:
		p.note("%s", fmt.Sprintf("%d of %d feeds are older than %v", len(stale), len(list.Feeds), age))
	}
	if fail && (len(stale) > 0 || len(list.Feeds) == 0) {
		return errFound
	}
	return nil
}
