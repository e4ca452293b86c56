// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/translog"
)

// newWitness serves a witness for the logs with the keys, on a store of its own.
func newWitness(t *testing.T, keys ...string) (*translog.Asked, *translog.Witnesser) {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "witness.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	signer, key, err := translog.WitnessSigner(filepath.Join(t.TempDir(), "witness.key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &translog.Witnesser{Store: s, Signer: signer}
	for _, k := range keys {
		v, err := note.NewVerifier(k)
		if err != nil {
			t.Fatal(err)
		}
		w.Logs = append(w.Logs, v)
	}
	mux := http.NewServeMux()
	mux.Handle(translog.WitnessPath, w)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	parsed, err := translog.ParseWitness(key.String())
	if err != nil || parsed.String() != key.String() {
		t.Fatalf("the key of the witness: %v, %v", parsed, err)
	}
	return &translog.Asked{URL: server.URL + strings.TrimSuffix(translog.WitnessPath, "/add-checkpoint"), Key: parsed}, w
}

// withWitnesses opens the log again, with witnesses.
func (l *lab) withWitnesses(t *testing.T, logged io.Writer, witnesses ...*translog.Asked) {
	t.Helper()
	signer, err := note.NewSigner(l.secret)
	if err != nil {
		t.Fatal(err)
	}
	l.log, err = translog.New(translog.Config{Store: l.store, Signer: signer, Key: l.key, Witnesses: witnesses,
		Logger: slog.New(slog.NewTextHandler(logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) cosign(t *testing.T, want int) {
	t.Helper()
	if n, err := l.log.Cosign(t.Context()); n != want || err != nil {
		t.Errorf("%d witnesses signed, %v, want %d", n, err, want)
	}
}

// TestWitness has two witnesses sign for a log that grows, one of which is away for a time.
func TestWitness(t *testing.T) {
	l := newLab(t)
	one, _ := newWitness(t, l.key)
	two, _ := newWitness(t, l.key)
	var logged bytes.Buffer
	l.withWitnesses(t, &logged, one, two)
	l.cosign(t, 0) // there is nothing yet
	url := two.URL
	for round, n := range []int{1, 5, 250, 300} {
		l.record(t, n)
		want := 2
		if two.URL = url; round == 2 {
			two.URL, want = "http://127.0.0.1:1", 1
		}
		l.cosign(t, want)
		l.cosign(t, want) // those that have signed are not asked again
		head := read(t, l.store, func(r store.Reader) (store.LogHead, error) { return r.LogHead(t.Context()) })
		times, err := translog.Cosigned(head.Checkpoint, []*translog.Witness{one.Key, two.Key})
		if err != nil || len(times) != want || time.Since(times[one.Key.String()]) > time.Minute {
			t.Errorf("cosigned: %v, %v", times, err)
		}
		l.checkpoint(t) // is still that of the log
	}
	if n := strings.Count(logged.String(), "a witness does not sign"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, &logged)
	}
	// A log that was opened anew does not know what the witness signed last.
	again, _ := newWitness(t, l.key)
	again.URL, again.Key = one.URL, one.Key
	l.withWitnesses(t, io.Discard, again)
	l.record(t, 3)
	l.cosign(t, 1)
	if report, err := translog.Verify(t.Context(), l.store, l.key); err != nil || len(report.Faults) > 0 {
		t.Errorf("Verify: %+v, %v", report, err)
	}
}

// TestFork makes two histories of one log, which both are signed by its key: the witness signs one of
// them only, whatever it is told that it signed last.
func TestFork(t *testing.T) {
	l := newLab(t)
	l.record(t, 10)
	witness, w := newWitness(t, l.key)
	l.withWitnesses(t, io.Discard, witness)
	l.cosign(t, 1)
	if err := l.store.Close(); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	b, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, b, 0o600); err != nil {
		t.Fatal(err)
	}
	fork := &lab{path: copied, key: l.key, secret: l.secret, n: 1000}
	for _, lab := range []*lab{l, fork} {
		if lab.store, err = sqlstore.Open(t.Context(), sqlstore.Config{Path: lab.path}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = lab.store.Close() })
	}
	var logged, forkLogged bytes.Buffer
	l.withWitnesses(t, &logged, witness)
	fork.withWitnesses(t, &forkLogged, &translog.Asked{URL: witness.URL, Key: witness.Key})
	l.record(t, 5)
	l.cosign(t, 1)
	for _, n := range []int{1, 4, 7} { // smaller, of the same size, larger
		fork.record(t, n)
		fork.cosign(t, 0)
	}
	if !strings.Contains(forkLogged.String(), "another history of the log was signed") {
		t.Errorf("the fork was told:\n%s", &forkLogged)
	}
	l.record(t, 20)
	l.cosign(t, 1)
	if logged.Len() > 0 {
		t.Errorf("the log was told:\n%s", &logged)
	}
	head := read(t, fork.store, func(r store.Reader) (store.LogHead, error) { return r.LogHead(t.Context()) })
	for old := range int64(50) {
		if line, err := w.Add(t.Context(), fmt.Appendf(nil, "old %d\n\n%s", old, head.Checkpoint)); err == nil {
			t.Errorf("after %d, it signed %s", old, line)
		}
	}
}

func TestWitnessRefuses(t *testing.T) {
	l, stranger := newLab(t), newLab(t)
	l.record(t, 3)
	stranger.record(t, 3)
	witness, _ := newWitness(t, l.key)
	checkpoint := func(l *lab) string {
		return string(read(t, l.store, func(r store.Reader) (store.LogHead, error) { return r.LogHead(t.Context()) }).Checkpoint)
	}
	post := func(body string) (int, string, string) {
		t.Helper()
		r, err := http.Post(witness.URL+"/add-checkpoint", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, r.Header.Get("Content-Type"), string(b)
	}
	mine, other := checkpoint(l), checkpoint(stranger)
	for _, test := range []struct {
		name, body string
		status     int
	}{
		{"nothing", "", 400},
		{"no old size", "\n" + mine, 400},
		{"no checkpoint", "old 0\n\n", 404},
		{"too old", "old 7\n\n" + mine, 400},
		{"a size with zeros", "old 00\n\n" + mine, 400},
		{"a proof of what", "old 0\nnot base64\n\n" + mine, 400},
		{"a proof too long", "old 0\n" + strings.Repeat("AAAA\n", 64) + "\n" + mine, 400},
		{"another's key", "old 0\n\n" + other, 403},
		{"another's name", "old 0\n\n" + strings.ReplaceAll(mine, "log.example/test", "log.example/else"), 404},
		{"another old size", "old 2\n\n" + mine, 409},
		{"an empty proof for something", "old 0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n" + mine, 422},
		{"too large", "old 0\n\n" + mine + strings.Repeat("x", 70_000), 400},
		{"it", "old 0\n\n" + mine, 200},
		{"it again, from nothing", "old 0\n\n" + mine, 409},
		{"it again", "old 3\n\n" + mine, 200},
	} {
		status, kind, body := post(test.body)
		if status != test.status {
			t.Errorf("%s: %d %s, want %d", test.name, status, body, test.status)
		}
		if status == http.StatusConflict && (kind != "text/x.tlog.size" || body != "0\n" && body != "3\n") {
			t.Errorf("%s: %s %q", test.name, kind, body)
		}
		if status == http.StatusOK && !strings.HasPrefix(body, "— "+witness.Key.Name()+" ") {
			t.Errorf("%s: %q", test.name, body)
		}
	}
	r, err := http.Get(witness.URL + "/add-checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", r.StatusCode)
	}
}
