// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
)

// fakeAPI is an API server that speaks as much of the protocol as the package
// needs: paged lists, watches with history, metadata, refusals.
type fakeAPI struct {
	*httptest.Server
	codecs serializer.CodecFactory

	mu       sync.Mutex
	version  int
	oldest   int // versions before it are forgotten
	pods     map[string]*corev1.Pod
	history  []podEvent
	changed  chan struct{}                            // closed and made anew at each change
	metas    map[string]*metav1.PartialObjectMetadata // by path of the object
	kinds    map[string][]metav1.APIResource          // by path of the group
	objects  map[string]map[string]any                // with pod templates, by path
	told     []objectEvent                            // of them
	refuse   map[string]int                           // status by path prefix
	down     bool
	expire   int // continue tokens to refuse
	requests []string
	accepted map[string]string // header by path
}

// podEvent is a change in the form of the watch protocol.
type podEvent struct {
	version int
	typ     string
	pod     corev1.Pod
}

func newFakeAPI(t testing.TB) *fakeAPI {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	f := &fakeAPI{
		codecs:   serializer.NewCodecFactory(scheme),
		version:  100,
		pods:     map[string]*corev1.Pod{},
		changed:  make(chan struct{}),
		metas:    map[string]*metav1.PartialObjectMetadata{},
		kinds:    map[string][]metav1.APIResource{},
		objects:  map[string]map[string]any{},
		refuse:   map[string]int{},
		accepted: map[string]string{},
	}
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.restart(true)
		f.Close()
	})
	f.addMeta("/api/v1/namespaces", "", "kube-system", "cluster-uid", nil)
	return f
}

// connect returns a Live to the fake.
func (f *fakeAPI) connect(t testing.TB, opt Options) *Live {
	t.Helper()
	opt.Kubeconfig = kubeconfig(t, f.URL)
	opt.QPS, opt.Burst = 10_000, 10_000
	l, err := Connect(t.Context(), opt)
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	return l
}

