// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/blob/disk"
	"dossier.dev/dossier/internal/blob/s3"
	"dossier.dev/dossier/internal/blob/s3/s3test"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/mortal"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/testimage"
)

func TestMain(m *testing.M) { mortal.Main(m, collectUntilKilled) }

// site is where a world lies, for more than one process.
type site struct {
	Path, URL string    // of the database
	Dir       string    // of the blobs
	Bucket    s3.Config // of the blobs, when there is no Dir
	Rows      bool      // blobs lie in rows
}

func (s site) open() (store.Store, blob.Store, error) {
	db, err := sqlstore.Open(context.Background(), sqlstore.Config{Path: s.Path, URL: s.URL})
	if err != nil {
		return nil, nil, err
	}
	if s.Dir == "" {
		blobs, err := s3.Open(context.Background(), s.Bucket)
		return db, blobs, err
	}
	blobs, err := disk.Open(disk.Config{Dir: s.Dir})
	return db, blobs, err
}

// victim is a process that collects once.
type victim struct {
	site
	Add time.Duration // to the clock
}

// collectorType names the points by which a collection comes: before a transaction, within it when all is written, after it,
// and before and after bytes are deleted.
const collectorType = "care.(*Collector)"

type mortalBlobs struct {
	blob.Store
	*mortal.Points
}

// Delete implements blob.Store.
func (s mortalBlobs) Delete(ctx context.Context, key string) error {
	what := mortal.Method(collectorType, "?")
	s.Point(what + ": before bytes")
	err := s.Store.Delete(ctx, key)
	s.Point(what + ": bytes deleted")
	return err
}

// collectUntilKilled is the child process.
func collectUntilKilled(v victim, points *mortal.Points) error {
	db, blobs, err := v.open()
	if err != nil {
		return err
	}
	c, err := care.New(care.Config{
		Store: mortal.Store{Store: db, Points: points, Of: collectorType, Else: "?"}, Blobs: mortalBlobs{blobs, points}, Policy: killedPolicy(),
		Now: func() time.Time { return time.Now().Add(v.Add) },
	})
	if err != nil {
		return err
	}
	return errors.Join(c.Tick(context.Background()), db.Close())
}

// killedPolicy lets all go that has no tag, and tags but the last.
func killedPolicy() config.Care {
	p := untagged()
	p.Retention[0].Tags = &config.TagRetention{Match: []string{"pr-*"}, KeepLast: 1}
	p.Delay = time.Microsecond
	return p
}

// TestCollectorKilled kills a collector at every point of a collection, on SQLite with a directory
// and on PostgreSQL with an object store. Whoever collects next finds all that is needed, ends what was
// begun, and leaves no bytes that nobody knows of.
func TestCollectorKilled(t *testing.T) {
	if raced {
		t.Skip("SKIPPED: it runs without the race detector, and a process by itself has nobody to race with")
	}
	for _, s := range []struct {
		name  string
		first bool // kill only where a point is come by for the first time
		site  func(t *testing.T) func(t *testing.T) site
	}{
		{"SQLite and disk", false, func(*testing.T) func(*testing.T) site {
			return func(t *testing.T) site {
				return site{Path: engines[0].config(t).Path, Dir: filepath.Join(t.TempDir(), "blobs")}
			}
		}},
		{"SQLite and its rows", false, func(*testing.T) func(*testing.T) site {
			return func(t *testing.T) site {
				return site{Path: engines[0].config(t).Path, Dir: filepath.Join(t.TempDir(), "blobs"), Rows: true}
			}
		}},
		{"PostgreSQL and S3", true, func(t *testing.T) func(*testing.T) site {
			bucket := s3test.Start(t).Bucket(t, "blobs")
			n := 0
			return func(t *testing.T) site {
				n++
				bucket.Prefix = fmt.Sprint("world", n)
				return site{URL: engines[1].config(t).URL, Bucket: bucket}
			}
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			next := s.site(t)
			first := next(t)
			points := killedWorld{site: first}.collect(t, 0)
			for _, want := range []string{
				"takeAway: before", "takeAway: written", "takeAway: committed", "purge: before bytes", "purge: bytes deleted",
				"deleteRows: committed", "putBack: written", "lease: committed", "schedule: written", "orphans: before bytes", "orphans: bytes deleted",
			} {
				if first.Rows && strings.HasPrefix(want, "purge: b") {
					continue // rows are deleted by a transaction
				}
				if !slices.Contains(points, want) {
					t.Errorf("no collection comes by %q: %q", want, points)
				}
			}
			for i, point := range points {
				if s.first && slices.Contains(points[:i], point) {
					continue
				}
				t.Run(fmt.Sprint(i+1, " ", point), func(t *testing.T) { killedWorld{site: next(t)}.collect(t, i+1) })
			}
		})
	}
}

