// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package blobtest is the suite that every implementation of blob.Store passes:
// each promise of that package's documentation is a case here.
//
// It promises to use nothing but the interface. WriteUntilKilled and
// CheckWritten are the two halves of a crash test: a process that writes until
// it is killed, and what must be true afterwards.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
)

// Run runs the suite. open returns a new, empty store, and closes it, where it
// must be closed, when the test ends.
func Run(t *testing.T, open func(t testing.TB) blob.Store) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, blob.Store)
	}{
		{"write and read", writeAndRead},
		{"ranges", ranges},
		{"what is not there", notThere},
		{"what is not finished is not there", notFinished},
		{"keys", keys},
		{"a key is used once", keyIsUsedOnce},
		{"many writers of a key", manyWritersOfKey},
		{"a reader that fails", readerFails},
		{"a context that has ended", contextEnded},
		{"suspend and resume", suspendAndResume},
		{"resume twice from one token", resumeTwice},
		{"tokens that are wrong", wrongTokens},
		{"one writer at a time", oneWriterAtATime},
		{"an ended writer", endedWriter},
		{"delete", deleteBlob},
		{"list", list},
		{"prune", prune},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// content returns n bytes that seed stands for.
func content(seed, n int) []byte {
	b := make([]byte, n)
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	random.Read(b) // never fails
	return b
}

// create begins a blob that is aborted when the test ends, if nothing else ends it.
func create(t testing.TB, s blob.Store, key string) blob.Writer {
	t.Helper()
	w, err := s.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return aborted(t, w)
}

// resume goes on with a blob.
func resume(t testing.TB, s blob.Store, key string, token blob.Token) blob.Writer {
	t.Helper()
	w, err := s.Resume(t.Context(), key, token)
	if err != nil {
		t.Fatal(err)
	}
	return aborted(t, w)
}

func aborted(t testing.TB, w blob.Writer) blob.Writer {
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		if err := w.Abort(ctx); err != nil {
			t.Errorf("Abort: %v", err)
		}
	})
	return w
}

// appendAll appends bytes, all of which must be taken.
func appendAll(t testing.TB, w blob.Writer, b []byte) {
	t.Helper()
	before := w.Size()
	n, err := w.Append(t.Context(), bytes.NewReader(b))
	if err != nil || n != int64(len(b)) {
		t.Fatalf("Append took %d of %d bytes: %v", n, len(b), err)
	}
	if got, want := w.Size(), before+n; got != want {
		t.Errorf("Size is %d, want %d", got, want)
	}
}

// commit finishes a blob that must be want.
func commit(t testing.TB, w blob.Writer, want []byte) {
	t.Helper()
	size, digest, err := w.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if size != int64(len(want)) || digest != dossier.FromBytes(want) {
		t.Errorf("Commit returned %d bytes, %s; want %d, %s", size, digest, len(want), dossier.FromBytes(want))
	}
}

// put keeps bytes under a key.
func put(t testing.TB, s blob.Store, key string, b []byte) {
	t.Helper()
	w := create(t, s, key)
	appendAll(t, w, b)
	commit(t, w, b)
}

// get reads a part of a blob.
func get(ctx context.Context, s blob.Store, key string, offset, length int64) (b []byte, err error) {
	r, err := s.Open(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(r)
}

// wantBytes checks what is kept under a key.
func wantBytes(t testing.TB, s blob.Store, key string, want []byte) {
	t.Helper()
	got, err := get(t.Context(), s, key, 0, -1)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s holds %d bytes (%v), want %d other ones", key, len(got), err, len(want))
	}
}

// wantKind checks an error's kind and that it is a *dossier.Error.
func wantKind(t testing.TB, err error, want dossier.Kind) {
	t.Helper()
	if e, ok := errors.AsType[*dossier.Error](err); !ok || e.Op == "" {
		t.Errorf("error is %T (%v), want a *dossier.Error with an Op", err, err)
	}
	if got := dossier.KindOf(err); got != want {
		t.Errorf("error %v: kind is %q, want %q", err, got, want)
	}
}

