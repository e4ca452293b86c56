// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/store"
)

// putFilePins writes what the templates in files name.
func (g *Ingest) putFilePins(ctx context.Context, s cluster.Snapshot) error {
	replaced := func(p dossier.Pin) bool {
		return len(s.Problems) == 0 && (len(s.Scope.Namespaces) == 0 || slices.Contains(s.Scope.Namespaces, p.Namespace))
	}
	return g.Store.Update(ctx, func(tx store.Tx) error { return tx.PutPins(ctx, s.Cluster.ID, s.Pins, replaced) })
}

// Listed notes that what runs in a cluster that is followed is known as of a list
// that was applied, or what was missing from it.
func (g *Ingest) Listed(ctx context.Context, s cluster.Snapshot) error {
	l := store.Listing{Cluster: s.Cluster.ID, Part: store.ListingPods, Scope: scopeWords(s.Scope), At: s.At}
	for _, p := range s.Problems {
		if p.Where == "" || slices.Contains(s.Scope.Namespaces, p.Where) { // else what runs is known, though not whose it is
			l.Problem = p.Err.Error()
		}
	}
	return g.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.ForgetListings(ctx, ""); err != nil {
			return err
		}
		return tx.PutListing(ctx, l)
	})
}

// scopeWords says what of a cluster a scope is; empty: all.
func scopeWords(s cluster.Scope) string {
	var words []string
	if s.Selector != "" {
		words = append(words, "pods with "+s.Selector)
	}
	if len(s.Namespaces) > 0 && !slices.Contains(s.Namespaces, "") {
		words = append(words, "namespaces "+strings.Join(s.Namespaces, ", "))
	}
	return strings.Join(words, " in ")
}

// Await notes that a cluster is to be followed that may never have been reached:
// until it is listed nobody knows what it needs.
func (g *Ingest) Await(ctx context.Context) error {
	return g.Store.Update(ctx, func(tx store.Tx) error {
		return tx.PutListing(ctx, store.Listing{Part: store.ListingPods, Problem: "it was not reached"})
	})
}

// AwaitNone takes back Await.
func (g *Ingest) AwaitNone(ctx context.Context) error {
	return g.Store.Update(ctx, func(tx store.Tx) error { return tx.ForgetListings(ctx, "") })
}

// ApplyNaming makes the store agree with what objects of a cluster name. With a
// full list, that it was one is written in the same transaction.
func (g *Ingest) ApplyNaming(ctx context.Context, c dossier.Cluster, namespaces []string, n cluster.Naming) error {
	if n.Kind == cluster.EventObjects {
		objects := make([]dossier.Pin, 0, len(n.Objects))
		for _, o := range n.Objects {
			objects = append(objects, dossier.Pin{Namespace: o.Namespace, Kind: o.Kind, Name: o.Name})
		}
		return g.Store.Update(ctx, func(tx store.Tx) error { return tx.PutObjectPins(ctx, c.ID, objects, n.Pins) })
	}
	scope := cluster.Scope{Namespaces: namespaces}
	l := store.Listing{Cluster: c.ID, Part: store.ListingTemplates, Scope: scopeWords(scope), At: n.At}
	if len(n.Problems) > 0 {
		l.Problem = problemWords(n.Problems)
	}
	replaced := func(p dossier.Pin) bool {
		return (n.Unread == nil || !n.Unread(p)) && (l.Scope == "" || slices.Contains(namespaces, p.Namespace))
	}
	return g.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.PutCluster(ctx, c); err != nil {
			return err
		}
		if err := tx.PutPins(ctx, c.ID, n.Pins, replaced); err != nil {
			return err
		}
		return tx.PutListing(ctx, l)
	})
}

// problemWords says what the first problem is, and of what the others are.
func problemWords(list []cluster.Problem) string {
	const most = 10
	text := list[0].Err.Error()
	for i, p := range list[1:] {
		if i == most {
			return text + ", and more"
		}
		text += "; " + p.Where + " too"
	}
	return text
}
