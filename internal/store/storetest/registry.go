// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func registryCases() []testCase {
	return []testCase{
		{"the first name stays", firstNameStays},
		{"repositories in pages", repositoriesInPages},
		{"own tags move forward only", ownTagsMoveForward},
		{"own tags are not seen from outside", ownTagsStay},
		{"fixed tags stay", fixedTagsStay},
		{"of many who fix a tag one does", manyFixTag},
		{"an adopted tag changes nothing of what is on record", adoptedTags},
		{"open tags in pages", openTagsInPages},
	}
}

const registryHost = "registry.example"

// newRepository names the registry and makes a repository.
func newRepository(t testing.TB, s store.Store, path string) store.Repository {
	t.Helper()
	return written(t, s, func(tx store.Tx) (store.Repository, error) {
		if _, err := tx.NameRegistry(t.Context(), registryHost); err != nil {
			return store.Repository{}, err
		}
		return tx.PutRepository(t.Context(), path, minute(0))
	})
}

func firstNameStays(t *testing.T, s store.Store) {
	if got := read(t, s, func(r store.Reader) (string, error) { return r.RegistryName(t.Context()) }); got != "" {
		t.Errorf("a new registry is called %q", got)
	}
	err := s.Update(t.Context(), func(tx store.Tx) error { _, err := tx.PutRepository(t.Context(), "a", minute(0)); return err })
	wantKind(t, err, dossier.KindInvalid)
	for _, name := range []string{"one.example", "two.example"} {
		got := written(t, s, func(tx store.Tx) (string, error) { return tx.NameRegistry(t.Context(), name) })
		if got != "one.example" {
			t.Errorf("after %s it is called %s", name, got)
		}
	}
}

func repositoriesInPages(t *testing.T, s store.Store) {
	var want []store.Repository
	for i := range 5 {
		path := fmt.Sprintf("org/app-%d", i)
		r := newRepository(t, s, path)
		if r != (store.Repository{Path: path, Name: registryHost + "/" + path, CreatedAt: minute(0)}) {
			t.Errorf("made %+v", r)
		}
		want = append(want, r)
	}
	again := written(t, s, func(tx store.Tx) (store.Repository, error) {
		return tx.PutRepository(t.Context(), want[0].Path, minute(9))
	})
	if again != want[0] {
		t.Errorf("made again: %+v, want %+v", again, want[0])
	}
	var got []store.Repository
	for after := ""; ; after = got[len(got)-1].Path {
		page := read(t, s, func(r store.Reader) ([]store.Repository, error) { return r.Repositories(t.Context(), after, 2) })
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	err := s.View(t.Context(), func(r store.Reader) error { _, err := r.Repository(t.Context(), "none"); return err })
	wantKind(t, err, dossier.KindNotFound)
}

// ownTagsMoveForward checks that a clock that goes backwards undoes nothing.
func ownTagsMoveForward(t *testing.T, s store.Store) {
	repo := newRepository(t, s, "org/app")
	tag := store.NameTag{Name: repo.Name, Tag: "latest"}
	steps := []struct {
		what  string
		to    string // empty: nowhere
		at    int    // minute
		was   string
		moved bool
		late  bool // happens later than asked for
	}{
		{"gone before it came", "", 1, "", false, false},
		{"new", "a", 10, "", true, false},
		{"the same", "a", 11, "", false, false},
		{"moved", "b", 20, "a", true, false},
		{"moved by a slow clock", "c", 5, "b", true, true},
		{"gone by a slow clock", "", 5, "c", true, true},
		{"still gone", "", 30, "", false, false},
		{"back by a slow clock", "a", 5, "", true, true},
	}
	for _, st := range steps {
		move := written(t, s, func(tx store.Tx) (store.TagMove, error) {
			if st.to == "" {
				return tx.ClearTag(t.Context(), tag, minute(st.at))
			}
			return tx.SetTag(t.Context(), tag, digest(st.to), minute(st.at), false)
		})
		want := store.TagMove{Moved: st.moved, At: minute(st.at)}
		if st.was != "" {
			want.Was = digest(st.was)
		}
		if st.late {
			if !move.At.After(want.At) {
				t.Errorf("%s: at %v, want later than %v", st.what, move.At, want.At)
			}
			want.At = move.At
		}
		if move != want {
			t.Errorf("%s: %+v, want %+v", st.what, move, want)
		}
		open := read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) {
			return r.TagsAt(t.Context(), []store.NameTag{tag}, minute(1000))
		})
		if st.to == "" && len(open) != 0 || st.to != "" && (len(open) != 1 || open[0].Digest != digest(st.to)) {
			t.Errorf("%s: it points at %+v", st.what, open)
		}
	}
	history := read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) {
		return r.TagHistory(t.Context(), tag.Name, tag.Tag, 10)
	})
	for i, interval := range history {
		if i > 0 && interval.To.After(history[i-1].From) {
			t.Errorf("intervals overlap: %+v", history)
		}
	}
	if len(history) != 4 {
		t.Errorf("%d intervals, want 4", len(history))
	}
}

