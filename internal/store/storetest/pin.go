// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func pinCases() []testCase {
	return []testCase{
		{"a list replaces pins", listReplacesPins},
		{"what objects name is replaced", objectsReplacePins},
		{"listings keep the last whole one", listingsKeepLastWhole},
	}
}

func pinNamed(cluster, name, ref, owner string) dossier.Pin {
	return dossier.Pin{Cluster: cluster, Namespace: "ns", Kind: "ReplicaSet", Name: name, Owner: owner, Reference: ref}
}

func listReplacesPins(t *testing.T, s store.Store) {
	put := func(cluster string, replaced func(dossier.Pin) bool, pins ...dossier.Pin) {
		update(t, s, func(tx store.Tx) error { return tx.PutPins(t.Context(), cluster, pins, replaced) })
	}
	check := func(what string, want ...dossier.Pin) { checkPins(t, s, what, want) }
	none := func(dossier.Pin) bool { return false }
	a, b, c := pinNamed("one", "a", "x:1", ""), pinNamed("one", "b", "x:1", "Deployment/d"), pinNamed("one", "b", "x:2", "")
	other := pinNamed("two", "a", "x:1", "")
	put("two", nil, other)
	put("one", nil, a, b, b, pinNamed("", "a", "x:1", "")) // the last is a again
	check("first", a, b, other)
	put("one", none, c)
	check("a list that is not whole", a, b, c, other)
	b.Owner = "Deployment/e"
	put("one", func(p dossier.Pin) bool { return p.Name != "a" }, b)
	check("a list without some", a, b, other)
	put("one", nil, b)
	check("a whole list", b, other)
	put("one", nil)
	check("an empty list", other)
}

func checkPins(t *testing.T, s store.Store, what string, want []dossier.Pin) {
	t.Helper()
	got := read(t, s, func(r store.Reader) ([]dossier.Pin, error) { return r.Pins(t.Context()) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func objectsReplacePins(t *testing.T, s store.Store) {
	a, b, c := pinNamed("one", "a", "x:1", ""), pinNamed("one", "b", "x:1", ""), pinNamed("one", "c", "x:1", "")
	other := pinNamed("two", "a", "x:1", "")
	update(t, s, func(tx store.Tx) error {
		if err := tx.PutPins(t.Context(), "two", []dossier.Pin{other}, nil); err != nil {
			return err
		}
		return tx.PutPins(t.Context(), "one", []dossier.Pin{a, b, c}, nil)
	})
	moved, added := pinNamed("one", "b", "x:2", ""), pinNamed("one", "d", "x:1", "")
	update(t, s, func(tx store.Tx) error {
		return tx.PutObjectPins(t.Context(), "one", []dossier.Pin{a, b, added}, []dossier.Pin{moved, added})
	})
	checkPins(t, s, "one gone, one moved, one new", []dossier.Pin{moved, c, added, other})
}

func listingsKeepLastWhole(t *testing.T, s store.Store) {
	put := func(l store.Listing) {
		update(t, s, func(tx store.Tx) error { return tx.PutListing(t.Context(), l) })
	}
	put(store.Listing{Cluster: "one", Part: store.ListingPods, At: minute(3)})
	put(store.Listing{Cluster: "one", Part: store.ListingPods, At: minute(4), Problem: "no"})
	put(store.Listing{Cluster: "one", Part: store.ListingTemplates, At: minute(4), Problem: "never"})
	put(store.Listing{Cluster: "two", Part: store.ListingPods, At: minute(4), Problem: "no"})
	put(store.Listing{Cluster: "two", Part: store.ListingPods, At: minute(5), Scope: "namespace a"})
	put(store.Listing{Cluster: "two", Part: store.ListingPods, At: minute(1), Scope: "namespace b"}) // told late
	put(store.Listing{Part: store.ListingPods, Problem: "not reached"})
	update(t, s, func(tx store.Tx) error { return tx.ForgetListings(t.Context(), "") })
	want := []store.Listing{
		{Cluster: "one", Part: store.ListingPods, At: minute(3), Problem: "no"},
		{Cluster: "one", Part: store.ListingTemplates, At: time.Time{}, Problem: "never"},
		{Cluster: "two", Part: store.ListingPods, At: minute(5), Scope: "namespace b"},
	}
	got := read(t, s, func(r store.Reader) ([]store.Listing, error) { return r.Listings(t.Context()) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listings (-want +got):\n%s", diff)
	}
}
