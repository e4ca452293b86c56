// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func blobCases() []testCase {
	return []testCase{{"the first key stays", firstKeyStays}, {"many writers of one digest", manyWritersOfBlob}}
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
