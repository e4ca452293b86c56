// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

// onEngines runs a test on both databases.
func onEngines(t *testing.T, name string, test func(t *testing.T, config sqlstore.Config)) {
	t.Run(name+" on SQLite", func(t *testing.T) { test(t, sqlstore.Config{Path: sqltest.File(t)}) })
	t.Run(name+" on PostgreSQL", func(t *testing.T) { test(t, sqlstore.Config{URL: sqltest.URL(t)}) })
}

// rows returns how many blobs lie in rows.
func (l *lab) rows(t *testing.T) int {
	t.Helper()
	n := 0
	err := l.store.View(t.Context(), func(r store.Reader) error {
		keys, err := r.SmallBlobKeys(t.Context(), "", 1000)
		n = len(keys)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// viewedStore counts the Views that are over.
type viewedStore struct {
	store.Store
	n atomic.Int64
}

// View implements store.Store.
func (s *viewedStore) View(ctx context.Context, f func(store.Reader) error) error {
	defer s.n.Add(1)
	return s.Store.View(ctx, f)
}

// TestNextBytes has two requests go on at once with an upload whose bytes lie in its row:
// who is done first has it, the other is told. It is so for a chunk that is too large for a row, too.
func TestNextBytes(t *testing.T) {
	large := strings.Repeat("x", registry.MaxSmall)
	for name, test := range map[string]struct {
		method, second string // of the slow one, which begins with "slow"
		other          func(l *lab, location string)
		code           string
	}{
		"chunk": {http.MethodPatch, " one", func(l *lab, location string) {
			l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("quick"))
		}, "BLOB_UPLOAD_INVALID"},
		"large chunk": {http.MethodPatch, large, func(l *lab, location string) {
			l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("quick"))
		}, "BLOB_UPLOAD_INVALID"},
		"large chunk beside a larger one": {http.MethodPatch, large, func(l *lab, location string) {
			l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("quick"+large))
			l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("quick"))
		}, "BLOB_UPLOAD_INVALID"},
		"end": {http.MethodPut, " one", func(l *lab, location string) {
			l.want(t, http.StatusCreated, "", http.MethodPut, location+digestTail("firstquick"), []byte("quick"))
		}, "BLOB_UPLOAD_UNKNOWN"},
		"large end": {http.MethodPut, large, func(l *lab, location string) {
			l.want(t, http.StatusCreated, "", http.MethodPut, location+digestTail("firstquick"), []byte("quick"))
		}, "BLOB_UPLOAD_UNKNOWN"},
	} {
		onEngines(t, name, func(t *testing.T, config sqlstore.Config) {
			var views *viewedStore
			l := newLabOn(t, config, func(c *registry.Config) {
				views = &viewedStore{Store: c.Store}
				c.Store = views
			})
			location := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil).header.Get("Location")
			l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("first"))
			tail := ""
			if test.method == http.MethodPut {
				tail = digestTail("firstslow" + test.second)
			}
			before := views.n.Load()
			finish := l.slowRequest(t, test.method, location+tail, "slow", test.second)
			await(t, func() bool { return views.n.Load() > before })
			test.other(l, location)
			kept := 0
			want := "firstquick"
			if name == "large chunk beside a larger one" {
				kept, want = 1, "firstquick"+large+"quick"
			}
			if a := finish(); a.code() != test.code {
				t.Errorf("the slow one: %d %s, want %s", a.status, a.body, test.code)
			}
			l.awaitFiles(t, kept)
			if test.method == http.MethodPatch {
				l.want(t, http.StatusCreated, "", http.MethodPut, location+digestTail(want), nil)
			}
			got := l.want(t, http.StatusOK, "", http.MethodGet, "/v2/app/blobs/"+string(dossier.FromBytes([]byte(want))), nil)
			if string(got.body) != want {
				t.Errorf("the blob has %d bytes, want %d", len(got.body), len(want))
			}
		})
	}
}

func digestTail(s string) string { return "?digest=" + string(dossier.FromBytes([]byte(s))) }

