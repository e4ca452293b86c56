// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func placeCases() []testCase {
	return []testCase{
		{"clusters", clusters},
		{"open and as of a time", placesAsOf},
		{"selected", placesSelected},
		{"related", placesRelated},
		{"many keys at once", manyKeys},
		{"compared", placesCompared},
		{"refuses places of others", refusesForeignPlaces},
		{"many, in order", manyPlaces},
		{"many writers of a key", manyWritersOfPlaces},
		{"first run", firstRun},
	}
}

// place returns a place in a pod of cluster, running digest(d) when d is not
// empty.
func place(cluster, pod, container, d string) dossier.Place {
	p := dossier.Place{
		Workload:  dossier.Workload{Cluster: cluster, Namespace: "ns", Kind: "Deployment", Name: "app"},
		Pod:       pod,
		PodUID:    "uid of " + pod,
		Container: container, Type: dossier.Container, Node: "node", Platform: "linux/amd64",
		Requested: "example.com/x:v1", PullPolicy: "Always", Secrets: []string{"s1", "s2"}, Labels: "k=v", Source: "f.yaml:3",
	}
	if d != "" {
		p.Digest = digest(d)
		p.ImageID = "example.com/x@" + string(p.Digest)
	}
	return p
}

// putPlaces makes places the open ones of a pod and checks what is reported.
func putPlaces(t *testing.T, s store.Store, cluster, pod string, at int, want bool, places ...dossier.Place) {
	t.Helper()
	key := place(cluster, pod, "", "").Key()
	got := written(t, s, func(tx store.Tx) (store.PlaceChanges, error) {
		return tx.PutPlaces(t.Context(), cluster, map[string][]dossier.Place{key: places}, minute(at))
	})
	if (got.Keys == 1) != want || !want && len(got.Runs) > 0 {
		t.Errorf("PutPlaces of %s at %d reports %+v, want a change: %v", pod, at, got, want)
	}
}

// keyed gives places by their keys.
func keyed(places ...dossier.Place) map[string][]dossier.Place {
	m := map[string][]dossier.Place{}
	for _, p := range places {
		m[p.Key()] = append(m[p.Key()], p)
	}
	return m
}

// places returns the places that q selects.
func places(t *testing.T, s store.Store, q store.PlaceQuery) []dossier.Place {
	t.Helper()
	return read(t, s, func(r store.Reader) ([]dossier.Place, error) { return collect(r.Places(t.Context(), q)) })
}

