// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"

	"dossier.dev/dossier"
)

// SignerPinReader reads who is pinned as the signer of repositories. What is pinned the facts
// say (dossier.FactPin); the rows here decide who was first, and list them.
type SignerPinReader interface {
	// SignerPins returns all pins, by scope.
	SignerPins(ctx context.Context) ([]dossier.SignerPin, error)
}

// SignerPinWriter changes who is pinned.
type SignerPinWriter interface {
	// PinSigner pins a signer for p.Scope unless one is pinned there. It returns the pin that
	// counts, and whether it is p: of several who pin at once one does.
	PinSigner(ctx context.Context, p dossier.SignerPin) (dossier.SignerPin, bool, error)
	// PutSignerPin makes p the pin of its scope, whatever is pinned there.
	PutSignerPin(ctx context.Context, p dossier.SignerPin) error
	// UnpinSigner removes the pin of a scope, and reports whether there was one.
	UnpinSigner(ctx context.Context, scope string) (bool, error)
}
