// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func blobCases() []testCase {
	return []testCase{{"the first key stays", firstKeyStays}, {"many writers of one digest", manyWritersOfBlob}, {"bytes in rows", bytesInRows}}
}

func bytesInRows(t *testing.T, s store.Store) {
	put := func(content string) string {
		return written(t, s, func(tx store.Tx) (string, error) { return tx.PutSmallBlob(t.Context(), []byte(content)) })
	}
	get := func(key string) (content []byte, err error) {
		err = s.View(t.Context(), func(r store.Reader) error { content, err = r.SmallBlob(t.Context(), key); return err })
		return content, err
	}
	remove := func(key string) error {
		return s.Update(t.Context(), func(tx store.Tx) error { return tx.DeleteSmallBlobs(t.Context(), []string{key}) })
	}
	contents := map[string]string{}
	for _, content := range []string{"some bytes", "some bytes", "", "\x00\xff"} {
		key := put(content)
		if _, ok := contents[key]; ok || !store.IsSmallKey(key) {
			t.Errorf("key %q: it was given before, or is not one", key)
		}
		contents[key] = content
	}
	list := func(after string, limit int) []string {
		return read(t, s, func(r store.Reader) ([]string, error) { return r.SmallBlobKeys(t.Context(), after, limit) })
	}
	all := list("", 100)
	if want := slices.Sorted(maps.Keys(contents)); !slices.Equal(all, want) || !slices.Equal(append(list("", 3), list(want[2], 100)...), want) {
		t.Errorf("keys are %q, want %q, page by page too", all, want)
	}
	for key, want := range contents {
		if got, err := get(key); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", key, got, err, want)
		}
		for range 2 {
			if err := remove(key); err != nil {
				t.Error(err)
			}
		}
		_, err := get(key)
		wantKind(t, err, dossier.KindNotFound)
	}
	key := put("the last is gone")
	if _, again := contents[key]; again {
		t.Errorf("%s is used again", key)
	}
	for _, key := range []string{"", "row-", "row-1", "row-000000000000000G", "row-ffffffffffffffff", strings.Repeat("a", 32)} {
		_, err := get(key)
		wantKind(t, err, dossier.KindInvalid)
		wantKind(t, remove(key), dossier.KindInvalid)
		if key != "" {
			err = s.View(t.Context(), func(r store.Reader) error { _, err := r.SmallBlobKeys(t.Context(), key, 1); return err })
			wantKind(t, err, dossier.KindInvalid)
		}
	}
}

func firstKeyStays(t *testing.T, s store.Store) {
	want := store.Blob{Digest: digest("a"), Key: "first", Size: 5_000_000_000}
	for _, tt := range []struct {
		key  string
		want bool
	}{{"first", true}, {"second", false}, {"first", true}} {
		got := written(t, s, func(tx store.Tx) (bool, error) {
			return tx.PutBlob(t.Context(), store.Blob{Digest: want.Digest, Key: tt.key, Size: want.Size})
		})
		if got != tt.want {
			t.Errorf("PutBlob(%s) reports kept %v, want %v", tt.key, got, tt.want)
		}
	}
	got := read(t, s, func(r store.Reader) (store.Blob, error) { return r.Blob(t.Context(), want.Digest) })
	if got != want {
		t.Errorf("Blob is %+v, want %+v", got, want)
	}
	err := s.View(t.Context(), func(r store.Reader) error { _, err := r.Blob(t.Context(), digest("none")); return err })
	wantKind(t, err, dossier.KindNotFound)
}

func manyWritersOfBlob(t *testing.T, s store.Store) {
	const writers = 8
	for round := range 5 {
		d := digest(fmt.Sprint(round))
		kept := make([]bool, writers)
		together(t, writers, func(w int) error {
			return s.Update(t.Context(), func(tx store.Tx) (err error) {
				kept[w], err = tx.PutBlob(t.Context(), store.Blob{Digest: d, Key: fmt.Sprint("key ", w), Size: 1})
				return err
			})
		})
		got := read(t, s, func(r store.Reader) (store.Blob, error) { return r.Blob(t.Context(), d) })
		for w := range writers {
			if is := got.Key == fmt.Sprint("key ", w); is != kept[w] {
				t.Errorf("writer %d was told kept %v, the blob has %s", w, kept[w], got.Key)
			}
		}
	}
}
