// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier/internal/store"
)

func TestParseTilePath(t *testing.T) {
	for path, want := range map[string]tilePath{
		"tile/0/000":                {store.TileAt{}, 256},
		"tile/0/999":                {store.TileAt{Index: 999}, 256},
		"tile/8/x001/234":           {store.TileAt{Level: 8, Index: 1234}, 256},
		"tile/63/x001/x234/067.p/1": {store.TileAt{Level: 63, Index: 1234067}, 1},
		"tile/entries/x012/345":     {store.TileAt{Level: entriesLevel, Index: 12345}, 256},
		"tile/entries/000.p/255":    {store.TileAt{Level: entriesLevel}, 255},
	} {
		got, err := parseTilePath(path)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", path, got, err, want)
		}
	}
	for _, path := range []string{
		"", "tile", "tile/", "tile/0", "tile/0/", "tile/0/0", "tile/0/0000", "tile/0/x000", "tile/0/x000/001", "tile/0/001/002", "tile/64/000", "tile/-1/000",
		"tile/00/000", "tile/0/000.p", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/+01", "tile/0/x1/000", "tile/entry/000",
		"tile/0/x001/x001/x001/x001/x001/x001/000", "tile/0/000/", "tile/0/../0/000",
	} {
		if got, err := parseTilePath(path); err == nil {
			t.Errorf("%s: %+v, want an error", path, got)
		}
	}
}

func FuzzParseTilePath(f *testing.F) {
	f.Add("tile/63/x001/x234/067.p/1")
	f.Add("tile/entries/000")
	f.Fuzz(func(t *testing.T, path string) {
		if p, err := parseTilePath(path); err == nil && p.String() != path {
			t.Errorf("%q is read as %+v, which is %q", path, p, p)
		}
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add(Checkpoint{Origin: "log.example", Size: 12, Root: tlog.Hash{1}}.text())
	f.Add("o\n1\nAAAA\next\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCheckpoint(text)
		if err == nil && !strings.HasPrefix(text, c.text()) {
			t.Errorf("%q is read as %+v", text, c)
		}
	})
}
