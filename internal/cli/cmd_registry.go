// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

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
	cmd.AddCommand(p.registryCan(), p.registryUpstreams(), p.registryRestore(), p.registryImport(), p.registryExport())
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
