// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures Dossier: how long a cluster takes to answer for, how
// soon a change shows, what a fact costs. Without arguments it measures
// everything; names of figures choose. It prints what it finds beside what is
// wanted, and keeps it in RESULTS.md with date, machine and command.
//
// It builds and runs the program itself, a real Kubernetes API server, and a
// registry in a process of its own, all on loopback; all of them end with it.
// It does not judge a machine that is busy with something else: the load average
// stands beside each figure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"dossier.dev/dossier/bench/measure"
)

// maxTime bounds a run of everything.
const maxTime = 15 * time.Minute

// figure is something to measure.
type figure struct {
	name  string
	about string
	run   func(ctx context.Context, l *lab, r *report) error
}

// three and two are the registries that blobs are pushed to. That of crane has a
// repository's manifests in memory, and is left out where it would write the disk full.
func three() []string { return []string{ours, distribution, crane} }
func two() []string   { return []string{ours, distribution} }

// soakFigure is the figure that takes longer than all others.
const soakFigure = "soak"

// lastOfAll is the last figure that is measured when none is named: those after it are
// of the registry, and together would write more than a run may.
const lastOfAll = "rollout"

// figures are all figures in the order in which they are measured: those that
// others profit from come first.
func figures() []figure {
	return []figure{
		{"start", "the program starts, and how large it is", measureStart},
		{"facts", "facts recorded durably by several writers at a time", measureFacts},
		{"images-cold", "first complete list of a cluster, images read from a registry that answers after 20 ms", measureCold},
		{"images-warm", "the same list again", measureWarm},
		{"images-synced", "the first list under strace: its fsyncs, and each of them 5 ms slower", measureSynced},
		{"where", "a search over all digests", measureWhere},
		{"show", "the dossier of a known digest, asked of a server at a constant rate", measureShow},
		{"change", "a pod's change until it can be seen, while 100 pods change a second", measureChange},
		{"rollout", "the same with a whole control plane, where Deployments are rolled out", measureRollout},
		{"tags", "tags of a digest and a digest at a time among 1,000,000 tags, a page of 100,000 repositories", measureTags},
		{"vulns", "a new advisory until what runs with it, a refresh of 20,000, searches, and memory; 1,000 images of 1,000 packages", measureVulns},
		{"vulns-growth", "searches and memory as images and advisories grow: 1, 10 and 100 times 100 images", measureGrowth},
		{"proofs", "record to provable, proofs, and log verify, in a log of 1,000,000 facts", measureProofs},
		{"trust", "signed images verified beside the operations with keys alone", measureTrust},
		{"contents-one", "packages and findings of one image that nothing is known of, beside Syft and Grype", measureContentsOne},
		{"contents-many", "packages of 100 images on 5 bases, beside Syft", measureContentsMany},
		{"contents-speed", "layers read beside decompressing them", measureContentsSpeed},
		{"contents-huge", "memory that layers of any size take", measureContentsHuge},
		{"push-many", "a push into a repository with 100,000 tags beside one with 10", measurePushMany},
		{"tuf", "pushes, and the signing of what they tag, below a prefix with 100,000 signed tags beside one with 10", measureTUF},
		{"push-small", "small images pushed durably, beside distribution and crane registry", measureSmall},
		{"head", "the manifest of a tag asked for, beside distribution and crane registry", measureHead},
		{"blobs-1mb", "blobs of 1 MB pushed and pulled, beside distribution and crane registry", measureBlobs(1.2,
			blobRun{1, 1000, megabyte, three()}, blobRun{10, 500, megabyte, three()}, blobRun{50, 1000, megabyte, three()})},
		{"blobs-10mb", "blobs of 10 MB", measureBlobs(0.95,
			blobRun{1, 100, 10 * megabyte, three()}, blobRun{10, 100, 10 * megabyte, three()}, blobRun{50, 150, 10 * megabyte, three()})},
		{"blobs-100mb", "blobs of 100 MB", measureBlobs(0.95, blobRun{1, 20, 100 * megabyte, two()}, blobRun{10, 30, 100 * megabyte, two()})},
		{"blobs-100mb-50", "blobs of 100 MB by 50 clients", measureBlobs(0.95, blobRun{50, 50, 100 * megabyte, two()})},
		{"blobs-1gb", "blobs of 1 GB", measureBlobs(0.95, blobRun{1, 4, gigabyte, two()})},
		{"audit", "pulls with and without a record of them", measureAudit},
		{"quiet", "pulls while garbage is collected and blobs are checked, and without", measureQuiet},
		{soakFigure, "20 minutes of push, pull, mount, retag, refer and delete while garbage is collected every second", measureSoak},
		{"blobs-1gb-8", "blobs of 600 MB, as a run writes 10 GB at most, by 8 clients", measureBlobs(0.95, blobRun{8, 8, 600 * megabyte, two()})},
	}
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if part, rest := partOf(args); part != nil {
		err = part(ctx, rest, stdout)
	} else {
		err = measureAll(ctx, args, stdout, stderr)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 2
	case err != nil:
		fmt.Fprintln(stderr, "error:", err)
		return 1
	}
	return 0
}

