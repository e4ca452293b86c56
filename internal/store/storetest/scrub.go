// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func scrubCases() []testCase {
	return []testCase{
		{"the longest ago first", longestAgoFirst},
		{"a damaged blob is not there", damagedIsNotThere},
		{"other bytes heal", otherBytesHeal},
		{"a check of old bytes", checkOfOldBytes},
	}
}

// checked writes down that a blob of putBlobs was checked.
func checked(t testing.TB, s store.Store, name string, at int, damage string) string {
	t.Helper()
	return written(t, s, func(tx store.Tx) (string, error) {
		b, err := tx.Blob(t.Context(), digest(name))
		if err != nil {
			return "", err
		}
		return tx.CheckedBlob(t.Context(), b, minute(at), damage)
	})
}

func blobState(t testing.TB, s store.Store, name string) store.BlobState {
	t.Helper()
	return read(t, s, func(r store.Reader) (store.BlobState, error) { return r.BlobState(t.Context(), digest(name)) })
}

func soundness(t testing.TB, s store.Store) store.Soundness {
	t.Helper()
	return read(t, s, func(r store.Reader) (store.Soundness, error) { return r.Soundness(t.Context()) })
}

func longestAgoFirst(t *testing.T, s store.Store) {
	if got := soundness(t, s); got != (store.Soundness{}) {
		t.Errorf("without blobs there is %+v", got)
	}
	newRepository(t, s, "a")
	putBlobs(t, s, "a", "one", "two", "three", "four")
	for i, name := range []string{"three", "one", "four", "two"} {
		if was := checked(t, s, name, 1+i, ""); was != "" {
			t.Errorf("%s was damaged: %s", name, was)
		}
	}
	var got []dossier.Digest
	var last store.BlobState
	for {
		page := read(t, s, func(r store.Reader) ([]store.BlobState, error) {
			return r.BlobsToCheck(t.Context(), minute(3), last, 2)
		})
		if len(page) == 0 {
			break
		}
		for _, b := range page {
			got = append(got, b.Digest)
		}
		last = page[len(page)-1]
	}
	if diff := cmp.Diff([]dossier.Digest{digest("three"), digest("one"), digest("four")}, got); diff != "" {
		t.Errorf("blobs to check (-want +got):\n%s", diff)
	}
	if got := soundness(t, s); got != (store.Soundness{Oldest: minute(1)}) {
		t.Errorf("the oldest check was at %v, want %v", got.Oldest, minute(1))
	}
}

func damagedIsNotThere(t *testing.T, s store.Store) {
	newRepository(t, s, "a")
	putBlobs(t, s, "a", "x", "y")
	checked(t, s, "x", 5, "other bytes")
	if was := checked(t, s, "x", 7, "gone"); was != "other bytes" {
		t.Errorf("it was damaged by %q before, want other bytes", was)
	}
	if holds(t, s, "a", "x") || !holds(t, s, "a", "y") {
		t.Error("the damaged blob is there, or the other is not")
	}
	state := blobState(t, s, "x")
	if state.Damage != "gone" || !state.DamagedAt.Equal(minute(5)) || !state.CheckedAt.Equal(minute(7)) {
		t.Errorf("%+v, want it damaged since 5 and checked at 7", state)
	}
	missing := written(t, s, func(tx store.Tx) ([]dossier.Digest, error) {
		return tx.PutManifest(t.Context(), manifestNamed("a", "m"), []store.Child{{Digest: digest("x"), Blob: true}})
	})
	if len(missing) != 1 {
		t.Error("a manifest was put that needs a damaged blob")
	}
	list := read(t, s, func(r store.Reader) ([]store.BlobState, error) { return r.DamagedBlobs(t.Context(), "", 10) })
	if len(list) != 1 || list[0] != state {
		t.Errorf("damaged are %+v, want %+v", list, state)
	}
	if n := len(read(t, s, func(r store.Reader) ([]store.BlobState, error) { return r.DamagedBlobs(t.Context(), digest("x"), 10) })); n != 0 {
		t.Errorf("%d are damaged after it", n)
	}
	newMirror(t, s, "docker.io", "org/z")
	update(t, s, func(tx store.Tx) error {
		return tx.LinkBlob(t.Context(), "docker.io/org/z", digest("y"), minute(1), minute(2))
	})
	checked(t, s, "y", 8, "gone")
	wantKind(t, s.View(t.Context(), func(r store.Reader) error {
		_, err := r.UpstreamBlob(t.Context(), "docker.io", digest("y"))
		return err
	}), dossier.KindNotFound)
	holders := read(t, s, func(r store.Reader) ([]store.Repository, error) { return r.Holders(t.Context(), digest("y"), 10) })
	if len(holders) != 2 || holders[0].Path != "docker.io/org/z" || holders[0].Upstream != "docker.io" || holders[1].Path != "a" {
		t.Errorf("it is held by %+v, want the mirror, then a", holders)
	}
	checked(t, s, "y", 9, "")
	if n := soundness(t, s).Damaged; n != 1 {
		t.Errorf("%d are damaged, want 1", n)
	}
	if was := checked(t, s, "x", 9, ""); was != "gone" || !holds(t, s, "a", "x") || !blobState(t, s, "x").DamagedAt.IsZero() {
		t.Errorf("it was damaged by %q; it should be as before", was)
	}
}

func otherBytesHeal(t *testing.T, s store.Store) {
	newRepository(t, s, "a")
	putBlobs(t, s, "a", "x")
	old := blobState(t, s, "x")
	checked(t, s, "x", 5, "gone")
	kept := written(t, s, func(tx store.Tx) (bool, error) {
		return tx.PutBlob(t.Context(), store.Blob{Digest: digest("x"), Key: "another key", Size: 7})
	})
	if state := blobState(t, s, "x"); !kept || state.Key != "another key" || state.Size != 7 || state.Damage != "" {
		t.Errorf("kept: %v, %+v", kept, state)
	}
	if !holds(t, s, "a", "x") {
		t.Error("the repository has lost it")
	}
	if got := garbageOf(t, s); len(got) != 1 || got[0].Key != old.Key {
		t.Errorf("condemned is %+v, want the bytes under %s", got, old.Key)
	}
}

func checkOfOldBytes(t *testing.T, s store.Store) {
	newRepository(t, s, "a")
	putBlobs(t, s, "a", "x")
	for _, b := range []store.Blob{{Digest: digest("x"), Key: "old key"}, {Digest: digest("none"), Key: "some key"}} {
		err := s.Update(t.Context(), func(tx store.Tx) error {
			_, err := tx.CheckedBlob(t.Context(), b, minute(9), "gone")
			return err
		})
		wantKind(t, err, dossier.KindNotFound)
	}
	if !holds(t, s, "a", "x") || soundness(t, s).Damaged != 0 {
		t.Error("a check of other bytes has changed it")
	}
}
