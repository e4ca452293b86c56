// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package mortal lets tests kill a process at each point that it comes by, one after the other: the test starts its own program
// again as a victim, which counts the points and kills itself (SIGKILL) at the one that it is told.
//
// Points are before, within and after transactions of a [Store], and wherever else the victim says. What is killed is the
// process, not the machine: what was written, but not synced, is still there.
package mortal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"dossier.dev/dossier/internal/store"
)

// env is the environment variable that makes a program of tests a victim: an order as JSON.
const env = "DOSSIER_TEST_VICTIM"

type order struct {
	At   int             // the number of the point, from 1; 0: none
	Work json.RawMessage // what the victim does, in words of its test
}

// Main is what TestMain does in a package with victims: it runs the tests, or the work of a victim, as which this process was
// started. It does not return.
func Main[W any](m *testing.M, do func(W, *Points) error) {
	text := os.Getenv(env)
	if text == "" {
		os.Exit(m.Run())
	}
	var o order
	var work W
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = json.Unmarshal(o.Work, &work)
	}
	points := &Points{at: o.At}
	if err == nil {
		err = do(work, points)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, p := range points.passed {
		fmt.Println(pointWord + p)
	}
	os.Exit(0)
}

// pointWord begins the lines in which a victim that lives says which points it came by.
const pointWord = "point "

// Run has a victim do its work, killed at a point (0: none). It returns the lines that the victim wrote to standard output,
// and the points that it came by if it lived. A victim that is not killed where it should be, or fails, ends the test.
func Run(t *testing.T, work any, at int) (said, points []string) {
	t.Helper()
	b, err := json.Marshal(work)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(order{at, b})
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), env+"="+string(text))
	cmd.Stdout, cmd.Stderr = &out, &log
	err = cmd.Run()
	if at == 0 && err != nil {
		t.Fatalf("it is not killed, and fails: %v\n%s", err, log.Bytes())
	}
	if at > 0 {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("it was to be killed at point %d: %v\n%s", at, err, log.Bytes())
		}
	}
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSuffix(line, "\n")
		if p, ok := strings.CutPrefix(line, pointWord); ok {
			points = append(points, p)
		} else {
			said = append(said, line)
		}
	}
	return said, points
}

// Points counts the points by which a victim comes.
type Points struct {
	at     int
	passed []string
}

// Point is one. It does not return when it is the one to be killed at.
func (p *Points) Point(what string) {
	if p.passed = append(p.passed, what); len(p.passed) == p.at {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		select {}
	}
}

// Store has a point before a transaction, within it when all is written, and after it.
type Store struct {
	store.Store
	*Points
	Of   string // whose method names the points, such as "care.(*Collector)"
	Else string // names those of others
}

// Update implements store.Store.
func (s Store) Update(ctx context.Context, f func(store.Tx) error) error {
	what := Method(s.Of, s.Else)
	s.Point(what + ": before")
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		err := f(tx)
		if err == nil {
			s.Point(what + ": written")
		}
		return err
	})
	if err == nil {
		s.Point(what + ": committed")
	}
	return err
}

// Method returns the innermost method of a type, such as "care.(*Collector)", that is under way, or another name when there
// is none.
func Method(of, otherwise string) string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if _, method, ok := strings.Cut(f.Function, of+"."); ok {
			method, _, _ = strings.Cut(method, ".")
			return method
		}
		if !more {
			return otherwise
		}
	}
}