func ownTagsStay(t *testing.T, s store.Store) {
	repo := newRepository(t, s, "org/app")
	tag := store.NameTag{Name: repo.Name, Tag: "latest"}
	update(t, s, func(tx store.Tx) error {
		_, err := tx.SetTag(t.Context(), tag, digest("a"), minute(1), false)
		return err
	})
	update(t, s, func(tx store.Tx) error {
		if was, moved, err := tx.PointTag(t.Context(), tag.Name, tag.Tag, digest("b"), minute(2)); was != "" || moved || err != nil {
			t.Errorf("PointTag: %v, %v, %v", was, moved, err)
		}
		if was, dropped, err := tx.DropTag(t.Context(), tag.Name, tag.Tag, minute(3)); was != "" || dropped || err != nil {
			t.Errorf("DropTag: %v, %v, %v", was, dropped, err)
		}
		return nil
	})
	got := read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) {
		return r.TagHistory(t.Context(), tag.Name, tag.Tag, 10)
	})
	want := []dossier.TagInterval{{Name: tag.Name, Tag: tag.Tag, Digest: digest("a"), From: minute(1), CheckedAt: minute(1)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

func fixedTagsStay(t *testing.T, s store.Store) {
	repo := newRepository(t, s, "org/app")
	tag := store.NameTag{Name: repo.Name, Tag: "1.0"}
	set := func(d string, at int) error {
		return s.Update(t.Context(), func(tx store.Tx) error {
			_, err := tx.SetTag(t.Context(), tag, digest(d), minute(at), true)
			return err
		})
	}
	for _, at := range []int{1, 2} {
		if err := set("a", at); err != nil {
			t.Errorf("at %d: %v", at, err)
		}
	}
	err := set("b", 3)
	wantKind(t, err, dossier.KindConflict)
	for _, want := range []string{string(digest("a")), minute(1).Format("2006-01-02T15:04:05Z")} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %s", err, want)
		}
	}
}

func manyFixTag(t *testing.T, s store.Store) {
	repo := newRepository(t, s, "org/app")
	const writers = 8
	for round := range 4 {
		tag := store.NameTag{Name: repo.Name, Tag: fmt.Sprint("1.", round)}
		won := make([]bool, writers)
		together(t, writers, func(w int) error {
			err := s.Update(t.Context(), func(tx store.Tx) error {
				_, err := tx.SetTag(t.Context(), tag, digest(fmt.Sprint(w)), minute(1), true)
				return err
			})
			won[w] = err == nil
			if dossier.KindOf(err) == dossier.KindConflict {
				return nil
			}
			return err
		})
		open := read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) {
			return r.TagHistory(t.Context(), tag.Name, tag.Tag, 10)
		})
		if len(open) != 1 {
			t.Fatalf("intervals: %+v, want one", open)
		}
		for w := range writers {
			if is := open[0].Digest == digest(fmt.Sprint(w)); is != won[w] {
				t.Errorf("writer %d was told %v, the tag points at %s", w, won[w], open[0].Digest)
			}
		}
	}
}

