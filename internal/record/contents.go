// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"encoding/json"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/store"
)

// Layer records what was found in a layer, and returns the fact. body is
// contents.Encode(r), which takes too long for a transaction.
func Layer(ctx context.Context, tx store.Tx, r contents.LayerResult, body []byte, at time.Time) (dossier.Fact, error) {
	fact, _, err := tx.Record(ctx, dossier.Statement{Subject: r.Digest, Kind: dossier.FactLayer, Source: ContentSource, Body: body})
	if err != nil {
		return dossier.Fact{}, err
	}
	return fact, tx.PutLayerRead(ctx, store.LayerRead{Digest: r.Digest, Serial: contents.Serial(r.Version), At: at})
}

// Contents records what the layers of an image hold when they are laid over one
// another, and the Go program that it starts, if it starts one. The sets of
// packages that c names must be in the store.
func Contents(ctx context.Context, tx store.Tx, manifest dossier.Digest, c dossier.Contents, program *dossier.GoBuild, at time.Time) error {
	body, err := json.Marshal(c)
	if err != nil {
		return &dossier.Error{Kind: dossier.KindInternal, Op: "recording contents", Subject: string(manifest), Err: err}
	}
	if _, _, err := tx.Record(ctx, dossier.Statement{Subject: manifest, Kind: dossier.FactContents, Source: ContentSource, Body: body}); err != nil {
		return err
	}
	if program != nil {
		body, _ := json.Marshal(program) // strings and numbers: cannot fail
		if _, _, err := tx.Record(ctx, dossier.Statement{Subject: manifest, Kind: dossier.FactGoBuild, Source: ContentSource, Body: body}); err != nil {
			return err
		}
	}
	kept := store.ImageContents{Manifest: manifest, Serial: contents.Serial(c.Version), At: at}
	for _, l := range c.Layers {
		if l.Set != "" {
			kept.Sets = append(kept.Sets, l.Set)
		}
	}
	if err := tx.PutImageContents(ctx, kept); err != nil {
		return err
	}
	return Terms(ctx, tx, manifest)
}

// ReadContents asks for the contents of an image manifest to be read, from the
// repository (registry and repository) in which it lies; "" when that is not
// known here.
func ReadContents(ctx context.Context, tx store.Tx, manifest dossier.Digest, name string) error {
	_, err := tx.Enqueue(ctx, ContentsPayload{Name: name, Manifest: manifest}.Job())
	return err
}

// Attached records that a bill of materials was found attached to an image or an
// index, and the document itself. document is nil when it was not read.
func Attached(ctx context.Context, tx store.Tx, on dossier.Digest, a dossier.AttachedBill, document []byte, at time.Time) error {
	return attached{on, a.Document, dossier.FactBill, dossier.FactAttached}.record(ctx, tx, a, document, at)
}

// AttachedVEX records the same of a VEX document.
func AttachedVEX(ctx context.Context, tx store.Tx, on dossier.Digest, a dossier.AttachedVEX, document []byte, at time.Time) error {
	return attached{on, a.Document, dossier.FactVEX, dossier.FactAttachedVEX}.record(ctx, tx, a, document, at)
}

// Statement records that an in-toto statement was found attached to an image or an index.
func Statement(ctx context.Context, tx store.Tx, on dossier.Digest, s dossier.AttachedStatement, at time.Time) error {
	return attached{on, s.Document, "", dossier.FactStatement}.record(ctx, tx, s, nil, at)
}

// attached is a document and what it is attached to, with the kinds of facts that
// say so.
type attached struct {
	on, document dossier.Digest
	kind, link   dossier.FactKind
}

func (d attached) record(ctx context.Context, tx store.Tx, what any, document []byte, at time.Time) error {
	if document != nil {
		_, _, err := tx.Record(ctx, dossier.Statement{Subject: d.document, Kind: d.kind, Source: ContentSource, Body: document})
		if err != nil {
			return err
		}
	}
	body, err := json.Marshal(what)
	if err != nil {
		return &dossier.Error{Kind: dossier.KindInternal, Op: "recording attached document", Subject: string(d.on), Err: err}
	}
	source := "attached:" + string(d.document)
	for f, err := range tx.Holding(ctx, []dossier.Digest{d.on}, dossier.Times{}, d.link) {
		if err != nil {
			return err
		}
		if f.Source == source && string(f.Body) == string(body) {
			return nil // seen before
		}
	}
	_, _, err = tx.Record(ctx, dossier.Statement{Subject: d.on, Kind: d.link, Source: source, ValidAt: at, Body: body})
	return err
}
