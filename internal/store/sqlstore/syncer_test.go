// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// failSync has each fsync of the log fail from now on, or no longer.
func failSync(s *Store, err error) {
	w := s.engine.(*sqliteEngine).writer
	w.syncer.mu.Lock() // who syncs has taken it before
	defer w.syncer.mu.Unlock()
	w.syncer.sync = w.log.Sync
	if err != nil {
		w.syncer.sync = func() error { return err }
	}
}

var errFsync = &fs.PathError{Op: "sync", Path: "x.db-wal", Err: syscall.EIO}

func keepBlob(t *testing.T, s *Store, i int) error {
	t.Helper()
	return s.Update(t.Context(), func(x store.Tx) error {
		_, err := x.PutBlob(t.Context(), testBlob(i))
		return err
	})
}

// TestFailedSync has an fsync fail: whoever waited for it is told, nobody is told that what
// was seen is durable, and the next Update has everything written and a new log begun
// before it is acknowledged.
func TestFailedSync(t *testing.T) {
	s := openFile(t)
	if err := keepBlob(t, s, 0); err != nil {
		t.Fatal(err)
	}
	failSync(s, errFsync)
	if err := keepBlob(t, s, 1); dossier.KindOf(err) != dossier.KindStorage || !errors.Is(err, syscall.EIO) {
		t.Errorf("a failed fsync is told as %v", err)
	}
	failSync(s, nil)
	if err := s.Settle(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Errorf("Settle after a failed fsync returns %v", err)
	}
	before := logSize(t, s)
	if err := keepBlob(t, s, 2); err != nil {
		t.Errorf("after a failed fsync: %v", err)
	}
	if after := logSize(t, s); after >= before {
		t.Errorf("the log has %d bytes, %d before: it was not begun anew", after, before)
	}
	if err := s.Settle(t.Context()); err != nil {
		t.Errorf("Settle: %v", err)
	}
}

func logSize(t *testing.T, s *Store) int64 {
	t.Helper()
	info, err := s.engine.(*sqliteEngine).writer.log.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestFailedSyncReader has somebody read the log that must be begun anew after an fsync
// failed, as it was before or as it is: no Update is acknowledged until nobody does.
func TestFailedSyncReader(t *testing.T) {
	for _, since := range []string{"before", "after"} {
		t.Run(since, func(t *testing.T) {
			s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "x.db"), Busy: 10 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := keepBlob(t, s, 0); err != nil {
				t.Fatal(err)
			}
			fail := func() {
				failSync(s, errFsync)
				if keepBlob(t, s, 1) == nil {
					t.Error("an Update is acknowledged whose fsync failed")
				}
				failSync(s, nil)
			}
			if since == "after" {
				fail()
			}
			err = s.View(t.Context(), func(r store.Reader) error {
				if _, err := r.Blob(t.Context(), testBlob(0).Digest); err != nil {
					return err
				}
				if since == "before" {
					fail()
				}
				if keepBlob(t, s, 2) == nil {
					t.Error("an Update is acknowledged, though the log is not begun anew")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if err := keepBlob(t, s, 3); err != nil {
				t.Errorf("when nobody reads any more: %v", err)
			}
		})
	}
}

// TestLogOfLink has the database named by a link: the log lies where the database does.
func TestLogOfLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "real.db"), filepath.Join(dir, "link.db")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "link.db-wal"), nil, 0o600); err != nil { // another's
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Config{Path: filepath.Join(dir, "link.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, want := s.engine.(*sqliteEngine).writer.log.Name(), filepath.Join(dir, "real.db-wal"); got != want {
		t.Errorf("the log is %s, want %s", got, want)
	}
	if err := keepBlob(t, s, 0); err != nil {
		t.Error(err)
	}
}
