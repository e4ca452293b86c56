// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"dossier.dev/dossier"
)

// buffer is a log that several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const traceParent = "4bf92f3577b34da6a3ce929d0e0e4736"

// pushTraced pushes a blob as a part of a trace.
func pushTraced(t *testing.T, url string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v2/org/app/blobs/uploads/?digest="+string(dossier.FromBytes([]byte("x"))), strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("traceparent", "00-"+traceParent+"-00f067aa0ba902b7-01")
	r.Header.Set("User-Agent", "client \"of\" level=error\tmsg=forged")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestTraces sends spans of a request and its transactions to a collector, as
// parts of the trace that the client began; and says in the log which it is.
func TestTraces(t *testing.T) {
	var got buffer
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/v1/traces" {
			_, _ = io.Copy(&got, r.Body)
		}
	}))
	t.Cleanup(collector.Close)
	var log buffer
	s := serveRegistry(t, func(c *ServeConfig) {
		c.Traces.Endpoint, c.AccessLog = collector.URL, true
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	pushTraced(t, s.url)
	if err := s.stop(); err != nil { // which sends what waits
		t.Fatal(err)
	}
	id, err := hex.DecodeString(traceParent)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"registry upload-begin", "store update", "dossier.repository", "org/app", string(id)} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("the collector got no %q", want)
		}
	}
	if !strings.Contains(log.String(), "trace="+traceParent) {
		t.Errorf("the log does not name the trace:\n%s", log.String())
	}
}

// TestCollectorIsAway: requests are answered, and the log says what was lost.
func TestCollectorIsAway(t *testing.T) {
	var log buffer
	s := serveRegistry(t, func(c *ServeConfig) {
		c.Traces.Endpoint = "http://127.0.0.1:1"
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	pushTraced(t, s.url)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "spans could not be sent") {
		t.Errorf("nothing of it in the log:\n%s", log.String())
	}
	for _, endpoint := range []string{"127.0.0.1:4318", "grpc://x", "http://"} {
		c := ServeConfig{Config: Config{Data: "data"}}
		if c.Traces.Endpoint = endpoint; dossier.KindOf(c.Validate()) != dossier.KindInvalid {
			t.Errorf("%s is taken", endpoint)
		}
	}
}

// TestAccessLog has a line for each request, whatever the client calls itself.
func TestAccessLog(t *testing.T) {
	for _, on := range []bool{true, false} {
		var log buffer
		s := serveRegistry(t, func(c *ServeConfig) {
			c.AccessLog = on
			c.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		})
		pushTraced(t, s.url)
		fetch(t, s.url+"/api/v1/clusters")
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		var lines []map[string]any
		for line := range strings.Lines(log.String()) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if m["msg"] == "registry request" || m["msg"] == "request" {
				lines = append(lines, m)
			}
		}
		if !on {
			if len(lines) > 0 {
				t.Errorf("it is off, and there are lines: %v", lines)
			}
			continue
		}
		if len(lines) != 2 {
			t.Fatalf("%d lines, want 2: %v", len(lines), lines)
		}
		for key, want := range map[string]any{
			"kind": "upload-begin", "status": 201.0, "caller": "anonymous", "repository": "org/app", "received": 1.0,
			"reference": string(dossier.FromBytes([]byte("x"))), "agent": "client \"of\" level=error\tmsg=forged",
		} {
			if got := lines[0][key]; got != want {
				t.Errorf("%s is %v, want %v", key, got, want)
			}
		}
	}
}
