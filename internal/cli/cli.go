// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line: one file a subcommand.
//
// Data goes to stdout, words to stderr, as "error:" and "hint:". Exit codes: 0
// fine, 1 failed, 2 usage, 3 found or denied (only for commands that are asked
// to judge). Commands ask an [Answerer]: a server when --server names one, else
// an engine in this process; what they print is the same.
//
// The package decides nothing about images and formats nothing itself: it reads
// flags, asks, and hands the result to the render package.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/heap"
	"dossier.dev/dossier/internal/render"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitFound  = 3 // a command that judges found what it was told to fail on
)

// usageError is a fault in how the program was called.
type usageError struct{ error }

// Unwrap returns the fault.
func (e usageError) Unwrap() error { return e.error }

// errFound ends a command that judged and found what it was asked about. It has
// said so already.
var errFound = errors.New("found")

// program is one call of the program.
type program struct {
	name           string // as it was called
	env            map[string]string
	stdin          io.Reader
	stdout, stderr io.Writer
	logger         *slog.Logger
	global         globalFlags
}

// Run runs the program as args say (args[0] is its name) and returns its exit
// code. It reads no global state: env holds "KEY=VALUE" strings.
func Run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{name: args[0], env: map[string]string{}, stdin: stdin, stdout: stdout, stderr: stderr, logger: slog.New(slog.DiscardHandler)}
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			p.env[k] = v
		}
	}
	heap.Obey(p.env["GOGC"])
	root := p.root(filepath.Base(args[0]))
	root.SetArgs(args[1:])
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return p.exitCode(cmd, err)
}

// exitCode says what went wrong in cmd and gives the code for it.
func (p *program) exitCode(cmd *cobra.Command, err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFound):
		return exitFound
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(p.stderr, "error: interrupted")
		return exitFailed
	}
	_, usage := errors.AsType[usageError](err)
	hinted := map[string]bool{}
	for _, err := range each(err) {
		fmt.Fprintf(p.stderr, "error: %s\n", render.Clean(err.Error()))
		hint := dossier.HintOf(err)
		switch {
		case hint != "":
		case usage:
			hint = cmd.CommandPath() + " --help says how to call it"
		default:
			hint = adviceFor(dossier.KindOf(err))
		}
		if hint = asHint(hint); hint != "" && !hinted[hint] {
			hinted[hint] = true
			fmt.Fprintf(p.stderr, "hint: %s\n", hint)
		}
	}
	if usage {
		return exitUsage
	}
	return exitFailed
}

// adviceFor says what to do about an error that came without a hint.
func adviceFor(kind dossier.Kind) string {
	switch kind {
	case dossier.KindInvalid:
		return "correct it and run the command again"
	case dossier.KindNotFound:
		return "check the name; dossier images lists what is known"
	case dossier.KindUnavailable, dossier.KindConflict:
		return "run the command again later; -v says what is done"
	case dossier.KindStorage, dossier.KindCorrupt:
		return "check the disk, or choose another directory with --data"
	case dossier.KindDenied:
		return "ask for the right to do this"
	case dossier.KindLimit, dossier.KindUnsupported:
		return "check what it is: dossier does not handle this"
	}
	return "run the command again with -vv to see what led to it"
}

// asHint writes a sentence as all hints are: without a capital, unless a name
// such as KUBECONFIG begins it, and without a full stop.
func asHint(s string) string {
	s = strings.TrimSuffix(render.Clean(s), ".")
	word, rest, _ := strings.Cut(s, " ")
	first, size := utf8.DecodeRuneInString(word)
	if rest == "" || word[size:] != strings.ToLower(word[size:]) {
		return s
	}
	return string(unicode.ToLower(first)) + s[size:]
}

// each returns the errors that were joined to one.
func each(err error) []error {
	if usage, ok := err.(usageError); ok {
		err = usage.error
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var list []error
	for _, e := range joined.Unwrap() {
		list = append(list, each(e)...)
	}
	return list
}

// root builds the command tree.
func (p *program) root(name string) *cobra.Command {
	if name == "kubectl-dossier" {
		name = "kubectl dossier"
	}
	root := &cobra.Command{
		Use:   "dossier",
		Short: "Know every image in your cluster, and prove it",
		Long: `Dossier answers five questions about every container image in a Kubernetes
cluster: What is it? Where did it come from? How can I rebuild it? Does it have
known vulnerabilities? Is it up to date? With each answer it says how well it is
proven: claimed, observed, signed or reproduced.

In the environment DOSSIER_TOKEN is what a server is shown, DOSSIER_TRUST a file that
says whose signatures count, and NO_COLOR wants no colours.`,
		Example: `  dossier demo                     see it on sample images, nothing needed
  dossier images -A                every image in the current cluster
  dossier images -f pods.json      ... or in the output of kubectl get pods -o json
  dossier show nginx:1.27          all that is known of one image
  dossier where REVISION           what runs that was built from it`,
		Version:       readVersion().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: name},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
		PersistentPreRun: func(*cobra.Command, []string) {
			p.logger = p.newLogger()
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	p.global.register(root.PersistentFlags(), p.env)
	root.AddCommand(
		p.imagesCommand(), p.showCommand(), p.historyCommand(), p.whereCommand(), p.sbomCommand(), p.vulnsCommand(), p.scanCommand(), p.auditCommand(), p.verifyCommand(), p.signCommand(), p.attestCommand(), p.keygenCommand(), p.trustCommand(),
		p.dbCommand(), p.serveCommand(), p.demoCommand(), p.registryCommand(), p.logCommand(), p.tufCommand(), p.credentialProviderCommand(),
		p.versionCommand(), p.completionCommand(),
	)
	return root
}

func (p *program) newLogger() *slog.Logger {
	if p.global.verbose == 0 {
		return slog.New(newWords(p.stderr))
	}
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: p.logLevel()}))
}

// logLevel is how much -v asks for.
func (p *program) logLevel() slog.Level {
	if p.global.verbose > 1 {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// unknownCommand says which command may have been meant.
func unknownCommand(cmd *cobra.Command, name string) error {
	e := &dossier.Error{Kind: dossier.KindInvalid, Err: fmt.Errorf("unknown command %q", name)}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		e.Hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{e}
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0])}
}

// oneArg wants one argument, a thing such as "an IMAGE".
func oneArg(thing string) cobra.PositionalArgs { return countArgs(1, thing) }

// countArgs wants n arguments, things such as "a USER and a REPOSITORY".
func countArgs(n int, things string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usageError{fmt.Errorf("%s takes %s, got %d arguments", cmd.CommandPath(), things, len(args))}
	}
}
