// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier/internal/store"
)

// TestCheckpointer has several writers write many times what the log may have: pages are
// copied beside them, the log begins anew all the same, and all is there in the end.
func TestCheckpointer(t *testing.T) {
	const pages, writers, each = 200, 4, 500
	path := filepath.Join(t.TempDir(), "x.db")
	s, err := Open(t.Context(), Config{Path: path, CheckpointPages: pages})
	if err != nil {
		t.Fatal(err)
	}
	w := s.engine.(*sqliteEngine).writer
	largest := int64(0)
	var mu sync.Mutex
	var group sync.WaitGroup
	for n := range writers {
		group.Go(func() {
			for i := range each {
				if err := keepBlob(t, s, n*each+i); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				largest = max(largest, logSize(t, s))
				mu.Unlock()
			}
		})
	}
	group.Wait()
	const frame = 4096 + 24
	if most := int64(4 * pages * frame); largest > most {
		t.Errorf("the log had %d bytes, want %d at most: it did not begin anew", largest, most)
	}
	w.copier.mu.Lock()
	salt := w.copier.salt
	w.copier.mu.Unlock()
	if salt == [8]byte{} {
		t.Error("it was never time to copy")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), Config{Path: path}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range writers * each {
		if !hasBlob(t, s, i) {
			t.Fatalf("blob %d is gone", i)
		}
	}
}

// TestCheckpointerCopies has as many pages in the log as it may have: they are copied
// without anybody who writes any more.
func TestCheckpointerCopies(t *testing.T) {
	const pages = 200
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "x.db"), CheckpointPages: pages})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := s.engine.(*sqliteEngine).writer.copier
	next := func() int64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.next
	}
	for i := 0; next() <= pages; i++ {
		if i == 10*pages {
			t.Fatal("nothing was copied")
		}
		if err := keepBlob(t, s, i); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); c.due(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it stays time to copy")
		}
	}
}

func hasBlob(t *testing.T, s *Store, i int) bool {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) error {
		_, err := r.Blob(t.Context(), testBlob(i).Digest)
		return err
	})
	return err == nil
}
