// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"dossier.dev/dossier/bench/measure"
)

// postgres is a PostgreSQL server that keeps its promises: fsync is on, as are
// all settings but the socket's.
type postgres struct {
	url     string
	bin     string
	dir     string
	trace   string // where to leave what strace noted; empty: nothing was traced
	user    *syscall.Credential
	process *measure.Process
}

// startTime is how long a server may take to start.
const startTime = 30 * time.Second

// startPostgres makes a server with an empty database. With a trace it runs
// under strace.
func startPostgres(ctx context.Context, trace string, delay time.Duration) (*postgres, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return nil, errors.New("PostgreSQL is not installed: on Debian, run apt-get install postgresql")
	}
	p := &postgres{bin: filepath.Dir(found[len(found)-1]), trace: trace}
	if p.user, err = postgresUser(); err != nil {
		return nil, err
	}
	if p.dir, err = os.MkdirTemp("", "dossier-bench-pg"); err != nil {
		return nil, err
	}
	if err := p.start(ctx, trace, delay); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	query := url.Values{"host": {p.dir}, "user": {"postgres"}}
	p.url = (&url.URL{Scheme: "postgres", Path: "/postgres", RawQuery: query.Encode()}).String()
	return p, nil
}

// postgresUser is who the server runs as when we are root, whom it refuses.
func postgresUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func (p *postgres) start(ctx context.Context, trace string, delay time.Duration) error {
	if p.user != nil {
		if err := os.Chown(p.dir, int(p.user.Uid), int(p.user.Gid)); err != nil {
			return err
		}
	}
	data := filepath.Join(p.dir, "data")
	if err := p.run(ctx, "initdb", "--pgdata="+data, "--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"); err != nil {
		return err
	}
	c := p.command("postgres", "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories="+p.dir)
	if trace != "" {
		c = measure.Synced(c, p.ownTrace(), delay)
	}
	var err error
	if p.process, err = measure.Start(ctx, c); err != nil {
		return err
	}
	for deadline := time.Now().Add(startTime); ; time.Sleep(20 * time.Millisecond) {
		err := p.run(ctx, "pg_isready", "--quiet", "--host="+p.dir)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return errors.Join(err, p.stop())
		}
	}
}

func (p *postgres) command(name string, args ...string) measure.Command {
	return measure.Command{
		Path: filepath.Join(p.bin, name), Args: args, Env: []string{"PATH=" + os.Getenv("PATH")},
		Dir: p.dir, User: p.user, Stdout: io.Discard,
	}
}

func (p *postgres) run(ctx context.Context, name string, args ...string) error {
	_, err := measure.Run(ctx, p.command(name, args...))
	return err
}

// ownTrace is where strace notes fsyncs: where the server's user may write.
func (p *postgres) ownTrace() string { return filepath.Join(p.dir, "strace") }

// stop ends the server at once and removes its files.
func (p *postgres) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	err := p.run(ctx, "pg_ctl", "stop", "-D", filepath.Join(p.dir, "data"), "-m", "immediate")
	_, waitErr := p.process.Wait()
	if err != nil {
		return fmt.Errorf("stopping PostgreSQL: %w (%w)", err, waitErr)
	}
	if p.trace != "" {
		if err := os.Rename(p.ownTrace(), p.trace); err != nil {
			return err
		}
	}
	return os.RemoveAll(p.dir)
}
