// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dossier.dev/dossier/internal/store"
)

// locks returns the locks on a file, as proc(5) lists them, and how often this process has it open.
func locks(t *testing.T, path string) (list []string, open int) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	inode := fmt.Sprintf(":%d ", info.Sys().(*syscall.Stat_t).Ino)
	b, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, fmt.Sprintf(" %d ", os.Getpid())) && strings.Contains(line, inode) {
			list = append(list, strings.TrimSpace(line))
		}
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && to == path {
			open++
		}
	}
	return list, open
}

// TestKeepsItsLocks: SQLite's lock on the file stays as long as the store is open, whatever else
// is opened: by it other programs know that the write-ahead log is in use.
func TestKeepsItsLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	openStore := func() *Store {
		s, err := Open(t.Context(), Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	closeStore := func(s *Store) {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, when := range []string{"new", "there"} {
		s := openStore()
		check := func(after string) {
			if list, _ := locks(t, path); len(list) == 0 {
				t.Errorf("%s, after %s: no lock is held", when, after)
			}
		}
		if err := s.View(t.Context(), func(r store.Reader) error { _, err := r.Feeds(t.Context()); return err }); err != nil {
			t.Fatal(err)
		}
		check("a View")
		if err := keepBlob(t, s, 0); err != nil {
			t.Fatal(err)
		}
		check("an Update")
		closeStore(openStore())
		check("another store was opened and closed")
		other := openStore()
		if err := keepBlob(t, other, 1); err != nil {
			t.Fatal(err)
		}
		closeStore(other)
		check("another store wrote and was closed")
		closeStore(s)
		if list, open := locks(t, path); len(list) > 0 || open > 0 {
			t.Errorf("%s: after Close it is open %d times, with locks %q", when, open, list)
		}
	}
}

// TestFailedOpenLeavesNothing: a database that this program cannot use is not left open.
func TestFailedOpenLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.engine.(*sqliteEngine).writer.conn.conn.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if s, err := Open(t.Context(), Config{Path: path}); err == nil {
			s.Close()
			t.Error("a database of a newer program was opened")
		}
	}
	if list, open := locks(t, path); len(list) > 0 || open > 0 {
		t.Errorf("it is open %d times, with locks %q", open, list)
	}
}
