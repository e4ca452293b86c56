// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// mirrorAnnotation marks the API server's copy of a static pod.
const mirrorAnnotation = "kubernetes.io/config.mirror"

// The labels by which a node says what it is.
const (
	osLabel   = "kubernetes.io/os"
	archLabel = "kubernetes.io/arch"
)

// object is what matters of an object in a manifest.
type object struct {
	Kind, Namespace, Name, UID string

	Owner    *owner
	Source   string // file:line
	Pods     []pod  // the pod itself, or the templates in it
	Platform string // of a Node
	Idle     bool   // it makes no pods any more: a finished Job, a ReplicaSet scaled to zero by its owner
}

// templatePath says where the kinds that Kubernetes defines have their pod template.
func templatePath(kind string) ([]string, bool) {
	switch kind {
	case "PodTemplate":
		return []string{"template"}, true
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job":
		return []string{"spec", "template"}, true
	case "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template"}, true
	}
	return nil, false
}

// newObject reads an object of any kind. An object that names no images, and
// is neither a Node nor owned by another, gives nil.
func newObject(t tree, kind, namespace, source string, depth int) (*object, error) {
	meta := field(t, "metadata")
	o := &object{
		Kind:      kind,
		Namespace: text(meta, "namespace", MaxName),
		Name:      text(meta, "name", MaxName),
		UID:       text(meta, "uid", MaxName),
		Owner:     treeOwner(meta),
		Source:    source,
	}
	if o.Namespace == "" {
		o.Namespace = namespace
	}
	if o.Name == "" {
		o.Name = text(meta, "generateName", MaxName)
	}
	var err error
	path, known := templatePath(kind)
	switch {
	case known:
		template := field(t, path...)
		o.Idle = idle(t, o)
		o.Pods, err = templates(template, field(template, "spec"))
	case kind == "Pod":
		o.Pods, err = treePod(t, o)
	case kind == "Node":
		o.Platform = nodePlatform(t)
	default:
		w := podWalk{limit: depth}
		err = w.walk(t, 0)
		o.Pods = w.pods
	}
	if err != nil {
		return nil, err
	}
	if len(o.Pods) > 0 && o.Name == "" {
		return nil, invalidError("metadata.name", fmt.Sprintf("the %s has no name", o.Kind))
	}
	if len(o.Pods) == 0 && o.Owner == nil && o.Platform == "" {
		return nil, nil
	}
	for i := range o.Pods {
		o.Pods[i].Namespace = o.Namespace
	}
	return o, nil
}

// idle reports whether a workload with this status will make no pods.
func idle(t tree, o *object) bool {
	switch o.Kind {
	case "ReplicaSet":
		replicas, set := field(t, "spec")["replicas"].(float64)
		return o.Owner != nil && set && replicas == 0
	case "Job":
		for _, c := range objects(field(t, "status"), "conditions") {
			if kind := text(c, "type", MaxName); (kind == "Complete" || kind == "Failed") && text(c, "status", MaxName) == "True" {
				return true
			}
		}
	}
	return false
}

// nodePlatform reads a Node's platform from its labels, or else from its status.
func nodePlatform(t tree) string {
	labels := field(t, "metadata", "labels")
	if p := platform(text(labels, osLabel, MaxName), text(labels, archLabel, MaxName)); p != "" {
		return p
	}
	info := field(t, "status", "nodeInfo")
	return platform(text(info, "operatingSystem", MaxName), text(info, "architecture", MaxName))
}

// treeOwner returns the controller of an object, or nil. The Node that owns a
// mirror pod does not count: such a pod is its own workload.
func treeOwner(meta tree) *owner {
	if _, mirror := field(meta, "annotations")[mirrorAnnotation]; mirror {
		return nil
	}
	for _, ref := range objects(meta, "ownerReferences") {
		o := owner{
			APIVersion: text(ref, "apiVersion", MaxName),
			Kind:       text(ref, "kind", MaxName),
			Name:       text(ref, "name", MaxName),
			UID:        text(ref, "uid", MaxName),
		}
		if flag(ref, "controller") && o.Kind != "" && o.Kind != "Node" && o.Name != "" {
			return &o
		}
	}
	return nil
}

// treePod reads a Pod, with what its status says of its images.
func treePod(t tree, o *object) ([]pod, error) {
	spec, status := field(t, "spec"), field(t, "status")
	p, err := treePodSpec(spec)
	if err != nil {
		return nil, err
	}
	p.Name, p.UID, p.Owner = o.Name, o.UID, o.Owner
	p.Labels = treeLabels(field(t, "metadata"))
	p.Node = text(spec, "nodeName", MaxName)
	phase := text(status, "phase", MaxName)
	p.Ended = phase == "Succeeded" || phase == "Failed"
	ids := imageIDs{}
	for typ, key := range statusKeys() {
		for _, s := range objects(status, key) {
			ids.set(typ, text(s, "name", MaxName), text(s, "imageID", MaxImage))
			for _, m := range objects(s, "volumeMounts") {
				ids.set(dossier.ImageVolume, text(m, "name", MaxName), text(field(m, "volumeStatus", "image"), "imageRef", MaxImage))
			}
		}
	}
	ids.fill(p.Containers)
	return []pod{p}, nil
}

