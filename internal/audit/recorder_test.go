// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// pull is a pull as the registry hands it over; its number is its size.
func pull(n int) dossier.AuditEntry {
	return dossier.AuditEntry{
		At: noon.Add(time.Duration(n) * time.Microsecond), Action: dossier.ActionPull, Repository: "team/app", Bytes: int64(n),
		Caller: dossier.AuditCaller{Kind: "user", Name: "alice"}, Address: "10.0.0.1:4711", Client: "test",
	}
}

func startRecorder(t testing.TB, log *memory, most int) *Recorder {
	t.Helper()
	r := Start(t.Context(), RecorderConfig{Log: log, Registry: "registry.example", MaxPending: most, Now: func() time.Time { return noon }})
	t.Cleanup(r.Close)
	return r
}

// sizes returns the numbers of pulls.
func sizes(list []dossier.AuditEntry) []int {
	n := []int{}
	for _, e := range list {
		n = append(n, int(e.Bytes))
	}
	return n
}

// TestWrittenInTime checks the stated loss window: whatever was handed over is
// in the log when FlushEvery is over.
func TestWrittenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{}
		r := startRecorder(t, log, 0)
		for i := range 50 {
			r.Add(pull(i))
			time.Sleep(FlushEvery / 7)
		}
		time.Sleep(FlushEvery)
		synctest.Wait()
		if got := len(log.entries(t)); got != 50 {
			t.Errorf("%d entries are in the log, want 50", got)
		}
		tries := log.attempts()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := log.attempts(); got != tries {
			t.Errorf("%d writes without entries", got-tries)
		}
		if got, want := r.Stats(), (Stats{Written: 50}); got != want {
			t.Errorf("stats are %+v, want %+v", got, want)
		}
		r.Close()
	})
}

func TestWrittenAtTheEnd(t *testing.T) {
	log := &memory{}
	r := startRecorder(t, log, 0)
	for i := range 10 {
		r.Add(pull(i))
	}
	r.Close()
	if got := len(log.entries(t)); got != 10 {
		t.Errorf("%d entries are in the log, want 10", got)
	}
	r.Add(pull(11))
	if got, want := r.Stats(), (Stats{Written: 10, Lost: 1}); got != want {
		t.Errorf("stats are %+v, want %+v", got, want)
	}
}

// TestMoreThanCanWait fills the queue while the log is slow: nobody waits, and the
// log says how many are missing.
func TestMoreThanCanWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{hold: make(chan struct{})}
		const most = 100
		r := startRecorder(t, log, most)
		r.Add(pull(0))
		time.Sleep(FlushEvery) // it is being written, and takes long
		synctest.Wait()
		for i := range most + 30 {
			r.Add(pull(i + 1))
		}
		if got, want := r.Stats(), (Stats{Pending: most + 1, Lost: 30}); got != want {
			t.Errorf("stats are %+v, want %+v", got, want)
		}
		hold := log.hold
		log.set(nil, nil)
		close(hold)
		if err := r.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		list := log.entries(t)
		at := slices.IndexFunc(list, func(e dossier.AuditEntry) bool { return e.Action == dossier.ActionLost })
		if at < 0 || len(list) != most+2 || list[at].Count != 30 || list[at].Caller.Kind != "dossier" {
			t.Errorf("%d entries, the loss is at %d: %+v", len(list), at, list)
		}
		// It is told once.
		r.Add(pull(1000))
		r.Close()
		if got := len(log.entries(t)); got != most+3 {
			t.Errorf("%d entries in the end, want %d", got, most+3)
		}
	})
}

// TestLogThatIsAway checks that what cannot be written is kept, and written once
// when the log is back.
func TestLogThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("away")
		log := &memory{err: away}
		r := startRecorder(t, log, 0)
		want := []int{}
		for i := range 40 {
			r.Add(pull(i))
			want = append(want, i)
			time.Sleep(FlushEvery / 3)
		}
		if err := r.Sync(t.Context()); !errors.Is(err, away) {
			t.Errorf("Sync: %v, want %v", err, away)
		}
		if got := r.Stats(); got != (Stats{Pending: 40}) {
			t.Errorf("stats are %+v", got)
		}
		log.set(nil, nil)
		time.Sleep(2 * FlushEvery) // first what was tried, then what came meanwhile
		synctest.Wait()
		if diff := cmp.Diff(want, sizes(log.entries(t))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		r.Close()
	})
}

// TestLogThatStaysAway ends while the log is away: it says how much is lost.
func TestLogThatStaysAway(t *testing.T) {
	log := &memory{err: errors.New("away")}
	r := startRecorder(t, log, 0)
	for i := range 3 {
		r.Add(pull(i))
	}
	r.Close()
	if got, want := r.Stats(), (Stats{Lost: 3}); got != want {
		t.Errorf("stats are %+v, want %+v", got, want)
	}
}

