// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"dossier.dev/dossier"
)

// Paths of resources.
const (
	deployments  = "/apis/apps/v1/deployments"
	replicaSets  = "/apis/apps/v1/replicasets"
	statefulSets = "/apis/apps/v1/statefulsets"
	daemonSets   = "/apis/apps/v1/daemonsets"
	revisions    = "/apis/apps/v1/controllerrevisions"
	jobs         = "/apis/batch/v1/jobs"
	cronJobs     = "/apis/batch/v1/cronjobs"
)

// controlled is an object of a kind with a pod template at spec.template.
func controlled(apiVersion, kind, name, spec, owner string) string {
	owners := "[]"
	if owner != "" {
		kind, name, _ := strings.Cut(owner, "/")
		owners = fmt.Sprintf(`[{"apiVersion": "apps/v1", "kind": %q, "name": %q, "uid": "u", "controller": true}]`, kind, name)
	}
	return fmt.Sprintf(`{"apiVersion": %q, "kind": %q, "metadata": {"namespace": "shop", "name": %q, "uid": "u-%s", "ownerReferences": %s},
"spec": {"template": {"spec": %s}}}`, apiVersion, kind, name, name, owners, spec)
}

func containing(image string) string {
	return fmt.Sprintf(`{"containers": [{"name": "main", "image": %q}]}`, image)
}

// named says what WatchTemplates has told so far.
type namedState struct {
	t      *testing.T
	events chan Naming
	pins   map[dossier.Pin]bool
	last   Naming
}

func startWatchTemplates(t *testing.T, l *Live, namespaces ...string) *namedState {
	t.Helper()
	w := &namedState{t: t, events: make(chan Naming), pins: map[dossier.Pin]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- l.WatchTemplates(ctx, namespaces, func(ctx context.Context, n Naming) error {
			select {
			case w.events <- n:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("WatchTemplates: got %v, want nil when its context ends", err)
		}
	})
	return w
}

// until takes in events until one makes what is known this: "KIND/NAME image",
// sorted.
func (w *namedState) until(want ...string) {
	w.t.Helper()
	deadline := time.After(patience)
	for {
		got := []string{}
		for p := range w.pins {
			got = append(got, p.Kind+"/"+p.Name+" "+p.Reference)
		}
		slices.Sort(got)
		if w.last.Kind != "" && cmp.Equal(got, want) {
			return
		}
		select {
		case n := <-w.events:
			w.apply(n)
		case <-deadline:
			w.t.Fatalf("what is named (-want +got):\n%s", cmp.Diff(want, got))
		}
	}
}

// sync takes in events up to a full one that f takes.
func (w *namedState) sync(f func(Naming) bool) Naming {
	w.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case n := <-w.events:
			if w.apply(n); n.Kind == EventSync && f(n) {
				return n
			}
		case <-deadline:
			w.t.Fatalf("no such list came; the last is %+v", w.last)
		}
	}
}

func (w *namedState) apply(n Naming) {
	w.last = n
	for p := range w.pins {
		if n.Kind == EventSync && !n.Unread(p) || slices.Contains(n.Objects, Object{p.Namespace, p.Kind, p.Name}) {
			delete(w.pins, p)
		}
	}
	for _, p := range n.Pins {
		w.pins[p] = true
	}
}

