// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package disk_test

import (
	"bytes"
	"os"
	"syscall"
	"testing"

	"dossier.dev/dossier"
)

// small mounts a file system of a size in bytes, which only root can.
func small(t *testing.T, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("dossier-test", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("SKIPPED: mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	s := open(t, small(t, "size=1m"))
	keep(t, s, "abcdefgh", "kept before")
	w, err := s.Create(t.Context(), "ijklmnop")
	if err != nil {
		t.Fatal(err)
	}
	n, err := w.Append(t.Context(), bytes.NewReader(make([]byte, 2<<20)))
	if dossier.KindOf(err) != dossier.KindStorage || dossier.HintOf(err) == "" || n == 0 || n >= 1<<20 {
		t.Errorf("Append to a full disk took %d bytes: %v, kind %q, hint %q", n, err, dossier.KindOf(err), dossier.HintOf(err))
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	keep(t, s, "qrstuvwx", "there is room again")
	if info, err := s.Stat(t.Context(), "abcdefgh"); err != nil || info.Size != int64(len("kept before")) {
		t.Errorf("what was kept before: %+v, %v", info, err)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	dir := small(t, "size=1m")
	s := open(t, dir)
	keep(t, s, "abcdefgh", "a")
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err := s.Create(t.Context(), "ijklmnop")
	if dossier.KindOf(err) != dossier.KindStorage || dossier.HintOf(err) == "" {
		t.Errorf("Create on a read-only disk: %v, kind %q, hint %q", err, dossier.KindOf(err), dossier.HintOf(err))
	}
	if _, err := s.Stat(t.Context(), "abcdefgh"); err != nil {
		t.Errorf("Stat on a read-only disk: %v", err)
	}
}
