// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
)

func (p *program) sbomCommand() *cobra.Command {
	out := outputFlags{more: []string{"cyclonedx", "spdx"}}
	var at atFlag
	var platform string
	cmd := &cobra.Command{
		Use:   "sbom IMAGE",
		Short: "What an image holds, package by package",
		Long: `List the packages of an image with the layer and the file that each was found in:
a software bill of materials, as a table, as CycloneDX 1.6, as SPDX 2.3 or as
JSON of its own. The same image gives the same bytes. IMAGE is as for dossier show.`,
		Example: `  dossier sbom nginx:1.27
  dossier sbom nginx:1.27 -o cyclonedx > nginx.cdx.json
  dossier sbom oci:./build/layout --platform linux/arm64 -o spdx`,
		Args: oneArg("one IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.sbom(cmd.Context(), dossier.SBOMQuery{Ref: args[0], Platform: platform}, out, at)
		},
	}
	out.register(cmd.Flags())
	at.register(cmd.Flags())
	cmd.Flags().StringVar(&platform, "platform", "", "`os/arch` of an image for several (default: one that runs, or linux/amd64)")
	return cmd
}

func (p *program) sbom(ctx context.Context, q dossier.SBOMQuery, out outputFlags, at atFlag) error {
	if err := out.check(); err != nil {
		return err
	}
	var err error
	if q.At, err = at.times(); err != nil {
		return err
	}
	return p.ask(ctx, q.Ref, (*server.Engine).RefreshContents, func(a Answerer, ref string) error {
		q.Ref = ref
		s, err := a.SBOM(ctx, q)
		if err != nil {
			return err
		}
		if n := len(s.Missed); n > 0 {
			p.note("%d parts of the layers were not read", n)
		}
		switch out.format {
		case "cyclonedx":
			return render.CycloneDX(p.stdout, s)
		case "spdx":
			return render.SPDX(p.stdout, s)
		}
		return out.write(p, s, func(o render.Options) error {
			if len(s.Packages) == 0 {
				fmt.Fprintf(p.stderr, "no packages in %s\n", render.Clean(q.Ref))
				return nil
			}
			return render.SBOM(p.stdout, s, o)
		})
	})
}
