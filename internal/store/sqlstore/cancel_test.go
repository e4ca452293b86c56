// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"path/filepath"
	"testing"

	"dossier.dev/dossier/internal/store"
)

// TestDiscarded discards a connection in the middle of a transaction: who reads next
// finds none begun.
func TestDiscarded(t *testing.T) {
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := s.engine.(*sqliteEngine).db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := newSQLiteConn(conn)
	if err := c.do(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	c.discard()
	err = s.View(t.Context(), func(r store.Reader) error {
		_, err := r.Clusters(t.Context())
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
