// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"encoding/base64"
	"strings"
	"time"
)

// maxCredentials bounds an Authorization header, in bytes.
const maxCredentials = 2 * maxTokenBytes

// Authenticator finds out who asks. Each way is there when its field is set; the
// zero value knows nobody and refuses everybody.
type Authenticator struct {
	Anonymous       bool // those who give no credentials are Identity{Method: Anonymous}, else refused
	Users           *Htpasswd
	ServiceAccounts *ServiceAccounts
	Tokens          *Tokens
	APITokens       APITokens
}

// APITokens are secrets that the server was given. Who brings one, as a bearer
// token or as the password of any user, is APITokenUser.
type APITokens interface {
	// Fingerprint returns for one of the tokens what stands for it without telling
	// anything of it, equal on all replicas. It takes as long whatever is wrong.
	Fingerprint(token string) (fingerprint string, ok bool)
	// Holds reports whether the token of a fingerprint is among them.
	Holds(fingerprint string) bool
}

// Caller is an identity as it was established for one request.
type Caller struct {
	Identity Identity
	// scoped: a token was shown, which is good for scopes only.
	scoped bool
	scopes []Scope
	// credential is what a token made for the caller depends on, expires the end
	// of what was shown (zero: none).
	credential string
	expires    time.Time
}

// Authenticate reads an Authorization header: Basic with a user and a password,
// with ServiceAccountUser and a token, or with any user and one of APITokens;
// Bearer with a token of ours, of a service account, or of APITokens; or empty. Errors: KindDenied for credentials that are not
// good; KindUnavailable when that cannot be told now; that of ctx.
func (a *Authenticator) Authenticate(ctx context.Context, authorization string) (Caller, error) {
	if authorization == "" {
		if !a.Anonymous {
			return Caller{}, denied("there are none")
		}
		return Caller{Identity: Identity{Method: Anonymous}}, nil
	}
	if len(authorization) > maxCredentials {
		return Caller{}, denied("they are too long")
	}
	scheme, rest, _ := strings.Cut(authorization, " ")
	rest = strings.TrimLeft(rest, " ")
	switch {
	case strings.EqualFold(scheme, "Basic"):
		user, password, ok := parseBasic(rest)
		if !ok {
			return Caller{}, denied("they are not of the form that Basic has")
		}
		return a.password(ctx, user, password)
	case strings.EqualFold(scheme, "Bearer"):
		return a.bearer(ctx, rest)
	}
	return Caller{}, denied("they are neither Basic nor Bearer")
}

func parseBasic(s string) (user, password string, ok bool) {
	text, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(text), ":")
}

// password checks a user's password, or a token in its place.
func (a *Authenticator) password(ctx context.Context, user, password string) (Caller, error) {
	if user == ServiceAccountUser {
		return a.account(ctx, password)
	}
	if c, ok := a.given(password); ok {
		return c, nil
	}
	if a.Users == nil || !ValidUser(user) {
		return Caller{}, denied("the user or the password is wrong")
	}
	fingerprint, err := a.Users.verify(ctx, user, password)
	if err != nil {
		return Caller{}, err
	}
	return Caller{Identity: Identity{User: user, Method: Password}, credential: fingerprint}, nil
}

// given looks for a token among those that the server was given.
func (a *Authenticator) given(token string) (Caller, bool) {
	if a.APITokens == nil {
		return Caller{}, false
	}
	fingerprint, ok := a.APITokens.Fingerprint(token)
	return Caller{Identity: Identity{User: APITokenUser, Method: APIToken}, credential: fingerprint}, ok
}

// account checks a service account's token.
func (a *Authenticator) account(ctx context.Context, token string) (Caller, error) {
	if a.ServiceAccounts == nil {
		return Caller{}, denied("service accounts are not known here")
	}
	id, expires, err := a.ServiceAccounts.verify(ctx, token)
	if err != nil {
		return Caller{}, err
	}
	return Caller{Identity: id, expires: expires}, nil
}

// bearer checks a token. Who it says has made it chooses the verifier, which
// takes nothing else's word for anything.
func (a *Authenticator) bearer(ctx context.Context, token string) (Caller, error) {
	if c, ok := a.given(token); ok {
		return c, nil
	}
	if a.Tokens == nil || issuerOf(token) != a.Tokens.config.Issuer {
		return a.account(ctx, token)
	}
	c, err := a.Tokens.verify(ctx, token)
	if err != nil {
		return Caller{}, err
	}
	if err := a.stillGood(ctx, c); err != nil {
		return Caller{}, err
	}
	return c, nil
}

// stillGood checks that the way in which the holder of a token had shown who it is
// is still open, and its password still the same.
func (a *Authenticator) stillGood(ctx context.Context, c Caller) error {
	good := false
	switch c.Identity.Method {
	case Anonymous:
		good = a.Anonymous
	case Password:
		good = a.Users != nil && a.Users.holds(ctx, c.Identity.User, c.credential)
	case APIToken:
		good = a.APITokens != nil && a.APITokens.Holds(c.credential)
	case TokenReview, Signature:
		good = a.ServiceAccounts != nil
	}
	if !good {
		return denied("what the token was made for is no longer good")
	}
	return nil
}