func writeAndRead(t *testing.T, s blob.Store) {
	for i, size := range []int{0, 1, 300_000, 6 << 20} { // the last is larger than the least part of an upload to S3
		key, want := blob.NewKey(), content(i, size)
		before := time.Now().Add(-time.Minute) // clocks of places differ
		w := create(t, s, key)
		for part := range slices.Chunk(want, max(1, size/3)) {
			appendAll(t, w, part)
		}
		commit(t, w, want)
		wantBytes(t, s, key, want)
		info, err := s.Stat(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if info.Key != key || info.Size != int64(size) || info.Time.Before(before) || info.Time.After(time.Now().Add(time.Minute)) {
			t.Errorf("Stat of %d bytes: %+v", size, info)
		}
	}
}

func ranges(t *testing.T, s blob.Store) {
	key, want := blob.NewKey(), content(1, 1000)
	put(t, s, key, want)
	for _, tt := range []struct{ offset, length, from, to int64 }{
		{0, -1, 0, 1000},
		{0, 1000, 0, 1000},
		{0, 2000, 0, 1000},
		{0, 0, 0, 0},
		{10, 5, 10, 15},
		{990, 100, 990, 1000},
		{999, -1, 999, 1000},
		{1000, -1, 1000, 1000},
		{1000, 5, 1000, 1000},
	} {
		got, err := get(t.Context(), s, key, tt.offset, tt.length)
		if err != nil || !bytes.Equal(got, want[tt.from:tt.to]) {
			t.Errorf("%d bytes from %d: got %d bytes (%v), want those from %d to %d", tt.length, tt.offset, len(got), err, tt.from, tt.to)
		}
	}
	for _, offset := range []int64{-1, 1001} {
		_, err := get(t.Context(), s, key, offset, 1)
		wantKind(t, err, dossier.KindInvalid)
	}
}

func notThere(t *testing.T, s blob.Store) {
	_, err := s.Stat(t.Context(), blob.NewKey())
	wantKind(t, err, dossier.KindNotFound)
	_, err = s.Open(t.Context(), blob.NewKey(), 0, -1)
	wantKind(t, err, dossier.KindNotFound)
}

// wantNothing checks that nothing is visible in a store.
func wantNothing(t testing.TB, s blob.Store, what, key string) {
	t.Helper()
	if _, err := s.Stat(t.Context(), key); dossier.KindOf(err) != dossier.KindNotFound {
		t.Errorf("%s: Stat returned %v, want KindNotFound", what, err)
	}
	for info, err := range s.List(t.Context(), "") {
		t.Errorf("%s: List yields %+v, %v", what, info, err)
	}
}

func notFinished(t *testing.T, s blob.Store) {
	key := blob.NewKey()
	w := create(t, s, key)
	wantNothing(t, s, "created", key)
	appendAll(t, w, content(1, 100_000))
	wantNothing(t, s, "appended", key)
	token, err := w.Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantNothing(t, s, "suspended", key)
	w = resume(t, s, key, token)
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNothing(t, s, "aborted", key)
	_, err = s.Resume(t.Context(), key, token)
	wantKind(t, err, dossier.KindNotFound)
}

func keys(t *testing.T, s blob.Store) {
	for _, key := range []string{"", "short", "../../../../etc/passwd", "abcd/efgh", "ABCDEFGH", "abcdefgh\x00", "........"} {
		_, createErr := s.Create(t.Context(), key)
		_, resumeErr := s.Resume(t.Context(), key, nil)
		_, openErr := s.Open(t.Context(), key, 0, -1)
		_, statErr := s.Stat(t.Context(), key)
		for _, err := range []error{createErr, resumeErr, openErr, statErr, s.Delete(t.Context(), key)} {
			wantKind(t, err, dossier.KindInvalid)
		}
	}
}

func keyIsUsedOnce(t *testing.T, s blob.Store) {
	key := blob.NewKey()
	w := create(t, s, key)
	_, err := s.Create(t.Context(), key)
	wantKind(t, err, dossier.KindConflict)
	appendAll(t, w, []byte("first"))
	commit(t, w, []byte("first"))
	_, err = s.Create(t.Context(), key)
	wantKind(t, err, dossier.KindConflict)
	wantBytes(t, s, key, []byte("first"))
}

func manyWritersOfKey(t *testing.T, s blob.Store) {
	const writers = 8
	key := blob.NewKey()
	var group sync.WaitGroup
	var mu sync.Mutex
	var kept [][]byte
	for i := range writers {
		group.Go(func() {
			w, err := s.Create(t.Context(), key)
			if err != nil {
				if dossier.KindOf(err) != dossier.KindConflict {
					t.Error(err)
				}
				return
			}
			b := content(i, 1000)
			if _, err := w.Append(t.Context(), bytes.NewReader(b)); err != nil {
				t.Error(err)
			}
			if _, _, err := w.Commit(t.Context()); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, b)
		})
	}
	group.Wait()
	if len(kept) != 1 {
		t.Fatalf("%d writers committed, want 1", len(kept))
	}
	wantBytes(t, s, key, kept[0])
}