func adoptedTags(t *testing.T, s store.Store) {
	repo := newRepository(t, s, "org/app")
	tag := store.NameTag{Name: repo.Name, Tag: "latest"}
	steps := []struct {
		what  string
		how   string // "adopt", "fix" (adopt a fixed tag), "set" or "drop"
		to    string
		at    int // minute
		moved bool
		kind  dossier.Kind
	}{
		{"the first", "adopt", "a", 10, true, ""},
		{"the same", "adopt", "a", 10, false, ""},
		{"the same, earlier", "adopt", "a", 5, false, ""},
		{"the same, later", "adopt", "a", 20, false, ""},
		{"another, earlier", "adopt", "b", 9, false, ""},
		{"another, at that moment", "adopt", "b", 10, false, ""},
		{"another, later", "adopt", "b", 30, true, ""},
		{"pushed here", "set", "c", 40, true, ""},
		{"what was so before", "adopt", "b", 30, false, ""},
		{"another that is fixed", "fix", "d", 50, false, dossier.KindConflict},
		{"the same that is fixed", "fix", "c", 50, false, ""},
		{"an earlier one that is fixed", "fix", "d", 35, false, ""},
		{"dropped here", "drop", "", 60, true, ""},
		{"what was so before it was dropped", "adopt", "c", 59, false, ""},
		{"after it was dropped", "fix", "d", 60, true, ""},
	}
	for _, st := range steps {
		var move store.TagMove
		err := s.Update(t.Context(), func(tx store.Tx) (err error) {
			switch st.how {
			case "drop":
				move, err = tx.ClearTag(t.Context(), tag, minute(st.at))
			case "set":
				move, err = tx.SetTag(t.Context(), tag, digest(st.to), minute(st.at), false)
			default:
				move, err = tx.AdoptTag(t.Context(), tag, digest(st.to), minute(st.at), st.how == "fix")
			}
			return err
		})
		if dossier.KindOf(err) != st.kind || err == nil && move.Moved != st.moved {
			t.Errorf("%s: %+v, %v", st.what, move, err)
		}
		if move.Moved && !move.At.Equal(minute(st.at)) {
			t.Errorf("%s: at %v, want %v", st.what, move.At, minute(st.at))
		}
	}
	var got []string
	for _, i := range read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) {
		return r.TagHistory(t.Context(), tag.Name, tag.Tag, 10)
	}) {
		name := map[dossier.Digest]string{digest("a"): "a", digest("b"): "b", digest("c"): "c", digest("d"): "d"}[i.Digest]
		to := "-"
		if !i.To.IsZero() {
			to = fmt.Sprint(i.To.Sub(minute(0)).Minutes())
		}
		got = append(got, fmt.Sprintf("%s %v %s", name, i.From.Sub(minute(0)).Minutes(), to))
	}
	if diff := cmp.Diff([]string{"d 60 -", "c 40 60", "b 30 40", "a 10 30"}, got); diff != "" {
		t.Errorf("intervals (-want +got):\n%s", diff)
	}
}

func openTagsInPages(t *testing.T, s store.Store) {
	repo, other := newRepository(t, s, "org/app"), newRepository(t, s, "org/apple")
	update(t, s, func(tx store.Tx) error {
		for _, name := range []string{repo.Name, other.Name} {
			for _, tag := range []string{"b", "a", "c", "gone", "B"} {
				if _, err := tx.SetTag(t.Context(), store.NameTag{Name: name, Tag: tag}, digest(tag), minute(1), false); err != nil {
					return err
				}
			}
		}
		_, err := tx.ClearTag(t.Context(), store.NameTag{Name: repo.Name, Tag: "gone"}, minute(2))
		return err
	})
	for _, tt := range []struct {
		after string
		limit int
		want  []string
	}{{"", 10, []string{"B", "a", "b", "c"}}, {"", 2, []string{"B", "a"}}, {"a", 1, []string{"b"}}, {"bb", 9, []string{"c"}}, {"c", 9, nil}, {"", 0, nil}} {
		got := read(t, s, func(r store.Reader) ([]string, error) { return r.OpenTags(t.Context(), repo.Name, tt.after, tt.limit) })
		if !cmp.Equal(got, tt.want) {
			t.Errorf("%d after %q: %q, want %q", tt.limit, tt.after, got, tt.want)
		}
	}
}
