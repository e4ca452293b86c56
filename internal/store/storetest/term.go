// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func termCases() []testCase {
	return []testCase{
		{"found by key and prefix", termsFound},
		{"terms are replaced", termsAreReplaced},
		{"terms come and go one by one", termsComeAndGo},
		{"terms of some fields", termsOfFields},
		{"long keys", longKeys},
	}
}

func term(field dossier.Field, value string) store.Term {
	return store.Term{Field: field, Value: value, Key: store.Normal(value)}
}

// hits writes what a search found as "KEY FIELD NAME VALUE", where NAME is one
// of names, whose digest was found.
func hits(t *testing.T, s store.Store, names []string, key string, prefix bool, limit int) []string {
	t.Helper()
	found := read(t, s, func(r store.Reader) ([]store.TermHit, error) {
		return r.FindTerms(t.Context(), store.TermQuery{Key: key, Prefix: prefix, Limit: limit})
	})
	list := []string{}
	for _, h := range found {
		i := slices.IndexFunc(names, func(n string) bool { return digest(n) == h.Digest })
		list = append(list, fmt.Sprintf("%s %s %s %s", h.Key, h.Field, names[i], h.Value))
	}
	return list
}

func termsFound(t *testing.T, s store.Store) {
	names := []string{"a", "b"}
	slices.SortFunc(names, func(x, y string) int { return strings.Compare(string(digest(x)), string(digest(y))) })
	update(t, s, func(tx store.Tx) error {
		if err := tx.PutTerms(t.Context(), digest("a"), []store.Term{
			term(dossier.FieldSource, "https://Example.com/App.git"), term(dossier.FieldLabel, "example.com/app"),
			{Field: dossier.FieldLabel, Value: "Zürich"}, // its key is made
			term(dossier.FieldRevision, "100%"), term(dossier.FieldLabel, "example_com"),
		}); err != nil {
			return err
		}
		return tx.PutTerms(t.Context(), digest("b"), []store.Term{
			term(dossier.FieldSource, "example.com/app"), term(dossier.FieldSource, "EXAMPLE.com/app/"), // equal keys: the first stays
			term(dossier.FieldSource, "example.com/apple"), term(dossier.FieldSource, "example.com/apq"), term(dossier.FieldLabel, "zürich\U0010FFFF2"),
		})
	})
	app := []string{
		"example.com/app label a example.com/app",
		fmt.Sprintf("example.com/app source %s %s", names[0], map[string]string{"a": "https://Example.com/App.git", "b": "example.com/app"}[names[0]]),
		fmt.Sprintf("example.com/app source %s %s", names[1], map[string]string{"a": "https://Example.com/App.git", "b": "example.com/app"}[names[1]]),
	}
	apple := append(slices.Clone(app), "example.com/apple source b example.com/apple")
	apq := append(slices.Clone(apple), "example.com/apq source b example.com/apq")
	tests := []struct {
		name, key string
		prefix    bool
		limit     int
		want      []string
	}{
		{"exact", "example.com/app", false, 10, app},
		{"prefix", "example.com/ap", true, 10, apq},
		{"prefix that is a key", "example.com/app", true, 10, apple},
		{"limit", "example.com/app", true, 2, apple[:2]},
		{"no limit of zero", "example.com/app", true, 0, []string{}},
		{"exact is not prefix", "example.com/ap", false, 10, []string{}},
		{"no pattern", "example_", true, 10, []string{"example_com label a example_com"}},
		{"no other pattern", "1%", true, 10, []string{}},
		{"letters beyond ASCII", "zü", true, 10, []string{"zürich label a Zürich", "zürich\U0010FFFF2 label b zürich\U0010FFFF2"}},
		{"the last letter there is", "zürich\U0010FFFF", true, 10, []string{"zürich\U0010FFFF2 label b zürich\U0010FFFF2"}},
		{"everything", "", true, 100, slices.Concat([]string{"100% revision a 100%"}, apq,
			[]string{"example_com label a example_com", "zürich label a Zürich", "zürich\U0010FFFF2 label b zürich\U0010FFFF2"})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, hits(t, s, names, tt.key, tt.prefix, tt.limit)); diff != "" {
				t.Errorf("FindTerms (-want +got):\n%s", diff)
			}
		})
	}
}

