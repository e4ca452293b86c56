// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func jobCases() []testCase {
	return []testCase{
		{"from ready to done", jobFromReadyToDone},
		{"enqueued again", jobEnqueuedAgain},
		{"order and kinds", jobOrder},
		{"a lease runs out", leaseRunsOut},
		{"leases that ran out among ready jobs", expiredAmongReady},
		{"retry and park", retryAndPark},
		{"a job goes with its transaction", jobGoesWithTransaction},
		{"many enqueue one", manyEnqueueOne},
		{"many lease", manyLease},
		{"wait", waitForJobs},
	}
}

func enqueue(t testing.TB, s store.Store, want bool, job store.Job) {
	t.Helper()
	got := written(t, s, func(tx store.Tx) (bool, error) { return tx.Enqueue(t.Context(), job) })
	if got != want {
		t.Errorf("Enqueue of %s/%s reports %v, want %v", job.Kind, job.Key, got, want)
	}
}

func lease(t testing.TB, s store.Store, owner string, n, now int, kinds ...string) []store.Job {
	t.Helper()
	return written(t, s, func(tx store.Tx) ([]store.Job, error) {
		return tx.Lease(t.Context(), owner, kinds, n, minute(now), 10*time.Minute)
	})
}

func jobs(t testing.TB, s store.Store, kind string, keys ...string) []store.Job {
	t.Helper()
	return read(t, s, func(r store.Reader) ([]store.Job, error) { return r.Jobs(t.Context(), kind, keys, 100) })
}

// oneJob returns the only job of a kind.
func oneJob(t testing.TB, s store.Store, kind string) store.Job {
	t.Helper()
	list := jobs(t, s, kind)
	if len(list) != 1 {
		t.Fatalf("there are %d jobs of kind %s, want 1", len(list), kind)
	}
	return list[0]
}

func keysOf(list []store.Job) []string {
	keys := []string{}
	for _, j := range list {
		keys = append(keys, j.Key)
	}
	return keys
}

func jobFromReadyToDone(t *testing.T, s store.Store) {
	before := dossier.Instant(time.Now())
	enqueue(t, s, true, store.Job{Kind: "k", Key: "a", Payload: []byte("p\x00"), RunAt: minute(5)})
	want := store.Job{Kind: "k", Key: "a", Payload: []byte("p\x00"), State: store.JobReady, RunAt: minute(5)}
	check := func(what string, got store.Job) {
		t.Helper()
		if got.ID == 0 || got.CreatedAt.Before(before) || got.CreatedAt.After(time.Now()) {
			t.Errorf("%s: ID %d, CreatedAt %v", what, got.ID, got.CreatedAt)
		}
		got.ID, got.CreatedAt = 0, time.Time{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("enqueued", oneJob(t, s, "k"))
	wantKind(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.Finish(t.Context(), oneJob(t, s, "k").ID, "") }), dossier.KindConflict)
	if got := lease(t, s, "me", 5, 4, "k"); len(got) != 0 {
		t.Errorf("%d jobs were leased before their time", len(got))
	}
	want.State, want.Owner, want.LeasedUntil, want.Attempts = store.JobLeased, "me", minute(15), 1
	leased := lease(t, s, "me", 5, 5, "k")
	if len(leased) != 1 {
		t.Fatalf("%d jobs were leased, want 1", len(leased))
	}
	check("leased", leased[0])
	check("read", oneJob(t, s, "k"))
	id := leased[0].ID
	wantKind(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.Finish(t.Context(), id, "you") }), dossier.KindConflict)
	update(t, s, func(tx store.Tx) error { return tx.Finish(t.Context(), id, "me") })
	if got := jobs(t, s, "k"); len(got) != 0 {
		t.Errorf("%d jobs are left", len(got))
	}
	wantKind(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.Finish(t.Context(), id, "me") }), dossier.KindConflict)
	enqueue(t, s, true, store.Job{Kind: "k", Key: "a"})
	if got := oneJob(t, s, "k"); got.ID == id || got.RunAt.Before(before) || got.RunAt.After(time.Now()) {
		t.Errorf("the new job has ID %d, as the old one; it runs at %v, want now", got.ID, got.RunAt)
	}
}

