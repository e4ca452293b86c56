// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"fmt"
	"strings"
)

// Words says what a rule asks for.
func (p *Policy) Words(n int) string {
	if n < 0 {
		return "no rule: refused"
	}
	r := p.rules[n]
	switch {
	case r.accept:
		return fmt.Sprintf("rule %d: accepted, signed or not", n+1) + r.noted()
	case r.reject:
		return fmt.Sprintf("rule %d: refused, signed or not", n+1)
	}
	var names []string
	for _, s := range r.terms.Signers {
		names = append(names, s.Name)
	}
	return fmt.Sprintf("rule %d: %d of %v must have signed", n+1, max(r.terms.Need, 1), names) + r.noted() + r.firstUse()
}

func (r *rule) noted() string {
	if r.note == "" {
		return ""
	}
	return ": " + r.note
}

// Examples are images that the patterns are made for, each followed by one of another
// host that looks alike.
func (p *Policy) Examples() []string {
	var out []string
	for _, r := range p.rules {
		for _, pattern := range r.patterns {
			fill := func(labels []string, separator, by string) string {
				filled := make([]string, len(labels))
				for i, l := range labels {
					filled[i] = l
					if l == "*" || l == "**" {
						filled[i] = by
					}
				}
				return strings.Join(filled, separator)
			}
			host, path := fill(pattern.host, ".", "registry.example"), fill(pattern.path, "/", "app")
			out = append(out, host+"/"+path)
			if h, _, port := strings.Cut(host, ":"); !port {
				out = append(out, h+".evil.example/"+path)
			}
		}
	}
	return out
}
