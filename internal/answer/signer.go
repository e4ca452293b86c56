// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

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
	d, ref, ok := s.decision(s.policy.Trust, on, evidence)
	if !ok {
		return []found{{value: "not verified: no repository is known in which it lies", grade: dossier.GradeClaimed, cites: cites}}
	}
	s.rejudged = append(s.rejudged, s.changed(d, ref, on, evidence, cites)...)
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

// changed says what came of the image before the policy changed, and what changed about
// it, when that makes a difference.
func (s *survey) changed(now trust.Decision, ref dossier.Reference, on dossier.Digest, evidence []trust.Evidence, cites []cite) []found {
	if s.policy.TrustBefore == nil {
		return nil
	}
	before, _, ok := s.decision(s.policy.TrustBefore, on, evidence)
	if !ok || before.Verified == now.Verified && before.Code == now.Code && slices.Equal(before.Counted, now.Counted) {
		return nil
	}
	was := fmt.Sprintf("not verified (%s)", before.Code)
	if before.Verified {
		was = before.Reason
	}
	why := strings.Join(trust.Changes(s.policy.TrustBefore, s.policy.Trust, ref), "; ")
	return []found{{
		value: fmt.Sprintf("judged again since %s: %s; before: %s", s.policy.TrustSince.UTC().Format(time.RFC3339), cmp.Or(why, "the policy changed"), was),
		grade: dossier.GradeClaimed, cites: cites,
	}}
}

// Trusted is whom to trust, as a file says that may change while answers are given.
type Trusted struct {
	mu          sync.Mutex
	now, before *trust.Policy
	since       time.Time
}

// Set replaces the policy at a time.
func (t *Trusted) Set(p *trust.Policy, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now, t.before, t.since = p, t.now, at
}

// Policy returns the policy, the one before, and since when it holds. nil: there is none.
func (t *Trusted) Policy() (now, before *trust.Policy, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now, t.before, t.since
}

// decision judges by the first repository that a rule speaks of, which it returns.
func (s *survey) decision(policy *trust.Policy, on dossier.Digest, evidence []trust.Evidence) (d trust.Decision, ref dossier.Reference, ok bool) {
	for _, n := range s.Names {
		r, err := dossier.ParseReference(n.Name + "@" + string(on))
		if err != nil {
			continue
		}
		d, ok = policy.Judge(r, on, evidence, s.pin(r), s.AsOf), true
		if ref = r; d.Code != trust.CodeNoRule {
			return d, ref, true
		}
	}
	return d, ref, ok
}
