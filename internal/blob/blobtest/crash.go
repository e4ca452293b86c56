// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package blobtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
)

// WriteUntilKilled writes blobs for as long as ctx lasts, and for each that is
// committed a line to out for CheckWritten.
func WriteUntilKilled(ctx context.Context, s blob.Store, out io.Writer) error {
	for i := 0; ctx.Err() == nil; i++ {
		key := blob.NewKey()
		w, err := s.Create(ctx, key)
		if err != nil {
			return err
		}
		b := content(i, rand.IntN(200_000))
		if _, err := w.Append(ctx, bytes.NewReader(b)); err != nil {
			return err
		}
		if i%3 == 0 {
			token, err := w.Suspend(ctx)
			if err != nil {
				return err
			}
			if w, err = s.Resume(ctx, key, token); err != nil {
				return err
			}
		}
		size, digest, err := w.Commit(ctx)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, key, size, digest); err != nil {
			return err
		}
	}
	return nil
}

// CheckWritten checks what a killed WriteUntilKilled left: all that it said it
// had committed is there, nothing is half there, and what it had begun can be
// pruned. It returns how many blobs it had committed.
func CheckWritten(t testing.TB, s blob.Store, lines []byte) int {
	t.Helper()
	said := map[string]string{}
	for line := range bytes.Lines(lines) {
		var key, digest string
		var size int64
		if n, _ := fmt.Sscan(string(line), &key, &size, &digest); n < 3 || !bytes.HasSuffix(line, []byte("\n")) {
			continue // killed while it wrote the line
		}
		said[key] = digest
	}
	found := map[string]bool{}
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		found[info.Key] = true
		b, err := get(t.Context(), s, info.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		// The last one may have been committed and not been told.
		if want, ok := said[info.Key]; ok && string(dossier.FromBytes(b)) != want {
			t.Errorf("%s holds %s, want %s", info.Key, dossier.FromBytes(b), want)
		}
	}
	for key := range said {
		if !found[key] {
			t.Errorf("%s was committed and is not there", key)
		}
	}
	if _, err := s.Prune(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Errorf("Prune: %v", err)
	}
	return len(said)
}
