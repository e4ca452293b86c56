// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry/access"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
)

func (p *program) registryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "registry",
		Short: "Look after the registry",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.registryCan(), p.registryUpstreams(), p.registryWhy(), p.registryGC(), p.registryDamage(), p.registryQuota(), p.registryRestore(), p.registryImport(), p.registryExport())
	return cmd
}

func (p *program) registryCan() *cobra.Command {
	var rules, path string
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "can USER ACTION REPOSITORY",
		Short: "Whether access rules let somebody do something",
		Long: `Say what access rules decide, and which rule it is. USER is the name of a user,
NAMESPACE/NAME for a service account, or anonymous. ACTION is pull, push (create
tags), retag (move tags) or delete. The exit code is 0 when it is allowed and 3
when it is denied. docs/spec/access.md says how rules are written. With --config
they are those of a server with that configuration.`,
		Example: `  dossier registry can alice push team/web/app --rules rules.yaml
  dossier registry can ci/builder retag team/web/app --rules rules.yaml
  dossier registry can anonymous pull base/debian --config dossier.yaml`,
		Args: countArgs(3, "a USER, an ACTION and a REPOSITORY"),
		RunE: func(cmd *cobra.Command, a []string) error {
			if err := out.check(); err != nil {
				return err
			}
			c, err := registryConfig(rules, path)
			if err != nil {
				return err
			}
			return p.can(cmd.Context(), c, a[0], access.Action(a[1]), a[2], out)
		},
	}
	out.register(cmd.Flags())
	cmd.Flags().StringVar(&rules, "rules", "", "`file` with the access rules")
	cmd.Flags().StringVar(&path, "config", "", "`file` with the configuration of a server")
	return cmd
}

// registryConfig returns a configuration by its path, or one that has only rules.
func registryConfig(rules, path string) (config.Registry, error) {
	switch {
	case (rules == "") == (path == ""):
		return config.Registry{}, usageError{dossier.Errorf(dossier.KindInvalid, "reading flags", "--rules and --config", "name one file: with the access rules, or with the configuration of a server")}
	case path == "":
		return config.Registry{Rules: rules}, nil
	}
	file, err := config.Read(path)
	if err != nil {
		return config.Registry{}, usageError{err}
	}
	return file.Registry, nil
}

func (p *program) can(ctx context.Context, c config.Registry, user string, action access.Action, repository string, out outputFlags) error {
	id, err := access.ParseIdentity(user)
	if err != nil {
		return usageError{err}
	}
	rules, err := server.AccessRules(c, server.Config{Logger: p.logger})
	if err != nil {
		return err
	}
	d := rules(ctx).Can(id, action, repository)
	err = out.write(p, d, func(render.Options) error {
		word := "denied"
		if d.Allowed {
			word = "allowed"
		}
		_, err := fmt.Fprintf(p.stdout, "%s: %s\n", word, render.Clean(d.Why))
		return err
	})
	if err == nil && !d.Allowed {
		return errFound
	}
	return err
}

