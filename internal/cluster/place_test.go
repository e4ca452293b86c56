// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dossier.dev/dossier"
)

// imageFields are all fields of the API's pods and workloads that have to do
// with images, with what becomes of them.
func imageFields() map[string]string {
	const (
		place   = "a place"
		policy  = "Place.PullPolicy"
		imageID = "Place.ImageID"
		leadsTo = "leads to one of the others"
		no      = "no container image"
	)
	return map[string]string{
		"Container.Image":                          place,
		"Container.ImagePullPolicy":                policy,
		"EphemeralContainerCommon.Image":           place,
		"EphemeralContainerCommon.ImagePullPolicy": policy,
		"ImageVolumeSource.Reference":              place,
		"ImageVolumeSource.PullPolicy":             policy,
		"VolumeSource.Image":                       leadsTo,
		"PodSpec.ImagePullSecrets":                 "Place.Secrets",
		"ContainerStatus.Image":                    "the runtime's own name for what Requested says; not kept",
		"ContainerStatus.ImageID":                  imageID,
		"VolumeStatus.Image":                       leadsTo,
		"ImageVolumeStatus.ImageRef":               imageID,
		"RBDVolumeSource.RBDImage":                 no,
	}
}

// TestImageFields fails when the API gets a field that names an image and that
// this package does not know.
func TestImageFields(t *testing.T) {
	found := map[string]bool{}
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walk(typ.Elem())
			return
		case reflect.Map:
			walk(typ.Key())
			walk(typ.Elem())
			return
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			field := typ.Field(i)
			words := strings.ToLower(typ.Name() + " " + field.Name + " " + field.Tag.Get("json"))
			if strings.Contains(words, "image") && !field.Anonymous {
				found[typ.Name()+"."+field.Name] = true
			}
			walk(field.Type)
		}
	}
	for _, v := range []any{
		corev1.Pod{}, corev1.PodTemplate{}, corev1.ReplicationController{},
		appsv1.Deployment{}, appsv1.StatefulSet{}, appsv1.DaemonSet{}, appsv1.ReplicaSet{}, batchv1.Job{}, batchv1.CronJob{},
	} {
		walk(reflect.TypeOf(v))
	}
	known := imageFields()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(found))); diff != "" {
		t.Errorf("fields that have to do with images: -known +found\n%s", diff)
	}
}

// fullPod uses every field that matters.
func fullPod() *corev1.Pod {
	mount := []corev1.VolumeMountStatus{{
		Name: "models", MountPath: "/models",
		VolumeStatus: &corev1.VolumeStatus{Image: &corev1.ImageVolumeStatus{ImageRef: "models@sha256:" + hexDigits}},
	}, {Name: "tmp", MountPath: "/scratch"}}
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "p", UID: "u", Labels: map[string]string{"b": "2", "a": ""},
			OwnerReferences: []metav1.OwnerReference{{Kind: "X", Name: "no"}, *ownedBy("apps/v1", "StatefulSet", "set", "s")},
		},
		Spec: corev1.PodSpec{
			NodeName:            "n1",
			ImagePullSecrets:    []corev1.LocalObjectReference{{Name: "one"}, {}, {Name: "two"}},
			Containers:          []corev1.Container{{Name: "c", Image: "app"}, {Name: "later"}, {Name: "d", Image: "app:1", ImagePullPolicy: "Never"}},
			InitContainers:      []corev1.Container{{Name: "i", Image: "init:1"}},
			EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: "debug"}}},
			Volumes: []corev1.Volume{
				{Name: "models", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "models:v1"}}},
				{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning,
			ContainerStatuses: []corev1.ContainerStatus{
				{Name: "c", Image: "app", ImageID: "app@sha256:" + hexDigits, VolumeMounts: mount},
				{Name: "d", ImageID: "docker://sha256:" + hexDigits},
			},
			InitContainerStatuses: []corev1.ContainerStatus{{
				Name: "i", ImageID: "init@sha256:" + hexDigits, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}},
			}},
			EphemeralContainerStatuses: []corev1.ContainerStatus{{Name: "e"}},
		},
	}
}

// A pod gives the same places whether the API server or a file tells of it.
func TestReduceAgreesWithFiles(t *testing.T) {
	mirror := fullPod()
	mirror.Annotations = map[string]string{mirrorAnnotation: ""}
	bare := fullPod()
	bare.OwnerReferences = nil
	failed := fullPod()
	failed.Status.Phase = corev1.PodFailed
	pending := fullPod()
	pending.Status = corev1.PodStatus{Phase: corev1.PodPending}
	for name, in := range map[string]*corev1.Pod{"full": fullPod(), "mirror": mirror, "bare": bare, "failed": failed, "pending": pending, "empty": {
		TypeMeta: fullPod().TypeMeta, ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "y"},
	}} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			s := read(t, string(text), FileOptions{})
			p := reduce(in)
			r := newResolver(&Live{cluster: s.Cluster}, Scope{})
			want := r.places(&p)
			sortPlaces(want)
			for i := range s.Places {
				s.Places[i].Source = ""
			}
			if len(want) == 0 {
				want = nil
			}
			if len(s.Places) == 0 {
				s.Places = nil
			}
			if diff := cmp.Diff(want, s.Places); diff != "" {
				t.Errorf("-API +file\n%s", diff)
			}
			if wantPlaces := map[string]int{"full": 5, "mirror": 5, "bare": 5, "pending": 5}[name]; len(want) != wantPlaces {
				t.Errorf("got %d places, want %d", len(want), wantPlaces)
			}
		})
	}
	p := reduce(fullPod())
	ids := map[string]bool{}
	for _, c := range p.Containers {
		ids[c.Name+" "+c.ImageID] = true
	}
	for _, want := range []string{"c app@sha256:" + hexDigits, "d docker://sha256:" + hexDigits, "i init@sha256:" + hexDigits, "e ", "models models@sha256:" + hexDigits} {
		if !ids[want] {
			t.Errorf("no container with image ID %q in %v", want, ids)
		}
	}
}

