// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

func TestParseScopes(t *testing.T) {
	tests := []struct {
		in   []string
		want []Scope
	}{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{"repository:a/b:pull"}, []Scope{{RepositoryScope, "a/b", []string{"pull"}}}},
		{[]string{"repository:a:push,pull"}, []Scope{{RepositoryScope, "a", []string{"pull", "push"}}}},
		{[]string{"repository:a:*"}, []Scope{{RepositoryScope, "a", []string{"delete", "pull", "push"}}}},
		{[]string{"repository:a:retag,frob,"}, []Scope{{RepositoryScope, "a", []string(nil)}}},
		{[]string{"repository(plugin):a:pull"}, []Scope{{RepositoryScope, "a", []string{"pull"}}}},
		{[]string{"repository:a:pull repository:b:pull", "repository:a:push"},
			[]Scope{{RepositoryScope, "a", []string{"pull", "push"}}, {RepositoryScope, "b", []string{"pull"}}}},
		{[]string{"registry:catalog:*"}, []Scope{CatalogAccess()}},
		{[]string{"registry:other:*", "aaa:b:c"}, nil},
	}
	for _, test := range tests {
		got, err := ParseScopes(test.in)
		if err != nil {
			t.Errorf("%q: %v", test.in, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.in, diff)
		}
	}
}

func TestParseScopesRefuses(t *testing.T) {
	tests := []struct {
		in   string
		want dossier.Kind
	}{
		{"repository", dossier.KindInvalid},
		{"repository:a", dossier.KindInvalid},
		{"repository:../a:pull", dossier.KindInvalid},
		{"repository:a:b:pull", dossier.KindInvalid},
		{"repository:**:pull", dossier.KindInvalid},
		{"repository:*:pull", dossier.KindInvalid},
		{"repository::pull", dossier.KindInvalid},
		{"repository:A:pull", dossier.KindInvalid},
		{"repository(x:a:pull", dossier.KindInvalid},
		{"(x):a:pull", dossier.KindInvalid},
		{"repository:" + strings.Repeat("a", maxScopeBytes) + ":pull", dossier.KindLimit},
		{"repository:a:" + strings.Repeat("x,", maxActions), dossier.KindLimit},
		{strings.Repeat("repository:a:pull ", MaxScopes+1), dossier.KindLimit},
	}
	for _, test := range tests {
		if got, err := ParseScopes([]string{test.in}); dossier.KindOf(err) != test.want {
			t.Errorf("%.60q: got %v, %v, want %s", test.in, got, err, test.want)
		}
	}
}

// TestGrantIsIntersection: what is granted was asked for and is allowed, and
// nothing that is both is missing.
func TestGrantIsIntersection(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	repos := []string{"a", "b", "a/b", "a/b/c", "b/c"}
	patterns := []string{"a", "a/*", "a/**", "**", "b", "b/*"}
	callers := []string{"alice", "bob", "ns/sa", "anonymous"}
	granted := 0
	for range 2000 {
		var set RuleSet
		for range r.IntN(5) {
			rule := Rule{Repositories: []string{patterns[r.IntN(len(patterns))]}}
			switch r.IntN(4) {
			case 0:
				rule.Users = []string{"alice"}
			case 1:
				rule.ServiceAccounts = []string{"ns/*"}
			case 2:
				rule.Authenticated = true
			default:
				rule.Anyone = true
			}
			for _, action := range Actions() {
				switch {
				case r.IntN(3) == 0 && (!rule.Anyone || action == Pull):
					rule.Allow = append(rule.Allow, action)
				case r.IntN(4) == 0:
					rule.Deny = append(rule.Deny, action)
				}
			}
			if len(rule.Allow)+len(rule.Deny) > 0 {
				set.Rules = append(set.Rules, rule)
			}
		}
		rules, err := NewRules(set)
		if err != nil {
			t.Fatal(err)
		}
		id := who(t, callers[r.IntN(len(callers))])
		var params []string
		for range r.IntN(4) {
			words := slices.DeleteFunc([]string{"pull", "push", "delete"}, func(string) bool { return r.IntN(2) == 0 })
			params = append(params, fmt.Sprintf("repository:%s:%s", repos[r.IntN(len(repos))], strings.Join(words, ",")))
		}
		asked, err := ParseScopes(params)
		if err != nil {
			t.Fatal(err)
		}
		got := rules.Grant(id, asked)
		for _, repo := range repos {
			for _, action := range Actions() {
				want := covers(asked, action, repo) && rules.Can(id, action, repo).Allowed
				// The guard asks both, since push in a token stands for two actions.
				has := covers(got, action, repo) && rules.Can(id, action, repo).Allowed
				if has != want {
					t.Fatalf("%s, %s in %s: got %v, want %v\nasked %v\ngranted %v\nrules %+v", id.Name(), action, repo, has, want, asked, got, set)
				}
				if has {
					granted++
				}
				if covers(got, action, repo) && !covers(asked, action, repo) {
					t.Fatalf("scope escalation: %s in %s was not asked for", action, repo)
				}
			}
		}
	}
	if granted < 100 {
		t.Errorf("only %d were granted", granted)
	}
}

func FuzzParseScopes(f *testing.F) {
	for _, s := range []string{"repository:a/b:pull,push", "registry:catalog:*", "repository(x):a:*", "repository:a:pull repository:b:push", "a:b:c:d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		scopes, err := ParseScopes([]string{s})
		if err != nil {
			return
		}
		var texts []string
		for _, scope := range scopes {
			if scope.Type == RepositoryScope && !ValidRepository(scope.Name) {
				t.Errorf("%q names %q", s, scope.Name)
			}
			texts = append(texts, scope.String())
		}
		again, err := ParseScopes(texts)
		if err != nil || !cmp.Equal(scopes, again) {
			t.Errorf("%q: %v is read again as %v, %v", s, scopes, again, err)
		}
		if got := mustRules(t, sampleRules).Grant(Identity{Method: Anonymous}, scopes); covers(got, Push, "a/b") {
			t.Errorf("%q: %v", s, got)
		}
	})
}
