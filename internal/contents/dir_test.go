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

// TestReadProject reads the files that name dependencies, in a project only.
func TestReadProject(t *testing.T) {
	files := []string{
		"npm/package-lock.json", `{"name":"shop","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"shop"},"node_modules/lodash":{"version":"4.17.15"}}}`,
		"yarn/yarn.lock", "# yarn lockfile v1\n\nlodash@^4.0.0:\n  version \"4.17.16\"\n  resolved \"https://registry.yarnpkg.com/lodash/-/lodash-4.17.16.tgz\"\n",
		"pnpm/pnpm-lock.yaml", "lockfileVersion: '9.0'\npackages:\n  lodash@4.17.17:\n    resolution: {integrity: x}\n",
		"py/requirements.txt", "jinja2==2.10\nrequests>=2.0\n-r more/other.txt\n", "py/more/other.txt", "urllib3==1.24\n",
		"poetry/poetry.lock", "[[package]]\nname = \"six\"\nversion = \"1.16.0\"\n",
		"uv/uv.lock", "version = 1\n[[package]]\nname = \"idna\"\nversion = \"3.6\"\nsource = { registry = \"https://pypi.org/simple\" }\n",
		"pipfile/Pipfile.lock", `{"default":{"flask":{"version":"==2.0.0"}}}`,
		"go/go.mod", "module example.com/m\n\ngo 1.16\n\nrequire golang.org/x/text v0.3.5\n", "go/go.sum", "golang.org/x/tools v0.1.0 h1:x\n",
		"rust/Cargo.lock", "[[package]]\nname = \"time\"\nversion = \"0.1.40\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n",
		"ruby/Gemfile.lock", "GEM\n  remote: https://rubygems.org/\n  specs:\n    rack (2.0.1)\n\nPLATFORMS\n  ruby\n",
		"java/gradle.lockfile", "org.example:app:1.0=compileClasspath\n",
		"net/packages.lock.json", `{"version":1,"dependencies":{"net6.0":{"Thing":{"type":"Direct","resolved":"1.0.0"}}}}`,
		"torn/package-lock.json", "{",
	}
	root := plant(t, files...)
	if err := syscall.Mkfifo(filepath.Join(root, "pipe.txt"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "requirements.txt"), []byte("-r pipe.txt\n-r ../../../../etc/hostname\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := ReadDir(t.Context(), root, Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	image := Fold([]LayerResult{r})
	var got []string
	for _, p := range image.Packages {
		got = append(got, p.PURL+" "+p.Path)
	}
	want := []string{
		"pkg:cargo/time@0.1.40 rust/Cargo.lock", "pkg:gem/rack@2.0.1 ruby/Gemfile.lock", "pkg:golang/golang.org/x/text@v0.3.5 go/go.mod", "pkg:golang/golang.org/x/tools@v0.1.0 go/go.mod",
		"pkg:maven/org.example/app@1.0 java/gradle.lockfile", "pkg:npm/lodash@4.17.15 npm/package-lock.json", "pkg:npm/lodash@4.17.16 yarn/yarn.lock", "pkg:npm/lodash@4.17.17 pnpm/pnpm-lock.yaml",
		"pkg:nuget/Thing@1.0.0 net/packages.lock.json", "pkg:pypi/flask@2.0.0 pipfile/Pipfile.lock", "pkg:pypi/idna@3.6 uv/uv.lock", "pkg:pypi/jinja2@2.10 py/requirements.txt",
		"pkg:pypi/requests py/requirements.txt", "pkg:pypi/six@1.16.0 poetry/poetry.lock", "pkg:pypi/urllib3@1.24 py/requirements.txt",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"torn/package-lock.json broken"}, reasons(image.Missed)); diff != "" {
		t.Errorf("missed (-want +got):\n%s", diff)
	}
	r, err = ReadDir(t.Context(), plant(t, append(files, "etc/os-release", debian12)...), Options{TempDir: t.TempDir()})
	if err != nil || len(r.Files) > 0 {
		t.Errorf("in a root file system they tell of no packages: got %+v, %v", r.Files, err)
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
