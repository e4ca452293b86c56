// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/blob/s3"
	"dossier.dev/dossier/internal/blob/s3/s3test"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// onPoint lets something happen at a point of a collection (mortal).
type onPoint struct {
	store.Store
	blobs  blob.Store
	at     int
	happen func()
	seen   int
}

func (o *onPoint) point() {
	if o.seen++; o.seen == o.at {
		o.happen()
	}
}

// Update implements store.Store.
func (o *onPoint) Update(ctx context.Context, f func(store.Tx) error) error {
	o.point()
	return o.Store.Update(ctx, f)
}

type onPointBlobs struct {
	blob.Store
	*onPoint
}

// Delete implements blob.Store.
func (o onPointBlobs) Delete(ctx context.Context, key string) error {
	o.point()
	return o.Store.Delete(ctx, key)
}

// disturbed fills a world and collects in it while something happens at a point. It reports whether the
// collection came that far, with its error.
func disturbed(k killedWorld, at int, happen func()) (keep map[dossier.Digest]string, reached bool, err error) {
	keep = k.fill()
	k.pass(50 * time.Hour)
	o := &onPoint{Store: k.store, blobs: k.blobs, at: at, happen: happen}
	c := k.collector(killedPolicy(), func(c *care.Config) { c.Store, c.Blobs = o, onPointBlobs{k.blobs, o} })
	err = c.Tick(k.t.Context())
	return keep, o.seen >= at, err
}

// TestClockGoesBack sets the clock back by days at each point of a collection. What is needed
// stays, and when the time has come again all else goes.
func TestClockGoesBack(t *testing.T) {
	for at := 1; ; at++ {
		if at > 100 {
			t.Fatal("a collection has no end")
		}
		k := killedWorld{site: site{Path: engines[0].config(t).Path, Dir: filepath.Join(t.TempDir(), "blobs")}}
		k.openWorld(t)
		keep, reached, err := disturbed(k, at, func() { k.pass(-100 * time.Hour) })
		if err != nil {
			t.Errorf("point %d: %v", at, err)
		}
		k.check(keep, "after the clock went back")
		k.pass(200 * time.Hour)
		k.end(keep)
		if !reached {
			if at < 10 {
				t.Errorf("a collection has only %d points: the test does too little", at-1)
			}
			return
		}
	}
}

// TestDatabaseGoes stops the database at some points of a collection. Afterwards that goes on.
func TestDatabaseGoes(t *testing.T) {
	if raced {
		t.Skip("SKIPPED: it runs without the race detector, and a collector by itself has nobody to race with")
	}
	for _, at := range []int{3, 6, 8} {
		t.Run(fmt.Sprint("point ", at), func(t *testing.T) {
			db := pgtest.StartOwn(t)
			k := killedWorld{site: site{URL: db.URL(), Dir: filepath.Join(t.TempDir(), "blobs")}}
			k.openWorld(t)
			keep, reached, err := disturbed(k, at, func() { db.Stop(t) })
			if kind := dossier.KindOf(err); !reached || kind != dossier.KindUnavailable {
				t.Errorf("%v (%s), want that the database is away", err, kind)
			}
			db.Start(t)
			k.end(keep)
		})
	}
}

// TestObjectStoreGoes stops the object store at some points of a collection, and lets it give
// trouble at all. Afterwards the collection goes on, and nothing is called damaged.
func TestObjectStoreGoes(t *testing.T) {
	if raced {
		t.Skip("SKIPPED: it runs without the race detector, and a collector by itself has nobody to race with")
	}
	server := s3test.Start(t)
	bucket := server.Bucket(t, "blobs")
	bucket.Tries, bucket.Timeout, bucket.Transfer = 2, 2*time.Second, 2*time.Second
	world := func(t *testing.T, prefix string, c s3.Config) killedWorld {
		c.Prefix = prefix
		k := killedWorld{site: site{Path: engines[0].config(t).Path, Bucket: c}}
		k.openWorld(t)
		return k
	}
	t.Run("it is stopped", func(t *testing.T) {
		k := world(t, "stopped", bucket)
		seen := 0
		keep := k.fill()
		k.pass(50 * time.Hour)
		stopping := stopBlobs{k.blobs, func() {
			if seen++; seen == 1 {
				server.Stop()
			}
		}}
		err := k.collector(killedPolicy(), func(c *care.Config) { c.Blobs = stopping }).Tick(t.Context())
		if dossier.KindOf(err) != dossier.KindUnavailable || seen < 1 {
			t.Errorf("error %v after %d deletions, want that it is away", err, seen)
		}
		scrubbed, err := k.collector(config.Care{Scrub: config.Scrub{Age: time.Hour}}).Scrub(t.Context())
		if scrubbed.Failed == 0 || scrubbed.Damaged != 0 || dossier.KindOf(err) != dossier.KindUnavailable {
			t.Errorf("scrubbed %+v: %v", scrubbed, err)
		}
		server.Restart(t)
		k.end(keep)
	})
	for name, trouble := range map[string]s3test.Trouble{
		"500 after it was done": {Do: s3test.DoAndSay(500, "InternalError")},
		"500":                   {Do: s3test.Say(500, "InternalError")},
		"cut":                   {Do: s3test.Cut},
		"cut after it was done": {Do: s3test.DoAndCut},
		"slow down":             {Do: s3test.Say(503, "SlowDown")},
	} {
		for _, request := range []string{"DeleteObject", "ListObjectsV2"} {
			t.Run(request+" "+name, func(t *testing.T) {
				through, relay := s3test.Through(t, bucket)
				k := world(t, blob.NewKey(), through)
				keep := k.fill()
				k.pass(50 * time.Hour)
				trouble.Request, trouble.Times = request, -1
				relay.Give(trouble)
				err := k.collector(killedPolicy()).Tick(t.Context())
				seen := relay.Calm()
				if !slices.Contains(seen, request) || dossier.KindOf(err) != dossier.KindUnavailable {
					t.Errorf("after %d requests: %v", len(seen), err)
				}
				k.check(keep, "while it gives trouble")
				k.end(keep)
			})
		}
	}
	for name, do := range map[string]s3test.Effect{
		"cut": s3test.Cut, "ends early": s3test.DoAndStop(0), "500": s3test.Say(500, "InternalError"), "refused": s3test.Say(403, "AccessDenied"),
	} {
		t.Run("GetObject "+name, func(t *testing.T) {
			through, relay := s3test.Through(t, bucket)
			k := world(t, blob.NewKey(), through)
			k.upload("a", "some text")
			k.pass(50 * time.Hour)
			relay.Give(s3test.Trouble{Request: "GetObject", Times: -1, Do: do})
			got, err := k.collector(config.Care{Scrub: config.Scrub{Age: time.Hour}}).Scrub(t.Context())
			relay.Calm()
			if got.Failed != 1 || got.Damaged != 0 || err == nil || len(k.damage()) > 0 {
				t.Errorf("scrubbed %+v: %v; that is no damage", got, err)
			}
		})
	}
}

// stopBlobs lets something happen before bytes are deleted.
type stopBlobs struct {
	blob.Store
	happen func()
}

// Delete implements blob.Store.
func (s stopBlobs) Delete(ctx context.Context, key string) error {
	s.happen()
	return s.Store.Delete(ctx, key)
}
