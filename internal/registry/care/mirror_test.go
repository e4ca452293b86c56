// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/store"
)

// mirrored puts an image of one layer into a mirror of docker.io, as if it was
// pulled just now, and returns its digest.
func (w *world) mirrored(name string, size int64) dossier.Digest {
	w.t.Helper()
	ctx, path := w.t.Context(), "docker.io/library/"+name
	layer, manifest := dossier.FromBytes([]byte("layer of "+name)), dossier.FromBytes([]byte(name))
	w.update(func(tx store.Tx) error {
		now := w.clock()
		if err := tx.PutMirror(ctx, store.Repository{Path: path, Name: path, Upstream: "docker.io", CreatedAt: now}); err != nil {
			return err
		}
		if _, err := tx.PutBlob(ctx, store.Blob{Digest: layer, Key: "key of " + name, Size: size}); err != nil {
			return err
		}
		if err := tx.LinkBlob(ctx, path, layer, now, now.Add(registry.Lease)); err != nil {
			return err
		}
		_, err := tx.PutManifest(ctx, store.Manifest{
			Repository: path, Digest: manifest, MediaType: "application/x", Size: int64(len(name)), Body: []byte(name), PushedAt: now, KeptUntil: now.Add(registry.Lease),
		}, []store.Child{{Digest: layer, Blob: true}})
		if err != nil {
			return err
		}
		_, _, err = tx.PointTag(ctx, path, "latest", manifest, now)
		return err
	})
	return manifest
}

// TestMirrorsAreBounded keeps no more of an upstream than may be: what was pulled
// longest ago goes first, but nothing that a cluster needs.
func TestMirrorsAreBounded(t *testing.T) {
	w := newWorld(t)
	pinned := w.mirrored("pinned", 100)
	w.pass(time.Hour)
	oldest := w.mirrored("oldest", 100)
	w.pass(time.Hour)
	old := w.mirrored("old", 100)
	w.pass(time.Hour)
	newest := w.mirrored("newest", 100)
	pushed := w.push("app", "1", image("pushed"))
	w.cluster(dossier.Pin{Namespace: "shop", Kind: "CronJob", Name: "night", Reference: "docker.io/library/pinned@" + string(pinned)})
	policy := config.Care{Mirrors: map[string]config.Size{"docker.io": 250, "quay.io": 1}}
	there := func() (names []string) {
		for name, d := range map[string]dossier.Digest{"pinned": pinned, "oldest": oldest, "old": old, "newest": newest} {
			if w.there("docker.io/library/"+name, d) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	if got := w.collect(policy); len(got.Items) > 0 {
		t.Errorf("collected %q, which was pulled lately", items(got))
	}
	w.pass(2 * registry.Lease)
	w.cluster(w.pins()...)
	want := []string{
		"manifest docker.io/library/oldest  " + oldest.Short() + ": more than 250 bytes are kept of docker.io",
		"manifest docker.io/library/old  " + old.Short() + ": more than 250 bytes are kept of docker.io",
	}
	slices.Sort(want)
	plan, err := w.collector(policy).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for what, got := range map[string]dossier.Collection{"the dry run": plan, "the collection": w.collect(policy)} {
		lines := items(got)
		slices.Sort(lines)
		if !slices.Equal(lines, want) {
			t.Errorf("%s: %q, want %q", what, lines, want)
		}
	}
	if err := w.collector(policy).Tick(t.Context()); err != nil { // what they needed goes at once
		t.Fatal(err)
	}
	if got := strings.Join(there(), " "); got != "newest pinned" {
		t.Errorf("there are %s", got)
	}
	if !w.there("app", pushed.Digest()) {
		t.Error("what was pushed was evicted")
	}
	if got := w.collect(policy); len(got.Items) > 0 {
		t.Errorf("then it collected %q", items(got))
	}
	use := w.upstreamBytes()
	if use != 200 {
		t.Errorf("%d bytes are kept of the upstream, want 200", use)
	}
}

// upstreamBytes returns how much is kept of docker.io.
func (w *world) upstreamBytes() int64 {
	w.t.Helper()
	var bytes int64
	err := w.store.View(w.t.Context(), func(r store.Reader) error {
		use, err := r.UpstreamUse(w.t.Context())
		for _, u := range use {
			bytes += u.Bytes
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return bytes
}

// TestMirrorOfNothing checks that a bound of nothing is refused.
func TestMirrorOfNothing(t *testing.T) {
	err := care.Validate(config.Care{Mirrors: map[string]config.Size{"docker.io": 0}})
	if dossier.KindOf(err) != dossier.KindInvalid || !strings.Contains(err.Error(), "registry.care.mirrors.docker.io") {
		t.Errorf("got %v", err)
	}
}
