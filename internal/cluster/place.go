// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"dossier.dev/dossier"
)

// How much of a string from an object is kept, in bytes. What Kubernetes itself
// accepts is never cut.
const (
	MaxName   = 1024  // of names, namespaces, kinds, nodes, policies
	MaxImage  = 4096  // of an image as written, and of an image ID
	MaxLabels = 16384 // of all labels of a pod together
)

// owner is a reference to the controller of an object.
type owner struct {
	APIVersion, Kind, Name, UID string
}

// container is one image that a pod names.
type container struct {
	Name    string
	Type    dossier.ContainerType
	Image   string // as in the spec
	ImageID string // as in the status
	Policy  string // always set
}

// pod is what matters of a pod or of a pod template (then without name and UID).
type pod struct {
	Namespace, Name, UID string

	Owner      *owner // nil: nothing controls it
	Node       string
	Labels     string
	Secrets    []string
	Containers []container
	Ended      bool // its phase is Succeeded or Failed: it does not run
}

// key is Place.Key of the pod's places.
func (p *pod) key() string {
	return dossier.Place{Workload: dossier.Workload{Namespace: p.Namespace}, Pod: p.Name, PodUID: p.UID}.Key()
}

// places gives one place for each image of p.
func (p *pod) places(w dossier.Workload, platform, source string) []dossier.Place {
	if p.Ended {
		return nil
	}
	places := make([]dossier.Place, 0, len(p.Containers))
	for _, c := range p.Containers {
		place := dossier.Place{
			Workload:   w,
			Pod:        p.Name,
			PodUID:     p.UID,
			Container:  c.Name,
			Type:       c.Type,
			Node:       p.Node,
			Platform:   platform,
			Requested:  c.Image,
			ImageID:    c.ImageID,
			PullPolicy: c.Policy,
			Secrets:    p.Secrets,
			Labels:     p.Labels,
			Source:     source,
		}
		if id, err := ParseImageID(c.ImageID); err == nil {
			place.Digest = id.Digest
		}
		places = append(places, place)
	}
	return places
}

// workload is p itself, for a pod that nothing owns.
func (p *pod) workload(cluster string) dossier.Workload {
	return dossier.Workload{Cluster: cluster, Namespace: p.Namespace, Kind: "Pod", Name: p.Name}
}

// defaultPolicy is the imagePullPolicy that the API server sets when a spec has
// none: Always when the tag is, or defaults to, latest.
func defaultPolicy(image string) string {
	if ref, err := dossier.ParseReference(image); err == nil && ref.WithDefaultTag().Tag == dossier.DefaultTag {
		return "Always"
	}
	return "IfNotPresent"
}

// platform joins what a node says of itself; without both parts it is "".
func platform(os, arch string) string {
	if os == "" || arch == "" {
		return ""
	}
	return bound(os, MaxName) + "/" + bound(arch, MaxName)
}

// joinLabels gives "k=v,k=v", sorted, up to MaxLabels bytes. Labels that no API
// server would accept and that could be mistaken for others are left out.
func joinLabels(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for k, v := range labels {
		if k != "" && !strings.ContainsAny(k, ",=") && !strings.ContainsAny(v, ",=") {
			pairs = append(pairs, k+"="+v)
		}
	}
	sort.Strings(pairs)
	size := 0
	for i, p := range pairs {
		if size += len(p) + 1; size > MaxLabels {
			pairs = pairs[:i]
			break
		}
	}
	return strings.Join(pairs, ",")
}

// bound cuts s to at most n bytes at the beginning of a character.
func bound(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// sortPlaces gives Snapshot.Places its order.
func sortPlaces(places []dossier.Place) {
	slices.SortFunc(places, func(a, b dossier.Place) int {
		return cmp.Or(
			strings.Compare(a.Namespace, b.Namespace),
			strings.Compare(a.Kind, b.Kind),
			strings.Compare(a.Workload.Name, b.Workload.Name),
			strings.Compare(a.Pod, b.Pod),
			strings.Compare(a.PodUID, b.PodUID),
			strings.Compare(string(a.Type), string(b.Type)),
			strings.Compare(a.Container, b.Container),
			strings.Compare(a.Requested, b.Requested),
			strings.Compare(a.Source, b.Source),
		)
	})
}
