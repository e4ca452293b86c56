// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func tagCases() []testCase {
	return []testCase{
		{"points and moves", tagPointsAndMoves},
		{"as of a time", tagsAsOf},
		{"many tags at once", manyTagsAtOnce},
		{"many writers of a tag", manyWritersOfTag},
		{"pages and changes agree with the history", tagPagesAndChanges},
	}
}

// interval returns a tag interval from minute from to minute to (0: open).
func interval(tag, d string, from, to, checked int) dossier.TagInterval {
	i := dossier.TagInterval{Name: "example.com/x", Tag: tag, Digest: digest(d), From: minute(from), CheckedAt: minute(checked)}
	if to != 0 {
		i.To = minute(to)
	}
	return i
}

func tagPointsAndMoves(t *testing.T, s store.Store) {
	const name, tag = "example.com/x", "v1"
	steps := []struct {
		what  string
		to    string // a digest; empty: the tag is gone
		at    int
		was   string
		moved bool
		want  []dossier.TagInterval // newest first
	}{
		{"gone before it came", "", 5, "", false, nil},
		{"new", "a", 10, "", true, []dossier.TagInterval{interval(tag, "a", 10, 0, 10)}},
		{"seen again", "a", 12, "", false, []dossier.TagInterval{interval(tag, "a", 10, 0, 12)}},
		{"seen again, told late", "a", 11, "", false, []dossier.TagInterval{interval(tag, "a", 10, 0, 12)}},
		{"the same, before its beginning", "a", 3, "", false, []dossier.TagInterval{interval(tag, "a", 10, 0, 12)}},
		{"moved", "b", 20, "a", true, []dossier.TagInterval{interval(tag, "b", 20, 0, 20), interval(tag, "a", 10, 20, 12)}},
		{"another, before its beginning", "c", 19, "", false, []dossier.TagInterval{interval(tag, "b", 20, 0, 20), interval(tag, "a", 10, 20, 12)}},
		{"gone, before its beginning", "", 19, "", false, []dossier.TagInterval{interval(tag, "b", 20, 0, 20), interval(tag, "a", 10, 20, 12)}},
		{"gone", "", 30, "b", true, []dossier.TagInterval{interval(tag, "b", 20, 30, 20), interval(tag, "a", 10, 20, 12)}},
		{"still gone", "", 31, "", false, []dossier.TagInterval{interval(tag, "b", 20, 30, 20), interval(tag, "a", 10, 20, 12)}},
		{"before it was gone", "c", 29, "", false, []dossier.TagInterval{interval(tag, "b", 20, 30, 20), interval(tag, "a", 10, 20, 12)}},
		{"back", "a", 40, "", true, []dossier.TagInterval{interval(tag, "a", 40, 0, 40), interval(tag, "b", 20, 30, 20), interval(tag, "a", 10, 20, 12)}},
	}
	for _, st := range steps {
		update(t, s, func(tx store.Tx) error {
			var was, want dossier.Digest
			var moved bool
			var err error
			if st.to == "" {
				was, moved, err = tx.DropTag(t.Context(), name, tag, minute(st.at))
			} else {
				was, moved, err = tx.PointTag(t.Context(), name, tag, digest(st.to), minute(st.at))
			}
			if st.was != "" {
				want = digest(st.was)
			}
			if was != want || moved != st.moved {
				t.Errorf("%s: was %s, %v; want %s, %v", st.what, was, moved, want, st.moved)
			}
			return err
		})
		got := read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) { return r.TagHistory(t.Context(), name, tag, 10) })
		if diff := cmp.Diff(st.want, got); diff != "" {
			t.Fatalf("%s: TagHistory (-want +got):\n%s", st.what, diff)
		}
	}
}

func pointTag(t *testing.T, s store.Store, tag, d string, at int) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		_, _, err := tx.PointTag(t.Context(), "example.com/x", tag, digest(d), minute(at))
		return err
	})
}

