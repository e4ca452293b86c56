// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Command contents measures how Dossier reads the contents of images, beside
// Syft, beside decompression alone, and against its own limit of memory.
//
// With -agree it measures nothing: it compares which packages both find in root
// file systems, and prints each difference.
//
// It makes its images itself from a Debian root file system, builds both
// programs, prints each figure with its ratio, and removes everything that it
// wrote. It keeps no results and does not judge a machine that is busy with
// something else: the load average stands above the figures.
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
	"time"

	"dossier.dev/dossier/bench/measure"
)

// syft is the peer, as the proxy of modules serves it.
const syft = "github.com/anchore/syft/cmd/syft@v1.54.1"

// packages are what the root file system holds beside the least of Debian: a
// Node application, which is npm as Debian splits it, and libraries of Java.
const packages = "nodejs,npm,liblog4j2-java,libspring-context-java,libcommons-lang3-java,python3-pip"

// bench is one run.
type bench struct {
	dir     string // for everything that is written
	root    string // of the repository
	rootfs  string
	mirror  string
	images  int
	large   int  // MiB of the large layer; 0: none
	peer    bool // Syft is run, too
	dossier string
	syft    string
	bases   map[int][]blob
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
	b := bench{out: out, bases: map[int][]blob{}}
	flags := flag.NewFlagSet("contents", flag.ContinueOnError)
	flags.StringVar(&b.rootfs, "rootfs", "", "`directory` with a root file system; empty: debootstrap makes one of Debian 12, as root")
	flags.StringVar(&b.mirror, "mirror", "http://deb.debian.org/debian", "`URL` of Debian's packages")
	flags.IntVar(&b.images, "images", 100, "images on five shared bases")
	flags.IntVar(&b.large, "large", 10<<10, "`MiB` of the large layer; 0: none")
	flags.BoolVar(&b.peer, "peer", true, "build and run Syft, too")
	flags.StringVar(&b.syft, "syft", "", "`program` to run as Syft; empty: it is built, which takes minutes")
	agree := flags.Bool("agree", false, "compare the packages that are found in the arguments: directories, or archives as alpine-minirootfs-*.tar.gz")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if b.root, err = filepath.Abs("../.."); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "dossier-bench-contents-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if *agree {
		return b.agree(ctx, flags.Args())
	}
	fmt.Fprintf(out, "%s\nload average %.2f\n\n", measure.Machine(), measure.LoadAverage())
	for _, step := range []func(context.Context) error{b.programs, b.prepare, b.one, b.many, b.layers, b.largest} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// programs builds what is run.
func (b *bench) programs(ctx context.Context) error {
	b.dossier = filepath.Join(b.dir, "dossier")
	if err := b.command(ctx, b.root, nil, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", b.dossier, "./cmd/dossier"); err != nil {
		return err
	}
	if b.peer && b.syft == "" {
		b.syft = filepath.Join(b.dir, "syft")
		if err := b.command(ctx, b.dir, []string{"GOBIN=" + b.dir}, "go", "install", "-trimpath", "-ldflags=-s -w", syft); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the root file system.
func (b *bench) prepare(ctx context.Context) error {
	if b.rootfs != "" {
		return nil
	}
	b.rootfs = filepath.Join(b.dir, "rootfs")
	return b.command(ctx, b.dir, nil, "debootstrap", "--variant=minbase", "--include="+packages, "bookworm", b.rootfs, b.mirror)
}

func (b *bench) command(ctx context.Context, dir string, env []string, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = dir, append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args, err, out[max(0, len(out)-2000):])
	}
	return nil
}

func (b *bench) note(name, format string, args ...any) {
	fmt.Fprintf(b.out, "%-52s %s\n", name, fmt.Sprintf(format, args...))
}

func (b *bench) usage(name string, u measure.Usage) {
	b.note(name, "%8.2f s, %6.0f MB", u.Wall.Seconds(), float64(u.PeakMemory)/1e6)
}

// sbom runs dossier on an image; data is its directory.
func (b *bench) sbom(ctx context.Context, layout, data string, out io.Writer) (measure.Usage, error) {
	return measure.Run(ctx, measure.Command{Path: b.dossier, Args: []string{"sbom", "oci:" + layout, "--data", data, "--offline", "-o", "cyclonedx"},
		Env: b.env(), Stdout: out})
}

