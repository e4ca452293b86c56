// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package disk_test

import (
	"io"
	"path/filepath"
	"testing"

	"dossier.dev/dossier/internal/blob"
)

// TestPeek reads what is being written, and reads on after it was ended.
func TestPeek(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "blobs"))
	for _, ending := range []string{"commit", "abort"} {
		w, err := s.Create(t.Context(), blob.NewKey())
		if err != nil {
			t.Fatal(err)
		}
		peek, err := w.(blob.Peeker).Peek()
		if err != nil {
			t.Fatal(err)
		}
		read := func(want string) {
			t.Helper()
			b := make([]byte, len(want))
			if n, err := peek.ReadAt(b, 0); n != len(want) || err != nil && err != io.EOF || string(b) != want {
				t.Errorf("read %q, %v, want %q", b[:n], err, want)
			}
		}
		// The reader looks at what it gave before it gives more.
		given := ""
		from := readerFunc(func(p []byte) (int, error) {
			read(given)
			if len(given) == 3 {
				return 0, io.EOF
			}
			given += string(rune('a' + len(given)))
			return copy(p, given[len(given)-1:]), nil
		})
		if n, err := w.Append(t.Context(), from); n != 3 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if ending == "commit" {
			_, _, err = w.Commit(t.Context())
		} else {
			err = w.Abort(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		read("abc")
		if err := peek.Close(); err != nil {
			t.Error(err)
		}
		if _, err := w.(blob.Peeker).Peek(); err == nil {
			t.Error("an ended writer was opened")
		}
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
