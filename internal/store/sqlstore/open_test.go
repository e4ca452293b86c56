// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/storetest"
	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// engines runs a test on a new database of each engine.
func engines(t *testing.T, f func(t *testing.T, database string)) {
	t.Run("SQLite", func(t *testing.T) { f(t, file(t)) })
	t.Run("Postgres", func(t *testing.T) { f(t, pgtest.Start(t)) })
}

// raw opens a database past the store.
func raw(t *testing.T, database string) *sql.DB {
	t.Helper()
	driver, name := "sqlite", database
	if strings.HasPrefix(database, "postgres:") {
		driver = "pgx"
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func run(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

// wantKind checks the kind of an error, and that it tells what to do.
func wantKind(t *testing.T, err error, want dossier.Kind) {
	t.Helper()
	if got := dossier.KindOf(err); got != want || dossier.HintOf(err) == "" {
		t.Errorf("error %v: kind %q with hint %q, want %q with a hint", err, got, dossier.HintOf(err), want)
	}
}

func record(ctx context.Context, s store.Store, source string) error {
	return s.Update(ctx, func(tx store.Tx) error {
		_, _, err := tx.Record(ctx, dossier.Statement{Subject: dossier.FromBytes(nil), Kind: "k", Source: source})
		return err
	})
}

func TestOpenRefuses(t *testing.T) {
	noDatabase := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(noDatabase, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		c    sqlstore.Config
		want dossier.Kind
	}{
		{"nothing", sqlstore.Config{}, dossier.KindInvalid},
		{"both", sqlstore.Config{Path: "a", URL: "b"}, dossier.KindInvalid},
		{"a file of something else", sqlstore.Config{Path: noDatabase}, dossier.KindCorrupt},
		{"a directory", sqlstore.Config{Path: t.TempDir()}, dossier.KindInvalid},
		{"below a file", sqlstore.Config{Path: filepath.Join(noDatabase, "x.db")}, dossier.KindInvalid},
		{"malformed URL", sqlstore.Config{URL: "postgres://me:secret@host:port/db"}, dossier.KindInvalid},
		{"no server", sqlstore.Config{URL: "postgres://me:secret@127.0.0.1:1/db"}, dossier.KindUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := sqlstore.Open(t.Context(), tt.c)
			if err == nil {
				s.Close()
			}
			if got := dossier.KindOf(err); got != tt.want {
				t.Errorf("Open: %v, kind %q, want %q", err, got, tt.want)
			}
			if strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestNewerSchema(t *testing.T) {
	engines(t, func(t *testing.T, database string) {
		if err := open(t, at(database)).Close(); err != nil {
			t.Fatal(err)
		}
		run(t, raw(t, database), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, `+
			map[bool]string{true: "true", false: "1"}[strings.HasPrefix(database, "postgres:")]+`)`)
		_, err := sqlstore.Open(t.Context(), at(database))
		wantKind(t, err, dossier.KindStorage)
	})
}

func TestOpenAtOnce(t *testing.T) {
	engines(t, func(t *testing.T, database string) {
		const n = 6
		var group sync.WaitGroup
		for i := range n {
			group.Go(func() {
				s, err := sqlstore.Open(t.Context(), at(database))
				if err != nil {
					t.Errorf("Open %d: %v", i, err)
					return
				}
				if err := record(t.Context(), s, fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if got := len(chain(t, open(t, at(database)))); got != n {
			t.Errorf("%d facts are there, want %d", got, n)
		}
	})
}

// chain returns the facts of record.
func chain(t *testing.T, s store.Store) (facts []dossier.Fact) {
	t.Helper()
	if err := s.View(t.Context(), func(r store.Reader) error {
		for f, err := range r.Chain(t.Context(), dossier.FromBytes(nil)) {
			if err != nil {
				return err
			}
			facts = append(facts, f)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return facts
}

// TestTwoStores has two stores, as of two processes, write to one database.
func TestTwoStores(t *testing.T) {
	engines(t, func(t *testing.T, database string) {
		const each = 40
		stores := []*sqlstore.Store{open(t, at(database)), open(t, at(database))}
		var group sync.WaitGroup
		for i, s := range stores {
			for w := range 2 {
				group.Go(func() {
					for j := range each {
						if err := record(t.Context(), s, fmt.Sprint(i, w, j)); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
		}
		group.Wait()
		for _, s := range stores {
			facts := chain(t, s)
			if len(facts) != 4*each {
				t.Errorf("%d facts are there, want %d", len(facts), 4*each)
			}
			if err := storetest.CheckChain(facts); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestFileModes(t *testing.T) {
	path := file(t)
	s := open(t, sqlstore.Config{Path: path})
	if err := record(t.Context(), s, "a"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm", filepath.Dir(path)} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others may read it", name, info.Mode())
		}
	}
}

func TestStrangePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c=d%20#ü&_pragma=x", "x?mode=memory.db")
	s := open(t, sqlstore.Config{Path: path})
	if err := record(t.Context(), s, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-wal"); err != nil {
		t.Errorf("the database is elsewhere: %v", err)
	}
}

// TestBusy has another process hold the file: whoever waits is told within the
// time that one of them may wait.
func TestBusy(t *testing.T) {
	path := file(t)
	s := open(t, sqlstore.Config{Path: path, Busy: 100 * time.Millisecond})
	other, err := raw(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() { wantKind(t, record(t.Context(), s, fmt.Sprint(i)), dossier.KindUnavailable) })
	}
	group.Wait()
	if got := len(chain(t, s)); got != 0 {
		t.Errorf("%d facts are there, want none", got)
	}
	if _, err := other.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	// On a busy machine even an idle database may take longer than Busy.
	for begin := time.Now(); ; {
		err := record(t.Context(), s, "a")
		if err == nil {
			return
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("after the other has gone: %v", err)
		}
	}
}

// TestMigrationsAgree compares tables, columns and indexes of the two engines. The
// log of the audit has files of its own with SQLite, which keeps no ends of chains either: see
// dialect.lockHead.
func TestMigrationsAgree(t *testing.T) {
	schema := func(database, query string) []string {
		open(t, at(database))
		rows, err := raw(t, database).QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var list []string
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			list = append(list, strings.ToLower(line))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(list)
		return list
	}
	sqlite := schema(file(t), `
SELECT m.name || '.' || c.name || ' ' || CASE c."notnull" WHEN 1 THEN 'NO' ELSE CASE WHEN c.pk > 0 THEN 'NO' ELSE 'YES' END END || ' ' ||
    CASE c.type WHEN 'INTEGER' THEN 'bigint' WHEN 'BLOB' THEN 'bytea' ELSE c.type END
FROM sqlite_master AS m, pragma_table_info(m.name) AS c
WHERE m.type = 'table' AND m.name NOT LIKE 'goose%' AND m.name NOT LIKE 'sqlite%'
UNION ALL
SELECT 'index ' || name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL`)
	postgres := schema(pgtest.Start(t), `
SELECT table_name || '.' || column_name || ' ' || is_nullable || ' ' || data_type
FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'goose%' AND table_name NOT LIKE 'audit%' AND table_name <> 'head'
UNION ALL
SELECT 'index ' || indexname FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%_key' AND indexname NOT LIKE '%_pkey'`)
	if diff := cmp.Diff(sqlite, postgres); diff != "" {
		t.Errorf("schemas differ (-SQLite +PostgreSQL):\n%s", diff)
	}
}
