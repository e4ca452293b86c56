// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// Validate returns all faults as one joined error, each a KindInvalid with the
// place of the fault as subject, and the line when the set was read from a file.
func (s RuleSet) Validate() error {
	v := validator{set: s}
	if len(s.Rules) > maxRules {
		v.fault("rules", fmt.Sprintf("there are more than %d", maxRules), "join patterns and callers in one rule")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Groups)) {
		v.group(name, s.Groups[name])
	}
	for i, rule := range s.Rules {
		v.rule(rulePath(i), rule)
	}
	return errors.Join(v.faults...)
}

func rulePath(i int) string                       { return fmt.Sprintf("rules[%d]", i) }
func itemPath(parent, field string, i int) string { return fmt.Sprintf("%s.%s[%d]", parent, field, i) }

// validator collects faults.
type validator struct {
	set    RuleSet
	faults []error
}

func (v *validator) fault(path, why, hint string) {
	subject := path
	for at := path; at != ""; at = parentPath(at) {
		if line := v.set.lines[at]; line > 0 {
			subject = fmt.Sprintf("line %d, %s", line, path)
			break
		}
	}
	v.faults = append(v.faults, &dossier.Error{Kind: dossier.KindInvalid, Op: "checking access rules:", Subject: subject, Err: errors.New(why), Hint: hint})
}

// parentPath returns the path of what holds a path: a.b[1] -> a.b -> a -> "".
func parentPath(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

func (v *validator) group(name string, users []string) {
	path := "groups." + name
	if isClusterGroup(name) || !ValidUser(name) {
		v.fault(path, "a group cannot have this name", "use letters, digits, '-', '_' and '.'")
	}
	for i, user := range users {
		v.user(fmt.Sprintf("%s[%d]", path, i), user)
	}
}

func (v *validator) user(path, user string) {
	if !ValidUser(user) {
		v.fault(path, fmt.Sprintf("%q is not the name of a user", short(user)),
			"name service accounts under serviceAccounts as NAMESPACE/NAME, and everybody by authenticated or anyone")
	}
}

func (v *validator) rule(path string, r Rule) {
	if len(r.Name) > maxUserName || strings.ContainsFunc(r.Name, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		v.fault(path+".name", "a name is one line of at most 128 bytes", "")
	}
	if len(r.Repositories) == 0 {
		v.fault(path, "it names no repositories", "write repositories: [\"**\"] for all")
	}
	for i, pattern := range r.Repositories {
		if _, fault := parseGlob(pattern); fault != "" {
			v.fault(itemPath(path, "repositories", i), fmt.Sprintf("%q: %s", short(pattern), fault), "")
		}
	}
	v.callers(path, r)
	v.actions(path, r)
}

// callers checks whom a rule is for.
func (v *validator) callers(path string, r Rule) {
	named := len(r.Users) + len(r.Groups) + len(r.ServiceAccounts)
	ways := 0
	for _, set := range []bool{named > 0, r.Authenticated, r.Anyone} {
		if set {
			ways++
		}
	}
	switch {
	case ways == 0:
		v.fault(path, "it is for nobody", "name users, groups or serviceAccounts, or write authenticated: true or anyone: true")
	case ways > 1:
		v.fault(path, "anyone, authenticated and named callers exclude each other", "keep one of them")
	}
	for i, user := range r.Users {
		v.user(itemPath(path, "users", i), user)
	}
	for i, group := range r.Groups {
		if _, ok := v.set.Groups[group]; !ok && !isClusterGroup(group) {
			v.fault(itemPath(path, "groups", i), fmt.Sprintf("there is no group %q", short(group)), "define it under groups")
		}
	}
	for i, pattern := range r.ServiceAccounts {
		namespace, name, _ := strings.Cut(pattern, "/")
		if !isAccountName(fillStars(namespace)) || !isAccountName(fillStars(name)) {
			v.fault(itemPath(path, "serviceAccounts", i), fmt.Sprintf("%q is not NAMESPACE/NAME", short(pattern)), "write */* for all")
		}
	}
}

// actions checks what a rule allows and denies.
func (v *validator) actions(path string, r Rule) {
	if len(r.Allow)+len(r.Deny) == 0 {
		v.fault(path, "it neither allows nor denies anything", "write allow: [pull]")
	}
	check := func(field string, list []Action) {
		for i, a := range list {
			at := itemPath(path, field, i)
			switch {
			case !slices.Contains(Actions(), a):
				v.fault(at, fmt.Sprintf("there is no action %q", short(string(a))), "use pull, push, retag and delete")
			case slices.Contains(list[:i], a):
				v.fault(at, fmt.Sprintf("%s is there twice", a), "")
			case field == "deny" && slices.Contains(r.Allow, a):
				v.fault(at, fmt.Sprintf("%s is both allowed and denied", a), "keep one of them")
			case field == "allow" && r.Anyone && a != Pull:
				v.fault(at, fmt.Sprintf("anyone may %s: nobody without a name may change anything", a), "write authenticated: true")
			}
		}
	}
	check("allow", r.Allow)
	check("deny", r.Deny)
}
