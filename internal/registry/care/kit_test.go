// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/blob/disk"
	"dossier.dev/dossier/internal/blob/s3"
	"dossier.dev/dossier/internal/blob/s3/s3test"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/registry/small"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
	"dossier.dev/dossier/internal/testimage"
)

const host = "registry.example"

// start is when the clock of a world begins.
var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// world is a registry with a collector and a clock that the test moves.
type world struct {
	t     testing.TB
	store store.Store
	files blob.Store // as a server has it
	blobs blob.Store // and what lies in rows, too
	rows  bool       // blobs lie in rows
	url   string

	mu  sync.Mutex
	now time.Time
}

// engines are the databases on which tests run.
var engines = []struct {
	name   string
	config func(t testing.TB) sqlstore.Config
}{
	{"SQLite", func(t testing.TB) sqlstore.Config {
		return sqlstore.Config{Path: sqltest.File(t)}
	}},
	{"PostgreSQL", func(t testing.TB) sqlstore.Config { return sqlstore.Config{URL: sqltest.URL(t)} }},
}

func newWorld(t testing.TB) *world { return newWorldOn(t, engines[0].config(t)) }

func newWorldOn(t testing.TB, c sqlstore.Config, change ...func(*world)) *world {
	return newWorldIn(t, c, onDisk(t), change...)
}

// inRows lets the blobs of a world lie in rows of the database. Else each is in its place, as
// large ones are.
func inRows(w *world) { w.rows = true }

// storages are the blob stores on which tests run.
var storages = []struct {
	name string
	open func(t testing.TB) blob.Store
}{
	{"disk", onDisk},
	{"S3", func(t testing.TB) blob.Store {
		s, err := s3.Open(t.Context(), s3test.Start(t).Bucket(t, "blobs"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}},
}

func onDisk(t testing.TB) blob.Store {
	files, err := disk.Open(disk.Config{Dir: filepath.Join(t.TempDir(), "blobs")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := files.Close(); err != nil {
			t.Error(err)
		}
	})
	return files
}

// newWorldIn is newWorld with a given database and place of blobs.
func newWorldIn(t testing.TB, c sqlstore.Config, files blob.Store, change ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, now: start}
	for _, f := range change {
		f(w)
	}
	c.Now = w.clock
	db, err := sqlstore.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	w.serve(db, files)
	return w
}

// newWorldWith is newWorld with stores that are open. The database goes by the time of day.
func newWorldWith(t testing.TB, db store.Store, files blob.Store, change ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, now: time.Now()}
	for _, f := range change {
		f(w)
	}
	w.serve(db, files)
	return w
}

