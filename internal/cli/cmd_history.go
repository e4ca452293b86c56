// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
)

func (p *program) historyCommand() *cobra.Command {
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "history IMAGE | REPOSITORY/",
		Short: "Where tags pointed over time, and the layers with what made them",
		Long: `Show where the tag of an image pointed over time, and its layers: the instruction
that made each, its size, and which known base image it comes from. A repository
with a final slash shows all its tags.`,
		Example: `  dossier history nginx:1.27
  dossier history registry.example/team/app/`,
		Args: oneArg("one IMAGE or REPOSITORY/"),
		RunE: func(cmd *cobra.Command, args []string) error { return p.history(cmd.Context(), args[0], out) },
	}
	out.register(cmd.Flags())
	return cmd
}

func (p *program) history(ctx context.Context, ref string, out outputFlags) error {
	if err := out.check(); err != nil {
		return err
	}
	print := func(a Answerer, ref string) error {
		h, err := a.History(ctx, ref)
		if err != nil {
			return err
		}
		return out.write(p, h, func(o render.Options) error { return render.History(p.stdout, h, o) })
	}
	if strings.HasSuffix(ref, "/") && !dossier.IsLocal(ref) {
		return p.askStored(ctx, func(a Answerer) error { return print(a, ref) })
	}
	return p.ask(ctx, ref, print)
}

// askStored asks the server, or the store of this process as it is.
func (p *program) askStored(ctx context.Context, f func(Answerer) error) error {
	remote, err := p.remote()
	if err != nil {
		return err
	}
	if remote != nil {
		return f(remote)
	}
	engine, err := p.engine(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	return f(engine)
}
