// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"path/filepath"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/testimage"
)

// TestContentsNeedNoAdvisories: what an image holds is told without a look at advisories when
// all of it is known; when something is new, its packages are compared with them.
func TestContentsNeedNoAdvisories(t *testing.T) {
	c := newCompared(t)
	opened := func(e *Engine) bool { return e.advisories.(signalling).Store.(*late).store != nil }
	e := c.open(t)
	if stale, err := e.RefreshContents(t.Context(), c.image); stale != nil || err != nil {
		t.Fatal(stale, err)
	}
	if s, err := e.SBOM(t.Context(), dossier.SBOMQuery{Ref: c.image}); err != nil || len(s.Packages) != 1 {
		t.Errorf("packages: %d, %v", len(s.Packages), err)
	}
	if opened(e) {
		t.Error("the advisories were opened, and nobody asked for them")
	}
	found := func(ref string) int {
		list, err := e.Findings(t.Context(), dossier.FindingQuery{Ref: ref})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Findings)
	}
	if n := found(c.image); n != 1 || !opened(e) {
		t.Errorf("known: %d findings; the advisories are open: %v", n, opened(e))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.openAdvisories(t.Context()); dossier.KindOf(err) != dossier.KindUnavailable {
		t.Errorf("after Close: %v", err)
	}

	content, err := testimage.Image{Layers: []testimage.Layer{{Files: map[string]testimage.File{
		"else/package.json": testimage.Text(`{"name": "shop", "version": "1.9.0"}`), // another package of that name
	}}}}.Build()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if err := testimage.WriteLayout(dir, "1", content); err != nil {
		t.Fatal(err)
	}
	e = c.open(t)
	defer e.Close()
	ref := dossier.LayoutPrefix + dir + ":1"
	if stale, err := e.RefreshContents(t.Context(), ref); stale != nil || err != nil {
		t.Fatal(stale, err)
	}
	if n := found(ref); n != 1 {
		t.Errorf("new: %d findings", n)
	}
}
