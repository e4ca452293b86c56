// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"context"
	"fmt"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/audit"
	"dossier.dev/dossier/internal/store"
)

// Check is what comparing the bytes of a blob with its digest has shown.
type Check struct {
	Registry string // what it is called
	Blob     store.Blob
	At       time.Time
	Damage   string // empty: nothing is wrong with them
}

// Record writes a check down. When the blob was whole before and is damaged
// now, or the other way round, that is an event of the audit. It returns the damage that
// was on record. KindNotFound: the bytes are of no blob any more, which is no news.
func (k Check) Record(ctx context.Context, tx store.Tx) (was string, err error) {
	was, err = tx.CheckedBlob(ctx, k.Blob, k.At, k.Damage)
	switch {
	case err != nil || (was == "") == (k.Damage == ""):
		return was, err
	case k.Damage == "":
		return was, k.Healed(ctx, tx, was, "")
	}
	return was, k.event(ctx, tx, dossier.FactDamage, k.Damage, "")
}

// Healed records that a blob has its bytes again. source is the repository
// elsewhere that they came from; empty: they were found as they should be.
func (k Check) Healed(ctx context.Context, tx store.Tx, was, source string) error {
	return k.event(ctx, tx, dossier.FactHeal, was, source)
}

func (k Check) event(ctx context.Context, tx store.Tx, kind dossier.FactKind, damage, source string) error {
	return audit.Record(ctx, tx, audit.Event{Kind: kind, Digest: k.Blob.Digest, At: k.At, Body: dossier.EventBody{
		Name: k.Registry, Object: dossier.ObjectBlob, Size: k.Blob.Size, Damage: damage, Source: source,
		Caller: dossier.AuditCaller{Kind: "dossier"},
	}})
}

// Missing says of a blob that there are no bytes.
const Missing = "its bytes are gone"

// WrongSize says of a blob that its bytes are more or fewer than they should be.
func WrongSize(got, want int64) string {
	return fmt.Sprintf("there are %d bytes, which should be %d", got, want)
}