// TestGrowsOutOfRow sends a blob in chunks, the first of which fit in a row, for both
// algorithms, with and without a length.
func TestGrowsOutOfRow(t *testing.T) {
	for n := range 4 {
		algorithm, chunked := []string{dossier.SHA256, dossier.SHA512}[n/2], n%2
		for _, sizes := range [][]int{{0, 0}, {registry.MaxSmall}, {1, registry.MaxSmall - 1}, {1, registry.MaxSmall}, {10, 20, 20_000, 5, 30_000}, {20_000, 3}} {
			l := newLab(t, nil)
			location := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/?digest-algorithm="+algorithm, nil).header.Get("Location")
			var all []byte
			for i, size := range sizes {
				part := bytes.Repeat([]byte{byte('a' + i)}, size)
				all = append(all, part...)
				body := io.Reader(bytes.NewReader(part))
				if i%2 == chunked {
					body = io.MultiReader(body) // nobody sees how long it is
				}
				if a, err := send(t.Context(), http.MethodPatch, l.url+location, body); err != nil || a.status != http.StatusAccepted {
					t.Fatalf("PATCH: %v, %d %s", err, a.status, a.body)
				}
				want := fmt.Sprintf("0-%d", max(0, len(all)-1))
				if a := l.want(t, http.StatusNoContent, "", http.MethodGet, location, nil); a.header.Get("Range") != want {
					t.Errorf("the upload stands at %s, want %s", a.header.Get("Range"), want)
				}
			}
			h := dossier.Digest(algorithm + ":").NewHash()
			h.Write(all)
			d := dossier.FromHash(algorithm, h)
			l.want(t, http.StatusCreated, "", http.MethodPut, location+"?digest="+string(d), nil)
			if got := l.want(t, http.StatusOK, "", http.MethodGet, "/v2/app/blobs/"+string(d), nil); !bytes.Equal(got.body, all) {
				t.Errorf("%s of %v: %d bytes came back", algorithm, sizes, len(got.body))
			}
			if len(all) > 0 {
				got := l.want(t, http.StatusPartialContent, "", http.MethodGet, "/v2/app/blobs/"+string(d), nil, "Range: bytes=-1")
				if string(got.body) != string(all[len(all)-1:]) {
					t.Errorf("%s of %v: the last byte is %q", algorithm, sizes, got.body)
				}
			}
			inFile := 0
			if len(all) > registry.MaxSmall {
				inFile = 1
			}
			if n := l.files(t); n != inFile {
				t.Errorf("%v: there are %d files, want %d", sizes, n, inFile)
			}
		}
	}
}

