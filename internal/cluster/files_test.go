// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// read reads text as standard input and fails the test on an error.
func read(t testing.TB, text string, opt FileOptions) Snapshot {
	t.Helper()
	s, err := ReadFiles(t.Context(), []string{Stdin}, strings.NewReader(text), opt)
	if err != nil {
		t.Fatalf("ReadFiles: %v", err)
	}
	return s
}

// brief writes a place in one line: namespace/Kind/name pod type/container image id.
func brief(p dossier.Place) string {
	s := fmt.Sprintf("%s/%s/%s %s %s/%s %s %s", p.Namespace, p.Kind, p.Name, orDash(p.Pod), p.Type, orDash(p.Container), p.Requested, orDash(p.Digest.Short()))
	return s
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func briefs(s Snapshot) []string {
	var all []string
	for _, p := range s.Places {
		all = append(all, brief(p))
	}
	return all
}

func problems(s Snapshot) []string {
	var all []string
	for _, p := range s.Problems {
		all = append(all, p.Where+" "+string(dossier.KindOf(p.Err)))
	}
	return all
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    metadata:
      labels: {app: web, tier: front}
    spec:
      initContainers:
      - {name: setup, image: busybox}
      containers:
      - name: nginx
        image: nginx:1.25
      - name: side
        image: quay.io/a/side:latest
      imagePullSecrets: [{name: reg}, {name: other}]
      volumes:
      - name: models
        image: {reference: "quay.io/a/models:v1"}
      - name: tmp
        emptyDir: {}
`

func TestReadFilesKinds(t *testing.T) {
	template := `{template: {spec: {containers: [{name: c, image: app:1}]}}}`
	for _, tt := range []struct {
		name, in       string
		want, problems []string
	}{
		{
			name: "deployment", in: deployment,
			want: []string{
				"default/Deployment/web - container/nginx nginx:1.25 -",
				"default/Deployment/web - container/side quay.io/a/side:latest -",
				"default/Deployment/web - imageVolume/models quay.io/a/models:v1 -",
				"default/Deployment/web - initContainer/setup busybox -",
			},
		},
		{
			name: "each kind of workload",
			in: strings.Join([]string{
				"{kind: StatefulSet, metadata: {name: a, namespace: x}, spec: " + template + "}",
				"{kind: DaemonSet, metadata: {name: b}, spec: " + template + "}",
				"{kind: ReplicaSet, metadata: {name: c}, spec: " + template + "}",
				"{kind: ReplicationController, metadata: {name: d}, spec: " + template + "}",
				"{kind: Job, metadata: {generateName: e-}, spec: " + template + "}",
				"{kind: CronJob, metadata: {name: f}, spec: {jobTemplate: {spec: " + template + "}}}",
				"{kind: PodTemplate, metadata: {name: g}, template: {spec: {containers: [{name: c, image: app:1}]}}}",
				"{kind: Pod, metadata: {name: h}, spec: {containers: [{name: c, image: app:1}], ephemeralContainers: [{name: d, image: debug:1}]}}",
			}, "\n---\n"),
			want: []string{
				"default/CronJob/f - container/c app:1 -",
				"default/DaemonSet/b - container/c app:1 -",
				"default/Job/e- - container/c app:1 -",
				"default/Pod/h h container/c app:1 -",
				"default/Pod/h h ephemeralContainer/d debug:1 -",
				"default/PodTemplate/g - container/c app:1 -",
				"default/ReplicaSet/c - container/c app:1 -",
				"default/ReplicationController/d - container/c app:1 -",
				"x/StatefulSet/a - container/c app:1 -",
			},
		},
		{
			name: "custom resources",
			in: `
kind: Rollout
metadata: {name: r}
spec: ` + template + `
---
kind: RayCluster
metadata: {name: ray}
spec:
  head: ` + template + `
  workers: [{group: ` + strings.ReplaceAll(template, "app", "worker") + `}]
status: {old: {spec: {containers: [{name: c, image: gone:1}]}}}
---
kind: CustomResourceDefinition
metadata: {name: crd}
spec: {schema: {properties: {containers: {type: array}, image: {type: string}}}}
---
kind: ConfigMap
metadata: {name: no}
data: {x: "containers: [{image: no}]"}
---
kind: Odd
metadata: {name: odd}
spec: {containers: [{name: x}]}
`,
			want: []string{
				"default/RayCluster/ray - container/c app:1 -",
				"default/RayCluster/ray - container/c worker:1 -",
				"default/Rollout/r - container/c app:1 -",
			},
		},
		{
			name: "Helm output",
			in: "# Source: chart/templates/a.yaml\n---\n---\n# only a comment\n---\n# Source: chart/templates/b.yaml\n" +
				"kind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - {name: c, image: app:1}\n---\n\n...\n",
			want: []string{"default/Pod/p p container/c app:1 -"},
		},
		{
			name: "lists",
			in: `
kind: List
items:
- kind: Pod
  metadata: {name: p}
  spec: {containers: [{name: c, image: app:1}]}
- kind: DeploymentList
  items: [{metadata: {name: d}, spec: ` + template + `}]
---
kind: PodList
items:
- metadata: {name: q}
  spec: {containers: [{name: c, image: app:2}]}
---
- {kind: Pod, metadata: {name: r}, spec: {containers: [{name: c, image: app:3}]}}
`,
			want: []string{
				"default/Deployment/d - container/c app:1 -",
				"default/Pod/p p container/c app:1 -",
				"default/Pod/q q container/c app:2 -",
				"default/Pod/r r container/c app:3 -",
			},
		},
		{
			name: "anchors and merge keys",
			in: `
kind: Pod
metadata: {name: p}
base: &base {image: app:1, imagePullPolicy: Never}
spec:
  containers:
  - <<: *base
    name: a
  - name: b
    image: app:2
    <<: [*base]
`,
			want: []string{"default/Pod/p p container/a app:1 -", "default/Pod/p p container/b app:2 -"},
		},
		{
			name: "wrong forms are problems",
			in: `{kind: Pod, metadata: {name: a}, spec: {containers: {name: c, image: app}}}
---
{kind: Pod, metadata: {name: a}, spec: {containers: [app]}}
---
{kind: Pod, metadata: {name: a}, spec: {containers: [{name: c, image: 1.25}]}}
---
{kind: Pod, metadata: {}, spec: {containers: [{name: c, image: app}]}}
---
just text
---
no: kind
---
kind: Pod
 metadata: bad indentation
---
{kind: Pod, metadata: {name: ok}, spec: {containers: [{name: c, image: app:1}]}}
`,
			want:     []string{"default/Pod/ok ok container/c app:1 -"},
			problems: []string{"stdin:1 invalid", "stdin:3 invalid", "stdin:5 invalid", "stdin:7 invalid", "stdin:9 invalid", "stdin:11 invalid", "stdin:14 invalid"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := read(t, tt.in, FileOptions{})
			if diff := cmp.Diff(tt.want, briefs(s)); diff != "" {
				t.Errorf("places: -want +got\n%s", diff)
			}
			if diff := cmp.Diff(tt.problems, problems(s)); diff != "" {
				t.Errorf("problems: -want +got\n%s\n%v", diff, s.Problems)
			}
		})
	}
}

func TestReadFilesPlace(t *testing.T) {
	const in = `
kind: List
items:
- kind: Node
  metadata: {name: n1, labels: {kubernetes.io/os: linux, kubernetes.io/arch: arm64}}
- kind: Node
  metadata: {name: n2}
  status: {nodeInfo: {operatingSystem: linux, architecture: amd64}}
- kind: Pod
  metadata:
    name: web-1
    namespace: shop
    uid: u-1
    labels: {b: "2", a: "1"}
    ownerReferences:
    - {apiVersion: v1, kind: Thing, name: other, uid: o-0}
    - {apiVersion: apps/v1, kind: StatefulSet, name: web, uid: o-1, controller: true}
  spec:
    nodeName: n1
    imagePullSecrets: [{name: reg}]
    containers:
    - {name: c, image: app, imagePullPolicy: Never}
    volumes: [{name: v, image: {reference: models:v1, pullPolicy: Always}}]
  status:
    phase: Running
    containerStatuses:
    - name: c
      image: app
      imageID: quay.io/app@sha256:` + hexDigits + `
      volumeMounts:
      - {name: v, mountPath: /v, volumeStatus: {image: {imageRef: "quay.io/models@sha256:` + hexDigits + `"}}}
- kind: Pod
  metadata: {name: odd}
  spec: {nodeName: n2, containers: [{name: c, image: app:1}]}
  status: {containerStatuses: [{name: c, imageID: "not an ID"}]}
`
	now := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC)
	got := read(t, in, FileOptions{Now: func() time.Time { return now }})
	web := dossier.Workload{Cluster: got.Cluster.ID, Namespace: "shop", Kind: "StatefulSet", Name: "web"}
	want := Snapshot{
		Cluster: dossier.Cluster{ID: got.Cluster.ID, Name: "-"},
		At:      dossier.Instant(now),
		Places: []dossier.Place{
			{
				Workload: dossier.Workload{Cluster: got.Cluster.ID, Namespace: "default", Kind: "Pod", Name: "odd"},
				Pod:      "odd", Container: "c", Type: dossier.Container, Node: "n2", Platform: "linux/amd64",
				Requested: "app:1", ImageID: "not an ID", PullPolicy: "IfNotPresent", Source: "stdin:32",
			},
			{
				Workload: web, Pod: "web-1", PodUID: "u-1", Container: "c", Type: dossier.Container, Node: "n1", Platform: "linux/arm64",
				Requested: "app", ImageID: "quay.io/app@sha256:" + hexDigits, Digest: "sha256:" + hexDigits,
				PullPolicy: "Never", Secrets: []string{"reg"}, Labels: "a=1,b=2", Source: "stdin:9",
			},
			{
				Workload: web, Pod: "web-1", PodUID: "u-1", Container: "v", Type: dossier.ImageVolume, Node: "n1", Platform: "linux/arm64",
				Requested: "models:v1", ImageID: "quay.io/models@sha256:" + hexDigits, Digest: "sha256:" + hexDigits,
				PullPolicy: "Always", Secrets: []string{"reg"}, Labels: "a=1,b=2", Source: "stdin:9",
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestReadFilesOwners(t *testing.T) {
	const (
		spec   = `spec: {containers: [{name: c, image: "app:2"}]}`
		deploy = `{kind: Deployment, metadata: {name: web}, spec: {template: {` + spec + `}}}`
		rs     = `{kind: ReplicaSet, metadata: {name: web-1, ownerReferences: [{kind: Deployment, name: web, controller: true}]}, spec: {replicas: 1, template: {` + spec + `}}}`
		oldRS  = `{kind: ReplicaSet, metadata: {name: web-0, ownerReferences: [{kind: Deployment, name: web, controller: true}]}, spec: {replicas: 0, template: {spec: {containers: [{name: c, image: "app:1"}]}}}}`
		pod    = `{kind: Pod, metadata: {name: web-1-x, ownerReferences: [{kind: ReplicaSet, name: web-1, controller: true}]}, ` + spec + `}`
		ended  = `{kind: Pod, metadata: {name: web-1-y, ownerReferences: [{kind: ReplicaSet, name: web-1, controller: true}]}, ` + spec + `, status: {phase: Failed}}`
		mirror = `{kind: Pod, metadata: {name: etcd-n1, annotations: {kubernetes.io/config.mirror: x}, ownerReferences: [{kind: Node, name: n1, controller: true}]}, ` + spec + `}`
		loop   = `{kind: Foo, metadata: {name: web, ownerReferences: [{kind: Foo, name: web, controller: true}]}, spec: {template: {` + spec + `}}}`
		done   = `{kind: Job, metadata: {name: job}, spec: {template: {` + spec + `}}, status: {conditions: [{type: Complete, status: "True"}]}}`
	)
	for _, tt := range []struct {
		name string
		in   []string
		want []string
	}{
		{"owner known by name only", []string{pod}, []string{"default/ReplicaSet/web-1 web-1-x container/c app:2 -"}},
		{"top owner", []string{pod, rs}, []string{"default/Deployment/web web-1-x container/c app:2 -"}},
		{"pods say more than templates", []string{deploy, rs, oldRS, pod}, []string{"default/Deployment/web web-1-x container/c app:2 -"}},
		{"a template says more than its replica sets", []string{deploy, rs, oldRS}, []string{"default/Deployment/web - container/c app:2 -"}},
		{"ended pods say nothing", []string{deploy, rs, ended}, []string{"default/Deployment/web - container/c app:2 -"}},
		{"old replica set alone", []string{oldRS}, nil},
		{"mirror pod", []string{mirror}, []string{"default/Pod/etcd-n1 etcd-n1 container/c app:2 -"}},
		{"finished job", []string{done}, nil},
		{"owners in a loop", []string{loop}, nil},
		{"the same twice", []string{deploy, deploy}, []string{"default/Deployment/web - container/c app:2 -"}},
		{"two of one name", []string{deploy, strings.ReplaceAll(deploy, ":2", ":3")},
			[]string{"default/Deployment/web - container/c app:2 -", "default/Deployment/web - container/c app:3 -"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := briefs(read(t, strings.Join(tt.in, "\n---\n"), FileOptions{}))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestReadFilesScope(t *testing.T) {
	in := deployment + "---\n" + strings.Replace(strings.ReplaceAll(deployment, "web", "db"), "name: db\n", "name: db\n  namespace: data\n", 1)
	for _, tt := range []struct {
		name  string
		scope Scope
		want  int
		names string
		kind  dossier.Kind
	}{
		{name: "all", want: 8},
		{name: "one", scope: Scope{Namespaces: []string{"data"}}, want: 8, names: "data"}, // what names none belongs there, as with kubectl
		{name: "two", scope: Scope{Namespaces: []string{"data", "x"}}, want: 4},
		{name: "selector", scope: Scope{Selector: "app=web,tier!=back"}, want: 4},
		{name: "nothing", scope: Scope{Selector: "app=nothing"}, want: 0},
		{name: "malformed", scope: Scope{Selector: "a=b=c"}, kind: dossier.KindInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ReadFiles(t.Context(), []string{Stdin}, strings.NewReader(in), FileOptions{Scope: tt.scope})
			if dossier.KindOf(err) != tt.kind || len(s.Places) != tt.want {
				t.Fatalf("got %d places, %v, want %d, kind %q", len(s.Places), err, tt.want, tt.kind)
			}
			for _, p := range s.Places {
				if tt.names != "" && p.Namespace != tt.names {
					t.Errorf("namespace: got %s, want %s", p.Namespace, tt.names)
				}
			}
		})
	}
}

// write makes a directory of files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadFilesPaths(t *testing.T) {
	podJSON := `{"kind":"Pod","metadata":{"name":"j"},"spec":{"containers":[{"name":"c","image":"app:1"}]}}`
	dir := write(t, map[string]string{
		"a.yaml":       deployment,
		"sub/b.JSON":   podJSON,
		"sub/c.yml":    "values: 1\n",
		"notes.txt":    "not: read",
		"sub/bad.yaml": "a: b: c\n",
	})
	s, err := ReadFiles(t.Context(), []string{dir}, nil, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(s.Places), 5; got != want {
		t.Errorf("places: got %d, want %d", got, want)
	}
	if diff := cmp.Diff([]string{filepath.Join(dir, "sub/bad.yaml") + ":1 invalid"}, problems(s)); diff != "" {
		t.Errorf("problems: -want +got\n%s", diff)
	}
	if got, want := s.Places[0].Source, filepath.Join(dir, "a.yaml")+":1"; got != want {
		t.Errorf("source: got %s, want %s", got, want)
	}
	if got, want := s.Cluster.Name, dir; got != want {
		t.Errorf("name: got %s, want %s", got, want)
	}
	if len(s.Cluster.ID) != len("file:")+16 {
		t.Errorf("ID: got %s, want file: and 16 digits", s.Cluster.ID)
	}
	t.Chdir(dir)
	relative, err := ReadFiles(t.Context(), []string{"."}, nil, FileOptions{})
	if err != nil || relative.Cluster.ID != s.Cluster.ID {
		t.Errorf("ID of a relative path: got %s, %v, want %s", relative.Cluster.ID, err, s.Cluster.ID)
	}
	other, err := ReadFiles(t.Context(), []string{"a.yaml"}, nil, FileOptions{})
	if err != nil || other.Cluster.ID == s.Cluster.ID {
		t.Errorf("ID of another path: got %s, %v, want another", other.Cluster.ID, err)
	}
}

func TestReadFilesErrors(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": deployment + "---\n" + deployment, "empty/notes.txt": ""})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name  string
		ctx   context.Context
		paths []string
		opt   FileOptions
		want  dossier.Kind
	}{
		{name: "no path", want: dossier.KindInvalid},
		{name: "missing", paths: []string{filepath.Join(dir, "none.yaml")}, want: dossier.KindNotFound},
		{name: "no manifests", paths: []string{filepath.Join(dir, "empty")}, want: dossier.KindNotFound},
		{name: "no stdin", paths: []string{Stdin}, want: dossier.KindInvalid},
		{name: "documents", paths: []string{dir}, opt: FileOptions{Limits: Limits{Documents: 1}}, want: dossier.KindLimit},
		{name: "bytes", paths: []string{dir}, opt: FileOptions{Limits: Limits{TotalBytes: int64(len(deployment))}}, want: dossier.KindLimit},
		{name: "files", paths: []string{dir, dir}, opt: FileOptions{Limits: Limits{Files: 1}}, want: dossier.KindLimit},
		{name: "canceled", ctx: canceled, paths: []string{dir}, want: dossier.KindInternal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := tt.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			s, err := ReadFiles(ctx, tt.paths, nil, tt.opt)
			if got := dossier.KindOf(err); got != tt.want || s.Places != nil {
				t.Errorf("got %v (%q) and %d places, want %q and none", err, got, len(s.Places), tt.want)
			}
			if ctx == canceled && !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
		})
	}
	if s, err := ReadFiles(t.Context(), []string{dir}, nil, FileOptions{Limits: Limits{TotalBytes: int64(2*len(deployment) + 4)}}); err != nil || len(s.Places) != 4 {
		t.Errorf("exactly the limit: got %d places, %v, want 4", len(s.Places), err)
	}
}

// A mounted ConfigMap is a directory of links into a hidden one.
func TestReadFilesLinks(t *testing.T) {
	dir := write(t, map[string]string{"mount/..2026/a.yaml": deployment, "mount/..2026/bad.yaml": "a: b: c\n"})
	for link, target := range map[string]string{"mount/..data": "..2026", "mount/a.yaml": "..data/a.yaml", "mount/bad.yaml": "..data/bad.yaml", "link": "mount"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	s, err := ReadFiles(t.Context(), []string{link}, nil, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(s.Places), 4; got != want || s.Places[0].Source != filepath.Join(link, "a.yaml")+":1" {
		t.Errorf("places: got %d, want %d: %v", got, want, s.Places)
	}
	if diff := cmp.Diff([]string{filepath.Join(link, "bad.yaml") + ":1 invalid"}, problems(s)); diff != "" {
		t.Errorf("problems: -want +got\n%s", diff)
	}
}