// measureAll measures the figures that the arguments name.
func measureAll(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	results := flags.String("results", "RESULTS.md", "`file` that keeps the results; empty: none")
	images := flags.Int("images", 2000, "distinct images in the cluster")
	short := flags.Bool("short", false, "try figures of the registry out, with little work; keeps no results")
	perImage := flags.Int("pods", 5, "pods of each image")
	hold := flags.Bool("hold", false, "afterwards keep cluster and registry until interrupted, to look closer")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: go run . [flags] [FIGURE...]")
		flags.PrintDefaults()
		fmt.Fprintln(stderr, "figures:")
		for _, f := range figures() {
			fmt.Fprintf(stderr, "  %-14s %s\n", f.name, f.about)
			if f.name == lastOfAll {
				fmt.Fprintln(stderr, "figures that are measured when they are named:")
			}
		}
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return err
	}
	root, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	l := &lab{root: root, log: stderr, size: size{*images, *perImage}, short: *short}
	if *results != "" && !*short {
		if l.results, err = filepath.Abs(*results); err != nil {
			return err
		}
	}
	if !*hold {
		var cancel context.CancelFunc
		limit := maxTime
		if slices.ContainsFunc(chosen, func(f figure) bool { return f.name == soakFigure }) {
			limit += 3 * soakTime
		}
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	command := strings.TrimSpace("go run . " + strings.Join(args, " "))
	return l.open(func() error {
		err := measureEach(ctx, l, chosen, command, stdout)
		if *hold {
			fmt.Fprintf(stderr, "held: %s\n", l.held())
			<-ctx.Done()
		}
		return err
	})
}

func choose(names []string) ([]figure, error) {
	all := figures()
	if len(names) == 0 {
		last := slices.IndexFunc(all, func(f figure) bool { return f.name == lastOfAll })
		return all[:last+1], nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(f figure) bool { return f.name == name }) {
			return nil, fmt.Errorf("there is no figure %q; -h lists them", name)
		}
	}
	return slices.DeleteFunc(all, func(f figure) bool { return !slices.Contains(names, f.name) }), nil
}

// measureEach goes on after a figure that fails.
func measureEach(ctx context.Context, l *lab, chosen []figure, command string, stdout io.Writer) error {
	fmt.Fprintln(stdout, measure.Machine())
	var errs []error
	missed := 0
	for _, f := range chosen {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, fmt.Errorf("%s was not measured: %w", f.name, context.Cause(ctx)))...)
		}
		r := &report{name: f.name, about: f.about, command: command, at: time.Now().UTC(), loadBefore: measure.LoadAverage(), commit: l.commit()}
		if err := f.run(ctx, l, r); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
			continue
		}
		r.loadAfter = measure.LoadAverage()
		missed += r.missed()
		fmt.Fprintf(stdout, "\n%s: %s (load average %.1f, %.1f)\n%s", r.name, r.about, r.loadBefore, r.loadAfter, r.table())
		if l.results != "" {
			if err := keep(l.results, r); err != nil {
				errs = append(errs, err)
			}
		}
	}
	fmt.Fprintf(stdout, "\n%d figures, %d limits missed\n", len(chosen)-len(errs), missed)
	return errors.Join(errs...)
}

// open runs f in a stage that the Kubernetes harness, which is made for tests,
// can clean up after.
func (l *lab) open(f func() error) (err error) {
	testing.Init()
	if err := flag.Set("test.benchtime", "1x"); err != nil {
		return err
	}
	err = errors.New("the stage fell") // unless f returns
	testing.Benchmark(func(b *testing.B) {
		l.stage = &stage{TB: b, log: l.log}
		l.dir = b.TempDir()
		spread(l.dir)
		err = f()
	})
	return err
}

// stage is a test that says on the log what it says.
type stage struct {
	testing.TB
	log io.Writer
}

// Output implements testing.TB.
func (s *stage) Output() io.Writer { return s.log }

// Log implements testing.TB.
func (s *stage) Log(args ...any) { fmt.Fprintln(s.log, args...) }

// Logf implements testing.TB.
func (s *stage) Logf(format string, args ...any) { fmt.Fprintf(s.log, format+"\n", args...) }

// Fatal implements testing.TB.
func (s *stage) Fatal(args ...any) {
	s.Log(args...)
	s.FailNow()
}

// Fatalf implements testing.TB.
func (s *stage) Fatalf(format string, args ...any) {
	s.Logf(format, args...)
	s.FailNow()
}
