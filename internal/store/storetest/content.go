// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func contentCases() []testCase {
	return []testCase{
		{"blobs belong to repositories", blobsBelong},
		{"manifests by tag", manifestsByTag},
		{"a manifest needs its children", manifestNeedsChildren},
		{"children stay as long as they are needed", childrenStay},
		{"a child that goes while its manifest comes", childRaces},
		{"referrers in pages", referrersInPages},
		{"manifests in pages", manifestsInPages},
		{"uploads have one holder", uploadsHaveOneHolder},
		{"uploads expire", uploadsExpire},
	}
}

// putBlobs makes a repository hold blobs.
func putBlobs(t testing.TB, s store.Store, path string, names ...string) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		for _, name := range names {
			if _, err := tx.PutBlob(t.Context(), store.Blob{Digest: digest(name), Key: "key of " + name, Size: 7}); err != nil {
				return err
			}
			if err := tx.LinkBlob(t.Context(), path, digest(name), minute(1), minute(2)); err != nil {
				return err
			}
		}
		return nil
	})
}

// manifestsByTag: the manifest is that of the same repository to which the tag points now.
func manifestsByTag(t *testing.T, s store.Store) {
	ctx := t.Context()
	name, other := newRepository(t, s, "a").Name, newRepository(t, s, "b").Name
	for _, m := range []store.Manifest{manifestNamed("a", "m"), manifestNamed("a", "n"), manifestNamed("b", "m"), manifestNamed("b", "o")} {
		putManifest(t, s, m)
	}
	point := func(name, tag, to string, at int) {
		update(t, s, func(tx store.Tx) error {
			_, err := tx.SetTag(ctx, store.NameTag{Name: name, Tag: tag}, digest(to), minute(at), false)
			return err
		})
	}
	point(name, "moved", "m", 1)
	point(name, "moved", "n", 2)
	point(name, "gone", "m", 1)
	point(other, "moved", "o", 3)
	point(name, "elsewhere", "o", 4) // held by b alone
	update(t, s, func(tx store.Tx) error {
		_, err := tx.ClearTag(ctx, store.NameTag{Name: name, Tag: "gone"}, minute(5))
		return err
	})

	for path, want := range map[string]store.Manifest{"a": manifestNamed("a", "n"), "b": manifestNamed("b", "o")} {
		got := read(t, s, func(r store.Reader) (store.Manifest, error) { return r.TaggedManifest(ctx, path, "moved") })
		if !cmp.Equal(got, want) {
			t.Errorf("manifest of %s:moved (-want +got):\n%s", path, cmp.Diff(want, got))
		}
	}
	for _, tag := range []store.NameTag{{Name: "a", Tag: "gone"}, {Name: "a", Tag: "elsewhere"}, {Name: "a", Tag: "never"}, {Name: "b", Tag: "gone"}, {Name: "none", Tag: "moved"}} {
		err := s.View(ctx, func(r store.Reader) error { _, err := r.TaggedManifest(ctx, tag.Name, tag.Tag); return err })
		wantKind(t, err, dossier.KindNotFound)
	}
}

func manifestNamed(path, name string) store.Manifest {
	body := []byte("body of " + name)
	return store.Manifest{Repository: path, Digest: digest(name), MediaType: "application/x", Size: int64(len(body)), Body: body, PushedAt: minute(1)}
}

func putManifest(t testing.TB, s store.Store, m store.Manifest, children ...store.Child) []dossier.Digest {
	t.Helper()
	return written(t, s, func(tx store.Tx) ([]dossier.Digest, error) { return tx.PutManifest(t.Context(), m, children) })
}

func deletion(path, name string) store.Deletion {
	return store.Deletion{Repository: path, Digest: digest(name), At: minute(5), By: "somebody"}
}

