// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func garbageCases() []testCase {
	return []testCase{
		{"loose blobs in pages", looseBlobsInPages},
		{"manifests without tags", manifestsWithoutTags},
		{"a lease holds a blob", leaseHoldsBlob},
		{"a lease holds a manifest", leaseHoldsManifest},
		{"a deletion leaves time to what it frees", deletionLeavesTime},
		{"the last link condemns", lastLinkCondemns},
		{"a tag that was pushed to stays", pushedTagStays},
		{"holdings and tombstones", holdingsAndTombstones},
		{"keys that rows name", keysThatRowsName},
		{"a lease and a collection at a time", leaseRaces},
		{"a manifest and a collection at a time", manifestRaces},
		{"a mount and a collection at a time", mountRaces},
		{"an upload and a collection at a time", uploadRaces},
		{"a tag and a collection at a time", tagRaces},
	}
}

func collection(path, name string, at int) store.Deletion {
	return store.Deletion{Repository: path, Digest: digest(name), At: minute(at), By: "gc", Reason: "nothing needs it", KeptUntil: minute(at + 10)}
}

// collectBlob collects a blob, and reports whether it was.
func collectBlob(t testing.TB, s store.Store, path, name string, at int) bool {
	t.Helper()
	return written(t, s, func(tx store.Tx) (bool, error) { return tx.CollectBlob(t.Context(), collection(path, name, at)) })
}

func collectManifest(t testing.TB, s store.Store, path, name string, at int) bool {
	t.Helper()
	return written(t, s, func(tx store.Tx) (bool, error) { return tx.CollectManifest(t.Context(), collection(path, name, at)) })
}

// holds reports whether a repository holds a blob.
func holds(t testing.TB, s store.Store, path, name string) bool {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) error { _, err := r.LinkedBlob(t.Context(), path, digest(name)); return err })
	if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
		t.Fatal(err)
	}
	return err == nil
}

func holdsManifest(t testing.TB, s store.Store, path, name string) bool {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) error { _, err := r.Manifest(t.Context(), path, digest(name)); return err })
	if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
		t.Fatal(err)
	}
	return err == nil
}

// garbageOf returns all that is condemned.
func garbageOf(t testing.TB, s store.Store) []store.Garbage {
	t.Helper()
	return read(t, s, func(r store.Reader) ([]store.Garbage, error) {
		return r.Garbage(t.Context(), minute(1_000_000_000), 1000)
	})
}

func looseBlobsInPages(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	newRepository(t, s, "b")
	putBlobs(t, s, "a", "x1", "x2", "x3", "leased", "needed")
	putBlobs(t, s, "b", "x2", "other")
	putManifest(t, s, manifestNamed("a", "m"), store.Child{Digest: digest("needed"), Blob: true})
	update(t, s, func(tx store.Tx) error { return tx.LeaseBlob(ctx, "a", digest("leased"), minute(50)) })
	var got []dossier.Digest
	holders := map[dossier.Digest]int{}
	for after := dossier.Digest(""); ; after = got[len(got)-1] {
		page := read(t, s, func(r store.Reader) ([]store.LooseBlob, error) { return r.LooseBlobs(ctx, "a", after, minute(10), 2) })
		if len(page) == 0 {
			break
		}
		for _, b := range page {
			got = append(got, b.Digest)
			holders[b.Digest] = b.Holders
		}
	}
	want := map[dossier.Digest]int{digest("x1"): 1, digest("x2"): 2, digest("x3"): 1}
	if diff := cmp.Diff(want, holders); diff != "" {
		t.Errorf("loose blobs and their holders (-want +got):\n%s", diff)
	}
	if n := len(read(t, s, func(r store.Reader) ([]store.LooseBlob, error) { return r.LooseBlobs(ctx, "a", "", minute(50), 9) })); n != 4 {
		t.Errorf("%d are loose when the lease has ended, want 4", n)
	}
	if n := len(read(t, s, func(r store.Reader) ([]store.LooseBlob, error) { return r.LooseBlobs(ctx, "a", "", minute(1), 9) })); n != 0 {
		t.Errorf("%d are loose while all are leased, want none", n)
	}
}