func jobEnqueuedAgain(t *testing.T, s store.Store) {
	enqueue(t, s, true, store.Job{Kind: "k", Key: "a", Payload: []byte("1"), RunAt: minute(10)})
	enqueue(t, s, true, store.Job{Kind: "other", Key: "a", RunAt: minute(10)})
	enqueue(t, s, false, store.Job{Kind: "k", Key: "a", Payload: []byte("2"), RunAt: minute(20)})
	if got := oneJob(t, s, "k"); !got.RunAt.Equal(minute(10)) || string(got.Payload) != "1" {
		t.Errorf("later: runs at %v with payload %q, want as it was", got.RunAt, got.Payload)
	}
	enqueue(t, s, false, store.Job{Kind: "k", Key: "a", Payload: []byte("2"), RunAt: minute(5)})
	if got := oneJob(t, s, "k"); !got.RunAt.Equal(minute(5)) || string(got.Payload) != "1" {
		t.Errorf("earlier: runs at %v with payload %q, want the earlier time and the old payload", got.RunAt, got.Payload)
	}
	id := lease(t, s, "me", 1, 30, "k")[0].ID
	enqueue(t, s, false, store.Job{Kind: "k", Key: "a", Payload: []byte("2"), RunAt: minute(4)})
	if got := oneJob(t, s, "k"); got.State != store.JobLeased || got.Owner != "me" || !got.RunAt.Equal(minute(4)) {
		t.Errorf("while leased: %+v, want it leased as before", got)
	}
	update(t, s, func(tx store.Tx) error { return tx.Park(t.Context(), id, "me", "poison") })
	enqueue(t, s, false, store.Job{Kind: "k", Key: "a", Payload: []byte("3"), RunAt: minute(50)})
	got := oneJob(t, s, "k")
	if got.State != store.JobReady || got.Attempts != 0 || string(got.Payload) != "3" || !got.RunAt.Equal(minute(4)) {
		t.Errorf("parked and enqueued anew: %+v, want ready, no attempts, the new payload, the earlier time", got)
	}
}

func jobOrder(t *testing.T, s store.Store) {
	for i, key := range []string{"e", "b", "d", "a", "c"} {
		enqueue(t, s, true, store.Job{Kind: "k", Key: key, RunAt: minute(map[string]int{"a": 1, "b": 2, "c": 3, "d": 3, "e": 5}[key])})
		enqueue(t, s, true, store.Job{Kind: fmt.Sprint("other", i%2), Key: key, RunAt: minute(0)})
	}
	for _, tt := range []struct {
		n, now int
		kinds  []string
		want   []string
	}{
		{0, 9, []string{"k"}, []string{}},
		{5, 9, nil, []string{}},
		{5, 9, []string{"none"}, []string{}},
		{2, 9, []string{"k"}, []string{"a", "b"}},
		{5, 4, []string{"k"}, []string{"d", "c"}}, // equal times: the older first
		{3, 4, []string{"k", "other0", "other1"}, []string{"e", "b", "d"}},
		{9, 4, []string{"k", "other1", "other0"}, []string{"a", "c"}},
		{9, 5, []string{"k"}, []string{"e"}},
	} {
		if diff := cmp.Diff(tt.want, keysOf(lease(t, s, "me", tt.n, tt.now, tt.kinds...))); diff != "" {
			t.Errorf("Lease of %d of %v at %d (-want +got):\n%s", tt.n, tt.kinds, tt.now, diff)
		}
	}
	if diff := cmp.Diff([]string{"b", "a"}, keysOf(jobs(t, s, "k", "a", "b", "none"))); diff != "" {
		t.Errorf("Jobs with keys (-want +got):\n%s", diff)
	}
	got := read(t, s, func(r store.Reader) ([]store.Job, error) { return r.Jobs(t.Context(), "k", nil, 2) })
	if diff := cmp.Diff([]string{"e", "b"}, keysOf(got)); diff != "" {
		t.Errorf("Jobs with limit (-want +got):\n%s", diff)
	}
}

