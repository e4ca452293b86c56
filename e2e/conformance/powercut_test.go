// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"dossier.dev/dossier/e2e/conformance/powercut"
)

// TestPowerCut cuts the power of a registry at many points of a run, in thought:
// what the disk may hold then is laid out from a trace of its system calls and served
// again. Every push that was acknowledged by then pulls back bit for bit and has its
// dossier, and no manifest lacks a child, the log forgets nothing that it showed, although others were deleted and their garbage collected
// meanwhile. Cut are all points at which something became durable, or as many of them as the test has time for.
func TestPowerCut(t *testing.T) {
	const most = 40
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("DOSSIER_REQUIRE_PEERS") != "" {
			t.Fatal("strace is missing")
		}
		t.Skip("SKIPPED: strace is missing (Debian: strace)")
	}
	data, notes := t.TempDir(), filepath.Join(t.TempDir(), "strace")
	pushes := pushTraced(t, strace, data, notes)
	f, err := os.Open(notes)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	trace, err := powercut.Read(f, data)
	if err != nil {
		t.Fatal(err)
	}
	points := trace.Syncs()
	t.Logf("%d operations, %d syncs, %d pushes", trace.Len(), len(points), len(pushes))
	checked, seenAll := 0, 0
	for i := range most {
		point := points[i*len(points)/most]
		for name, luck := range map[string]powercut.Luck{"lost": nil, "lucky": rand.New(rand.NewPCG(uint64(point), 1))} {
			t.Run(fmt.Sprintf("after %d %s", point, name), func(t *testing.T) {
				disk := filepath.Join(t.TempDir(), "data")
				// Half of the time in the middle, between two syncs.
				if err := trace.Restore(disk, point-i%2, luck); err != nil {
					t.Fatal(err)
				}
				sent := trace.Sent(point - i%2)
				checked += checkAfterCut(t, disk, acknowledged(sent), pushes)
				shown := checkpoints(sent)
				checkLogAfterCut(t, disk, shown)
				seenAll += len(shown)
			})
		}
	}
	if seenAll < most {
		t.Errorf("%d checkpoints were looked for: the test does too little", seenAll)
	}
	if checked < most {
		t.Errorf("%d acknowledged things were looked for: the test does too little", checked)
	}
}

// pushTraced pushes to a registry under strace, in several ways at a time.
func pushTraced(t *testing.T, strace, data, notes string) map[string]pushed {
	t.Helper()
	policy := filepath.Join(t.TempDir(), "dossier.yaml")
	// Checkpoints come often, so that the log of the database begins anew again and again.
	write(t, policy, "checkpointPages: 100\nregistry: {care: {lease: 8s, delay: 1s, every: 200ms, reconcile: 200ms}}\n")
	p, err := startWith(t.Context(), []string{
		strace, "-f", "-y", "-xx", "-s", "4000000", "-e", "signal=none", "-e", "trace=" + powercut.Calls, "-o", notes, program(t, "dossier"),
	}, place{data: data, flags: []string{"--config", policy}})
	if err != nil {
		t.Fatal(err)
	}
	pushes := map[string]pushed{} // by digest of the manifest
	var mu sync.Mutex
	var group sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go new(seen).follow(ctx, p.host) // the trace has what it was shown
	for i := range 3 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 9))
			for n := range 5 {
				push := newPush(random, fmt.Sprintf("t%d-%d", i, n))
				mu.Lock()
				pushes[sum(push.manifest)] = push
				mu.Unlock()
				if err := push.send(t.Context(), p.host, n%2 == 0); err != nil {
					t.Errorf("push: %v", err)
				}
			}
		})
	}
	group.Wait()
	collectTraced(t, p.host, pushes)
	killChildren(t, p.cmd.Process.Pid)
	<-p.done // strace has noted all
	return pushes
}

