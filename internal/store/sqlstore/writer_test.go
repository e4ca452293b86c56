// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// openFile opens a new SQLite database.
func openFile(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "x.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func testBlob(i int) store.Blob {
	return store.Blob{Digest: dossier.FromBytes(fmt.Append(nil, i)), Key: fmt.Sprint(i)}
}

// group runs Updates that share a commit: the first of them waits inside until
// the others queue.
func group(t *testing.T, s *Store, fs ...func(context.Context, *tx) error) []error {
	t.Helper()
	errs := make([]error, len(fs))
	inside, queued := make(chan struct{}), make(chan struct{})
	var updates sync.WaitGroup
	for i, f := range fs {
		updates.Go(func() {
			if i > 0 {
				<-inside
			}
			first := true
			errs[i] = s.Update(t.Context(), func(x store.Tx) error {
				if i == 0 && first {
					first = false
					close(inside)
					<-queued
				}
				return f(t.Context(), x.(*tx))
			})
		})
	}
	<-inside
	// Nothing shows that a goroutine waits to send; these have nothing else to do.
	time.Sleep(2 * time.Millisecond)
	close(queued)
	updates.Wait()
	return errs
}

// TestSharedCommit has the last of three see what the first wrote before anybody
// else does.
func TestSharedCommit(t *testing.T) {
	for range 20 { // a slow machine may need longer than one commit gathers
		s := openFile(t)
		shared := false
		put := func(i int) func(context.Context, *tx) error {
			return func(ctx context.Context, x *tx) error {
				if _, err := x.Blob(ctx, testBlob(0).Digest); i > 0 && err == nil {
					shared = shared || s.View(ctx, func(r store.Reader) error {
						_, err := r.Blob(ctx, testBlob(0).Digest)
						return err
					}) != nil
				}
				_, err := x.PutBlob(ctx, testBlob(i))
				return err
			}
		}
		for i, err := range group(t, s, put(0), put(1), put(2)) {
			if err != nil {
				t.Errorf("update %d: %v", i, err)
			}
		}
		if shared {
			return
		}
	}
	t.Error("updates that waited at the same time never shared a commit")
}

// TestLostCommit has one update end the transaction that it shares with others,
// as SQLite does when it runs out of space: the others are run again.
func TestLostCommit(t *testing.T) {
	s := openFile(t)
	var mu sync.Mutex
	runs := map[int]int{}
	put := func(i int) func(context.Context, *tx) error {
		return func(ctx context.Context, x *tx) error {
			mu.Lock()
			runs[i]++
			mu.Unlock()
			_, err := x.PutBlob(ctx, testBlob(i))
			return err
		}
	}
	wrong := errors.New("wrong")
	errs := group(t, s, put(0), put(1), put(2), func(ctx context.Context, x *tx) error {
		if _, err := x.exec(ctx, "breaking", "ROLLBACK"); err != nil {
			t.Error(err)
		}
		return wrong
	})
	for i, err := range errs[:3] {
		if err != nil {
			t.Errorf("update %d: %v", i, err)
		}
		if err := s.View(t.Context(), func(r store.Reader) error {
			_, err := r.Blob(t.Context(), testBlob(i).Digest)
			return err
		}); err != nil {
			t.Errorf("what update %d wrote: %v", i, err)
		}
	}
	if errs[3] != wrong {
		t.Errorf("the update that broke it returned %v, want its own error", errs[3])
	}
	if runs[0] < 1 || runs[0] > 2 {
		t.Errorf("update 0 ran %d times", runs[0])
	}
}

// TestFirstTurnFails has the update fail that began a transaction, in which it has no
// savepoint: nothing of it stays, and who came after it is not hurt.
func TestFirstTurnFails(t *testing.T) {
	s := openFile(t)
	wrong := errors.New("wrong")
	put := func(i int, err error) func(context.Context, *tx) error {
		return func(ctx context.Context, x *tx) error {
			if _, err := x.PutBlob(ctx, testBlob(i)); err != nil {
				return err
			}
			return err
		}
	}
	for round := range 10 {
		first := 3 * round
		errs := group(t, s, put(first, wrong), put(first+1, nil), put(first+2, wrong))
		for i, want := range []error{wrong, nil, wrong} {
			if errs[i] != want {
				t.Errorf("update %d: %v, want %v", i, errs[i], want)
			}
			err := s.View(t.Context(), func(r store.Reader) error {
				_, err := r.Blob(t.Context(), testBlob(first+i).Digest)
				return err
			})
			if there := err == nil; there != (want == nil) {
				t.Errorf("round %d: what update %d wrote is there: %v", round, i, there)
			}
		}
	}
}

// TestSwallowedFailure has a function hide that a statement failed: its work
// must not be kept in part.
func TestSwallowedFailure(t *testing.T) {
	s := openFile(t)
	err := s.Update(t.Context(), func(x store.Tx) error {
		if _, err := x.PutBlob(t.Context(), testBlob(1)); err != nil {
			return err
		}
		if _, err := x.(*tx).exec(t.Context(), "breaking", "INSERT INTO nowhere VALUES (1)"); err == nil {
			t.Error("a wrong statement succeeds")
		}
		return nil
	})
	if err == nil {
		t.Error("Update succeeds although a statement failed")
	}
	err = s.View(t.Context(), func(r store.Reader) error { _, err := r.Blob(t.Context(), testBlob(1).Digest); return err })
	if got := dossier.KindOf(err); got != dossier.KindNotFound {
		t.Errorf("half of the work was kept: %v", err)
	}
}

func TestManyStatements(t *testing.T) {
	s := openFile(t)
	if err := s.Update(t.Context(), func(x store.Tx) error {
		for i := range maxPrepared + 10 {
			if _, err := x.(*tx).exec(t.Context(), "testing", fmt.Sprintf("UPDATE blob SET size = %d", i)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func FuzzAfterPrefix(f *testing.F) {
	for _, pair := range [][2]string{{"a", "ab"}, {"", "x"}, {"a\U0010FFFF", "a\U0010FFFFb"}, {"\uD7FF", "\uE000"}, {"zü", "zz"}, {"\U0010FFFF", "\U0010FFFF"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, prefix, text string) {
		if !utf8.ValidString(prefix) || !utf8.ValidString(text) || len(text) > store.MaxTermKey || len(prefix) > store.MaxTermKey {
			return
		}
		got, want := prefix <= text && text < afterPrefix(prefix), strings.HasPrefix(text, prefix)
		if got != want {
			t.Errorf("%q is between %q and %q: %v; has the prefix: %v", text, prefix, afterPrefix(prefix), got, want)
		}
	})
}
