// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/store"
)

// TestBatches asks for more images than are gathered at a time.
func TestBatches(t *testing.T) {
	w := newWorld(t)
	var want []dossier.Digest
	for i := range 901 {
		want = append(want, dossier.FromBytes(fmt.Append(nil, i)))
	}
	list, err := w.Digests(t.Context(), want, dossier.Times{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(want) {
		t.Fatalf("got %d dossiers, want %d", len(list), len(want))
	}
	for i, d := range list {
		if d.Digest != want[i] {
			t.Fatalf("dossier %d is of %s, want %s", i, d.Digest, want[i])
		}
	}

	broken := errors.New("broken")
	for calls := range 5 {
		a := answer.Answerer{Store: &failing{Store: w.Store, left: calls, err: broken}, Now: w.Now}
		if list, err := a.Digests(t.Context(), want, dossier.Times{}); !errors.Is(err, broken) || len(list) > 0 {
			t.Errorf("after %d batches the store fails: got %d dossiers and %v, want %v", calls, len(list), err, broken)
		}
	}
}

// failing is a store that fails to read names after some calls.
type failing struct {
	store.Store
	left int
	err  error
}

func (f *failing) View(ctx context.Context, view func(store.Reader) error) error {
	return f.Store.View(ctx, func(r store.Reader) error { return view(failingReader{r, f}) })
}

type failingReader struct {
	store.Reader
	*failing
}

func (r failingReader) Names(ctx context.Context, ds []dossier.Digest) (map[dossier.Digest][]store.Name, error) {
	if r.left == 0 {
		return nil, r.err
	}
	r.left--
	return r.Reader.Names(ctx, ds)
}
