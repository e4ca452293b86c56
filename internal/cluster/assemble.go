// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"

	"dossier.dev/dossier"
)

// maxOwners is how many owners are followed from a pod upwards.
const maxOwners = 8

// objectKey names an object in manifests.
type objectKey struct{ Namespace, Kind, Name string }

// assembly finds the workloads of the objects in manifests.
type assembly struct {
	cluster string
	objects map[objectKey]*object
}

// assemble turns objects into places.
func assemble(cluster string, objects []*object) []dossier.Place {
	a := assembly{cluster: cluster, objects: make(map[objectKey]*object, len(objects))}
	platforms := map[string]string{}
	for _, o := range objects {
		a.objects[objectKey{o.Namespace, o.Kind, o.Name}] = o
		if o.Kind == "Node" {
			platforms[o.Name] = o.Platform
		}
	}
	var places []dossier.Place
	hasPods := map[dossier.Workload]bool{}
	for _, o := range objects {
		if o.Kind != "Pod" {
			continue
		}
		w := a.top(o)
		for i := range o.Pods {
			p := &o.Pods[i]
			hasPods[w] = hasPods[w] || !p.Ended
			places = append(places, p.places(w, platforms[p.Node], o.Source)...)
		}
	}
	for _, o := range objects {
		w := a.top(o)
		if o.Kind == "Pod" || o.Idle || hasPods[w] || a.ownerRead(o) {
			continue
		}
		for i := range o.Pods {
			places = append(places, o.Pods[i].places(w, "", o.Source)...)
		}
	}
	return distinct(places)
}

// templatePins returns what the templates of objects name.
func templatePins(cluster string, objects []*object) []dossier.Pin {
	var pins []dossier.Pin
	for _, o := range objects {
		if o.Kind == "Pod" {
			continue // what it names is a place
		}
		n := named{object: Object{Namespace: o.Namespace, Kind: o.Kind, Name: o.Name}, images: imagesOf(o.Pods)}
		if o.Owner != nil {
			n.owner = o.Owner.Kind + "/" + o.Owner.Name
		}
		pins = append(pins, n.pins(cluster)...)
	}
	sortPins(pins)
	return slices.Compact(pins)
}

// top is the workload that o is a part of, as far as the manifests tell.
func (a *assembly) top(o *object) dossier.Workload {
	w := dossier.Workload{Cluster: a.cluster, Namespace: o.Namespace, Kind: o.Kind, Name: o.Name}
	for range maxOwners {
		if o == nil || o.Owner == nil {
			break
		}
		w.Kind, w.Name = o.Owner.Kind, o.Owner.Name
		o = a.objects[objectKey{w.Namespace, w.Kind, w.Name}]
	}
	return w
}

// ownerRead reports whether the owner of o is in the manifests and has a
// template itself: that one says what o's does.
func (a *assembly) ownerRead(o *object) bool {
	if o.Owner == nil {
		return false
	}
	above := a.objects[objectKey{o.Namespace, o.Owner.Kind, o.Owner.Name}]
	return above != nil && len(above.Pods) > 0
}

// placeID tells places of manifests apart: two objects of one name, in two files,
// may name different images.
type placeID struct {
	Key, Container, Requested, ImageID string
	Type                               dossier.ContainerType
}

// distinct drops places that say again what one before them says.
func distinct(places []dossier.Place) []dossier.Place {
	seen := make(map[placeID]bool, len(places))
	kept := places[:0]
	for _, p := range places {
		id := placeID{p.Key(), p.Container, p.Requested, p.ImageID, p.Type}
		if !seen[id] {
			seen[id] = true
			kept = append(kept, p)
		}
	}
	return kept
}
