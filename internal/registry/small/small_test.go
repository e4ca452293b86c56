// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package small_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/blob/blobtest"
	"dossier.dev/dossier/internal/blob/disk"
	"dossier.dev/dossier/internal/registry/small"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

func open(t testing.TB) (blob.Store, store.Store) {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: sqltest.File(t)})
	if err != nil {
		t.Fatal(err)
	}
	files, err := disk.Open(disk.Config{Dir: filepath.Join(t.TempDir(), "blobs")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(files.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return small.Over(files, db), db
}

// TestOver checks that the other store is as it was.
func TestOver(t *testing.T) {
	blobtest.Run(t, func(t testing.TB) blob.Store {
		s, _ := open(t)
		return s
	})
}

// TestRows reads rows through the store of the blobs.
func TestRows(t *testing.T) {
	ctx := t.Context()
	s, db := open(t)
	var key string
	err := db.Update(ctx, func(tx store.Tx) (err error) {
		key, err = tx.PutSmallBlob(ctx, []byte("0123456789"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := s.Stat(ctx, key); err != nil || info.Size != 10 || info.Key != key {
		t.Errorf("Stat: %+v, %v", info, err)
	}
	for _, tt := range []struct {
		offset, length int64
		want           string
		kind           dossier.Kind
	}{
		{0, -1, "0123456789", ""}, {3, -1, "3456789", ""}, {3, 2, "34", ""}, {3, 0, "", ""}, {3, 100, "3456789", ""}, {10, -1, "", ""},
		{11, -1, "", dossier.KindInvalid}, {-1, -1, "", dossier.KindInvalid},
	} {
		from, err := s.Open(ctx, key, tt.offset, tt.length)
		if dossier.KindOf(err) != tt.kind {
			t.Errorf("Open from %d: %v", tt.offset, err)
		}
		if err != nil {
			continue
		}
		got, err := io.ReadAll(from)
		if err = errors.Join(err, from.Close()); err != nil || string(got) != tt.want {
			t.Errorf("%d bytes from %d: %q, %v, want %q", tt.length, tt.offset, got, err, tt.want)
		}
	}
	for range 2 {
		if err := s.Delete(ctx, key); err != nil {
			t.Error(err)
		}
	}
	_, err = s.Open(ctx, key, 0, -1)
	_, statErr := s.Stat(ctx, key)
	if dossier.KindOf(err) != dossier.KindNotFound || dossier.KindOf(statErr) != dossier.KindNotFound {
		t.Errorf("of what is deleted: %v, %v", err, statErr)
	}
}

// TestWriter suspends a Writer and goes on with it twice from the same token.
func TestWriter(t *testing.T) {
	ctx := t.Context()
	w := small.NewWriter(nil)
	n, err := w.Append(ctx, io.MultiReader(strings.NewReader("some"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if n != 4 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Append: %d, %v", n, err)
	}
	token, err := w.Suspend(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Append(ctx, strings.NewReader("more")); dossier.KindOf(err) != dossier.KindInvalid {
		t.Errorf("after Suspend: %v", err)
	}
	for _, more := range []string{" bytes", " other"} {
		content, ok := small.Content(token)
		if !ok || string(content) != "some" {
			t.Fatalf("the token holds %q, %v", content, ok)
		}
		w := small.NewWriter(content)
		if _, err := w.Append(ctx, strings.NewReader(more)); err != nil {
			t.Fatal(err)
		}
		size, digest, err := w.Commit(ctx)
		if want := "some" + more; err != nil || size != int64(len(want)) || digest != dossier.FromBytes([]byte(want)) || string(w.Bytes()) != want {
			t.Errorf("%d bytes, %s, %v, want those of %q", size, digest, err, want)
		}
	}
	for _, other := range []string{"", "{}", "x"} {
		if _, ok := small.Content(blob.Token(other)); ok {
			t.Errorf("%q is taken for a token", other)
		}
	}
}

// TestWriterIsFull writes as much as fits, and more.
func TestWriterIsFull(t *testing.T) {
	ctx := t.Context()
	w := small.NewWriter(nil)
	if _, err := w.Append(ctx, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	n, err := w.Append(ctx, bytes.NewReader(make([]byte, small.Max)))
	if n != small.Max-1 || dossier.KindOf(err) != dossier.KindLimit || w.Size() != small.Max {
		t.Errorf("%d bytes fit, %v", n, err)
	}
	if token, err := w.Suspend(ctx); err != nil || len(token) > blob.MaxToken {
		t.Errorf("a token of %d bytes, %v", len(token), err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := small.NewWriter(nil).Append(ended, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
}
