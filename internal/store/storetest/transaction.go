// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func transactionCases() []testCase {
	return []testCase{
		{"an error leaves nothing", errorLeavesNothing},
		{"sees its own writes", seesOwnWrites},
		{"one that fails takes no other with it", failuresStayAlone},
		{"a panic leaves nothing", panicLeavesNothing},
		{"a view sees one state", viewSeesOneState},
		{"writes inside a sequence", writesInsideSequence},
		{"refuses text that no engine holds", refusesBadText},
		{"an ended transaction is of no use", endedIsOfNoUse},
		{"a context that has ended", endedContext},
		{"a context that ends while waiting", contextEndsWhileWaiting},
		{"a context that ends inside", contextEndsInside},
		{"close waits", closeWaits},
		{"uploads need no disk and see the rest", soonAmongOthers},
	}
}

// putBlob keeps a blob named name: the smallest thing to write.
func putBlob(ctx context.Context, tx store.Tx, name string) error {
	_, err := tx.PutBlob(ctx, store.Blob{Digest: digest(name), Key: name, Size: 1})
	return err
}

// hasBlob reports whether that blob is kept.
func hasBlob(ctx context.Context, r store.Reader, name string) (bool, error) {
	_, err := r.Blob(ctx, digest(name))
	if dossier.KindOf(err) == dossier.KindNotFound {
		return false, nil
	}
	return err == nil, err
}

// wantBlob checks whether the blob named name is kept.
func wantBlob(t *testing.T, s store.Store, name string, want bool) {
	t.Helper()
	got := read(t, s, func(r store.Reader) (bool, error) { return hasBlob(t.Context(), r, name) })
	if got != want {
		t.Errorf("blob %s kept: %v, want %v", name, got, want)
	}
}

func errorLeavesNothing(t *testing.T, s store.Store) {
	wrong := errors.New("wrong")
	got := s.Update(t.Context(), func(tx store.Tx) error {
		if err := putBlob(t.Context(), tx, "a"); err != nil {
			return err
		}
		return wrong
	})
	if got != wrong {
		t.Errorf("Update returned %v, want the error of its function", got)
	}
	wantBlob(t, s, "a", false)
	if got := s.View(t.Context(), func(store.Reader) error { return wrong }); got != wrong {
		t.Errorf("View returned %v, want the error of its function", got)
	}
}

func seesOwnWrites(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error {
		if err := putBlob(t.Context(), tx, "a"); err != nil {
			return err
		}
		got, err := hasBlob(t.Context(), tx, "a")
		if !got {
			t.Error("a blob is not there right after it was put")
		}
		return err
	})
}

func failuresStayAlone(t *testing.T, s store.Store) {
	const n = 64
	wrong := errors.New("wrong")
	together(t, n, func(i int) error {
		err := s.Update(t.Context(), func(tx store.Tx) error {
			if err := putBlob(t.Context(), tx, fmt.Sprint(i)); err != nil {
				return err
			}
			if i%2 == 1 {
				return wrong
			}
			return nil
		})
		if i%2 == 1 && err == wrong {
			return nil
		}
		return err
	})
	for i := range n {
		wantBlob(t, s, fmt.Sprint(i), i%2 == 0)
	}
}

func panicLeavesNothing(t *testing.T, s store.Store) {
	func() {
		defer func() {
			if got := recover(); got != "oh" {
				t.Errorf("recovered %v, want the panic of the function", got)
			}
		}()
		_ = s.Update(t.Context(), func(tx store.Tx) error {
			if err := putBlob(t.Context(), tx, "a"); err != nil {
				t.Error(err)
			}
			panic("oh")
		})
	}()
	update(t, s, func(tx store.Tx) error { return putBlob(t.Context(), tx, "b") })
	wantBlob(t, s, "a", false)
	wantBlob(t, s, "b", true)
}