// TestTemplates follows every kind of object that names images.
func TestTemplates(t *testing.T) {
	f := newFakeAPI(t)
	f.apply(t, deployments, controlled("apps/v1", "Deployment", "web", `{
"containers": [{"name": "a", "image": "web:2"}, {"name": "b", "image": "proxy:1"}, {"name": "c", "image": "proxy:1"}],
"initContainers": [{"name": "i", "image": "init:1"}],
"volumes": [{"name": "v", "image": {"reference": "data:1"}}, {"name": "e", "emptyDir": {}}]}`, ""))
	f.apply(t, replicaSets, controlled("apps/v1", "ReplicaSet", "web-old", containing("web:1"), "Deployment/web"))
	f.apply(t, statefulSets, controlled("apps/v1", "StatefulSet", "db", containing("db:2"), ""))
	f.apply(t, daemonSets, controlled("apps/v1", "DaemonSet", "agent", containing("agent:2"), ""))
	f.apply(t, revisions, `{"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"namespace": "shop", "name": "db-1"}, "revision": 1,
"data": {"spec": {"template": {"$patch": "replace", "spec": {"containers": [{"name": "m", "image": "db:1"}, {"name": "set later"}]}}}}}`)
	f.apply(t, revisions, `{"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"namespace": "shop", "name": "clone-1"}, "revision": 1,
"data": {"workload": {"podSpec": {"containers": [{"name": "m", "image": "clone:1"}]}}}}`)
	f.apply(t, jobs, controlled("batch/v1", "Job", "done", containing("job:1"), ""))
	f.apply(t, cronJobs, `{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"namespace": "shop", "name": "night"},
"spec": {"suspend": true, "jobTemplate": {"spec": {"template": {"spec": `+containing("night:1")+`}}}}}`)
	f.apply(t, "/api/v1/replicationcontrollers", controlled("v1", "ReplicationController", "rc", containing("rc:1"), ""))
	f.apply(t, "/api/v1/podtemplates", `{"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"namespace": "shop", "name": "pt"},
"template": {"spec": `+containing("pt:1")+`}}`)
	all := []string{
		"ControllerRevision/clone-1 clone:1", "ControllerRevision/db-1 db:1", "CronJob/night night:1", "DaemonSet/agent agent:2",
		"Deployment/web data:1", "Deployment/web init:1", "Deployment/web proxy:1", "Deployment/web web:2", "Job/done job:1",
		"PodTemplate/pt pt:1", "ReplicaSet/web-old web:1", "ReplicationController/rc rc:1", "StatefulSet/db db:2",
	}
	w := startWatchTemplates(t, f.connect(t, Options{}))
	w.until(all...)
	if w.last.Kind != EventSync || w.last.At.IsZero() || len(w.last.Problems) > 0 {
		t.Errorf("the first event is %+v, want a full list without problems", w.last)
	}
	want := dossier.Pin{Cluster: "cluster-uid", Namespace: "shop", Kind: "ReplicaSet", Name: "web-old", Owner: "Deployment/web", Reference: "web:1"}
	if !w.pins[want] {
		t.Errorf("%+v is not among %v", want, w.pins)
	}

	f.apply(t, deployments, controlled("apps/v1", "Deployment", "web", containing("web:3"), ""))
	f.drop(replicaSets, "shop", "web-old")
	all = slices.DeleteFunc(all, func(s string) bool { return strings.Contains(s, "web") })
	all = append(all, "Deployment/web web:3")
	slices.Sort(all)
	w.until(all...)
	if w.last.Kind != EventObjects {
		t.Errorf("the last event is %+v, want one of objects", w.last)
	}
}

// TestTemplatesOfNamespaces follows some namespaces.
func TestTemplatesOfNamespaces(t *testing.T) {
	f := newFakeAPI(t)
	f.apply(t, deployments, controlled("apps/v1", "Deployment", "web", containing("web:1"), ""))
	other := strings.Replace(controlled("apps/v1", "Deployment", "other", containing("other:1"), ""), `"shop"`, `"elsewhere"`, 1)
	f.apply(t, deployments, other)
	w := startWatchTemplates(t, f.connect(t, Options{}), "shop")
	w.until("Deployment/web web:1")
	f.apply(t, deployments, controlled("apps/v1", "Deployment", "web", containing("web:2"), ""))
	w.until("Deployment/web web:2")
}

