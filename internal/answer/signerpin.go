// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"
	"encoding/json"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/trust"
)

// addPins adds the facts that say who is pinned as the signer of repositories in which the
// subjects were found, where the trust policy asks for that.
func (b *batch) addPins(ctx context.Context) error {
	if b.trust == nil {
		return nil
	}
	owners := map[dossier.Digest][]int{} // subject of a fact -> evidence
	for i := range b.evidence {
		for _, n := range b.evidence[i].Names {
			if ref, err := dossier.ParseReference(n.Name); err == nil && b.trust.FirstUse(ref) {
				scope := dossier.ScopeSubject(trust.Scope(ref))
				owners[scope] = append(owners[scope], i)
			}
		}
	}
	if len(owners) == 0 {
		return nil
	}
	var scopes []dossier.Digest
	for d := range owners {
		scopes = append(scopes, d)
	}
	slices.Sort(scopes)
	for f, err := range b.r.Holding(ctx, scopes, b.at, dossier.FactPin) {
		if err != nil {
			return err
		}
		for _, i := range owners[f.Subject] {
			b.evidence[i].Facts = append(b.evidence[i].Facts, f)
		}
	}
	return nil
}

// pin returns who is pinned for the repository of an image, or nil.
func (s *survey) pin(ref dossier.Reference) *dossier.SignerPin { return pinIn(s.Facts, ref) }

func pinIn(facts []dossier.Fact, ref dossier.Reference) *dossier.SignerPin {
	scope := dossier.ScopeSubject(trust.Scope(ref))
	for i := range facts {
		var p dossier.SignerPin
		if f := &facts[i]; f.Kind == dossier.FactPin && f.Subject == scope && json.Unmarshal(f.Body, &p) == nil {
			return &p
		}
	}
	return nil
}

// pinFor reads who is pinned for the repository of an image; nil: nobody is, or nobody is asked for.
func (g *gatherer) pinFor(ctx context.Context, ref dossier.Reference) (*dossier.SignerPin, error) {
	if !g.trust.FirstUse(ref) {
		return nil, nil
	}
	var facts []dossier.Fact
	for f, err := range g.r.Holding(ctx, []dossier.Digest{dossier.ScopeSubject(trust.Scope(ref))}, g.at, dossier.FactPin) {
		if err != nil {
			return nil, err
		}
		facts = append(facts, f)
	}
	return pinIn(facts, ref), nil
}
