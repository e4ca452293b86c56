// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"time"

	"dossier.dev/dossier"
)

// Scope says which pods are meant. The zero Scope means all.
type Scope struct {
	Namespaces []string // none, or one that is empty: all
	Selector   string   // of pod labels, in the syntax of kubectl -l; empty: all
}

// Snapshot is what ran, or was to run, in a scope of a cluster at one time.
type Snapshot struct {
	Cluster dossier.Cluster
	Scope   Scope
	// Places are sorted by namespace, kind, name, pod, container type and container.
	Places []dossier.Place
	// Pins are what the templates in files name, also those that make no pods any
	// more, in the order of a Naming. Of a live cluster WatchTemplates tells them.
	Pins []dossier.Pin
	At   time.Time // when reading began
	// Problems say what is missing from Places, and why. A namespace among them
	// is unknown, not empty; Watch keeps the pods that it saw there before.
	Problems []Problem
}

// Problem is a part that could not be read. The rest could.
type Problem struct {
	Where string // "file:line", a namespace, or a kind of object; "" for the whole cluster
	Err   error  // a *dossier.Error
}

// EventKind says what an Event tells.
type EventKind string

// The kinds of event.
const (
	EventSync EventKind = "sync" // the whole state: replaces all that was known of the scope
	EventPods EventKind = "pods" // some pods have changed, or are gone
)

// Event is a change in a cluster. Events of one pod may be merged; the last
// state is always told. A pod missed by every event is missing in the next
// EventSync: that one is the truth.
type Event struct {
	Kind     EventKind
	Snapshot Snapshot // EventSync
	// Pods, of an EventPods, are the places of each pod now, by Place.Key: none
	// when it is gone or has ended.
	Pods map[string][]dossier.Place
	At   time.Time // when the first of the changes was received
}
