// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

// process is a dossier serve in a process of its own, which can be killed.
type process struct {
	cmd    *exec.Cmd
	stderr *firstMatch
	ended  chan struct{}
}

type processesKey struct{}

// scriptProcess: process VAR FLAG... runs dossier serve in a process of its own
// until the script ends or kills it; $VAR is its URL.
func scriptProcess(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: process VAR FLAG...")
	}
	program, err := os.Executable()
	ts.Check(err)
	p := &process{ended: make(chan struct{}), stderr: &firstMatch{pattern: regexp.MustCompile(`listening on (http://\S+)`), found: make(chan string, 1)}}
	p.cmd = &exec.Cmd{Path: program, Args: append([]string{"dossier", "serve", "--listen", "127.0.0.1:0"}, args[1:]...), Dir: ts.MkAbs("."), Stderr: p.stderr}
	for _, name := range []string{"XDG_DATA_HOME", "HOME", "KUBECONFIG", "DOCKER_CONFIG", "TMPDIR", "DOSSIER_TRUST"} {
		p.cmd.Env = append(p.cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // that it was killed is no news
		close(p.ended)
	}()
	ts.Defer(p.kill)
	ts.Value(processesKey{}).(map[string]*process)[args[0]] = p
	select {
	case url := <-p.stderr.found:
		ts.Setenv(args[0], url)
	case <-p.ended:
		ts.Fatalf("serve ended: %s", p.stderr.text())
	case <-time.After(30 * time.Second):
		ts.Fatalf("serve does not listen: %s", p.stderr.text())
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // unless it has ended
	<-p.ended
}

func processOf(ts *testscript.TestScript, name string) *process {
	p, ok := ts.Value(processesKey{}).(map[string]*process)[name]
	if !ok {
		ts.Fatalf("no process %s was started", name)
	}
	return p
}

// scriptMurder: murder VAR kills a process (SIGKILL).
func scriptMurder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: murder VAR")
	}
	processOf(ts, args[0]).kill()
}

// scriptLogged: logged VAR PATTERN waits until a process has logged something.
func scriptLogged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: logged VAR PATTERN")
	}
	p, pattern := processOf(ts, args[0]), regexp.MustCompile(args[1])
	for deadline := time.Now().Add(30 * time.Second); !pattern.MatchString(p.stderr.text()); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("nothing like %s was logged:\n%s", args[1], p.stderr.text())
		}
	}
}

// scriptLapse: lapse FILE KIND finds a job in a database that somebody who is dead
// has leased, and ends the lease as the passing of a minute does.
func scriptLapse(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lapse FILE KIND")
	}
	file := ts.MkAbs(args[0])
	if _, err := os.Stat(file); err != nil {
		ts.Fatalf("there is no database: %v", err)
	}
	ctx := context.Background()
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: file})
	ts.Check(err)
	defer db.Close()
	ts.Check(db.Update(ctx, func(tx store.Tx) error {
		jobs, err := tx.Jobs(ctx, args[1], nil, 1)
		if err != nil {
			return err
		}
		if len(jobs) != 1 || jobs[0].State != store.JobLeased || !jobs[0].LeasedUntil.After(time.Now()) {
			ts.Fatalf("want a job that is leased, found %+v", jobs)
		}
		return tx.Renew(ctx, jobs[0].ID, jobs[0].Owner, time.Now().Add(-time.Second))
	}))
}

// scriptMetric: metric URL LINE waits until the metrics of a server have a line.
func scriptMetric(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: metric URL LINE")
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(args[0] + "/metrics")
		ts.Check(err)
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		ts.Check(err)
		if strings.Contains("\n"+string(b), "\n"+args[1]+"\n") {
			return
		}
		if time.Now().After(deadline) {
			name, _, _ := strings.Cut(args[1], "{")
			found := regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(name)+`.*`).FindAllString(string(b), -1)
			ts.Fatalf("the metrics say %q, want %s", found, args[1])
		}
	}
}
