// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/testimage"
)

// listings returns what is kept of lists.
func (w *world) listings() []store.Listing {
	w.t.Helper()
	var list []store.Listing
	w.view(func(r store.Reader) (err error) {
		list, err = r.Listings(w.t.Context())
		return err
	})
	return list
}

// TestListings checks what is kept of lists of what runs.
func TestListings(t *testing.T) {
	w := newWorld(t, func(*ingest.Config) {}, testimage.RegistryOptions{})
	c := dossier.Cluster{ID: "uid", Name: "prod"}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	denied := cluster.Problem{Where: "a", Err: errors.New("no right to list pods in a")}
	owners := cluster.Problem{Where: "replicasets", Err: errors.New("no right to list replicasets")}
	if err := w.ingest.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name     string
		snapshot cluster.Snapshot
		want     store.Listing
	}{
		{"all", cluster.Snapshot{Cluster: c, At: at}, store.Listing{At: at}},
		{"owners are unknown", cluster.Snapshot{Cluster: c, At: at.Add(time.Minute), Problems: []cluster.Problem{owners}}, store.Listing{At: at.Add(time.Minute)}},
		{"some namespaces, of which one is denied",
			cluster.Snapshot{Cluster: c, At: at.Add(time.Hour), Scope: cluster.Scope{Namespaces: []string{"a", "b"}}, Problems: []cluster.Problem{denied}},
			store.Listing{Scope: "namespaces a, b", At: at.Add(time.Minute), Problem: denied.Err.Error()}},
		{"some pods of them", cluster.Snapshot{Cluster: c, At: at.Add(2 * time.Hour), Scope: cluster.Scope{Namespaces: []string{"a"}, Selector: "x=y"}},
			store.Listing{Scope: "pods with x=y in namespaces a", At: at.Add(2 * time.Hour)}},
	}
	for _, tt := range steps {
		if err := w.ingest.Listed(t.Context(), tt.snapshot); err != nil {
			t.Fatal(err)
		}
		tt.want.Cluster, tt.want.Part = c.ID, store.ListingPods
		if diff := cmp.Diff([]store.Listing{tt.want}, w.listings()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if err := errors.Join(w.ingest.Await(t.Context()), w.ingest.AwaitNone(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := len(w.listings()); n != 1 {
		t.Errorf("there are %d listings, want that of the cluster alone", n)
	}
}

// TestNamingIsApplied checks that what objects name is kept with the time of the
// list, and that a list that is not whole takes nothing away of what it lacks.
func TestNamingIsApplied(t *testing.T) {
	w := newWorld(t, func(*ingest.Config) {}, testimage.RegistryOptions{})
	c := dossier.Cluster{ID: "uid", Name: "prod"}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	pin := func(kind, name, ref string) dossier.Pin {
		return dossier.Pin{Cluster: c.ID, Namespace: "a", Kind: kind, Name: name, Reference: ref}
	}
	one, two, job := pin("ReplicaSet", "one", "app:1"), pin("ReplicaSet", "two", "app:2"), pin("Job", "j", "job:1")
	apply := func(name string, n cluster.Naming, want ...dossier.Pin) {
		t.Helper()
		if err := w.ingest.ApplyNaming(t.Context(), c, nil, n); err != nil {
			t.Fatal(err)
		}
		var got []dossier.Pin
		w.view(func(r store.Reader) (err error) {
			got, err = r.Pins(t.Context())
			return err
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	apply("all", cluster.Naming{Kind: cluster.EventSync, Pins: []dossier.Pin{job, one}, At: at}, job, one)
	apply("an object comes", cluster.Naming{
		Kind: cluster.EventObjects, Pins: []dossier.Pin{two}, Objects: []cluster.Object{{Namespace: "a", Kind: "ReplicaSet", Name: "two"}},
	}, job, one, two)
	apply("an object goes", cluster.Naming{
		Kind: cluster.EventObjects, Objects: []cluster.Object{{Namespace: "a", Kind: "ReplicaSet", Name: "one"}},
	}, job, two)
	apply("jobs may not be listed", cluster.Naming{
		Kind: cluster.EventSync, Pins: []dossier.Pin{one}, At: at.Add(time.Hour),
		Problems: []cluster.Problem{{Where: "Job", Err: errors.New("no right to list jobs")}, {Where: "CronJob", Err: errors.New("no right")}},
		Unread:   func(p dossier.Pin) bool { return p.Kind == "Job" },
	}, job, one)
	want := []store.Listing{{Cluster: c.ID, Part: store.ListingTemplates, At: at, Problem: "no right to list jobs; CronJob too"}}
	if diff := cmp.Diff(want, w.listings()); diff != "" {
		t.Errorf("listings (-want +got):\n%s", diff)
	}
}