func blobsBelong(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	newRepository(t, s, "b")
	putBlobs(t, s, "a", "x", "x", "y")
	putBlobs(t, s, "b", "y")
	got := read(t, s, func(r store.Reader) (store.LinkedBlob, error) { return r.LinkedBlob(ctx, "a", digest("x")) })
	want := store.LinkedBlob{Blob: store.Blob{Digest: digest("x"), Key: "key of x", Size: 7}, KeptUntil: minute(2)}
	if !cmp.Equal(got, want) {
		t.Errorf("LinkedBlob: %+v, want %+v", got, want)
	}
	for path, name := range map[string]string{"b": "x", "none": "x", "a": "z"} {
		err := s.View(ctx, func(r store.Reader) error { _, err := r.LinkedBlob(ctx, path, digest(name)); return err })
		wantKind(t, err, dossier.KindNotFound)
	}
	holders := read(t, s, func(r store.Reader) ([]string, error) { return r.BlobHolders(ctx, digest("y"), "", 10) })
	if want := []string{"a", "b"}; !cmp.Equal(holders, want) {
		t.Errorf("holders: %q, want %q", holders, want)
	}
	holders = read(t, s, func(r store.Reader) ([]string, error) { return r.BlobHolders(ctx, digest("y"), "a", 10) })
	if want := []string{"b"}; !cmp.Equal(holders, want) {
		t.Errorf("holders after a: %q, want %q", holders, want)
	}
	update(t, s, func(tx store.Tx) error { return tx.UnlinkBlob(ctx, deletion("a", "x")) })
	err := s.Update(ctx, func(tx store.Tx) error { return tx.UnlinkBlob(ctx, deletion("a", "x")) })
	wantKind(t, err, dossier.KindNotFound)
}

func manifestNeedsChildren(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	newRepository(t, s, "b")
	putBlobs(t, s, "b", "x")
	putBlobs(t, s, "a", "y")
	m := manifestNamed("a", "m")
	children := []store.Child{
		{Digest: digest("x"), Blob: true}, {Digest: digest("y"), Blob: true}, {Digest: digest("far away"), Blob: true, Optional: true},
		{Digest: digest("y")}, // a blob is no manifest
	}
	if got, want := putManifest(t, s, m, children...), []dossier.Digest{digest("x"), digest("y")}; !cmp.Equal(got, want) {
		t.Errorf("missing %v, want %v", got, want)
	}
	err := s.View(ctx, func(r store.Reader) error { _, err := r.Manifest(ctx, "a", m.Digest); return err })
	wantKind(t, err, dossier.KindNotFound)
	putBlobs(t, s, "a", "x")
	m.ArtifactType, m.Subject, m.Annotations = "application/y", digest("subject"), []byte(`{"a":"b"}`)
	for range 2 {
		if got := putManifest(t, s, m, children[:3]...); got != nil {
			t.Errorf("missing %v", got)
		}
	}
	got := read(t, s, func(r store.Reader) (store.Manifest, error) { return r.Manifest(ctx, "a", m.Digest) })
	if diff := cmp.Diff(m, got); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
}

func childrenStay(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	putBlobs(t, s, "a", "x")
	putManifest(t, s, manifestNamed("a", "m"), store.Child{Digest: digest("x"), Blob: true})
	putManifest(t, s, manifestNamed("a", "index"), store.Child{Digest: digest("m")})
	unlink := func(name string) error {
		return s.Update(ctx, func(tx store.Tx) error { return tx.UnlinkBlob(ctx, deletion("a", name)) })
	}
	remove := func(name string) error {
		return s.Update(ctx, func(tx store.Tx) error { return tx.DeleteManifest(ctx, deletion("a", name)) })
	}
	wantKind(t, unlink("x"), dossier.KindConflict)
	wantKind(t, remove("m"), dossier.KindConflict)
	for _, f := range []func() error{func() error { return remove("index") }, func() error { return remove("m") }, func() error { return unlink("x") }} {
		if err := f(); err != nil {
			t.Error(err)
		}
	}
	wantKind(t, remove("m"), dossier.KindNotFound)
}