func tagsAsOf(t *testing.T, s store.Store) {
	pointTag(t, s, "v1", "a", 10)
	pointTag(t, s, "v2", "a", 15)
	pointTag(t, s, "v1", "b", 20)
	update(t, s, func(tx store.Tx) error {
		if _, _, err := tx.PointTag(t.Context(), "example.com/y", "v1", digest("a"), minute(12)); err != nil {
			return err
		}
		_, _, err := tx.DropTag(t.Context(), "example.com/x", "v2", minute(30))
		return err
	})
	a1, a2, b1 := interval("v1", "a", 10, 20, 10), interval("v2", "a", 15, 30, 15), interval("v1", "b", 20, 0, 20)
	y1 := interval("v1", "a", 12, 0, 12)
	y1.Name = "example.com/y"
	x1, x2, none := store.NameTag{Name: "example.com/x", Tag: "v1"}, store.NameTag{Name: "example.com/x", Tag: "v2"}, store.NameTag{Name: "none", Tag: "v1"}
	tests := []struct {
		name string
		at   time.Time
		of   []dossier.TagInterval // TagsOf a and b
		atX  []dossier.TagInterval // TagsAt x1, x2, none
	}{
		{"now", time.Time{}, []dossier.TagInterval{b1, y1}, []dossier.TagInterval{b1}},
		{"before all", minute(9), nil, nil},
		{"at the first moment", minute(10), []dossier.TagInterval{a1}, []dossier.TagInterval{a1}},
		{"between", minute(16), []dossier.TagInterval{a1, a2, y1}, []dossier.TagInterval{a1, a2}},
		{"just before the move", minute(20).Add(-time.Microsecond), []dossier.TagInterval{a1, a2, y1}, []dossier.TagInterval{a1, a2}},
		{"at the move", minute(20), []dossier.TagInterval{b1, a2, y1}, []dossier.TagInterval{b1, a2}},
		{"at the end", minute(30), []dossier.TagInterval{b1, y1}, []dossier.TagInterval{b1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) {
				return r.TagsOf(t.Context(), []dossier.Digest{digest("b"), digest("a"), digest("none")}, tt.at)
			})
			if diff := cmp.Diff(tt.of, got); diff != "" {
				t.Errorf("TagsOf (-want +got):\n%s", diff)
			}
			got = read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) {
				return r.TagsAt(t.Context(), []store.NameTag{x2, none, x1, x2}, tt.at)
			})
			if diff := cmp.Diff(tt.atX, got); diff != "" {
				t.Errorf("TagsAt (-want +got):\n%s", diff)
			}
		})
	}
	for _, tt := range []struct {
		tag   string
		limit int
		want  []dossier.TagInterval
	}{
		{"v1", 10, []dossier.TagInterval{b1, a1}},
		{"v1", 1, []dossier.TagInterval{b1}},
		{"", 10, []dossier.TagInterval{b1, a2, a1}},
		{"", 2, []dossier.TagInterval{b1, a2}},
		{"none", 10, nil},
	} {
		got := read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) {
			return r.TagHistory(t.Context(), "example.com/x", tt.tag, tt.limit)
		})
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("TagHistory of %q, %d (-want +got):\n%s", tt.tag, tt.limit, diff)
		}
	}
}

func manyTagsAtOnce(t *testing.T, s store.Store) {
	const n = 450
	var tags []store.NameTag
	update(t, s, func(tx store.Tx) error {
		for i := range n {
			tags = append(tags, store.NameTag{Name: "example.com/x", Tag: fmt.Sprintf("v%04d", i)})
			if _, _, err := tx.PointTag(t.Context(), tags[i].Name, tags[i].Tag, digest(tags[i].Tag), minute(1)); err != nil {
				return err
			}
		}
		return nil
	})
	got := read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) { return r.TagsAt(t.Context(), tags, time.Time{}) })
	if len(got) != n {
		t.Fatalf("TagsAt returns %d of %d tags", len(got), n)
	}
	for i := range n {
		if got[i].Tag != tags[i].Tag || got[i].Digest != digest(tags[i].Tag) {
			t.Errorf("tag %d is %s at %s", i, got[i].Tag, got[i].Digest)
		}
	}
}

func manyWritersOfTag(t *testing.T, s store.Store) {
	const writers = 8
	for round := range 3 {
		tag := fmt.Sprint("t", round)
		together(t, writers, func(w int) error {
			for step := range 5 {
				if err := s.Update(t.Context(), func(tx store.Tx) error {
					_, _, err := tx.PointTag(t.Context(), "example.com/x", tag, digest(fmt.Sprint(w)), minute(1+step*writers+w))
					return err
				}); err != nil {
					return err
				}
			}
			return nil
		})
		history := read(t, s, func(r store.Reader) ([]dossier.TagInterval, error) {
			return r.TagHistory(t.Context(), "example.com/x", tag, 100)
		})
		if len(history) == 0 || !history[0].To.IsZero() {
			t.Fatalf("the tag has no open interval")
		}
		for i, h := range history[1:] {
			if !h.To.Equal(history[i].From) {
				t.Errorf("an interval ends at %v, the next begins at %v", h.To, history[i].From)
			}
		}
	}
}
