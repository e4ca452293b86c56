// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/translog"
)

// monitor follows the log of a lab by what its handler serves.
func (l *lab) monitor(t *testing.T) *translog.Monitor {
	t.Helper()
	v, err := note.NewVerifier(l.key)
	if err != nil {
		t.Fatal(err)
	}
	return &translog.Monitor{Log: v, Fetch: func(ctx context.Context, path string) ([]byte, error) {
		w := httptest.NewRecorder()
		(&translog.Handler{Store: l.store}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, translog.Prefix+path, nil).WithContext(context.WithoutCancel(ctx)))
		if w.Code != http.StatusOK {
			return nil, fmt.Errorf("%s: %d", path, w.Code)
		}
		return w.Body.Bytes(), nil
	}}
}

// TestMonitor follows a log that grows over the edges of tiles, and one that was followed before by
// another monitor.
func TestMonitor(t *testing.T) {
	l := newLab(t)
	m := l.monitor(t)
	var before []translog.Checkpoint
	for _, n := range []int{1, 2, 253, 1, 255, 300, 700} {
		l.record(t, n)
		f, err := m.Follow(t.Context())
		if err != nil || f.New != int64(n) || f.Checkpoint.Size != int64(l.n) {
			t.Fatalf("%+v, %v, want %d new", f, err, n)
		}
		before = append(before, f.Checkpoint)
	}
	if f, err := m.Follow(t.Context()); err != nil || f.New != 0 || f.Subjects != 7 {
		t.Errorf("nothing new: %+v, %v", f, err)
	}
	if f, err := l.monitor(t).Follow(t.Context(), before...); err != nil || f.New != int64(l.n) {
		t.Errorf("a new monitor: %+v, %v", f, err)
	}
	for i := range before {
		lie := before[i]
		lie.Root[0] ^= 1
		_, err := l.monitor(t).Follow(t.Context(), append([]translog.Checkpoint{lie}, before...)...)
		if dossier.KindOf(err) != dossier.KindCorrupt || !strings.Contains(err.Error(), "two histories") {
			t.Errorf("another history of %d entries: %v", lie.Size, err)
		}
		other := before[i]
		other.Map = before[(i+1)%len(before)].Map
		if _, err := l.monitor(t).Follow(t.Context(), other); dossier.KindOf(err) != dossier.KindCorrupt || !strings.Contains(err.Error(), "the map of its first") {
			t.Errorf("another map of %d entries: %v", lie.Size, err)
		}
	}
	longer := before[len(before)-1]
	longer.Size++
	if _, err := l.monitor(t).Follow(t.Context(), longer); dossier.KindOf(err) != dossier.KindCorrupt || !strings.Contains(err.Error(), "it had") {
		t.Errorf("a shorter log: %v", err)
	}
}

// TestMonitorCatches edits what a log serves: who follows it sees that.
func TestMonitorCatches(t *testing.T) {
	for name, test := range map[string]struct{ statement, want string }{
		"an entry":         {`UPDATE fact SET leaf = (SELECT leaf FROM fact WHERE position = 41) WHERE position = 40`, "it shows two histories"},
		"an entry deleted": {`DELETE FROM log_entry WHERE idx = 250`, "503"},
		"entries swapped": {`UPDATE log_entry SET position = position + 1000 WHERE idx IN (39, 46);
			UPDATE log_entry SET position = CASE position WHEN 1040 THEN 47 ELSE 40 END WHERE position > 1000`, "after number"},
		"a number":         {`UPDATE fact SET seq = 1000 WHERE position = 40`, "is number 1000"},
		"the checkpoint":   {`UPDATE log_head SET checkpoint = CAST(replace(CAST(checkpoint AS TEXT), '300', '301') AS BLOB)`, "invalid signature"},
		"a tile, unserved": {`UPDATE log_tile SET hashes = zeroblob(length(hashes))`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.record(t, 300)
			db, err := sql.Open("sqlite", l.path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.ExecContext(t.Context(), test.statement); err != nil {
				t.Fatal(err)
			}
			_, err = l.monitor(t).Follow(t.Context())
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// TestMonitorCatchesFalseMap has a log sign for a map that its entries do not give, as an operator who has
// the key can.
func TestMonitorCatchesFalseMap(t *testing.T) {
	l := newLab(t)
	l.record(t, 20)
	c := l.checkpoint(t)
	forged := strings.Replace(string(read(t, l.store, func(r store.Reader) (store.LogHead, error) { return r.LogHead(t.Context()) }).Checkpoint), c.Map.String(), c.Root.String(), 1)
	text, _, _ := strings.Cut(forged, "\n\n")
	signer, err := note.NewSigner(l.secret)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: text + "\n"}, signer)
	if err != nil {
		t.Fatal(err)
	}
	err = l.store.Update(t.Context(), func(tx store.Tx) error { return tx.PutCosigned(t.Context(), c.Size, signed) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.monitor(t).Follow(t.Context()); dossier.KindOf(err) != dossier.KindCorrupt || !strings.Contains(err.Error(), "the map of its first 20 entries") {
		t.Errorf("%v", err)
	}
}
