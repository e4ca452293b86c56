// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/vex"
)

// VEX returns the VEX documents that are attached to one of the digests, each
// once and with who signed it, and in a sentence each those that are there and cannot be read.
func (a Answerer) VEX(ctx context.Context, on []dossier.Digest) (documents []vex.Source, problems []string, err error) {
	err = a.Store.View(ctx, func(r store.Reader) error {
		documents, problems, err = a.gatherer(r, dossier.Times{}).attachedVEX(ctx, on)
		return err
	})
	return documents, problems, err
}

// Standings says in a sentence each how documents that are attached stand.
func Standings(attached []vex.Source) []string { return standings(attached) }

// vexDocument reads a document that was kept. problem says why that cannot be.
func vexDocument(ctx context.Context, r store.Reader, about dossier.AttachedVEX) (d vex.Document, problem string, err error) {
	if about.Problem != "" {
		return d, about.Problem, nil
	}
	problem = "its bytes were not kept"
	for f, err := range r.Holding(ctx, []dossier.Digest{about.Document}, dossier.Times{}, dossier.FactVEX) {
		if err != nil {
			return d, "", err
		}
		if d, err = vex.Parse(f.Body, vex.Limits{}); err != nil {
			return d, err.Error(), nil
		}
		problem = ""
	}
	return d, problem, nil
}
