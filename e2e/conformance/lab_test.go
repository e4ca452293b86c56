// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// programs are built once: the directory where they are.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dossier-conformance-")
	if err != nil {
		return "", err
	}
	for _, p := range []struct{ dir, pkg string }{
		{"../..", "./cmd/dossier"},
		{".", "github.com/opencontainers/distribution-spec/conformance"},
		{".", "github.com/google/go-containerregistry/cmd/crane"},
		{".", "oras.land/oras/cmd/oras"},
	} {
		cmd := exec.Command("go", "build", "-o", dir+"/", p.pkg)
		cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("building %s: %w\n%s", p.pkg, err, out)
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := programs(); dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// program returns the path of a program that was built.
func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// setups are the ways in which the registry runs.
var setups = []struct {
	name  string
	start func(t *testing.T) string // returns host:port
}{
	{"SQLite", func(t *testing.T) string { return serve(t, t.TempDir(), "").host }},
	{"PostgreSQL with 3 replicas", func(t *testing.T) string {
		database, data := pgtest.Start(t), t.TempDir()
		var replicas []string
		for range 3 {
			replicas = append(replicas, serve(t, data, database).host)
		}
		return roundRobin(t, replicas)
	}},
}

// process is a dossier serve.
type process struct {
	cmd  *exec.Cmd
	host string
	done chan struct{} // closed when it has ended
}

// serve starts a registry. It is ended with the test.
func serve(t *testing.T, data, database string) *process {
	t.Helper()
	p, err := start(t.Context(), program(t, "dossier"), data, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(syscall.SIGTERM) })
	return p
}

func start(ctx context.Context, dossier, data, database string) (*process, error) {
	return startWith(ctx, []string{dossier}, data, database)
}

// startWith starts a registry by a command that may have another one before it.
func startWith(ctx context.Context, command []string, data, database string) (*process, error) {
	return launch(ctx, command, database, "--data", data, "--offline", "--registry-name", "registry.example")
}

// launch starts a server with flags.
func launch(ctx context.Context, command []string, database string, flags ...string) (*process, error) {
	p := &process{done: make(chan struct{})}
	args := append(command[1:len(command):len(command)], "serve", "--listen", "127.0.0.1:0", "--no-cluster")
	args = append(args, flags...)
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), command[0], args...)
	p.cmd.Env = append(os.Environ(), "DOSSIER_DATABASE="+database)
	out, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	var log bytes.Buffer
	lines := bufio.NewScanner(io.TeeReader(out, &log))
	for p.host == "" && lines.Scan() {
		_, p.host, _ = strings.Cut(lines.Text(), "listening on http://")
	}
	if p.host == "" {
		return nil, errors.Join(fmt.Errorf("it does not listen: %s", log.Bytes()), p.cmd.Wait())
	}
	go func() {
		defer close(p.done)
		_, _ = io.Copy(io.Discard, out)
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// end sends a signal and waits for the end.
func (p *process) end(signal os.Signal) {
	_ = p.cmd.Process.Signal(signal) // it may have ended
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// roundRobin sends each request to the next of the replicas.
func roundRobin(t *testing.T, replicas []string) string {
	var n atomic.Uint64
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: replicas[n.Add(1)%uint64(len(replicas))]})
		},
		FlushInterval: -1,
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// run runs a program to a good end and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := try(t, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func try(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+t.TempDir())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String(), nil
}

// answer is a response with its body.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func do(ctx context.Context, method, url string, body []byte, contentType string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}
