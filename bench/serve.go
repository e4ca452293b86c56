// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/bench/measure"
)

// Times that a server may take.
const (
	readyTime = 60 * time.Second // to listen, and to have listed the cluster
	quietTime = 8 * time.Minute  // to do the work that it finds
	askAgain  = time.Second      // between two questions whether it has: each costs it a look at all jobs
)

// serving is a `dossier serve` under way.
type serving struct {
	url     string
	process *measure.Process
	http    *http.Client
}

// serve starts a server and returns once it is ready and has no work left.
func (l *lab) serve(ctx context.Context, data string, args ...string) (*serving, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil { // the server takes it
		return nil, err
	}
	p, err := measure.Start(ctx, l.dossier(append([]string{"serve", "--data", data, "--listen", address}, args...)...))
	if err != nil {
		return nil, err
	}
	s := &serving{url: "http://" + address, process: p, http: loadClient()}
	if err := s.settle(ctx); err != nil {
		_, stopErr := s.close()
		return nil, errors.Join(err, stopErr)
	}
	return s, nil
}

// loadClient is a client that keeps as many connections as it ever needed.
func loadClient() *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true}}
}

// settle waits until the server is ready, then until it has no jobs.
func (s *serving) settle(ctx context.Context) error {
	if err := until(ctx, readyTime, 50*time.Millisecond, func() error {
		_, err := s.get(ctx, "/readyz")
		return err
	}); err != nil {
		return fmt.Errorf("waiting for the server: %w", err)
	}
	if err := until(ctx, quietTime, askAgain, func() error {
		var jobs dossier.JobList
		if err := s.ask(ctx, "/api/v1/jobs", &jobs); err != nil {
			return err
		}
		for _, c := range jobs.Counts {
			if c.State != "parked" && c.Count > 0 && !strings.HasPrefix(c.Kind, "registry.") { // those of the registry come again and again
				return fmt.Errorf("%d jobs %s are %s", c.Count, c.Kind, c.State)
			}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("waiting for the server to be done: %w", err)
	}
	return nil
}

// until calls f until it returns nil, with pauses, at most for a while.
func until(ctx context.Context, d, pause time.Duration, f func() error) error {
	for deadline := time.Now().Add(d); ; {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pause)
	}
}

// get returns what the server answers.
func (s *serving) get(ctx context.Context, path string) ([]byte, error) {
	return fetch(ctx, s.http, s.url+path)
}

func (s *serving) ask(ctx context.Context, path string, v any) error {
	b, err := s.get(ctx, path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// fetch gets a URL whose answer must be 200.
func fetch(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.300s", url, resp.Status, b)
	}
	return b, err
}

// close ends the server and returns what it cost.
func (s *serving) close() (measure.Usage, error) {
	s.http.CloseIdleConnections()
	if err := s.process.Stop(); err != nil {
		return measure.Usage{}, err
	}
	return s.process.Wait()
}
