// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"
	"slices"
	"strings"
)

// Action is something that is done in a repository. Each is allowed by its own
// name; none includes another.
type Action string

// The actions.
const (
	Pull   Action = "pull"   // read manifests, blobs, tags and referrers
	Push   Action = "push"   // upload blobs and manifests, create tags that are not there
	Retag  Action = "retag"  // let a tag that is there point elsewhere
	Delete Action = "delete" // remove tags, manifests and blobs
)

// Actions returns all actions.
func Actions() []Action { return []Action{Pull, Push, Retag, Delete} }

// RuleSet is the rules as people write them. The zero value allows nothing.
type RuleSet struct {
	Groups map[string][]string // the users of each group
	Rules  []Rule

	lines map[string]int // where in the file: by path, such as "rules[1].allow"
}

// Rule says for some repositories what some callers may do, and what they may not.
type Rule struct {
	Name            string   // shown in decisions; may be empty
	Repositories    []string // patterns: '*' within an element, "**" for one or more elements
	Users           []string
	Groups          []string // of RuleSet.Groups, or system:serviceaccounts[:NAMESPACE]
	ServiceAccounts []string // NAMESPACE/NAME, with '*' in either
	Authenticated   bool     // everybody with a name
	Anyone          bool     // everybody; it may allow pulling only
	Allow, Deny     []Action
}

// Decision is what the rules say about one action, and which of them says it.
type Decision struct {
	Allowed bool   `json:"allowed"`
	Rule    string `json:"rule,omitempty"` // empty: no rule speaks of it
	Why     string `json:"why"`            // a sentence without a full stop
	// Login: it is denied, and other credentials or a wider token could help. A
	// server then asks for them; else it refuses for good.
	Login bool `json:"-"`
}

// Rules decide. They never change; the zero value allows nothing.
type Rules struct {
	groups map[string]map[string]bool // group -> users
	rules  []compiledRule
}

type compiledRule struct {
	label         string
	repositories  []glob
	users, groups []string
	accounts      []ServiceAccount // patterns
	authenticated bool
	anyone        bool
	allow, deny   []Action
}

// OpenRules allow everybody everything. They are for a server that only its own
// machine can reach.
func OpenRules() *Rules {
	return &Rules{rules: []compiledRule{{label: "no rules are configured", repositories: []glob{{anyDepth}}, anyone: true, allow: Actions()}}}
}

// NewRules prepares a set for use. Errors: those of RuleSet.Validate.
func NewRules(set RuleSet) (*Rules, error) {
	if err := set.Validate(); err != nil {
		return nil, err
	}
	r := &Rules{groups: map[string]map[string]bool{}}
	for name, users := range set.Groups {
		r.groups[name] = map[string]bool{}
		for _, u := range users {
			r.groups[name][u] = true
		}
	}
	for i, rule := range set.Rules {
		r.rules = append(r.rules, rule.compile(set.label(i)))
	}
	return r, nil
}

// label names a rule for people.
func (s RuleSet) label(i int) string {
	label := fmt.Sprintf("rule %d", i+1)
	if line := s.lines[rulePath(i)]; line > 0 {
		label += fmt.Sprintf(" (line %d)", line)
	}
	if name := s.Rules[i].Name; name != "" {
		label += " " + name
	}
	return label
}

// compile takes a rule that was validated.
func (r Rule) compile(label string) compiledRule {
	c := compiledRule{
		label: label, users: slices.Clone(r.Users), groups: slices.Clone(r.Groups),
		authenticated: r.Authenticated, anyone: r.Anyone,
		allow: slices.Clone(r.Allow), deny: slices.Clone(r.Deny),
	}
	for _, pattern := range r.Repositories {
		g, _ := parseGlob(pattern)
		c.repositories = append(c.repositories, g)
	}
	for _, pattern := range r.ServiceAccounts {
		namespace, name, _ := strings.Cut(pattern, "/")
		c.accounts = append(c.accounts, ServiceAccount{namespace, name})
	}
	return c
}

// Can decides whether an identity may do something in a repository. The first
// rule decides that matches the repository and the identity and names the
// action; when none does, it is denied.
func (r *Rules) Can(id Identity, action Action, repository string) Decision {
	if !ValidRepository(repository) {
		return Decision{Why: fmt.Sprintf("%q is not the name of a repository", short(repository))}
	}
	if !slices.Contains(Actions(), action) {
		return Decision{Why: fmt.Sprintf("there is no action %q", short(string(action)))}
	}
	what := fmt.Sprintf("%s in %s", action, repository)
	if r != nil {
		for _, rule := range r.rules {
			allows, denies := slices.Contains(rule.allow, action), slices.Contains(rule.deny, action)
			if !allows && !denies || !rule.covers(repository) || !r.isFor(rule, id) {
				continue
			}
			verb := "lets"
			if denies {
				verb = "does not let"
			}
			return Decision{Allowed: !denies, Rule: rule.label, Login: denies && id.IsAnonymous(),
				Why: fmt.Sprintf("%s %s %s %s", rule.label, verb, id.Name(), what)}
		}
	}
	return Decision{Login: id.IsAnonymous(), Why: fmt.Sprintf("no rule lets %s %s", id.Name(), what)}
}

func (c compiledRule) covers(repository string) bool {
	return slices.ContainsFunc(c.repositories, func(g glob) bool { return g.match(repository) })
}

// isFor reports whether a rule speaks of an identity. Users and service accounts
// never stand for one another, whatever their names.
func (r *Rules) isFor(rule compiledRule, id Identity) bool {
	switch {
	case rule.anyone:
		return true
	case id.IsAnonymous() || id.User == "":
		return false
	case rule.authenticated:
		return true
	case id.ServiceAccount != ServiceAccount{}:
		return slices.ContainsFunc(rule.groups, func(g string) bool { return slices.Contains(id.Groups, g) && isClusterGroup(g) }) ||
			slices.ContainsFunc(rule.accounts, func(p ServiceAccount) bool {
				return matchElement(p.Namespace, id.ServiceAccount.Namespace) && matchElement(p.Name, id.ServiceAccount.Name)
			})
	}
	return slices.Contains(rule.users, id.User) ||
		slices.ContainsFunc(rule.groups, func(g string) bool { return r.groups[g][id.User] })
}

// isClusterGroup reports whether a group is one that the cluster fills.
func isClusterGroup(group string) bool {
	return group == accountsGroup || strings.HasPrefix(group, accountsGroup+":")
}
