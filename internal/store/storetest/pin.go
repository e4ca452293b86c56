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
		{"listings keep the last whole one", listingsKeepLastWhole},
	}
}

func pinNamed(cluster, name, ref, owner string) dossier.Pin {
	return dossier.Pin{Cluster: cluster, Namespace: "ns", Kind: "ReplicaSet", Name: name, Owner: owner, Reference: ref}
}

func listReplacesPins(t *testing.T, s store.Store) {
	put := func(cluster string, whole bool, pins ...dossier.Pin) {
		update(t, s, func(tx store.Tx) error { return tx.PutPins(t.Context(), cluster, pins, whole) })
	}
	check := func(what string, want ...dossier.Pin) {
		t.Helper()
		got := read(t, s, func(r store.Reader) ([]dossier.Pin, error) { return r.Pins(t.Context()) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	a, b, c := pinNamed("one", "a", "x:1", ""), pinNamed("one", "b", "x:1", "Deployment/d"), pinNamed("one", "b", "x:2", "")
	other := pinNamed("two", "a", "x:1", "")
	put("two", true, other)
	put("one", true, a, b, b, pinNamed("", "a", "x:1", "")) // the last is a again
	check("first", a, b, other)
	put("one", false, c)
	check("a list that is not whole", a, b, c, other)
	b.Owner = "Deployment/e"
	put("one", true, b)
	check("a whole list", b, other)
	put("one", true)
	check("an empty list", other)
}

func listingsKeepLastWhole(t *testing.T, s store.Store) {
	put := func(l store.Listing) {
		update(t, s, func(tx store.Tx) error { return tx.PutListing(t.Context(), l) })
	}
	put(store.Listing{Cluster: "one", Part: store.ListingPods, At: minute(3)})
	put(store.Listing{Cluster: "one", Part: store.ListingPods, At: minute(4), Problem: "no"})
	put(store.Listing{Cluster: "one", Part: store.ListingTemplates, At: minute(4), Problem: "never"})
	put(store.Listing{Cluster: "two", Part: store.ListingPods, At: minute(4), Problem: "no"})
	put(store.Listing{Cluster: "two", Part: store.ListingPods, At: minute(5)})
	put(store.Listing{Cluster: "two", Part: store.ListingPods, At: minute(1)}) // told late
	put(store.Listing{Part: store.ListingPods, Problem: "not reached"})
	update(t, s, func(tx store.Tx) error { return tx.ForgetListings(t.Context(), "") })
	want := []store.Listing{
		{Cluster: "one", Part: store.ListingPods, At: minute(3), Problem: "no"},
		{Cluster: "one", Part: store.ListingTemplates, At: time.Time{}, Problem: "never"},
		{Cluster: "two", Part: store.ListingPods, At: minute(5)},
	}
	got := read(t, s, func(r store.Reader) ([]store.Listing, error) { return r.Listings(t.Context()) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listings (-want +got):\n%s", diff)
	}
}