func clusters(t *testing.T, s store.Store) {
	for _, c := range []dossier.Cluster{{ID: "1", Name: "old"}, {ID: "2", Name: "beta"}, {ID: "3", Name: "Zeta"}, {ID: "1", Name: "new"}} {
		update(t, s, func(tx store.Tx) error { return tx.PutCluster(t.Context(), c) })
	}
	got := read(t, s, func(r store.Reader) ([]dossier.Cluster, error) { return r.Clusters(t.Context()) })
	want := []dossier.Cluster{{ID: "3", Name: "Zeta"}, {ID: "2", Name: "beta"}, {ID: "1", Name: "new"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Clusters (-want +got):\n%s", diff)
	}
}

func placesAsOf(t *testing.T, s store.Store) {
	main, pulling, side := place("c", "p", "main", "a"), place("c", "p", "side", ""), place("c", "p", "side", "b")
	putPlaces(t, s, "c", "p", 10, true, main, pulling)
	putPlaces(t, s, "c", "p", 11, false, pulling, main, main) // order and doubles make no difference
	putPlaces(t, s, "c", "p", 12, true, main, side)           // the side container runs
	putPlaces(t, s, "c", "p", 20, true)
	putPlaces(t, s, "c", "p", 21, false)
	putPlaces(t, s, "c", "p", 30, true, main)
	putPlaces(t, s, "c", "p", 25, true) // told late: ends without having been
	tests := []struct {
		at   time.Time
		want []dossier.Place
	}{
		{minute(9), nil},
		{minute(10), []dossier.Place{main, pulling}},
		{minute(12).Add(-time.Microsecond), []dossier.Place{main, pulling}},
		{minute(12), []dossier.Place{main, side}},
		{minute(20), nil},
		{minute(27), nil},
		{minute(30), nil},
		{time.Time{}, nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, places(t, s, store.PlaceQuery{At: tt.at})); diff != "" {
			t.Errorf("Places at %v (-want +got):\n%s", tt.at, diff)
		}
	}
	putPlaces(t, s, "c", "p", 40, true, side)
	if diff := cmp.Diff([]dossier.Place{side}, places(t, s, store.PlaceQuery{})); diff != "" {
		t.Errorf("Places now (-want +got):\n%s", diff)
	}
}

func placesSelected(t *testing.T, s store.Store) {
	a, b, c := place("c1", "a", "main", "x"), place("c1", "b", "main", "y"), place("c2", "a", "main", "x")
	b.Namespace, b.Requested = "other", "example.com/y"
	template := dossier.Place{Workload: a.Workload, Container: "main", Type: dossier.InitContainer, Requested: "not a reference!"}
	for _, p := range []dossier.Place{a, b, c, template} {
		update(t, s, func(tx store.Tx) error {
			_, err := tx.PutPlaces(t.Context(), p.Cluster, keyed(p), minute(10))
			return err
		})
	}
	tests := []struct {
		name string
		q    store.PlaceQuery
		want []dossier.Place
	}{
		{"all", store.PlaceQuery{}, []dossier.Place{a, b, template, c}},
		{"a cluster", store.PlaceQuery{Clusters: []string{"c2", "none"}}, []dossier.Place{c}},
		{"a namespace", store.PlaceQuery{Namespaces: []string{"other"}}, []dossier.Place{b}},
		{"namespaces", store.PlaceQuery{Namespaces: []string{"other", "ns"}}, []dossier.Place{a, b, template, c}},
		{"a key", store.PlaceQuery{Key: a.Key()}, []dossier.Place{a, c}},
		{"a key of a cluster", store.PlaceQuery{Key: a.Key(), Clusters: []string{"c1"}}, []dossier.Place{a}},
		{"digests", store.PlaceQuery{Digests: []dossier.Digest{digest("x"), digest("none")}}, []dossier.Place{a, c}},
		{"asked", store.PlaceQuery{Asked: []string{"example.com/y:latest"}}, []dossier.Place{b}},
		{"digest and cluster at a time", store.PlaceQuery{Digests: []dossier.Digest{digest("x")}, Clusters: []string{"c2"}, At: minute(10)}, []dossier.Place{c}},
		{"nothing", store.PlaceQuery{Namespaces: []string{"other"}, Digests: []dossier.Digest{digest("x")}}, nil},
		{"no pattern", store.PlaceQuery{Namespaces: []string{`"ns`, `n%`, `n\`, `ü`}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, places(t, s, tt.q)); diff != "" {
				t.Errorf("Places (-want +got):\n%s", diff)
			}
		})
	}
}

// manyKeys changes some of the pods that it names, in one call.
func manyKeys(t *testing.T, s store.Store) {
	const pods = 200
	var all []dossier.Place
	for i := range pods {
		all = append(all, place("c", fmt.Sprintf("p%03d", i), "main", fmt.Sprint(i%10)), place("c", fmt.Sprintf("p%03d", i), "side", ""))
	}
	put := func(places map[string][]dossier.Place, at int) store.PlaceChanges {
		t.Helper()
		return written(t, s, func(tx store.Tx) (store.PlaceChanges, error) {
			return tx.PutPlaces(t.Context(), "c", places, minute(at))
		})
	}
	if got := put(keyed(all...), 1); got.Keys != pods || len(got.Runs) != 10 {
		t.Errorf("PutPlaces of %d pods reports %d keys and %d runs", pods, got.Keys, len(got.Runs))
	}
	next := keyed(all[:20]...)
	next[all[0].Key()] = nil                                           // a run has one pod less
	next[all[2].Key()] = []dossier.Place{all[2]}                       // the container without a digest is gone
	next[all[4].Key()] = []dossier.Place{all[4], all[5], all[4]}       // said twice
	next[all[6].Key()] = []dossier.Place{place("c", "p003", "x", "y")} // another container, another run
	next["pod/ns/none/uid"] = nil                                      // was never there
	got := put(next, 2)
	want := []dossier.Run{runOf(all[0]), runOf(all[6]), runOf(next[all[6].Key()][0])}
	sort := func(a, b dossier.Run) int {
		return strings.Compare(a.Source()+string(a.Digest), b.Source()+string(b.Digest))
	}
	slices.SortFunc(got.Runs, sort)
	slices.SortFunc(want, sort)
	if diff := cmp.Diff(store.PlaceChanges{Keys: 3, Runs: want}, got); diff != "" {
		t.Errorf("PutPlaces again (-want +got):\n%s", diff)
	}
	left := slices.Concat([]dossier.Place{all[2], all[4], all[5], next[all[6].Key()][0]}, all[8:])
	if diff := cmp.Diff(left, places(t, s, store.PlaceQuery{})); diff != "" {
		t.Errorf("Places (-want +got):\n%s", diff)
	}
	if got := put(next, 3); got.Keys != 0 || len(got.Runs) != 0 {
		t.Errorf("PutPlaces of what is there reports %+v", got)
	}
}

func placesCompared(t *testing.T, s store.Store) {
	same, more, less, other := place("c", "same", "main", "a"), place("c", "more", "main", "a"), place("c", "less", "main", "a"), place("c", "other", "main", "a")
	side := place("c", "more", "side", "b")
	twice := place("c", "less", "side", "b")
	away := place("c", "away", "main", "a")
	away.Namespace = "away"
	for _, list := range [][]dossier.Place{{same}, {more}, {less, twice}, {other}, {away}} {
		update(t, s, func(tx store.Tx) error {
			_, err := tx.PutPlaces(t.Context(), "c", keyed(list...), minute(1))
			return err
		})
	}
	putPlaces(t, s, "c", "ended", 1, true, place("c", "ended", "main", "a"))
	putPlaces(t, s, "c", "ended", 2, true)
	changed := other
	changed.Node = "elsewhere"
	given := keyed(same, same, more, side, less, changed, place("c", "new", "main", "a"), place("c", "ended", "main", "a"))
	given["pod/ns/never/uid"] = nil
	want := []string{less.Key(), more.Key(), other.Key(), place("c", "ended", "", "").Key(), place("c", "new", "", "").Key()}
	slices.Sort(want)
	for _, tt := range []struct {
		cluster    string
		namespaces []string
		want       []string
		others     []dossier.Place
	}{
		{"c", nil, want, []dossier.Place{away}},
		{"c", []string{"ns"}, want, nil},
		{"c", []string{"away"}, slices.Sorted(slices.Values(append(want, same.Key()))), []dossier.Place{away}},
	} {
		view(t, s, func(r store.Reader) error {
			different, others, err := r.ComparePlaces(t.Context(), tt.cluster, tt.namespaces, given)
			if diff := cmp.Diff(tt.want, different); diff != "" {
				t.Errorf("different in %v (-want +got):\n%s", tt.namespaces, diff)
			}
			if diff := cmp.Diff(tt.others, others); diff != "" {
				t.Errorf("others in %v (-want +got):\n%s", tt.namespaces, diff)
			}
			return err
		})
	}
}

func placesRelated(t *testing.T, s store.Store) {
	asks := func(pod, ref, d string) dossier.Place {
		p := place("c", pod, "main", d)
		p.Requested = ref
		return p
	}
	here, moved := asks("a-here", "example.com/x:1", "x"), asks("b-moved", "example.com/x:1", "y")
	template, alone := asks("c-template", "example.com/x:1", ""), asks("d-alone", "example.com/z:1", "z")
	odd, otherOdd := asks("e-odd", "not a reference!", "x"), asks("f-odd", "not a reference!", "z")
	for _, p := range []dossier.Place{here, moved, template, alone, odd, otherOdd} {
		putPlaces(t, s, "c", p.Pod, 10, true, p)
	}
	gone := asks("g-gone", "example.com/z:1", "x")
	putPlaces(t, s, "c", gone.Pod, 5, true, gone)
	putPlaces(t, s, "c", gone.Pod, 8, true)
	x := []dossier.Digest{digest("x")}
	for _, tt := range []struct {
		name string
		q    store.PlaceQuery
		want []dossier.Place
	}{
		{"a digest", store.PlaceQuery{Digests: x}, []dossier.Place{here, moved, template, odd}},
		{"a digest and a reference", store.PlaceQuery{Digests: x, Asked: []string{"example.com/z:1"}}, []dossier.Place{here, moved, template, alone, odd}},
		{"a reference", store.PlaceQuery{Asked: []string{"example.com/z:1"}}, []dossier.Place{alone}},
		{"a digest at a time", store.PlaceQuery{Digests: x, At: minute(6)}, []dossier.Place{gone}},
		{"in another cluster", store.PlaceQuery{Digests: x, Clusters: []string{"other"}}, nil},
		{"nothing", store.PlaceQuery{}, nil},
	} {
		tt.q.Related = true
		if diff := cmp.Diff(tt.want, places(t, s, tt.q)); diff != "" {
			t.Errorf("Places related to %s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func refusesForeignPlaces(t *testing.T, s store.Store) {
	p := place("c", "p", "main", "a")
	for cluster, key := range map[string]string{"c": "pod/ns/other/uid", "other": p.Key()} {
		err := s.Update(t.Context(), func(tx store.Tx) error {
			_, err := tx.PutPlaces(t.Context(), cluster, map[string][]dossier.Place{key: {p}}, minute(1))
			return err
		})
		wantKind(t, err, dossier.KindInvalid)
	}
	if got := places(t, s, store.PlaceQuery{}); len(got) != 0 {
		t.Errorf("%d places were kept", len(got))
	}
}

// manyPlaces has more than fit into what an implementation reads at a time.
func manyPlaces(t *testing.T, s store.Store) {
	const pods = 2100
	var want []dossier.Place
	for i := range pods {
		pod := fmt.Sprintf("pod-%05d", i)
		want = append(want, place("c", pod, "z", "a"), place("c", pod, "a", "a"))
	}
	update(t, s, func(tx store.Tx) error {
		for _, i := range slices.Backward(slices.Collect(slices.Chunk(want, 2))) {
			if _, err := tx.PutPlaces(t.Context(), "c", keyed(i...), minute(1)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, at := range []time.Time{{}, minute(1)} {
		if diff := cmp.Diff(want, places(t, s, store.PlaceQuery{At: at})); diff != "" {
			t.Errorf("Places (-want +got):\n%s", diff)
		}
	}
	view(t, s, func(r store.Reader) error {
		for _, err := range r.Places(t.Context(), store.PlaceQuery{}) {
			return err // to stop early is fine
		}
		return nil
	})
}

func manyWritersOfPlaces(t *testing.T, s store.Store) {
	const writers = 8
	together(t, writers, func(w int) error {
		d := fmt.Sprint("writer ", w)
		wanted := []dossier.Place{place("c", "p", "main", d), place("c", "p", "side", d)}
		for step := range 5 {
			if err := s.Update(t.Context(), func(tx store.Tx) error {
				_, err := tx.PutPlaces(t.Context(), "c", keyed(wanted...), minute(step))
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
	got := places(t, s, store.PlaceQuery{})
	if len(got) != 2 || got[0].Digest != got[1].Digest {
		t.Errorf("open places are not those of one writer: %v", got)
	}
}

func firstRun(t *testing.T, s store.Store) {
	putPlaces(t, s, "c", "p1", 20, true, place("c", "p1", "main", "a"))
	putPlaces(t, s, "c", "p2", 10, true, place("c", "p2", "main", "a"), place("c", "p2", "side", "b"))
	putPlaces(t, s, "c", "p2", 30, true)
	template := dossier.Place{Workload: dossier.Workload{Cluster: "c", Namespace: "ns", Kind: "Job", Name: "j"}, Digest: digest("template")}
	update(t, s, func(tx store.Tx) error {
		_, err := tx.PutPlaces(t.Context(), "c", keyed(template), minute(1))
		return err
	})
	got := read(t, s, func(r store.Reader) (map[dossier.Digest]time.Time, error) {
		return r.FirstRun(t.Context(), []dossier.Digest{digest("a"), digest("b"), digest("template"), digest("none")})
	})
	if diff := cmp.Diff(map[dossier.Digest]time.Time{digest("a"): minute(10), digest("b"): minute(10)}, got); diff != "" {
		t.Errorf("FirstRun (-want +got):\n%s", diff)
	}
}
