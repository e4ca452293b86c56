// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry/access"
)

func (p *program) credentialProviderCommand() *cobra.Command {
	var c access.CredentialConfig
	cmd := &cobra.Command{
		Use:   "credential-provider",
		Short: "Let a kubelet pull as the pod's service account",
		Long: `The kubelet runs this command before it pulls an image (kubelet credential
provider, KEP-4412). It reads a CredentialProviderRequest on standard input and
answers with the token of the pod's service account as password, for the
registries that --registry names. So pods pull without pull secrets, and the
registry knows whose pod it was. docs/spec/access.md shows the kubelet's
configuration.`,
		Example: "  dossier credential-provider --registry registry.example.org < request.json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if len(c.Registries) == 0 {
				return usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading flags", Err: errors.New("no registry is named"),
					Hint: "name with --registry whom the tokens of service accounts may be given to"}}
			}
			request, err := io.ReadAll(io.LimitReader(p.stdin, access.MaxCredentialRequest+1))
			if err != nil {
				return fmt.Errorf("reading standard input: %w", err)
			}
			c.Now = time.Now()
			response, err := access.ProvideCredential(request, c)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.stdout, "%s\n", response)
			return err
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&c.Registries, "registry", nil, "`host` (with its port, when images name one) that may have tokens")
	f.DurationVar(&c.Cache, "cache", 5*time.Minute, "how long the kubelet may use an answer again; never beyond the token's end")
	return cmd
}
