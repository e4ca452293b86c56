// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/store"
)

// keyOf returns the key under which the bytes of a digest lie.
func (w *world) keyOf(d dossier.Digest) string {
	w.t.Helper()
	var b store.Blob
	if err := w.store.View(w.t.Context(), func(r store.Reader) (err error) { b, err = r.Blob(w.t.Context(), d); return err }); err != nil {
		w.t.Fatal(err)
	}
	return b.Key
}

// overwrite puts other bytes under a key; nil: none.
func (w *world) overwrite(key string, text []byte) {
	w.t.Helper()
	ctx := w.t.Context()
	if err := w.blobs.Delete(ctx, key); err != nil {
		w.t.Fatal(err)
	}
	if text == nil {
		return
	}
	to, err := w.blobs.Create(ctx, key)
	if err == nil {
		_, err = to.Append(ctx, strings.NewReader(string(text)))
	}
	if err == nil {
		_, _, err = to.Commit(ctx)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// scrub checks all blobs whose last check is old.
func (w *world) scrub(change ...func(*care.Config)) care.Scrubbed {
	w.t.Helper()
	got, err := w.collector(config.Care{}, change...).Scrub(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

// damage returns what is known to be damaged, with what is wrong.
func (w *world) damage() map[dossier.Digest]string {
	w.t.Helper()
	list, err := w.collector(config.Care{}).Damage(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	if list.Damaged != len(list.Blobs) {
		w.t.Errorf("%d are damaged, %d are listed", list.Damaged, len(list.Blobs))
	}
	found := map[dossier.Digest]string{}
	for _, b := range list.Blobs {
		found[b.Digest] = b.Damage
	}
	return found
}

// events returns the kinds of events of a digest that say how its bytes are, in order.
func (w *world) events(d dossier.Digest) []string {
	w.t.Helper()
	var kinds []string
	err := w.store.View(w.t.Context(), func(r store.Reader) error {
		kinds = nil
		for f, err := range r.Chain(w.t.Context(), d) {
			if err != nil {
				return err
			}
			if f.Kind == dossier.FactDamage || f.Kind == dossier.FactHeal {
				kinds = append(kinds, string(f.Kind))
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return kinds
}

// TestScrub finds each kind of damage, on disk and in an object store. What is damaged is
// sent to nobody, and is whole again when somebody pushes it, or its bytes come back.
func TestScrub(t *testing.T) {
	for _, s := range storages {
		t.Run(s.name, func(t *testing.T) {
			w := newWorldIn(t, engines[0].config(t), s.open(t))
			testScrub(t, w)
		})
	}
}

func testScrub(t *testing.T, w *world) {
	other, short, gone, whole := w.upload("a", "other bytes"), w.upload("a", "fewer bytes"), w.upload("a", "no bytes"), w.upload("a", "all is well")
	w.overwrite(w.keyOf(other), []byte("other BYTES"))
	w.overwrite(w.keyOf(short), []byte("few"))
	w.overwrite(w.keyOf(gone), nil)
	if got := w.scrub(); got.Blobs != 0 {
		t.Errorf("checked %+v of what was stored a moment ago", got)
	}
	w.pass(care.DefaultScrubAge)
	if got, want := w.scrub(), (care.Scrubbed{Blobs: 4, Bytes: 11 + 3 + 11, Damaged: 3}); got != want {
		t.Errorf("scrubbed %+v, want %+v", got, want)
	}
	want := map[dossier.Digest]string{
		other: "its bytes are those of " + string(dossier.FromBytes([]byte("other BYTES"))),
		short: "there are 3 bytes, which should be 11", gone: "its bytes are gone",
	}
	if diff := cmp.Diff(want, w.damage()); diff != "" {
		t.Errorf("damage (-want +got):\n%s", diff)
	}
	for d, damage := range want {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if a := w.do(method, "/v2/a/blobs/"+string(d), ""); a.status != http.StatusNotFound {
				t.Errorf("%s of a damaged blob: %d", method, a.status)
			}
		}
		a := w.do(http.MethodGet, "/v2/a/blobs/"+string(d), "")
		if !strings.Contains(a.body, `"code":"BLOB_UNKNOWN"`) || !strings.Contains(a.body, `"damage":"`+damage) {
			t.Errorf("GET: %s", a.body)
		}
		if a := w.do(http.MethodGet, "/v2/b/blobs/"+string(d), ""); strings.Contains(a.body, "damage") {
			t.Errorf("a repository that does not hold it tells of it: %s", a.body)
		}
		if got := w.events(d); !cmp.Equal(got, []string{"registry.damage"}) {
			t.Errorf("events of a damaged blob: %q", got)
		}
	}
	if !w.there("a", whole) || len(w.events(whole)) > 0 {
		t.Error("the blob that was whole is not there")
	}
	if got := w.scrub(); got.Blobs != 0 {
		t.Errorf("checked again: %+v", got)
	}
	w.upload("a", "no bytes") // heals it
	w.overwrite(w.keyOf(other), []byte("other bytes"))
	w.pass(time.Hour)
	if got, want := w.scrub(), (care.Scrubbed{Blobs: 2, Bytes: 11 + 3, Healed: 1}); got != want {
		t.Errorf("scrubbed %+v, want %+v", got, want)
	}
	for _, d := range []dossier.Digest{gone, other} {
		if !w.there("a", d) {
			t.Errorf("%s is not whole again", d)
		}
	}
	if got := w.events(other); !cmp.Equal(got, []string{"registry.damage", "registry.heal"}) {
		t.Errorf("events of a blob that was healed: %q", got)
	}
	if got := slices.Collect(maps.Keys(w.damage())); !cmp.Equal(got, []dossier.Digest{short}) {
		t.Errorf("damaged are %q, want %q", got, short)
	}
}

// TestScrubIsShared lets several servers scrub at the same time: each blob is read once.
// One that is ended in between leaves the rest to the others.
func TestScrubIsShared(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			w := newWorldOn(t, e.config(t))
			const blobs = 30
			for i := range blobs {
				w.upload("a", fmt.Sprint("blob ", i))
			}
			w.pass(care.DefaultScrubAge)
			counts := &countingBlobs{Store: w.blobs, opened: map[string]int{}}
			ctx, cancel := context.WithCancel(t.Context())
			counts.opening = func(n int) {
				if n == blobs/3 {
					cancel()
				}
			}
			with := func(c *care.Config) { c.Blobs = counts }
			if _, err := w.collector(config.Care{}, with).Scrub(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("the one that was ended: %v", err)
			}
			w.pass(10 * time.Minute) // its lease has run out
			var group sync.WaitGroup
			for range 3 {
				group.Go(func() {
					if _, err := w.collector(config.Care{}, with).Scrub(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			w.pass(10 * time.Minute)
			w.scrub(with)
			twice := 0
			for _, n := range counts.opened {
				if n > 1 {
					twice++
				}
			}
			if len(counts.opened) != blobs || twice > 1 { // the one that was under way is read again
				t.Errorf("%d of %d blobs were read, %d of them more than once", len(counts.opened), blobs, twice)
			}
		})
	}
}

// countingBlobs counts how often each key is opened.
type countingBlobs struct {
	blob.Store
	mu      sync.Mutex
	opened  map[string]int
	opening func(n int)
}

// Open implements blob.Store.
func (c *countingBlobs) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	c.mu.Lock()
	c.opened[key]++
	c.opening(len(c.opened))
	c.mu.Unlock()
	return c.Store.Open(ctx, key, offset, length)
}

// TestScrubOfAnotherPlace checks that where there is nothing at all, nothing is
// called damaged: a disk that is not mounted comes back.
func TestScrubOfAnotherPlace(t *testing.T) {
	w := newWorldOn(t, engines[0].config(t), inRows)
	d := w.upload("a", strings.Repeat("some text", registry.MaxSmall))
	for i := range 5 {
		w.upload("a", fmt.Sprint("some text in a row ", i))
	}
	w.pass(care.DefaultScrubAge)
	empty := onDisk(t)
	_, err := w.collector(config.Care{}, func(c *care.Config) { c.Blobs = empty }).Scrub(t.Context())
	if dossier.KindOf(err) != dossier.KindStorage || !strings.Contains(err.Error(), "nothing at all") {
		t.Errorf("error: %v", err)
	}
	if len(w.damage()) > 0 || !w.there("a", d) {
		t.Error("a blob is called damaged")
	}
}

// TestScrubOfRows finds a row that is gone. The blob is whole again when somebody pushes it.
func TestScrubOfRows(t *testing.T) {
	w := newWorldOn(t, engines[0].config(t), inRows)
	gone, whole := w.upload("a", "no bytes"), w.upload("a", "all is well")
	if err := w.blobs.Delete(t.Context(), w.keyOf(gone)); err != nil {
		t.Fatal(err)
	}
	if a := w.do(http.MethodGet, "/v2/a/blobs/"+string(gone), ""); a.status != http.StatusNotFound {
		t.Errorf("GET of what is gone: %d %s", a.status, a.body)
	}
	w.pass(care.DefaultScrubAge)
	if got, want := w.scrub(), (care.Scrubbed{Blobs: 2, Bytes: 11, Damaged: 0}); got != want {
		t.Errorf("scrubbed %+v, want %+v: the damage was seen before", got, want)
	}
	if diff := cmp.Diff(map[dossier.Digest]string{gone: care.Missing}, w.damage()); diff != "" {
		t.Errorf("damage (-want +got):\n%s", diff)
	}
	w.upload("a", "no bytes")
	if len(w.damage()) > 0 || !w.there("a", gone) || !w.there("a", whole) {
		t.Errorf("after it was pushed again: damage %v", w.damage())
	}
}

// TestOrphanRows collects rows that nothing names, as a server leaves them that knows no such
// rows, and no others.
func TestOrphanRows(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			w := newWorldOn(t, e.config(t), inRows)
			d := w.upload("a", "is named")
			location := w.begin("a", "is on its way")
			w.update(func(tx store.Tx) error {
				for range 3 {
					if _, err := tx.PutSmallBlob(t.Context(), []byte("is not named")); err != nil {
						return err
					}
				}
				return nil
			})
			if err := w.collector(config.Care{}).Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
			if keys := w.keys(); len(keys) != 1 || keys[0] != w.keyOf(d) || !w.there("a", d) {
				t.Errorf("there are bytes under %q, want what is named", keys)
			}
			digest := dossier.FromBytes([]byte("is on its way"))
			if a := w.do(http.MethodPut, location+"?digest="+string(digest), ""); a.status != http.StatusCreated {
				t.Errorf("what was on its way: %d %s", a.status, a.body)
			}
		})
	}
}

// begin begins an upload, and returns its path.
func (w *world) begin(repository, text string) string {
	w.t.Helper()
	r, err := http.Post(w.url+"/v2/"+repository+"/blobs/uploads/", "", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Body.Close()
	location := r.Header.Get("Location")
	if a := w.do(http.MethodPatch, location, text); a.status != http.StatusAccepted {
		w.t.Fatalf("PATCH: %d %s", a.status, a.body)
	}
	return location
}

// TestScrubGoesOn checks that a blob that cannot be read at the moment is not
// called damaged, and holds up no other.
func TestScrubGoesOn(t *testing.T) {
	w := newWorld(t)
	var keys []string
	for i := range 3 {
		keys = append(keys, w.keyOf(w.upload("a", fmt.Sprint("blob ", i))))
	}
	w.pass(care.DefaultScrubAge)
	away := func(c *care.Config) { c.Blobs = awayBlobs{w.blobs, keys[1]} }
	got, err := w.collector(config.Care{}, away).Scrub(t.Context())
	if want := (care.Scrubbed{Blobs: 2, Bytes: 12, Failed: 1}); got != want || dossier.KindOf(err) != dossier.KindUnavailable {
		t.Errorf("scrubbed %+v, want %+v: %v", got, want, err)
	}
	if len(w.damage()) > 0 {
		t.Error("a blob is called damaged")
	}
	w.pass(time.Hour)
	if got := w.scrub(); got.Blobs != 1 {
		t.Errorf("afterwards checked %+v, want the one that was left", got)
	}
}

// awayBlobs cannot read one key.
type awayBlobs struct {
	blob.Store
	key string
}

// Open implements blob.Store.
func (s awayBlobs) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if key == s.key {
		return nil, dossier.Errorf(dossier.KindUnavailable, "reading blob", key, "try later")
	}
	return s.Store.Open(ctx, key, offset, length)
}

// TestScrubMeetsCollection lets a blob be collected while it is read: its bytes are gone,
// and that is no damage.
func TestScrubMeetsCollection(t *testing.T) {
	w := newWorld(t)
	d := w.upload("a", "some text")
	w.pass(care.DefaultScrubAge)
	meets := &countingBlobs{Store: w.blobs, opened: map[string]int{}}
	meets.opening = func(n int) {
		if n != 1 {
			return
		}
		w.collect(config.Care{})
		w.pass(care.DefaultDelay)
		w.collect(config.Care{})
	}
	if got := w.scrub(func(c *care.Config) { c.Blobs = meets }); got.Damaged != 0 {
		t.Errorf("scrubbed %+v", got)
	}
	if w.there("a", d) || len(w.damage()) > 0 || len(w.events(d)) > 0 {
		t.Error("it is there, or called damaged")
	}
}

// TestScrubSlowly reads a blob at a rate by which one buffer would take longer than a
// job is held: it is read in smaller parts, so that nobody else begins meanwhile.
func TestScrubSlowly(t *testing.T) {
	w := newWorld(t)
	w.upload("a", strings.Repeat("some text", 2000))
	w.pass(care.DefaultScrubAge)
	parts := &partBlobs{Store: w.blobs}
	policy := config.Care{Scrub: config.Scrub{Rate: 32000}}
	got, err := w.collector(policy, func(c *care.Config) { c.Blobs = parts }).Scrub(t.Context())
	if err != nil || got.Bytes != 18_000 || parts.largest > 8000 {
		t.Errorf("scrubbed %+v in parts of up to %d bytes, want 8000 at most: %v", got, parts.largest, err)
	}
}

// partBlobs remembers the largest read.
type partBlobs struct {
	blob.Store
	largest int
}

// Open implements blob.Store.
func (s *partBlobs) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	from, err := s.Store.Open(ctx, key, offset, length)
	return partReader{from, s}, err
}

type partReader struct {
	io.ReadCloser
	of *partBlobs
}

// Read implements io.Reader.
func (r partReader) Read(p []byte) (int, error) {
	r.of.largest = max(r.of.largest, len(p))
	return r.ReadCloser.Read(p)
}

// TestScrubPolicy checks what is wrong with a policy.
func TestScrubPolicy(t *testing.T) {
	err := care.Validate(config.Care{Scrub: config.Scrub{Rate: -1, Age: -1}})
	if err == nil || !strings.Contains(err.Error(), "registry.care.scrub.rate: a size is not negative") ||
		!strings.Contains(err.Error(), "registry.care.scrub.age: a time is not negative") {
		t.Errorf("%v", err)
	}
}