func readerFails(t *testing.T, s blob.Store) {
	key, want := blob.NewKey(), content(1, 1000)
	broken := errors.New("broken")
	w := create(t, s, key)
	n, err := w.Append(t.Context(), io.MultiReader(bytes.NewReader(want[:600]), iotest.ErrReader(broken)))
	if n != 600 || !errors.Is(err, broken) {
		t.Errorf("Append took %d bytes, %v; want 600 and the reader's error", n, err)
	}
	if got := w.Size(); got != 600 {
		t.Errorf("Size is %d, want 600", got)
	}
	appendAll(t, w, want[600:])
	commit(t, w, want)
	wantBytes(t, s, key, want)
}

func contextEnded(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	key, other := blob.NewKey(), blob.NewKey()
	w := create(t, s, key)
	cancel()
	_, createErr := s.Create(ctx, other)
	_, openErr := s.Open(ctx, other, 0, -1)
	_, statErr := s.Stat(ctx, other)
	_, appendErr := w.Append(ctx, bytes.NewReader([]byte("a")))
	_, _, commitErr := w.Commit(ctx)
	_, suspendErr := w.Suspend(ctx)
	for _, err := range []error{createErr, openErr, statErr, appendErr, commitErr, suspendErr, s.Delete(ctx, other)} {
		wantKind(t, err, dossier.KindUnavailable)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled in it", err)
		}
	}
	commit(t, w, nil) // nothing has happened to it
}

func deleteBlob(t *testing.T, s blob.Store) {
	key, other := blob.NewKey(), blob.NewKey()
	put(t, s, key, []byte("a"))
	put(t, s, other, []byte("b"))
	for range 2 {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	_, err := s.Stat(t.Context(), key)
	wantKind(t, err, dossier.KindNotFound)
	wantBytes(t, s, other, []byte("b"))
}

func list(t *testing.T, s blob.Store) {
	sizes := map[string]int64{}
	keys := []string{"aaaaaaaa", "aaaaaaaa-b", "aaaaaaaab", "aa-aaaaaa", "zzzzzzzz", "00000000"}
	for range 20 {
		keys = append(keys, blob.NewKey())
	}
	for i, key := range keys {
		put(t, s, key, content(i, i))
		sizes[key] = int64(i)
	}
	slices.Sort(keys)
	for _, after := range []string{"", keys[0], keys[7], keys[7] + "0", "a", "aa", "aaaaaaaa-", "zzzzzzzz", "~"} {
		var want []string
		for _, key := range keys {
			if key > after {
				want = append(want, key)
			}
		}
		var got []string
		for info, err := range s.List(t.Context(), after) {
			if err != nil {
				t.Fatal(err)
			}
			if info.Size != sizes[info.Key] {
				t.Errorf("%s has %d bytes, want %d", info.Key, info.Size, sizes[info.Key])
			}
			got = append(got, info.Key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("List after %q:\n got %v\nwant %v", after, got, want)
		}
	}
	for _, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Error(err)
		}
		break // to stop early is fine
	}
}

func prune(t *testing.T, s blob.Store) {
	finished, suspended, active := blob.NewKey(), blob.NewKey(), blob.NewKey()
	put(t, s, finished, []byte("finished"))
	w := create(t, s, suspended)
	appendAll(t, w, []byte("suspended"))
	token, err := w.Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	writing := create(t, s, active)
	for _, tt := range []struct {
		since time.Time
		want  int
	}{{time.Now().Add(-time.Hour), 0}, {time.Now().Add(time.Hour), 1}, {time.Now().Add(time.Hour), 0}} {
		got, err := s.Prune(t.Context(), tt.since)
		if err != nil || got != tt.want {
			t.Errorf("Prune removed %d (%v), want %d", got, err, tt.want)
		}
	}
	wantBytes(t, s, finished, []byte("finished"))
	_, err = s.Resume(t.Context(), suspended, token)
	wantKind(t, err, dossier.KindNotFound)
	appendAll(t, writing, []byte("active"))
	commit(t, writing, []byte("active"))
	put(t, s, suspended, []byte("the key is free again"))
}
