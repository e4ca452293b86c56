// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

// twoStores opens one database twice; with SQLite a process has one store.
func twoStores(t *testing.T, w *world, engine string) (a, b store.Store) {
	if engine == "SQLite" {
		return w.store, w.store
	}
	url := sqltest.URL(t)
	open := func() store.Store {
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: url, Now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return Outbox{Gather: time.Nanosecond, Now: w.now}.Watch(db)
	}
	a, b = open(), open()
	w.store = a
	w.update(func(tx store.Tx) error { return tx.PutTelling(t.Context(), true) })
	return a, b
}

// TestTwoSenders: of several processes one sends at a time, each event once and in
// order; when it dies, or hangs, another goes on when its lease is over.
func TestTwoSenders(t *testing.T) {
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		t.Run(engine, func(t *testing.T) {
			w := newWorld(t)
			a, b := twoStores(t, w, engine)
			one, two := w.service(config.NotifyTarget{Name: "one"}), w.service(config.NotifyTarget{Name: "one"})
			one.Store, two.Store = a, b
			one.owner, two.owner = "process one", "process two"

			// Both run all the time while things happen.
			ctx, stop := context.WithCancel(t.Context())
			var group sync.WaitGroup
			for _, s := range []*Service{one, two} {
				group.Go(func() {
					if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
						t.Errorf("it ended: %v", err)
					}
				})
			}
			const many = 20
			var want []string
			for i := range many {
				name := fmt.Sprintf("shop-%02d", i)
				w.lists[dossier.FromBytes([]byte(name))] = found("CVE-1")
				want = append(want, "image.started "+name+" CVE-1")
			}
			for i := range many {
				name := fmt.Sprintf("shop-%02d", i)
				w.run("Deployment", name, dossier.FromBytes([]byte(name)))
				w.pass(time.Millisecond)
			}
			var got []string
			for deadline := time.Now().Add(time.Minute); len(got) < many && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				w.pass(time.Millisecond)
				got = append(got, w.told()...)
			}
			stop()
			group.Wait()
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Fatalf("told %q, want %q", got, want)
			}
			if n := w.requests(); n != many {
				t.Errorf("%d requests for %d events", n, many)
			}

			// One hangs in a request: as long as its lease runs the other leaves it alone.
			reached, release := make(chan struct{}), make(chan struct{})
			let := sync.OnceFunc(func() { close(release) })
			defer let()
			w.receiver.answer = func(http.ResponseWriter, int) bool {
				w.receiver.answer = nil
				w.receiver.mu.Unlock()
				close(reached)
				<-release
				w.receiver.mu.Lock()
				return true
			}
			w.run("Deployment", "last", imageA)
			w.say(imageA, found("CVE-9"))
			job, ok, err := one.take(t.Context(), jobCompose)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			if err := one.compose(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			group.Go(func() {
				if err := one.send(t.Context(), one.Targets[0]); dossier.KindOf(err) != dossier.KindConflict {
					t.Errorf("who learns too late that an event was taken gets %v, want %s", err, dossier.KindConflict)
				}
			})
			<-reached
			w.pass(one.lease() - time.Second)
			w.step(two)
			w.check("its lease runs")
			w.pass(2 * time.Second)
			w.step(two)
			w.check("its lease is over", "image.started last CVE-9")
			let()
			group.Wait() // what it learnt too late changes nothing
			if n := w.requests(); n != 2 || len(w.deliveries("one")) != 0 {
				t.Errorf("%d requests, want 2, and %d events wait", n, len(w.deliveries("one")))
			}
			w.check("the receiver knows its ID")
			w.say(imageA, found())
			w.step(one)
			w.check("both go on", "finding.gone last advisory CVE-9")
		})
	}
}

// TestEnds: a process that ends leaves nothing leased: the next one goes on at once.
func TestEnds(t *testing.T) {
	w := newWorld(t)
	s := w.service(config.NotifyTarget{Name: "one"})
	reached := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	w.receiver.answer = func(http.ResponseWriter, int) bool {
		w.receiver.answer = nil
		close(reached)
		w.receiver.mu.Unlock()
		<-ctx.Done()
		w.receiver.mu.Lock()
		return false
	}
	w.run("Deployment", "shop", imageA)
	w.say(imageA, found("CVE-1"))
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	for waiting := true; waiting; {
		w.pass(time.Millisecond)
		select {
		case <-reached:
			waiting = false
		case <-time.After(time.Millisecond):
		}
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended: %v", err)
	}
	w.step(w.service(config.NotifyTarget{Name: "one"}))
	w.check("the next one", "image.started shop CVE-1")
}
