// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// plant writes files below a directory, "path", "content" in turn.
func plant(t *testing.T, pairs ...string) string {
	t.Helper()
	root := t.TempDir()
	for i := 0; i < len(pairs); i += 2 {
		p := filepath.Join(root, pairs[i])
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(pairs[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestReadDir(t *testing.T) {
	outside := plant(t, "package.json", npm("outside", "1.0.0"))
	root := plant(t,
		"usr/lib/os-release", debian12, status, dpkgBash+dpkgZlib,
		"app/node_modules/a/package.json", npm("a", "1.0.0"),
		"proc/1/package.json", npm("proc", "1.0.0"),
		"app/torn/package.json", `{"name"`)
	for link, target := range map[string]string{"etc": "usr/lib", "out": outside, "app/node_modules/b": "a", "loop": "loop", "app/node_modules/x.json": filepath.Join(outside, "package.json")} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "app", "package.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	first, err := ReadDir(t.Context(), root, Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	image := Fold([]LayerResult{first})
	want := []string{purlBash + " 0 " + status, purlZlib + " 0 " + status, "pkg:npm/a@1.0.0 0 app/node_modules/a/package.json"}
	if diff := cmp.Diff(want, purls(image)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"app/torn/package.json broken"}, reasons(image.Missed)); diff != "" {
		t.Errorf("missed (-want +got):\n%s", diff)
	}
	again, err := ReadDir(t.Context(), root, Options{TempDir: t.TempDir()})
	if diff := cmp.Diff(first, again); err != nil || diff != "" {
		t.Errorf("read again: %v\n%s", err, diff)
	}
}

// TestReadDirAsLayer: a directory holds what a layer with the same files does.
func TestReadDirAsLayer(t *testing.T) {
	java := jar(t, "org.example", "app", "1.0")
	fromDir, err := ReadDir(t.Context(), plant(t, "etc/os-release", debian12, status, dpkgBash, "srv/app.jar", java), Options{})
	if err != nil {
		t.Fatal(err)
	}
	fromLayer := readLayer(t, Options{}, file("etc/os-release", debian12), file(status, dpkgBash), file("srv/app.jar", java))
	if diff := cmp.Diff(fromLayer.Files, fromDir.Files); diff != "" {
		t.Errorf("(-layer +directory):\n%s", diff)
	}
}

func TestReadDirFails(t *testing.T) {
	root := plant(t, "file", "x", "a/package.json", npm("a", "1.0.0"))
	for name, want := range map[string]dossier.Kind{"nothing": dossier.KindNotFound, "file": dossier.KindInvalid} {
		if _, err := ReadDir(t.Context(), filepath.Join(root, name), Options{}); dossier.KindOf(err) != want {
			t.Errorf("%s: got %v, want an error of kind %q", name, err, want)
		}
	}
	r, err := ReadDir(t.Context(), root, Options{Limits: Limits{Entries: 1}})
	if err != nil || len(r.Missed) != 1 || r.Missed[0].Reason != dossier.MissedLayer {
		t.Errorf("too many entries: %v, %v", r.Missed, err)
	}
	if os.Getuid() == 0 {
		return // root may read everything
	}
	if err := os.Chmod(filepath.Join(root, "a"), 0); err != nil {
		t.Fatal(err)
	}
	if r, err = ReadDir(t.Context(), root, Options{}); err != nil || len(r.Missed) != 1 || r.Missed[0].Path != "a" {
		t.Errorf("a directory that may not be read: %v, %v", r.Missed, err)
	}
}
