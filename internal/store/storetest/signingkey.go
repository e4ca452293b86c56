// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier/internal/store"
)

func signingKeyCases() []testCase {
	return []testCase{{"are shared, the newest first", signingKeysAreShared}}
}

func signingKeysAreShared(t *testing.T, s store.Store) {
	ctx := t.Context()
	key := func(id string, made int) store.SigningKey {
		return store.SigningKey{ID: id, CreatedAt: minute(made), Secret: []byte("secret of " + id)}
	}
	update(t, s, func(tx store.Tx) error {
		for _, k := range []store.SigningKey{key("b", 1), key("a", 1), key("c", 2)} {
			if err := tx.PutSigningKey(ctx, k); err != nil {
				return err
			}
		}
		if err := tx.PutSigningKey(ctx, store.SigningKey{ID: "b", CreatedAt: minute(9), Secret: []byte("sealed")}); err != nil { // it is there
			return err
		}
		return tx.PutSigningKey(ctx, key("b", 9))
	})
	check := func(limit int, want ...store.SigningKey) {
		t.Helper()
		got := read(t, s, func(r store.Reader) ([]store.SigningKey, error) { return r.SigningKeys(ctx, limit) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	check(10, key("c", 2), key("a", 1), key("b", 1))
	check(1, key("c", 2))
	for range 2 {
		update(t, s, func(tx store.Tx) error { return tx.DeleteSigningKey(ctx, "a") })
	}
	check(10, key("c", 2), key("b", 1))
}
