// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"dossier.dev/dossier"
)

func TestConnect(t *testing.T) {
	f := newFakeAPI(t)
	l := f.connect(t, Options{})
	if diff := cmp.Diff(dossier.Cluster{ID: "cluster-uid", Name: "test"}, l.Cluster()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	f.set(func() { f.refuse["/api/v1/namespaces/kube-system"] = 403 })
	first, second := f.connect(t, Options{}), f.connect(t, Options{Context: "test"})
	if id := first.Cluster().ID; !strings.HasPrefix(id, "host:") || id != second.Cluster().ID {
		t.Errorf("forbidden: got IDs %s and %s, want one that begins with host:", id, second.Cluster().ID)
	}
}

func TestIsNear(t *testing.T) {
	for _, tt := range []struct {
		host, token string
		want        bool
	}{
		{"https://127.0.0.1:6443", "", true},
		{"https://[::1]:6443/path", "", true},
		{"localhost:8080", "", true},
		{"127.0.0.1:8080", "", true},
		{"https://10.96.0.1:443", serviceAccountToken, true},
		{"https://10.96.0.1:443", "", false},
		{"https://api.example.com", "/other/token", false},
		{"https://localhost.example.com", "", false},
		{":", "", false},
	} {
		if got := isNear(&rest.Config{Host: tt.host, BearerTokenFile: tt.token}); got != tt.want {
			t.Errorf("isNear(%q, %q): got %v, want %v", tt.host, tt.token, got, tt.want)
		}
	}
}

func TestConnectErrors(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := kubeconfig(t, "http://"+closed.Addr().String())
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	unauthorized := newFakeAPI(t)
	unauthorized.set(func() { unauthorized.refuse["/"] = 401 })
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("a: b: c"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for _, tt := range []struct {
		name string
		opt  Options
		want dossier.Kind
		says string
	}{
		{"no server", Options{Kubeconfig: nowhere}, dossier.KindUnavailable, "127.0.0.1"},
		{"silent server", Options{Kubeconfig: kubeconfig(t, "http://"+silent.Addr().String()), Timeout: 50 * time.Millisecond}, dossier.KindUnavailable, "127.0.0.1"},
		{"unauthorized", Options{Kubeconfig: kubeconfig(t, unauthorized.URL)}, dossier.KindDenied, "127.0.0.1"},
		{"no file", Options{Kubeconfig: filepath.Join(t.TempDir(), "none")}, dossier.KindNotFound, "none"},
		{"nothing configured", Options{}, dossier.KindNotFound, "none"},
		{"unknown context", Options{Kubeconfig: nowhere, Context: "other"}, dossier.KindInvalid, "other"},
		{"broken file", Options{Kubeconfig: broken}, dossier.KindInvalid, "broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			begin := time.Now()
			_, err := Connect(t.Context(), tt.opt)
			if dossier.KindOf(err) != tt.want || dossier.HintOf(err) == "" || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v (kind %q, hint %q), want kind %q that says %q, with a hint", err, dossier.KindOf(err), dossier.HintOf(err), tt.want, tt.says)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestListPages(t *testing.T) {
	f := newFakeAPI(t)
	const n = 2*PageSize + 50
	for i := range n {
		set := fmt.Sprintf("web-%d", i%20)
		f.put(newPod("shop", fmt.Sprintf("p-%04d", i), "app:1", ownedBy("apps/v1", "ReplicaSet", set+"-abc", "rs-"+set)))
	}
	for i := range 20 {
		set := fmt.Sprintf("web-%d", i)
		f.addMeta("/apis/apps/v1/replicasets", "shop", set+"-abc", "rs-"+set, ownedBy("apps/v1", "Deployment", set, "d-"+set))
		f.addMeta("/apis/apps/v1/deployments", "shop", set, "d-"+set, nil)
	}
	node := f.addMeta("/api/v1/nodes", "", "n1", "node-1", nil)
	node.Labels = map[string]string{osLabel: "linux", archLabel: "arm64"}
	f.put(newPod("shop", "done", "app:1", nil))
	finished := newPod("shop", "done", "app:1", nil)
	finished.Status.Phase = corev1.PodSucceeded
	f.put(finished)
	f.set(func() { f.expire = 1 })

	l := f.connect(t, Options{})
	before := f.count("/")
	s, err := l.List(t.Context(), Scope{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Places) != n || len(s.Problems) != 0 {
		t.Fatalf("got %d places and %v, want %d", len(s.Places), s.Problems, n)
	}
	for _, p := range s.Places {
		if p.Kind != "Deployment" || p.Platform != "linux/arm64" || !strings.HasPrefix(p.Name, "web-") {
			t.Fatalf("got %+v, want a Deployment on linux/arm64", p)
		}
	}
	// Pods: the first page twice, as the second one was refused. Twenty owners
	// of a kind come by a list, one node by name.
	if got, want := f.count("/")-before, 5+1+1+1; got != want {
		t.Errorf("requests: got %d, want %d", got, want)
	}
	if !slices.ContainsFunc(f.requests, func(r string) bool { return strings.Contains(r, "fieldSelector=status.phase") }) {
		t.Errorf("pods that have ended are not left to the server: %q", f.requests)
	}
	if a := f.accepted["/api/v1/pods"]; !strings.HasPrefix(a, "application/vnd.kubernetes.protobuf") {
		t.Errorf("pods were asked for as %q", a)
	}
	if a := f.accepted["/apis/apps/v1/namespaces/shop/replicasets"]; !strings.Contains(a, "as=PartialObjectMetadataList") {
		t.Errorf("owners were asked for as %q", a)
	}
	if h := l.Health(); h.LastContact.IsZero() || h.LastError != nil {
		t.Errorf("health: got %+v", h)
	}
}

func TestListOwners(t *testing.T) {
	f := newFakeAPI(t)
	f.set(func() {
		f.kinds["/apis/argoproj.io/v1alpha1"] = []metav1.APIResource{
			{Name: "rollouts", Kind: "Rollout", Namespaced: true},
			{Name: "rollouts/status", Kind: "Rollout", Namespaced: true},
			{Name: "fleets", Kind: "Fleet"},
		}
		f.refuse["/apis/secret.io"] = 403
		f.refuse["/apis/broken.io"] = 503
		f.refuse["/apis/batch/v1/namespaces/a/jobs"] = 403
	})
	f.put(newPod("a", "bare", "app:1", nil))
	f.put(newPod("a", "rollout", "app:1", ownedBy("apps/v1", "ReplicaSet", "r-1", "u1")))
	f.addMeta("/apis/apps/v1/replicasets", "a", "r-1", "u1", ownedBy("argoproj.io/v1alpha1", "Rollout", "r", "u2"))
	f.addMeta("/apis/argoproj.io/v1alpha1/rollouts", "a", "r", "u2", ownedBy("argoproj.io/v1alpha1", "Fleet", "f", "u3"))
	f.addMeta("/apis/argoproj.io/v1alpha1/fleets", "", "f", "u3", nil)
	f.put(newPod("a", "missing", "app:1", ownedBy("apps/v1", "StatefulSet", "gone", "u4")))
	f.put(newPod("a", "renewed", "app:1", ownedBy("apps/v1", "DaemonSet", "ds", "u5")))
	f.addMeta("/apis/apps/v1/daemonsets", "a", "ds", "another", ownedBy("x/v1", "Not", "this", "u6"))
	f.put(newPod("a", "unknown", "app:1", ownedBy("nowhere.io/v1", "Thing", "t", "u7")))
	f.put(newPod("a", "secret", "app:1", ownedBy("secret.io/v1", "Thing", "s", "u8")))
	f.put(newPod("a", "broken", "app:1", ownedBy("broken.io/v1", "Thing", "b", "u9")))
	f.put(newPod("a", "job", "app:1", ownedBy("batch/v1", "Job", "j", "u10")))
	f.put(newPod("a", "odd", "app:1", ownedBy("a/b/c", "Odd", "o", "u11")))
	f.put(newPod("a", "loop", "app:1", ownedBy("apps/v1", "Deployment", "l", "u12")))
	f.addMeta("/apis/apps/v1/deployments", "a", "l", "u12", ownedBy("apps/v1", "Deployment", "l", "u12"))
	static := newPod("a", "static", "app:1", ownedBy("v1", "Node", "n1", "node-1"))
	static.Annotations = map[string]string{mirrorAnnotation: "x"}
	f.put(static)

	s, err := f.connect(t, Options{}).List(t.Context(), Scope{Namespaces: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range s.Places {
		got[p.Pod] = p.Kind + "/" + p.Name
	}
	want := map[string]string{
		"bare": "Pod/bare", "rollout": "Fleet/f", "missing": "StatefulSet/gone", "renewed": "DaemonSet/ds", "unknown": "Thing/t",
		"secret": "Thing/s", "broken": "Thing/b", "job": "Job/j", "odd": "Odd/o", "loop": "Deployment/l", "static": "Pod/static",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff([]string{"jobs denied"}, problems(s)); diff != "" {
		t.Errorf("problems: -want +got\n%s", diff)
	}
}

func TestListScope(t *testing.T) {
	f := newFakeAPI(t)
	for _, ns := range []string{"a", "b", "c"} {
		p := newPod(ns, "p", "app:1", nil)
		p.Labels = map[string]string{"ns": ns}
		f.put(p)
	}
	f.set(func() { f.refuse["/api/v1/namespaces/b/"] = 403 })
	l := f.connect(t, Options{})
	for _, tt := range []struct {
		name           string
		scope          Scope
		want, problems []string
		kind           dossier.Kind
	}{
		{name: "all", want: []string{"a", "b", "c"}},
		{name: "selector", scope: Scope{Selector: "ns in (a,c)"}, want: []string{"a", "c"}},
		{name: "one twice", scope: Scope{Namespaces: []string{"a", "a"}}, want: []string{"a"}},
		{name: "one forbidden", scope: Scope{Namespaces: []string{"a", "b"}}, want: []string{"a"}, problems: []string{"b denied"}},
		{name: "malformed", scope: Scope{Selector: "=="}, kind: dossier.KindInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := l.List(t.Context(), tt.scope)
			var got []string
			for _, p := range s.Places {
				got = append(got, p.Namespace)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || dossier.KindOf(err) != tt.kind {
				t.Errorf("got error %v, places -want +got\n%s", err, diff)
			}
			if diff := cmp.Diff(tt.problems, problems(s)); diff != "" {
				t.Errorf("problems: -want +got\n%s", diff)
			}
		})
	}
	f.set(func() { f.refuse["/api/v1/pods"] = 403 })
	_, err := l.List(t.Context(), Scope{})
	if dossier.KindOf(err) != dossier.KindDenied || !strings.Contains(dossier.HintOf(err), "-n") {
		t.Errorf("all forbidden: got %v (hint %q), want denied with a hint at -n", err, dossier.HintOf(err))
	}
	if err := l.Watch(t.Context(), Scope{}, nil); dossier.KindOf(err) != dossier.KindDenied {
		t.Errorf("watching all forbidden: got %v, want denied", err)
	}
	if l.Health().LastError == nil {
		t.Error("health: got no error, want one")
	}
	f.restart(true)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.List(short, Scope{}); dossier.KindOf(err) != dossier.KindUnavailable || dossier.HintOf(err) == "" {
		t.Errorf("server down: got %v, want unavailable with a hint", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.List(canceled, Scope{}); err == nil {
		t.Error("canceled: got no error")
	}
}

func BenchmarkList(b *testing.B) {
	f := newFakeAPI(b)
	for i := range 10_000 {
		f.put(newPod("shop", fmt.Sprintf("p-%05d", i), "app:1", nil))
	}
	l := f.connect(b, Options{})
	b.ReportAllocs()
	for b.Loop() {
		if s, err := l.List(b.Context(), Scope{}); err != nil || len(s.Places) != 10_000 {
			b.Fatalf("got %d places, %v", len(s.Places), err)
		}
	}
}
