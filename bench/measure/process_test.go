// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package measure_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier/bench/measure"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	u, err := measure.Run(t.Context(), measure.Command{Path: "/bin/sh", Args: []string{"-c", "sleep 0.1; echo $NAME"}, Env: []string{"NAME=x"}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != "x\n" || u.Output != 2 || u.Wall < 100*time.Millisecond || u.PeakMemory < 100_000 {
		t.Errorf("it printed %q and cost %+v", out.String(), u)
	}
	_, err = measure.Run(t.Context(), measure.Command{Path: "/bin/sh", Args: []string{"-c", "echo its words >&2; exit 3"}})
	if err == nil || !strings.Contains(err.Error(), "exit status 3: its words") {
		t.Errorf("got error %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if u, err := measure.Run(ctx, measure.Command{Path: "/bin/sleep", Args: []string{"60"}}); err == nil || u.Wall > 30*time.Second {
		t.Errorf("the end of the context: %v after %v", err, u.Wall)
	}
}

func TestSynced(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("SKIPPED: no strace")
	}
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	c := measure.Command{
		Path: "/bin/dd", Args: []string{"if=/dev/zero", "of=" + filepath.Join(dir, "file"), "count=1", "conv=fsync", "status=none"},
		Env: []string{"PATH=" + os.Getenv("PATH")},
	}
	u, err := measure.Run(t.Context(), measure.Synced(c, trace, 200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	got, err := measure.ReadSyncs(trace)
	if err != nil {
		t.Fatal(err)
	}
	if want := (measure.Syncs{Count: 1, Delayed: 1}); got != want || u.Wall < 200*time.Millisecond {
		t.Errorf("saw %+v in %v, want %+v in more than 200 ms", got, u.Wall, want)
	}
}