func viewSeesOneState(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error { return putBlob(t.Context(), tx, "a") })
	view(t, s, func(r store.Reader) error {
		if got, err := hasBlob(t.Context(), r, "a"); !got || err != nil {
			return fmt.Errorf("blob a kept: %v, %w", got, err)
		}
		var group sync.WaitGroup
		group.Go(func() {
			if err := s.Update(t.Context(), func(tx store.Tx) error { return putBlob(t.Context(), tx, "b") }); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		got, err := hasBlob(t.Context(), r, "b")
		if got {
			t.Error("a view sees what was written after its first read")
		}
		return err
	})
	wantBlob(t, s, "b", true)
}

func writesInsideSequence(t *testing.T, s store.Store) {
	subject := digest("subject")
	update(t, s, func(tx store.Tx) error {
		for i := range 3 {
			if _, _, err := tx.Record(t.Context(), statement("subject", "k", fmt.Sprint(i), 0)); err != nil {
				return err
			}
		}
		for f, err := range tx.Chain(t.Context(), subject) {
			if err != nil {
				return err
			}
			if err := putBlob(t.Context(), tx, f.Source); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range 3 {
		wantBlob(t, s, fmt.Sprint(i), true)
	}
}

func refusesBadText(t *testing.T, s store.Store) {
	for _, text := range []string{"a\x00b", "a\xffb"} {
		update(t, s, func(tx store.Tx) error {
			_, err := tx.PutName(t.Context(), digest("a"), text, minute(0))
			wantKind(t, err, dossier.KindInvalid)
			_, err = tx.Jobs(t.Context(), "kind", []string{text}, 1)
			wantKind(t, err, dossier.KindInvalid)
			return putBlob(t.Context(), tx, "after") // the transaction still stands
		})
	}
	wantBlob(t, s, "after", true)
}

func endedIsOfNoUse(t *testing.T, s store.Store) {
	var keptTx store.Tx
	var keptReader store.Reader
	update(t, s, func(tx store.Tx) error { keptTx = tx; return nil })
	view(t, s, func(r store.Reader) error { keptReader = r; return nil })
	wantKind(t, putBlob(t.Context(), keptTx, "late"), dossier.KindInternal)
	_, err := keptReader.Blob(t.Context(), digest("late"))
	wantKind(t, err, dossier.KindInternal)
	wantBlob(t, s, "late", false)
}

func endedContext(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check := func(err error) {
		t.Helper()
		wantKind(t, err, dossier.KindUnavailable)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled in it", err)
		}
	}
	check(s.Update(ctx, func(tx store.Tx) error { return putBlob(ctx, tx, "a") }))
	check(s.View(ctx, func(r store.Reader) error { _, err := hasBlob(ctx, r, "a"); return err }))
	check(s.Wait(ctx, time.Hour))
	wantBlob(t, s, "a", false)
}

func contextEndsWhileWaiting(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	record := func(tx store.Tx) error {
		_, _, err := tx.Record(ctx, statement("same", "k", "s", 0))
		return err
	}
	update(t, s, func(store.Tx) error { // holds the writer of an engine that has one
		var group sync.WaitGroup
		defer group.Wait()
		update := func() error {
			return s.Update(ctx, func(tx store.Tx) error {
				cancel()
				return record(tx)
			})
		}
		group.Go(func() {
			if err := update(); !errors.Is(err, context.Canceled) {
				t.Errorf("Update returned %v, want context.Canceled in it", err)
			}
		})
		time.AfterFunc(20*time.Millisecond, cancel)
		return nil
	})
}

func contextEndsInside(t *testing.T, s store.Store) {
	together(t, 16, func(i int) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := s.Update(ctx, func(tx store.Tx) error {
			if err := putBlob(ctx, tx, fmt.Sprint(i)); err != nil {
				return err
			}
			if i%2 == 1 {
				cancel()
			}
			return putBlob(ctx, tx, fmt.Sprint("second", i))
		})
		if i%2 == 1 && errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
	for i := range 16 {
		wantBlob(t, s, fmt.Sprint(i), i%2 == 0)
		wantBlob(t, s, fmt.Sprint("second", i), i%2 == 0)
	}
}

func closeWaits(t *testing.T, s store.Store) {
	inside, finish, closed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var group sync.WaitGroup
	var returned bool // Update has
	group.Go(func() {
		if err := s.Update(t.Context(), func(tx store.Tx) error {
			close(inside)
			<-finish
			return putBlob(t.Context(), tx, "a")
		}); err != nil {
			t.Error(err)
		}
		returned = true
	})
	<-inside
	go func() { closed <- s.Close() }()
	select {
	case <-closed:
		t.Error("Close did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	close(finish)
	group.Wait()
	if err := <-closed; err != nil || !returned {
		t.Errorf("Close returned %v, Update had returned: %v", err, returned)
	}
	wantKind(t, s.Update(t.Context(), func(store.Tx) error { return nil }), dossier.KindUnavailable)
	wantKind(t, s.View(t.Context(), func(store.Reader) error { return nil }), dossier.KindUnavailable)
	wantKind(t, s.Wait(t.Context(), time.Hour), dossier.KindUnavailable)
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// soonAmongOthers: an UpdateSoon is seen at once, undone by an error, and
// goes together with Updates at the same time.
func soonAmongOthers(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	wrong := errors.New("wrong")
	create := func(id string, outcome error) error {
		return s.UpdateSoon(ctx, func(tx store.Tx) error {
			if _, err := tx.PutRepository(ctx, "a", minute(0)); err != nil {
				return err
			}
			if err := tx.CreateUpload(ctx, store.Upload{ID: id, Repository: "a", Key: "key-" + id, ExpiresAt: minute(9)}); err != nil {
				return err
			}
			return outcome
		})
	}
	if err := create("none", wrong); !errors.Is(err, wrong) {
		t.Errorf("UpdateSoon: %v, want %v", err, wrong)
	}
	const n = 20
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := create(fmt.Sprint("u", i), nil); err != nil {
				t.Errorf("upload %d: %v", i, err)
			}
			if err := s.View(ctx, func(r store.Reader) error { _, err := r.Upload(ctx, "a", fmt.Sprint("u", i)); return err }); err != nil {
				t.Errorf("upload %d is not seen: %v", i, err)
			}
		})
		wg.Go(func() {
			if err := s.Update(ctx, func(tx store.Tx) error { return putBlob(ctx, tx, fmt.Sprint("b", i)) }); err != nil {
				t.Errorf("blob %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i := range n {
		wantBlob(t, s, fmt.Sprint("b", i), true)
	}
	err := s.View(ctx, func(r store.Reader) error { _, err := r.Upload(ctx, "a", "none"); return err })
	wantKind(t, err, dossier.KindNotFound)
}
