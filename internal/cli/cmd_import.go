// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry/transfer"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
)

func (p *program) registryImport() *cobra.Command {
	var opt registryFlags
	var out outputFlags
	var repository string
	cmd := &cobra.Command{
		Use:   "import DIR",
		Short: "Take repositories from a directory into the registry",
		Long: `Take what lies in a directory into the registry: an OCI image layout, a tree of
directories some of which are one (each is the repository of its path), or the
storage of a distribution registry (what its configuration calls rootdirectory).
Servers may run on the registry at the same time.

Everything is checked against its digest. What is there already is left alone, so
that an import that broke off goes on when it is run again. Tags keep their times
where the directory tells them; one that was moved here since stays. What cannot
be taken is told with the file that is to blame; the exit code is 1 then.`,
		Example: `  dossier registry import /var/lib/registry
  dossier registry import ./layout --repository team/app
  dossier registry import ./layouts --data ./data --registry-name registry.example`,
		Args: oneArg("one DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if p.global.server != "" {
				return usageError{errLocalOnly("importing", "copy to the server with a client of registries, such as skopeo or crane, or run this where its data lies")}
			}
			return p.localRegistry(cmd, opt, func(r *server.LocalRegistry) error {
				return p.importDir(cmd, args[0], transfer.ImportConfig{Registry: r.Local, Repository: repository}, out)
			})
		},
	}
	opt.register(cmd.Flags())
	out.register(cmd.Flags())
	cmd.Flags().StringVar(&repository, "repository", "", "`name` of the repository for a layout; for a tree or a storage, what comes before the names")
	return cmd
}

// errLocalOnly says that a command works on a store, not on a server.
func errLocalOnly(op, hint string) error {
	return &dossier.Error{Kind: dossier.KindUnsupported, Op: op, Err: errors.New("it is done in the store, not by a server"), Hint: hint}
}

func (p *program) importDir(cmd *cobra.Command, dir string, c transfer.ImportConfig, out outputFlags) error {
	m := p.meter()
	c.Progress = func(r transfer.Report) {
		m.say(fmt.Sprintf("importing: %d manifests, %d blobs, %s, %d tags", r.Manifests, r.Blobs, render.Bytes(r.Bytes), r.Tags))
	}
	c.Problem = func(err error) {
		m.clear()
		fmt.Fprintf(p.stderr, "error: %s\n", render.Clean(err.Error()))
	}
	report, err := transfer.Import(cmd.Context(), dir, c)
	m.clear()
	if err != nil {
		return err
	}
	err = out.write(p, report, func(render.Options) error {
		_, err := fmt.Fprintf(p.stdout, "%d repositories: %d manifests, %d blobs (%s) and %d tags are new, %d were there already\n",
			report.Repositories, report.Manifests, report.Blobs, render.Bytes(report.Bytes), report.Tags, report.Known)
		return err
	})
	if report.Dangling > 0 {
		p.note("%d tags point at manifests that were deleted; they were left out", report.Dangling)
	}
	if err == nil && report.Problems > 0 {
		err = &dossier.Error{Kind: dossier.KindInvalid, Op: "importing", Subject: dir,
			Err: fmt.Errorf("%d things could not be taken", report.Problems), Hint: "mend what is told above, and run the command again: it goes on where it was"}
	}
	return err
}
