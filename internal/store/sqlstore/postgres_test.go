// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
	"dossier.dev/dossier/internal/store/storetest"
)

func TestPostgres(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) store.Store { return open(t, sqlstore.Config{URL: sqltest.URL(t)}) })
}

// TestHeadMended: what PostgreSQL keeps of the end of a chain is compared with the facts, and
// made again from them. SQLite keeps nothing.
func TestHeadMended(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]string{"lost": `DELETE FROM head`, "moved": `UPDATE head SET seq = seq + 1`, "changed": `UPDATE head SET leaf = 'sha256:00'`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := sqltest.URL(t)
			s := open(t, sqlstore.Config{URL: url})
			subject := dossier.FromBytes([]byte("a"))
			record := func(body string) (f dossier.Fact) {
				err := s.Update(t.Context(), func(tx store.Tx) (err error) {
					f, _, err = tx.Record(t.Context(), dossier.Statement{Subject: subject, Kind: "x", Source: "test", Body: []byte(body)})
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return f
			}
			chained := func() (ok bool) {
				err := s.View(t.Context(), func(r store.Reader) (err error) {
					ok, err = r.Chained(t.Context(), subject)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return ok
			}
			record("1")
			last := record("2")
			if !chained() {
				t.Fatal("of a chain that nobody damaged it says that it is not whole")
			}
			run(t, raw(t, url), damage)
			if chained() {
				t.Fatal("the damage is not seen")
			}
			if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.MendChain(t.Context(), subject) }); err != nil {
				t.Fatal(err)
			}
			if !chained() {
				t.Error("it is not mended")
			}
			if next := record("3"); next.Seq != 3 || next.Prev != last.Leaf {
				t.Errorf("the next fact is number %d after %s, want 3 after %s", next.Seq, next.Prev, last.Leaf)
			}
		})
	}
}
