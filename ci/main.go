// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 all passed, 1 something failed, 2 wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("ci", flag.ContinueOnError)
	flags.SetOutput(stderr)
	list := flags.Bool("list", false, "list the lanes and their steps, run nothing")
	fuzz := flags.Duration("fuzz", 0, "instead of the lanes run each fuzz test for this `time`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	root, err := findRoot()
	if err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return 2
	}
	lanes, err := choose(allLanes(), flags.Args())
	if err == nil && *fuzz > 0 {
		lanes = make([]lane, 1)
		lanes[0], err = fuzzLane(root, *fuzz)
	}
	if err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return 2
	}
	if *list {
		printLanes(stdout, lanes)
		return 0
	}
	r := runner{root: root, env: environment(root), out: stdout, now: time.Now}
	report := r.run(ctx, lanes, newMachine(stdout))
	report.print(stdout)
	if report.failed() {
		return 1
	}
	return 0
}

// choose returns the lanes with the given names, in their own order, or all.
func choose(lanes []lane, names []string) ([]lane, error) {
	if len(names) == 0 {
		return lanes, nil
	}
	var chosen []lane
	for _, l := range lanes {
		if slices.Contains(names, l.name) {
			chosen = append(chosen, l)
			names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == l.name })
		}
	}
	if len(names) > 0 {
		return nil, fmt.Errorf("no lane is named %s; go run ./ci -list shows them", strings.Join(names, ", "))
	}
	return chosen, nil
}

func printLanes(w io.Writer, lanes []lane) {
	for _, l := range lanes {
		fmt.Fprintln(w, l.name)
		for _, s := range l.steps {
			fmt.Fprintf(w, "  %-12s %s\n", s.name, strings.Join(s.argv, " "))
		}
	}
}

// findRoot returns the directory of the main module: the nearest one upwards
// that holds go.mod and .ci.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, modErr := os.Stat(filepath.Join(dir, "go.mod"))
		_, ciErr := os.Stat(filepath.Join(dir, ".ci"))
		if modErr == nil && ciErr == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("run it inside the repository: no directory above has a go.mod and a .ci")
		}
		dir = parent
	}
}

// environment returns what every step starts with. Real data for tests lies
// beside the repository unless DOSSIER_TESTDATA says otherwise.
func environment(root string) []string {
	env := append(os.Environ(), "CI=true")
	if os.Getenv("DOSSIER_TESTDATA") == "" {
		env = append(env, "DOSSIER_TESTDATA="+filepath.Join(filepath.Dir(root), "shared", "data"))
	}
	return env
}
