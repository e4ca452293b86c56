// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"dossier.dev/dossier"
)

// Object names an object of a cluster.
type Object struct{ Namespace, Kind, Name string }

// Naming tells which images objects name that make pods, or made some, whether
// or not any runs.
type Naming struct {
	Kind EventKind // EventSync or EventObjects
	// Pins are those of all objects (EventSync), or of Objects, by namespace, kind,
	// name and reference.
	Pins    []dossier.Pin
	Objects []Object // EventObjects: that have changed or are gone
	// At is since when all is known that the objects name (EventSync).
	At time.Time
	// Problems say what is missing from Pins, and why.
	Problems []Problem
	// Unread reports whether objects like that of a pin could not be read: of what they
	// name nothing new is known. nil: all could.
	Unread func(dossier.Pin) bool
}

// EventObjects tells that some objects have changed, or are gone.
const EventObjects EventKind = "objects"

// source is a kind of object in a namespace ("": in all).
type source struct{ kind, namespace string }

// WatchTemplates tells handler which images the objects of namespaces (none: of all)
// name, as that changes, until ctx ends; then it returns nil. First comes an
// EventSync, once every kind of object was listed or refused in every namespace;
// then an EventObjects for the objects that change; and another EventSync after
// everything was listed anew, each Options.Resync.
//
// Errors: that of handler, which ends the watch.
func (l *Live) WatchTemplates(ctx context.Context, namespaces []string, handler func(context.Context, Naming) error) error {
	ctx, cancel := context.WithCancel(l.context(ctx))
	w := &templateWatcher{live: l, wake: make(chan struct{}, 1), sources: map[source]*templateSource{}, changed: map[Object]bool{}}
	var reflectors sync.WaitGroup
	defer reflectors.Wait()
	defer cancel()
	for _, kind := range templateKinds() {
		for _, namespace := range (Scope{Namespaces: namespaces}).each() {
			s := &templateSource{watcher: w, source: source{kind.name, namespace}, kind: kind, objects: map[Object]named{}}
			w.sources[s.source] = s
		}
	}
	for _, s := range w.sources {
		reflectors.Go(func() { s.follow(ctx) })
	}
	for {
		for {
			n, ok := w.take()
			if !ok {
				break
			}
			err := handler(ctx, n)
			if ctx.Err() != nil {
				return nil
			} else if err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
	}
}

// templateWatcher keeps what objects name, and what of that is still to be told.
type templateWatcher struct {
	live *Live
	wake chan struct{} // holds one: there is something to tell

	mu      sync.Mutex
	sources map[source]*templateSource
	changed map[Object]bool // since it was told
	told    bool            // everything was told once
	due     bool            // everything is to be told, though not all was listed anew
}

// templateSource is a kind of object in a namespace that is listed and watched.
type templateSource struct {
	watcher *templateWatcher
	source
	kind templateKind

	// These are guarded by watcher.mu.
	objects map[Object]named
	listed  time.Time // when the last list began; zero: there was none
	fresh   bool      // it was listed, or refused for the first time, since everything was told
	refusal error     // why it could not be listed or watched since; nil: it could
}

// follow lists and watches until ctx ends, with a new list each resync period.
func (s *templateSource) follow(ctx context.Context) {
	live := s.watcher.live
	for ctx.Err() == nil {
		period, cancel := context.WithTimeout(ctx, live.resync)
		// A list that the end of the period interrupts may still be running in the next.
		began := new(time.Time)
		cache.NewReflectorWithOptions(s.lists(began), nil, &templateStore{s, began}, cache.ReflectorOptions{
			Logger:          &live.log,
			Name:            s.kind.resource,
			TypeDescription: s.kind.resource,
			Backoff:         &wait.Backoff{Duration: retryAfter / 2, Factor: 2, Jitter: 1, Steps: 5, Cap: 10 * time.Second},
		}).RunWithContext(period)
		cancel()
	}
}

// lists lists and watches the source for one reflector, and says when its list
// began.
func (s *templateSource) lists(began *time.Time) pagedLists {
	live := s.watcher.live
	return pagedLists{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			*began = dossier.Instant(live.now())
			all, version, err := live.listTemplates(ctx, s.kind, s.namespace)
			if err != nil {
				s.refused(*began, err)
				if code := statusCode(err); code == http.StatusForbidden || code == http.StatusNotFound {
					sleep(ctx, live.resync/10)
				}
				return nil, err
			}
			return newReducedList(all, version), nil
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			stream, err := live.watchTemplates(ctx, s.kind, s.namespace, opts)
			if statusCode(err) == http.StatusForbidden {
				s.refused(*began, err)
			}
			return stream, err // another failure ends in another list
		},
	}}
}

