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

func tufCases() []testCase {
	return []testCase{
		{"versions replace one another", tufVersions},
		{"roles are found by when they expire", tufExpiry},
		{"moves below an online prefix are kept", tufMoves},
		{"of many who publish none is lost", tufLock},
		{"trusted files are replaced as a whole", tufTrust},
		{"online keys are shared", tufKeys},
	}
}

func tufFile(role string, version int64, expires int) store.TUFFile {
	return store.TUFFile{Role: role, Version: version, Expires: minute(expires), Body: fmt.Appendf(nil, "%d of %s", version, role)}
}

func putTUFFiles(t *testing.T, s store.Store, prefix string, at int, files ...store.TUFFile) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		for _, f := range files {
			if err := tx.PutTUFFile(t.Context(), prefix, f, minute(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

func tufVersions(t *testing.T, s store.Store) {
	ctx := t.Context()
	putTUFFiles(t, s, "a", 1, tufFile("root", 1, 9), tufFile("snapshot", 7, 9))
	putTUFFiles(t, s, "a", 2, tufFile("root", 2, 9), tufFile("snapshot", 8, 9))
	putTUFFiles(t, s, "a", 3, tufFile("snapshot", 3, 9)) // after a rotation it may begin anew
	putTUFFiles(t, s, "b", 3, tufFile("snapshot", 1, 9))
	check := func(prefix, role string, version int64, want store.TUFFile) {
		t.Helper()
		got := read(t, s, func(r store.Reader) (store.TUFFile, error) { return r.TUFFile(ctx, prefix, role, version) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	check("a", "root", 0, tufFile("root", 2, 9))
	check("a", "root", 1, tufFile("root", 1, 9))
	check("a", "snapshot", 0, tufFile("snapshot", 3, 9))
	check("a", "snapshot", 7, tufFile("snapshot", 7, 9))
	check("b", "snapshot", 0, tufFile("snapshot", 1, 9))
	missing := func(prefix, role string, version int64) {
		t.Helper()
		wantKind(t, s.View(ctx, func(r store.Reader) error {
			_, err := r.TUFFile(ctx, prefix, role, version)
			return err
		}), dossier.KindNotFound)
	}
	missing("b", "root", 0)
	missing("a", "root", 3)

	update(t, s, func(tx store.Tx) error { return tx.PruneTUF(ctx, "a", minute(3)) })
	missing("a", "snapshot", 7)
	check("a", "snapshot", 8, tufFile("snapshot", 8, 9)) // ceased to be the newest at 3
	check("a", "root", 1, tufFile("root", 1, 9))
	update(t, s, func(tx store.Tx) error { return tx.PruneTUF(ctx, "a", minute(9)) })
	missing("a", "snapshot", 8)
	check("a", "snapshot", 0, tufFile("snapshot", 3, 9))

	again := tufFile("snapshot", 3, 20)
	again.Body = []byte("other bytes")
	putTUFFiles(t, s, "a", 10, again)
	check("a", "snapshot", 0, again)
}

func tufExpiry(t *testing.T, s store.Store) {
	putTUFFiles(t, s, "a", 1, tufFile("timestamp", 1, 2))
	putTUFFiles(t, s, "a", 2, tufFile("timestamp", 2, 6), tufFile("snapshot", 4, 5), tufFile("root", 1, 90))
	putTUFFiles(t, s, "b", 2, tufFile("snapshot", 1, 1))
	check := func(before time.Time, limit int, want ...string) {
		t.Helper()
		found := read(t, s, func(r store.Reader) ([]store.TUFFile, error) { return r.TUFRoles(t.Context(), "a", before, limit) })
		var got []string
		for _, f := range found {
			got = append(got, fmt.Sprintf("%d.%s %d", f.Version, f.Role, int(f.Expires.Sub(minute(0)).Minutes())))
		}
		if !slices.Equal(got, want) {
			t.Errorf("before %v, %d: got %q, want %q", before, limit, got, want)
		}
	}
	check(minute(5), 9)
	check(minute(6), 9, "4.snapshot 5")
	check(minute(7), 9, "4.snapshot 5", "2.timestamp 6")
	check(minute(7), 1, "4.snapshot 5")
	check(time.Time{}, 9, "4.snapshot 5", "2.timestamp 6", "1.root 90")
}

func tufMoves(t *testing.T, s store.Store) {
	ctx := t.Context()
	tag := func(name string) store.NameTag { return store.NameTag{Name: "r.example/" + name, Tag: "1"} }
	set := func(at int, names ...string) {
		t.Helper()
		update(t, s, func(tx store.Tx) error {
			for _, name := range names {
				if _, err := tx.SetTag(ctx, tag(name), digest(fmt.Sprint(name, at)), minute(at), false); err != nil {
					return err
				}
			}
			return nil
		})
	}
	moves := func(limit int) []store.TUFMove {
		t.Helper()
		return read(t, s, func(r store.Reader) ([]store.TUFMove, error) { return r.TUFMoves(ctx, "team", limit) })
	}
	check := func(limit int, want ...string) {
		t.Helper()
		var got, full []string
		for _, m := range moves(limit) {
			got = append(got, m.Name)
		}
		for _, name := range want {
			full = append(full, "r.example/"+name)
		}
		if !slices.Equal(got, full) {
			t.Errorf("moves: got %q, want %q", got, full)
		}
	}
	online := store.TUFPrefix{Prefix: "team", Name: "r.example/team"}
	update(t, s, func(tx store.Tx) error {
		_, err := tx.LockTUF(ctx, online.Prefix, online.Name)
		return err
	})
	set(1, "team", "team/app", "team0", "tea", "team-x", "other/team/app", "team/gone")
	update(t, s, func(tx store.Tx) error {
		_, err := tx.ClearTag(ctx, tag("team/gone"), minute(2))
		return err
	})
	check(9) // it is not online
	online.Online, online.Due = true, minute(3)
	for range 2 { // the second time changes nothing
		update(t, s, func(tx store.Tx) error { return tx.PutTUF(ctx, online) })
		check(9, "team", "team/app")
	}
	list := read(t, s, func(r store.Reader) ([]store.TUFPrefix, error) { return r.TUFPrefixes(ctx) })
	if diff := cmp.Diff([]store.TUFPrefix{online}, list); diff != "" {
		t.Error(diff)
	}
	update(t, s, func(tx store.Tx) error { return tx.DoneTUF(ctx, moves(1)) })
	check(9, "team/app")

	set(4, "team/app", "team/new", "team0", "tea")
	set(5, "team/app")
	update(t, s, func(tx store.Tx) error { // it points there already
		_, err := tx.SetTag(ctx, tag("team/app"), digest("team/app5"), minute(6), false)
		return err
	})
	update(t, s, func(tx store.Tx) error {
		_, err := tx.ClearTag(ctx, tag("team/new"), minute(6))
		return err
	})
	check(9, "team/app", "team/app", "team/new", "team/app", "team/new")
	update(t, s, func(tx store.Tx) error {
		if _, err := tx.AdoptTag(ctx, tag("team/old"), digest("old"), minute(1), false); err != nil {
			return err
		}
		return tx.DoneTUF(ctx, moves(9))
	})
	check(9, "team/old") // it moved after the moves were read
}

func tufLock(t *testing.T, s store.Store) {
	const writers, each = 4, 5
	ctx := soon(t)
	together(t, writers, func(int) error {
		for range each {
			err := s.Update(ctx, func(tx store.Tx) error {
				if _, err := tx.LockTUF(ctx, "a", "r/a"); err != nil {
					return err
				}
				last, err := tx.TUFFile(ctx, "a", "timestamp", 0)
				if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
					return err
				}
				return tx.PutTUFFile(ctx, "a", tufFile("timestamp", last.Version+1, 9), minute(1))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	last := read(t, s, func(r store.Reader) (store.TUFFile, error) { return r.TUFFile(ctx, "a", "timestamp", 0) })
	if last.Version != writers*each {
		t.Errorf("the newest version is %d, want %d", last.Version, writers*each)
	}
}

func tufTrust(t *testing.T, s store.Store) {
	ctx := soon(t)
	check := func(source string, want ...store.TUFFile) {
		t.Helper()
		got := read(t, s, func(r store.Reader) ([]store.TUFFile, error) { return r.TUFTrusted(ctx, source) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	trust := func(source string, files ...store.TUFFile) {
		t.Helper()
		update(t, s, func(tx store.Tx) error {
			if _, err := tx.LockTUFTrust(ctx, source); err != nil {
				return err
			}
			return tx.TrustTUF(ctx, source, files)
		})
	}
	check("a")
	trust("a", tufFile("root", 1, 9), tufFile("timestamp", 5, 9))
	trust("b", tufFile("root", 3, 9))
	trust("a", tufFile("root", 2, 9))
	check("a", tufFile("root", 2, 9))
	check("b", tufFile("root", 3, 9))
	trust("b")
	check("b")
	update(t, s, func(tx store.Tx) error {
		_, err := tx.LockTUFTrust(ctx, "c") // looking pins nothing
		return err
	})
	sources := read(t, s, func(r store.Reader) ([]string, error) { return r.TUFSources(ctx) })
	if !slices.Equal(sources, []string{"a"}) {
		t.Errorf("sources are %q, want a", sources)
	}

	const writers = 4
	together(t, writers, func(int) error {
		return s.Update(ctx, func(tx store.Tx) error {
			old, err := tx.LockTUFTrust(ctx, "n")
			if err != nil {
				return err
			}
			version := int64(1)
			if len(old) > 0 {
				version += old[0].Version
			}
			return tx.TrustTUF(ctx, "n", []store.TUFFile{tufFile("root", version, 9)})
		})
	})
	check("n", tufFile("root", writers, 9))
}

func tufKeys(t *testing.T, s store.Store) {
	ctx := t.Context()
	key := func(id string, made int) store.SigningKey {
		return store.SigningKey{ID: id, CreatedAt: minute(made), Secret: []byte("secret of " + id)}
	}
	update(t, s, func(tx store.Tx) error {
		sealed := store.SigningKey{ID: "a", CreatedAt: minute(2), Secret: []byte("sealed")}
		for _, k := range []store.SigningKey{key("a", 1), key("b", 2), sealed, key("a", 3)} {
			if err := tx.PutTUFKey(ctx, "p", k); err != nil {
				return err
			}
		}
		return tx.PutTUFKey(ctx, "q", key("c", 4))
	})
	got := read(t, s, func(r store.Reader) ([]store.SigningKey, error) { return r.TUFKeys(ctx, "p") })
	if diff := cmp.Diff([]store.SigningKey{key("b", 2), key("a", 1)}, got); diff != "" {
		t.Error(diff)
	}
}
