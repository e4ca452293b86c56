// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

func mustRules(t testing.TB, text string) *Rules {
	t.Helper()
	r, err := ParseRules([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// who returns the identity of a name as people write it.
func who(t testing.TB, name string) Identity {
	t.Helper()
	id, err := ParseIdentity(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

const sampleRules = `
groups:
  web: [alice, bob]
  admins: [root]
rules:
  - name: frozen
    repositories: [team/legacy/app]
    authenticated: true
    deny: [push, retag, delete]
  - repositories: [team/*/app, "team/*/lib-*"]
    groups: [web]
    serviceAccounts: [ci/*, "*/pusher"]
    allow: [pull, push]
  - repositories: [team/web/app]
    users: [alice]
    allow: [retag]
  - repositories: ["**"]
    groups: [admins]
    allow: [pull, push, retag, delete]
  - repositories: ["base/**"]
    anyone: true
    allow: [pull]
  - repositories: [shared/tools]
    authenticated: true
    allow: [pull]
  - repositories: ["cluster/**"]
    groups: ["system:serviceaccounts:prod"]
    allow: [pull]
`

func TestCan(t *testing.T) {
	rules := mustRules(t, sampleRules)
	tests := []struct {
		who    string
		action Action
		repo   string
		want   bool
	}{
		{"alice", Push, "team/web/app", true},
		{"alice", Retag, "team/web/app", true},
		{"alice", Delete, "team/web/app", false},
		{"bob", Push, "team/web/app", true},
		{"bob", Retag, "team/web/app", false}, // creating is not moving (CVE-2026-31801 class)
		{"bob", Pull, "team/web/lib-x", true},
		{"bob", Pull, "team/web/other", false},
		{"bob", Pull, "team/web", false}, // repository confusion
		{"bob", Pull, "team/web/app/x", false},
		{"carol", Pull, "team/web/app", false},
		{"ci/builder", Push, "team/web/app", true},
		{"dev/pusher", Push, "team/web/app", true},
		{"dev/builder", Push, "team/web/app", false},
		{"ci2/builder", Push, "team/web/app", false},
		{"root", Delete, "anything/at/all", true},
		{"root", Delete, "team/legacy/app", false}, // the first rule that speaks of it decides
		{"root", Pull, "team/legacy/app", true},    // and it does not speak of pulling
		{"anonymous", Pull, "base/debian", true},
		{"anonymous", Pull, "base", false},
		{"anonymous", Pull, "shared/tools", false},
		{"anonymous", Push, "base/debian", false},
		{"carol", Pull, "base/debian", true},
		{"carol", Pull, "shared/tools", true},
		{"dev/builder", Pull, "shared/tools", true},
		{"prod/web", Pull, "cluster/x", true},
		{"dev/web", Pull, "cluster/x", false},
		{"root", "read", "a", false},
		{"root", "", "a", false},
		{"root", "Pull", "a", false},
	}
	for _, test := range tests {
		d := rules.Can(who(t, test.who), test.action, test.repo)
		if d.Allowed != test.want || d.Why == "" {
			t.Errorf("%s %s %s: got %+v, want %v", test.who, test.action, test.repo, d, test.want)
		}
	}
}

func TestDecision(t *testing.T) {
	rules := mustRules(t, sampleRules)
	tests := []struct {
		who    string
		action Action
		repo   string
		want   Decision
	}{
		{"root", Push, "team/legacy/app", Decision{Rule: "rule 1 (line 6) frozen", Why: "rule 1 (line 6) frozen does not let root push in team/legacy/app"}},
		{"ci/b", Pull, "team/a/app", Decision{Allowed: true, Rule: "rule 2 (line 10)", Why: "rule 2 (line 10) lets service account ci/b pull in team/a/app"}},
		{"carol", Pull, "x", Decision{Why: "no rule lets carol pull in x"}},
		{"anonymous", Pull, "x", Decision{Login: true, Why: "no rule lets anonymous pull in x"}},
		{"root", Pull, "../x", Decision{Why: `"../x" is not the name of a repository`}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, rules.Can(who(t, test.who), test.action, test.repo)); diff != "" {
			t.Errorf("%s %s %s (-want +got):\n%s", test.who, test.action, test.repo, diff)
		}
	}
}

// TestDenyByDefault: neither nothing nor the zero value allows anything.
func TestDenyByDefault(t *testing.T) {
	for name, rules := range map[string]*Rules{"nil": nil, "zero": {}, "empty": mustRules(t, ""), "no rules": mustRules(t, "rules: []")} {
		for _, action := range Actions() {
			for _, id := range []string{"alice", "anonymous", "ns/sa"} {
				if d := rules.Can(who(t, id), action, "a"); d.Allowed {
					t.Errorf("%s rules: %+v", name, d)
				}
			}
		}
	}
	rules := mustRules(t, sampleRules)
	if d := rules.Can(Identity{}, Pull, "shared/tools"); d.Allowed {
		t.Errorf("the zero identity: %+v", d)
	}
}

func TestOpenRules(t *testing.T) {
	for _, action := range Actions() {
		if d := OpenRules().Can(Identity{Method: Anonymous}, action, "a/b"); !d.Allowed {
			t.Errorf("%s: %+v", action, d)
		}
	}
	if d := OpenRules().Can(who(t, "alice"), Pull, "a/../b"); d.Allowed {
		t.Errorf("path traversal: %+v", d)
	}
}

// TestPathTraversal: names that a server would take for others match no rule.
func TestPathTraversal(t *testing.T) {
	rules := mustRules(t, `rules: [{repositories: ["**"], authenticated: true, allow: [pull, push, retag, delete]}]`)
	for _, name := range []string{"../a", "a/../b", "a/./b", "a//b", "/a", "a/", "a%2f..%2fb", "a\\b", "a\x00", "a\n", "A", "", ".", ".."} {
		if d := rules.Can(who(t, "alice"), Pull, name); d.Allowed {
			t.Errorf("%q: %+v", name, d)
		}
	}
}

// TestNamesDoNotCross: users, service accounts and groups of one name are
// different, whoever chose the name.
func TestNamesDoNotCross(t *testing.T) {
	rules := mustRules(t, `
groups: {ops: [alice]}
rules:
  - {repositories: [a], users: [builder], allow: [pull]}
  - {repositories: [b], serviceAccounts: ["ci/builder"], allow: [pull]}
  - {repositories: [c], groups: [ops], allow: [pull]}
  - {repositories: [d], groups: ["system:serviceaccounts"], allow: [pull]}
`)
	account := who(t, "ci/builder")
	user := Identity{User: "builder", Method: Password}
	// A user file or a cluster that gives strange names and groups.
	posing := Identity{User: "system:serviceaccount:ci:builder", Groups: []string{"ops", "system:serviceaccounts"}, Method: Password}
	grouped := ServiceAccount{"x", "alice"}.identity(TokenReview, Pod{})
	grouped.Groups = append(grouped.Groups, "ops")
	for _, test := range []struct {
		name string
		id   Identity
		want string
	}{
		{"service account", account, "bd"}, {"user", user, "a"}, {"user with the name of an account", posing, ""},
		{"account in a group of users", grouped, "d"}, {"member", Identity{User: "alice", Method: Password}, "c"},
	} {
		got := ""
		for _, repo := range []string{"a", "b", "c", "d"} {
			if rules.Can(test.id, Pull, repo).Allowed {
				got += repo
			}
		}
		if got != test.want {
			t.Errorf("%s: may pull %q, want %q", test.name, got, test.want)
		}
	}
}

func TestRulesFaults(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string // in order
	}{
		{"not YAML", "rules: [", []string{"access rules"}},
		{"not a mapping", "- a", []string{"line 1, "}},
		{"field", "rule: []", []string{"line 1, rule: there is no such field"}},
		{"field of a rule", "rules:\n- repos: [a]", []string{"line 2, rules[0].repos: there is no such field"}},
		{"twice", "rules: []\nrules: []", []string{"line 2, rules: it is there twice"}},
		{"two documents", "rules: []\n---\nrules: []", []string{"there is more than one document"}},
		{"list", "rules:\n- repositories: a", []string{"line 2, rules[0].repositories: want a list"}},
		{"number", "rules:\n- users: [1]", []string{"line 2, rules[0].users[0]: want text"}},
		{"yes", "rules:\n- anyone: yes", []string{"line 2, rules[0].anyone: want true or false"}},
		{"alias", "x: &a [alice]\nrules:\n- users: *a", []string{"line 1, x", "line 3, rules[0].users: want a list"}},
		{"merge key", "rules:\n- &r {users: [a]}\n- <<: *r", []string{"line 3, rules[1]: a field's name"}},
		{"all at once", `
groups:
  "system:serviceaccounts": [x]
  ops: ["a b"]
rules:
  - repositories: [a,
      ../b]
    users: [alice, "ns/sa", anonymous]
    groups: [none]
    serviceAccounts: [x, "a/b/c", "A/b"]
    allow: [pull, pull, read]
    deny: [pull]
  - repositories: []
    allow: [pull]
  - repositories: [a]
    anyone: true
    authenticated: true
    allow: [pull, push]
  - repositories: [a]
    users: [alice]
`, []string{
			"line 4, groups.ops[0]: ", "line 3, groups.system:serviceaccounts: ",
			`line 7, rules[0].repositories[1]: "../b"`, `line 8, rules[0].users[1]: "ns/sa"`, `line 8, rules[0].users[2]: "anonymous"`,
			`line 9, rules[0].groups[0]: there is no group "none"`,
			"line 10, rules[0].serviceAccounts[0]", "line 10, rules[0].serviceAccounts[1]", "line 10, rules[0].serviceAccounts[2]",
			"line 11, rules[0].allow[1]: pull is there twice", "line 11, rules[0].allow[2]: there is no action", "line 12, rules[0].deny[0]: pull is both",
			"line 13, rules[1]: it names no repositories", "line 13, rules[1]: it is for nobody",
			"line 15, rules[2]: anyone, authenticated and named", "line 18, rules[2].allow[1]: anyone may push",
			"line 19, rules[3]: it neither allows nor denies",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseRules([]byte(test.text))
			faults := flatten(err)
			if len(faults) != len(test.want) {
				t.Fatalf("got %d faults, want %d:\n%v", len(faults), len(test.want), err)
			}
			for i, want := range test.want {
				if got := faults[i].Error(); !strings.Contains(got, want) {
					t.Errorf("fault %d: got %q, want %q in it", i, got, want)
				}
				if dossier.KindOf(faults[i]) != dossier.KindInvalid {
					t.Errorf("%v is of kind %q", faults[i], dossier.KindOf(faults[i]))
				}
			}
		})
	}
}

func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var list []error
		for _, e := range joined.Unwrap() {
			list = append(list, flatten(e)...)
		}
		return list
	}
	return []error{err}
}

func TestRulesLimits(t *testing.T) {
	if _, err := ParseRules([]byte(strings.Repeat("#", MaxRulesBytes+1))); dossier.KindOf(err) != dossier.KindLimit {
		t.Errorf("a large file: %v", err)
	}
	set := RuleSet{Rules: make([]Rule, maxRules+1)}
	for i := range set.Rules {
		set.Rules[i] = Rule{Repositories: []string{"a"}, Users: []string{"a"}, Allow: []Action{Pull}}
	}
	if _, err := NewRules(set); dossier.KindOf(errors.Join(flatten(err)...)) == "" {
		t.Errorf("many rules: %v", err)
	}
	if _, err := NewRules(RuleSet{Rules: set.Rules[:maxRules]}); err != nil {
		t.Error(err)
	}
}

func FuzzParseRules(f *testing.F) {
	f.Add([]byte(sampleRules))
	f.Add([]byte("rules: [{repositories: ['**'], anyone: true, allow: [pull]}]"))
	f.Add([]byte("a: &a [*a]\nrules: *a"))
	f.Add([]byte("rules:\n- ? [a]\n  : b\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		rules, err := ParseRules(text)
		if err != nil {
			for _, fault := range flatten(err) {
				if k := dossier.KindOf(fault); k != dossier.KindInvalid && k != dossier.KindLimit {
					t.Errorf("%v is of kind %q", fault, k)
				}
			}
			return
		}
		// Whatever the rules say, nobody without a name changes anything.
		for _, action := range []Action{Push, Retag, Delete} {
			if d := rules.Can(Identity{Method: Anonymous}, action, "a/b"); d.Allowed {
				t.Errorf("%s: %+v", text, d)
			}
		}
		if d := rules.Can(Identity{User: "alice", Method: Password}, Pull, "a/b"); d.Why == "" {
			t.Errorf("%s: a decision without a reason", text)
		}
	})
}
