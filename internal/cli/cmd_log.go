// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/heap"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/translog"
)

func (p *program) logCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Look after the transparency log",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.logVerify(), p.logRebuild(), p.logMonitor())
	return cmd
}

func (p *program) logVerify() *cobra.Command {
	var key string
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare the log with all facts of the store",
		Long: `Compute the log again from the facts of the store, and compare: each fact with its
leaf, the chain of each digest, each tile of the tree, and what was signed. It says
which row was changed, deleted or put elsewhere. The exit code is 3 when there is one.

Without --key the key is the one that the store names: who can write the store can then
forge all of it. A server tells its key when it starts.`,
		Example: `  dossier log verify
  dossier log verify --key dossier.dev/log/NAME+HASH+KEY --database postgres://...`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return p.verifyLog(cmd.Context(), key, out)
		},
	}
	out.register(cmd.Flags())
	cmd.Flags().StringVar(&key, "key", "", "verifier `key` that the log must be signed by")
	return cmd
}

func (p *program) logRebuild() *cobra.Command {
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Make again what follows from facts",
		Long: `Compare with the facts what the store has made of them, and make again what is not as they
say: what images are and where they lead, their names and the words under which they are found,
which packages they have, and where the chain of facts of each digest ends. It says what it
changed. Facts are read and never written; whether those are whole, log verify says first.

Servers may run meanwhile: each digest is compared and put right in one transaction. What
was interrupted can be begun again. Tags, places and the history of findings do not follow
from facts alone, and are left as they are.`,
		Example: `  dossier log verify && dossier log rebuild
  dossier log rebuild --database postgres://... -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return p.rebuildLog(cmd.Context(), out)
		},
	}
	out.register(cmd.Flags())
	return cmd
}

// rebuilt is what log rebuild prints as JSON or YAML.
type rebuilt struct {
	ingest.Rebuilt
	Changes []ingest.Mended `json:"changes"`
}

func (p *program) rebuildLog(ctx context.Context, out outputFlags) (err error) {
	engine, err := p.openStore(ctx, "it is rebuilt from the store itself: run it where that is, with --data or --database")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	result := rebuilt{Changes: []ingest.Mended{}}
	result.Rebuilt, err = engine.RebuildLog(ctx, func(m ingest.Mended) error {
		result.Changes = append(result.Changes, m)
		return nil
	})
	if err != nil {
		if n := len(result.Changes); n > 0 {
			p.note("%d things were put right before that; begin again to go on", n)
		}
		return err
	}
	return out.write(p, result, func(render.Options) error {
		for _, m := range result.Changes {
			if _, err := fmt.Fprintf(p.stdout, "%s: %s\n", m.Subject, m.What); err != nil {
				return err
			}
		}
		word := "all is as the facts say"
		if n := result.Mended; n > 0 {
			word = fmt.Sprintf("%d things were not as the facts say, and are now", n)
		}
		_, err := fmt.Fprintf(p.stdout, "%s: %d digests\n", word, result.Subjects)
		return err
	})
}

// openStore opens the store in this process. why says why no server can be asked.
func (p *program) openStore(ctx context.Context, why string) (*server.Engine, error) {
	if p.global.server != "" {
		return nil, usageError{dossier.Errorf(dossier.KindUnsupported, "reading flag", "--server", why)}
	}
	if err := p.checkStore(); err != nil {
		return nil, err
	}
	if p.global.database == "" {
		file := filepath.Join(p.global.data, server.DatabaseFile)
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil, &dossier.Error{Kind: dossier.KindNotFound, Op: "opening the store", Subject: file, Err: errors.New("there is none"),
				Hint: "give the --data of the server, or the --database"}
		}
	}
	heap.Fix(heap.Lean) // what is compared with all facts is large
	return server.Open(ctx, p.engineConfig())
}

func (p *program) logMonitor() *cobra.Command {
	var m monitorFlags
	cmd := &cobra.Command{
		Use:   "monitor URL",
		Short: "Follow the log of a server, and see that it does not lie",
		Long: `Follow the log of the server at URL from outside: read all entries that it serves, compute
the tree and the map of the newest fact of each digest, and compare both with what the
server signs. With --state what it signed is kept in a file, so that the log cannot show
another history the next time. It ends with exit code 3 when the log lied, and says how.`,
		Example: `  dossier log monitor https://dossier.example --key dossier.dev/log/NAME+HASH+KEY --state log.state
  dossier log monitor http://127.0.0.1:8480 --key dossier.dev/log/NAME+HASH+KEY --once`,
		Args: oneArg("one URL"),
		RunE: func(cmd *cobra.Command, args []string) error { return p.monitor(cmd.Context(), args[0], m) },
	}
	f := cmd.Flags()
	f.StringVar(&m.key, "key", "", "verifier `key` that the log must be signed by")
	f.StringVar(&m.state, "state", "", "`file` that keeps what the log signed")
	f.DurationVar(&m.every, "every", 10*time.Second, "how often to look")
	f.BoolVar(&m.once, "once", false, "look once")
	return cmd
}

func (p *program) verifyLog(ctx context.Context, key string, out outputFlags) (err error) {
	engine, err := p.openStore(ctx, "the log is compared with the store itself: run it where that is, with --data or --database")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	report, err := engine.VerifyLog(ctx, key)
	if err != nil {
		return err
	}
	err = out.write(p, report, func(render.Options) error { return p.printLogReport(report) })
	if err == nil && len(report.Faults) > 0 {
		return errFound
	}
	return err
}

func (p *program) printLogReport(r translog.Report) error {
	for _, f := range r.Faults {
		where := "log"
		if f.Index >= 0 {
			where = fmt.Sprintf("entry %d", f.Index)
		}
		if f.Fact != "" {
			where += ", fact " + string(f.Fact)
		}
		if _, err := fmt.Fprintf(p.stdout, "%s: %s\n", where, render.Clean(f.What)); err != nil {
			return err
		}
	}
	if r.Waiting {
		p.note("some facts are not in the log yet; a server appends them")
	}
	word := "the log and the facts agree"
	if n := len(r.Faults); n > 0 {
		word = fmt.Sprintf("the log and the facts disagree in %d places", n)
	}
	_, err := fmt.Fprintf(p.stdout, "%s: %d entries, root %s, %d bodies erased\nkey %s\n", word, r.Size, r.Root, r.Erased, r.Key)
	return err
}
