// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry/transfer"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
)

func (p *program) registryExport() *cobra.Command {
	var opt registryFlags
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "export DIR [NAME[:TAG|@DIGEST]...]",
		Short: "Write repositories of the registry into a directory",
		Long: `Write what the registry holds as OCI image layouts, with what refers to it, such as
signatures. With one NAME the directory becomes a layout, which tools read as
oci:DIR:TAG; without a NAME, or with several, it gets one for each repository,
under its path. Servers may run on the registry at the same time.

Blobs that are in the directory already are not written again. dossier registry
import reads such directories, and finds since when each tag points where it does.`,
		Example: `  dossier registry export ./backup
  dossier registry export ./layout registry.example/team/app:1.2.3
  skopeo copy oci:./layout:1.2.3 docker://elsewhere.example/team/app:1.2.3`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{dossier.Errorf(dossier.KindInvalid, "reading arguments", "", "want a DIR")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if p.global.server != "" {
				return usageError{errLocalOnly("exporting", "copy from the server with a client of registries, such as skopeo or crane, or run this where its data lies")}
			}
			return p.localRegistry(cmd, opt, func(r *server.LocalRegistry) error {
				c := transfer.ExportConfig{Registry: r.Local}
				for _, name := range args[1:] {
					s, err := selectionOf(r.Name(), name)
					if err != nil {
						return usageError{err}
					}
					c.Select = append(c.Select, s)
				}
				return p.exportDir(cmd, args[0], c, out)
			})
		},
	}
	opt.register(cmd.Flags())
	out.register(cmd.Flags())
	return cmd
}

// selectionOf reads a name, with or without that of the registry before it.
func selectionOf(registry, name string) (transfer.Selection, error) {
	ref, err := dossier.ParseReference(registry + "/" + strings.TrimPrefix(name, registry+"/"))
	return transfer.Selection{Repository: ref.Repository, Tag: ref.Tag, Digest: ref.Digest}, err
}

func (p *program) exportDir(cmd *cobra.Command, dir string, c transfer.ExportConfig, out outputFlags) error {
	m := p.meter()
	c.Progress = func(r transfer.Report) {
		m.say(fmt.Sprintf("exporting: %d manifests, %d blobs, %s", r.Manifests, r.Blobs, render.Bytes(r.Bytes)))
	}
	report, err := transfer.Export(cmd.Context(), dir, c)
	m.clear()
	if err != nil {
		return err
	}
	return out.write(p, report, func(render.Options) error {
		_, err := fmt.Fprintf(p.stdout, "%d repositories: %d manifests and %d tags; %d blobs (%s) were written\n",
			report.Repositories, report.Manifests, report.Tags, report.Blobs, render.Bytes(report.Bytes))
		return err
	})
}
