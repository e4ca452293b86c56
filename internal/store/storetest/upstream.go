// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func upstreamCases() []testCase {
	return []testCase{
		{"a mirror is no own repository", mirrorIsNotOwn},
		{"children come after their manifests", childrenComeLate},
		{"a child that comes with its manifest", childComesAtOnce},
		{"blobs of an upstream", blobsOfUpstream},
		{"lists of referrers", listsOfReferrers},
		{"what nobody asked for is evicted", idleIsEvicted},
	}
}

func newMirror(t testing.TB, s store.Store, upstream, path string) store.Repository {
	t.Helper()
	r := store.Repository{Path: upstream + "/" + path, Name: upstream + "/" + path, Upstream: upstream, CreatedAt: minute(0)}
	update(t, s, func(tx store.Tx) error { return tx.PutMirror(t.Context(), r) })
	return r
}

func mirrorIsNotOwn(t *testing.T, s store.Store) {
	ctx := t.Context()
	own := newRepository(t, s, "docker.io/org/pushed")
	r := newMirror(t, s, "docker.io", "org/app")
	for range 2 {
		newMirror(t, s, "docker.io", "org/app") // changes nothing
	}
	got := read(t, s, func(r store.Reader) (store.Repository, error) { return r.Repository(ctx, "docker.io/org/app") })
	if got != r {
		t.Errorf("mirror %+v, want %+v", got, r)
	}
	for _, bad := range []store.Repository{
		{Path: own.Path, Name: own.Path, Upstream: "docker.io"}, {Path: r.Path, Name: "other.example/org/app", Upstream: "other.example"},
	} {
		wantKind(t, s.Update(ctx, func(tx store.Tx) error { return tx.PutMirror(ctx, bad) }), dossier.KindConflict)
	}
	err := s.Update(ctx, func(tx store.Tx) error { _, err := tx.PutRepository(ctx, r.Path, minute(1)); return err })
	wantKind(t, err, dossier.KindDenied)
	// Its tags are those that are seen, unlike those of own repositories.
	for _, tt := range []struct {
		name  string
		moved bool
	}{{r.Name, true}, {own.Name, false}} {
		update(t, s, func(tx store.Tx) error {
			_, moved, err := tx.PointTag(ctx, tt.name, "latest", digest("a"), minute(1))
			if moved != tt.moved {
				t.Errorf("PointTag of %s: moved %v, want %v", tt.name, moved, tt.moved)
			}
			return err
		})
	}
	list := read(t, s, func(r store.Reader) ([]store.Repository, error) { return r.Repositories(ctx, "", 10) })
	if diff := cmp.Diff([]store.Repository{r, own}, list); diff != "" {
		t.Errorf("repositories (-want +got):\n%s", diff)
	}
}

// putMirrored adds a manifest with layers, as a mirror does: its children may be
// missing.
func putMirrored(t testing.TB, s store.Store, path, name string, role dossier.Role, children ...string) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		r, err := tx.Repository(t.Context(), path)
		if err == nil {
			err = tx.PutMirror(t.Context(), r)
		}
		if err != nil {
			return err
		}
		var list []store.Child
		var edges []dossier.Edge
		for i, c := range children {
			list = append(list, store.Child{Digest: digest(c), Blob: role == dossier.RoleLayer, Optional: true})
			edges = append(edges, dossier.Edge{Parent: digest(name), Child: digest(c), Role: role, Position: i, Size: 1})
		}
		edges = append(edges, dossier.Edge{Parent: digest(name), Child: digest("subject"), Role: dossier.RoleSubject, Position: len(children)})
		if err := tx.PutImage(t.Context(), dossier.Image{Digest: digest(name), Kind: dossier.ImageManifest}, edges); err != nil {
			return err
		}
		missing, err := tx.PutManifest(t.Context(), manifestNamed(path, name), list)
		if len(missing) > 0 {
			t.Errorf("missing %v", missing)
		}
		return err
	})
}

func attach(t testing.TB, s store.Store, r store.Repository, child store.Child) []dossier.Digest {
	t.Helper()
	return written(t, s, func(tx store.Tx) ([]dossier.Digest, error) {
		if err := tx.PutMirror(t.Context(), r); err != nil {
			return nil, err
		}
		if child.Blob {
			b := store.Blob{Digest: child.Digest, Key: "key of " + string(child.Digest), Size: 7}
			if _, err := tx.PutBlob(t.Context(), b); err != nil {
				return nil, err
			}
			if err := tx.LinkBlob(t.Context(), r.Path, b.Digest, minute(1), minute(1)); err != nil {
				return nil, err
			}
		}
		return tx.Attach(t.Context(), r.Path, child)
	})
}

