// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"os"
	"path/filepath"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// TestReadsAlone: who only reads opens no connection that writes, also when it is the first to
// come after a crash, and finds all that was written.
func TestReadsAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	first, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := keepBlob(t, first, 0); err != nil {
		t.Fatal(err)
	}
	crashed := filepath.Join(t.TempDir(), "x.db")
	for _, end := range []string{"", "-wal"} { // as they are on the disk; what was in memory is lost
		b, err := os.ReadFile(path + end)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(crashed+end, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"closed": path, "crashed": crashed} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), Config{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			e := s.engine.(*sqliteEngine)
			there := func(i int) bool {
				err := s.View(t.Context(), func(r store.Reader) error {
					_, err := r.Blob(t.Context(), testBlob(i).Digest)
					return err
				})
				if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
					t.Error(err)
				}
				return err == nil
			}
			if !there(0) || there(1) {
				t.Error("it has not what was written")
			}
			if e.writer != nil || len(e.readers.idle) != 1 {
				t.Errorf("there are %d connections that read, and one that writes: %v", len(e.readers.idle), e.writer != nil)
			}
			if err := s.Settle(t.Context()); err != nil {
				t.Error(err)
			}
			if err := keepBlob(t, s, 1); err != nil {
				t.Error(err)
			}
			if !there(1) || e.writer == nil {
				t.Error("it was not written")
			}
		})
	}
}

// TestReadsWhatIsUpgraded: one process has an older schema before it, which another one
// upgrades: it is not taken for that of this program.
func TestReadsWhatIsUpgraded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	w := s.engine.(*sqliteEngine).writer
	for _, statement := range []string{"DELETE FROM goose_db_version WHERE version_id = 23", "CREATE TABLE head (subject TEXT)", "DROP INDEX upload_bytes", "CREATE INDEX upload_bytes ON upload (key)"} {
		if _, err := w.conn.conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.engine.(*sqliteEngine).writer == nil {
		t.Error("an older schema was not upgraded")
	}
	var n int
	err = s.View(t.Context(), func(r store.Reader) error {
		c := s.engine.(*sqliteEngine)
		return c.db.QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_schema WHERE name = 'head'").Scan(&n)
	})
	if err != nil || n != 0 {
		t.Errorf("the table that went is there %d times: %v", n, err)
	}
}
