// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"dossier.dev/dossier"
)

// Told is what was last told of the findings of an image that a workload runs.
type Told struct {
	dossier.Workload
	Digest dossier.Digest // of the image as the runtime names it
	At     time.Time      // when it was first told
	Body   []byte         // what was told; package notify knows its form
}

// ToldQuery selects what was told: of the digests when there are some, else of a
// namespace of a cluster.
type ToldQuery struct {
	Digests            []dossier.Digest
	Cluster, Namespace string
}

// ToldReader reads what was told.
type ToldReader interface {
	// Told returns what was told, by cluster, namespace, kind, name and digest.
	Told(ctx context.Context, q ToldQuery) ([]Told, error)
	// ToldNamespaces returns the clusters and namespaces of whose workloads
	// something was told; of a Workload the other fields are empty.
	ToldNamespaces(ctx context.Context) ([]dossier.Workload, error)
	// Telling reports whether somebody is told of changes.
	Telling(ctx context.Context) (bool, error)
}

// ToldWriter writes what was told.
type ToldWriter interface {
	// PutTold adds or replaces what was told of a workload and an image. Its At
	// stays as it was at first.
	PutTold(ctx context.Context, t Told) error
	// DropTold removes it, if it is there.
	DropTold(ctx context.Context, w dossier.Workload, d dossier.Digest) error
	// PutTelling says whether somebody is told of changes, to every process that
	// writes to this database.
	PutTelling(ctx context.Context, on bool) error
}

// Delivery is an event on its way to a target.
type Delivery struct {
	ID        int64 // within this database, rising
	Target    string
	Event     string // its ID, by which whoever gets it twice knows
	Body      []byte
	At        time.Time // when it was made
	RunAt     time.Time // when it is to be tried next
	Attempts  int       // that failed
	LastError string
	Parked    bool // it is not tried any more
}

// DeliveryCount is how many events wait for a target, or were given up.
type DeliveryCount struct {
	Target string
	Parked bool
	N      int
	Oldest time.Time // Delivery.At of the oldest
}

// DeliveryReader reads deliveries.
type DeliveryReader interface {
	// Deliveries returns up to limit deliveries to a target that are not parked and
	// whose RunAt is not after at, by ID.
	Deliveries(ctx context.Context, target string, at time.Time, limit int) ([]Delivery, error)
	// NextDelivery returns when the next delivery to a target is to be tried; zero:
	// none waits.
	NextDelivery(ctx context.Context, target string) (time.Time, error)
	// CountDeliveries counts deliveries, by target, those that wait first.
	CountDeliveries(ctx context.Context) ([]DeliveryCount, error)
}

// DeliveryWriter writes deliveries.
type DeliveryWriter interface {
	// AddDelivery adds a delivery; its ID, Attempts, LastError and Parked are of no
	// account. One of the same event to the same target that is there stays.
	AddDelivery(ctx context.Context, d Delivery) error
	// PutDelivery replaces RunAt, Attempts, LastError and Parked of a delivery. One
	// that is not there is none again.
	PutDelivery(ctx context.Context, d Delivery) error
	// DropDelivery removes one that arrived, if it is there.
	DropDelivery(ctx context.Context, id int64) error
	// DropParked removes what was parked and made before a time, and says how much.
	DropParked(ctx context.Context, before time.Time) (int, error)
}
