// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/translog"
)

// lab is a log on SQLite.
type lab struct {
	path   string
	store  store.Store
	log    *translog.Log
	key    string
	secret string
	n      int // facts so far
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{path: filepath.Join(t.TempDir(), "test.db")}
	var err error
	if l.store, err = sqlstore.Open(t.Context(), sqlstore.Config{Path: l.path}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.store.Close(); err != nil {
			t.Error(err)
		}
	})
	l.log, l.key, l.secret = openLog(t, l.store)
	return l
}

func newLog(t testing.TB, s store.Store) (*translog.Log, string) {
	t.Helper()
	log, key, _ := openLog(t, s)
	return log, key
}

func openLog(t testing.TB, s store.Store) (*translog.Log, string, string) {
	t.Helper()
	secret, key, err := note.GenerateKey(rand.Reader, "log.example/test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	log, err := translog.New(translog.Config{Store: s, Signer: signer, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return log, key, secret
}

// record records facts about seven subjects and appends them.
func (l *lab) record(t testing.TB, n int) {
	t.Helper()
	err := l.store.Update(t.Context(), func(tx store.Tx) error {
		for range n {
			l.n++
			_, _, err := tx.Record(t.Context(), dossier.Statement{
				Subject: dossier.FromBytes([]byte{byte(l.n % 7)}), Kind: "test", Source: fmt.Sprint("test:", l.n), Body: fmt.Appendf(nil, "body %d", l.n),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.log.Append(t.Context()); err != nil || got != n {
		t.Fatalf("Append: %d, %v, want %d", got, err, n)
	}
}

// read returns what f reads.
func read[T any](t testing.TB, s store.Store, f func(store.Reader) (T, error)) (v T) {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) (err error) {
		v, err = f(r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (l *lab) checkpoint(t testing.TB) translog.Checkpoint {
	t.Helper()
	verifier, err := note.NewVerifier(l.key)
	if err != nil {
		t.Fatal(err)
	}
	head := read(t, l.store, func(r store.Reader) (store.LogHead, error) { return r.LogHead(t.Context()) })
	c, err := translog.OpenCheckpoint(head.Checkpoint, verifier)
	if err != nil {
		t.Fatal(err)
	}
	if c.Size != head.Size {
		t.Errorf("the checkpoint is for %d entries, there are %d", c.Size, head.Size)
	}
	return c
}

// TestLog appends in batches of many sizes, over the edges of tiles, and compares each root
// with that of another program's tree; every entry and every earlier tree is proven.
func TestLog(t *testing.T) {
	l := newLab(t)
	var stored []tlog.Hash // of the other tree
	other := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	var before []translog.Checkpoint
	for _, n := range []int{1, 1, 2, 60, 191, 1, 1, 255, 256, 257, 511, 700} {
		size := l.n
		l.record(t, n)
		c := l.checkpoint(t)
		if c.Size != int64(l.n) {
			t.Fatalf("%d entries, want %d", c.Size, l.n)
		}
		entries := read(t, l.store, func(r store.Reader) ([]store.LogEntry, error) { return r.LogEntries(t.Context(), int64(size), n+1) })
		if len(entries) != n {
			t.Fatalf("%d entries from %d on, want %d", len(entries), size, n)
		}
		for _, e := range entries {
			hashes, err := tlog.StoredHashes(e.Index, translog.Entry(e.Subject, e.Seq, e.Leaf), other)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, hashes...)
		}
		root, err := tlog.TreeHash(c.Size, other)
		if err != nil || root != c.Root {
			t.Fatalf("the root of %d entries is %s, want %s (%v)", c.Size, c.Root, root, err)
		}
		for _, earlier := range before {
			proof := read(t, l.store, func(r store.Reader) (tlog.TreeProof, error) {
				return translog.Consistency(t.Context(), r, earlier.Size, c.Size)
			})
			if err := tlog.CheckTree(proof, c.Size, c.Root, earlier.Size, earlier.Root); err != nil {
				t.Errorf("%d extends %d: %v", c.Size, earlier.Size, err)
			}
		}
		before = append(before, c)
		for _, e := range []store.LogEntry{entries[0], entries[n/2], entries[n-1]} {
			proof := read(t, l.store, func(r store.Reader) (tlog.RecordProof, error) {
				return translog.Inclusion(t.Context(), r, e.Index, c.Size)
			})
			if err := tlog.CheckRecord(proof, c.Size, c.Root, e.Index, tlog.RecordHash(translog.Entry(e.Subject, e.Seq, e.Leaf))); err != nil {
				t.Errorf("entry %d: %v", e.Index, err)
			}
		}
	}
	report, err := translog.Verify(t.Context(), l.store, l.key)
	if err != nil || len(report.Faults) > 0 || report.Size != int64(l.n) || report.Waiting {
		t.Errorf("Verify: %+v, %v", report, err)
	}
	if n, err := l.log.Append(t.Context()); n != 0 || err != nil {
		t.Errorf("appending nothing: %d, %v", n, err)
	}
}

// TestOperatorIsCaught edits what lies in the database, as who runs it can.
func TestOperatorIsCaught(t *testing.T) {
	for name, test := range map[string]struct{ statement, want string }{
		"nothing":               {`SELECT 1`, ""},
		"a body":                {`UPDATE fact SET body = x'666f' WHERE position = 40`, "entry 39: the body is another one"},
		"a body and its hash":   {`UPDATE fact SET body = x'666f', body_hash = (SELECT body_hash FROM fact WHERE position = 41) WHERE position = 40`, "entry 39: the body is another one"},
		"a source":              {`UPDATE fact SET source = 'forged' WHERE position = 40`, "entry 39: the fact has another ID"},
		"a time":                {`UPDATE fact SET recorded_at = recorded_at - 1 WHERE position = 40`, "entry 39: header and leaf disagree"},
		"a leaf":                {`UPDATE fact SET leaf = (SELECT leaf FROM fact WHERE position = 41) WHERE position = 40`, "entry 39: header and leaf disagree"},
		"a fact deleted":        {`DELETE FROM fact WHERE position = 40`, "entry 39: the fact was deleted"},
		"an entry deleted":      {`DELETE FROM log_entry WHERE idx = 39`, "entry 39: the entry is missing"},
		"the last ones deleted": {`DELETE FROM log_entry WHERE idx >= 290`, "entry 290: the entry is missing"},
		"two entries swapped": {`UPDATE log_entry SET position = CASE idx WHEN 39 THEN 1040 ELSE 1039 END WHERE idx IN (39, 40);
			UPDATE log_entry SET position = CASE position WHEN 1040 THEN 41 ELSE 40 END WHERE position > 1000`, "tile 0/0 is not what the entries give"},
		"two facts of a subject swapped": {`UPDATE log_entry SET position = position + 1000 WHERE idx IN (39, 46);
			UPDATE log_entry SET position = CASE position WHEN 1040 THEN 47 ELSE 40 END WHERE position > 1000`, "entry 39: number 7 of the facts"},
		"a tile":         {`UPDATE log_tile SET hashes = zeroblob(length(hashes)) WHERE level = 0 AND idx = 1`, "tile 0/1 is not"},
		"a tile above":   {`UPDATE log_tile SET hashes = zeroblob(length(hashes)) WHERE level = 1`, "tile 1/0 is not"},
		"a tile deleted": {`DELETE FROM log_tile WHERE level = 0 AND idx = 0`, "tile 0/0 is not"},
		"the map":        {`UPDATE log_map SET content = (SELECT content FROM log_map_old)`, `node "" of the map is not`},
		"a node deleted": {`DELETE FROM log_map`, `node "" of the map is not`},
		"the map unmade": {`UPDATE log_head SET mapped = 299`, "the map has 299 entries"},
		"a fact put in": {`INSERT INTO fact SELECT 9999, 'sha256:00', subject, seq + 100, kind, source, valid_at, recorded_at, body_hash, salt, leaf, leaf, body FROM fact WHERE position = 300`,
			"the fact is not in the log"},
		"a fact that waits is hidden": {`INSERT INTO fact SELECT 9999, 'sha256:00', subject, seq + 100, kind, source, valid_at, recorded_at, body_hash, salt, leaf, leaf, body FROM fact WHERE position = 300;
			INSERT INTO log_pending VALUES (9999); DELETE FROM log_pending`, "the fact is not in the log"},
		"an entry of nothing": {`INSERT INTO log_entry VALUES (300, 9999); UPDATE log_head SET size = 301, mapped = 301`, "entry 300: the fact was deleted"},
		"the size":            {`UPDATE log_head SET size = 200, mapped = 200; DELETE FROM log_entry WHERE idx >= 200`, "signed for 300 entries, there are 200"},
		"the checkpoint":      {`UPDATE log_head SET checkpoint = CAST(replace(CAST(checkpoint AS TEXT), '300', '301') AS BLOB)`, "the checkpoint: "},
		"a body was erased":   {`UPDATE fact SET body = NULL WHERE position = 40`, ""},
		"erased and changed":  {`UPDATE fact SET body = NULL, source = 'forged' WHERE position = 40`, "entry 39: header and leaf disagree"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			db, err := sql.Open("sqlite", l.path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			l.record(t, 299)
			if _, err := db.ExecContext(t.Context(), `CREATE TABLE log_map_old AS SELECT * FROM log_map`); err != nil {
				t.Fatal(err)
			}
			l.record(t, 1)
			if _, err := db.ExecContext(t.Context(), test.statement); err != nil {
				t.Fatal(err)
			}
			report, err := translog.Verify(t.Context(), l.store, l.key)
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, f := range report.Faults {
				place := ""
				if f.Index >= 0 {
					place = fmt.Sprintf("entry %d: ", f.Index)
				}
				found = append(found, place+f.What)
			}
			all := strings.Join(found, "\n")
			if (test.want == "") != (all == "") || !strings.Contains(all, test.want) {
				t.Errorf("found:\n%s\nwant: %s", all, test.want)
			}
		})
	}
}

// TestEveryColumn changes one value in each column of the tables of facts and of the log.
func TestEveryColumn(t *testing.T) {
	changed := 0
	for table, row := range map[string]string{
		"fact": "position = 40", "log_entry": "idx = 39", "log_tile": "level = 0 AND idx = 0", "log_map": "prefix = ''", "log_head": "id = 1",
	} {
		l := newLab(t)
		l.record(t, 300)
		db, err := sql.Open("sqlite", l.path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		columns, err := db.QueryContext(t.Context(), `SELECT name, type FROM pragma_table_info($1)`, table)
		if err != nil {
			t.Fatal(err)
		}
		var list [][2]string
		for columns.Next() {
			var c [2]string
			if err := columns.Scan(&c[0], &c[1]); err != nil {
				t.Fatal(err)
			}
			list = append(list, c)
		}
		if err := errors.Join(columns.Err(), columns.Close()); err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if c == [2]string{"id", "INTEGER"} { // of log_head, where it can be nothing else
				continue
			}
			other := map[string]string{"INTEGER": c[0] + " + 1000000", "TEXT": c[0] + " || 'x'", "BLOB": "CAST(" + c[0] + " || 'x' AS BLOB)"}[c[1]]
			before := snapshot(t, db, table)
			if _, err := db.ExecContext(t.Context(), "UPDATE "+table+" SET "+c[0]+" = "+other+" WHERE "+row); err != nil {
				t.Fatalf("%s.%s: %v", table, c[0], err)
			}
			report, err := translog.Verify(t.Context(), l.store, l.key)
			if err == nil && len(report.Faults) == 0 {
				t.Errorf("%s.%s was changed, and nothing was found", table, c[0])
			}
			changed++
			before()
			if report, err := translog.Verify(t.Context(), l.store, l.key); err != nil || len(report.Faults) > 0 {
				t.Fatalf("after %s.%s was as before: %+v, %v", table, c[0], report.Faults, err)
			}
		}
	}
	if changed < 20 {
		t.Errorf("%d columns were changed: the test does too little", changed)
	}
}

// snapshot returns what puts a table back.
func snapshot(t *testing.T, db *sql.DB, table string) func() {
	t.Helper()
	run := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	run(`CREATE TABLE before AS SELECT * FROM ` + table)
	return func() {
		run(`DELETE FROM ` + table)
		run(`INSERT INTO ` + table + ` SELECT * FROM before`)
		run(`DROP TABLE before`)
	}
}

// TestOneKey appends with another key than the log has.
func TestOneKey(t *testing.T) {
	l := newLab(t)
	l.record(t, 3)
	stranger, key := newLog(t, l.store)
	err := l.store.Update(t.Context(), func(tx store.Tx) error {
		_, _, err := tx.Record(t.Context(), dossier.Statement{Subject: dossier.FromBytes(nil), Kind: "test", Source: "test"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Append(t.Context()); dossier.KindOf(err) != dossier.KindConflict {
		t.Errorf("Append by another key: %v", err)
	}
	report, err := translog.Verify(t.Context(), l.store, key)
	if err != nil || len(report.Faults) == 0 || !report.Waiting {
		t.Errorf("Verify with another key: %+v, %v", report, err)
	}
}

func TestHandler(t *testing.T) {
	l := newLab(t)
	handler := &translog.Handler{Store: l.store}
	get := func(method, path string) *http.Response {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(method, path, nil).WithContext(context.WithoutCancel(t.Context())))
		return w.Result()
	}
	if r := get(http.MethodGet, "/log/checkpoint"); r.StatusCode != http.StatusNotFound {
		t.Errorf("the checkpoint of nothing: %d", r.StatusCode)
	}
	l.record(t, 300)
	for path, want := range map[string]struct {
		status int
		bytes  int64 // -1: some
	}{
		"/log/checkpoint":            {http.StatusOK, -1},
		"/log/tile/0/000":            {http.StatusOK, 256 * 32},
		"/log/tile/0/000.p/7":        {http.StatusOK, 7 * 32},
		"/log/tile/0/001.p/44":       {http.StatusOK, 44 * 32},
		"/log/tile/0/001.p/45":       {http.StatusNotFound, -1},
		"/log/tile/0/001":            {http.StatusNotFound, -1},
		"/log/tile/1/000.p/1":        {http.StatusOK, 32},
		"/log/tile/1/000":            {http.StatusNotFound, -1},
		"/log/tile/2/000.p/1":        {http.StatusNotFound, -1},
		"/log/tile/entries/000":      {http.StatusOK, -1},
		"/log/tile/entries/001.p/44": {http.StatusOK, -1},
		"/log/tile/entries/001.p/45": {http.StatusNotFound, -1},
		"/log/tile/entries/001":      {http.StatusNotFound, -1},
		"/log/tile/0/0":              {http.StatusNotFound, -1},
		"/log/":                      {http.StatusNotFound, -1},
		"/elsewhere":                 {http.StatusNotFound, -1},
	} {
		r := get(http.MethodGet, path)
		if r.StatusCode != want.status || want.bytes >= 0 && r.ContentLength != want.bytes {
			t.Errorf("%s: %d, %d bytes", path, r.StatusCode, r.ContentLength)
		}
		if immutable := strings.Contains(r.Header.Get("Cache-Control"), "immutable"); immutable != (want.status == http.StatusOK && path != "/log/checkpoint") {
			t.Errorf("%s: Cache-Control %q", path, r.Header.Get("Cache-Control"))
		}
	}
	if r := get(http.MethodPost, "/log/checkpoint"); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", r.StatusCode)
	}
}
