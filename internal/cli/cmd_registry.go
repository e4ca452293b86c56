// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry/access"
	"dossier.dev/dossier/internal/render"
)

func (p *program) registryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "registry",
		Short: "Look after the registry",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.registryCan())
	return cmd
}

func (p *program) registryCan() *cobra.Command {
	var rules string
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "can USER ACTION REPOSITORY",
		Short: "Whether access rules let somebody do something",
		Long: `Say what access rules decide, and which rule it is. USER is the name of a user,
NAMESPACE/NAME for a service account, or anonymous. ACTION is pull, push (create
tags), retag (move tags) or delete. The exit code is 0 when it is allowed and 3
when it is denied. docs/spec/access.md says how rules are written.`,
		Example: `  dossier registry can alice push team/web/app --rules rules.yaml
  dossier registry can ci/builder retag team/web/app --rules rules.yaml`,
		Args: countArgs(3, "a USER, an ACTION and a REPOSITORY"),
		RunE: func(cmd *cobra.Command, a []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return p.can(cmd.Context(), rules, a[0], access.Action(a[1]), a[2], out)
		},
	}
	out.register(cmd.Flags())
	cmd.Flags().StringVar(&rules, "rules", "", "`file` with the access rules")
	return cmd
}

func (p *program) can(ctx context.Context, path, user string, action access.Action, repository string, out outputFlags) error {
	id, err := access.ParseIdentity(user)
	if err != nil {
		return usageError{err}
	}
	if path == "" {
		return usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", "--rules", "name the file with the access rules")}
	}
	file, err := access.OpenRulesFile(path, p.logger, nil)
	if err != nil {
		return err
	}
	d := file.Rules(ctx).Can(id, action, repository)
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
