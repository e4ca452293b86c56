// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// seen are the signed checkpoints of a log that somebody was shown.
type seen struct {
	mu   sync.Mutex
	list []string
}

// follow asks for the newest checkpoint again and again, until nobody answers or ctx ends.
func (s *seen) follow(ctx context.Context, host string) {
	for ctx.Err() == nil {
		a, err := do(ctx, http.MethodGet, "http://"+host+"/log/checkpoint", nil, "")
		if err != nil {
			return
		}
		if a.status == http.StatusOK {
			s.add(string(a.body))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *seen) add(checkpoint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.list); n == 0 || s.list[n-1] != checkpoint {
		s.list = append(s.list, checkpoint)
	}
}

var logKey = regexp.MustCompile(`(?m)^key (\S+)$`)

// verifyLog compares the log of a place with its facts, once all of them are in it: whatever was
// recorded has its leaf. It returns the key of the log.
func verifyLog(t *testing.T, at place) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		cmd := exec.CommandContext(t.Context(), program(t, "dossier"), "log", "verify", "--data", at.data)
		cmd.Env = append(os.Environ(), "DOSSIER_DATABASE="+at.database)
		var waiting bytes.Buffer
		cmd.Stderr = &waiting
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("dossier log verify: %v\n%s%s", err, out, &waiting)
		}
		if strings.Contains(waiting.String(), "not in the log yet") && time.Now().Before(end) {
			continue
		}
		key := logKey.FindSubmatch(out)
		if key == nil || waiting.Len() > 0 {
			t.Fatalf("dossier log verify says %s%s", out, &waiting)
		}
		return string(key[1])
	}
}

// monitorLog reads the log from its first entry on, and compares it with all checkpoints that were seen of it.
func monitorLog(t *testing.T, host, key string, checkpoints []string) {
	t.Helper()
	state := filepath.Join(t.TempDir(), "state")
	b, err := json.Marshal(map[string]any{"key": key, "checkpoints": checkpoints})
	if err != nil {
		t.Fatal(err)
	}
	write(t, state, string(b))
	out, err := exec.CommandContext(t.Context(), program(t, "dossier"), "log", "monitor", "http://"+host, "--key", key, "--state", state, "--once").CombinedOutput()
	if err != nil {
		t.Errorf("dossier log monitor, with %d checkpoints: %v\n%s", len(checkpoints), err, out)
	}
}

// prove asks for a proof of what is known of a digest, and checks it with the key of the log alone.
func prove(t *testing.T, host, key, digest string) {
	t.Helper()
	a, err := do(t.Context(), http.MethodGet, "http://"+host+"/api/v1/proofs?ref="+digest, nil, "")
	if err != nil || a.status != http.StatusOK {
		t.Errorf("the proof of %s: %v, %d %.200s", digest, err, a.status, a.body)
		return
	}
	dir := t.TempDir()
	file, trust := filepath.Join(dir, "proof"), filepath.Join(dir, "trust.yaml")
	write(t, file, string(a.body))
	write(t, trust, "logs: [{key: "+key+"}]\n")
	if out, err := exec.CommandContext(t.Context(), program(t, "dossier"), "verify", "--proof", file, "--trust", trust).CombinedOutput(); err != nil {
		t.Errorf("the proof of %s: %v\n%s", digest, err, out)
	}
}
