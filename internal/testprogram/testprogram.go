// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package testprogram builds programs of others that tests run: object stores,
// clients of registries.
//
// Each comes from a module of this repository that names it as a tool, so that its
// version is fixed and its dependencies stay out of our own. It is built on first
// use and kept in the cache directory: DOSSIER_CACHE, or dossier below the user's.
// Several processes may build at a time. The package runs nothing but the go command.
package testprogram

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// Build returns the path of a program, a package that a module names as a tool, or one
// of its own that begins with "./". The module is a directory, from the root of the
// repository. It is built when the cache does not have it for this state of its module and
// this version of Go.
func Build(ctx context.Context, module, program string) (string, error) {
	dir, err := moduleDir(module)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	files := []string{"go.mod", "go.sum"}
	if strings.HasPrefix(program, "./") {
		own, err := fs.Glob(os.DirFS(dir), path.Join(path.Clean(program), "*.go"))
		if err != nil {
			return "", err
		}
		files = append(files, own...)
	}
	for _, name := range files {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(b), b)
	}
	cache, err := cacheDir(path.Base(module))
	if err != nil {
		return "", err
	}
	file := filepath.Join(cache, fmt.Sprintf("%s-%x", path.Base(program), h.Sum(nil)[:8]))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	// Several may build at a time; each file appears whole.
	part := fmt.Sprintf("%s.%d", file, os.Getpid())
	defer os.Remove(part)
	cmd := exec.CommandContext(ctx, "go", "build", "-C", dir, "-buildvcs=false", "-ldflags=-s -w", "-o", part, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", program, err, out)
	}
	return file, os.Rename(part, file)
}

// moduleDir finds a module from the working directory upwards.
func moduleDir(module string) (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		found := filepath.Join(dir, filepath.FromSlash(module))
		if _, err := os.Stat(filepath.Join(found, "go.mod")); err == nil {
			return found, nil
		}
	}
	return "", errors.New("found no " + module + " in " + start + " or above it")
}

// cacheDir returns a directory that outlives test runs.
func cacheDir(name string) (string, error) {
	dir := os.Getenv("DOSSIER_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(user, "dossier")
	}
	dir, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}