func manifestsWithoutTags(t *testing.T, s store.Store) {
	ctx := t.Context()
	repo := newRepository(t, s, "a")
	newRepository(t, s, "b")
	tagged := func(name string, d string, at int) {
		update(t, s, func(tx store.Tx) error {
			_, err := tx.SetTag(ctx, store.NameTag{Name: name, Tag: "t " + d}, digest(d), minute(at), false)
			return err
		})
	}
	for _, name := range []string{"never", "once", "tagged", "child", "subject", "leased"} {
		m := manifestNamed("a", name)
		if name == "leased" {
			m.KeptUntil = minute(90)
		}
		putManifest(t, s, m)
	}
	putManifest(t, s, manifestNamed("b", "never"))
	putManifest(t, s, manifestNamed("a", "index"), store.Child{Digest: digest("child")})
	for name, subject := range map[string]string{"referrer": "subject", "lonely": "nothing there"} {
		m := manifestNamed("a", name)
		m.Subject = digest(subject)
		putManifest(t, s, m)
	}
	tagged(repo.Name, "tagged", 3)
	tagged(repo.Name, "once", 3)
	tagged("elsewhere.example/a", "never", 3)
	update(t, s, func(tx store.Tx) error {
		_, err := tx.ClearTag(ctx, store.NameTag{Name: repo.Name, Tag: "t once"}, minute(7))
		return err
	})
	want := map[dossier.Digest]store.UntaggedManifest{}
	for name, more := range map[string]store.UntaggedManifest{
		"never": {}, "once": {UntaggedAt: minute(7)}, "subject": {}, "index": {},
		"referrer": {Subject: digest("subject"), SubjectThere: true}, "lonely": {Subject: digest("nothing there")},
	} {
		more.Digest, more.Size, more.PushedAt = digest(name), int64(len("body of "+name)), minute(1)
		if more.UntaggedAt.IsZero() {
			more.UntaggedAt = minute(1)
		}
		want[more.Digest] = more
	}
	got := map[dossier.Digest]store.UntaggedManifest{}
	for after := dossier.Digest(""); ; {
		page := read(t, s, func(r store.Reader) ([]store.UntaggedManifest, error) {
			return r.UntaggedManifests(ctx, "a", after, minute(50), 2)
		})
		if len(page) == 0 {
			break
		}
		for _, m := range page {
			got[m.Digest], after = m, m.Digest
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("untagged (-want +got):\n%s", diff)
	}
}

func leaseHoldsBlob(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	putBlobs(t, s, "a", "x") // until minute 2
	lease := func(name string, until int) error {
		return s.Update(ctx, func(tx store.Tx) error { return tx.LeaseBlob(ctx, "a", digest(name), minute(until)) })
	}
	keptUntil := func() time.Time {
		return read(t, s, func(r store.Reader) (store.LinkedBlob, error) { return r.LinkedBlob(ctx, "a", digest("x")) }).KeptUntil
	}
	for _, until := range []int{20, 5} { // a shorter one takes nothing back
		if err := lease("x", until); err != nil {
			t.Error(err)
		}
	}
	if got := keptUntil(); !got.Equal(minute(20)) {
		t.Errorf("the lease ends at %v, want %v", got, minute(20))
	}
	update(t, s, func(tx store.Tx) error { return tx.LinkBlob(ctx, "a", digest("x"), minute(3), minute(30)) }) // mounted again
	if got := keptUntil(); !got.Equal(minute(30)) {
		t.Errorf("the lease ends at %v, want %v", got, minute(30))
	}
	if collectBlob(t, s, "a", "x", 29) || !collectBlob(t, s, "a", "x", 30) || collectBlob(t, s, "a", "x", 31) {
		t.Error("want it collected once, when its lease has ended")
	}
	wantKind(t, lease("x", 30), dossier.KindNotFound)
	wantKind(t, s.View(ctx, func(r store.Reader) error { _, err := r.LinkedBlob(ctx, "a", digest("x")); return err }), dossier.KindNotFound)
	err := s.Update(ctx, func(tx store.Tx) error { return tx.LinkBlob(ctx, "a", digest("x"), minute(30), minute(40)) })
	wantKind(t, err, dossier.KindNotFound)
}

func leaseHoldsManifest(t *testing.T, s store.Store) {
	ctx := t.Context()
	repo := newRepository(t, s, "a")
	m := manifestNamed("a", "m")
	m.KeptUntil = minute(10)
	putManifest(t, s, m)
	putManifest(t, s, manifestNamed("a", "m")) // a shorter lease takes nothing back
	if collectManifest(t, s, "a", "m", 9) {
		t.Error("collected while it is leased")
	}
	tag := store.NameTag{Name: repo.Name, Tag: "1"}
	update(t, s, func(tx store.Tx) error {
		if err := tx.LeaseManifest(ctx, "a", digest("m"), minute(12)); err != nil {
			return err
		}
		_, err := tx.SetTag(ctx, tag, digest("m"), minute(3), false)
		return err
	})
	if collectManifest(t, s, "a", "m", 20) {
		t.Error("collected while a tag points at it")
	}
	update(t, s, func(tx store.Tx) error { _, err := tx.ClearTag(ctx, tag, minute(21)); return err })
	putManifest(t, s, manifestNamed("a", "index"), store.Child{Digest: digest("m")})
	if collectManifest(t, s, "a", "m", 30) {
		t.Error("collected while an index needs it")
	}
	if !collectManifest(t, s, "a", "index", 30) {
		t.Error("the index is not collected")
	}
	if collectManifest(t, s, "a", "m", 39) || !collectManifest(t, s, "a", "m", 40) {
		t.Error("want the child to be left ten minutes after its index")
	}
	err := s.Update(ctx, func(tx store.Tx) error { return tx.LeaseManifest(ctx, "a", digest("m"), minute(50)) })
	wantKind(t, err, dossier.KindNotFound)
}

func deletionLeavesTime(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	putBlobs(t, s, "a", "x", "y")
	update(t, s, func(tx store.Tx) error { return tx.LeaseBlob(ctx, "a", digest("y"), minute(99)) })
	putManifest(t, s, manifestNamed("a", "m"), store.Child{Digest: digest("x"), Blob: true}, store.Child{Digest: digest("y"), Blob: true})
	update(t, s, func(tx store.Tx) error {
		del := deletion("a", "m")
		del.KeptUntil = minute(15)
		return tx.DeleteManifest(ctx, del)
	})
	if collectBlob(t, s, "a", "x", 14) || !collectBlob(t, s, "a", "x", 15) || collectBlob(t, s, "a", "y", 98) {
		t.Error("want what the manifest needed to stay until minute 15, and 99 where that was the lease")
	}
}

func lastLinkCondemns(t *testing.T, s store.Store) {
	ctx := t.Context()
	for _, path := range []string{"a", "b"} {
		newRepository(t, s, path)
		putBlobs(t, s, path, "x")
	}
	if !collectBlob(t, s, "a", "x", 10) || holds(t, s, "a", "x") || !holds(t, s, "b", "x") {
		t.Error("want it collected in a and left in b")
	}
	if got := garbageOf(t, s); len(got) != 0 {
		t.Errorf("%+v is condemned while b holds it", got)
	}
	update(t, s, func(tx store.Tx) error { return tx.UnlinkBlob(ctx, deletion("b", "x")) })
	unheld := read(t, s, func(r store.Reader) ([]store.Blob, error) {
		return r.UnheldBlobs(ctx, "", minute(1_000_000_000), 10)
	})
	if want := []store.Blob{{Digest: digest("x"), Key: "key of x", Size: 7}}; !cmp.Equal(unheld, want) {
		t.Errorf("nobody holds %+v, want %+v", unheld, want)
	}
	condemn := func() bool {
		return written(t, s, func(tx store.Tx) (bool, error) {
			return tx.CondemnBlob(ctx, digest("x"), minute(1_000_000_000), minute(12), "nobody holds it")
		})
	}
	if !condemn() || condemn() {
		t.Error("want it condemned once")
	}
	want := []store.Garbage{{Blob: unheld[0], CondemnedAt: minute(12), Reason: "nobody holds it"}}
	if diff := cmp.Diff(want, garbageOf(t, s)); diff != "" {
		t.Errorf("garbage (-want +got):\n%s", diff)
	}
	of := read(t, s, func(r store.Reader) ([]store.Garbage, error) { return r.Condemned(ctx, digest("x")) })
	if diff := cmp.Diff(want, of); diff != "" {
		t.Errorf("garbage of the digest (-want +got):\n%s", diff)
	}
	wantKind(t, s.View(ctx, func(r store.Reader) error { _, err := r.BlobState(ctx, digest("x")); return err }), dossier.KindNotFound)
	// It may come again, under another key.
	again := store.Blob{Digest: digest("x"), Key: "another key of x", Size: 7}
	kept := written(t, s, func(tx store.Tx) (bool, error) { return tx.PutBlob(ctx, again) })
	if got := read(t, s, func(r store.Reader) (store.Blob, error) { return r.Blob(ctx, digest("x")) }); !kept || got != again {
		t.Errorf("it came again as %+v, %v; want %+v", got, kept, again)
	}
	state := read(t, s, func(r store.Reader) (store.BlobState, error) { return r.BlobState(ctx, digest("x")) })
	if state.Blob != again || state.StoredAt.IsZero() || !state.CheckedAt.Equal(state.StoredAt) || state.Damage != "" || !state.DamagedAt.IsZero() {
		t.Errorf("its state is %+v", state)
	}
	if n := len(read(t, s, func(r store.Reader) ([]store.Garbage, error) { return r.Garbage(ctx, minute(11), 10) })); n != 0 {
		t.Errorf("%d were condemned before they were", n)
	}
	update(t, s, func(tx store.Tx) error { return tx.ForgetGarbage(ctx, []string{"key of x", "none"}) })
	if got := garbageOf(t, s); len(got) != 0 {
		t.Errorf("%+v is not forgotten", got)
	}
}

func pushedTagStays(t *testing.T, s store.Store) {
	ctx := t.Context()
	repo := newRepository(t, s, "a")
	tag := store.NameTag{Name: repo.Name, Tag: "1"}
	set := func(d string, at int) {
		update(t, s, func(tx store.Tx) error { _, err := tx.SetTag(ctx, tag, digest(d), minute(at), false); return err })
	}
	now := func() dossier.TagInterval {
		return read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) {
			return r.TagsAt(ctx, []store.NameTag{tag}, time.Time{})
		})[0]
	}
	collect := func(seen dossier.TagInterval) store.TagMove {
		return written(t, s, func(tx store.Tx) (store.TagMove, error) { return tx.CollectTag(ctx, seen, minute(9)) })
	}
	set("x", 1)
	first := now()
	set("x", 2) // pushed again: nothing moved
	second := now()
	set("y", 3)
	for _, seen := range []dossier.TagInterval{first, second} {
		if move := collect(seen); move.Moved {
			t.Errorf("collected %+v, which was not what there is: %+v", seen, move)
		}
	}
	third := now()
	if move := collect(third); move != (store.TagMove{Moved: true, Was: digest("y"), At: minute(9)}) {
		t.Errorf("collecting %+v: %+v", third, move)
	}
	if move := collect(third); move.Moved {
		t.Error("collected twice")
	}
}