func (p *program) registryUpstreams() *cobra.Command {
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "upstreams",
		Short: "How it stands with the registries that a server pulls through",
		Long: `Show the registries that a server pulls through: whether they answer, how many
requests they still allow, and where what clients pulled came from since the server
started: fetched from upstream, kept, or stale, that is kept and not looked at because
upstream could not be asked. docs/spec/proxy.md says more.`,
		Example: `  dossier registry upstreams --server http://127.0.0.1:8480
  dossier registry upstreams -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return p.upstreams(cmd.Context(), out)
		},
	}
	out.register(cmd.Flags())
	return cmd
}

func (p *program) upstreams(ctx context.Context, out outputFlags) error {
	if p.global.server == "" {
		return usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "asking for upstreams", Err: errors.New("only a server has any"), Hint: "name it with --server URL"}}
	}
	c, err := client.New(p.global.server, client.Options{Token: p.global.token})
	if err != nil {
		return usageError{err}
	}
	list, err := c.Upstreams(ctx)
	if err != nil {
		return err
	}
	if len(list.Upstreams) == 0 && !out.data() {
		p.note("the server pulls nothing through; dossier serve --upstream NAME has it do so")
		return nil
	}
	return out.write(p, list, func(opt render.Options) error { return render.Upstreams(p.stdout, list, opt) })
}

func (p *program) registryWhy() *cobra.Command {
	var path string
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "why DIGEST | REPOSITORY@DIGEST",
		Short: "Why the registry keeps something, or when and why it goes",
		Long: `Say for each repository that holds a manifest or a blob why it is kept: tags, what
needs it, what runs it or names it in a cluster, whom it was shown; or when it goes,
and by which rule. Of what was deleted it says when, by whom and why.
docs/spec/care.md says what keeps what.`,
		Example: `  dossier registry why sha256:4f5d...
  dossier registry why team/app@sha256:4f5d... --server http://127.0.0.1:8480`,
		Args: oneArg("one DIGEST or REPOSITORY@DIGEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			repository, digest, found := strings.Cut(args[0], "@")
			if !found {
				repository, digest = "", args[0]
			}
			d, err := dossier.ParseDigest(digest)
			if err != nil {
				return usageError{err}
			}
			return p.care(cmd, path, func(c carer) error {
				k, err := c.Why(cmd.Context(), repository, d)
				if err != nil {
					return err
				}
				return out.write(p, k, func(o render.Options) error { return render.Keeping(p.stdout, k, o) })
			})
		},
	}
	out.register(cmd.Flags())
	cmd.Flags().StringVar(&path, "config", "", "`file` with the configuration of the server, for its rules")
	return cmd
}

func (p *program) registryGC() *cobra.Command {
	var path string
	var dry bool
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Take away what nothing in the registry needs",
		Long: `Take away, once, what nothing needs: blobs that no manifest of their repository
needs, and tags and manifests that a retention rule of the configuration lets go.
A server does so by itself. Pushes may go on at the same time, in any number of
servers. --dry-run says what would go, and why, and changes nothing.`,
		Example: `  dossier registry gc --dry-run --config dossier.yaml
  dossier registry gc --dry-run --server http://127.0.0.1:8480`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return p.care(cmd, path, func(c carer) error { return p.collect(cmd.Context(), c, dry, out) })
		},
	}
	out.register(cmd.Flags())
	cmd.Flags().StringVar(&path, "config", "", "`file` with the configuration of the server, for its rules")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would go, and take nothing away")
	return cmd
}

func (p *program) registryQuota() *cobra.Command {
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "quota",
		Short: "How much of each quota is used",
		Long: `Say how many bytes repositories hold for which the configuration of the server
sets a quota, and how many they may hold. docs/spec/care.md says what counts.`,
		Example: `  dossier registry quota
  dossier registry quota -o json --server http://127.0.0.1:8480`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return p.care(cmd, "", func(c carer) error {
				list, err := c.Quotas(cmd.Context())
				if err != nil {
					return err
				}
				if len(list.Quotas) == 0 && !out.data() {
					p.note("there are none; registry.quotas in the configuration of the server sets some")
					return nil
				}
				return out.write(p, list, func(o render.Options) error { return render.Quotas(p.stdout, list, o) })
			})
		},
	}
	out.register(cmd.Flags())
	return cmd
}

// carer knows how a registry is cared for: a client.Client asks a server, a
// server.Care looks itself.
type carer interface {
	Why(ctx context.Context, repository string, d dossier.Digest) (dossier.Keeping, error)
	Plan(ctx context.Context) (dossier.Collection, error)
	Damage(ctx context.Context, after dossier.Digest) (dossier.DamageList, error)
	Quotas(ctx context.Context) (dossier.QuotaList, error)
}

