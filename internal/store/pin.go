// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"dossier.dev/dossier"
)

// ListingPart is a part of what is to be known of a cluster before one can say
// that it does not need something.
type ListingPart string

// The parts.
const (
	ListingPods      ListingPart = "pods"      // what runs
	ListingTemplates ListingPart = "templates" // what templates, rollout history and cron jobs name
)

// Listing says when a part of a cluster was last listed whole.
type Listing struct {
	Cluster string // ID; empty: a cluster that is followed and was never reached
	Part    ListingPart
	Scope   string    // what of the cluster is listed, in words; empty: all
	At      time.Time // zero: never
	Problem string    // what was missing from the last list; empty: nothing
}

// PinReader reads what clusters may want to run.
type PinReader interface {
	// Pins returns the pins of all clusters, by cluster, namespace, kind and name.
	Pins(ctx context.Context) ([]dossier.Pin, error)
	// Listings returns all listings, by cluster and part.
	Listings(ctx context.Context) ([]Listing, error)
}

// PinWriter writes what clusters may want to run.
type PinWriter interface {
	// PutPins makes pins those of a cluster: of those that are not among them, the
	// ones go that replaced reports; nil: all do.
	PutPins(ctx context.Context, cluster string, pins []dossier.Pin, replaced func(dossier.Pin) bool) error
	// PutObjectPins makes pins those of some objects of a cluster: of each object,
	// of which an element has the namespace, kind and name, those that are not among
	// them go.
	PutObjectPins(ctx context.Context, cluster string, objects, pins []dossier.Pin) error
	// PutListing keeps that a part of a cluster was listed. With a Problem, At of the
	// last whole list stays.
	PutListing(ctx context.Context, l Listing) error
	// ForgetListings removes the listings of a cluster.
	ForgetListings(ctx context.Context, cluster string) error
}