func holdingsAndTombstones(t *testing.T, s store.Store) {
	ctx := t.Context()
	a, b := newRepository(t, s, "a"), newRepository(t, s, "b")
	putBlobs(t, s, "a", "x")
	putBlobs(t, s, "b", "x")
	m := manifestNamed("a", "m")
	m.Subject = digest("x") // which is there, but is no manifest
	putManifest(t, s, m, store.Child{Digest: digest("x"), Blob: true})
	putManifest(t, s, manifestNamed("a", "index"), store.Child{Digest: digest("m")})
	for _, tt := range []struct {
		name string
		want []store.Holding
	}{
		{"x", []store.Holding{
			{Repository: a, Size: 7, Since: minute(1), KeptUntil: minute(2), Parents: []dossier.Digest{digest("m")}},
			{Repository: b, Size: 7, Since: minute(1), KeptUntil: minute(2)},
		}},
		{"m", []store.Holding{
			{Repository: a, Manifest: true, Size: 9, Since: minute(1), KeptUntil: time.Time{}, Parents: []dossier.Digest{digest("index")},
				UntaggedAt: minute(1), Subject: digest("x")},
		}},
		{"none", nil},
	} {
		got := read(t, s, func(r store.Reader) ([]store.Holding, error) { return r.Holdings(ctx, digest(tt.name)) })
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	del := deletion("b", "x")
	update(t, s, func(tx store.Tx) error { return tx.UnlinkBlob(ctx, del) })
	collectManifest(t, s, "a", "index", 10)
	for name, want := range map[string]store.Tombstone{
		"x":     {Repository: "b", Digest: digest("x"), At: del.At, By: del.By},
		"index": {Repository: "a", Digest: digest("index"), Manifest: true, At: minute(10), By: "gc", Reason: "nothing needs it"},
	} {
		got := read(t, s, func(r store.Reader) ([]store.Tombstone, error) { return r.Tombstones(ctx, digest(name), 10) })
		if diff := cmp.Diff([]store.Tombstone{want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func keysThatRowsName(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	putBlobs(t, s, "a", "x", "gone")
	collectBlob(t, s, "a", "gone", 10)
	update(t, s, func(tx store.Tx) error {
		return tx.CreateUpload(ctx, store.Upload{ID: "u", Repository: "a", Key: "key of an upload", ExpiresAt: minute(9)})
	})
	got := read(t, s, func(r store.Reader) (map[string]bool, error) {
		return r.KeysNamed(ctx, []string{"key of x", "key of gone", "key of an upload", "key of nothing"})
	})
	if want := map[string]bool{"key of x": true, "key of gone": true, "key of an upload": true}; !cmp.Equal(got, want) {
		t.Errorf("named are %v, want %v", got, want)
	}
}
