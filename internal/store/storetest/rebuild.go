// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func rebuildCases() []testCase {
	return []testCase{
		{"subjects are listed", subjectsAreListed},
		{"chains are compared", chainsAreCompared},
		{"images and names are replaced", imagesAreReplaced},
		{"sets are replaced", setsAreReplaced},
	}
}

func recordKind(t *testing.T, s store.Store, subject string, kind dossier.FactKind, body string) dossier.Fact {
	t.Helper()
	var f dossier.Fact
	update(t, s, func(tx store.Tx) (err error) {
		f, _, err = tx.Record(t.Context(), dossier.Statement{Subject: digest(subject), Kind: kind, Source: "test", Body: []byte(body)})
		return err
	})
	return f
}

func subjectsAreListed(t *testing.T, s store.Store) {
	for _, subject := range []string{"a", "b", "b", "c"} {
		recordKind(t, s, subject, "x", subject)
	}
	update(t, s, func(tx store.Tx) error {
		if err := tx.PutImage(t.Context(), dossier.Image{Digest: digest("d"), Kind: dossier.ImageManifest}, nil); err != nil {
			return err
		}
		if _, err := tx.PutName(t.Context(), digest("e"), "r.example/e", minute(1)); err != nil {
			return err
		}
		return tx.PutTerms(t.Context(), digest("f"), []store.Term{{Field: dossier.FieldLabel, Value: "x"}})
	})
	want := []dossier.Digest{digest("a"), digest("b"), digest("c"), digest("d"), digest("e"), digest("f")}
	slices.Sort(want)
	var got []dossier.Digest
	for after := dossier.Digest(""); ; after = got[len(got)-1] {
		page := read(t, s, func(r store.Reader) ([]dossier.Digest, error) { return r.Subjects(t.Context(), after, 4) })
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Subjects (-want +got):\n%s", diff)
	}
}

func chainsAreCompared(t *testing.T, s store.Store) {
	f := recordKind(t, s, "a", "x", "1")
	body, err := json.Marshal(dossier.RetractionBody{Fact: f.ID, Reason: "a test"})
	if err != nil {
		t.Fatal(err)
	}
	recordKind(t, s, "a", dossier.FactRetraction, string(body))
	chained := func() bool {
		return read(t, s, func(r store.Reader) (bool, error) { return r.Chained(t.Context(), digest("a")) })
	}
	if !chained() {
		t.Error("of a chain that nobody damaged it says that it is not whole")
	}
	update(t, s, func(tx store.Tx) error { return tx.MendChain(t.Context(), digest("a")) })
	if !chained() {
		t.Error("after it was made again a chain is not whole")
	}
	update(t, s, func(tx store.Tx) error { return tx.MendChain(t.Context(), digest("unknown")) })
	if got := recordKind(t, s, "a", "x", "2"); got.Seq != 3 {
		t.Errorf("the next fact has number %d, want 3", got.Seq)
	}
	if got := recordKind(t, s, "unknown", "x", "2"); got.Seq != 1 {
		t.Errorf("the first fact has number %d, want 1", got.Seq)
	}
}

func imagesAreReplaced(t *testing.T, s store.Store) {
	d := digest("a")
	update(t, s, func(tx store.Tx) error {
		edge := dossier.Edge{Parent: d, Child: digest("c"), Role: dossier.RoleConfig}
		if err := tx.PutImage(t.Context(), dossier.Image{Digest: d, Kind: dossier.ImageManifest}, []dossier.Edge{edge}); err != nil {
			return err
		}
		if err := tx.PutImageContents(t.Context(), store.ImageContents{Manifest: d, Serial: 1, At: minute(1)}); err != nil {
			return err
		}
		if _, err := tx.PutName(t.Context(), d, "r.example/old", minute(1)); err != nil {
			return err
		}
		if err := tx.PutTerms(t.Context(), d, []store.Term{{Field: dossier.FieldLabel, Value: "B"}, {Field: dossier.FieldLabel, Value: "a"}}); err != nil {
			return err
		}
		if err := tx.DropImage(t.Context(), d); err != nil {
			return err
		}
		return tx.ReplaceNames(t.Context(), d, []store.Name{{Name: "r.example/new", FirstSeen: minute(2)}})
	})
	type kept struct {
		Images   int
		Edges    int
		Contents int
		Names    []store.Name
		Terms    []store.Term
	}
	got := read(t, s, func(r store.Reader) (k kept, err error) {
		images, err := r.Images(t.Context(), []dossier.Digest{d})
		if err != nil {
			return k, err
		}
		edges, err := r.Edges(t.Context(), []dossier.Digest{d})
		if err != nil {
			return k, err
		}
		contents, err := r.ImageContents(t.Context(), []dossier.Digest{d})
		if err != nil {
			return k, err
		}
		names, err := r.Names(t.Context(), []dossier.Digest{d})
		if err != nil {
			return k, err
		}
		k = kept{Images: len(images), Edges: len(edges), Contents: len(contents), Names: names[d]}
		k.Terms, err = r.TermsOf(t.Context(), d)
		return k, err
	})
	want := kept{Names: []store.Name{{Name: "r.example/new", FirstSeen: minute(2)}},
		Terms: []store.Term{{Field: dossier.FieldLabel, Value: "a", Key: "a"}, {Field: dossier.FieldLabel, Value: "B", Key: "b"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is kept (-want +got):\n%s", diff)
	}
}

func setsAreReplaced(t *testing.T, s store.Store) {
	set := store.NewPackageSet(digest("layer"), []dossier.PackageAt{deb("bash", "1"), deb("libc", "2")})
	other := set
	other.Packages = []dossier.PackageAt{deb("evil", "6")}
	update(t, s, func(tx store.Tx) error { return tx.PutPackages(t.Context(), other, true) })
	update(t, s, func(tx store.Tx) error { return tx.ReplacePackages(t.Context(), set) })
	ids := store.PackageIDs(set.Packages)
	var all []string
	for _, p := range set.Packages {
		all = append(all, store.PackageTerms(p.Package)...)
	}
	packages := read(t, s, func(r store.Reader) ([]store.KeptPackage, error) {
		list, whole, err := r.KeptSet(t.Context(), set.Digest, all)
		if !whole {
			t.Error("the set is not whole")
		}
		return list, err
	})
	var want []store.KeptPackage
	for i, p := range set.Packages {
		terms := store.PackageTerms(p.Package)
		slices.Sort(terms)
		want = append(want, store.KeptPackage{ID: ids[i], Own: ids[i], Path: p.Path, Terms: terms, Name: p.Name, Ecosystem: p.Ecosystem})
	}
	slices.SortFunc(packages, func(a, b store.KeptPackage) int { return slices.Index(ids, a.ID) - slices.Index(ids, b.ID) })
	if diff := cmp.Diff(want, packages); diff != "" {
		t.Errorf("the set (-want +got):\n%s", diff)
	}
}