// serve begins to serve the stores, until the test ends.
func (w *world) serve(db store.Store, files blob.Store) {
	t := w.t
	t.Helper()
	w.store, w.files, w.blobs = db, files, files
	if w.rows {
		w.blobs = listed{small.Over(files, db), db}
	}
	handler, err := registry.New(t.Context(), registry.Config{Store: db, Blobs: files, Name: host, Now: w.clock, MaxSmall: w.maxSmall()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	w.url = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// maxSmall is the Config.MaxSmall of a registry.
func (w *world) maxSmall() int64 {
	if w.rows {
		return registry.MaxSmall
	}
	return -1
}

// listed lists what lies in rows, too.
type listed struct {
	blob.Store
	rows store.Store
}

// List implements blob.Store.
func (l listed) List(ctx context.Context, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range l.Store.List(ctx, after) {
			if !yield(info, err) {
				return
			}
		}
		const ids = 300 // more than any test makes
		var keys []string
		err := l.rows.View(ctx, func(r store.Reader) error {
			for id := range int64(ids) {
				_, err := r.SmallBlob(ctx, store.SmallKey(id))
				if err == nil {
					keys = append(keys, store.SmallKey(id))
				} else if dossier.KindOf(err) != dossier.KindNotFound {
					return err
				}
			}
			return nil
		})
		if err != nil || slices.Contains(keys, store.SmallKey(ids-1)) {
			yield(blob.Info{}, fmt.Errorf("listing rows up to %d: %w", ids, err))
			return
		}
		for _, key := range keys {
			if !yield(blob.Info{Key: key}, nil) {
				return
			}
		}
	}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// collector returns one with a policy.
func (w *world) collector(p config.Care, change ...func(*care.Config)) *care.Collector {
	w.t.Helper()
	c := care.Config{Store: w.store, Blobs: w.files, Policy: p, Now: w.clock}
	for _, f := range change {
		f(&c)
	}
	collector, err := care.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return collector
}

// collect collects once.
func (w *world) collect(p config.Care) dossier.Collection {
	w.t.Helper()
	got, err := w.collector(p).Collect(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

// push pushes content and returns it.
func (w *world) push(repository, tag string, b testimage.Builder) *testimage.Content {
	w.t.Helper()
	c := testimage.Must(w.t, b)
	if err := testimage.Push(w.t.Context(), nil, w.url, repository, tag, c); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// upload uploads a blob alone.
func (w *world) upload(repository, text string) dossier.Digest {
	w.t.Helper()
	d := dossier.FromBytes([]byte(text))
	if a := w.do(http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+string(d), text); a.status != http.StatusCreated {
		w.t.Fatalf("upload: %d %s", a.status, a.body)
	}
	return d
}

// answer is a response.
type answer struct {
	status int
	body   string
}

func (w *world) do(method, path, body string) answer {
	w.t.Helper()
	a, err := send(w.t.Context(), method, w.url+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func send(ctx context.Context, method, url, body string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(b)}, err
}

// there reports whether a blob or a manifest can be pulled, bit for bit, without
// anything being leased for that.
func (w *world) there(repository string, d dossier.Digest) bool {
	w.t.Helper()
	var key string
	var body []byte
	err := w.store.View(w.t.Context(), func(r store.Reader) error {
		if m, err := r.Manifest(w.t.Context(), repository, d); err == nil {
			body = m.Body
			return nil
		}
		b, err := r.LinkedBlob(w.t.Context(), repository, d)
		key = b.Key
		return err
	})
	if dossier.KindOf(err) == dossier.KindNotFound {
		return false
	}
	if err == nil && key != "" {
		body, err = read(w.t.Context(), w.blobs, key)
	}
	if err != nil {
		w.t.Fatalf("%s in %s: %v", d, repository, err)
	}
	if !d.Matches(body) {
		w.t.Errorf("%s in %s has other bytes", d, repository)
	}
	return true
}

func read(ctx context.Context, s blob.Store, key string) ([]byte, error) {
	from, err := s.Open(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	return io.ReadAll(from)
}

// keys returns the keys under which there are bytes.
func (w *world) keys() []string {
	w.t.Helper()
	var keys []string
	for info, err := range w.blobs.List(w.t.Context(), "") {
		if err != nil {
			w.t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// image returns an image whose layers hold texts.
func image(texts ...string) testimage.Image {
	var im testimage.Image
	for i, text := range texts {
		im.Layers = append(im.Layers, testimage.Layer{Files: map[string]testimage.File{fmt.Sprint("file", i): testimage.Text(text)}})
	}
	return im
}

// runs lets a pod of a cluster run a digest.
func (w *world) runs(name string, d dossier.Digest, requested string) {
	w.t.Helper()
	w.update(func(tx store.Tx) error {
		p := dossier.Place{
			Workload: dossier.Workload{Cluster: "c1", Namespace: "shop", Kind: "Deployment", Name: name},
			Pod:      name + "-1", PodUID: name, Container: "main", Type: dossier.Container, Requested: requested, Digest: d,
		}
		_, err := tx.PutPlaces(w.t.Context(), "c1", map[string][]dossier.Place{p.Key(): {p}}, w.clock())
		return err
	})
}

// cluster makes a cluster known whose lists are as whole as they can be.
func (w *world) cluster(pins ...dossier.Pin) {
	w.t.Helper()
	w.update(func(tx store.Tx) error {
		if err := tx.PutCluster(w.t.Context(), dossier.Cluster{ID: "c1", Name: "prod"}); err != nil {
			return err
		}
		if err := tx.PutPins(w.t.Context(), "c1", pins, nil); err != nil {
			return err
		}
		for _, part := range []store.ListingPart{store.ListingPods, store.ListingTemplates} {
			if err := tx.PutListing(w.t.Context(), store.Listing{Cluster: "c1", Part: part, At: w.clock()}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *world) update(f func(store.Tx) error) {
	w.t.Helper()
	if err := w.store.Update(w.t.Context(), f); err != nil {
		w.t.Fatal(err)
	}
}

// untagged is a policy by which all goes at once that has no tag.
func untagged() config.Care {
	var none time.Duration
	return config.Care{Retention: []config.Retention{{Name: "no tags", Repositories: []string{"**"}, Untagged: &none}}}
}

// items returns what a collection took as words.
func items(c dossier.Collection) []string {
	var list []string
	for _, i := range c.Items {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s %s: %s", i.Kind, i.Repository, i.Tag, i.Digest.Short(), i.Rule)))
	}
	slices.Sort(list)
	return list
}

// indexOf returns an index of images.
func indexOf(images ...testimage.Image) testimage.Index {
	platforms := []string{"linux/amd64", "linux/arm64", "linux/s390x"}
	for i := range images {
		images[i].Platform = platforms[i]
	}
	return testimage.Of(images...)
}

// artifact returns an artifact that refers to something.
func artifact(text string, subject *testimage.Content) testimage.Artifact {
	return testimage.Artifact{
		ArtifactType: "application/vnd.example", Subject: &subject.Root,
		Layers: []testimage.Blob{{MediaType: "text/plain", Bytes: []byte(text)}},
	}
}
