// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func notifyCases() []testCase {
	return []testCase{
		{"what was told is replaced", toldIsReplaced},
		{"deliveries wait, fail and go", deliveriesWait},
	}
}

func toldIsReplaced(t *testing.T, s store.Store) {
	a, b := dossier.FromBytes([]byte("a")), dossier.FromBytes([]byte("b"))
	told := func(namespace, name string, d dossier.Digest, at time.Time, body string) store.Told {
		return store.Told{Workload: dossier.Workload{Cluster: "c", Namespace: namespace, Kind: "Deployment", Name: name}, Digest: d, At: at, Body: []byte(body)}
	}
	put := func(list ...store.Told) {
		update(t, s, func(tx store.Tx) error {
			for _, one := range list {
				if err := tx.PutTold(t.Context(), one); err != nil {
					return err
				}
			}
			return nil
		})
	}
	check := func(what string, q store.ToldQuery, want ...store.Told) {
		t.Helper()
		got := read(t, s, func(r store.Reader) ([]store.Told, error) { return r.Told(t.Context(), q) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	one, two, other := told("web", "one", a, minute(1), "1"), told("web", "two", a, minute(1), "\x002"), told("db", "one", b, minute(1), "3")
	put(one, two, other)
	check("a namespace", store.ToldQuery{Cluster: "c", Namespace: "web"}, one, two)
	check("a digest", store.ToldQuery{Digests: []dossier.Digest{b, dossier.FromBytes(nil)}}, other)
	check("another cluster", store.ToldQuery{Cluster: "d", Namespace: "web"})
	later := told("web", "one", a, minute(5), "changed")
	put(later)
	later.At = one.At
	check("replaced", store.ToldQuery{Cluster: "c", Namespace: "web"}, later, two)
	spaces := read(t, s, func(r store.Reader) ([]dossier.Workload, error) { return r.ToldNamespaces(t.Context()) })
	if diff := cmp.Diff([]dossier.Workload{{Cluster: "c", Namespace: "db"}, {Cluster: "c", Namespace: "web"}}, spaces); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	update(t, s, func(tx store.Tx) error {
		if err := tx.DropTold(t.Context(), two.Workload, b); err != nil { // another image
			return err
		}
		return tx.DropTold(t.Context(), one.Workload, a)
	})
	check("dropped", store.ToldQuery{Cluster: "c", Namespace: "web"}, two)
	for _, on := range []bool{false, true, true, false, false} {
		update(t, s, func(tx store.Tx) error { return tx.PutTelling(t.Context(), on) })
		if got := read(t, s, func(r store.Reader) (bool, error) { return r.Telling(t.Context()) }); got != on {
			t.Errorf("Telling is %v, want %v", got, on)
		}
	}
}

func deliveriesWait(t *testing.T, s store.Store) {
	add := func(target, event string, at time.Time) {
		update(t, s, func(tx store.Tx) error {
			return tx.AddDelivery(t.Context(), store.Delivery{Target: target, Event: event, Body: []byte("{\x00}"), At: at, RunAt: at, Attempts: 7, Parked: true})
		})
	}
	waiting := func(target string, at time.Time, limit int) []store.Delivery {
		t.Helper()
		return read(t, s, func(r store.Reader) ([]store.Delivery, error) { return r.Deliveries(t.Context(), target, at, limit) })
	}
	next := func() time.Time {
		t.Helper()
		return read(t, s, func(r store.Reader) (time.Time, error) { return r.NextDelivery(t.Context(), "one") })
	}
	if !next().IsZero() {
		t.Errorf("the next delivery of none is at %v", next())
	}
	add("one", "x", minute(1))
	add("one", "y", minute(2))
	add("two", "x", minute(1))
	add("one", "x", minute(3)) // the same once more
	got := waiting("one", minute(2), 10)
	want := []store.Delivery{
		{Target: "one", Event: "x", Body: []byte("{\x00}"), At: minute(1), RunAt: minute(1)},
		{Target: "one", Event: "y", Body: []byte("{\x00}"), At: minute(2), RunAt: minute(2)},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(store.Delivery{}, "ID")); diff != "" {
		t.Fatalf("deliveries (-want +got):\n%s", diff)
	}
	if got[0].ID >= got[1].ID || len(waiting("one", minute(1), 10)) != 1 || len(waiting("one", minute(9), 1)) != 1 {
		t.Errorf("want them by ID, as far as they are due, and no more than asked for: %+v", got)
	}
	failed := got[0]
	failed.RunAt, failed.Attempts, failed.LastError = minute(5), 1, "refused"
	update(t, s, func(tx store.Tx) error { return tx.PutDelivery(t.Context(), failed) })
	if list := waiting("one", minute(5), 10); len(list) != 2 || cmp.Diff(failed, list[0]) != "" {
		t.Errorf("after a failure: %+v", list)
	}
	if !next().Equal(minute(2)) {
		t.Errorf("the next is at %v, want %v", next(), minute(2))
	}
	failed.Parked = true
	update(t, s, func(tx store.Tx) error {
		if err := tx.DropDelivery(t.Context(), got[1].ID); err != nil {
			return err
		}
		return tx.PutDelivery(t.Context(), failed)
	})
	if list := waiting("one", minute(9), 10); len(list) != 0 || !next().IsZero() {
		t.Errorf("one was parked and one arrived, and there are %+v", list)
	}
	counts := read(t, s, func(r store.Reader) ([]store.DeliveryCount, error) { return r.CountDeliveries(t.Context()) })
	if diff := cmp.Diff([]store.DeliveryCount{{Target: "one", Parked: true, N: 1, Oldest: minute(1)}, {Target: "two", N: 1, Oldest: minute(1)}}, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	drop := func(before time.Time) int {
		return written(t, s, func(tx store.Tx) (int, error) { return tx.DropParked(t.Context(), before) })
	}
	if a, b := drop(minute(1)), drop(minute(2)); a != 0 || b != 1 {
		t.Errorf("dropped %d and %d, want none and then the one that was parked", a, b)
	}
}
