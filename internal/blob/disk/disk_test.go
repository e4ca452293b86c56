// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package disk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/blob/blobtest"
	"dossier.dev/dossier/internal/blob/disk"
)

// crashEnv names the directory in which a child process writes until it is killed.
const crashEnv = "DOSSIER_TEST_CRASH_BLOBS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		os.Exit(writeUntilKilled(dir))
	}
	os.Exit(m.Run())
}

// open opens a directory that is closed when the test ends.
func open(t testing.TB, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(disk.Config{Dir: dir})
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

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t testing.TB) blob.Store { return open(t, filepath.Join(t.TempDir(), "a", "blobs")) })
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	s := open(t, dir)
	keep(t, s, "abcdefgh", "a")
	w, err := s.Create(t.Context(), "ijklmnop")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(t.Context())
	files := 0
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others may read it", path, info.Mode())
		}
		if !entry.IsDir() {
			files++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if files != 2 {
		t.Errorf("there are %d files, want 2", files)
	}
}

// keep keeps text under a key.
func keep(t *testing.T, s *disk.Store, key, text string) {
	t.Helper()
	w, err := s.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Append(t.Context(), bytes.NewReader([]byte(text))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestLinksOutAreNotFollowed(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := open(t, dir)
	keep(t, s, "abcdefgh", "a")
	if err := os.Symlink(outside, filepath.Join(dir, "blobs", "ab", "abcdlink")); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Open(t.Context(), "abcdlink", 0, -1); err == nil {
		r.Close()
		t.Error("a link out of the directory can be read")
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		dir  string
		want dossier.Kind
	}{
		{"", dossier.KindInvalid},
		{file, dossier.KindStorage},
		{filepath.Join(file, "below"), dossier.KindStorage},
	} {
		_, err := disk.Open(disk.Config{Dir: tt.dir})
		if got := dossier.KindOf(err); got != tt.want {
			t.Errorf("Open(%q): %v, kind %q, want %q", tt.dir, err, got, tt.want)
		}
	}
}

func TestUploadCutShort(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	w, err := s.Create(t.Context(), "abcdefgh")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Append(t.Context(), bytes.NewReader([]byte("some bytes"))); err != nil {
		t.Fatal(err)
	}
	token, err := w.Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "uploads", "abcdefgh"), 3); err != nil {
		t.Fatal(err)
	}
	_, err = s.Resume(t.Context(), "abcdefgh", token)
	if got := dossier.KindOf(err); got != dossier.KindCorrupt {
		t.Errorf("Resume: %v, kind %q, want %q", err, got, dossier.KindCorrupt)
	}
}

// TestResumeAfterPowerCut: the bytes of an upload may have been lost with the
// memory of the machine, whatever the length of the file says.
func TestResumeAfterPowerCut(t *testing.T) {
	dir := t.TempDir()
	runs := map[string]*disk.Store{}
	for _, boot := range []string{"first", "second"} {
		s, err := disk.Open(disk.Config{Dir: dir, Boot: boot})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		runs[boot] = s
	}
	w, err := runs["first"].Create(t.Context(), "abcdefgh")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Append(t.Context(), strings.NewReader("some bytes")); err != nil {
		t.Fatal(err)
	}
	token, err := w.Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = runs["second"].Resume(t.Context(), "abcdefgh", token)
	if got := dossier.KindOf(err); got != dossier.KindNotFound {
		t.Errorf("Resume in another run of the machine: %v, kind %q, want %q", err, got, dossier.KindNotFound)
	}
	if w, err = runs["first"].Resume(t.Context(), "abcdefgh", token); err != nil {
		t.Fatal(err)
	}
	if size, got, err := w.Commit(t.Context()); err != nil || size != 10 || got != dossier.FromBytes([]byte("some bytes")) {
		t.Errorf("Commit: %d bytes, %s, %v", size, got, err)
	}
}

// TestKilled kills a process that writes, again and again, in one directory.
func TestKilled(t *testing.T) {
	const rounds = 4
	dir := t.TempDir()
	var told []byte
	for round := range rounds {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashEnv+"="+dir)
		var stderr bytes.Buffer
		child.Stderr = &stderr
		var out bytes.Buffer
		child.Stdout = &out
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(60+round*37) * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("the child ended by itself: %v\n%s", err, &stderr)
		}
		told = append(append(told, out.Bytes()...), '\n')
		t.Logf("round %d: %d blobs so far", round, blobtest.CheckWritten(t, open(t, dir), told))
	}
	if len(bytes.TrimSpace(told)) == 0 {
		t.Error("no child wrote anything")
	}
}

// writeUntilKilled is the child process. It returns its exit code.
func writeUntilKilled(dir string) int {
	s, err := disk.Open(disk.Config{Dir: dir})
	if err == nil {
		err = errors.Join(blobtest.WriteUntilKilled(context.Background(), s, os.Stdout), s.Close())
	}
	fmt.Fprintln(os.Stderr, "not killed:", err)
	return 1
}