// TestBadRow damages rows as a failing disk does. What cannot be read, or has other bytes, is
// damage: nobody is sent it, and whoever pushes the blob again heals it. Its bytes are then
// taken away with all else.
func TestBadRow(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	d := dossier.FromBytes(content)
	change := func(to string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = db.Exec("UPDATE small_blob SET content = " + to)
			if err = errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		harm   func(t *testing.T, path string)
		damage string
	}{
		"a page":      {harmPage(content), care.BadRow},
		"other bytes": {change("zeroblob(16000)"), "its bytes are those of " + string(dossier.FromBytes(make([]byte, 16000)))},
		"fewer":       {change("substr(content, 2)"), care.WrongSize(15999, 16000)},
		"none":        {func(t *testing.T, path string) { change("x''")(t, path) }, care.WrongSize(0, 16000)},
	} {
		t.Run(name, func(t *testing.T) {
			path := sqltest.File(t)
			t.Run("before", func(t *testing.T) {
				l := newLabOn(t, sqlstore.Config{Path: path}, nil)
				l.blob(t, "a", string(content))
			}) // it is closed then
			tt.harm(t, path)
			later := time.Now().Add(2 * care.DefaultScrubAge)
			clock := func() time.Time { return later }
			l := newLabOn(t, sqlstore.Config{Path: path, Now: clock}, func(c *registry.Config) { c.Now = clock })
			c, err := care.New(care.Config{Store: l.store, Blobs: l.blobs, Now: clock})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := c.Scrub(t.Context()); err != nil || got.Damaged != 1 {
				t.Errorf("scrubbed %+v, %v", got, err)
			}
			if got := l.blobState(t, d).Damage; got != tt.damage {
				t.Errorf("damage %q, want %q", got, tt.damage)
			}
			l.want(t, http.StatusNotFound, "BLOB_UNKNOWN", http.MethodGet, "/v2/a/blobs/"+string(d), nil)
			l.blob(t, "a", string(content))
			l.blob(t, "a", "goes")
			l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/a/blobs/"+string(dossier.FromBytes([]byte("goes"))), nil)
			for range 4 {
				later = later.Add(care.DefaultLease * 2 / 3)
				l.want(t, http.StatusOK, "", http.MethodHead, "/v2/a/blobs/"+string(d), nil) // which leases it again
				if err := c.Tick(t.Context()); err != nil {
					t.Errorf("collecting: %v", err)
				}
			}
			if got := l.want(t, http.StatusOK, "", http.MethodGet, "/v2/a/blobs/"+string(d), nil); !bytes.Equal(got.body, content) {
				t.Errorf("%d bytes came back", len(got.body))
			}
			want := 1
			if tt.damage == care.BadRow {
				want = 2 // the database cannot take it away
			}
			if n := l.rows(t); n != want {
				t.Errorf("there are %d rows, want %d", n, want)
			}
		})
	}
}

// harmPage breaks the chain of pages in which most of a content lies.
func harmPage(content []byte) func(t *testing.T, path string) {
	const page = 4096
	return func(t *testing.T, path string) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for p := 0; p+page <= len(b); p += page { // the number of the next page, then content
			if b[p+100] != 0 && bytes.Contains(content, b[p+4:p+204]) {
				copy(b[p:], []byte{0xff, 0xff, 0xff, 0x0f})
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		t.Fatal("no page has a part of the content and nothing else")
	}
}

// TestRowSeenBySend checks that a row that cannot be read is damage for whoever pulls it.
func TestRowSeenBySend(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	path := sqltest.File(t)
	t.Run("before", func(t *testing.T) { newLabOn(t, sqlstore.Config{Path: path}, nil).blob(t, "a", string(content)) })
	harmPage(content)(t, path)
	l := newLabOn(t, sqlstore.Config{Path: path}, nil)
	d := dossier.FromBytes(content)
	for range 2 { // when it is seen, and when it is known
		l.want(t, http.StatusNotFound, "BLOB_UNKNOWN", http.MethodGet, "/v2/a/blobs/"+string(d), nil)
	}
	if got := l.blobState(t, d).Damage; got != care.BadRow {
		t.Errorf("damage %q", got)
	}
}

// TestRowOutlastsPlace takes away the place of the blobs while an upload whose bytes lie in its
// row goes on with more than fits there. It is refused, and goes on when the place is back.
func TestRowOutlastsPlace(t *testing.T) {
	l := newLab(t, nil)
	location := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil).header.Get("Location")
	l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("first"))
	uploads := filepath.Join(l.dir, "blobs", "uploads")
	if err := os.Rename(uploads, uploads+".away"); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{registry.MaxSmall, 2 << 20} { // not held, and held
		a := l.want(t, http.StatusServiceUnavailable, "UNAVAILABLE", http.MethodPatch, location, bytes.Repeat([]byte("x"), size))
		if !strings.Contains(string(a.body), "the directory of uploads is gone") {
			t.Errorf("it does not say why: %s", a.body)
		}
	}
	if a, err := send(t.Context(), http.MethodPatch, l.url+location, io.MultiReader(bytes.NewReader(make([]byte, 20_000)))); err != nil || a.status != http.StatusServiceUnavailable {
		t.Errorf("without a length: %v, %d %s", err, a.status, a.body)
	}
	if err := os.Rename(uploads+".away", uploads); err != nil {
		t.Fatal(err)
	}
	if a := l.want(t, http.StatusNoContent, "", http.MethodGet, location, nil); a.header.Get("Range") != "0-4" {
		t.Errorf("the upload stands at %s", a.header.Get("Range"))
	}
	l.want(t, http.StatusCreated, "", http.MethodPut, location+digestTail("first and last"), []byte(" and last"))
}