// childRaces deletes a blob while a manifest that needs it comes. One of the two
// must lose.
func childRaces(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	for round := range 12 {
		blob, m := fmt.Sprint("blob ", round), manifestNamed("a", fmt.Sprint("manifest ", round))
		putBlobs(t, s, "a", blob)
		var deleted, kept bool
		together(t, 2, func(i int) error {
			if i == 0 {
				err := s.Update(ctx, func(tx store.Tx) error { return tx.UnlinkBlob(ctx, deletion("a", blob)) })
				deleted = err == nil
				if dossier.KindOf(err) == dossier.KindConflict {
					return nil
				}
				return err
			}
			return s.Update(ctx, func(tx store.Tx) error {
				missing, err := tx.PutManifest(ctx, m, []store.Child{{Digest: digest(blob), Blob: true}})
				kept = err == nil && len(missing) == 0
				return err
			})
		})
		if deleted == kept {
			t.Errorf("round %d: the blob was deleted: %v, the manifest was kept: %v", round, deleted, kept)
		}
	}
}

func manifestsInPages(t *testing.T, s store.Store) {
	newRepository(t, s, "a")
	newRepository(t, s, "b")
	var want []dossier.Digest
	for i := range 5 {
		m := manifestNamed("a", fmt.Sprint(i))
		putManifest(t, s, m)
		want = append(want, m.Digest)
	}
	slices.Sort(want)
	putManifest(t, s, manifestNamed("b", "other"))
	var got []dossier.Digest
	for after := dossier.Digest(""); ; {
		page := read(t, s, func(r store.Reader) ([]store.Manifest, error) { return r.Manifests(t.Context(), "a", after, 2) })
		if len(page) == 0 {
			break
		}
		for _, m := range page {
			if m.Repository != "a" || m.Body != nil || m.Size == 0 {
				t.Errorf("%+v", m)
			}
			after = m.Digest
			got = append(got, m.Digest)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("manifests (-want +got):\n%s", diff)
	}
}

func referrersInPages(t *testing.T, s store.Store) {
	newRepository(t, s, "a")
	newRepository(t, s, "b")
	types := map[dossier.Digest]string{}
	for i := range 6 {
		m := manifestNamed([]string{"a", "b"}[i/5], fmt.Sprint("referrer ", i))
		m.Subject, m.ArtifactType, m.Annotations = digest("subject"), fmt.Sprint("type/", i%2), []byte(`{}`)
		putManifest(t, s, m)
		if m.Repository == "a" {
			types[m.Digest] = m.ArtifactType
		}
	}
	putManifest(t, s, manifestNamed("a", "none"))
	q := store.ReferrerQuery{Repository: "a", Subject: digest("subject"), Limit: 2}
	for _, filter := range []string{"", "type/1"} {
		q.ArtifactType, q.After = filter, ""
		seen := map[dossier.Digest]string{}
		for {
			page := read(t, s, func(r store.Reader) ([]store.Manifest, error) { return r.Referrers(t.Context(), q) })
			if len(page) == 0 {
				break
			}
			for _, m := range page {
				if m.Digest <= q.After || m.Body != nil || string(m.Annotations) != "{}" {
					t.Errorf("after %s: %+v", q.After, m)
				}
				q.After, seen[m.Digest] = m.Digest, m.ArtifactType
			}
		}
		want := map[dossier.Digest]string{}
		for d, kind := range types {
			if filter == "" || kind == filter {
				want[d] = kind
			}
		}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("referrers of %q (-want +got):\n%s", filter, diff)
		}
	}
	none := read(t, s, func(r store.Reader) ([]store.Manifest, error) {
		return r.Referrers(t.Context(), store.ReferrerQuery{Repository: "a", Limit: 5})
	})
	if len(none) != 0 {
		t.Errorf("manifests without a subject refer to %+v", none)
	}
}