func leaseRunsOut(t *testing.T, s store.Store) {
	enqueue(t, s, true, store.Job{Kind: "k", Key: "a", RunAt: minute(1)})
	enqueue(t, s, true, store.Job{Kind: "k", Key: "b", RunAt: minute(2)})
	first := lease(t, s, "me", 1, 5, "k") // until 15
	if diff := cmp.Diff([]string{"b"}, keysOf(lease(t, s, "you", 5, 14, "k"))); diff != "" {
		t.Errorf("leased before the first lease ran out (-want +got):\n%s", diff)
	}
	second := lease(t, s, "you", 5, 15, "k")
	if len(second) != 1 || second[0].Key != "a" || second[0].Owner != "you" || second[0].Attempts != 2 {
		t.Fatalf("after the lease ran out: %+v, want job a, the second attempt", second)
	}
	for name, f := range map[string]func(store.Tx) error{
		"finish": func(tx store.Tx) error { return tx.Finish(t.Context(), first[0].ID, "me") },
		"retry":  func(tx store.Tx) error { return tx.Retry(t.Context(), first[0].ID, "me", "late", minute(0)) },
		"park":   func(tx store.Tx) error { return tx.Park(t.Context(), first[0].ID, "me", "late") },
		"renew":  func(tx store.Tx) error { return tx.Renew(t.Context(), first[0].ID, "me", minute(60)) },
	} {
		t.Run(name, func(t *testing.T) { wantKind(t, s.Update(t.Context(), f), dossier.KindConflict) })
	}
	// A lease that is renewed runs out later, and counts no attempt.
	update(t, s, func(tx store.Tx) error { return tx.Renew(t.Context(), second[0].ID, "you", minute(40)) })
	if got := keysOf(lease(t, s, "they", 5, 39, "k")); !slices.Equal(got, []string{"b"}) {
		t.Errorf("leased before the renewed lease ran out: %v, want b", got)
	}
	if got := jobs(t, s, "k", "a"); len(got) != 1 || got[0].Attempts != 2 || got[0].Owner != "you" {
		t.Errorf("renewed job %+v, want it yours, in its second attempt", got)
	}
	update(t, s, func(tx store.Tx) error { return tx.Finish(t.Context(), second[0].ID, "you") })
}

// expiredAmongReady has a lease that ran out compete with jobs that are ready:
// RunAt decides.
func expiredAmongReady(t *testing.T, s store.Store) {
	for key, at := range map[string]int{"a": 1, "d": 4} {
		enqueue(t, s, true, store.Job{Kind: "k", Key: key, RunAt: minute(at)})
	}
	lease(t, s, "gone", 5, 5, "k") // until 15
	for key, at := range map[string]int{"b": 2, "c": 3} {
		enqueue(t, s, true, store.Job{Kind: "k", Key: key, RunAt: minute(at)})
	}
	for _, want := range [][]string{{"a"}, {"b", "c"}, {"d"}} {
		if diff := cmp.Diff(want, keysOf(lease(t, s, "me", len(want), 15, "k"))); diff != "" {
			t.Errorf("Lease (-want +got):\n%s", diff)
		}
	}
}

func retryAndPark(t *testing.T, s store.Store) {
	for _, key := range []string{"a", "b", "c"} {
		enqueue(t, s, true, store.Job{Kind: "k", Key: key, RunAt: minute(1)})
	}
	leased := lease(t, s, "me", 2, 1, "k")
	update(t, s, func(tx store.Tx) error {
		if err := tx.Retry(t.Context(), leased[0].ID, "me", "no luck", minute(7)); err != nil {
			return err
		}
		return tx.Park(t.Context(), leased[1].ID, "me", "poison")
	})
	got := jobs(t, s, "k", "a", "b")
	for i := range got {
		got[i].ID, got[i].CreatedAt = 0, time.Time{}
	}
	want := []store.Job{
		{Kind: "k", Key: "a", State: store.JobReady, RunAt: minute(7), Attempts: 1, LastError: "no luck"},
		{Kind: "k", Key: "b", State: store.JobParked, RunAt: minute(1), Attempts: 1, LastError: "poison"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Jobs (-want +got):\n%s", diff)
	}
	counts := read(t, s, func(r store.Reader) ([]store.JobCount, error) { return r.CountJobs(t.Context()) })
	wantCounts := []store.JobCount{{Kind: "k", State: store.JobParked, N: 1}, {Kind: "k", State: store.JobReady, N: 2}}
	if diff := cmp.Diff(wantCounts, counts); diff != "" {
		t.Errorf("CountJobs (-want +got):\n%s", diff)
	}
	wantKind(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.Finish(t.Context(), leased[0].ID, "me") }), dossier.KindConflict)
	if diff := cmp.Diff([]string{"c"}, keysOf(lease(t, s, "me", 5, 6, "k"))); diff != "" {
		t.Errorf("leased before the retry (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a"}, keysOf(lease(t, s, "me", 5, 7, "k"))); diff != "" {
		t.Errorf("leased at the retry (-want +got):\n%s", diff)
	}
	if got := lease(t, s, "me", 5, 10_000, "k"); len(got) != 2 {
		t.Errorf("%d jobs were leased, want the 2 whose leases ran out and not the parked one", len(got))
	}
}

