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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dossier.dev/dossier/internal/blob/s3/s3test"
	"dossier.dev/dossier/internal/store/storetest/pgtest"
	"dossier.dev/dossier/internal/testprogram"
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

// peer returns the path of a program of others that has a module of its own.
func peer(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := testprogram.Build(t.Context(), "e2e/"+name, pkg)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// storages are the ways in which the registry keeps what it has.
var storages = []struct {
	name  string
	start func(t *testing.T, flags ...string) string // returns host:port
}{
	{"SQLite and a directory", func(t *testing.T, flags ...string) string {
		return serveAt(t, place{data: t.TempDir(), flags: flags}).host
	}},
	{"PostgreSQL and S3 with 3 replicas", func(t *testing.T, flags ...string) string {
		p := bucket(t)
		p.database, p.flags = pgtest.Start(t), flags
		var replicas []string
		for range 3 { // that share nothing else
			p.data = t.TempDir()
			replicas = append(replicas, serveAt(t, p).host)
		}
		return roundRobin(t, replicas)
	}},
}

// Who may log in, where one must.
const (
	user     = "conformance"
	password = "correct horse"
	// passwordHash is that password as htpasswd -B writes it, with the least cost.
	passwordHash = "$2a$04$2B.VJQzV.EqfOuhDpVkpdeddV7TGkR8xXiEW84ppXqlndR6l6uMaW"
)

// logins are the ways in which clients show who they are, and the flags for them.
var logins = []struct {
	name  string
	flags func(t *testing.T) []string
}{
	{"nobody logs in", func(*testing.T) []string { return nil }},
	{"tokens", func(t *testing.T) []string {
		users, rules := filepath.Join(t.TempDir(), "users"), filepath.Join(t.TempDir(), "rules.yaml")
		write(t, users, user+":"+passwordHash+"\n")
		write(t, rules, `rules: [{repositories: ["**"], users: [`+user+`], allow: [pull, push, retag, delete]}, {repositories: ["org/**"], anyone: true, allow: [pull]}]`)
		return []string{"--htpasswd", users, "--rules", rules, "--anonymous-pull"}
	}},
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// place is where a registry keeps what it has.
type place struct {
	data     string
	database string   // URL; empty: SQLite in data
	env      []string // credentials of the bucket
	flags    []string
}

// bucket makes a bucket in an object store of its own.
func bucket(t *testing.T) place {
	t.Helper()
	c := s3test.Start(t).Bucket(t, "dossier")
	query := url.Values{"endpoint": {c.Endpoint}, "region": {c.Region}, "path-style": {"true"}}
	return place{env: []string{
		"DOSSIER_BLOBS=s3://" + c.Bucket + "/registry?" + query.Encode(),
		"AWS_ACCESS_KEY_ID=" + c.Credentials.AccessKey, "AWS_SECRET_ACCESS_KEY=" + c.Credentials.SecretKey,
	}}
}

// process is a dossier serve.
type process struct {
	cmd  *exec.Cmd
	host string
	done chan struct{} // closed when it has ended
}

// serve starts a registry on a directory. It is ended with the test.
func serve(t *testing.T, data, database string) *process {
	t.Helper()
	return serveAt(t, place{data: data, database: database})
}

func serveAt(t *testing.T, at place) *process {
	t.Helper()
	p, err := start(t.Context(), program(t, "dossier"), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(syscall.SIGTERM) })
	return p
}

func start(ctx context.Context, dossier string, at place) (*process, error) {
	return startWith(ctx, []string{dossier}, at)
}

// startWith starts a registry by a command that may have another one before it.
func startWith(ctx context.Context, command []string, at place) (*process, error) {
	env := append([]string{"DOSSIER_DATABASE=" + at.database}, at.env...)
	return launch(ctx, command, env, append([]string{"--data", at.data, "--offline", "--registry-name", "registry.example"}, at.flags...)...)
}

// launch starts a server with flags, and more in its environment.
func launch(ctx context.Context, command, env []string, flags ...string) (*process, error) {
	p := &process{done: make(chan struct{})}
	args := slices.Concat(command[1:], []string{"serve", "--listen", "127.0.0.1:0", "--no-cluster"}, flags)
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), command[0], args...)
	p.cmd.Env = slices.Concat(os.Environ(), []string{"DOSSIER_DATABASE=", "DOSSIER_BLOBS="}, env)
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
			r.Out.Host = r.In.Host // tokens are made where the client asks
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

// try runs a program that knows of no login.
func try(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	return tryWith(t, []string{"DOCKER_CONFIG=" + t.TempDir()}, name, args...)
}

// tryWith runs a program with more in its environment and returns what it printed.
func tryWith(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
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
	return roundTrip(r)
}

func roundTrip(r *http.Request) (answer, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}
