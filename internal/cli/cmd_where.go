// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
)

func (p *program) whereCommand() *cobra.Command {
	var out outputFlags
	var limit int
	cmd := &cobra.Command{
		Use:   "where TERM",
		Short: "Which images and workloads hold a package, vulnerability, digest, name, label or source",
		Long: `Find images, charts, signatures and other artifacts, and what runs them. TERM is a
digest (or 8 or more digits of one), a reference, a label or annotation or the
value of one (KEY=VALUE or VALUE), a source repository, a revision, a base image,
a layer, a Go main package, a vulnerability by any of its IDs, or a package in the
layers: NAME, NAME@VERSION, a range such as NAME@<VERSION, or a package URL. A final * matches any ending. Letter
case, https:// and .git make no difference.

FIELD=VALUE looks in one field: reference, source, revision, base, layer, program,
package, vulnerability, mediaType, artifactType, platform or subject. So do label:KEY=VALUE and
annotation:KEY=VALUE.`,
		Example: `  dossier where github.com/org/app
  dossier where 4f5d2c1a9b
  dossier where openssl
  dossier where 'log4j-core@<2.15'
  dossier where CVE-2021-44228
  dossier where org.opencontainers.image.vendor=Acme
  dossier where annotation:com.example.channel=stable
  dossier where artifactType=application/vnd.cncf.helm.config.v1+json
  dossier where 'docker.io/library/nginx:*'`,
		Args: oneArg("one TERM"),
		RunE: func(cmd *cobra.Command, args []string) error { return p.where(cmd.Context(), args[0], limit, out) },
	}
	out.register(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", 100, "at most this `number` of images")
	return cmd
}

func (p *program) where(ctx context.Context, term string, limit int, out outputFlags) error {
	if err := out.check(); err != nil {
		return err
	}
	if limit < 1 {
		return usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", fmt.Sprintf("--limit=%d", limit), "want 1 or more")}
	}
	return p.askStored(ctx, func(a Answerer) error {
		found, err := a.Where(ctx, term, limit)
		if err != nil {
			return err
		}
		return out.write(p, found, func(o render.Options) error {
			if len(found.Found) == 0 {
				fmt.Fprintf(p.stderr, "nothing found for %s\n", render.Clean(term))
				return nil
			}
			if found.Truncated {
				p.note("there is more: raise --limit to see it")
			}
			return render.Found(p.stdout, found, o)
		})
	})
}
