// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
)

func (p *program) trustCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Look at a trust policy",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "check FILE [IMAGE...]",
		Short: "Check a trust policy, and say what it asks of images",
		Long: `Read a trust policy and all that it names, and say what it asks of each IMAGE: the
number of the first rule that matches, and who must have signed. Without an IMAGE it says
so of examples that its patterns are made for, and of one that looks alike. Nothing is read
from a registry.`,
		Example: `  dossier trust check trust.yaml registry.example/shop/api:1.4`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return nil
			}
			return usageError{fmt.Errorf("%s takes a FILE", cmd.CommandPath())}
		},
		RunE: func(_ *cobra.Command, args []string) error { return p.checkTrust(args[0], args[1:]) },
	})
	return cmd
}

func (p *program) checkTrust(file string, images []string) error {
	policy, err := server.ReadTrust(file)
	if err != nil {
		return err
	}
	if len(images) == 0 {
		images = policy.Examples()
	}
	if _, err := fmt.Fprintf(p.stdout, "policy %s\n", policy.Digest); err != nil {
		return err
	}
	for _, image := range images {
		ref, err := dossier.ParseReference(image)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(p.stdout, "%s\t%s\n", render.Clean(image), render.Clean(policy.Words(policy.For(ref)))); err != nil {
			return err
		}
	}
	return nil
}
