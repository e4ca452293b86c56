// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// stopGrace is how long a step may take to end when it is told to.
	stopGrace = 30 * time.Second
	// maxLine is the longest line of output that is read whole, in bytes.
	maxLine = 16 << 20
)

// runner runs steps, one after the other: they all want every processor.
type runner struct {
	root string
	env  []string
	out  io.Writer
	now  func() time.Time
}

// outcome is how a step ended.
type outcome struct {
	lane, step string
	took       time.Duration
	tally      tally
	err        error // nil also when it was skipped
}

// run runs every step of the lanes. When ctx ends, the rest fails.
func (r *runner) run(ctx context.Context, lanes []lane, m *machine) report {
	var rep report
	for _, l := range lanes {
		rep.lanes = append(rep.lanes, l.name)
		for _, s := range l.steps {
			fmt.Fprintf(r.out, "== %s/%s: %s\n", l.name, s.name, strings.Join(s.argv, " "))
			began := r.now()
			o := r.step(ctx, l.name, s, m)
			o.lane, o.step, o.took = l.name, s.name, r.now().Sub(began)
			rep.outcomes = append(rep.outcomes, o)
			fmt.Fprintf(r.out, "== %s/%s: %s, %s min\n\n", l.name, s.name, o.word(), minutes(o.took))
		}
	}
	return rep
}

// step meets the needs of a step and runs it. A step that counts no tests of its
// own counts as one.
func (r *runner) step(ctx context.Context, laneName string, s step, m *machine) outcome {
	env := append(append([]string{}, r.env...), s.env...)
	var o outcome
	for _, n := range s.needs {
		why := m.provide(ctx, n)
		switch {
		case why == "" && n.env != "":
			env = append(env, n.env)
		case why != "" && n.without == "":
			o.tally.skipped = append(o.tally.skipped, skip{laneName + "/" + s.name, why})
			return o
		case why != "":
			o.tally.skipped = append(o.tally.skipped, skip{laneName + "/" + s.name + ", in part", n.without + ": " + why})
		}
	}
	counted, err := r.exec(ctx, s, env)
	switch named := len(counted.failed) > 0; {
	case err == nil && named:
		err = errors.New("a test failed, though the program ended well")
	case err != nil && !named:
		counted.failed = append(counted.failed, fmt.Sprintf("%s/%s: %v", laneName, s.name, err))
	}
	if counted.total() == 0 {
		counted.passed = 1
	}
	o.tally.add(counted)
	o.err = err
	return o
}

// exec runs the program of a step without input and reads all that it prints.
func (r *runner) exec(ctx context.Context, s step, env []string) (tally, error) {
	var line func(string)
	var count *tally
	switch s.reads {
	case testEvents:
		reader := newEventReader(r.out)
		line, count = reader.line, &reader.tally
	case plain:
		reader := &textReader{out: r.out}
		line, count = reader.line, &reader.tally
	}
	cmd := exec.CommandContext(ctx, s.argv[0], s.argv[1:]...)
	cmd.Dir = filepath.Join(r.root, s.dir)
	cmd.Env = env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	pipe, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	read := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(pipe)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			line(lines.Text())
		}
		err := lines.Err()
		pipe.CloseWithError(err)
		read <- err
	}()
	err := cmd.Run()
	writer.Close()
	return *count, errors.Join(err, <-read)
}
