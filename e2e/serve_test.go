// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dossier.dev/dossier/e2e/internal/proc"
	"dossier.dev/dossier/e2e/kube"
)

// convergence is how long a watching Dossier may take to show a change, the back-off of a broken watch included.
const convergence = 90 * time.Second

// TestServe follows a cluster with `dossier serve` through changes and failures.
func TestServe(t *testing.T) {
	dossierBinary(t)
	c := kube.Start(t, kube.Options{})
	c.StartKwok(t, 2)
	data := t.TempDir()
	gate := c.Gate(t, c.Kubeconfig)
	web := func(version, pods int) string {
		return row("default", "Deployment/web", "container", "main", digestOf(fmt.Sprintf("%s/web:%d", nowhere, version)), pods)
	}
	setWeb := func(t *testing.T, version, pods int) {
		t.Helper()
		c.Apply(t, deployment("default", "web", pods, fmt.Sprintf("%s/web:%d", nowhere, version)))
		waitRunning(t, c, "default", "app=web", pods)
	}

	setWeb(t, 1, 3)
	s := serve(t, data, gate.Kubeconfig)
	s.wait(t, web(1, 3))
	t.Run("same answer from the command line", func(t *testing.T) {
		l := listImages(t, "-A", "--server", s.url)
		if err := differ(l.rows(), []string{web(1, 3)}); err != nil {
			t.Error(err)
		}
		checkAnswers(t, l)
	})
	t.Run("rollout", func(t *testing.T) {
		setWeb(t, 2, 3)
		s.wait(t, web(2, 3))
	})
	t.Run("API server restart", func(t *testing.T) {
		c.RestartAPIServer(t)
		setWeb(t, 2, 4)
		s.wait(t, web(2, 4))
	})
	t.Run("410 Gone", func(t *testing.T) {
		c.Kubectl(t, "", "create", "namespace", "soon-gone")
		c.Apply(t, deployment("soon-gone", "lost", 1, nowhere+"/lost:1"))
		waitRunning(t, c, "soon-gone", "app=lost", 1)
		s.wait(t, web(2, 4), row("soon-gone", "Deployment/lost", "container", "main", digestOf(nowhere+"/lost:1"), 1))
		// While nothing reaches Dossier the namespace goes, and with it every trace of the event.
		gate.Shut()
		deleteNamespace(t, c, "soon-gone")
		setWeb(t, 3, 2)
		c.CompactEtcd(t)
		c.RestartAPIServer(t)
		gate.Open()
		s.wait(t, web(3, 2))
	})
	t.Run("killed, started again, asked to end", func(t *testing.T) {
		s.process.Kill()
		setWeb(t, 4, 1)
		s := serve(t, data, gate.Kubeconfig)
		s.wait(t, web(4, 1))
		s.process.Stop(15 * time.Second)
		if err := s.process.Err(); !strings.HasSuffix(err.Error(), "exit status 0") {
			t.Errorf("after SIGTERM: %v, want exit status 0", err)
		}
	})
}

// TestWatch follows a cluster with `dossier images -w`, which runs until it is interrupted.
func TestWatch(t *testing.T) {
	dossierBinary(t)
	c := kube.Start(t, kube.Options{})
	c.StartKwok(t, 1)
	c.Apply(t, deployment("default", "web", 2, nowhere+"/web:1"))
	waitRunning(t, c, "default", "app=web", 2)

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := command(t, ctx, "images", "-A", "-w", "-o", "json", "--kubeconfig", c.Kubeconfig, "--data", t.TempDir())
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	latest := map[string]image{} // by digest
	read := make(chan error, 1)
	go func() {
		decoder := json.NewDecoder(stdout)
		for {
			var i image
			if err := decoder.Decode(&i); err != nil {
				read <- err
				return
			}
			if i.Digest != nil {
				mu.Lock()
				latest[*i.Digest] = i
				mu.Unlock()
			}
		}
	}()
	want := func(rows ...string) {
		t.Helper()
		kube.Wait(t, convergence, "watch shows the change", func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			var l list
			for _, i := range latest {
				l.Images = append(l.Images, i)
			}
			return differ(l.rows(), rows)
		})
	}
	main := func(version int) string {
		return row("default", "Deployment/web", "container", "main", digestOf(fmt.Sprintf("%s/web:%d", nowhere, version)), 2)
	}
	want(main(1))
	c.Apply(t, deployment("default", "web", 2, nowhere+"/web:2"))
	want(main(2))
	c.RestartAPIServer(t)
	c.Apply(t, deployment("default", "web", 2, nowhere+"/web:3"))
	want(main(3))

	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-read; !errors.Is(err, io.EOF) {
		t.Errorf("stdout: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v, want exit status 0", err)
	}
}

// server is a running `dossier serve`.
type server struct {
	url     string
	process *proc.Process
}

// serve starts `dossier serve` with its data in a directory, as startServer does.
func serve(t *testing.T, data, kubeconfig string) *server {
	t.Helper()
	return startServer(t, "--data", data, "--kubeconfig", kubeconfig)
}

// startServer starts `dossier serve` and waits until it says where it listens. It runs until the end of the test at most.
func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	log := filepath.Join(t.TempDir(), "serve.log")
	p, err := proc.Start(proc.Spec{
		Name: "dossier serve",
		Path: dossierBinary(t),
		Args: append([]string{"serve", "--listen", "127.0.0.1:0"}, args...),
		Env:  []string{"HOME=" + t.TempDir(), "DOSSIER_SERVER="},
		Log:  log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("end of the log of dossier serve:\n%s", p.Tail(30))
		}
	})
	s := &server{process: p}
	kube.Wait(t, 30*time.Second, "dossier serve listens", func(context.Context) error {
		if err := p.Err(); err != nil {
			return err
		}
		f, err := os.Open(log)
		if err != nil {
			return err
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if _, url, ok := strings.Cut(lines.Text(), "listening on "); ok {
				s.url = strings.TrimSpace(url)
				return nil
			}
		}
		return errors.New("no such line on stderr")
	})
	return s
}

// images asks the server for its list.
func (s *server) images(ctx context.Context) (list, error) {
	var l list
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/v1/images", nil)
	if err != nil {
		return l, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return l, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return l, fmt.Errorf("GET /api/v1/images: %s", response.Status)
	}
	return l, json.NewDecoder(io.LimitReader(response.Body, 64<<20)).Decode(&l)
}

// wait waits until the server lists exactly these rows.
func (s *server) wait(t *testing.T, rows ...string) {
	t.Helper()
	kube.Wait(t, convergence, "dossier serve shows the change", func(ctx context.Context) error {
		if err := s.process.Err(); err != nil {
			return err
		}
		l, err := s.images(ctx)
		if err != nil {
			return err
		}
		return differ(l.rows(), slices.Clone(rows))
	})
}
