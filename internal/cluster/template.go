// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"dossier.dev/dossier"
)

// templateKind is a kind of object that has a pod template, or had one.
type templateKind struct {
	name     string
	resource string
	client   func(*Live) rest.Interface
	list     func() runtime.Object // an empty list
}

func coreClient(l *Live) rest.Interface  { return l.core }
func appsClient(l *Live) rest.Interface  { return l.apps }
func batchClient(l *Live) rest.Interface { return l.batch }

// templateKinds returns all that Kubernetes defines. A ReplicaSet is the rollout history of a
// Deployment, a ControllerRevision that of a StatefulSet or a DaemonSet.
func templateKinds() []templateKind {
	return []templateKind{
		{"Deployment", "deployments", appsClient, func() runtime.Object { return &appsv1.DeploymentList{} }},
		{"StatefulSet", "statefulsets", appsClient, func() runtime.Object { return &appsv1.StatefulSetList{} }},
		{"DaemonSet", "daemonsets", appsClient, func() runtime.Object { return &appsv1.DaemonSetList{} }},
		{"ReplicaSet", "replicasets", appsClient, func() runtime.Object { return &appsv1.ReplicaSetList{} }},
		{"ControllerRevision", "controllerrevisions", appsClient, func() runtime.Object { return &appsv1.ControllerRevisionList{} }},
		{"Job", "jobs", batchClient, func() runtime.Object { return &batchv1.JobList{} }},
		{"CronJob", "cronjobs", batchClient, func() runtime.Object { return &batchv1.CronJobList{} }},
		{"ReplicationController", "replicationcontrollers", coreClient, func() runtime.Object { return &corev1.ReplicationControllerList{} }},
		{"PodTemplate", "podtemplates", coreClient, func() runtime.Object { return &corev1.PodTemplateList{} }},
	}
}

// named is what one object names.
type named struct {
	object Object
	owner  string // "KIND/NAME" of its controller
	images string // as written, each once, sorted, separated by a character that is in none
	fault  string // why the template could not be read; empty: it could
}

// separator lies between the images of a named.
const separator = "\x00"

// reduceTemplate keeps of an object what it names. ok is false for an object of
// another kind.
func reduceTemplate(kind string, o runtime.Object) (n named, ok bool) {
	m, err := meta.Accessor(o)
	if err != nil {
		return named{}, false
	}
	n.object = Object{Namespace: bound(m.GetNamespace(), MaxName), Kind: kind, Name: bound(m.GetName(), MaxName)}
	if c := controller(nil, m.GetOwnerReferences()); c != nil {
		n.owner = c.Kind + "/" + c.Name
	}
	var pods []pod
	if r, is := o.(*appsv1.ControllerRevision); is {
		pods, err = revisionPods(r.Data.Raw)
		if err != nil {
			n.fault = err.Error()
		}
	} else if spec := podSpec(o); spec != nil {
		var p pod
		p.addSpec(spec)
		pods = []pod{p}
	} else {
		return named{}, false
	}
	n.images = imagesOf(pods)
	return n, true
}

// podSpec returns the spec in the pod template of an object, or nil.
func podSpec(o runtime.Object) *corev1.PodSpec {
	switch o := o.(type) {
	case *appsv1.Deployment:
		return &o.Spec.Template.Spec
	case *appsv1.StatefulSet:
		return &o.Spec.Template.Spec
	case *appsv1.DaemonSet:
		return &o.Spec.Template.Spec
	case *appsv1.ReplicaSet:
		return &o.Spec.Template.Spec
	case *batchv1.Job:
		return &o.Spec.Template.Spec
	case *batchv1.CronJob:
		return &o.Spec.JobTemplate.Spec.Template.Spec
	case *corev1.PodTemplate:
		return &o.Template.Spec
	case *corev1.ReplicationController:
		if o.Spec.Template == nil {
			return &corev1.PodSpec{}
		}
		return &o.Spec.Template.Spec
	}
	return nil
}

// revisionPods finds the pod templates in the data of a ControllerRevision,
// whoever wrote it.
func revisionPods(data []byte) ([]pod, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, jsonError(err)
	}
	t, _ := v.(tree)
	if spec := field(t, "spec", "template", "spec"); spec != nil {
		p, err := treePodSpec(spec) // of a StatefulSet or a DaemonSet
		return []pod{p}, err
	}
	w := podWalk{limit: DefaultDepth}
	err := w.walk(v, 0)
	return w.pods, err
}

// imagesOf returns the images of pods in the form of named.images.
func imagesOf(pods []pod) string {
	var images []string
	for _, p := range pods {
		for _, c := range p.Containers {
			images = append(images, c.Image)
		}
	}
	slices.Sort(images)
	text := ""
	for i, image := range slices.Compact(images) {
		if i > 0 {
			text += separator
		}
		text += image
	}
	return text
}

// listTemplates lists what the objects of a kind name in a namespace ("": all),
// each page reduced as soon as it is there.
func (l *Live) listTemplates(ctx context.Context, kind templateKind, namespace string) ([]named, string, error) {
	var all []named
	version, err := l.pages(ctx, metav1.ListOptions{}, func() { all = all[:0] }, func(ctx context.Context, opts metav1.ListOptions) (page, int, error) {
		list := kind.list()
		err := kind.client(l).Get().Namespace(namespace).Resource(kind.resource).VersionedParams(&opts, l.codec).Do(ctx).Into(list)
		if err != nil {
			return nil, 0, err
		}
		n := 0
		err = meta.EachListItem(list, func(o runtime.Object) error {
			if kept, ok := reduceTemplate(kind.name, o); ok {
				all = append(all, kept)
			}
			n++
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		m, err := meta.ListAccessor(list)
		return m, n, err
	})
	return all, version, err
}

// watchTemplates watches the objects of a kind.
func (l *Live) watchTemplates(ctx context.Context, kind templateKind, namespace string, opts metav1.ListOptions) (watch.Interface, error) {
	opts.Watch = true
	return kind.client(l).Get().Namespace(namespace).Resource(kind.resource).VersionedParams(&opts, l.codec).Watch(ctx)
}

// pins gives what an object names.
func (n named) pins(cluster string) []dossier.Pin {
	if n.images == "" {
		return nil
	}
	var pins []dossier.Pin
	for image := range strings.SplitSeq(n.images, separator) {
		pins = append(pins, dossier.Pin{
			Cluster: cluster, Namespace: n.object.Namespace, Kind: n.object.Kind, Name: n.object.Name, Owner: n.owner, Reference: image,
		})
	}
	return pins
}