func jobGoesWithTransaction(t *testing.T, s store.Store) {
	wrong := fmt.Errorf("wrong")
	enqueue(t, s, true, store.Job{Kind: "k", Key: "a", RunAt: minute(1)})
	id := lease(t, s, "me", 1, 1, "k")[0].ID
	if err := s.Update(t.Context(), func(tx store.Tx) error {
		if _, err := tx.Enqueue(t.Context(), store.Job{Kind: "k", Key: "b"}); err != nil {
			return err
		}
		if err := tx.Finish(t.Context(), id, "me"); err != nil {
			return err
		}
		return wrong
	}); err != wrong {
		t.Fatalf("Update returned %v, want %v", err, wrong)
	}
	if got := oneJob(t, s, "k"); got.ID != id || got.State != store.JobLeased {
		t.Errorf("after a failed transaction: %+v, want the leased job as it was", got)
	}
}

func manyEnqueueOne(t *testing.T, s store.Store) {
	const writers = 8
	for round := range 5 {
		added := make([]bool, writers)
		together(t, writers, func(w int) error {
			return s.Update(t.Context(), func(tx store.Tx) (err error) {
				added[w], err = tx.Enqueue(t.Context(), store.Job{Kind: "k", Key: fmt.Sprint(round)})
				return err
			})
		})
		n := 0
		for _, a := range added {
			if a {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d writers were told that they added the job, want 1", n)
		}
	}
	if got := jobs(t, s, "k"); len(got) != 5 {
		t.Errorf("there are %d jobs, want 5", len(got))
	}
}

// manyLease has workers that take and finish jobs until there are none: each
// job must be worked on by exactly one.
func manyLease(t *testing.T, s store.Store) {
	const n, workers = 120, 8
	update(t, s, func(tx store.Tx) error {
		for i := range n {
			if _, err := tx.Enqueue(t.Context(), store.Job{Kind: "k", Key: fmt.Sprint(i), RunAt: minute(i % 7)}); err != nil {
				return err
			}
		}
		return nil
	})
	var mu sync.Mutex
	begun := map[string]int{}
	together(t, workers, func(w int) error {
		owner := fmt.Sprint("worker ", w)
		for idle := 0; idle < 3; {
			var leased []store.Job
			if err := s.Update(t.Context(), func(tx store.Tx) (err error) {
				leased, err = tx.Lease(t.Context(), owner, []string{"k"}, 4, minute(10), time.Hour)
				return err
			}); err != nil {
				return err
			}
			if len(leased) == 0 {
				idle++ // others may hold rows at this moment
				continue
			}
			mu.Lock()
			for _, j := range leased {
				begun[j.Key]++
			}
			mu.Unlock()
			if err := s.Update(t.Context(), func(tx store.Tx) error {
				for _, j := range leased {
					if err := tx.Finish(t.Context(), j.ID, owner); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	for key, times := range begun {
		if times != 1 {
			t.Errorf("job %s was leased %d times", key, times)
		}
	}
	if left := jobs(t, s, "k"); len(begun)+len(left) != n {
		t.Errorf("%d jobs done and %d left, want %d in all", len(begun), len(left), n)
	}
}

// waitForJobs has waits that would last for an hour if they missed something.
func waitForJobs(t *testing.T, s store.Store) {
	wait := func(what string, d time.Duration) {
		t.Helper()
		if err := s.Wait(soon(t), d); err != nil {
			t.Errorf("%s: Wait: %v", what, err)
		}
	}
	leaseDue := func(now time.Time) {
		t.Helper()
		update(t, s, func(tx store.Tx) error {
			_, err := tx.Lease(t.Context(), "me", []string{"k"}, 100, now, time.Hour)
			return err
		})
	}
	leaseAll := func() {
		t.Helper()
		leaseDue(time.Now())
	}
	leaseAll()
	wait("nothing to do", time.Millisecond)

	for key, at := range map[string]time.Time{"before": {}, "overdue": minute(0)} {
		enqueue(t, s, true, store.Job{Kind: "k", Key: key, RunAt: at})
		wait("enqueued "+key, time.Hour)
		leaseAll()
	}

	var group sync.WaitGroup
	for range 3 {
		group.Go(func() { wait("enqueued meanwhile", time.Hour) })
	}
	time.Sleep(10 * time.Millisecond)
	enqueue(t, s, true, store.Job{Kind: "k", Key: "meanwhile"})
	group.Wait()
	leaseAll()

	due := time.Now().Add(50 * time.Millisecond)
	enqueue(t, s, true, store.Job{Kind: "k", Key: "future", RunAt: due})
	leaseDue(due.Add(-time.Millisecond)) // takes the news, not the job, however late it is
	wait("becomes due", time.Hour)
	if now := time.Now(); now.Before(due.Add(-time.Millisecond)) {
		t.Errorf("Wait returned %v before the job was due", due.Sub(now))
	}
	leaseAll()

	j := jobs(t, s, "k", "before")[0]
	update(t, s, func(tx store.Tx) error { return tx.Retry(t.Context(), j.ID, "me", "", minute(0)) })
	wait("ready again", time.Hour)
}

func noticeCases() []testCase {
	return []testCase{{"outbox", outbox}}
}

func outbox(t *testing.T, s store.Store) {
	before := dossier.Instant(time.Now())
	const n = 5
	for i := range n {
		update(t, s, func(tx store.Tx) error {
			return tx.Notify(t.Context(), fmt.Sprint("topic ", i%2), fmt.Append(nil, "body\x00", i))
		})
	}
	notices := func(after int64, limit int) []store.Notice {
		t.Helper()
		return read(t, s, func(r store.Reader) ([]store.Notice, error) { return r.Notices(t.Context(), after, limit) })
	}
	all := notices(0, 100)
	if len(all) != n {
		t.Fatalf("there are %d notices, want %d", len(all), n)
	}
	for i, got := range all {
		if got.Topic != fmt.Sprint("topic ", i%2) || string(got.Body) != fmt.Sprint("body\x00", i) {
			t.Errorf("notice %d is %q with %q", i, got.Topic, got.Body)
		}
		if got.At.Before(before) || got.At.After(time.Now()) {
			t.Errorf("notice %d is of %v, want now", i, got.At)
		}
		if i > 0 && got.ID <= all[i-1].ID {
			t.Errorf("notice %d has ID %d after %d", i, got.ID, all[i-1].ID)
		}
	}
	if diff := cmp.Diff(all[2:4], notices(all[1].ID, 2)); diff != "" {
		t.Errorf("Notices after the second (-want +got):\n%s", diff)
	}
	update(t, s, func(tx store.Tx) error {
		return tx.Forget(t.Context(), []int64{all[0].ID, all[4].ID, all[4].ID + 1000})
	})
	if diff := cmp.Diff(all[1:4], notices(0, 100)); diff != "" {
		t.Errorf("Notices after Forget (-want +got):\n%s", diff)
	}
	update(t, s, func(tx store.Tx) error { return tx.Notify(t.Context(), "new", nil) })
	if got := notices(all[4].ID, 10); len(got) != 1 || got[0].Topic != "new" {
		t.Errorf("the ID of a forgotten notice was used again: %+v", got)
	}
}
