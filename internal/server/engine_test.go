// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

// TestDigestsAreNoNames: a digest that is not known is not asked for as if it
// were the name of an image.
func TestDigestsAreNoNames(t *testing.T) {
	var dials atomic.Int32
	e, err := Open(t.Context(), Config{Data: sqltest.Dir(t), Dial: func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, errors.New("no network")
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, ref := range []string{"sha256:abcdef12", "sha512:abcdef12", string(dossier.FromBytes(nil))} {
		_, err := e.Refresh(t.Context(), ref)
		if err == nil {
			_, err = e.Dossier(t.Context(), ref, dossier.Times{})
		}
		if dossier.KindOf(err) != dossier.KindNotFound || strings.Contains(err.Error(), "docker.io") {
			t.Errorf("%s: %v, want a not found error about a digest", ref, err)
		}
	}
	if n := dials.Load(); n != 0 {
		t.Errorf("registries were asked %d times", n)
	}
	// Without an algorithm the digits may as well be a name.
	if _, err := e.Refresh(t.Context(), "abcdef12"); err == nil || dials.Load() == 0 {
		t.Errorf("eight digits: %v after %d connections, want that the name was tried", err, dials.Load())
	}
}

// TestEngineRemembersLocalImagesOnly: a server must not grow with what it is asked.
func TestEngineRemembersLocalImagesOnly(t *testing.T) {
	w := newWorld(t)
	if n := len(w.engine.local); n != 0 {
		t.Errorf("%d references of registries are remembered", n)
	}
}

func TestNoNamespaceMeansAll(t *testing.T) {
	for _, test := range []struct{ in, want []string }{
		{nil, nil}, {[]string{""}, nil}, {[]string{"a", ""}, nil}, {[]string{"b", "a"}, []string{"b", "a"}},
	} {
		if diff := cmp.Diff(test.want, ClusterOptions{Namespaces: test.in}.Scope().Namespaces); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.in, diff)
		}
	}
}

// TestRemovedInOrder: what is no longer there is told in order, as it was.
func TestRemovedInOrder(t *testing.T) {
	w := newWorld(t)
	list, err := w.engine.Images(t.Context(), dossier.ImagesQuery{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string][]byte{}
	collect := func(images []dossier.Dossier) (changes []dossier.Change) {
		yieldChanges(images, list.AsOf, seen, func(c dossier.Change, err error) bool {
			if err != nil {
				t.Fatal(err)
			}
			changes = append(changes, c)
			return true
		})
		return changes
	}
	for range 10 {
		added := collect(list.Images)
		if len(added) < 3 {
			t.Fatalf("%d images, want a few", len(added))
		}
		var got []string
		for _, c := range collect(nil) {
			if c.Type != dossier.ChangeRemoved || !c.Image.Answers.What.AsOf.Equal(list.AsOf) || len(c.Image.Running) != 0 {
				t.Errorf("change %s as of %s with %d workloads", c.Type, c.Image.Answers.What.AsOf, len(c.Image.Running))
			}
			got = append(got, identity(*c.Image))
		}
		if len(got) != len(added) || !slices.IsSorted(got) {
			t.Fatalf("removed %q, want all, in order", got)
		}
	}
}

// TestOpenFails: what cannot be opened is said once, whichever of the two files it is: by a
// server at its start, else by who needs it.
func TestOpenFails(t *testing.T) {
	for _, file := range []string{DatabaseFile, AdvisoryFile} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, file, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		said := func(who string, err error) {
			if dossier.KindOf(err) != dossier.KindInvalid || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), file) {
				t.Errorf("%s is a directory, %s: %v", file, who, err)
			}
		}
		said("serving", Serve(t.Context(), ServeConfig{Config: Config{Data: dir}, Listen: "127.0.0.1:0"}, func(net.Addr) { t.Error("it serves") }))
		e, err := Open(t.Context(), Config{Data: dir})
		if err == nil {
			if _, err := os.Stat(filepath.Join(dir, DatabaseFile)); err != nil {
				t.Error(err)
			}
			err = e.Match(t.Context())
			said("matching twice", e.Match(t.Context()))
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
		said("asking", err)
	}
	data := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(data, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Data: data}); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("the data directory is a file: %v", err)
	}
}
