// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/trust"
)

func (p *program) trustCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Look at a trust policy, and at whom it pinned",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "check FILE [IMAGE...]",
		Short: "Check a trust policy, and say what it asks of images",
		Long: `Read a trust policy and all that it names, and say what it asks of each IMAGE: the
number of the first rule that matches, and who must have signed; of a trust policy of notation
also its level, its trust stores and what is only logged. Without an IMAGE it says
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
	cmd.AddCommand(p.trustPinsCommand(), p.trustUnpinCommand())
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

func (p *program) trustPinsCommand() *cobra.Command {
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "pins",
		Short: "List who is pinned as the signer of which repository",
		Long: `List who was the first to sign in a repository where the trust policy takes whoever that
is (firstUse: pin), by which image that was found, and when. dossier verify --trust pins, and
so do commands and servers that read images by the policy of DOSSIER_TRUST.`,
		Example: `  dossier trust pins`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var pins []dossier.SignerPin
			err := p.withEngine(cmd.Context(), func(e *server.Engine) (err error) {
				pins, err = e.SignerPins(cmd.Context())
				return err
			})
			if err != nil {
				return err
			}
			if pins == nil {
				pins = []dossier.SignerPin{}
			}
			return out.write(p, pins, func(render.Options) error { return p.printPins(pins) })
		},
	}
	out.register(cmd.Flags())
	return cmd
}

func (p *program) printPins(pins []dossier.SignerPin) error {
	for _, pin := range pins {
		line := fmt.Sprintf("%s: %s, since %s, by %s", pin.Scope, pin.Signer, pin.At.UTC().Format(time.RFC3339), pin.Image)
		if _, err := fmt.Fprintln(p.stdout, render.Clean(line)); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) trustUnpinCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "unpin REPOSITORY",
		Short: "Take back who is pinned as the signer of a repository",
		Long: `Take back who is pinned as the signer of a repository. Why is recorded, and stays in the log
beside the pin. Whoever is named by firstUse does not count there from then on, until dossier
verify --trust finds who signs there now, and pins that. Nothing else pins there any more, neither
a server nor a command that reads images for an answer; and who was unpinned is not pinned again
unless dossier verify is told so by --pin-again.`,
		Example: `  dossier trust unpin registry.example/shop/api --reason "new release key, see ticket 12"`,
		Args:    oneArg("a REPOSITORY"),
		RunE:    func(cmd *cobra.Command, args []string) error { return p.unpin(cmd.Context(), args[0], reason) },
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`text`: why, for those who look later")
	return cmd
}

func (p *program) unpin(ctx context.Context, name, reason string) error {
	ref, err := dossier.ParseReference(name)
	if err == nil && (ref.Tag != "" || ref.Digest != "") {
		err = dossier.Errorf(dossier.KindInvalid, "reading the argument", name, "want a repository, without a tag")
	}
	if err == nil && reason == "" {
		err = dossier.Errorf(dossier.KindInvalid, "reading flag", "--reason", "say why: it is recorded")
	}
	if err != nil {
		return usageError{err}
	}
	var was dossier.SignerPin
	err = p.withEngine(ctx, func(e *server.Engine) (err error) {
		was, err = e.UnpinSigner(ctx, trust.Scope(ref), reason)
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stdout, render.Clean(fmt.Sprintf("%s is no longer pinned for %s", was.Signer, was.Scope)))
	return err
}
