// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package testprogram

import (
	"os"
	"path/filepath"
	"testing"
)

// TestBuild builds a program once, and again when its module has changed.
func TestBuild(t *testing.T) {
	t.Setenv("DOSSIER_CACHE", t.TempDir())
	root := t.TempDir()
	module, below := filepath.Join(root, "e2e", "tool"), filepath.Join(root, "some", "package")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(module, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{module, below} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.org/tool\n\ngo 1.26.0\n")
	write("go.sum", "")
	write("main.go", "package main\n\nfunc main() {}\n")
	t.Chdir(below)
	build := func() string {
		t.Helper()
		path, err := Build(t.Context(), "e2e/tool", "example.org/tool")
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode()&0o100 == 0 {
			t.Fatalf("%s is no program: %v", path, err)
		}
		return path
	}
	first := build()
	write("main.go", "this is no program, and it is not built again")
	if got := build(); got != first {
		t.Errorf("built again: %s, want %s", got, first)
	}
	write("go.sum", "\n")
	if _, err := Build(t.Context(), "e2e/tool", "example.org/tool"); err == nil {
		t.Error("a module that has changed was not built again")
	}
	if _, err := Build(t.Context(), "e2e/none", "example.org/tool"); err == nil {
		t.Error("a module that is not there was built")
	}
}