// kubeconfig writes one for a server.
func kubeconfig(t testing.TB, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "test",
"contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
"clusters": [{"name": "c", "cluster": {"server": %q}}], "users": [{"name": "u", "user": {}}]}`, server)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// set runs f with the lock held.
func (f *fakeAPI) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// tellWatches wakes all watches. The lock is held.
func (f *fakeAPI) tellWatches() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// restart ends all connections of watches; when down, the server answers nothing.
func (f *fakeAPI) restart(down bool) {
	f.set(func() {
		f.down = down
		f.tellWatches()
	})
	if down {
		f.CloseClientConnections()
	}
}

// forget drops the history: watches from before are told 410 Gone.
func (f *fakeAPI) forget() {
	f.set(func() {
		f.version++
		f.oldest, f.history = f.version, nil
		f.tellWatches()
	})
}

// put adds or changes a pod.
func (f *fakeAPI) put(p *corev1.Pod) {
	f.set(func() {
		f.version++
		key, typ := p.Namespace+"/"+p.Name, "ADDED"
		if f.pods[key] != nil {
			typ = "MODIFIED"
		}
		if ended(p) {
			typ = "DELETED"
		}
		p = p.DeepCopy()
		p.ResourceVersion = strconv.Itoa(f.version)
		f.pods[key] = p
		f.history = append(f.history, podEvent{f.version, typ, *p})
		f.tellWatches()
	})
}

// remove deletes a pod.
func (f *fakeAPI) remove(namespace, name string) {
	f.set(func() {
		f.version++
		p := f.pods[namespace+"/"+name].DeepCopy()
		p.ResourceVersion = strconv.Itoa(f.version)
		delete(f.pods, namespace+"/"+name)
		f.history = append(f.history, podEvent{f.version, "DELETED", *p})
		f.tellWatches()
	})
}

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// addMeta adds an object of which only metadata is known.
func (f *fakeAPI) addMeta(groupPath, namespace, name, uid string, owner *metav1.OwnerReference) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid), ResourceVersion: "1"},
	}
	if owner != nil {
		m.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	dir, resource := filepath.Split(groupPath)
	if namespace != "" {
		resource = "namespaces/" + namespace + "/" + resource
	}
	f.set(func() { f.metas[dir+resource+"/"+name] = m })
	return m
}

// count counts requests with a prefix of "PATH?QUERY".
func (f *fakeAPI) count(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// ServeHTTP implements http.Handler.
func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.URL.Path+"?"+r.URL.RawQuery)
	f.accepted[r.URL.Path] = r.Header.Get("Accept")
	down, status := f.down, 0
	for prefix, code := range f.refuse {
		if strings.HasPrefix(r.URL.Path, prefix) {
			status = code
		}
	}
	kinds, isGroup := f.kinds[r.URL.Path]
	object := f.metas[r.URL.Path]
	f.mu.Unlock()
	q := r.URL.Query()
	namespace, isPods := podsPath(r.URL.Path)
	switch {
	case down:
		panic(http.ErrAbortHandler)
	case status != 0:
		writeStatus(w, status)
	case isGroup:
		writeJSON(w, 200, metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, APIResources: kinds})
	case object != nil:
		writeJSON(w, 200, object)
	case isPods && q.Get("watch") != "":
		f.watchPods(w, r, namespace)
	case isPods:
		f.listPods(w, r, namespace)
	case strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadata"):
		f.listMetas(w, r)
	case q.Get("watch") != "":
		f.watchObjects(w, r)
	default:
		f.listObjects(w, r)
	}
}

func podsPath(path string) (namespace string, ok bool) {
	if path == "/api/v1/pods" {
		return "", true
	}
	rest, ok := strings.CutPrefix(path, "/api/v1/namespaces/")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "/pods")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// newStatus is a refusal.
func newStatus(code int) metav1.Status {
	reason := map[int]metav1.StatusReason{
		401: metav1.StatusReasonUnauthorized, 403: metav1.StatusReasonForbidden, 404: metav1.StatusReasonNotFound, 410: metav1.StatusReasonExpired,
	}[code]
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   "Failure", Code: int32(code), Reason: reason, Message: "refused",
	}
}

func writeStatus(w http.ResponseWriter, code int) { writeJSON(w, code, newStatus(code)) }

// selected reports whether a request's selectors choose a pod.
func selected(r *http.Request, namespace string, p *corev1.Pod) bool {
	q := r.URL.Query()
	l, err := labels.Parse(q.Get("labelSelector"))
	if err != nil {
		panic(err)
	}
	fs, err := fields.ParseSelector(q.Get("fieldSelector"))
	if err != nil {
		panic(err)
	}
	phase := fields.Set{"status.phase": string(p.Status.Phase)}
	return (namespace == "" || p.Namespace == namespace) && l.Matches(labels.Set(p.Labels)) && fs.Matches(phase)
}

// listPods answers with protobuf, a page at a time.
func (f *fakeAPI) listPods(w http.ResponseWriter, r *http.Request, namespace string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := r.URL.Query()
	if q.Get("continue") != "" && f.expire > 0 {
		f.expire--
		writeStatus(w, 410)
		return
	}
	list := corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(f.version)}}
	keys := slices.Sorted(maps.Keys(f.pods))
	keys = slices.DeleteFunc(keys, func(key string) bool { return !selected(r, namespace, f.pods[key]) })
	keys, list.Continue = pageOf(keys, q.Get("continue"), q.Get("limit"))
	for _, key := range keys {
		list.Items = append(list.Items, *f.pods[key])
	}
	for _, info := range f.codecs.SupportedMediaTypes() {
		if info.MediaType == runtime.ContentTypeProtobuf {
			w.Header().Set("Content-Type", info.MediaType)
			if err := f.codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion).Encode(&list, w); err != nil {
				panic(err)
			}
		}
	}
}

// pageOf cuts a page out of a list and gives the token of the next.
func pageOf[T any](all []T, token, limit string) ([]T, string) {
	start, _ := strconv.Atoi(token)
	n, err := strconv.Atoi(limit)
	if err != nil || start+n >= len(all) {
		return all[start:], ""
	}
	return all[start : start+n], strconv.Itoa(start + n)
}

// listMetas lists the objects whose paths are those of a resource.
func (f *fakeAPI) listMetas(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, resource := filepath.Split(r.URL.Path)
	list := metav1.PartialObjectMetadataList{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"},
		ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(f.version)},
	}
	for path, m := range f.metas {
		if strings.HasPrefix(path, dir) && strings.Contains(path[len(dir)-1:], "/"+resource+"/") {
			list.Items = append(list.Items, *m)
		}
	}
	if len(list.Items) == 0 {
		writeStatus(w, 404)
		return
	}
	slices.SortFunc(list.Items, func(a, b metav1.PartialObjectMetadata) int { return cmp.Compare(a.UID, b.UID) })
	list.Items, list.Continue = pageOf(list.Items, r.URL.Query().Get("continue"), r.URL.Query().Get("limit"))
	writeJSON(w, 200, list)
}

// watchPods answers with the history since a version, then with what changes.
func (f *fakeAPI) watchPods(w http.ResponseWriter, r *http.Request, namespace string) {
	since, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(200)
	encoder := json.NewEncoder(w)
	for {
		f.mu.Lock()
		changed, gone, down := f.changed, since < f.oldest, f.down
		var events []podEvent
		for _, e := range f.history {
			if e.version > since && (selected(r, namespace, &e.pod) || e.typ == "DELETED" && (namespace == "" || e.pod.Namespace == namespace)) {
				events = append(events, e)
			}
			since = max(since, e.version)
		}
		f.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		if gone {
			_ = encoder.Encode(map[string]any{"type": "ERROR", "object": newStatus(410)})
			return
		}
		for _, e := range events {
			e.pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
			_ = encoder.Encode(map[string]any{"type": e.typ, "object": e.pod})
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// newPod is a pod that runs an image, with an owner when kind is not "".
func newPod(namespace, name, image string, owner *metav1.OwnerReference) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name)},
		Spec: corev1.PodSpec{
			NodeName:   "n1",
			Containers: []corev1.Container{{Name: "c", Image: image, ImagePullPolicy: corev1.PullIfNotPresent}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if owner != nil {
		p.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	return p
}

// ownedBy refers to a controller.
func ownedBy(apiVersion, kind, name, uid string) *metav1.OwnerReference {
	yes := true
	return &metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID(uid), Controller: &yes}
}