// statusKeys says in which list of a pod's status each type of container is.
func statusKeys() map[dossier.ContainerType]string {
	return map[dossier.ContainerType]string{
		dossier.Container:          "containerStatuses",
		dossier.InitContainer:      "initContainerStatuses",
		dossier.EphemeralContainer: "ephemeralContainerStatuses",
	}
}

// imageIDs collects the image IDs in a pod's status.
type imageIDs map[imageKey]string

type imageKey struct {
	Type dossier.ContainerType
	Name string
}

func (ids imageIDs) set(typ dossier.ContainerType, name, id string) {
	if id != "" {
		ids[imageKey{typ, name}] = id
	}
}

func (ids imageIDs) fill(containers []container) {
	for i, c := range containers {
		containers[i].ImageID = ids[imageKey{c.Type, c.Name}]
	}
}

// templates reads a pod template, whose spec is given, as a list of one pod, or
// of none when it names no image.
func templates(template, spec tree) ([]pod, error) {
	p, err := treePodSpec(spec)
	if err != nil || len(p.Containers) == 0 {
		return nil, err
	}
	p.Labels = treeLabels(field(template, "metadata"))
	return []pod{p}, nil
}

func treeLabels(meta tree) string {
	labels := map[string]string{}
	for k, v := range field(meta, "labels") {
		if s, ok := v.(string); ok {
			labels[k] = s
		}
	}
	return joinLabels(labels)
}

// treePodSpec reads a pod spec. KindInvalid: a field that matters has the wrong form.
func treePodSpec(spec tree) (pod, error) {
	var p pod
	for _, list := range []struct {
		key string
		typ dossier.ContainerType
	}{
		{"containers", dossier.Container},
		{"initContainers", dossier.InitContainer},
		{"ephemeralContainers", dossier.EphemeralContainer},
	} {
		cs, err := treeContainers(spec, list.key, list.typ)
		if err != nil {
			return pod{}, err
		}
		p.Containers = append(p.Containers, cs...)
	}
	for _, v := range objects(spec, "volumes") {
		image, ok := v["image"].(tree)
		if !ok {
			continue
		}
		p.add(dossier.ImageVolume, text(v, "name", MaxName), text(image, "reference", MaxImage), text(image, "pullPolicy", MaxName))
	}
	for _, s := range objects(spec, "imagePullSecrets") {
		if name := text(s, "name", MaxName); name != "" {
			p.Secrets = append(p.Secrets, name)
		}
	}
	return p, nil
}

// treeContainers reads one list of containers. Those without an image, which an
// admission webhook may set later, are left out.
func treeContainers(spec tree, key string, typ dossier.ContainerType) ([]container, error) {
	var p pod
	list, ok := spec[key].([]any)
	if !ok && spec[key] != nil {
		return nil, invalidError(key, "it is not a list")
	}
	for i, v := range list {
		c, ok := v.(tree)
		if !ok {
			return nil, invalidError(fmt.Sprintf("%s[%d]", key, i), "it is not an object")
		}
		if _, ok := c["image"].(string); !ok && c["image"] != nil {
			return nil, invalidError(fmt.Sprintf("%s[%d].image", key, i), "it is not a string")
		}
		p.add(typ, text(c, "name", MaxName), text(c, "image", MaxImage), text(c, "imagePullPolicy", MaxName))
	}
	return p.Containers, nil
}

// add adds a container, unless it has no image.
func (p *pod) add(typ dossier.ContainerType, name, image, policy string) {
	if image == "" {
		return
	}
	if policy == "" {
		policy = defaultPolicy(image)
	}
	p.Containers = append(p.Containers, container{Name: name, Type: typ, Image: image, Policy: policy})
}

// podWalk finds pod specs in an object of unknown kind, wherever they are.
type podWalk struct {
	limit int // levels
	pods  []pod
}

// walk looks at v and below. What the object says of its state does not count.
func (w *podWalk) walk(v any, depth int) error {
	if depth > w.limit {
		return limitError("nesting", fmt.Sprintf("it is nested more than %d levels deep", w.limit))
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if err := w.walk(item, depth+1); err != nil {
				return err
			}
		}
	case tree:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if depth == 0 && (key == "status" || key == "metadata") {
				continue
			}
			child, ok := v[key].(tree)
			if !ok || !isPodSpec(child) {
				if err := w.walk(v[key], depth+1); err != nil {
					return err
				}
				continue
			}
			pods, err := templates(v, child)
			if err != nil {
				return err
			}
			w.pods = append(w.pods, pods...)
		}
	}
	return nil
}

// isPodSpec reports whether t has a list of containers that all have an image.
func isPodSpec(t tree) bool {
	list, _ := t["containers"].([]any)
	for _, v := range list {
		c, _ := v.(tree)
		if text(c, "image", MaxImage) == "" {
			return false
		}
	}
	return len(list) > 0
}

// itemKind returns the kind of those items of a list that do not say it: Pod
// for a PodList, "" for a List. ok is false when kind is not that of a list.
func itemKind(kind string) (item string, ok bool) {
	return strings.CutSuffix(kind, "List")
}
