// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package sqltest gives tests databases that are at the newest version already.
//
// To make all tables costs most of what a small test does, and much more with the race
// detector. So a test binary makes them once and copies the file. Tests of opening and
// migrating a database make their own.
package sqltest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// Name is what a data directory calls its database.
const Name = "dossier.db"

// File returns the path of a new database without content.
func File(t testing.TB) string { return filepath.Join(Dir(t), Name) }

// Dir returns a new data directory that holds such a database.
func Dir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	b, err := empty()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, Name), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// URL returns that of a new PostgreSQL database without content. Without PostgreSQL the
// test is skipped, as pgtest says.
func URL(t testing.TB) string {
	t.Helper()
	return pgtest.StartWith(t, func(url string) error {
		s, err := sqlstore.Open(context.Background(), sqlstore.Config{URL: url})
		if err != nil {
			return err
		}
		return s.Close()
	})
}

// empty makes a database as the product does, and returns its bytes.
var empty = sync.OnceValues(func() (b []byte, err error) {
	dir, err := os.MkdirTemp("", "sqltest")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, Name)
	s, err := sqlstore.Open(context.Background(), sqlstore.Config{Path: path})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path + "-wal"); err == nil {
		return nil, errors.New("a database that was closed has a log: its file alone is not all of it")
	}
	return os.ReadFile(path)
})
