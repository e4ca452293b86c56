// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dossier.dev/dossier/bench/measure"
)

// peer is a registry to measure, Dossier's own among them.
type peer struct {
	name  string
	syncs string // what it makes durable before it acknowledges
	// command returns what serves the directory at an address.
	command func(dir, address string) (measure.Command, error)
}

// The names of the peers.
const (
	ours         = "dossier"
	distribution = "distribution"
	crane        = "crane registry"
)

// needPeers builds the registries and returns those of the names.
func (l *lab) needPeers(ctx context.Context, names ...string) ([]peer, error) {
	if _, err := l.needProgram(ctx); err != nil {
		return nil, err
	}
	dir := filepath.Join(l.dir, "peers")
	if _, err := os.Stat(dir); err != nil && slices.ContainsFunc(names, func(name string) bool { return name != ours }) {
		l.say("building distribution and crane")
		cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+"/",
			"github.com/distribution/distribution/v3/cmd/registry", "github.com/google/go-containerregistry/cmd/crane")
		cmd.Dir, cmd.Env = filepath.Join(l.root, "bench", "peers"), append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building peers: %w\n%s", err, out)
		}
	}
	all := map[string]peer{
		ours: {ours, "database, and of blobs above 16 KiB file and directory", func(data, address string) (measure.Command, error) {
			return l.dossier("serve", "--no-cluster", "--offline", "--registry-name", "registry.example", "--data", data, "--listen", address), nil
		}},
		distribution: {distribution, "files it writes, not the names of blobs", func(data, address string) (measure.Command, error) {
			config := filepath.Join(data, "config.yml")
			text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage:\n  cache: {blobdescriptor: inmemory}\n"+
				"  filesystem: {rootdirectory: %q}\nhttp: {addr: %q}\n", filepath.Join(data, "root"), address)
			c := measure.Command{Path: filepath.Join(dir, "registry"), Args: []string{"serve", config}, Env: append(l.env(), "OTEL_TRACES_EXPORTER=none"), Stdout: io.Discard}
			return c, os.WriteFile(config, []byte(text), 0o600)
		}},
		crane: {crane, "nothing", func(data, address string) (measure.Command, error) {
			c := measure.Command{Path: filepath.Join(dir, "crane"), Args: []string{"registry", "serve", "--address", address, "--disk", data}, Env: l.env(), Stdout: io.Discard}
			return c, nil
		}},
	}
	var list []peer
	for _, name := range names {
		list = append(list, all[name])
	}
	return list, nil
}

// running is a peer that runs.
type running struct {
	peer
	dir     string
	base    string // http://HOST:PORT
	process *measure.Process
	pid     int // of the registry, or of strace
}

// host starts a peer on a new directory. With a trace it runs under strace, and each
// of its fsyncs takes delay longer.
func (l *lab) host(ctx context.Context, p peer, trace string, delay time.Duration) (*running, error) {
	dir, err := os.MkdirTemp(l.dir, "registry-")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	c, err := p.command(dir, address)
	if err != nil {
		return nil, err
	}
	if trace != "" {
		c = measure.Synced(c, trace, delay)
	}
	s := &running{peer: p, dir: dir, base: "http://" + address}
	if s.process, err = measure.Start(ctx, c); err != nil {
		return nil, err
	}
	s.pid = s.process.PID()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(s.base + "/v2/")
		if err == nil {
			resp.Body.Close()
			return s, nil
		}
		if time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("%s does not answer: %w", p.name, err), s.close())
		}
	}
}

// hostAll starts peers as host does, each with its trace unless traces is nil. When one
// does not start, those before it are ended.
func (l *lab) hostAll(ctx context.Context, peers []peer, traces []string, delay time.Duration) ([]*running, error) {
	var servers []*running
	for i, p := range peers {
		trace := ""
		if traces != nil {
			trace = traces[i]
		}
		s, err := l.host(ctx, p, trace, delay)
		if err != nil {
			return nil, errors.Join(err, closeAll(servers))
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func closeAll(servers []*running) error {
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// takeTurns calls f so many times for each of n that are compared, each time in the other order.
func takeTurns(turns, n int, f func(turn, i int) error) error {
	for turn := range turns {
		for i := range n {
			if turn%2 == 1 {
				i = n - 1 - i
			}
			if err := f(turn, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// close ends the registry and removes what it wrote.
func (s *running) close() error {
	pid := s.pid
	if child, ok := childOf(pid); ok { // of strace, which gives no signal on
		pid = child
	}
	_ = syscall.Kill(pid, syscall.SIGTERM) // it may have ended
	_, _ = s.process.Wait()
	return os.RemoveAll(s.dir)
}

// childOf returns the only child of a process, if it has one.
func childOf(pid int) (int, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, false
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return child, err == nil
}

// cost is what a server spent on something.
type cost struct {
	wall   time.Duration
	cpu    time.Duration
	memory int64 // peak so far, in bytes
}

// spend runs f and returns what it cost the server.
func (s *running) spend(f func() error) (cost, error) {
	before, err := measure.CPUTime(s.pid)
	if err != nil {
		return cost{}, err
	}
	begin := time.Now()
	if err := f(); err != nil {
		return cost{}, fmt.Errorf("%s: %w", s.name, err)
	}
	c := cost{wall: time.Since(begin)}
	after, err := measure.CPUTime(s.pid)
	if err != nil {
		return cost{}, err
	}
	c.cpu = after - before
	c.memory, err = measure.PeakMemory(s.pid)
	return c, err
}

// freeAddress returns a loopback address that nobody has at this moment.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// serveFiles serves a directory as http.FileServer does, on the listener that it
// inherits.
func serveFiles(ctx context.Context, args []string, _ io.Writer) error {
	if len(args) != 1 {
		return errors.New("want a directory")
	}
	return serveInherited(ctx, http.FileServer(http.Dir(args[0])))
}