func TestBounds(t *testing.T) {
	long := strings.Repeat("é", 5000)
	in := fullPod()
	in.Spec.Containers[0].Image = long
	in.Spec.Containers[0].Name = long
	in.Labels = map[string]string{"a": "1", "b": strings.Repeat("x", MaxLabels), "c,d": "no", "e": "f=g"}
	for _, place := range reducePlaces(in) {
		if len(place.Requested) > MaxImage || len(place.Container) > MaxName {
			t.Errorf("got a place with %d and %d bytes", len(place.Requested), len(place.Container))
		}
		if strings.Contains(place.Requested+place.Container, "\ufffd") {
			t.Error("a character is cut in two")
		}
		if got, want := place.Labels, "a=1"; got != want {
			t.Errorf("labels: got %.40q, want %q", got, want)
		}
	}
}

func reducePlaces(in *corev1.Pod) []dossier.Place {
	p := reduce(in)
	return p.places(p.workload("c"), "", "")
}

func TestDefaultPolicy(t *testing.T) {
	for image, want := range map[string]string{
		"nginx":                            "Always",
		"nginx:latest":                     "Always",
		"localhost:5000/nginx":             "Always",
		"nginx:1.25":                       "IfNotPresent",
		"nginx@sha256:" + hexDigits:        "IfNotPresent",
		"nginx:latest@sha256:" + hexDigits: "Always",
		"$(IMAGE)":                         "IfNotPresent",
	} {
		if got := defaultPolicy(image); got != want {
			t.Errorf("defaultPolicy(%q): got %s, want %s", image, got, want)
		}
	}
}

func TestSelector(t *testing.T) {
	for _, tt := range []struct {
		selector, labels string
		want             bool
		kind             dossier.Kind
	}{
		{"", "", true, ""},
		{"", "a=1", true, ""},
		{"a", "a=1", true, ""},
		{"!a", "a=1", false, ""},
		{"a=1,b!=2", "a=1,b=3", true, ""},
		{"a=1,b!=2", "a=1", true, ""},
		{"a in (1,2)", "a=2", true, ""},
		{"a notin (1,2)", "a=2", false, ""},
		{"a=1", "", false, ""},
		{"app.kubernetes.io/name=web", "app.kubernetes.io/name=web,x=", true, ""},
		{"x=", "x=", true, ""},
		{"a=b=c", "a=1", false, dossier.KindInvalid},
	} {
		match, err := ParseSelector(tt.selector)
		if got := err == nil && match(tt.labels); got != tt.want || dossier.KindOf(err) != tt.kind {
			t.Errorf("%q of %q: got %v, %v, want %v, kind %q", tt.selector, tt.labels, got, err, tt.want, tt.kind)
		}
	}
}

func FuzzSelector(f *testing.F) {
	f.Add("a=1,b in (x,y),!c", "a=1,b=x")
	f.Add("", "")
	f.Add("((", ",,==")
	f.Fuzz(func(t *testing.T, selector, podLabels string) {
		match, err := ParseSelector(selector)
		if err == nil {
			match(podLabels)
		} else if dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("ParseSelector(%q): got %v, want kind invalid", selector, err)
		}
	})
}

// Whatever a list or one of the watches asks of the server, Rules grant.
func TestRulesSuffice(t *testing.T) {
	f := newFakeAPI(t)
	f.put(newPod("a", "p", "app:1", ownedBy("apps/v1", "ReplicaSet", "r", "rs")))
	f.put(newPod("a", "q", "app:1", ownedBy("batch/v1", "Job", "j", "job")))
	f.addMeta("/apis/apps/v1/replicasets", "a", "r", "rs", ownedBy("apps/v1", "Deployment", "d", "d"))
	f.addMeta("/apis/batch/v1/jobs", "a", "j", "job", ownedBy("batch/v1", "CronJob", "c", "cron"))
	for i := range listThreshold + 1 {
		name := string(rune('a' + i))
		f.put(newPod("a", "many-"+name, "app:1", ownedBy("apps/v1", "StatefulSet", name, "set-"+name)))
	}
	l := f.connect(t, Options{})
	w := startWatch(t, l, Scope{})
	w.next()
	startWatchTemplates(t, l).sync(func(Naming) bool { return true })
	if _, err := l.List(t.Context(), Scope{Namespaces: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, request := range f.requests {
		path, query, _ := strings.Cut(request, "?")
		group, resource, name := splitPath(path)
		verb := "get"
		if name == "" {
			verb = "list"
		}
		if strings.Contains(query, "watch=") {
			verb = "watch"
		}
		if !granted(group, resource, name, verb) {
			t.Errorf("no rule grants %s %s %q in group %q", verb, resource, name, group)
		}
	}
}

// splitPath takes the path of a request apart.
func splitPath(path string) (group, resource, name string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if parts[0] == "apis" {
		group, parts = parts[1], parts[1:]
	}
	parts = parts[2:]
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	resource = parts[0]
	if len(parts) > 1 {
		name = parts[1]
	}
	return group, resource, name
}

func granted(group, resource, name, verb string) bool {
	return slices.ContainsFunc(Rules(), func(r Rule) bool {
		return r.APIGroup == group && slices.Contains(r.Resources, resource) && slices.Contains(r.Verbs, verb) &&
			(len(r.Names) == 0 || slices.Contains(r.Names, name))
	})
}