// refused notes that the source could not be read. A kind that the server does
// not know has no objects.
func (s *templateSource) refused(began time.Time, err error) {
	if statusCode(err) == http.StatusNotFound {
		s.replace(nil, began)
		return
	}
	w := s.watcher
	if err = s.wrap(err); dossier.KindOf(err) != dossier.KindDenied {
		w.live.health.failed(err, w.live.now())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.refusal == nil {
		s.refusal, s.fresh = err, true
	}
	w.signal()
}

// wrap says what could not be read.
func (s *templateSource) wrap(err error) error {
	if statusCode(err) != http.StatusForbidden {
		return s.watcher.live.apiError("listing "+s.kind.resource+" of", err)
	}
	in := "all namespaces"
	if s.namespace != "" {
		in = "namespace " + s.namespace
	}
	return &dossier.Error{
		Kind: dossier.KindDenied, Op: "listing " + s.kind.resource + " in", Subject: in, Err: err,
		Hint: "Grant the right to list and watch them: until then no retention rule takes away what could be of an image.",
	}
}

// replace takes in a list that was begun at that time.
func (s *templateSource) replace(list []named, began time.Time) {
	now := make(map[Object]named, len(list))
	for _, n := range list {
		now[n.object] = n
	}
	w := s.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	for o, n := range now {
		if s.objects[o] != n {
			w.changed[o] = true
		}
	}
	for o := range s.objects {
		if _, ok := now[o]; !ok {
			w.changed[o] = true
		}
	}
	if s.refusal != nil {
		w.due = true // nobody should have to wait for the next list of all
	}
	s.objects, s.listed, s.fresh, s.refusal = now, began, true, nil
	w.signal()
}

// change takes in one object, or that it is gone.
func (s *templateSource) change(n named, gone bool) {
	w := s.watcher
	w.live.health.ok(w.live.now())
	w.mu.Lock()
	defer w.mu.Unlock()
	before, ok := s.objects[n.object]
	switch {
	case gone && !ok, !gone && before == n:
		return // something else of it has changed
	case gone:
		delete(s.objects, n.object)
	default:
		s.objects[n.object] = n
	}
	w.changed[n.object] = true
	w.signal()
}

// signal wakes who tells.
func (w *templateWatcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take removes what is to be told next.
func (w *templateWatcher) take() (Naming, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.round() {
		return w.everything(), true
	}
	if !w.told || len(w.changed) == 0 {
		return Naming{}, false
	}
	n := Naming{Kind: EventObjects}
	for o := range w.changed {
		if len(n.Objects) == maxBatch {
			break
		}
		delete(w.changed, o)
		n.Objects = append(n.Objects, o)
		for _, namespace := range []string{"", o.Namespace} {
			if s := w.sources[source{o.Kind, namespace}]; s != nil {
				n.Pins = append(n.Pins, s.objects[o].pins(w.live.cluster.ID)...)
			}
		}
	}
	sortPins(n.Pins)
	return n, true
}

// round reports whether everything is to be told.
func (w *templateWatcher) round() bool {
	all, some := true, w.due
	for _, s := range w.sources {
		if s.listed.IsZero() && s.refusal == nil {
			return false
		}
		all = all && (s.fresh || s.refusal != nil)
		some = some || s.fresh
	}
	return some && (all || w.due)
}

// everything is what is known.
func (w *templateWatcher) everything() Naming {
	n := Naming{Kind: EventSync}
	unread := map[source]bool{}
	for _, key := range slices.SortedFunc(maps.Keys(w.sources), compareSources) {
		s := w.sources[key]
		s.fresh = false
		if s.refusal != nil {
			n.Problems = append(n.Problems, Problem{Where: s.where(), Err: s.refusal})
			unread[key] = true
		} else if n.At.IsZero() || s.listed.Before(n.At) {
			n.At = s.listed
		}
		for o, object := range s.objects {
			if object.fault != "" {
				n.Problems = append(n.Problems, Problem{
					Where: o.Kind + "/" + o.Name + " in " + o.Namespace,
					Err:   dossier.Errorf(dossier.KindInvalid, "reading the template of", o.Kind+"/"+o.Name+" in "+o.Namespace, object.fault),
				})
			}
			n.Pins = append(n.Pins, object.pins(w.live.cluster.ID)...)
		}
	}
	sortPins(n.Pins)
	n.Unread = func(p dossier.Pin) bool { return unread[source{p.Kind, ""}] || unread[source{p.Kind, p.Namespace}] }
	w.changed = map[Object]bool{}
	w.told, w.due = true, false
	return n
}

func compareSources(a, b source) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.namespace, b.namespace))
}

func (s source) where() string {
	if s.namespace == "" {
		return s.kind
	}
	return s.kind + " in " + s.namespace
}

func sortPins(pins []dossier.Pin) {
	slices.SortFunc(pins, func(a, b dossier.Pin) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Reference, b.Reference))
	})
}

// templateStore is what a reflector fills: it hands everything on to the source.
type templateStore struct {
	source *templateSource
	began  *time.Time // the last list
}

// Add implements cache.ReflectorStore.
func (s *templateStore) Add(obj any) error { return s.Update(obj) }

// Update implements cache.ReflectorStore.
func (s *templateStore) Update(obj any) error { return s.take(obj, false) }

// Delete implements cache.ReflectorStore.
func (s *templateStore) Delete(obj any) error { return s.take(obj, true) }

func (s *templateStore) take(obj any, gone bool) error {
	if o, ok := obj.(runtime.Object); ok {
		if n, ok := reduceTemplate(s.source.kind.name, o); ok {
			s.source.change(n, gone)
		}
	}
	return nil
}

// Replace implements cache.ReflectorStore.
func (s *templateStore) Replace(list []any, _ string) error {
	all := make([]named, 0, len(list))
	for _, obj := range list {
		if item, ok := obj.(*reduced[named]); ok {
			all = append(all, item.kept)
		}
	}
	s.source.replace(all, *s.began)
	return nil
}

// Resync implements cache.ReflectorStore; there is nothing to do.
func (s *templateStore) Resync() error { return nil }

// Bookmark implements cache.ReflectorBookmarkStore: the server is there.
func (s *templateStore) Bookmark(string) error {
	s.source.watcher.live.health.ok(s.source.watcher.live.now())
	return nil
}
