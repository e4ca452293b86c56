// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"

	"dossier.dev/dossier"
)

const (
	signerPinColumns = `scope, signer, image, at, trust`

	signerPins = `SELECT ` + signerPinColumns + ` FROM signer_pin ORDER BY scope`

	// pinSigner waits for others who pin in the same scope, on both engines, and returns what
	// is there afterwards.
	pinSigner = `
INSERT INTO signer_pin (` + signerPinColumns + `) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (scope) DO UPDATE SET scope = excluded.scope
RETURNING ` + signerPinColumns

	putSignerPin = `
INSERT INTO signer_pin (` + signerPinColumns + `) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (scope) DO UPDATE SET signer = excluded.signer, image = excluded.image, at = excluded.at, trust = excluded.trust`

	unpinSigner = `DELETE FROM signer_pin WHERE scope = $1`
)

func scanSignerPin(row scanner, p *dossier.SignerPin) error {
	var at int64
	err := row.Scan(&p.Scope, &p.Signer, &p.Image, &at, &p.Trust)
	p.At = instant(at)
	return err
}

func signerPinValues(p dossier.SignerPin) []any {
	return []any{p.Scope, p.Signer, p.Image, micros(p.At), p.Trust}
}

// SignerPins implements [store.SignerPinReader].
func (r reader) SignerPins(ctx context.Context) ([]dossier.SignerPin, error) {
	return all(ctx, r.session, "reading pinned signers", scanSignerPin, signerPins)
}

// PinSigner implements [store.SignerPinWriter].
func (t *tx) PinSigner(ctx context.Context, p dossier.SignerPin) (dossier.SignerPin, bool, error) {
	kept, _, err := one(ctx, t.session, "pinning a signer", scanSignerPin, pinSigner, signerPinValues(p)...)
	return kept, kept == p, err
}

// PutSignerPin implements [store.SignerPinWriter].
func (t *tx) PutSignerPin(ctx context.Context, p dossier.SignerPin) error {
	_, err := t.exec(ctx, "pinning a signer", putSignerPin, signerPinValues(p)...)
	return err
}

// UnpinSigner implements [store.SignerPinWriter].
func (t *tx) UnpinSigner(ctx context.Context, scope string) (bool, error) {
	n, err := t.exec(ctx, "unpinning a signer", unpinSigner, scope)
	return n > 0, err
}