// TestRefusedRange sends chunks that do not go on where an upload in a row stands: it stays
// there as it is, and who is quicker is not told that somebody else wrote to it.
func TestRefusedRange(t *testing.T) {
	l := newLab(t, nil)
	location := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil).header.Get("Location")
	refused := func(at string) {
		t.Helper()
		for _, size := range []int{10, 20_000, 2 << 20} {
			a := l.want(t, http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID", http.MethodPatch, location, make([]byte, size), fmt.Sprintf("Content-Range: 7-%d", size+6))
			if a.header.Get("Range") != at || a.header.Get("Location") != location {
				t.Errorf("the client is told %s of %s, want %s", a.header.Get("Range"), a.header.Get("Location"), at)
			}
		}
	}
	refused("0-0")
	finish := l.slowRequest(t, http.MethodPatch, location, "fi", "rst")
	refused("0-0")
	if a := finish(); a.status != http.StatusAccepted {
		t.Errorf("a chunk beside those that were refused: %d %s", a.status, a.body)
	}
	refused("0-4")
	l.want(t, http.StatusCreated, "", http.MethodPut, location+digestTail("first"), nil)
	if n, files := l.rows(t), l.files(t); n != 1 || files != 0 {
		t.Errorf("there are %d rows and %d files", n, files)
	}
}

// TestRowsOfRefused pushes what a quota refuses, and what is there already: no row stays.
func TestRowsOfRefused(t *testing.T) {
	onEngines(t, "quota", func(t *testing.T, config sqlstore.Config) {
		l := newLabOn(t, config, nil)
		l.quotas(t, dossier.Quota{Prefix: "team", Limit: 1100})
		content := bytes.Repeat([]byte("1"), 1000)
		for i, status := range []int{http.StatusCreated, http.StatusCreated, http.StatusForbidden, http.StatusForbidden} {
			if i == 2 {
				content = bytes.Repeat([]byte("2"), 1000)
			}
			code := ""
			if status == http.StatusForbidden {
				code = "DENIED"
			}
			l.want(t, status, code, http.MethodPost, "/v2/team/blobs/uploads/"+digestTail(string(content)), content)
		}
		if n, files := l.rows(t), l.files(t); n != 1 || files != 0 {
			t.Errorf("there are %d rows and %d files, want what was accepted", n, files)
		}
	})
}

// brokenBlobs is a place whose writers cannot be suspended.
type brokenBlobs struct{ blob.Store }

func (b brokenBlobs) Create(ctx context.Context, key string) (blob.Writer, error) {
	w, err := b.Store.Create(ctx, key)
	return brokenWriter{w}, err
}

type brokenWriter struct{ blob.Writer }

func (w brokenWriter) Suspend(ctx context.Context) (blob.Token, error) {
	return nil, errors.Join(&dossier.Error{Kind: dossier.KindUnavailable, Op: "suspending", Err: errors.New("the place is away")}, w.Abort(ctx))
}

// TestRowOutlastsSuspend adds what cannot be kept to an upload whose bytes lie in its row: they
// stay, and nobody holds the upload.
func TestRowOutlastsSuspend(t *testing.T) {
	l := newLab(t, func(c *registry.Config) { c.Blobs = brokenBlobs{c.Blobs} })
	location := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil).header.Get("Location")
	l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("first"))
	for _, size := range []int{20_000, 2 << 20} { // not held, and held
		l.want(t, http.StatusServiceUnavailable, "UNAVAILABLE", http.MethodPatch, location, make([]byte, size))
		if a := l.want(t, http.StatusNoContent, "", http.MethodGet, location, nil); a.header.Get("Range") != "0-4" {
			t.Errorf("the upload stands at %s", a.header.Get("Range"))
		}
	}
	l.want(t, http.StatusCreated, "", http.MethodPut, location+digestTail("first and last"), []byte(" and last"))
}

