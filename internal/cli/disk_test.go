// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// canMount reports whether this user may mount a small file system in memory,
// as root on Linux may outside of narrow containers.
var canMount = sync.OnceValue(func() bool {
	dir, err := os.MkdirTemp("", "dossier-mount-")
	if err != nil {
		return false
	}
	defer os.Remove(dir)
	return mount(dir, "size=64k") == nil && unmount(dir) == nil
})

func mount(dir, options string) error {
	return output(exec.Command("mount", "-t", "tmpfs", "-o", options, "dossier-test", dir).CombinedOutput())
}

func unmount(dir string) error { return output(exec.Command("umount", dir).CombinedOutput()) }

// output makes what a program said a part of its error.
func output(said []byte, err error) error {
	if err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

// scriptCondition knows the conditions of our own.
func scriptCondition(cond string) (bool, error) {
	switch cond {
	case "mount":
		return canMount(), nil
	case "root":
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("no condition %s", cond)
}

// scriptMount: mount DIR OPTIONS mounts a file system in memory, until the
// script ends, or changes the options of one.
func scriptMount(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mount DIR OPTIONS")
	}
	dir := ts.MkAbs(args[0])
	if _, err := os.Stat(dir); err == nil {
		ts.Check(mount(dir, "remount,"+args[1]))
		return
	}
	ts.Check(os.Mkdir(dir, 0o700))
	ts.Check(mount(dir, args[1]))
	ts.Defer(func() { ts.Check(unmount(dir)) })
}

// scriptFill: fill FILE writes a file until the disk is full.
func scriptFill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fill FILE")
	}
	f, err := os.Create(filepath.Clean(ts.MkAbs(args[0])))
	ts.Check(err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		ts.Check(err)
	}
	ts.Check(f.Close())
}
