// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package blobtest

import (
	"bytes"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
)

func suspendAndResume(t *testing.T, s blob.Store) {
	key, want := blob.NewKey(), content(1, 7<<20)
	cuts := []int{0, 0, 10, 300_000, 6 << 20, 7 << 20} // an empty part, small ones, a large one
	var token blob.Token
	for i := range len(cuts) - 1 {
		w := createOrResume(t, s, key, token)
		if got := w.Size(); got != int64(cuts[i]) {
			t.Fatalf("resumed at %d, want %d", got, cuts[i])
		}
		appendAll(t, w, want[cuts[i]:cuts[i+1]])
		var err error
		if token, err = w.Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(token) > blob.MaxToken {
			t.Errorf("the token has %d bytes", len(token))
		}
	}
	commit(t, resume(t, s, key, token), want)
	wantBytes(t, s, key, want)
}

// createOrResume creates a blob when there is no token, and else resumes it.
func createOrResume(t testing.TB, s blob.Store, key string, token blob.Token) blob.Writer {
	t.Helper()
	if token == nil {
		return create(t, s, key)
	}
	return resume(t, s, key, token)
}

// resumeTwice is what happens after a crash: the last token that was kept is
// older than the last append.
func resumeTwice(t *testing.T, s blob.Store) {
	key := blob.NewKey()
	w := create(t, s, key)
	appendAll(t, w, []byte("one "))
	first, err := w.Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w = resume(t, s, key, first)
	appendAll(t, w, []byte("forgotten"))
	if _, err := w.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	w = resume(t, s, key, first)
	appendAll(t, w, []byte("two"))
	commit(t, w, []byte("one two"))
	wantBytes(t, s, key, []byte("one two"))
}

func wrongTokens(t *testing.T, s blob.Store) {
	key, other := blob.NewKey(), blob.NewKey()
	w := create(t, s, key)
	token, err := w.Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w = create(t, s, other)
	foreign, err := w.Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, wrong := range map[string]blob.Token{
		"none": nil, "empty": {}, "not a token": blob.Token("x"), "of another key": foreign,
		"cut": token[:len(token)-1], "too large": make(blob.Token, blob.MaxToken+1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Resume(t.Context(), key, wrong)
			wantKind(t, err, dossier.KindInvalid)
		})
	}
	commit(t, resume(t, s, key, token), nil)
	_, err = s.Resume(t.Context(), key, token)
	wantKind(t, err, dossier.KindNotFound)
}

func oneWriterAtATime(t *testing.T, s blob.Store) {
	key := blob.NewKey()
	w := create(t, s, key)
	token, err := w.Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w = resume(t, s, key, token)
	_, err = s.Resume(t.Context(), key, token)
	wantKind(t, err, dossier.KindConflict)
	appendAll(t, w, []byte("mine"))
	commit(t, w, []byte("mine"))
}

func endedWriter(t *testing.T, s blob.Store) {
	w := create(t, s, blob.NewKey())
	commit(t, w, nil)
	if _, err := w.Append(t.Context(), bytes.NewReader([]byte("late"))); err == nil {
		t.Error("Append after Commit succeeds")
	}
	if _, _, err := w.Commit(t.Context()); err == nil {
		t.Error("Commit after Commit succeeds")
	}
	if _, err := w.Suspend(t.Context()); err == nil {
		t.Error("Suspend after Commit succeeds")
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Errorf("Abort after Commit: %v", err)
	}
}
