// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
)

// historyFlags ask for another time than now, or for two.
type historyFlags struct{ at, from, to string }

func (p *program) historyCommand() *cobra.Command {
	var out outputFlags
	var times historyFlags
	cmd := &cobra.Command{
		Use:   "history IMAGE | DIGEST | REPOSITORY/",
		Short: "Where tags pointed over time, and the layers with what made them",
		Long: `Show where the tag of an image pointed over time, and its layers: the instruction
that made each, its size, and which known base image it comes from. A digest shows
the tags that point at it; a repository with a final slash shows all its tags.

With --at it shows what was so then: where the tag pointed, which tags pointed at
the digest, or all tags of the repository. With --from it shows which tags of the
repository are others now, or at --to, than they were then.`,
		Example: `  dossier history nginx:1.27
  dossier history sha256:3f1b6c2a... --at 2026-01-31
  dossier history registry.example/team/app/
  dossier history registry.example/team/app/ --from 2026-01-01 --to 2026-02-01`,
		Args: oneArg("one IMAGE, DIGEST or REPOSITORY/"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if times.from == "" && times.to == "" {
				return p.history(cmd.Context(), args[0], times, out)
			}
			return p.changes(cmd.Context(), args[0], times, out)
		},
	}
	out.register(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&times.at, "at", "", "what was so at a past `time` (RFC 3339, or a date)")
	f.StringVar(&times.from, "from", "", "compare the tags of a repository with those of this `time`")
	f.StringVar(&times.to, "to", "", "the later `time` of the two; else now")
	return cmd
}

func (p *program) history(ctx context.Context, ref string, times historyFlags, out outputFlags) error {
	if err := out.check(); err != nil {
		return err
	}
	at, err := parseTime("--at", times.at)
	if err != nil {
		return err
	}
	print := func(a Answerer, ref string) error {
		h, err := a.History(ctx, ref, at)
		if err != nil {
			return err
		}
		return out.write(p, h, func(o render.Options) error {
			if h.Truncated {
				p.note("there are more tags than are shown")
			}
			return render.History(p.stdout, h, o)
		})
	}
	if !dossier.IsLocal(ref) && (strings.HasSuffix(ref, "/") || !at.IsZero()) { // to read it now would not help
		return p.askStored(ctx, func(a Answerer) error { return print(a, ref) })
	}
	return p.ask(ctx, ref, (*server.Engine).RefreshContents, print)
}

// changes compares two times of a repository.
func (p *program) changes(ctx context.Context, ref string, times historyFlags, out outputFlags) error {
	if err := out.check(); err != nil {
		return err
	}
	q := dossier.TagDiffQuery{Repository: ref}
	var err error
	if q.From, err = parseTime("--from", times.from); err != nil {
		return err
	}
	if q.To, err = parseTime("--to", times.to); err != nil {
		return err
	}
	switch {
	case !strings.HasSuffix(ref, "/"):
		return usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", "--from", "two times of a repository are compared: write it as "+ref+"/")}
	case q.From.IsZero():
		return usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", "--to="+times.to, "say from which time on, with --from")}
	case times.at != "":
		return usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", "--at="+times.at, "it does not go with --from")}
	}
	return p.askStored(ctx, func(a Answerer) error {
		diff, err := allChanges(ctx, a, q)
		if err != nil {
			return err
		}
		return out.write(p, diff, func(o render.Options) error {
			if len(diff.Changes) == 0 {
				fmt.Fprintln(p.stderr, "no tag differs")
				return nil
			}
			return render.Changes(p.stdout, diff, o)
		})
	})
}

// allChanges asks page by page.
func allChanges(ctx context.Context, a Answerer, q dossier.TagDiffQuery) (dossier.TagDiff, error) {
	whole, err := a.Changes(ctx, q)
	for page := whole; err == nil && page.Next != ""; {
		q.To, q.After = whole.To, page.Next // the same moment for all pages
		if page, err = a.Changes(ctx, q); err == nil && page.Next == q.After {
			err = dossier.Errorf(dossier.KindInternal, "comparing two times of", q.Repository, "the server repeats itself")
		}
		whole.Changes = append(whole.Changes, page.Changes...)
	}
	whole.Next = ""
	return whole, err
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
