// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"dossier.dev/dossier"
)

// patience bounds how long a test waits for what must come.
const patience = 20 * time.Second

// watched runs Watch and applies its events as a consumer would.
type watched struct {
	t      *testing.T
	events chan Event
	done   chan error
	state  map[string][]dossier.Place // by key
	syncs  int
	last   Event
}

func startWatch(t *testing.T, l *Live, scope Scope) *watched {
	t.Helper()
	w := &watched{t: t, events: make(chan Event), done: make(chan error, 1), state: map[string][]dossier.Place{}}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		w.done <- l.Watch(ctx, scope, func(ctx context.Context, e Event) error {
			select {
			case w.events <- e:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-w.done:
			if err != nil {
				t.Errorf("Watch: got %v, want nil when its context ends", err)
			}
		case <-time.After(patience):
			t.Error("Watch does not end with its context")
		}
		if l.Health().Synced {
			t.Error("health: got synced after the end")
		}
	})
	return w
}

// next takes in one event.
func (w *watched) next() Event {
	w.t.Helper()
	select {
	case e := <-w.events:
		w.apply(e)
		return e
	case err := <-w.done:
		w.done <- err
		w.t.Fatalf("Watch ended: %v", err)
	case <-time.After(patience):
		w.t.Fatalf("no event came; the state is %v", w.images())
	}
	return Event{}
}

func (w *watched) apply(e Event) {
	w.last = e
	switch e.Kind {
	case EventSync:
		w.syncs++
		w.state = map[string][]dossier.Place{}
		for _, p := range e.Snapshot.Places {
			w.state[p.Key()] = append(w.state[p.Key()], p)
		}
	case EventPods:
		for key, places := range e.Pods {
			if delete(w.state, key); len(places) > 0 {
				w.state[key] = places
			}
		}
	}
}

// nextOf takes in an event that must be of one pod, and returns its places.
func (w *watched) nextOf(key string) []dossier.Place {
	w.t.Helper()
	e := w.next()
	places, ok := e.Pods[key]
	if e.Kind != EventPods || !ok || len(e.Pods) != 1 || e.At.IsZero() {
		w.t.Errorf("got %+v, want an event of %s alone", e, key)
	}
	return places
}

// images gives "pod image" for all that runs, sorted.
func (w *watched) images() []string {
	var all []string
	for _, places := range w.state {
		for _, p := range places {
			all = append(all, p.Pod+" "+p.Requested)
		}
	}
	slices.Sort(all)
	return all
}

// until takes in events until the images are those wanted.
func (w *watched) until(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	for !slices.Equal(w.images(), want) {
		w.next()
	}
}

func TestWatch(t *testing.T) {
	f := newFakeAPI(t)
	f.put(newPod("shop", "a", "app:1", nil))
	f.put(newPod("shop", "b", "app:1", ownedBy("apps/v1", "ReplicaSet", "b-1", "rs-b")))
	f.addMeta("/apis/apps/v1/replicasets", "shop", "b-1", "rs-b", ownedBy("apps/v1", "Deployment", "b", "d-b"))
	l := f.connect(t, Options{})
	w := startWatch(t, l, Scope{})
	if e := w.next(); e.Kind != EventSync || e.Snapshot.Cluster.ID != "cluster-uid" || e.At.IsZero() {
		t.Fatalf("first event: got %+v, want a sync of cluster-uid", e)
	}
	w.until("a app:1", "b app:1")
	if places := w.state["pod/shop/b/uid-b"]; len(places) != 1 || places[0].Kind != "Deployment" {
		t.Errorf("b: got %+v, want a place of a Deployment", places)
	}

	f.addMeta("/apis/apps/v1/replicasets", "shop", "c-1", "rs-c", ownedBy("apps/v1", "Deployment", "c", "d-c"))
	f.put(newPod("shop", "c", "app:2", ownedBy("apps/v1", "ReplicaSet", "c-1", "rs-c")))
	if places := w.nextOf("pod/shop/c/uid-c"); len(places) != 1 || places[0].Kind != "Deployment" {
		t.Errorf("new pod: got %+v", places)
	}

	pulled := newPod("shop", "a", "app:1", nil)
	pulled.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", ImageID: "app@sha256:" + hexDigits}}
	f.put(pulled)
	if places := w.nextOf("pod/shop/a/uid-a"); len(places) != 1 || places[0].Digest != "sha256:"+hexDigits {
		t.Errorf("pulled: got %+v", places)
	}

	f.remove("shop", "b")
	w.until("a app:1", "c app:2")
	ended := pulled.DeepCopy()
	ended.Status.Phase = corev1.PodFailed
	f.put(ended)
	w.until("c app:2")

	// What does not matter is not told: the next event is another pod's.
	noise := newPod("shop", "c", "app:2", ownedBy("apps/v1", "ReplicaSet", "c-1", "rs-c"))
	noise.Status.Message = "still there"
	f.put(noise)
	f.put(newPod("shop", "d", "app:3", nil))
	w.nextOf("pod/shop/d/uid-d")

	// A new pod of an old name: both are told, the old one as gone.
	f.remove("shop", "d")
	again := newPod("shop", "d", "app:4", nil)
	again.UID = "uid-d2"
	f.put(again)
	w.until("c app:2", "d app:4")
	if w.syncs != 1 {
		t.Errorf("syncs: got %d, want 1", w.syncs)
	}
	if h := l.Health(); !h.Synced || h.LastError != nil || h.LastContact.IsZero() {
		t.Errorf("health: got %+v, want synced", h)
	}
}