// collectTraced deletes every third manifest and waits until bytes of theirs have
// gone. What was deleted is no longer among the pushes.
func collectTraced(t *testing.T, host string, pushes map[string]pushed) {
	t.Helper()
	n := 0
	for digest, push := range pushes {
		if n++; n%3 != 0 {
			continue
		}
		url := "http://" + host + "/v2/" + repository + "/manifests/" + digest
		if err := expect(http.StatusAccepted)(do(t.Context(), http.MethodDelete, url, nil, "")); err != nil {
			t.Error(err)
		}
		push.deleted = true
		pushes[digest] = push
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		a, err := do(t.Context(), http.MethodGet, "http://"+host+"/metrics", nil, "")
		if err != nil || time.Now().After(end) {
			t.Fatalf("no bytes were deleted: %v", err)
		}
		if freed.Match(a.body) {
			return
		}
	}
}

var freed = regexp.MustCompile(`(?m)^dossier_oci_freed_bytes_total [1-9]`)

// killChildren kills what a process started.
func killChildren(t *testing.T, pid int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil || len(b) == 0 {
		t.Fatalf("children of %d: %q, %v", pid, b, err)
	}
	for _, field := range bytes.Fields(b) {
		child, err := strconv.Atoi(string(field))
		if err == nil {
			err = syscall.Kill(child, syscall.SIGKILL)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

var acknowledgement = regexp.MustCompile(`(?s)^HTTP/1\.1 201 .*\r\nLocation: /v2/` + repository + `/(manifests|blobs)/(sha256:[0-9a-f]{64})\r\n`)

// acknowledged returns the paths of what a registry said it has.
func acknowledged(sent [][]byte) map[string]bool {
	paths := map[string]bool{}
	for _, b := range sent {
		if m := acknowledgement.FindSubmatch(b); m != nil {
			paths[fmt.Sprintf("/%s/%s", m[1], m[2])] = true
		}
	}
	return paths
}

var checkpoint = regexp.MustCompile(`(?s)^HTTP/1\.1 200 .*\r\n\r\n(dossier\.dev/log/.*)$`)

// checkpoints returns the checkpoints of the log that a registry showed.
func checkpoints(sent [][]byte) []string {
	var list seen
	for _, b := range sent {
		if m := checkpoint.FindSubmatch(b); m != nil {
			list.add(string(m[1]))
		}
	}
	return list.list
}

// checkLogAfterCut serves what a disk holds: the log extends all that it showed, and has all facts.
func checkLogAfterCut(t *testing.T, disk string, shown []string) {
	t.Helper()
	if len(shown) == 0 {
		return
	}
	at := place{data: disk}
	host := serveAt(t, at).host
	monitorLog(t, host, verifyLog(t, at), shown)
}

// checkAfterCut serves what a disk holds and looks for what was acknowledged. It
// returns how much that was.
func checkAfterCut(t *testing.T, disk string, want map[string]bool, pushes map[string]pushed) int {
	t.Helper()
	off := filepath.Join(t.TempDir(), "dossier.yaml")
	write(t, off, "registry: {care: {off: true}}\n")
	host := serveAt(t, place{data: disk, flags: []string{"--config", off}}).host
	gone := map[string]bool{} // it may be
	for digest, push := range pushes {
		if push.deleted {
			gone[digest], gone[sum(push.layer)] = true, true
		}
	}
	base := "http://" + host + "/v2/" + repository
	tagged := 0
	for path := range maps.Keys(want) {
		if gone[filepath.Base(path)] {
			continue
		}
		a, err := do(t.Context(), http.MethodGet, base+path, nil, "")
		if err != nil || a.status != http.StatusOK || sum(a.body) != filepath.Base(path) {
			t.Errorf("%s was acknowledged: %v, %d, %.200s", path, err, a.status, a.body)
		}
		push, ok := pushes[filepath.Base(path)]
		if !ok {
			continue
		}
		tagged++
		if a, err = do(t.Context(), http.MethodGet, base+"/manifests/"+push.tag, nil, ""); err != nil || !bytes.Equal(a.body, push.manifest) {
			t.Errorf("tag %s was acknowledged: %v, %d, %.200s", push.tag, err, a.status, a.body)
		}
		a, err = do(t.Context(), http.MethodGet, "http://"+host+"/api/v1/digests/"+filepath.Base(path), nil, "")
		if err != nil || a.status != http.StatusOK || !bytes.Contains(a.body, []byte("registry.example/"+repository)) {
			t.Errorf("the dossier of %s: %v, %d, %.200s", path, err, a.status, a.body)
		}
	}
	if tagged > 0 {
		checkWhole(t, host)
	}
	return len(want)
}