// care calls f with the server, or with the store of this process and the rules of
// a configuration.
func (p *program) care(cmd *cobra.Command, path string, f func(carer) error) error {
	if p.global.server != "" {
		if path != "" {
			return usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", "--config", "a server goes by its own rules")}
		}
		c, err := client.New(p.global.server, client.Options{Token: p.global.token})
		if err != nil {
			return usageError{err}
		}
		return f(c)
	}
	var file config.File
	if path != "" {
		var err error
		if file, err = config.Read(path); err != nil {
			return usageError{err}
		}
	}
	file.Environ(p.env)
	c := p.engineConfig()
	if !cmd.Flags().Changed("data") {
		c.Data = cmp.Or(file.Data, c.Data)
	}
	if !cmd.Flags().Changed("database") {
		c.Database = cmp.Or(file.Database, c.Database)
	}
	if c.Data == "" && c.Database == "" {
		return errNoData()
	}
	engine, err := server.Open(cmd.Context(), c)
	if err != nil {
		return err
	}
	defer engine.Close()
	care, err := engine.Care(cmd.Context(), file.Registry, file.Blobs)
	if err != nil {
		return err
	}
	return errors.Join(f(care), care.Close())
}

// collect takes garbage away, or says what would go.
func (p *program) collect(ctx context.Context, c carer, dry bool, out outputFlags) error {
	look, word := c.Plan, "would go"
	if !dry {
		own, ok := c.(*server.Care)
		if !ok {
			return &dossier.Error{Kind: dossier.KindUnsupported, Op: "collecting garbage", Subject: p.global.server,
				Err: errors.New("a server does it by itself"), Hint: "add --dry-run to see what would go"}
		}
		look, word = own.Collect, "gone"
	}
	got, err := look(ctx)
	if err != nil {
		return err
	}
	for _, why := range got.Withheld {
		p.note("left what a cluster may need: %s", render.Clean(why))
	}
	if got.Truncated {
		p.note("there is more than is listed")
	}
	return out.write(p, got, func(o render.Options) error {
		if err := render.Collection(p.stdout, got, o); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "%s: %d tags, %d manifests, %d blobs; %s that nobody holds any more, %s deleted\n", word,
			got.Counts.Tags, got.Counts.Manifests, got.Counts.Blobs, render.Bytes(got.Counts.Condemned), render.Bytes(got.Counts.Freed))
		return err
	})
}

func (p *program) registryDamage() *cobra.Command {
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "damage",
		Short: "Blobs whose bytes are damaged",
		Long: `List the blobs that are known to be damaged: their bytes are gone, are more or
fewer than they were, or are others. A server looks for such by itself and gets them
from the upstream again if it can; whoever pushes one again heals it too. Until then
nobody is sent it. The exit code is 3 when there are any. docs/spec/care.md says more.`,
		Example: `  dossier registry damage
  dossier registry damage --server http://127.0.0.1:8480 -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return p.care(cmd, "", func(c carer) error { return p.damage(cmd.Context(), c, out) })
		},
	}
	out.register(cmd.Flags())
	return cmd
}

// damage lists damaged blobs, all pages of them.
func (p *program) damage(ctx context.Context, c carer, out outputFlags) error {
	list, err := c.Damage(ctx, "")
	for err == nil && list.Next != "" {
		var page dossier.DamageList
		page, err = c.Damage(ctx, list.Next)
		list.Blobs, list.Next = append(list.Blobs, page.Blobs...), page.Next
	}
	if err != nil {
		return err
	}
	err = out.write(p, list, func(o render.Options) error {
		if err := render.Damage(p.stdout, list, o); err != nil {
			return err
		}
		checked := "not all blobs were ever checked"
		if !list.CheckedSince.IsZero() {
			checked = "all blobs were checked since " + list.CheckedSince.UTC().Format(time.RFC3339)
		}
		_, err := fmt.Fprintf(p.stdout, "%d damaged; %s\n", list.Damaged, checked)
		return err
	})
	if err == nil && list.Damaged > 0 {
		return errFound
	}
	return err
}
