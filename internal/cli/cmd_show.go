// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
)

func (p *program) showCommand() *cobra.Command {
	var out outputFlags
	var at atFlag
	var proof string
	cmd := &cobra.Command{
		Use:   "show IMAGE",
		Short: "The five answers for one image, with evidence and grades",
		Long: `Show all that is known of one image. IMAGE is a name, name:tag, name@digest, a
digest or a unique prefix of one (8 or more digits), oci:DIR[:TAG] or
docker-archive:FILE.

With --proof the answer is also written to a file, with its evidence and with what proves
that the evidence is in the transparency log. dossier verify --proof checks such files on
other machines, without the store and without a network.`,
		Example: `  dossier show nginx:1.27
  dossier show 3f1b6c2a -o json
  dossier show oci:./build/layout
  dossier show nginx:1.27 --proof nginx.proof`,
		Args: oneArg("one IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error { return p.show(cmd.Context(), args[0], out, at, proof) },
	}
	out.register(cmd.Flags())
	at.register(cmd.Flags())
	cmd.Flags().StringVar(&proof, "proof", "", "also write the answer to this `file`, with what proves it")
	return cmd
}

func (p *program) show(ctx context.Context, ref string, out outputFlags, at atFlag, proof string) error {
	if err := out.check(); err != nil {
		return err
	}
	times, err := at.times()
	if err != nil {
		return err
	}
	return p.ask(ctx, ref, (*server.Engine).Refresh, func(a Answerer, ref string) error {
		if proof != "" {
			return p.showProven(ctx, a, ref, times, out, proof)
		}
		d, err := a.Dossier(ctx, ref, times)
		if err != nil {
			return err
		}
		return out.write(p, d, func(o render.Options) error { return render.Dossier(p.stdout, d, o) })
	})
}

// refresher reads an image: (*server.Engine).Refresh, or RefreshContents.
type refresher func(e *server.Engine, ctx context.Context, ref string) (stale, err error)

// ask finds who answers about an image: the server, if one is named and the
// image is not local; else this process, which reads the image first.
func (p *program) ask(ctx context.Context, ref string, refresh refresher, f func(a Answerer, ref string) error) error {
	remote, err := p.remote()
	if err != nil {
		return err
	}
	if remote != nil && !dossier.IsLocal(ref) {
		return f(remote, ref)
	}
	if remote != nil {
		p.note("%s is read in this process; the server is not asked", ref)
	}
	engine, err := p.engine(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	m := p.meter()
	defer m.clear()
	m.report("reading "+ref, 0, 1)
	stale, err := refresh(engine, ctx, ref)
	m.clear()
	if err != nil {
		return err
	}
	if stale != nil {
		p.note("answering from what is stored: %s", render.Clean(stale.Error()))
	}
	return f(engine, ref)
}
