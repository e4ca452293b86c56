// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"dossier.dev/dossier/internal/durable"
)

// That what was made outlasts a power cut is shown where the whole program's system calls are
// traced, in e2e/conformance.
func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		dir string
		ok  bool
	}{
		{"/", true},
		{dir, true},
		{filepath.Join(dir, "a", "b", "c"), true},
		{filepath.Join(dir, "a", "b", "c"), true},
		{filepath.Join(dir, "link", "d"), true},
		{filepath.Join(dir, "link"), true},
		{file, false},
		{filepath.Join(file, "below"), false},
	} {
		err := durable.MkdirAll(test.dir, 0o700)
		if (err == nil) != test.ok {
			t.Errorf("MkdirAll(%s): %v, want success: %t", test.dir, err, test.ok)
		}
		if info, err := os.Stat(test.dir); test.ok && (err != nil || !info.IsDir()) {
			t.Errorf("%s is no directory: %v", test.dir, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "a", "b")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v, want 0700", info.Mode(), err)
	}
}