// TestTemplatesRefused checks that what may not be listed is said, that the rest
// is told, and that a right that is granted later is noticed.
func TestTemplatesRefused(t *testing.T) {
	f := newFakeAPI(t)
	f.apply(t, deployments, controlled("apps/v1", "Deployment", "web", containing("web:1"), ""))
	f.apply(t, cronJobs, `{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"namespace": "shop", "name": "night"},
"spec": {"jobTemplate": {"spec": {"template": {"spec": `+containing("night:1")+`}}}}}`)
	f.set(func() {
		f.refuse[cronJobs] = 403
		f.refuse["/api/v1/podtemplates"] = 404 // a kind that the server does not know
	})
	w := startWatchTemplates(t, f.connect(t, Options{Resync: time.Second}))
	n := w.sync(func(Naming) bool { return true })
	if len(n.Problems) != 1 || dossier.KindOf(n.Problems[0].Err) != dossier.KindDenied || !strings.Contains(n.Problems[0].Err.Error(), "cronjobs in all namespaces") {
		t.Errorf("problems: got %v, want that cron jobs may not be listed", n.Problems)
	}
	if !n.Unread(dossier.Pin{Namespace: "shop", Kind: "CronJob"}) || n.Unread(dossier.Pin{Namespace: "shop", Kind: "Job"}) {
		t.Error("unread are not cron jobs alone")
	}
	w.until("Deployment/web web:1")
	f.set(func() { delete(f.refuse, cronJobs) })
	w.sync(func(n Naming) bool { return len(n.Problems) == 0 })
	w.until("CronJob/night night:1", "Deployment/web web:1")

	// While the server is away nothing is forgotten, and no list is told as whole.
	before := w.last.At
	f.restart(true)
	f.drop(cronJobs, "shop", "night")
	w.sync(func(n Naming) bool { return len(n.Problems) > 0 })
	f.restart(false)
	n = w.sync(func(n Naming) bool { return len(n.Problems) == 0 })
	w.until("Deployment/web web:1")
	if n.At.Before(before) {
		t.Errorf("a later list is of %v, before %v", n.At, before)
	}
}

// TestTemplatesUnreadable checks that an object whose template cannot be read
// makes the list incomplete.
func TestTemplatesUnreadable(t *testing.T) {
	f := newFakeAPI(t)
	f.apply(t, revisions, `{"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"namespace": "shop", "name": "db-1"}, "revision": 1,
"data": {"spec": {"template": {"spec": {"containers": "none"}}}}}`)
	w := startWatchTemplates(t, f.connect(t, Options{}))
	n := w.sync(func(Naming) bool { return true })
	if len(n.Problems) != 1 || n.Problems[0].Where != "ControllerRevision/db-1 in shop" {
		t.Errorf("problems: got %v, want that of the revision", n.Problems)
	}
}

// TestFilePins checks that files say what their templates name, also those that
// make no pods any more.
func TestFilePins(t *testing.T) {
	file := filepath.Join(t.TempDir(), "all.json")
	text := controlled("apps/v1", "Deployment", "web", containing("web:2"), "") + "\n" +
		strings.Replace(controlled("apps/v1", "ReplicaSet", "web-old", containing("web:1"), "Deployment/web"), `"spec": {`, `"spec": {"replicas": 0, `, 1) + "\n" +
		`{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "p"}, "spec": ` + containing("pod:1") + `}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := ReadFiles(t.Context(), []string{file}, nil, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pin := dossier.Pin{Cluster: s.Cluster.ID, Namespace: "shop", Kind: "Deployment", Name: "web", Reference: "web:2"}
	want := []dossier.Pin{pin, {Cluster: s.Cluster.ID, Namespace: "shop", Kind: "ReplicaSet", Name: "web-old", Owner: "Deployment/web", Reference: "web:1"}}
	if diff := cmp.Diff(want, s.Pins); diff != "" {
		t.Errorf("pins (-want +got):\n%s", diff)
	}
	s, err = ReadFiles(t.Context(), []string{file}, nil, FileOptions{Scope: Scope{Namespaces: []string{"elsewhere"}}})
	if err != nil || len(s.Pins) > 0 {
		t.Errorf("pins of another namespace: %v, %v", s.Pins, err)
	}
}

// TestRoleInDocs checks that the role in the documents grants what Rules say,
// and nothing else.
func TestRoleInDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/spec/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	role, _, _ := strings.Cut(rest, "```")
	var got struct {
		Kind  string
		Rules []struct {
			APIGroups     []string `yaml:"apiGroups"`
			Resources     []string
			ResourceNames []string `yaml:"resourceNames"`
			Verbs         []string
		}
	}
	if err := yaml.Unmarshal([]byte(role), &got); err != nil {
		t.Fatal(err)
	}
	var written []Rule
	for _, r := range got.Rules {
		written = append(written, Rule{APIGroup: strings.Join(r.APIGroups, ","), Resources: r.Resources, Names: r.ResourceNames, Verbs: r.Verbs})
	}
	rules := Rules()
	for i := range rules {
		rules[i].ClusterWide, rules[i].Optional, rules[i].Why = false, false, ""
	}
	if diff := cmp.Diff(rules, written); diff != "" || got.Kind != "ClusterRole" {
		t.Errorf("the %q of docs/spec/cluster.md (-Rules +written):\n%s", got.Kind, diff)
	}
}
