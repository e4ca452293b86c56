// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"dossier.dev/dossier"
)

const (
	// maxBatch is how many pods are looked up together before they are told.
	maxBatch = 500
	// retryAfter is how long Watch waits when the server does not answer.
	retryAfter = time.Second
)

// Watch tells handler what runs in a scope, as it changes, until ctx ends; then
// it returns nil. First comes an EventSync, once every namespace of the scope
// was listed or found forbidden; then an EventPods for the pods that change; and another EventSync after every new list: each Options.Resync, and when the
// server has lost track of what was told.
//
// Events are told one at a time. What changes while handler is busy is told in
// one event, with the last state of each pod: so a slow handler gets larger
// events, not later ones. A server that goes away is waited for; Health tells.
//
// Errors: that of handler, which ends the watch; KindInvalid, a malformed
// selector; KindDenied, the user may not list the pods of all namespaces.
func (l *Live) Watch(ctx context.Context, scope Scope, handler func(context.Context, Event) error) error {
	if _, err := ParseSelector(scope.Selector); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(l.context(ctx))
	w := newWatcher(l, scope)
	var reflectors sync.WaitGroup
	defer reflectors.Wait()
	defer cancel()
	defer l.health.synced(false)
	for _, namespace := range scope.each() {
		reflectors.Go(func() { w.follow(ctx, namespace) })
	}
	for {
		err := w.tell(ctx, handler)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
	}
}

// watcher keeps the pods of a scope and what of them is still to be told.
type watcher struct {
	live     *Live
	scope    Scope
	resolver *resolver     // used by tell only
	wake     chan struct{} // holds one: there is something to tell

	mu      sync.Mutex
	sources map[string]*podSource // by namespace; "" for all
	changed map[podName]change    // since it was told
	syncDue bool                  // everything is to be told
	told    bool                  // everything was told once
}

// podName names a pod among those that are there now; Place.Key among all that
// ever were.
type podName struct{ Namespace, Name string }

// change is what happened to the pods of one name.
type change struct {
	gone map[string]bool // keys of former pods
	at   time.Time       // of the first change
}

// podSource is a namespace, or all, that is listed and watched.
type podSource struct {
	pods    map[podName]*pod
	listed  bool
	refusal error // why it cannot be listed; nil when it was, or when nothing is known
}

func newWatcher(l *Live, scope Scope) *watcher {
	w := &watcher{
		live:     l,
		scope:    scope,
		resolver: newResolver(l, scope),
		wake:     make(chan struct{}, 1),
		sources:  map[string]*podSource{},
		changed:  map[podName]change{},
	}
	for _, namespace := range scope.each() {
		w.sources[namespace] = &podSource{pods: map[podName]*pod{}}
	}
	return w
}

// signal wakes tell.
func (w *watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// follow lists and watches a namespace until ctx ends, with a new list each
// resync period.
func (w *watcher) follow(ctx context.Context, namespace string) {
	source := pagedLists{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			pods, version, err := w.live.listPods(ctx, namespace, w.scope.Selector)
			if err != nil {
				w.refused(namespace, err)
				return nil, err
			}
			return newReducedList(pods, version), nil
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			opts.Watch, opts.LabelSelector, opts.FieldSelector = true, w.scope.Selector, runningPods
			stream, err := w.live.core.Get().Namespace(namespace).Resource("pods").VersionedParams(&opts, w.live.codec).Watch(ctx)
			if err != nil {
				w.refused(namespace, err)
			}
			return stream, err
		},
	}}
	for ctx.Err() == nil {
		period, cancel := context.WithTimeout(ctx, w.live.resync)
		cache.NewReflectorWithOptions(source, nil, &podStore{w, namespace}, cache.ReflectorOptions{
			Logger:          &w.live.log,
			Name:            "pods",
			TypeDescription: "pods",
			Backoff:         &wait.Backoff{Duration: retryAfter / 2, Factor: 2, Jitter: 1, Steps: 5, Cap: 10 * time.Second},
		}).RunWithContext(period)
		cancel()
	}
}

// pagedLists makes a reflector list in our own way, page by page, and not by a watch.
type pagedLists struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is asked for by package cache.
func (pagedLists) IsWatchListSemanticsUnSupported() bool { return true }

