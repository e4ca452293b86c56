// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/intoto"
	"dossier.dev/dossier/internal/trust"
	"dossier.dev/dossier/internal/vex"
)

// addSigner finds out whether somebody who may sign for the image has signed a VEX
// document that is attached to it. One that nobody did sign is refused: there is a
// trust policy, and it speaks of who counts. Where the image lies in several repositories
// that rules speak of, it must be so by each: whoever may sign for one of them takes no
// vulnerability out of what lies in the others.
func (g *gatherer) addSigner(ctx context.Context, source *vex.Source, subject dossier.Digest, on []dossier.Digest, about dossier.AttachedVEX) error {
	evidence, predicate, err := g.statingDocument(ctx, subject, about)
	if err != nil {
		return err
	}
	if len(evidence) == 0 {
		source.Refused = "nobody signed it as a statement about the image, and the trust policy says who must"
		return nil
	}
	if err := g.loadNames(ctx, distinct(on)); err != nil {
		return err
	}
	grade := source.Grade
	source.Refused = "no repository is known in which the image lies, so that no rule of the trust policy is for it"
	for _, d := range distinct(on) {
		for _, n := range g.names[d] {
			ref, err := dossier.ParseReference(n.Name + "@" + string(subject))
			if err != nil {
				continue
			}
			pin, err := g.pinFor(ctx, ref)
			if err != nil {
				return err
			}
			decision := g.trust.Statement(ref, subject, evidence, predicate, pin, g.asOf)
			switch {
			case decision.Verified && source.Signer == "":
				source.Grade, source.Signer, source.Refused = dossier.GradeSigned, signersIn(decision), ""
			case decision.Verified:
			case decision.Code != trust.CodeNoRule:
				source.Grade, source.Signer = grade, ""
				source.Refused = string(decision.Code) + ": " + decision.Reason
				return nil
			case source.Signer == "":
				source.Refused = string(decision.Code) + ": " + decision.Reason
			}
		}
	}
	return nil
}

// signersIn names those whose signatures verify.
func signersIn(d trust.Decision) string {
	var names []string
	for _, t := range d.Trials {
		if t.Verified {
			names = append(names, t.Signer)
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// statingDocument returns the evidence about an image whose signed statement holds a
// document, and the type of that statement. What is signed is what the verifier
// reads in the evidence, not what another reader may find there.
func (g *gatherer) statingDocument(ctx context.Context, subject dossier.Digest, about dossier.AttachedVEX) (evidence []trust.Evidence, predicate string, err error) {
	var inner []byte
	for f, err := range g.r.Holding(ctx, []dossier.Digest{about.Document}, g.at, dossier.FactVEX) {
		if err != nil {
			return nil, "", err
		}
		d, err := intoto.Unwrap("reading VEX document", f.Body, dossier.MaxFactBody)
		if err != nil {
			return nil, "", nil // what cannot be read was not signed either
		}
		inner = d.Bytes
	}
	if inner == nil {
		return nil, "", nil
	}
	for f, err := range g.r.Holding(ctx, []dossier.Digest{subject}, g.at, dossier.FactSignature) {
		if err != nil {
			return nil, "", err
		}
		var e trust.Evidence
		if json.Unmarshal(f.Body, &e) != nil {
			continue
		}
		if kind, stated, ok := e.Stated(); ok && bytes.Equal(stated, inner) && (predicate == "" || kind == predicate) {
			evidence, predicate = append(evidence, e), kind
		}
	}
	return evidence, predicate, nil
}

// standings says in a sentence each how documents that are attached stand.
func standings(attached []vex.Source) []string {
	var out []string
	for _, d := range attached {
		switch {
		case d.Refused != "":
			out = append(out, "VEX document "+d.Where+" takes out nothing: "+d.Refused)
		case d.Grade == dossier.GradeSigned:
			out = append(out, "VEX document "+d.Where+" is signed by "+d.Signer)
		default:
			out = append(out, "VEX document "+d.Where+" is claimed: whoever may push to the repository can attach one, and no trust policy says who must have signed it")
		}
	}
	return out
}
