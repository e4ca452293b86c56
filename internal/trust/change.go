// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"fmt"
	"slices"

	"dossier.dev/dossier"
)

// member is a signer as the policy has it, in words that can be compared.
type member struct {
	name    string
	signs   string // by what: a key, an identity
	limits  string // when, and for which builders
	revoked string // why; empty: it is not
}

// Changes says in sentences what is different about an image between two policies: the
// rule for it, who may sign, who was revoked. It is empty when nothing is.
func Changes(before, after *Policy, ref dossier.Reference) []string {
	a, b := before.ruleFor(ref), after.ruleFor(ref)
	switch {
	case a == nil && b == nil:
		return nil
	case a == nil:
		return []string{"now there is a rule for it: " + after.Words(after.For(ref))}
	case b == nil:
		return []string{"no rule speaks of it any more"}
	}
	return slices.Concat(changedMembers(a.members, b.members), changedRule(a, b))
}

// AllChanges is Changes for whatever the policies are about.
func AllChanges(before, after *Policy) []string {
	out := changedMembers(before.members, after.members)
	if len(before.rules) != len(after.rules) {
		out = append(out, fmt.Sprintf("there are %d rules, there were %d", len(after.rules), len(before.rules)))
	}
	for i := range min(len(before.rules), len(after.rules)) {
		a, b := &before.rules[i], &after.rules[i]
		said := changedRule(a, b)
		if a.text() != b.text() {
			said = append(said, "it matches other images")
		}
		if !slices.EqualFunc(a.members, b.members, func(x, y member) bool { return x.name == y.name }) {
			said = append(said, "other signers are named")
		}
		for _, s := range said {
			out = append(out, fmt.Sprintf("rule %d: %s", i+1, s))
		}
	}
	if len(out) == 0 && before.Digest != after.Digest {
		out = append(out, "nothing that is asked of images")
	}
	return out
}

func (p *Policy) ruleFor(ref dossier.Reference) *rule {
	if n := p.For(ref); n >= 0 {
		return &p.rules[n]
	}
	return nil
}

func (r *rule) text() string {
	var texts []string
	for _, p := range r.patterns {
		texts = append(texts, p.text)
	}
	return fmt.Sprint(texts)
}

func changedMembers(before, after []member) []string {
	var out []string
	find := func(list []member, name string) *member {
		if i := slices.IndexFunc(list, func(m member) bool { return m.name == name }); i >= 0 {
			return &list[i]
		}
		return nil
	}
	for _, a := range before {
		b := find(after, a.name)
		switch {
		case b == nil:
			out = append(out, fmt.Sprintf("signer %s was removed", a.name))
			continue
		case a.revoked == "" && b.revoked != "":
			out = append(out, fmt.Sprintf("signer %s was revoked: %s", a.name, b.revoked))
		case a.revoked != "" && b.revoked == "":
			out = append(out, fmt.Sprintf("signer %s is no longer revoked", a.name))
		}
		if a.signs != b.signs {
			out = append(out, fmt.Sprintf("signer %s signs with %s instead of %s", a.name, b.signs, a.signs))
		}
		if a.limits != b.limits {
			out = append(out, fmt.Sprintf("signer %s has other limits", a.name))
		}
	}
	for _, b := range after {
		if find(before, b.name) == nil {
			out = append(out, fmt.Sprintf("signer %s was added, who signs with %s", b.name, b.signs))
		}
	}
	return out
}

func changedRule(a, b *rule) []string {
	var out []string
	if a.accept != b.accept || a.reject != b.reject {
		out = append(out, "what is done with it whatever is signed")
	}
	if a.terms.Need != b.terms.Need {
		out = append(out, fmt.Sprintf("%s must have signed instead of %d", count(b.terms.Need, "key"), a.terms.Need))
	}
	if a.statement != b.statement {
		out = append(out, fmt.Sprintf("the statement %q is wanted instead of %q", firstOf(b.statement, SignatureOnly), firstOf(a.statement, SignatureOnly)))
	}
	if a.root != b.root {
		out = append(out, "the trusted root is another one")
	}
	if a.terms.Logs != b.terms.Logs {
		out = append(out, "whether it must be in a log")
	}
	if a.terms.Match != b.terms.Match {
		out = append(out, "which name must be signed")
	}
	return out
}