// refused notes that a namespace could not be read.
func (w *watcher) refused(namespace string, err error) {
	err = w.live.podsError(namespace, err)
	w.live.health.failed(err, w.live.now())
	if dossier.KindOf(err) != dossier.KindDenied {
		return // tried again by the reflector
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.sources[namespace]; s.refusal == nil {
		s.refusal = err
		w.syncDue = true
	}
	w.signal()
}

// replace takes in a whole list of a namespace.
func (w *watcher) replace(namespace string, pods map[podName]*pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sources[namespace]
	s.pods, s.listed, s.refusal = pods, true, nil
	w.syncDue = true
	w.signal()
}

// change takes in one pod, or that it is gone.
func (w *watcher) change(namespace string, p *pod, gone bool) {
	now := dossier.Instant(w.live.now())
	w.live.health.ok(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	name := podName{p.Namespace, p.Name}
	s := w.sources[namespace]
	before := s.pods[name]
	if !gone && reflect.DeepEqual(before, p) {
		return // something else of it has changed
	}
	c, ok := w.changed[name]
	if !ok {
		c = change{gone: map[string]bool{}, at: now}
	}
	if !gone {
		s.pods[name] = p
	} else {
		c.gone[p.key()] = true
		if before != nil && before.UID == p.UID {
			delete(s.pods, name)
		}
	}
	w.changed[name] = c
	w.signal()
}

// tell tells all there is to tell.
func (w *watcher) tell(ctx context.Context, handler func(context.Context, Event) error) error {
	for ctx.Err() == nil {
		more, err := w.tellBatch(ctx, handler)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// tellBatch tells the whole state or some of the changes, and reports whether
// there may be more. A server that does not answer leaves all as it was.
func (w *watcher) tellBatch(ctx context.Context, handler func(context.Context, Event) error) (more bool, err error) {
	if ready, err := w.ready(); err != nil || !ready {
		return false, err
	}
	batch, snapshot := w.take()
	if snapshot == nil && len(batch) == 0 {
		return false, nil
	}
	if snapshot != nil {
		w.resolver = newResolver(w.live, w.scope) // owners may have changed, too
	}
	var pods []*pod
	for _, c := range batch {
		if c.pod != nil {
			pods = append(pods, c.pod)
		}
	}
	if err := w.resolver.prepare(ctx, pods); err != nil {
		w.putBack(batch, snapshot != nil)
		w.live.health.failed(err, w.live.now())
		sleep(ctx, retryAfter)
		return true, nil
	}
	if snapshot != nil {
		w.resolver.fill(snapshot, pods)
		if err := handler(ctx, Event{Kind: EventSync, Snapshot: *snapshot, At: snapshot.At}); err != nil {
			return false, err
		}
		w.live.health.synced(true)
		return true, nil
	}
	e := Event{Kind: EventPods, Pods: map[string][]dossier.Place{}, At: batch[0].at}
	for _, c := range batch {
		for key := range c.gone {
			e.Pods[key] = nil
		}
		if c.pod != nil {
			e.Pods[c.pod.key()] = w.resolver.places(c.pod)
		}
	}
	if err := handler(ctx, e); err != nil {
		return false, err
	}
	return true, nil
}

// ready reports whether the first state is complete. Without any namespace
// that could ever be read it returns why.
func (w *watcher) ready() (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told {
		return true, nil
	}
	for namespace, s := range w.sources {
		if !s.listed && s.refusal == nil {
			return false, nil
		}
		if namespace == "" && !s.listed {
			return false, s.refusal
		}
	}
	w.told = true
	return true, nil
}

// taken is one pod name whose change is being told.
type taken struct {
	podName
	change
	pod *pod // nil: there is none now
}

// take removes what is to be told next: everything, with an empty snapshot to
// fill, or some changes.
func (w *watcher) take() ([]taken, *Snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var batch []taken
	if w.syncDue {
		w.syncDue = false
		w.changed = map[podName]change{}
		s := &Snapshot{Cluster: w.live.cluster, Scope: w.scope, At: dossier.Instant(w.live.now())}
		for _, namespace := range slices.Sorted(maps.Keys(w.sources)) {
			source := w.sources[namespace]
			if source.refusal != nil {
				s.Problems = append(s.Problems, Problem{Where: namespace, Err: source.refusal})
			}
			for name, p := range source.pods {
				batch = append(batch, taken{podName: name, pod: p})
			}
		}
		return batch, s
	}
	for name, c := range w.changed {
		if len(batch) == maxBatch {
			break
		}
		delete(w.changed, name)
		t := taken{podName: name, change: c, pod: w.pod(name)}
		if t.pod != nil {
			delete(t.gone, t.pod.key())
		}
		batch = append(batch, t)
	}
	slices.SortFunc(batch, func(a, b taken) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.Name, b.Name)) })
	return batch, nil
}

// pod returns the pod of that name that is there now, or nil.
func (w *watcher) pod(name podName) *pod {
	if s := w.sources[name.Namespace]; s != nil {
		return s.pods[name]
	}
	if s := w.sources[""]; s != nil {
		return s.pods[name]
	}
	return nil
}

// putBack undoes take, beside what has changed since.
func (w *watcher) putBack(batch []taken, everything bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if everything {
		w.syncDue = true
		return
	}
	for _, t := range batch {
		c, ok := w.changed[t.podName]
		if !ok {
			w.changed[t.podName] = t.change
			continue
		}
		maps.Copy(c.gone, t.gone)
		c.at = t.at
		w.changed[t.podName] = c
	}
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// podStore is what a reflector fills: it hands everything on to the watcher.
type podStore struct {
	watcher   *watcher
	namespace string
}

// Add implements cache.ReflectorStore.
func (s *podStore) Add(obj any) error { return s.Update(obj) }

// Update implements cache.ReflectorStore.
func (s *podStore) Update(obj any) error {
	if in, ok := obj.(*corev1.Pod); ok {
		p := reduce(in)
		s.watcher.change(s.namespace, &p, p.Ended)
	}
	return nil
}

// Delete implements cache.ReflectorStore.
func (s *podStore) Delete(obj any) error {
	if in, ok := obj.(*corev1.Pod); ok {
		p := reduce(in)
		s.watcher.change(s.namespace, &p, true)
	}
	return nil
}

// Replace implements cache.ReflectorStore.
func (s *podStore) Replace(list []any, _ string) error {
	pods := make(map[podName]*pod, len(list))
	for _, obj := range list {
		if item, ok := obj.(*reduced[pod]); ok {
			pods[podName{item.kept.Namespace, item.kept.Name}] = &item.kept
		}
	}
	s.watcher.replace(s.namespace, pods)
	return nil
}

// Resync implements cache.ReflectorStore; there is nothing to do.
func (s *podStore) Resync() error { return nil }

// Bookmark implements cache.ReflectorBookmarkStore: the server is there.
func (s *podStore) Bookmark(string) error {
	s.watcher.live.health.ok(s.watcher.live.now())
	return nil
}