// TestBacklog writes much that lies far apart: what was written stays so when the
// rest fails.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{}
		log.fail = func(try int) error {
			if try == 2 {
				return errors.New("away")
			}
			return nil
		}
		r := startRecorder(t, log, 0)
		const backlog = 3*blocksAtATime + 1
		for i := range backlog {
			e := pull(i)
			e.At = noon.Add(time.Duration(i) * time.Minute)
			r.Add(e)
		}
		time.Sleep(FlushEvery)
		synctest.Wait()
		if got := len(log.entries(t)); got != blocksAtATime {
			t.Errorf("%d entries are there, want %d", got, blocksAtATime)
		}
		r.Close()
		if got := sizes(log.entries(t)); len(got) != backlog || !slices.IsSorted(got) || r.Stats() != (Stats{Written: backlog}) {
			t.Errorf("%d entries are there, want %d; %+v", len(got), backlog, r.Stats())
		}
	})
}

func TestSync(t *testing.T) {
	log := &memory{hold: make(chan struct{})}
	r := startRecorder(t, log, 0)
	r.Add(pull(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Sync of who has left: %v", err)
	}
	close(log.hold)
	if err := r.Sync(t.Context()); err != nil || len(log.entries(t)) != 1 {
		t.Errorf("Sync: %v, %v", err, log.entries(t))
	}
	r.Close()
	if err := r.Sync(t.Context()); err != nil {
		t.Errorf("Sync after the end: %v", err)
	}
}

// TestManyHandOver hands over from many goroutines at a time.
func TestManyHandOver(t *testing.T) {
	log := &memory{}
	r := startRecorder(t, log, 0)
	const callers, each = 16, 500
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for i := range each {
				r.Add(pull(c*each + i))
			}
		})
	}
	group.Wait()
	r.Close()
	got := sizes(log.entries(t))
	slices.Sort(got)
	if len(got) != callers*each || got[len(got)-1] != callers*each-1 || len(slices.Compact(got)) != callers*each {
		t.Errorf("%d entries are in the log, want %d different ones", len(got), callers*each)
	}
}

// TestBlocksAreBounded checks where blocks end: at midnight, after a second, and
// when they are full. Entries come in any order.
func TestBlocksAreBounded(t *testing.T) {
	midnight := noon.Truncate(24 * time.Hour).Add(24 * time.Hour)
	var times []time.Time
	for i := range maxEntries + 10 {
		times = append(times, noon.Add(time.Duration(i)*time.Microsecond))
	}
	times = append(times, noon.Add(1100*time.Millisecond), noon.Add(2100*time.Millisecond), noon.Add(2200*time.Millisecond),
		midnight.Add(-time.Microsecond), midnight)
	var list []dossier.AuditEntry
	for _, at := range times {
		list = append(list, dossier.AuditEntry{At: at})
	}
	slices.Reverse(list)
	var got []string
	for _, b := range blocks(list) {
		entries, err := decode(b.From, b.Body)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(len(entries), b.From.Sub(noon), b.To.Sub(noon)))
	}
	want := []string{
		fmt.Sprint(maxEntries, time.Duration(0), (maxEntries-1)*time.Microsecond),
		fmt.Sprint(10, maxEntries*time.Microsecond, (maxEntries+9)*time.Microsecond),
		fmt.Sprint(2, 1100*time.Millisecond, 2100*time.Millisecond),
		fmt.Sprint(1, 2200*time.Millisecond, 2200*time.Millisecond),
		fmt.Sprint(1, midnight.Sub(noon)-time.Microsecond, midnight.Sub(noon)-time.Microsecond),
		fmt.Sprint(1, midnight.Sub(noon), midnight.Sub(noon)),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("blocks: entries, first, last (-want +got):\n%s", diff)
	}
}

// TestPrune drops days by a clock that is told.
func TestPrune(t *testing.T) {
	log := &memory{}
	r := startRecorder(t, log, 0)
	for d := range 5 {
		e := pull(d)
		e.At = noon.Add(time.Duration(d) * 24 * time.Hour)
		r.Add(e)
	}
	r.Close()
	const keep = 2 * 24 * time.Hour
	for _, tt := range []struct {
		now           time.Time
		dropped, left int
	}{
		{noon, 0, 5},
		{noon.Truncate(24 * time.Hour).Add(3*24*time.Hour - time.Microsecond), 0, 5}, // the first day ended almost two days ago
		{noon.Truncate(24 * time.Hour).Add(3 * 24 * time.Hour), 1, 4},
		{noon.Add(5 * 24 * time.Hour), 2, 2},
		{noon, 0, 2}, // a clock that goes backwards
		{noon.Add(1000 * 24 * time.Hour), 2, 0},
	} {
		dropped, err := Prune(t.Context(), log, tt.now, keep)
		if left := len(log.entries(t)); err != nil || dropped != tt.dropped || left != tt.left {
			t.Errorf("at %v: %d days dropped, %d left, %v; want %d and %d", tt.now, dropped, left, err, tt.dropped, tt.left)
		}
	}
}
