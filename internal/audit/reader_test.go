// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/audit"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

const host = "registry.example"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// lab is an audit on one engine.
type lab struct {
	store    store.Store
	log      store.AuditLog
	recorder *audit.Recorder
	reader   *audit.Reader
}

// engines runs a test on each engine.
func engines(t *testing.T, f func(t *testing.T, l *lab)) {
	t.Run("SQLite", func(t *testing.T) {
		dir := t.TempDir()
		f(t, newLab(t, sqlstore.Config{Path: filepath.Join(dir, "dossier.db")}, sqlstore.AuditConfig{Dir: dir}))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		url := pgtest.Start(t)
		f(t, newLab(t, sqlstore.Config{URL: url}, sqlstore.AuditConfig{URL: url}))
	})
}

func newLab(t testing.TB, c sqlstore.Config, a sqlstore.AuditConfig) *lab {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	log, err := sqlstore.OpenAudit(a)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{store: db, log: log, recorder: audit.Start(t.Context(), audit.RecorderConfig{Log: log, Registry: host, MaxPending: 1 << 20})}
	l.reader = &audit.Reader{Store: db, Log: log, Sync: l.recorder.Sync}
	t.Cleanup(func() {
		l.recorder.Close()
		for _, c := range []interface{ Close() error }{log, db} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	l.update(t, func(tx store.Tx) error {
		_, err := tx.NameRegistry(t.Context(), host)
		return err
	})
	return l
}

func (l *lab) update(t testing.TB, f func(store.Tx) error) {
	t.Helper()
	if err := l.store.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// page asks for one page.
func (l *lab) page(t testing.TB, q dossier.AuditQuery) dossier.AuditList {
	t.Helper()
	list, err := l.reader.Audit(t.Context(), q)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return list
}

// all asks for page after page, of which none may be longer than limit.
func (l *lab) all(t testing.TB, q dossier.AuditQuery, limit int) []dossier.AuditEntry {
	t.Helper()
	list := []dossier.AuditEntry{}
	q.Limit = limit
	for {
		page := l.page(t, q)
		if len(page.Entries) > limit {
			t.Fatalf("a page has %d entries, want at most %d", len(page.Entries), limit)
		}
		list = append(list, page.Entries...)
		if page.Next == "" {
			return list
		}
		if page.Next == q.Before {
			t.Fatalf("%+v: the next page is this one", q)
		}
		q.Before = page.Next
	}
}

func digest(n int) dossier.Digest { return dossier.FromBytes([]byte(fmt.Sprint(n))) }

// world makes things happen at random, from few words, so that much coincides.
type world struct{ *rand.Rand }

func (w world) at() time.Time {
	// Some at the same microsecond, some days apart.
	return noon.Add(time.Duration(w.IntN(4)) * 11 * time.Hour).Add(time.Duration(w.IntN(300)) * 10 * time.Millisecond)
}

func (w world) caller() dossier.AuditCaller {
	return []dossier.AuditCaller{
		{Kind: "anonymous"}, {Kind: "user", Name: "alice"}, {Kind: "user", Name: "bob"},
		{Kind: "serviceaccount", Name: "ci/builder", Pod: fmt.Sprint("builder-", w.IntN(2)), PodUID: "1"},
	}[w.IntN(4)]
}

func (w world) path() string    { return []string{"team/app", "team/web", "base"}[w.IntN(3)] }
func (w world) tag() string     { return []string{"latest", "v1"}[w.IntN(2)] }
func (w world) address() string { return fmt.Sprint("10.0.0.", w.IntN(3)) }

// pull returns an entry of the log, raw and as it is on record.
func (w world) pull() (raw, kept dossier.AuditEntry) {
	e := dossier.AuditEntry{
		At: w.at(), Action: dossier.ActionPull, Object: dossier.ObjectManifest, Digest: digest(w.IntN(8)),
		Caller: w.caller(), Client: "test", Status: 200, Bytes: int64(w.IntN(1000)),
	}
	if w.IntN(3) == 0 {
		e.Tag = w.tag()
	}
	if w.IntN(10) == 0 {
		e.Denied, e.Code, e.Status, e.Action = true, "DENIED", 403, dossier.ActionPush
	}
	path, address := w.path(), w.address()
	kept, raw = e, e
	raw.Repository, raw.Address = path, address+":4711"
	kept.Repository, kept.Address = host+"/"+path, address
	return raw, kept
}

// event returns an event and what it is on record as, without the fact.
func (w world) event() (audit.Event, []dossier.AuditEntry) {
	e := audit.Event{Kind: dossier.FactPush, Digest: digest(w.IntN(8)), At: w.at(), Body: dossier.EventBody{
		Name: host + "/" + w.path(), Object: dossier.ObjectManifest, Size: 7, Caller: w.caller(), Address: w.address() + ":1", Client: "test",
	}}
	entry := dossier.AuditEntry{
		Action: dossier.ActionPush, Repository: e.Body.Name, Object: e.Body.Object, Digest: e.Digest, Caller: e.Body.Caller,
		Client: "test", Bytes: 7,
	}
	entry.Address, _, _ = cutLast(e.Body.Address)
	switch w.IntN(4) {
	case 0:
		e.Kind, e.Body.Object, e.Body.Source = dossier.FactMount, dossier.ObjectBlob, host+"/base"
		entry.Action, entry.Object, entry.Source = dossier.ActionMount, dossier.ObjectBlob, e.Body.Source
	case 1:
		tag := dossier.EventTag{Tag: w.tag(), Was: digest(w.IntN(8)), Moved: true}
		e.Body.Tags, entry.Tag = []dossier.EventTag{tag}, tag.Tag
		moved := entry
		moved.Action, moved.Object, moved.Was, moved.Bytes = dossier.ActionTag, dossier.ObjectTag, tag.Was, 0
		return e, []dossier.AuditEntry{entry, moved}
	case 2:
		tag := w.tag()
		e.Kind, e.Body.Object, e.Body.Tags = dossier.FactDelete, dossier.ObjectTag, []dossier.EventTag{{Tag: tag}}
		entry.Action, entry.Object, entry.Tag, entry.Bytes = dossier.ActionDelete, dossier.ObjectTag, tag, 0
	}
	return e, []dossier.AuditEntry{entry}
}

func cutLast(s string) (before, after string, found bool) {
	i := len(s) - 2
	return s[:i], s[i+1:], true
}

// populate makes a world and returns all that is on record of it, in no order.
func (l *lab) populate(t testing.TB, w world, pulls, events int) []dossier.AuditEntry {
	t.Helper()
	var kept []dossier.AuditEntry
	for range pulls {
		raw, entry := w.pull()
		l.recorder.Add(raw)
		kept = append(kept, entry)
		if w.IntN(40) == 0 { // blocks overlap
			if err := l.recorder.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range events {
		e, entries := w.event()
		l.update(t, func(tx store.Tx) error { return audit.Record(t.Context(), tx, e) })
		kept = append(kept, entries...)
	}
	return kept
}

// same makes entries comparable to those that are expected: the fact, and for an
// event the microseconds that keep it apart from others, are not known before.
func same(list []dossier.AuditEntry) []string {
	var out []string
	for _, e := range list {
		if e.Action != dossier.ActionPull && !e.Denied {
			e.At = time.Time{}
		}
		e.Fact = ""
		out = append(out, fmt.Sprintf("%+v", e))
	}
	slices.Sort(out)
	return out
}

// TestReaderFindsAll compares what is found with all that happened, whatever is
// asked for and however long the pages are.
func TestReaderFindsAll(t *testing.T) {
	engines(t, func(t *testing.T, l *lab) {
		w := world{rand.New(rand.NewPCG(1, 2))}
		kept := l.populate(t, w, 1500, 150)
		everything := l.all(t, dossier.AuditQuery{}, dossier.MaxAuditPage)
		if diff := cmp.Diff(same(kept), same(everything)); diff != "" {
			t.Fatalf("(-happened +found):\n%s", diff)
		}
		if !slices.IsSortedFunc(everything, func(a, b dossier.AuditEntry) int { return b.At.Compare(a.At) }) {
			t.Error("they are not the newest first")
		}
		for range 30 {
			q, matches := w.query()
			var want []dossier.AuditEntry
			for _, e := range everything {
				if matches(e) {
					want = append(want, e)
				}
			}
			limit := []int{1 + len(want)/2, 7, 100, dossier.MaxAuditPage}[w.IntN(4)]
			got := l.all(t, q, limit)
			if diff := cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)); diff != "" {
				t.Errorf("%+v in pages of %d: found %d, want %d", q, limit, len(got), len(want))
			}
		}
		// A page that may look at little ends early, and the next goes on.
		l.reader.MaxRead = 20
		for _, q := range []dossier.AuditQuery{{}, {Who: "bob", Digest: digest(3)}, {Who: "nobody"}} {
			l.reader.MaxRead = 0
			want := l.all(t, q, dossier.MaxAuditPage)
			l.reader.MaxRead = 20
			if got := l.all(t, q, 50); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%+v, looking at little: found %d, want %d", q, len(got), len(want))
			}
		}
	})
}

// query returns a query at random and a plain rule for what it should find.
func (w world) query() (dossier.AuditQuery, func(dossier.AuditEntry) bool) {
	var q dossier.AuditQuery
	path := w.path()
	if w.IntN(2) == 0 {
		q.Repository = []string{path, host + "/" + path}[w.IntN(2)]
		if w.IntN(2) == 0 {
			q.Tag = w.tag()
		}
	}
	if w.IntN(3) == 0 {
		q.Digest = digest(w.IntN(8))
	}
	who := w.caller()
	switch w.IntN(4) {
	case 0:
		q.Who = who.Name
		if who.Name == "" {
			q.Who = who.Kind
		}
	case 1:
		if who.Pod != "" {
			q.Pod = "ci/" + who.Pod
		}
	}
	if w.IntN(3) == 0 {
		q.Address = w.address()
	}
	if w.IntN(4) == 0 {
		q.Action = dossier.AuditActions()[w.IntN(6)]
	}
	q.Denied = w.IntN(5) == 0
	if w.IntN(3) == 0 {
		q.Since = w.at()
	}
	if w.IntN(3) == 0 {
		q.Until = w.at()
	}
	return q, func(e dossier.AuditEntry) bool {
		name := host + "/" + path
		return (q.Repository == "" || e.Repository == name || q.Tag == "" && e.Source == name) && (q.Tag == "" || e.Tag == q.Tag) &&
			(q.Digest == "" || e.Digest == q.Digest || e.Was == q.Digest) &&
			(q.Who == "" || e.Caller.Name == q.Who || e.Caller.Name == "" && e.Caller.Kind == q.Who) &&
			(q.Pod == "" || e.Caller.Pod == who.Pod && e.Caller.Name == who.Name) &&
			(q.Address == "" || e.Address == q.Address) && (q.Action == "" || e.Action == q.Action) && (!q.Denied || e.Denied) &&
			(q.Since.IsZero() || !e.At.Before(q.Since)) && (q.Until.IsZero() || e.At.Before(q.Until))
	}
}

// TestManyRows pages through 100,000 rows without losing or doubling any, and
// finds a few among them.
func TestManyRows(t *testing.T) {
	engines(t, func(t *testing.T, l *lab) {
		const rows, rare = 100_000, 10_007
		for i := range rows {
			e := dossier.AuditEntry{
				At: noon.Add(time.Duration(i)*10*time.Millisecond + time.Duration(i/40_000)*24*time.Hour), Action: dossier.ActionPull, Repository: fmt.Sprint("team/", i%100),
				Digest: digest(i % 500), Bytes: int64(i), Caller: dossier.AuditCaller{Kind: "user", Name: "alice"}, Address: "10.0.0.1:1",
			}
			if i%rare == 0 {
				e.Digest = digest(-1)
			}
			l.recorder.Add(e)
		}
		list := l.all(t, dossier.AuditQuery{}, dossier.MaxAuditPage)
		if len(list) != rows {
			t.Fatalf("%d rows, want %d", len(list), rows)
		}
		for i, e := range list {
			if e.Bytes != int64(rows-1-i) {
				t.Fatalf("row %d is %d", i, e.Bytes)
			}
		}
		found := l.all(t, dossier.AuditQuery{Digest: digest(-1)}, 4)
		for i, e := range found {
			if want := int64(rare * (rows/rare - i)); e.Bytes != want {
				t.Errorf("row %d of the rare ones is %d, want %d", i, e.Bytes, want)
			}
		}
		if len(found) != rows/rare+1 {
			t.Errorf("%d rare rows, want %d", len(found), rows/rare+1)
		}
		if days, err := l.log.Days(t.Context()); err != nil || len(days) < 2 {
			t.Errorf("they lie in %d days, %v", len(days), err)
		}
	})
}

// TestSameEvents records what is the same but for its number: each is kept.
func TestSameEvents(t *testing.T) {
	engines(t, func(t *testing.T, l *lab) {
		e := audit.Event{Kind: dossier.FactPush, Digest: digest(1), At: noon, Body: dossier.EventBody{Name: host + "/app", Object: dossier.ObjectBlob}}
		for range 3 {
			l.update(t, func(tx store.Tx) error { return audit.Record(t.Context(), tx, e) })
		}
		list := l.page(t, dossier.AuditQuery{}).Entries
		if len(list) != 3 || !list[0].At.Equal(noon.Add(2*time.Microsecond)) {
			t.Errorf("they are %+v", list)
		}
	})
}

// TestVisible shows only what who asks may see.
func TestVisible(t *testing.T) {
	engines(t, func(t *testing.T, l *lab) {
		l.populate(t, world{rand.New(rand.NewPCG(3, 4))}, 50, 20)
		l.reader.Visible = func(_ context.Context, e *dossier.AuditEntry) bool { return e.Repository == host+"/base" }
		list := l.all(t, dossier.AuditQuery{}, 5)
		if len(list) == 0 || slices.ContainsFunc(list, func(e dossier.AuditEntry) bool { return e.Repository != host+"/base" }) {
			t.Errorf("they are %+v", list)
		}
	})
}

// TestHostileEvent records texts that could be taken for something else where they are shown.
func TestHostileEvent(t *testing.T) {
	engines(t, func(t *testing.T, l *lab) {
		e := audit.Event{Kind: dossier.FactPush, Digest: digest(1), At: noon, Body: dossier.EventBody{
			Name: host + "/app", Object: dossier.ObjectBlob, Client: "evil\nlevel=ERROR\u202e\xff", Caller: dossier.AuditCaller{Kind: "user", Name: "a\x1b[31m"},
		}}
		l.update(t, func(tx store.Tx) error { return audit.Record(t.Context(), tx, e) })
		got := l.page(t, dossier.AuditQuery{}).Entries[0]
		if got.Client != "evil?level=ERROR??" || got.Caller.Name != "a?[31m" {
			t.Errorf("client %q, caller %q", got.Client, got.Caller.Name)
		}
	})
}
