// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"testing"

	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/storetest"
	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// openAudit opens an audit log that is closed when the test ends.
func openAudit(t testing.TB, c sqlstore.AuditConfig) store.AuditLog {
	t.Helper()
	l, err := sqlstore.OpenAudit(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

func TestAuditSQLite(t *testing.T) {
	t.Parallel()
	place := func(t testing.TB) string { return t.TempDir() }
	storetest.RunAudit(t, place, func(t testing.TB, dir string) store.AuditLog {
		return openAudit(t, sqlstore.AuditConfig{Dir: dir})
	})
}

func TestAuditPostgres(t *testing.T) {
	t.Parallel()
	place := func(t testing.TB) string {
		url := pgtest.Start(t)
		open(t, sqlstore.Config{URL: url}) // makes the schema
		return url
	}
	storetest.RunAudit(t, place, func(t testing.TB, url string) store.AuditLog {
		return openAudit(t, sqlstore.AuditConfig{URL: url})
	})
}
