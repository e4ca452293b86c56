// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Command contents compares which packages Dossier and Syft find in root file
// systems, directories or archives, and prints each difference: see AGREEMENT.md.
// It measures nothing; the figures contents-* of bench do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"dossier.dev/dossier/bench/measure"
)

// syft is the peer, as the proxy of modules serves it.
const syft = "github.com/anchore/syft/cmd/syft@v1.54.1"

// comparison is one run.
type comparison struct {
	dir     string // for everything that is written
	root    string // of the repository
	dossier string
	syft    string
	out     io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	c := comparison{out: out}
	flags := flag.NewFlagSet("contents", flag.ContinueOnError)
	flags.StringVar(&c.syft, "syft", "", "`program` to run as Syft; empty: it is built, which takes minutes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if c.root, err = filepath.Abs("../.."); err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp("", "dossier-bench-contents-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	return c.agree(ctx, flags.Args())
}

// programs builds what is run.
func (c *comparison) programs(ctx context.Context) error {
	c.dossier = filepath.Join(c.dir, "dossier")
	if err := c.command(ctx, c.root, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", c.dossier, "./cmd/dossier"); err != nil {
		return err
	}
	if c.syft != "" {
		return nil
	}
	c.syft = filepath.Join(c.dir, "syft")
	return c.command(ctx, c.dir, "go", "install", "-trimpath", "-ldflags=-s -w", syft)
}

func (c *comparison) command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+c.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args, err, out[max(0, len(out)-2000):])
	}
	return nil
}

// sbom runs dossier on an image; data is its directory.
func (c *comparison) sbom(ctx context.Context, image, data string, out io.Writer) error {
	_, err := measure.Run(ctx, measure.Command{Path: c.dossier, Args: []string{"sbom", "oci:" + image, "--data", data, "--offline", "-o", "cyclonedx"},
		Env: c.env(), Stdout: out})
	return err
}

func (c *comparison) peerSBOM(ctx context.Context, image string, out io.Writer) error {
	_, err := measure.Run(ctx, measure.Command{Path: c.syft, Args: []string{"scan", "oci-dir:" + image, "-q", "-o", "cyclonedx-json"},
		Env: append(c.env(), "SYFT_CHECK_FOR_APP_UPDATE=false"), Stdout: out})
	return err
}

func (c *comparison) env() []string {
	return []string{"HOME=" + c.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + c.dir}
}
