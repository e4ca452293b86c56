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
	all := s.judge(s.policy.Trust, on, evidence)
	if len(all) == 0 {
		return []found{{value: "not verified: no repository is known in which it lies", grade: dossier.GradeClaimed, cites: cites}}
	}
	s.rejudged = append(s.rejudged, s.changed(all, on, evidence, cites)...)
	if !all.signed() {
		return all.unsigned(cites)
	}
	var trials []trust.Trial
	for _, j := range all {
		trials = append(trials, j.Trials...)
	}
	var out []found
	for _, t := range trials {
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
func (s *survey) changed(now verdict, on dossier.Digest, evidence []trust.Evidence, cites []cite) []found {
	if s.policy.TrustBefore == nil {
		return nil
	}
	before := s.judge(s.policy.TrustBefore, on, evidence)
	if len(before) == 0 {
		return nil
	}
	a, b := before.worst(), now.worst()
	if a.Verified == b.Verified && a.Code == b.Code && slices.Equal(before.counted(), now.counted()) {
		return nil
	}
	was, ref := fmt.Sprintf("not verified (%s)", a.Code), b.ref
	if a.Verified {
		was = a.Reason
	} else if b.Verified {
		ref = a.ref
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

// verdict is what comes of an image in each repository that a rule of the trust policy speaks
// of, the first found first.
type verdict []judged

// judged is what comes of it in one.
type judged struct {
	ref dossier.Reference
	trust.Decision
}

// judge judges an image in all repositories in which it was found. Those where whatever is
// signed is taken ask for nobody, and those that no rule speaks of say nothing: they count
// where there are no others.
func (s *survey) judge(policy *trust.Policy, on dossier.Digest, evidence []trust.Evidence) verdict {
	var all, rest verdict
	for _, n := range s.Names {
		r, err := dossier.ParseReference(n.Name + "@" + string(on))
		if err != nil {
			continue
		}
		j := judged{r, policy.Judge(r, on, evidence, s.pin(r), s.AsOf)}
		switch {
		case j.Code == trust.CodeNoRule && len(rest) > 0:
		case j.Code == trust.CodeNoRule:
			rest = verdict{j}
		case j.Verified && !j.signed():
			rest = verdict{j}
		default:
			all = append(all, j)
		}
	}
	if len(all) == 0 {
		return rest
	}
	return all
}

func (j judged) signed() bool { return j.Verified && len(j.Counted) > 0 }

// signed reports whether the image is signed for each of the repositories: whoever may push
// to one of them does not sign for the others.
func (v verdict) signed() bool {
	return !slices.ContainsFunc(v, func(j judged) bool { return !j.signed() })
}

// worst returns the first that does not verify, or else the first.
func (v verdict) worst() judged {
	return v[max(0, slices.IndexFunc(v, func(j judged) bool { return !j.Verified }))]
}

// counted returns all who signed.
func (v verdict) counted() []string {
	var out []string
	for _, j := range v {
		out = append(out, j.Counted...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// unsigned says what came of it; of several repositories in each.
func (v verdict) unsigned(cites []cite) []found {
	var out []found
	for _, j := range v {
		text := fmt.Sprintf("not verified (%s): %s", j.Code, j.Reason)
		if j.signed() {
			text = j.Reason
		}
		if len(v) > 1 {
			text = "in " + trust.Scope(j.ref) + ": " + text
		}
		out = append(out, found{value: text, grade: dossier.GradeClaimed, cites: cites})
	}
	return out
}