func uploadsHaveOneHolder(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	newRepository(t, s, "b")
	u := store.Upload{ID: "u1", Repository: "a", Owner: "me", Key: "k", Algorithm: "sha512", ExpiresAt: minute(60)}
	update(t, s, func(tx store.Tx) error { return tx.CreateUpload(ctx, u) })
	hold := func(path, holder string, now int) (store.Upload, error) {
		var got store.Upload
		err := s.Update(ctx, func(tx store.Tx) (err error) {
			got, err = tx.HoldUpload(ctx, path, u.ID, holder, minute(now), minute(now+10))
			return err
		})
		return got, err
	}
	held, err := hold("a", "one", 0)
	if want := u; err != nil || held.Holder != "one" || held.HeldUntil != minute(10) || held.Algorithm != want.Algorithm || held.Owner != want.Owner {
		t.Errorf("held: %+v, %v", held, err)
	}
	_, err = hold("b", "two", 0)
	wantKind(t, err, dossier.KindNotFound)
	_, err = hold("a", "two", 9)
	wantKind(t, err, dossier.KindConflict)
	if _, err = hold("a", "two", 10); err != nil {
		t.Errorf("a hold that ran out: %v", err)
	}
	for name, f := range map[string]func(store.Tx) error{
		"renew": func(tx store.Tx) error { return tx.RenewUpload(ctx, u.ID, "one", minute(90)) },
		"save":  func(tx store.Tx) error { return tx.SaveUpload(ctx, held) },
		"end":   func(tx store.Tx) error { return tx.EndUpload(ctx, u.ID, "one") },
	} {
		err := s.Update(ctx, f)
		if dossier.KindOf(err) != dossier.KindConflict {
			t.Errorf("%s by who lost it: %v", name, err)
		}
	}
	u.Holder, u.Token, u.Size, u.Algorithm, u.Hash = "two", []byte("token"), 5, dossier.SHA512, []byte("hash")
	update(t, s, func(tx store.Tx) error {
		if err := tx.RenewUpload(ctx, u.ID, "two", minute(30)); err != nil {
			return err
		}
		return tx.SaveUpload(ctx, u)
	})
	u.Holder, u.HeldUntil = "", time.UnixMicro(0).UTC()
	got := read(t, s, func(r store.Reader) (store.Upload, error) { return r.Upload(ctx, "a", u.ID) })
	if diff := cmp.Diff(u, got); diff != "" {
		t.Errorf("upload (-want +got):\n%s", diff)
	}
	if _, err := hold("a", "three", 11); err != nil {
		t.Error(err)
	}
	update(t, s, func(tx store.Tx) error { return tx.EndUpload(ctx, u.ID, "three") })
	_, err = hold("a", "three", 12)
	wantKind(t, err, dossier.KindNotFound)
}

func uploadsExpire(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "a")
	update(t, s, func(tx store.Tx) error {
		for i := range 4 {
			u := store.Upload{ID: fmt.Sprint("u", i), Repository: "a", Key: fmt.Sprint("k", i), ExpiresAt: minute(i)}
			if err := tx.CreateUpload(ctx, u); err != nil {
				return err
			}
		}
		_, err := tx.HoldUpload(ctx, "a", "u1", "me", minute(0), minute(9))
		return err
	})
	n := written(t, s, func(tx store.Tx) (int, error) { return tx.ExpireUploads(ctx, minute(3), 10) })
	if n != 2 {
		t.Errorf("%d expired, want 2: one is held, one is young", n)
	}
	for id, want := range map[string]bool{"u0": false, "u1": true, "u2": false, "u3": true} {
		err := s.View(ctx, func(r store.Reader) error { _, err := r.Upload(ctx, "a", id); return err })
		if got := err == nil; got != want {
			t.Errorf("%s is there: %v, want %v", id, got, want)
		}
	}
}
