// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

// kubernetes is an API server that knows one list of pods and one watch.
type kubernetes struct {
	mu      sync.Mutex
	version int
	pods    map[string]map[string]any
	events  []event
	changed chan struct{} // closed and made anew at each change
	down    bool
}

// event is a line of a watch.
type event struct {
	version int
	line    []byte
}

func startKubernetes(t *testing.T) (*kubernetes, ClusterOptions) {
	t.Helper()
	k := &kubernetes{version: 1, pods: map[string]map[string]any{}, changed: make(chan struct{})}
	server := httptest.NewServer(k)
	t.Cleanup(func() {
		k.setDown(true)
		server.Close()
	})
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "test",
"contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
"clusters": [{"name": "c", "cluster": {"server": %q}}], "users": [{"name": "u", "user": {}}]}`, server.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return k, ClusterOptions{Kubeconfig: file}
}

// change changes something with the lock held and wakes the watches.
func (k *kubernetes) change(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.version++
	f()
	close(k.changed)
	k.changed = make(chan struct{})
}

// setDown makes the server refuse everything, and ends its watches.
func (k *kubernetes) setDown(down bool) { k.change(func() { k.down = down }) }

// run makes a pod run an image.
func (k *kubernetes) run(name, image, imageID string) {
	k.change(func() {
		kind := "MODIFIED"
		if k.pods[name] == nil {
			kind = "ADDED"
		}
		k.pods[name] = map[string]any{
			"apiVersion": "v1", "kind": "Pod",
			"metadata": map[string]any{"name": name, "namespace": "prod", "uid": "u-" + name, "resourceVersion": strconv.Itoa(k.version)},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "main", "image": image}}},
			"status":   map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{"name": "main", "image": image, "imageID": imageID}}},
		}
		k.tell(kind, name)
	})
}

func (k *kubernetes) remove(name string) {
	k.change(func() {
		k.pods[name]["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(k.version)
		k.tell("DELETED", name)
		delete(k.pods, name)
	})
}

func (k *kubernetes) tell(kind, name string) {
	line, _ := json.Marshal(map[string]any{"type": kind, "object": k.pods[name]})
	k.events = append(k.events, event{k.version, append(line, '\n')})
}

// ServeHTTP implements http.Handler.
func (k *kubernetes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	k.mu.Lock()
	down := k.down
	k.mu.Unlock()
	switch {
	case down:
		panic(http.ErrAbortHandler)
	case strings.HasSuffix(r.URL.Path, "/namespaces/kube-system"):
		fmt.Fprint(w, `{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"name":"kube-system","uid":"cluster-uid"}}`)
	case r.URL.Path == "/api/v1/pods" && r.URL.Query().Get("watch") != "":
		k.watch(w, r)
	case r.URL.Path == "/api/v1/pods":
		k.mu.Lock()
		defer k.mu.Unlock()
		items := []any{}
		for _, p := range k.pods {
			items = append(items, p)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "v1", "kind": "PodList", "items": items,
			"metadata": map[string]any{"resourceVersion": strconv.Itoa(k.version)}})
	default: // nodes, owners
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"Forbidden","code":403}`)
	}
}

func (k *kubernetes) watch(w http.ResponseWriter, r *http.Request) {
	since, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	control := http.NewResponseController(w)
	for {
		k.mu.Lock()
		changed, down := k.changed, k.down
		events := slices.Clone(k.events)
		k.mu.Unlock()
		if down {
			return
		}
		for _, e := range events {
			if e.version > since {
				_, _ = w.Write(e.line)
				since = e.version
			}
		}
		_ = control.Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// eventually waits until f says "", else says what f said last.
func eventually(t *testing.T, f func() string) {
	t.Helper()
	said := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if said = f(); said == "" {
			return
		}
	}
	t.Fatal(said)
}

// TestServeFollowsACluster sees pods come, change and go, also while the
// cluster cannot be reached.
func TestServeFollowsACluster(t *testing.T) {
	k, options := startKubernetes(t)
	// Its registry refuses connections: what is known comes from the cluster.
	one, two := dossier.FromBytes([]byte("1")), dossier.FromBytes([]byte("2"))
	const app = "127.0.0.1:9/app"
	k.run("a", app+":1", app+"@"+string(one))
	s := serve(t, ServeConfig{Config: Config{Data: sqltest.Dir(t)}, Listen: "127.0.0.1:0", Cluster: options})
	c := newClient(t, s.url, client.Options{})
	running := func(want map[dossier.Digest]int) {
		t.Helper()
		eventually(t, func() string {
			list, err := c.Images(t.Context(), dossier.ImagesQuery{Namespaces: []string{"prod"}})
			if err != nil {
				return err.Error()
			}
			got := map[dossier.Digest]int{}
			for _, d := range list.Images {
				if d.Pods() > 0 {
					got[d.Digest] = d.Pods()
				}
			}
			if fmt.Sprint(got) == fmt.Sprint(want) {
				return ""
			}
			return fmt.Sprintf("running: %v, want %v", got, want)
		})
	}
	running(map[dossier.Digest]int{one: 1})
	// What was listed can be seen a moment before the server says that all was.
	eventually(t, func() string {
		status, body := fetch(t, s.url+"/readyz")
		if status == http.StatusOK {
			return ""
		}
		return fmt.Sprintf("readiness: %d\n%s", status, body)
	})
	k.run("b", app+":1", app+"@"+string(one))
	running(map[dossier.Digest]int{one: 2})
	k.run("b", app+":2", app+"@"+string(two))
	running(map[dossier.Digest]int{one: 1, two: 1})
	k.setDown(true)
	k.remove("a")
	k.setDown(false)
	running(map[dossier.Digest]int{two: 1})
	_, metrics := fetch(t, s.url+"/metrics")
	for _, want := range []string{"dossier_cluster_watch_synced 1", "dossier_cluster_watch_age_seconds ", `dossier_facts_total{kind="cluster.run",outcome="recorded"} `} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if err := s.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
}
