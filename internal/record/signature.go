// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Signature records something signed about an image or an index. evidence is its digest,
// body how it is kept.
func Signature(ctx context.Context, tx store.Tx, on, evidence dossier.Digest, body []byte) error {
	_, _, err := tx.Record(ctx, dossier.Statement{Subject: on, Kind: dossier.FactSignature, Source: "signature:" + string(evidence), Body: body})
	return err
}
