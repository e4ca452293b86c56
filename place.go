// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"strings"
	"time"
)

// ContainerType says in which list of a pod an image is named.
type ContainerType string

// The container types.
const (
	Container          ContainerType = "container"
	InitContainer      ContainerType = "initContainer"
	EphemeralContainer ContainerType = "ephemeralContainer"
	ImageVolume        ContainerType = "imageVolume" // Name is the volume's
)

// Cluster is a Kubernetes cluster, or a file that stands for one.
type Cluster struct {
	ID   string `json:"id"` // UID of its kube-system namespace, or "file:" and a hash
	Name string `json:"name"`
}

// Workload is the top owner of pods: a Deployment, StatefulSet, DaemonSet, Job,
// CronJob, a custom resource, or the Pod itself when nothing owns it.
type Workload struct {
	Cluster   string `json:"cluster"` // Cluster.ID
	Namespace string `json:"namespace"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
}

// Place is where an image is named: one container of one pod, or of a pod
// template (then Pod is empty).
type Place struct {
	Workload
	Pod        string        `json:"pod,omitempty"`
	PodUID     string        `json:"podUID,omitempty"`
	Container  string        `json:"container"`
	Type       ContainerType `json:"containerType"`
	Node       string        `json:"node,omitempty"`
	Platform   string        `json:"platform,omitempty"` // of the node: "os/arch"
	Requested  string        `json:"requested"`          // the image as written in the spec
	ImageID    string        `json:"imageID,omitempty"`  // as the runtime wrote it; empty while pulling
	Digest     Digest        `json:"digest,omitempty"`   // what ImageID says; empty when it says none
	PullPolicy string        `json:"pullPolicy,omitempty"`
	Secrets    []string      `json:"pullSecrets,omitempty"` // names only
	Labels     string        `json:"labels,omitempty"`      // of the pod, "k=v,k=v", sorted
	Source     string        `json:"source,omitempty"`      // file and line, for a place read from a file
}

// Key names the pod, or the template, that a place belongs to within its
// cluster. All places with equal keys are replaced together.
func (p Place) Key() string {
	if p.Pod == "" {
		return strings.Join([]string{"template", p.Namespace, p.Kind, p.Name}, "/")
	}
	return strings.Join([]string{"pod", p.Namespace, p.Pod, p.PodUID}, "/")
}

// Asked returns Requested in normal form, with the tag "latest" where it names
// neither tag nor digest, or "" when it is no reference.
func (p Place) Asked() string {
	ref, err := ParseReference(p.Requested)
	if err != nil {
		return ""
	}
	return ref.WithDefaultTag().String()
}

// Run is a digest in one container of a workload on one platform: what a pair
// of run facts opens and closes. Pods come and go within it.
type Run struct {
	Workload
	Container string        `json:"container"`
	Type      ContainerType `json:"containerType"`
	Platform  string        `json:"platform,omitempty"`
	Digest    Digest        `json:"digest"`
}

// Source is the source of the run's facts.
func (r Run) Source() string {
	s := strings.Join([]string{"cluster:" + r.Cluster, r.Namespace, r.Kind, r.Name, string(r.Type), r.Container}, "/")
	if r.Platform != "" {
		s += "@" + r.Platform
	}
	return s
}

// RunOf returns the run that p is a part of. A place without a digest, or
// without a pod, is part of none: ok is false.
func (p Place) RunOf() (run Run, ok bool) {
	if p.Digest == "" || p.Pod == "" {
		return Run{}, false
	}
	return Run{Workload: p.Workload, Container: p.Container, Type: p.Type, Platform: p.Platform, Digest: p.Digest}, true
}

// TagInterval says that a tag pointed at a digest from one time to another.
type TagInterval struct {
	Name      string    `json:"name"` // registry and repository
	Tag       string    `json:"tag"`
	Digest    Digest    `json:"digest"`
	From      time.Time `json:"from"`        // first seen pointing there
	To        time.Time `json:"to,omitzero"` // seen pointing elsewhere, or gone; zero: it still does
	CheckedAt time.Time `json:"checkedAt"`   // last time it was seen so
}
