// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func runCases() []testCase {
	return []testCase{
		{"begins, ends and begins again", runBeginsAndEnds},
		{"many at once", manyRuns},
		{"many writers of a run", manyWritersOfRun},
		{"a random history", randomHistory},
	}
}

// runOf returns the run of a place that has one.
func runOf(p dossier.Place) dossier.Run {
	r, ok := p.RunOf()
	if !ok {
		panic("the place is part of no run")
	}
	return r
}

// syncRuns checks which runs change.
func syncRuns(t *testing.T, s store.Store, at int, runs []dossier.Run, want ...store.RunChange) {
	t.Helper()
	got := written(t, s, func(tx store.Tx) ([]store.RunChange, error) { return tx.SyncRuns(t.Context(), runs, minute(at)) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("SyncRuns at %d (-want +got):\n%s", at, diff)
	}
}

func runBeginsAndEnds(t *testing.T, s store.Store) {
	p1, p2, side := place("c", "p1", "main", "a"), place("c", "p2", "main", "a"), place("c", "p1", "side", "b")
	run, sideRun := runOf(p1), runOf(side)
	begun, ended := store.RunChange{Run: run, Runs: true}, store.RunChange{Run: run}
	both := []dossier.Run{run, sideRun, run}

	syncRuns(t, s, 1, both) // nothing runs, nothing changes
	putPlaces(t, s, "c", "p1", 10, true, p1, side)
	syncRuns(t, s, 10, nil)
	syncRuns(t, s, 10, both, begun, store.RunChange{Run: sideRun, Runs: true})
	syncRuns(t, s, 11, both)
	putPlaces(t, s, "c", "p2", 12, true, p2)
	syncRuns(t, s, 12, both)
	putPlaces(t, s, "c", "p1", 13, true)
	syncRuns(t, s, 13, both, store.RunChange{Run: sideRun}) // p2 still runs the other
	putPlaces(t, s, "c", "p2", 14, true)
	syncRuns(t, s, 14, both, ended)
	syncRuns(t, s, 15, both)
	putPlaces(t, s, "c", "p1", 20, true, p1)
	syncRuns(t, s, 20, both, begun)

	elsewhere := run
	elsewhere.Platform = "linux/arm64"
	syncRuns(t, s, 21, []dossier.Run{elsewhere})
}

func manyRuns(t *testing.T, s store.Store) {
	const n = 300
	var runs []dossier.Run
	var begun, ended []store.RunChange
	update(t, s, func(tx store.Tx) error {
		for i := range n {
			p := place("c", fmt.Sprintf("p%d", i), "main", fmt.Sprint(i))
			if _, err := tx.PutPlaces(t.Context(), "c", keyed(p), minute(1)); err != nil {
				return err
			}
			runs = append(runs, runOf(p))
			begun, ended = append(begun, store.RunChange{Run: runs[i], Runs: true}), append(ended, store.RunChange{Run: runs[i]})
		}
		return nil
	})
	syncRuns(t, s, 1, runs, begun...)
	update(t, s, func(tx store.Tx) error {
		for i := range n {
			if _, err := tx.PutPlaces(t.Context(), "c", map[string][]dossier.Place{place("c", fmt.Sprintf("p%d", i), "", "").Key(): nil}, minute(2)); err != nil {
				return err
			}
		}
		return nil
	})
	syncRuns(t, s, 2, runs, ended...)
	syncRuns(t, s, 3, runs)
}

// manyWritersOfRun has pods of one run come and go at once: the run's interval
// must agree with the places whoever comes last.
func manyWritersOfRun(t *testing.T, s store.Store) {
	const writers = 8
	run := runOf(place("c", "p", "main", "a"))
	balance := make([]int, writers)
	together(t, writers, func(w int) error {
		p := place("c", fmt.Sprint("p", w), "main", "a")
		for step := range 6 {
			places := []dossier.Place{p}
			if step%2 == 1 {
				places = nil
			}
			var changes []store.RunChange
			if err := s.Update(t.Context(), func(tx store.Tx) (err error) {
				if _, err := tx.PutPlaces(t.Context(), "c", map[string][]dossier.Place{p.Key(): places}, minute(step)); err != nil {
					return err
				}
				changes, err = tx.SyncRuns(t.Context(), []dossier.Run{run}, minute(step))
				return err
			}); err != nil {
				return err
			}
			for _, c := range changes {
				if c.Runs {
					balance[w]++
				} else {
					balance[w]--
				}
			}
		}
		return nil
	})
	sum := 0
	for _, b := range balance {
		sum += b
	}
	if sum != 0 {
		t.Errorf("the run began %d times more than it ended", sum)
	}
	syncRuns(t, s, 100, []dossier.Run{run}) // agrees already
}

// randomHistory compares with a model: the places that each step left, and the
// runs that follow from them.
func randomHistory(t *testing.T, s store.Store) {
	const steps, pods = 150, 4
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	state := make([][]dossier.Place, pods)
	runs := map[dossier.Run]bool{}
	var history [][]dossier.Place
	for step := range steps {
		pod := random.IntN(pods)
		state[pod] = nil
		for _, container := range []string{"a", "b"} {
			if random.IntN(2) == 0 {
				d := []string{"", "x", "y"}[random.IntN(3)]
				state[pod] = append(state[pod], place("c", fmt.Sprint("p", pod), container, d))
			}
		}
		var all []dossier.Place
		now := map[dossier.Run]bool{}
		for _, places := range state {
			all = append(all, places...)
			for _, p := range places {
				if r, ok := p.RunOf(); ok {
					now[r] = true
				}
			}
		}
		history = append(history, all)
		var touched []dossier.Run
		var want []store.RunChange
		for _, container := range []string{"a", "b"} {
			for _, d := range []string{"x", "y"} {
				r := runOf(place("c", "p", container, d))
				touched = append(touched, r)
				if runs[r] != now[r] {
					want = append(want, store.RunChange{Run: r, Runs: now[r]})
				}
			}
		}
		runs = now
		update(t, s, func(tx store.Tx) error {
			_, err := tx.PutPlaces(t.Context(), "c", map[string][]dossier.Place{place("c", fmt.Sprint("p", pod), "", "").Key(): state[pod]}, minute(step))
			return err
		})
		syncRuns(t, s, step, touched, want...)
	}
	byKey := func(list []dossier.Place) map[string]int {
		set := map[string]int{}
		for _, p := range list {
			set[fmt.Sprint(p)]++
		}
		return set
	}
	for step, want := range history {
		if diff := cmp.Diff(byKey(want), byKey(places(t, s, store.PlaceQuery{At: minute(step)}))); diff != "" {
			t.Fatalf("Places as of step %d (-want +got):\n%s", step, diff)
		}
	}
}
