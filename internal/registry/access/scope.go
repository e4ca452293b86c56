// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// The limits of the scopes in one request for a token.
const (
	MaxScopes     = 64
	maxScopeBytes = 512 // of one scope
	maxActions    = 16  // of one scope
)

// Resource types of scopes.
const (
	RepositoryScope = "repository"
	RegistryScope   = "registry"
	catalogName     = "catalog" // the only resource of RegistryScope
)

// Scope is what a token may be used for in one resource, in the words of the
// distribution token specification ("Token scope documentation"): TYPE:NAME:ACTIONS.
type Scope struct {
	Type string `json:"type"` // RepositoryScope or RegistryScope
	Name string `json:"name"`
	// Actions are sorted, each once: of pull, push and delete in a repository; "*"
	// of the catalog. Push stands for Push and Retag: which of these are allowed
	// the rules decide.
	Actions []string `json:"actions"`
}

// String returns TYPE:NAME:ACTIONS.
func (s Scope) String() string {
	return s.Type + ":" + s.Name + ":" + strings.Join(s.Actions, ",")
}

// RepositoryAccess returns the scope that the actions need in a repository.
func RepositoryAccess(repository string, actions ...Action) Scope {
	s := Scope{Type: RepositoryScope, Name: repository}
	for _, a := range actions {
		s.Actions = append(s.Actions, a.word())
	}
	return s.tidy()
}

// CatalogAccess returns the scope that listing repositories needs.
func CatalogAccess() Scope {
	return Scope{Type: RegistryScope, Name: catalogName, Actions: []string{"*"}}
}

// word is how scopes call an action.
func (a Action) word() string {
	if a == Retag {
		return string(Push)
	}
	return string(a)
}

func (s Scope) tidy() Scope {
	slices.Sort(s.Actions)
	s.Actions = slices.Compact(s.Actions)
	return s
}

// ParseScopes reads the scope parameters of a request for a token. Each may hold
// several, parted by spaces. Scopes of one resource are joined. "*" stands for
// all actions in a repository; actions that are not known are left out, as are
// resources of another type. Errors: KindInvalid, KindLimit.
func ParseScopes(params []string) ([]Scope, error) {
	var list []Scope
	n := 0
	for _, param := range params {
		for text := range strings.FieldsSeq(param) {
			if n++; n > MaxScopes {
				return nil, dossier.Errorf(dossier.KindLimit, "reading", "scopes", fmt.Sprintf("there are more than %d", MaxScopes))
			}
			s, known, err := parseScope(text)
			if err != nil {
				return nil, err
			}
			if !known {
				continue
			}
			i := slices.IndexFunc(list, func(o Scope) bool { return o.Type == s.Type && o.Name == s.Name })
			if i < 0 {
				list = append(list, s)
				continue
			}
			list[i].Actions = append(list[i].Actions, s.Actions...)
			list[i] = list[i].tidy()
		}
	}
	return list, nil
}

func parseScope(text string) (s Scope, known bool, err error) {
	fail := func(why string) (Scope, bool, error) {
		return Scope{}, false, dossier.Errorf(dossier.KindInvalid, "reading scope", short(text), why)
	}
	if len(text) > maxScopeBytes {
		return Scope{}, false, dossier.Errorf(dossier.KindLimit, "reading scope", short(text), fmt.Sprintf("it has more than %d bytes", maxScopeBytes))
	}
	kind, rest, ok := strings.Cut(text, ":")
	name, actions, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 || strings.Contains(actions, ":") {
		return fail("want TYPE:NAME:ACTIONS")
	}
	// A class, as in repository(plugin), says nothing about access.
	kind, class, classed := strings.Cut(kind, "(")
	if classed && (!strings.HasSuffix(class, ")") || kind == "") {
		return fail("want TYPE(CLASS):NAME:ACTIONS")
	}
	words := strings.Split(actions, ",")
	if len(words) > maxActions {
		return Scope{}, false, dossier.Errorf(dossier.KindLimit, "reading scope", short(text), fmt.Sprintf("it has more than %d actions", maxActions))
	}
	s = Scope{Type: kind, Name: name}
	switch {
	case kind == RepositoryScope && !ValidRepository(name):
		return fail("this is not the name of a repository")
	case kind == RepositoryScope:
		s.Actions = repositoryWords(words)
	case kind == RegistryScope && name == catalogName:
		if slices.Contains(words, "*") {
			s.Actions = []string{"*"}
		}
	default:
		return Scope{}, false, nil
	}
	return s.tidy(), true, nil
}

// repositoryWords keeps the words that are known.
func repositoryWords(words []string) []string {
	var list []string
	for _, a := range Actions() {
		if a.word() == string(a) && (slices.Contains(words, "*") || slices.Contains(words, string(a))) {
			list = append(list, string(a))
		}
	}
	return list
}

// Grant returns of the scopes that are asked for what the rules allow an
// identity now. Resources of which nothing is left are left out.
func (r *Rules) Grant(id Identity, asked []Scope) []Scope {
	granted := []Scope{}
	for _, s := range asked {
		left := Scope{Type: s.Type, Name: s.Name}
		for _, word := range s.Actions {
			if r.allowsWord(id, s, word) {
				left.Actions = append(left.Actions, word)
			}
		}
		if len(left.Actions) > 0 {
			granted = append(granted, left.tidy())
		}
	}
	return granted
}

func (r *Rules) allowsWord(id Identity, s Scope, word string) bool {
	if s.Type == RegistryScope {
		return s.Name == catalogName && word == "*" // what is listed is decided name by name
	}
	return s.Type == RepositoryScope && slices.ContainsFunc(Actions(), func(a Action) bool {
		return a.word() == word && r.Can(id, a, s.Name).Allowed
	})
}

// covers reports whether the scopes include an action in a repository.
func covers(scopes []Scope, action Action, repository string) bool {
	return slices.ContainsFunc(scopes, func(s Scope) bool {
		return s.Type == RepositoryScope && s.Name == repository && slices.Contains(s.Actions, action.word())
	})
}

// coversCatalog reports whether the scopes include the list of repositories.
func coversCatalog(scopes []Scope) bool {
	return slices.ContainsFunc(scopes, func(s Scope) bool {
		return s.Type == RegistryScope && s.Name == catalogName && slices.Contains(s.Actions, "*")
	})
}
