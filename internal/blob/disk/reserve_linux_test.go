// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package disk_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
)

// TestPromise keeps fewer and more bytes than were promised: the bytes are what came,
// and room that was made for others is free again.
func TestPromise(t *testing.T) {
	const size = 3 << 20
	for name, promised := range map[string]int64{
		"exact": size, "fewer": size - 1<<20, "more": 40 << 20, "far more": 1 << 50, "little": 1, "none": 0, "unknown": -1,
	} {
		for _, suspended := range []bool{false, true} {
			dir := t.TempDir()
			s := open(t, dir)
			w, err := s.Create(t.Context(), "abcdefgh")
			if err != nil {
				t.Fatal(err)
			}
			content := bytes.Repeat([]byte("dossier "), size/8)
			n, err := w.Append(t.Context(), blob.Promised{Reader: bytes.NewReader(content), Size: promised})
			if err != nil || n != size {
				t.Fatalf("%s: Append took %d bytes, %v", name, n, err)
			}
			if suspended {
				token, err := w.Suspend(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got := allocated(t, filepath.Join(dir, "uploads", "abcdefgh")); got > size+leeway {
					t.Errorf("%s, suspended: %d bytes are taken from the disk", name, got)
				}
				if w, err = s.Resume(t.Context(), "abcdefgh", token); err != nil {
					t.Fatal(err)
				}
			}
			if n, d, err := w.Commit(t.Context()); err != nil || n != size || d != dossier.FromBytes(content) {
				t.Fatalf("%s: Commit: %d bytes, %s, %v", name, n, d, err)
			}
			if got := allocated(t, filepath.Join(dir, "blobs", "ab", "abcdefgh")); got > size+leeway {
				t.Errorf("%s: %d bytes are taken from the disk", name, got)
			}
		}
	}
}

// leeway is what a file system may take for its own records of a file.
const leeway = 256 << 10

// allocated returns how many bytes of the disk a file takes.
func allocated(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// TestPromiseFullDisk promises more than there is room for: that is said before a byte
// is asked for.
func TestPromiseFullDisk(t *testing.T) {
	s := open(t, small(t, "size=4m"))
	w, err := s.Create(t.Context(), "abcdefgh")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	_, err = w.Append(t.Context(), blob.Promised{Reader: readFunc(func(p []byte) (int, error) { asked++; return 0, io.EOF }), Size: 8 << 20})
	if dossier.KindOf(err) != dossier.KindStorage || dossier.HintOf(err) == "" || asked > 0 {
		t.Errorf("Append asked %d times for bytes that have no room: %v", asked, err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	keep(t, s, "ijklmnop", "there is room again")
}

type readFunc func([]byte) (int, error)

// Read implements io.Reader.
func (f readFunc) Read(p []byte) (int, error) { return f(p) }