// killedWorld is a registry in which a collector is killed.
type killedWorld struct {
	site
	*world
}

// openWorld opens the stores of the site, until the test ends.
func (k *killedWorld) openWorld(t *testing.T) {
	t.Helper()
	db, blobs, err := k.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := blobs.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	k.world = newWorldWith(t, db, blobs, func(w *world) { w.rows = k.Rows })
}

// collect has a collector killed at a point (0: none), checks what is left, and collects what
// is left to collect. It returns the points by which the collector came that was not killed.
func (k killedWorld) collect(t *testing.T, at int) []string {
	k.openWorld(t)
	keep := k.fill()
	k.pass(50 * time.Hour) // no lease lasts, and bytes without a row are old
	_, points := mortal.Run(t, victim{site: k.site, Add: time.Until(k.clock())}, at)
	k.check(keep, "after the kill")
	k.end(keep)
	return points
}

// check checks that what is to stay is there, and has all that it needs.
func (w *world) check(keep map[dossier.Digest]string, when string) {
	w.t.Helper()
	for d, repository := range keep {
		if !w.there(repository, d) {
			w.t.Errorf("%s %s is gone from %s", when, d, repository)
		}
	}
	w.checkWhole()
}

// end collects until nothing is left to collect, and checks what is left.
func (w *world) end(keep map[dossier.Digest]string) {
	w.t.Helper()
	// It takes some collections to get from a tag to the bytes; and a database may take a moment
	// to notice that who held a lock in it is gone.
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		w.pass(50 * time.Hour) // the lease of a job has run out as well
		c := w.collector(killedPolicy())
		if err := c.Tick(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		left, err := c.Plan(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if len(left.Items) == 0 && len(w.garbage(w.t.Context())) == 0 {
			break
		}
	}
	w.check(keep, "in the end")
	w.checkNothingLeft(killedPolicy())
}

// fill pushes what is to stay, which it returns, and what is to go.
func (k killedWorld) fill() map[dossier.Digest]string {
	keep := map[dossier.Digest]string{}
	stays := func(repository string, c *testimage.Content) *testimage.Content {
		for _, part := range c.Manifests {
			keep[part.Digest] = repository
		}
		for _, part := range c.Blobs {
			keep[part.Digest] = repository
		}
		return c
	}
	app := stays("a", k.push("a", "v1", image("one", "two")))
	stays("a", k.push("a", "multi", indexOf(image("three"), image("four"))))
	stays("a", k.push("a", "", artifact("signature", app)))
	k.push("a", "", image("two", "five")) // goes, but for what it shares
	k.push("a", "", indexOf(image("six")))
	k.push("b", "pr-1", image("seven"))
	k.pass(time.Second)
	stays("b", k.push("b", "pr-2", image("eight")))
	k.upload("b", "loose")
	deleted := k.upload("b", "deleted")
	if a := k.do(http.MethodDelete, "/v2/b/blobs/"+string(deleted), ""); a.status != http.StatusAccepted {
		k.t.Fatalf("DELETE: %d", a.status)
	}
	k.overwrite(blob.NewKey(), []byte("bytes whose row was never written"))
	return keep
}
