// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func signerPinCases() []testCase {
	return []testCase{
		{"a pin is not replaced by another", signerPinned},
		{"of many who pin one does", signerPinRace},
		{"what is pinned can be unpinned and put right", signerUnpinned},
	}
}

func signerPin(scope, signer string, at int) dossier.SignerPin {
	return dossier.SignerPin{Scope: scope, Signer: signer, Image: digest(signer), At: minute(at), Trust: digest("trust")}
}

// pinned pins p, and returns what counts.
func pinned(t testing.TB, s store.Store, p dossier.SignerPin) (kept dossier.SignerPin, made bool) {
	t.Helper()
	update(t, s, func(tx store.Tx) (err error) {
		kept, made, err = tx.PinSigner(t.Context(), p)
		return err
	})
	return kept, made
}

func wantSignerPins(t testing.TB, s store.Store, want ...dossier.SignerPin) {
	t.Helper()
	got := read(t, s, func(r store.Reader) ([]dossier.SignerPin, error) { return r.SignerPins(t.Context()) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func signerPinned(t *testing.T, s store.Store) {
	wantSignerPins(t, s)
	first, second := signerPin("x.example/b", "a", 1), signerPin("x.example/b", "b", 2)
	for _, p := range []dossier.SignerPin{first, second} {
		if kept, made := pinned(t, s, p); kept != first || made != (p == first) {
			t.Errorf("%+v pinned: %v, %+v counts", p, made, kept)
		}
	}
	other := signerPin("x.example/a", "b", 3)
	if _, made := pinned(t, s, other); !made {
		t.Error("a pin of one scope is in the way of another")
	}
	wantSignerPins(t, s, other, first)
}

// signerPinRace pins many signers at once in one scope: exactly one is, and all learn which.
func signerPinRace(t *testing.T, s store.Store) {
	const many = 8
	var all sync.WaitGroup
	kept, made := make([]dossier.SignerPin, many), make([]bool, many)
	for i := range many {
		all.Go(func() {
			if err := s.Update(t.Context(), func(tx store.Tx) (err error) {
				kept[i], made[i], err = tx.PinSigner(t.Context(), signerPin("x.example/a", fmt.Sprint("signer ", i), i))
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n := 0
	for i := range many {
		if kept[i] != kept[0] {
			t.Errorf("%+v and %+v are pinned", kept[i], kept[0])
		}
		if made[i] {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d made the pin", n)
	}
	wantSignerPins(t, s, kept[0])
}

func signerUnpinned(t *testing.T, s store.Store) {
	first, second := signerPin("x.example/a", "a", 1), signerPin("x.example/a", "b", 2)
	pinned(t, s, first)
	for _, want := range []bool{true, false} {
		if was := written(t, s, func(tx store.Tx) (bool, error) { return tx.UnpinSigner(t.Context(), first.Scope) }); was != want {
			t.Errorf("unpinned: %v, want %v", was, want)
		}
	}
	if _, made := pinned(t, s, second); !made {
		t.Error("what was unpinned is in the way")
	}
	update(t, s, func(tx store.Tx) error { return tx.PutSignerPin(t.Context(), first) })
	wantSignerPins(t, s, first)
}
