// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package testimage

import (
	"context"
	"os"
	"path/filepath"
)

// TB is the part of testing.TB that is needed here, so that programs that use
// this package do not link the testing package.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
	TempDir() string
	Context() context.Context
}

// NewRegistry starts a registry that is closed when the test ends.
func NewRegistry(t TB, opts RegistryOptions) *Registry {
	t.Helper()
	r, err := StartRegistry(opts)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// Must builds b or fails the test.
func Must(t TB, b Builder) *Content {
	t.Helper()
	c, err := b.Build()
	if err != nil {
		t.Fatalf("building image: %v", err)
	}
	return c
}

// MustPush builds b, pushes it to r as repository:tag and returns it.
func MustPush(t TB, r *Registry, repository, tag string, b Builder) *Content {
	t.Helper()
	c := Must(t, b)
	if err := r.Push(t.Context(), repository, tag, c); err != nil {
		t.Fatalf("%v", err)
	}
	return c
}

// MustCAFile writes the registry's CA to a file and returns its path.
func MustCAFile(t TB, r *Registry) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, r.CA, 0o644); err != nil {
		t.Fatalf("%v", err)
	}
	return file
}
