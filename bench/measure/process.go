// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is a program to run.
type Command struct {
	Path   string
	Args   []string   // without the program's own name
	Env    []string   // whole
	Files  []*os.File // that it has open, as 3 and up
	Stdout io.Writer  // nil: dropped
	Dir    string     // empty: that of this process
	User   *syscall.Credential
}

// Usage is what a program cost.
type Usage struct {
	Wall, User, System time.Duration
	PeakMemory         int64 // resident, in bytes (VmHWM)
	Output             int64 // bytes written to stdout
}

// CPU is the time of processors, of the program and of the kernel on its behalf.
func (u Usage) CPU() time.Duration { return u.User + u.System }

// memoryInterval is how often the peak of a program's memory is read. What a
// program takes in its last milliseconds goes unseen.
const memoryInterval = 5 * time.Millisecond

// maxWords is how much of stderr an error repeats, in bytes.
const maxWords = 2000

// Run runs a program to its end. The error of one that fails holds the end of its stderr.
func Run(ctx context.Context, c Command) (Usage, error) {
	p, err := Start(ctx, c)
	if err != nil {
		return Usage{}, err
	}
	return p.Wait()
}

// Process is a program that was started.
type Process struct {
	cmd   *exec.Cmd
	begin time.Time
	out   *counter
	words *tail
	ended chan struct{}
	peak  chan int64
	name  string
}

// Start starts a program. It is killed when ctx ends. The caller must Wait.
func Start(ctx context.Context, c Command) (*Process, error) {
	p := &Process{
		cmd: exec.CommandContext(ctx, c.Path, c.Args...), out: &counter{w: c.Stdout}, words: &tail{},
		ended: make(chan struct{}), peak: make(chan int64, 1), name: filepath.Base(c.Path) + " " + strings.Join(c.Args, " "),
	}
	p.cmd.Env, p.cmd.Dir, p.cmd.ExtraFiles, p.cmd.Stdout, p.cmd.Stderr = c.Env, c.Dir, c.Files, p.out, p.words
	if c.Stdout == nil {
		p.cmd.Stdout = nil
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: c.User}
	p.cmd.WaitDelay = 5 * time.Second
	p.begin = time.Now()
	started := make(chan error)
	starter() <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	go p.watchMemory()
	return p, nil
}

// starter returns the queue of the one thread that starts programs: the kernel
// sends the death signal when the thread that started a program ends.
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

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop asks the program to end, as a person would.
func (p *Process) Stop() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

// Wait waits for the end of the program.
func (p *Process) Wait() (Usage, error) {
	err := p.cmd.Wait()
	u := Usage{Wall: time.Since(p.begin), Output: p.out.n}
	close(p.ended)
	u.PeakMemory = <-p.peak
	if s := p.cmd.ProcessState; s != nil {
		u.User, u.System = s.UserTime(), s.SystemTime()
	}
	if err != nil {
		return u, fmt.Errorf("%s: %w: %s", p.name, err, p.words.text())
	}
	return u, nil
}

// watchMemory sends the greatest peak that it reads until the program ends.
func (p *Process) watchMemory() {
	var peak int64
	tick := time.NewTicker(memoryInterval)
	defer tick.Stop()
	for {
		if n, err := PeakMemory(p.PID()); err == nil {
			peak = max(peak, n)
		}
		select {
		case <-p.ended:
			p.peak <- peak
			return
		case <-tick.C:
		}
	}
}

// AvailableMemory returns how much memory the machine could give to whoever asks, in bytes.
func AvailableMemory() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	kilobytes, err := valueOf(b, "\nMemAvailable:")
	if err != nil {
		return 0, fmt.Errorf("reading /proc/meminfo: %w", err)
	}
	return kilobytes << 10, nil
}

// PeakMemory returns the most memory that a running process has had resident, in bytes.
func PeakMemory(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	kilobytes, err := valueOf(b, "\nVmHWM:")
	if err != nil {
		return 0, fmt.Errorf("the process has ended: %w", err)
	}
	return kilobytes << 10, nil
}

// valueOf returns the number that follows a key in a file of /proc.
func valueOf(b []byte, key string) (int64, error) {
	_, rest, ok := bytes.Cut(b, []byte(key))
	fields := strings.Fields(string(rest[:min(len(rest), 64)]))
	if !ok || len(fields) == 0 {
		return 0, fmt.Errorf("no %s", strings.TrimSpace(key))
	}
	return strconv.ParseInt(fields[0], 10, 64)
}

// CPUTime returns the time of processors that a running process has had, from the clock
// that clock_getcpuclockid(3) names.
func CPUTime(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED, of a whole process
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("reading the clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// Syncs is what strace saw.
type Syncs struct {
	Count   int // calls of fsync and fdatasync
	Delayed int // those that were made to take longer
}

// Synced returns the command that runs c under strace, which notes in file each
// fsync and makes it take delay longer. Only fsyncs stop the program, yet its
// memory and processor time are not its own: they hold strace.
func Synced(c Command, file string, delay time.Duration) Command {
	args := []string{"-f", "--seccomp-bpf", "-q", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o", file}
	if delay > 0 {
		args = append(args, "-e", fmt.Sprintf("inject=fsync,fdatasync:delay_exit=%d", delay.Microseconds()))
	}
	c.Path, c.Args = "strace", append(append(args, c.Path), c.Args...)
	return c
}

// ReadSyncs reads what strace has noted in file.
func ReadSyncs(file string) (Syncs, error) {
	f, err := os.Open(file)
	if err != nil {
		return Syncs{}, err
	}
	defer f.Close()
	var s Syncs
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// A call that another thread interrupts has two lines, one with the name and a parenthesis.
		if strings.Contains(lines.Text(), "sync(") {
			s.Count++
		}
		if strings.HasSuffix(lines.Text(), "(DELAYED)") {
			s.Delayed++
		}
	}
	return s, lines.Err()
}

// counter counts what goes through it.
type counter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-maxWords):]
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