func childrenComeLate(t *testing.T, s store.Store) {
	ctx := t.Context()
	r, other := newMirror(t, s, "docker.io", "org/app"), newMirror(t, s, "docker.io", "org/other")
	putMirrored(t, s, r.Path, "m", dossier.RoleLayer, "x", "y")
	putMirrored(t, s, other.Path, "m", dossier.RoleLayer, "x", "y")
	putMirrored(t, s, r.Path, "index", dossier.RolePlatform, "m", "absent")
	blob := func(name string) store.Child { return store.Child{Digest: digest(name), Blob: true} }
	for _, step := range []struct {
		child store.Child
		want  []dossier.Digest
	}{{blob("x"), nil}, {blob("x"), nil}, {blob("subject"), nil}, {blob("y"), []dossier.Digest{digest("m")}}, {store.Child{Digest: digest("m")}, nil}} {
		if got := attach(t, s, r, step.child); !cmp.Equal(got, step.want) {
			t.Errorf("complete after %+v: %v, want %v", step.child, got, step.want)
		}
	}
	for _, f := range []func(tx store.Tx) error{
		func(tx store.Tx) error { return tx.UnlinkBlob(ctx, deletion(r.Path, "x")) },
		func(tx store.Tx) error { return tx.DeleteManifest(ctx, deletion(r.Path, "m")) },
	} {
		wantKind(t, s.Update(ctx, f), dossier.KindConflict)
	}
	update(t, s, func(tx store.Tx) error { return tx.UnlinkBlob(ctx, deletion(r.Path, "subject")) })
	if got := attach(t, s, other, blob("x")); got != nil {
		t.Errorf("complete in another mirror: %v", got)
	}
}

// childComesAtOnce keeps a manifest and its layer at the same moment. Whoever
// comes last must see the other.
func childComesAtOnce(t *testing.T, s store.Store) {
	ctx := t.Context()
	r := newMirror(t, s, "docker.io", "org/app")
	slow := slowStore{s}
	for round := range 4 {
		layer, m := fmt.Sprint("layer ", round), fmt.Sprint("manifest ", round)
		together(t, 2, func(i int) error {
			if i == 0 {
				attach(t, slow, r, store.Child{Digest: digest(layer), Blob: true})
			} else {
				putMirrored(t, slow, r.Path, m, dossier.RoleLayer, layer)
			}
			return nil
		})
		err := s.Update(ctx, func(tx store.Tx) error { return tx.UnlinkBlob(ctx, deletion(r.Path, layer)) })
		wantKind(t, err, dossier.KindConflict)
	}
}

// slowStore takes its time to commit, so that transactions meet.
type slowStore struct{ store.Store }

func (s slowStore) Update(ctx context.Context, f func(store.Tx) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		err := f(tx)
		time.Sleep(30 * time.Millisecond)
		return err
	})
}

func blobsOfUpstream(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "own")
	putBlobs(t, s, "own", "pushed")
	one, two := newMirror(t, s, "docker.io", "org/one"), newMirror(t, s, "docker.io", "org/two")
	newMirror(t, s, "quay.example", "org/one")
	attach(t, s, one, store.Child{Digest: digest("x"), Blob: true})
	attach(t, s, two, store.Child{Digest: digest("x"), Blob: true})
	attach(t, s, two, store.Child{Digest: digest("y"), Blob: true})
	putMirrored(t, s, one.Path, "m", dossier.RoleLayer, "x")
	find := func(upstream, name string) error {
		return s.View(ctx, func(r store.Reader) error {
			b, err := r.UpstreamBlob(ctx, upstream, digest(name))
			if err == nil && (b.Digest != digest(name) || b.Size != 7) {
				t.Errorf("found %+v", b)
			}
			return err
		})
	}
	if err := find("docker.io", "x"); err != nil {
		t.Error(err)
	}
	for upstream, name := range map[string]string{"quay.example": "x", "docker.io": "pushed"} {
		wantKind(t, find(upstream, name), dossier.KindNotFound)
	}
	got := read(t, s, func(r store.Reader) ([]store.UpstreamUse, error) { return r.UpstreamUse(ctx) })
	want := []store.UpstreamUse{
		{Upstream: "docker.io", Repositories: 2, Manifests: 1, Blobs: 2, Bytes: 14}, {Upstream: "quay.example", Repositories: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("use (-want +got):\n%s", diff)
	}
}

