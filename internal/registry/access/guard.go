// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// Guard is what a registry asks on each request: who is it, may they, and what
// to tell them if not.
type Guard struct {
	Authenticator *Authenticator
	// Rules returns those that hold now: RulesFile.Rules, or a function that returns
	// OpenRules.
	Rules func(ctx context.Context) *Rules
	// Realm is the URL of the TokenEndpoint. Empty: TokenPath at the host that the
	// request names, which is right unless something in between speaks TLS for us.
	Realm string
}

// TokenPath is where the TokenEndpoint is served.
const TokenPath = "/token"

// Authenticate returns who asks. Errors: those of Authenticator.Authenticate;
// KindDenied means: answer 401 with Challenge.
func (g *Guard) Authenticate(ctx context.Context, header http.Header) (Caller, error) {
	values := header.Values("Authorization")
	if len(values) > 1 {
		return Caller{}, denied("there are several")
	}
	return g.Authenticator.Authenticate(ctx, first(values))
}

// Can decides by the rules as they are now, and for the holder of a token by what the token is good for as well.
// Whatever looks into another repository, as a mount does, asks for Pull there.
func (g *Guard) Can(ctx context.Context, c Caller, action Action, repository string) Decision {
	d := g.Rules(ctx).Can(c.Identity, action, repository)
	if d.Allowed && c.scoped && !covers(c.scopes, action, repository) {
		return Decision{Rule: d.Rule, Login: true, Why: fmt.Sprintf("the token is not good for %s in %s", action, repository)}
	}
	return d
}

// CanList decides whether the list of repositories may be asked for. It shows
// each caller only those in which Listed is true.
func (g *Guard) CanList(c Caller) Decision {
	if c.scoped && !coversCatalog(c.scopes) {
		return Decision{Login: true, Why: "the token is not good for the list of repositories"}
	}
	return Decision{Allowed: true, Why: "everybody may list what they may pull"}
}

// Listed reports whether the list of repositories shows one to a caller: who may
// pull from it, whatever their token is good for.
func (g *Guard) Listed(ctx context.Context, c Caller, repository string) bool {
	return g.Rules(ctx).Can(c.Identity, Pull, repository).Allowed
}

// The errors of a challenge (RFC 6750 section 3.1).
const (
	InvalidToken      = "invalid_token"      // what was shown is not good
	InsufficientScope = "insufficient_scope" // it is not good for this
)

// Challenge returns a WWW-Authenticate header that asks for what the scopes need:
// a token when there are Tokens (distribution spec, "Token Authentication
// Specification"), else a user and a password. problem is empty or one of the errors.
func (g *Guard) Challenge(r *http.Request, problem string, scopes ...Scope) string {
	if g.Authenticator.Tokens == nil {
		return `Basic realm="registry", charset="UTF-8"`
	}
	service := g.Authenticator.Tokens.config.Service
	params := []string{quoted("realm", g.realm(r)), quoted("service", service)}
	var words []string
	for _, s := range scopes {
		if s.Type == RegistryScope || ValidRepository(s.Name) {
			words = append(words, s.String())
		}
	}
	if len(words) > 0 {
		params = append(params, quoted("scope", strings.Join(words, " ")))
	}
	if problem != "" {
		params = append(params, quoted("error", problem))
	}
	return "Bearer " + strings.Join(params, ",")
}

// quoted is a parameter whose value needs no escape.
func quoted(name, value string) string { return name + `="` + value + `"` }

// realm is the URL of the token endpoint as the client can reach it.
func (g *Guard) realm(r *http.Request) string {
	if g.Realm != "" {
		return g.Realm
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if !isServiceName(host) || strings.Contains(host, "/") {
		host = g.Authenticator.Tokens.config.Service
	}
	return scheme + "://" + host + TokenPath
}
