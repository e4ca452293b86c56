// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package proc runs the programs of an end-to-end test. It promises that none of them outlives the test process, however
// that ends: each is killed by the kernel when its parent dies. It does not restart anything, and it does not look after
// what a program starts itself, unless the program is the first of a PID namespace.
package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Spec says what to run.
type Spec struct {
	Name       string // for messages
	Path       string
	Args       []string // without the program's own name
	Env        []string // added to the environment of the test
	Log        string   // file that stdout and stderr are appended to
	Namespaces uintptr  // CLONE_NEW... flags: namespaces to make for it
}

// Process is a running or ended program.
type Process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // set before done is closed
}

// starter returns the queue of the one thread that starts programs. The kernel sends the death signal when the thread that
// started a program ends, not when the process does, so that thread must live as long as the process.
var starter = sync.OnceValue(func() chan<- func() {
	queue := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range queue {
			f()
		}
	}()
	return queue
})

// Start runs a program in the background. Errors are those of opening the log and of exec.
func Start(spec Spec) (*Process, error) {
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true, Cloneflags: spec.Namespaces}
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	p := &Process{name: spec.Name, log: spec.Log, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Name returns the name for messages.
func (p *Process) Name() string { return p.name }

// PID returns the process id in the namespace of the test.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns nil while the program runs, and why it ended afterwards.
func (p *Process) Err() error {
	select {
	case <-p.done:
		if p.err == nil {
			return fmt.Errorf("%s ended: exit status 0", p.name)
		}
		return fmt.Errorf("%s ended: %w", p.name, p.err)
	default:
		return nil
	}
}

// Stop asks the program to end, kills it when it has not done so after grace, and returns once it is gone.
func (p *Process) Stop(grace time.Duration) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		<-p.done
		return
	}
	select {
	case <-p.done:
	case <-time.After(grace):
		p.Kill()
	}
}

// Kill ends the program at once and returns once it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended already
	<-p.done
}

// Tail returns at most n of the last lines of the log, of its last 64 KiB.
func (p *Process) Tail(n int) string { return Tail(p.log, n) }

// Tail returns at most n of the last lines of a file, of its last 64 KiB, each cut after 400 bytes, or why it can't be read.
func Tail(file string, n int) string {
	const limit = 64 << 10
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > limit {
		_, _ = f.Seek(-limit, io.SeekEnd)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, line := range lines {
		lines[i] = line[:min(len(line), 400)]
	}
	return strings.Join(lines, "\n")
}