func listsOfReferrers(t *testing.T, s store.Store) {
	ctx := t.Context()
	r := newMirror(t, s, "docker.io", "org/app")
	l := store.ReferrerList{Repository: r.Path, Subject: digest("a"), Body: []byte("[1]"), CheckedAt: minute(2)}
	put := func() { update(t, s, func(tx store.Tx) error { return tx.PutReferrerList(ctx, l) }) }
	find := func(name string) (store.ReferrerList, error) {
		var got store.ReferrerList
		err := s.View(ctx, func(rd store.Reader) (err error) {
			got, err = rd.ReferrerList(ctx, r.Path, digest(name))
			return err
		})
		return got, err
	}
	put()
	want := l
	l.Body, l.CheckedAt = []byte("[0]"), minute(1) // came late
	put()
	if got, err := find("a"); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	l.Body, l.CheckedAt = []byte("[2]"), minute(3)
	put()
	if got, err := find("a"); err != nil || !cmp.Equal(got, l) {
		t.Errorf("%+v, %v, want %+v", got, err, l)
	}
	_, err := find("b")
	wantKind(t, err, dossier.KindNotFound)
}

func idleIsEvicted(t *testing.T, s store.Store) {
	ctx := t.Context()
	r, other := newMirror(t, s, "docker.io", "org/app"), newMirror(t, s, "docker.io", "org/other")
	newRepository(t, s, "own")
	elsewhere := newMirror(t, s, "quay.io", "org/app")
	for _, path := range []string{r.Path, other.Path, "own", elsewhere.Path} {
		putBlobs(t, s, path, "x", "y")
	}
	put := func(path, name string, until int, children ...store.Child) {
		t.Helper()
		m := manifestNamed(path, name)
		m.KeptUntil = minute(until)
		putManifest(t, s, m, children...)
	}
	blob := func(name string) store.Child { return store.Child{Digest: digest(name), Blob: true} }
	put(r.Path, "platform", 2, blob("x"))
	put(r.Path, "index", 3, store.Child{Digest: digest("platform")})
	put(r.Path, "later", 9, blob("x"), blob("y"))
	put(other.Path, "first", 1, blob("y"))
	put("own", "pushed", 1, blob("x"))
	put(elsewhere.Path, "platform", 1, blob("x"))
	update(t, s, func(tx store.Tx) error {
		_, _, err := tx.PointTag(ctx, other.Name, "1", digest("first"), minute(1))
		return err
	})
	idle := func(at int, after store.IdleManifest, limit int) []store.IdleManifest {
		t.Helper()
		return read(t, s, func(rd store.Reader) ([]store.IdleManifest, error) {
			return rd.IdleManifests(ctx, "docker.io", minute(at), after, limit)
		})
	}
	row := func(path, name string, until int, blobs int64) store.IdleManifest {
		return store.IdleManifest{Repository: path, Digest: digest(name), KeptUntil: minute(until), Size: int64(len("body of " + name)), Blobs: blobs}
	}
	first, index, later := row(other.Path, "first", 1, 7), row(r.Path, "index", 3, 7), row(r.Path, "later", 9, 14)
	if diff := cmp.Diff([]store.IdleManifest{first, index}, idle(8, store.IdleManifest{}, 10)); diff != "" {
		t.Errorf("idle (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]store.IdleManifest{later}, idle(9, index, 1)); diff != "" {
		t.Errorf("idle after the index (-want +got):\n%s", diff)
	}
	evict := func(path, name string, want ...dossier.Digest) {
		t.Helper()
		got := written(t, s, func(tx store.Tx) ([]dossier.Digest, error) {
			del := deletion(path, name)
			del.At = minute(8)
			return tx.EvictManifest(ctx, del)
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("evicting %s from %s (-want +got):\n%s", name, path, diff)
		}
	}
	evict(r.Path, "platform")
	evict(r.Path, "later")
	evict("own", "pushed")
	evict(other.Path, "first", digest("first"))
	evict(r.Path, "index", digest("index"), digest("platform"))
	if stones := read(t, s, func(rd store.Reader) ([]store.Tombstone, error) { return rd.Tombstones(ctx, digest("platform"), 9) }); len(stones) != 1 {
		t.Errorf("tombstones of the platform: %+v", stones)
	}
}