func TestWatchForgottenHistory(t *testing.T) {
	f := newFakeAPI(t)
	f.put(newPod("shop", "a", "app:1", nil))
	f.put(newPod("shop", "b", "app:1", nil))
	w := startWatch(t, f.connect(t, Options{}), Scope{})
	w.until("a app:1", "b app:1")
	f.set(func() { delete(f.pods, "shop/a") }) // no watch is told
	f.forget()
	w.until("b app:1")
	f.put(newPod("shop", "c", "app:1", nil))
	w.until("b app:1", "c app:1")
}

func TestWatchRestart(t *testing.T) {
	f := newFakeAPI(t)
	f.put(newPod("shop", "a", "app:1", nil))
	l := f.connect(t, Options{})
	w := startWatch(t, l, Scope{})
	w.until("a app:1")
	f.restart(true)
	f.put(newPod("shop", "b", "app:2", ownedBy("apps/v1", "ReplicaSet", "b-1", "rs-b")))
	f.remove("shop", "a")
	time.Sleep(50 * time.Millisecond)
	f.restart(false)
	w.until("b app:2")
	if err := l.Health().LastError; err != nil {
		t.Errorf("health: got %v after all is well", err)
	}
}

func TestWatchResync(t *testing.T) {
	f := newFakeAPI(t)
	f.put(newPod("shop", "a", "app:1", nil))
	f.put(newPod("shop", "b", "app:1", nil))
	w := startWatch(t, f.connect(t, Options{Resync: 100 * time.Millisecond}), Scope{})
	w.until("a app:1", "b app:1")
	f.set(func() { delete(f.pods, "shop/b") }) // lost on the way
	w.until("a app:1")
	if w.last.Kind != EventSync || w.syncs < 2 {
		t.Errorf("got %s after %d syncs, want a sync", w.last.Kind, w.syncs)
	}
}

func TestWatchScope(t *testing.T) {
	f := newFakeAPI(t)
	for _, ns := range []string{"a", "b", "c"} {
		f.put(newPod(ns, "p-"+ns, "app:1", nil))
	}
	f.set(func() { f.refuse["/api/v1/namespaces/b/"] = 403 })
	w := startWatch(t, f.connect(t, Options{}), Scope{Namespaces: []string{"a", "b"}})
	w.until("p-a app:1")
	if diff := cmp.Diff([]string{"b denied"}, problems(w.last.Snapshot)); diff != "" {
		t.Errorf("problems: -want +got\n%s", diff)
	}
	f.set(func() { delete(f.refuse, "/api/v1/namespaces/b/") }) // the right is granted later
	w.until("p-a app:1", "p-b app:1")
	if w.last.Kind != EventSync || len(w.last.Snapshot.Problems) != 0 {
		t.Errorf("got %+v, want a sync without problems", w.last)
	}
}

// A handler that is slow sees the last state of each pod, not every state, and of
// all pods that changed meanwhile at once.
func TestWatchMergesChanges(t *testing.T) {
	f := newFakeAPI(t)
	f.put(newPod("shop", "last", "app:0", nil))
	w := startWatch(t, f.connect(t, Options{}), Scope{})
	w.until("last app:0")
	const pods, changes = 20, 50
	want := map[string]string{"last": "app:done"}
	for i := range changes {
		for j := range pods {
			name, image := fmt.Sprintf("p-%02d", j), fmt.Sprintf("app:%d", i)
			p := newPod("shop", name, image, nil)
			p.UID = types.UID(fmt.Sprintf("%s-%d", name, i/10)) // now and then another pod of that name
			if i%10 == 0 && i > 0 {
				f.remove("shop", name)
			}
			f.put(p)
			want[name] = image
		}
	}
	f.put(newPod("shop", "last", "app:done", nil))
	var all []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		all = append(all, name+" "+want[name])
	}
	events := 0
	for !slices.Equal(w.images(), all) {
		w.next()
		time.Sleep(20 * time.Millisecond) // much longer than a change takes to come
		events++
	}
	if events >= pods*changes/2 {
		t.Errorf("got %d events for %d changes of each of %d pods, want far fewer", events, changes, pods)
	}
}

func TestWatchHandlerError(t *testing.T) {
	f := newFakeAPI(t)
	f.put(newPod("shop", "a", "app:1", nil))
	full := errors.New("disk full")
	err := f.connect(t, Options{}).Watch(t.Context(), Scope{}, func(context.Context, Event) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}

// While the server does not answer for owners, pods wait; none is told with
// the wrong workload.
func TestWatchWaitsForOwners(t *testing.T) {
	f := newFakeAPI(t)
	f.put(newPod("shop", "a", "app:1", nil))
	f.addMeta("/apis/apps/v1/replicasets", "shop", "b-1", "rs-b", ownedBy("apps/v1", "Deployment", "b", "d-b"))
	f.set(func() { f.refuse["/apis/apps/v1"] = 500 })
	l := f.connect(t, Options{})
	w := startWatch(t, l, Scope{})
	w.until("a app:1")
	f.put(newPod("shop", "b", "app:1", ownedBy("apps/v1", "ReplicaSet", "b-1", "rs-b")))
	for deadline := time.Now().Add(patience); l.Health().LastError == nil && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	f.set(func() { clear(f.refuse) })
	if places := w.nextOf("pod/shop/b/uid-b"); len(places) != 1 || places[0].Kind != "Deployment" {
		t.Errorf("got %+v, want a place of a Deployment", places)
	}
}
