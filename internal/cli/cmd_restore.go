// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
)

func (p *program) registryRestore() *cobra.Command {
	var opt registryFlags
	var out outputFlags
	var at string
	cmd := &cobra.Command{
		Use:   "restore NAME:TAG",
		Short: "Point a tag at what it pointed at before",
		Long: `Point a tag of the registry at what it pointed at at a time. The rules of a push
hold: a tag that does not move stays, and the manifest must still be in the
repository. With --server the server does it, as if somebody with DOSSIER_TOKEN
had pushed that manifest; else it is done in the store, whether or not servers
run on it.`,
		Example: `  dossier history registry.example/team/app:latest
  dossier registry restore registry.example/team/app:latest --at 2026-01-31T12:00:00Z`,
		Args: oneArg("one NAME:TAG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			when, err := parseTime("--at", at)
			if err != nil {
				return err
			}
			if when.IsZero() {
				return usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", "--at", "say from which time")}
			}
			return p.restore(cmd, args[0], when, opt, out)
		},
	}
	opt.register(cmd.Flags())
	out.register(cmd.Flags())
	cmd.Flags().StringVar(&at, "at", "", "the `time` (RFC 3339, or a date) when it pointed there")
	return cmd
}

func (p *program) restore(cmd *cobra.Command, name string, at time.Time, opt registryFlags, out outputFlags) error {
	ref, err := dossier.ParseReference(name)
	if err == nil && (ref.Tag == "" || ref.Digest != "") {
		err = dossier.Errorf(dossier.KindInvalid, "reading the argument", name, "want NAME:TAG")
	}
	if err != nil {
		return usageError{err}
	}
	show := func(change dossier.TagChange) error {
		return out.write(p, change, func(render.Options) error {
			text := "points at " + change.Now.Short() + " already"
			switch change.Change {
			case dossier.TagAdded:
				text = "points at " + change.Now.Short() + " again"
			case dossier.TagMoved:
				text = "moved from " + change.Was.Short() + " to " + change.Now.Short()
			}
			_, err := fmt.Fprintf(p.stdout, "%s: %s\n", ref.Familiar(), text)
			return err
		})
	}
	if p.global.server != "" {
		c, err := client.New(p.global.server, client.Options{Token: p.global.token})
		if err != nil {
			return usageError{err}
		}
		change, err := c.Restore(cmd.Context(), ref.String(), at)
		if err != nil {
			return err
		}
		return show(change)
	}
	return p.localRegistry(cmd, opt, func(r *server.LocalRegistry) error {
		if ref.Registry != r.Name() {
			return usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "restoring tag", Subject: ref.Familiar(),
				Err: fmt.Errorf("the registry is called %s", r.Name()), Hint: "write it as " + r.Name() + "/NAME:TAG"}}
		}
		change, err := r.Restore(cmd.Context(), ref.Repository, ref.Tag, at)
		if err != nil {
			return err
		}
		return show(change)
	})
}