func termsAreReplaced(t *testing.T, s store.Store) {
	for _, values := range [][]string{{"x1", "x2"}, {"x2", "x3"}} {
		update(t, s, func(tx store.Tx) error {
			var terms []store.Term
			for _, v := range values {
				terms = append(terms, term(dossier.FieldLabel, v))
			}
			if err := tx.PutTerms(t.Context(), digest("b"), terms[:1]); err != nil {
				return err
			}
			return tx.PutTerms(t.Context(), digest("a"), terms)
		})
	}
	want := []string{"x2 label a x2", "x2 label b x2", "x3 label a x3"}
	if digest("b") < digest("a") {
		want[0], want[1] = want[1], want[0]
	}
	if diff := cmp.Diff(want, hits(t, s, []string{"a", "b"}, "x", true, 10)); diff != "" {
		t.Errorf("FindTerms (-want +got):\n%s", diff)
	}
	update(t, s, func(tx store.Tx) error { return tx.PutTerms(t.Context(), digest("a"), nil) })
	if got := hits(t, s, []string{"a", "b"}, "x3", true, 10); len(got) != 0 {
		t.Errorf("terms are still found: %v", got)
	}
}

func termsComeAndGo(t *testing.T, s store.Store) {
	one, two := term(dossier.FieldReference, "r.example/app:1"), term(dossier.FieldReference, "r.example/app:2")
	label := term(dossier.FieldLabel, "r.example/app:2")
	update(t, s, func(tx store.Tx) error { return tx.PutTerms(t.Context(), digest("a"), []store.Term{one}) })
	for range 2 { // the second time changes nothing
		update(t, s, func(tx store.Tx) error { return tx.AddTerms(t.Context(), digest("a"), []store.Term{two, label}) })
	}
	check := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, hits(t, s, []string{"a"}, "r.example/", true, 10)); diff != "" {
			t.Errorf("FindTerms (-want +got):\n%s", diff)
		}
	}
	check("r.example/app:1 reference a r.example/app:1", "r.example/app:2 label a r.example/app:2", "r.example/app:2 reference a r.example/app:2")
	for range 2 {
		update(t, s, func(tx store.Tx) error {
			if err := tx.DropTerm(t.Context(), digest("b"), one); err != nil {
				return err
			}
			return tx.DropTerm(t.Context(), digest("a"), two)
		})
	}
	check("r.example/app:1 reference a r.example/app:1", "r.example/app:2 label a r.example/app:2")
}

func termsOfFields(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error {
		return tx.PutTerms(t.Context(), digest("a"), []store.Term{
			term(dossier.FieldLabel, "x"), term(dossier.FieldSource, "x"), term(dossier.FieldBase, "x1"), term(dossier.FieldLabel, "x2"), term(dossier.FieldRevision, "x"),
		})
	})
	for _, tt := range []struct {
		q    store.TermQuery
		want []string
	}{
		{store.TermQuery{Key: "x", Limit: 9}, []string{"label x", "revision x", "source x"}},
		{store.TermQuery{Key: "x", Limit: 9, Fields: []dossier.Field{dossier.FieldSource}}, []string{"source x"}},
		{store.TermQuery{Key: "x", Limit: 9, Fields: []dossier.Field{dossier.FieldSource, dossier.FieldLabel, dossier.FieldBase}}, []string{"label x", "source x"}},
		{store.TermQuery{Key: "x", Limit: 1, Fields: []dossier.Field{dossier.FieldSource, dossier.FieldLabel}}, []string{"label x"}},
		{store.TermQuery{Key: "x", Limit: 9, Prefix: true, Fields: []dossier.Field{dossier.FieldBase, dossier.FieldLabel}}, []string{"label x", "base x1", "label x2"}},
		{store.TermQuery{Key: "x", Limit: 9, Fields: []dossier.Field{dossier.FieldLayer}}, nil},
	} {
		var got []string
		for _, h := range read(t, s, func(r store.Reader) ([]store.TermHit, error) { return r.FindTerms(t.Context(), tt.q) }) {
			got = append(got, string(h.Field)+" "+h.Key)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("FindTerms %+v (-want +got):\n%s", tt.q, diff)
		}
	}
}

func longKeys(t *testing.T, s store.Store) {
	long := strings.Repeat("ü", 100_000)
	update(t, s, func(tx store.Tx) error {
		return tx.PutTerms(t.Context(), digest("a"), []store.Term{term(dossier.FieldLabel, long)})
	})
	got := read(t, s, func(r store.Reader) ([]store.TermHit, error) {
		return r.FindTerms(t.Context(), store.TermQuery{Key: store.Normal(long), Limit: 1})
	})
	if len(got) != 1 || got[0].Value != long {
		t.Errorf("a long value is not found whole by its key")
	}
	err := s.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutTerms(t.Context(), digest("a"), []store.Term{{Field: dossier.FieldLabel, Value: "x", Key: long}})
	})
	wantKind(t, err, dossier.KindLimit)
}