// awayStore is a database that fails an Update after it, or instead of it.
type awayStore struct {
	store.Store
	after, instead atomic.Bool
}

func (s *awayStore) fail(ctx context.Context, update func(context.Context, func(store.Tx) error) error, f func(store.Tx) error) error {
	away := &dossier.Error{Kind: dossier.KindUnavailable, Op: "writing database", Err: errors.New("it is away")}
	if s.instead.CompareAndSwap(true, false) {
		return away
	}
	err := update(ctx, f)
	if err == nil && s.after.CompareAndSwap(true, false) {
		return away
	}
	return err
}

func (s *awayStore) Update(ctx context.Context, f func(store.Tx) error) error {
	return s.fail(ctx, s.Store.Update, f)
}

func (s *awayStore) UpdateSoon(ctx context.Context, f func(store.Tx) error) error {
	return s.fail(ctx, s.Store.UpdateSoon, f)
}

// TestRowWhenDatabaseFails has the last transaction of a chunk, or of an upload, fail, before or
// after it was done. What is told of the upload is so, it can be gone on with at once, and
// what it has is there.
func TestRowWhenDatabaseFails(t *testing.T) {
	for name, tt := range map[string]struct {
		size int
		done bool
	}{"small": {10, false}, "unheld": {20_000, false}, "small, done": {10, true}, "unheld, done": {20_000, true}} {
		t.Run(name, func(t *testing.T) {
			var db *awayStore
			l := newLab(t, func(c *registry.Config) {
				db = &awayStore{Store: c.Store}
				c.Store = db
			})
			location := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil).header.Get("Location")
			l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("first"))
			more := strings.Repeat("x", tt.size)
			fails, all := &db.instead, "first"
			if tt.done {
				fails, all = &db.after, "first"+more
			}
			fails.Store(true)
			l.want(t, http.StatusServiceUnavailable, "UNAVAILABLE", http.MethodPatch, location, []byte(more))
			a := l.want(t, http.StatusNoContent, "", http.MethodGet, location, nil)
			if want := fmt.Sprintf("0-%d", len(all)-1); a.header.Get("Range") != want {
				t.Errorf("the upload stands at %s, want %s", a.header.Get("Range"), want)
			}
			inRow := len(all) <= registry.MaxSmall // else the upload is held before
			if inRow {
				fails.Store(true)
				l.want(t, http.StatusServiceUnavailable, "UNAVAILABLE", http.MethodPut, location+digestTail(all), nil)
			}
			if !tt.done || !inRow {
				l.want(t, http.StatusCreated, "", http.MethodPut, location+digestTail(all), nil)
			}
			if got := l.want(t, http.StatusOK, "", http.MethodGet, "/v2/app/blobs/"+string(dossier.FromBytes([]byte(all))), nil); string(got.body) != all {
				t.Errorf("%d bytes came back, want %d", len(got.body), len(all))
			}
		})
	}
}

// TestHeldWhenDatabaseFails has the last transaction of a long chunk fail: the upload is not held
// for that.
func TestHeldWhenDatabaseFails(t *testing.T) {
	var db *awayStore
	l := newLab(t, func(c *registry.Config) {
		db = &awayStore{Store: c.Store}
		c.Store = db
	})
	location := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil).header.Get("Location")
	l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("first"))
	finish := l.slowRequest(t, http.MethodPatch, location, "slow", strings.Repeat("x", 2<<20))
	l.awaitFiles(t, 1) // it holds the upload
	db.instead.Store(true)
	if a := finish(); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
	l.want(t, http.StatusCreated, "", http.MethodPut, location+digestTail("first"), nil)
}
