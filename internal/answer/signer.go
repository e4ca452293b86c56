// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"fmt"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/trust"
)

// signedBy is something signed and the fact in which it stands.
type signedBy struct {
	trust.Evidence
	fact *dossier.Fact
}

// signers returns who signed the image by the trust policy, and of what does not verify
// why. A signature of an index says nothing of what it contains, nor the other way round:
// each is judged for the digest that it is about.
func (s *survey) signers() []found {
	var out []found
	for len(s.signed) > 0 {
		on := s.signed[0].fact.Subject
		var same []signedBy
		s.signed = slices.DeleteFunc(s.signed, func(x signedBy) bool {
			if x.fact.Subject == on {
				same = append(same, x)
			}
			return x.fact.Subject == on
		})
		out = append(out, s.signersOf(on, same)...)
	}
	return out
}

func (s *survey) signersOf(on dossier.Digest, signed []signedBy) []found {
	var evidence []trust.Evidence
	var cites []cite
	for _, x := range signed {
		evidence = append(evidence, x.Evidence)
		cites = append(cites, cite{x.fact, "image.signature", string(x.Evidence.Digest()), dossier.GradeClaimed})
	}
	if s.policy.Trust == nil {
		return []found{{value: "not verified: no trust policy is configured", grade: dossier.GradeClaimed, cites: cites}}
	}
	d, ok := s.decision(on, evidence)
	if !ok {
		return []found{{value: "not verified: no repository is known in which it lies", grade: dossier.GradeClaimed, cites: cites}}
	}
	if !d.Verified || len(d.Counted) == 0 {
		return []found{{value: fmt.Sprintf("not verified (%s): %s", d.Code, d.Reason), grade: dossier.GradeClaimed, cites: cites}}
	}
	var out []found
	for _, t := range d.Trials {
		if !t.Verified {
			continue
		}
		at := slices.IndexFunc(evidence, func(e trust.Evidence) bool { return e.Digest() == t.Evidence })
		out = merge(out, found{
			value: t.Signer, grade: dossier.GradeSigned,
			cites: []cite{{signed[at].fact, "image.signature", "by " + t.Key, dossier.GradeSigned}},
		}, sameText)
	}
	return out
}

// decision judges by the first repository that a rule speaks of.
func (s *survey) decision(on dossier.Digest, evidence []trust.Evidence) (d trust.Decision, ok bool) {
	for _, n := range s.Names {
		ref, err := dossier.ParseReference(n.Name + "@" + string(on))
		if err != nil {
			continue
		}
		d, ok = s.policy.Trust.Decide(ref, on, evidence, s.AsOf), true
		if d.Code != trust.CodeNoRule {
			return d, true
		}
	}
	return d, ok
}
