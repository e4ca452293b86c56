// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// races is how often each race is run.
const races = 12

// leaseRaces renews a lease while a collection comes. One of the two must lose.
func leaseRaces(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	for round := range races {
		name := fmt.Sprint("blob ", round)
		putBlobs(t, s, "a", name)
		var leased, collected bool
		together(t, 2, func(i int) (err error) {
			if i == 0 {
				err = s.Update(ctx, func(tx store.Tx) error { return tx.LeaseBlob(ctx, "a", digest(name), minute(100)) })
				leased = err == nil
				if dossier.KindOf(err) == dossier.KindNotFound {
					return nil
				}
				return err
			}
			return s.Update(ctx, func(tx store.Tx) (err error) {
				collected, err = tx.CollectBlob(ctx, collection("a", name, 50))
				return err
			})
		})
		if leased == collected || leased != holds(t, s, "a", name) {
			t.Errorf("round %d: leased %v, collected %v, there %v", round, leased, collected, holds(t, s, "a", name))
		}
	}
}

// manifestRaces puts a manifest while what it needs is collected.
func manifestRaces(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	for round := range races {
		blob, m := fmt.Sprint("blob ", round), manifestNamed("a", fmt.Sprint("manifest ", round))
		putBlobs(t, s, "a", blob)
		var missing []dossier.Digest
		var collected bool
		together(t, 2, func(i int) error {
			return s.Update(ctx, func(tx store.Tx) (err error) {
				if i == 0 {
					missing, err = tx.PutManifest(ctx, m, []store.Child{{Digest: digest(blob), Blob: true}})
					return err
				}
				collected, err = tx.CollectBlob(ctx, collection("a", blob, 50))
				return err
			})
		})
		if put := len(missing) == 0; put == collected || put != holds(t, s, "a", blob) {
			t.Errorf("round %d: put %v, collected %v, the blob is there %v", round, put, collected, holds(t, s, "a", blob))
		}
	}
}

// mountRaces mounts a blob while the last repository that holds it loses it.
func mountRaces(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	newRepository(t, s, "b")
	for round := range races {
		name := fmt.Sprint("blob ", round)
		putBlobs(t, s, "a", name)
		mounted := false
		together(t, 2, func(i int) (err error) {
			if i == 0 {
				err = s.Update(ctx, func(tx store.Tx) error { return tx.LinkBlob(ctx, "b", digest(name), minute(50), minute(99)) })
				mounted = err == nil
				if dossier.KindOf(err) == dossier.KindNotFound {
					return nil
				}
				return err
			}
			return s.Update(ctx, func(tx store.Tx) error {
				_, err := tx.CollectBlob(ctx, collection("a", name, 50))
				return err
			})
		})
		if there := holds(t, s, "b", name); there != mounted {
			t.Errorf("round %d: mounted %v, there %v", round, mounted, there)
		}
	}
}

// uploadRaces uploads a blob again while it is collected. It must be there
// afterwards, under a key that is not condemned.
func uploadRaces(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	for round := range races {
		name := fmt.Sprint("blob ", round)
		putBlobs(t, s, "a", name)
		together(t, 2, func(i int) error {
			return s.Update(ctx, func(tx store.Tx) error {
				if i == 1 {
					_, err := tx.CollectBlob(ctx, collection("a", name, 50))
					return err
				}
				if _, err := tx.PutBlob(ctx, store.Blob{Digest: digest(name), Key: "new key of " + name, Size: 7}); err != nil {
					return err
				}
				return tx.LinkBlob(ctx, "a", digest(name), minute(50), minute(99))
			})
		})
		if !holds(t, s, "a", name) {
			t.Errorf("round %d: what was uploaded is not there", round)
			continue
		}
		b := read(t, s, func(r store.Reader) (store.LinkedBlob, error) { return r.LinkedBlob(ctx, "a", digest(name)) })
		for _, g := range garbageOf(t, s) {
			if g.Key == b.Key {
				t.Errorf("round %d: its key is condemned", round)
			}
		}
	}
}

// tagRaces pushes a manifest that is there under a tag while it is collected.
func tagRaces(t *testing.T, s store.Store) {
	ctx := t.Context()
	repo := newRepository(t, s, "a")
	for round := range races {
		m := manifestNamed("a", fmt.Sprint("manifest ", round))
		putManifest(t, s, m)
		m.KeptUntil = minute(99)
		together(t, 2, func(i int) error {
			return s.Update(ctx, func(tx store.Tx) error {
				if i == 1 {
					_, err := tx.CollectManifest(ctx, collection("a", fmt.Sprint("manifest ", round), 50))
					return err
				}
				if _, err := tx.PutManifest(ctx, m, nil); err != nil {
					return err
				}
				_, err := tx.SetTag(ctx, store.NameTag{Name: repo.Name, Tag: fmt.Sprint(round)}, m.Digest, minute(50), false)
				return err
			})
		})
		if !holdsManifest(t, s, "a", fmt.Sprint("manifest ", round)) {
			t.Errorf("round %d: what was pushed is not there", round)
		}
	}
}
