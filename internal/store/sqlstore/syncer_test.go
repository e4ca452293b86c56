// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"errors"
	"os"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// breakSync has the next fsync of the log fail.
func breakSync(t *testing.T, s *Store) {
	t.Helper()
	y := s.engine.(*sqliteEngine).writer.syncer
	if y.file == nil {
		t.Fatal("nothing was synced yet")
	}
	if err := y.file.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFailedSync has an fsync fail: whoever waited for it is told, and the next
// Update has everything written before it says that the disk has it.
func TestFailedSync(t *testing.T) {
	s := openFile(t)
	put := func(i int) error {
		return s.Update(t.Context(), func(x store.Tx) error {
			_, err := x.PutBlob(t.Context(), testBlob(i))
			return err
		})
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	breakSync(t, s)
	if err := put(1); dossier.KindOf(err) != dossier.KindStorage || !errors.Is(err, os.ErrClosed) {
		t.Errorf("a failed fsync is told as %v", err)
	}
	if err := put(2); err != nil {
		t.Errorf("after a failed fsync: %v", err)
	}
	var frames, copied int
	w := s.engine.(*sqliteEngine).writer
	if err := w.conn.conn.QueryRowContext(t.Context(), "PRAGMA wal_checkpoint(PASSIVE)").Scan(new(int), &frames, &copied); err != nil || frames != copied {
		t.Errorf("of %d frames %d were written: %v", frames, copied, err)
	}
}

// TestFailedSyncReader has somebody read the log that must be written after an
// fsync failed: no Update is acknowledged until it can be.
func TestFailedSyncReader(t *testing.T) {
	s, err := Open(t.Context(), Config{Path: t.TempDir() + "/x.db", Busy: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put := func(i int) error {
		return s.Update(t.Context(), func(x store.Tx) error {
			_, err := x.PutBlob(t.Context(), testBlob(i))
			return err
		})
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	err = s.View(t.Context(), func(r store.Reader) error {
		if _, err := r.Blob(t.Context(), testBlob(0).Digest); err != nil {
			return err
		}
		breakSync(t, s)
		if put(1) == nil || put(2) == nil {
			t.Error("an Update is acknowledged, though its log cannot be written")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := put(3); err != nil {
		t.Errorf("when nobody reads any more: %v", err)
	}
}
