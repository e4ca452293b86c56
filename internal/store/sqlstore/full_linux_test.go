// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/storetest"
)

// small mounts a small file system, which only root can.
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
	dir := small(t, "size=2m")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, sqlstore.Config{Path: filepath.Join(dir, "x.db")})
	write := func(i int) error {
		return s.Update(t.Context(), func(tx store.Tx) error {
			_, _, err := tx.Record(t.Context(), dossier.Statement{
				Subject: dossier.FromBytes(nil), Kind: "k", Source: fmt.Sprint(i), Body: []byte(strings.Repeat("x", 20_000)),
			})
			return err
		})
	}
	kept := 0
	var err error
	for err == nil && kept < 1000 {
		if err = write(kept); err == nil {
			kept++
		}
	}
	wantKind(t, err, dossier.KindStorage)
	check := func() {
		t.Helper()
		facts := chain(t, s)
		if len(facts) != kept {
			t.Errorf("%d facts are there, want the %d that were acknowledged", len(facts), kept)
		}
		if err := storetest.CheckChain(facts); err != nil {
			t.Error(err)
		}
	}
	check()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := write(kept); err != nil {
		t.Fatalf("when there is room again: %v", err)
	}
	kept++
	check()
}

func TestNoRoomAtAll(t *testing.T) {
	dir := small(t, "size=64k")
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 60<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(dir, "data", "x.db")})
	wantKind(t, err, dossier.KindStorage)
}

func TestReadOnlyDisk(t *testing.T) {
	dir := small(t, "size=8m")
	path := filepath.Join(dir, "x.db")
	if err := open(t, sqlstore.Config{Path: path}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, filepath.Join(dir, "new", "x.db")} {
		_, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path})
		wantKind(t, err, dossier.KindStorage)
	}
}
