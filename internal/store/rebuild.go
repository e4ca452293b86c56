// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"

	"dossier.dev/dossier"
)

// ProjectionReader reads rows that are made from facts as they are, to compare them with the
// facts.
type ProjectionReader interface {
	// Subjects returns up to limit digests after one, in order: those about which there are facts,
	// and those that an image, a name or a search term is kept of.
	Subjects(ctx context.Context, after dossier.Digest, limit int) ([]dossier.Digest, error)
	// Chained reports whether the end of the chain that is kept of a subject is its newest
	// fact, and whether its retractions are those that its facts say.
	Chained(ctx context.Context, subject dossier.Digest) (bool, error)
	// TermsOf returns the search terms of a digest, by key, then field.
	TermsOf(ctx context.Context, d dossier.Digest) ([]Term, error)
	// KeptSet returns the packages of a set as they are kept, in no order, and whether it is whole.
	// Of the words under which they are found it has those that are among terms.
	KeptSet(ctx context.Context, set dossier.Digest, terms []string) ([]KeptPackage, bool, error)
}

// ProjectionWriter writes what is made from facts in the place of what is there.
type ProjectionWriter interface {
	// MendChain makes what Chained compares from the facts of a subject.
	MendChain(ctx context.Context, subject dossier.Digest) error
	// DropImage removes an image, its edges, and what is kept of its contents.
	DropImage(ctx context.Context, d dossier.Digest) error
	// ReplaceNames replaces the names under which a digest was found.
	ReplaceNames(ctx context.Context, d dossier.Digest, names []Name) error
	// ReplacePackages replaces a set and what is kept of each of its packages. Those that were kept as
	// something else are to be compared with advisories again.
	ReplacePackages(ctx context.Context, set PackageSet) error
}

// KeptPackage is a member of a set as the rows have it.
type KeptPackage struct {
	ID    dossier.Digest // PackageIDs
	Path  string
	Terms []string // of those asked for; sorted
	// Own is the ID that its body and the program it is of give.
	Own dossier.Digest
	// Name and Ecosystem are the columns by which it is found.
	Name, Ecosystem string
}