func (b *bench) peerSBOM(ctx context.Context, layout string, out io.Writer) (measure.Usage, error) {
	return measure.Run(ctx, measure.Command{Path: b.syft, Args: []string{"scan", "oci-dir:" + layout, "-q", "-o", "cyclonedx-json"},
		Env: append(b.env(), "SYFT_CHECK_FOR_APP_UPDATE=false"), Stdout: out})
}

func (b *bench) env() []string {
	return []string{"HOME=" + b.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + b.dir}
}

// one measures one image that nothing is known of.
func (b *bench) one(ctx context.Context) error {
	layout := filepath.Join(b.dir, "one")
	base, err := b.base(0)
	if err != nil {
		return err
	}
	if err := writeLayout(layout, base); err != nil {
		return err
	}
	ours, err := b.best(func(n int) (measure.Usage, error) {
		return b.sbom(ctx, layout, filepath.Join(b.dir, fmt.Sprint("data-one-", n)), io.Discard)
	})
	if err != nil {
		return err
	}
	b.usage("one image, cold: dossier, best of 3", ours)
	if !b.peer {
		return nil
	}
	theirs, err := b.best(func(int) (measure.Usage, error) { return b.peerSBOM(ctx, layout, io.Discard) })
	if err != nil {
		return err
	}
	b.usage("one image, cold: syft, best of 3", theirs)
	b.note("  time, of syft's; wanted at most 0.50", "%8.2f", ours.Wall.Seconds()/theirs.Wall.Seconds())
	b.note("  memory, of syft's; wanted at most 0.25, or 128 MB", "%8.2f", float64(ours.PeakMemory)/float64(theirs.PeakMemory))
	return nil
}

// best runs three times and returns the quickest.
func (b *bench) best(run func(n int) (measure.Usage, error)) (measure.Usage, error) {
	var least measure.Usage
	for n := range 3 {
		u, err := run(n)
		if err != nil {
			return u, err
		}
		if n == 0 || u.Wall < least.Wall {
			least = u
		}
	}
	return least, nil
}

// many measures images that share their bases. Syft keeps nothing between
// images, so it is run on one image of each base, and counted for the rest.
func (b *bench) many(ctx context.Context) error {
	const bases = 5
	var layouts []string
	for n := range b.images {
		base, err := b.base(n % bases)
		if err != nil {
			return err
		}
		app, err := b.application(n)
		if err != nil {
			return err
		}
		layouts = append(layouts, filepath.Join(b.dir, fmt.Sprint("many-", n)))
		if err := writeLayout(layouts[n], append(base, app)); err != nil {
			return err
		}
	}
	data := filepath.Join(b.dir, "data-many")
	var cold, warm, theirs time.Duration
	for _, total := range []*time.Duration{&cold, &warm} {
		for _, layout := range layouts {
			u, err := b.sbom(ctx, layout, data, io.Discard)
			if err != nil {
				return err
			}
			*total += u.Wall
		}
	}
	b.note(fmt.Sprintf("%d images on %d bases: dossier", b.images, bases), "%8.2f s", cold.Seconds())
	b.note("  the same again", "%8.2f s", warm.Seconds())
	if !b.peer || b.images < bases {
		return nil
	}
	for n := range bases {
		u, err := b.peerSBOM(ctx, layouts[n], io.Discard)
		if err != nil {
			return err
		}
		theirs += u.Wall
	}
	theirs = theirs * time.Duration(b.images) / bases
	b.note("  syft: one of each base, multiplied", "%8.2f s", theirs.Seconds())
	b.note("  times faster; wanted at least 15", "%8.1f", theirs.Seconds()/cold.Seconds())
	b.note("  times faster, the same again; wanted at least 200", "%8.1f", theirs.Seconds()/warm.Seconds())
	return nil
}

// largest measures the memory that a layer of many gigabytes takes. The test
// makes the layer while it is read, so it lies on no disk.
func (b *bench) largest(ctx context.Context) error {
	if b.large == 0 {
		return nil
	}
	c := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-timeout=60m", "-run=^TestMemory$", "./internal/contents")
	c.Dir, c.Env = b.root, append(os.Environ(), "CGO_ENABLED=0", fmt.Sprint("DOSSIER_TEST_LAYER=", b.large))
	out, err := c.CombinedOutput()
	fmt.Fprintf(b.out, "\na layer of %d MiB, which fails over its limit of memory:\n%s", b.large, out)
	return err
}
