// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"dossier.dev/dossier/e2e/kube"
	"dossier.dev/dossier/e2e/node"
)

// victimFile is an environment variable: it makes TestVictim run, and names the file that says when it is up. All that
// TestVictim starts inherits it.
const victimFile = "DOSSIER_E2E_VICTIM"

// TestKilled checks that nothing outlives a test process that is killed, a real node and its containers included.
func TestKilled(t *testing.T) {
	if _, err := kube.Build(t.Context(), slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	up := filepath.Join(dir, "up")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	victim := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestVictim$", "-test.v")
	victim.Env = append(os.Environ(), victimFile+"="+up, "TMPDIR="+dir)
	var out bytes.Buffer
	victim.Stdout, victim.Stderr = &out, &out
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- victim.Wait() }()
	kube.Wait(t, 2*time.Minute, "victim is up", func(context.Context) error {
		select {
		case err := <-ended:
			t.Fatalf("victim ended: %v\n%s", err, out.Bytes())
		default:
		}
		_, err := os.Stat(up)
		return err
	})
	if n := len(inheritors(t, up)); n < 3 { // itself, etcd, the API server
		t.Fatalf("%d processes of the victim found", n)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	kube.Wait(t, 10*time.Second, "nothing left", func(context.Context) error {
		if left := inheritors(t, up); len(left) > 0 {
			return fmt.Errorf("%q", left)
		}
		return nil
	})
}

// TestVictim is what TestKilled kills.
func TestVictim(t *testing.T) {
	up := os.Getenv(victimFile)
	if up == "" {
		return // it is no test by itself
	}
	c := kube.Start(t, kube.Options{})
	c.StartKwok(t, 1)
	ready := func() {
		if err := os.WriteFile(up, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		select {} // for TestKilled, which has a time limit
	}
	t.Run("node", func(t *testing.T) {
		n := node.Start(t, c, "real")
		ref, _ := n.Push(t, "app:1", node.Image(t, c.Binaries, "app"))
		c.Kubectl(t, "", "cordon", "fake-1")
		c.Apply(t, pod("app", ref, ""))
		waitPod(t, c, "app")
		ready()
	})
	ready() // where there can be no real node
}

// inheritors returns the command lines of all processes with the victim's variable in their environment.
func inheritors(t *testing.T, up string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err != nil {
			continue // of somebody else, or ended meanwhile
		}
		if bytes.Contains(env, []byte(victimFile+"="+up+"\x00")) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			found = append(found, string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return found
}
