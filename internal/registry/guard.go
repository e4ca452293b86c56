// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"net/http"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry/access"
)

// actions is the table of what a caller must be allowed to do for each kind of
// request. To ping one must be let in; the catalog is for all who are, and shows
// each what they may pull. Moving a tag is found out by the transaction that moves it.
var actions = map[Kind]access.Action{
	KindBlobGet:        access.Pull,
	KindManifestGet:    access.Pull,
	KindTagList:        access.Pull,
	KindReferrers:      access.Pull,
	KindUploadBegin:    access.Push,
	KindUploadChunk:    access.Push,
	KindUploadEnd:      access.Push,
	KindUploadStatus:   access.Push,
	KindUploadCancel:   access.Push,
	KindManifestPut:    access.Push,
	KindManifestDelete: access.Delete,
	KindBlobDelete:     access.Delete,
}

// scopes are what a token must be good for to send a request. Who pushes looks
// at what is there first.
func (q Request) scopes() []access.Scope {
	switch action := actions[q.Kind]; {
	case q.Kind == KindCatalog:
		return []access.Scope{access.CatalogAccess()}
	case q.Repository == "" || action == "":
		return nil
	case q.From != "":
		return []access.Scope{access.RepositoryAccess(q.Repository, access.Pull, action), access.RepositoryAccess(q.From, access.Pull)}
	case action == access.Push:
		return []access.Scope{access.RepositoryAccess(q.Repository, access.Pull, action)}
	default:
		return []access.Scope{access.RepositoryAccess(q.Repository, action)}
	}
}

// identify says who sends a request. When that fails the error asks for what the
// request would need. A page of another site that makes a browser send what
// changes something is refused.
func (h *Handler) identify(r *http.Request, q Request) (access.Caller, error) {
	if err := new(http.CrossOriginProtection).Check(r); err != nil {
		return access.Caller{}, &Error{Code: CodeDenied, Err: err}
	}
	if h.config.Refuse != nil {
		if err := h.config.Refuse(r); err != nil {
			return access.Caller{}, err
		}
	}
	g := h.config.Guard
	if g == nil {
		return access.Caller{}, nil
	}
	caller, err := g.Authenticate(r.Context(), r.Header)
	shown := r.Header.Get("Authorization") != ""
	if err == nil && q.Kind == KindPing && !shown && g.Authenticator.Tokens != nil {
		// Clients learn here where tokens are made, even those for anybody.
		err = dossier.Errorf(dossier.KindDenied, "checking", "credentials", "there are none; tokens are made at "+access.TokenPath)
	}
	if dossier.KindOf(err) != dossier.KindDenied {
		return caller, err
	}
	problem := ""
	if shown {
		problem = access.InvalidToken
	}
	return access.Caller{}, &Error{Code: CodeUnauthorized, Challenge: g.Challenge(r, problem, q.scopes()...), Err: err}
}

// newCaller puts an identity into the words of this package.
func newCaller(id access.Identity) Caller {
	c := Caller{Kind: CallerUser, Name: id.User, Pod: id.Pod.Name, PodUID: id.Pod.UID, Login: string(id.Method)}
	switch {
	case id.Method == "" || id.IsAnonymous():
		return Caller{}
	case id.Method == access.APIToken:
		c.Kind, c.Name = CallerToken, ""
	case id.ServiceAccount != access.ServiceAccount{}:
		c.Kind, c.Name = CallerAccount, id.ServiceAccount.String()
	}
	return c
}

// check returns nil when the caller may send the request.
func (c *call) check(ctx context.Context) error {
	if c.Kind == KindCatalog && c.config.Guard != nil {
		return c.decide(ctx, c.config.Guard.CanList(c.shown), "list the repositories")
	}
	if action := actions[c.Kind]; action != "" {
		return c.may(ctx, action)
	}
	return nil
}

// may returns nil when the caller may do something in the repository that the
// request is about.
func (c *call) may(ctx context.Context, action access.Action) error {
	if c.config.Guard == nil {
		return nil
	}
	d := c.config.Guard.Can(ctx, c.shown, action, c.Repository)
	return c.decide(ctx, d, fmt.Sprintf("%s in %s", action, c.Repository))
}

// decide makes an error of a decision: to log in, when that could help, or that
// it is denied. Which rule it was is for the log, not for the client.
func (c *call) decide(ctx context.Context, d access.Decision, what string) error {
	if d.Allowed {
		return nil
	}
	c.config.Logger.DebugContext(ctx, "registry request denied", "caller", c.who.String(), "why", d.Why)
	err := fmt.Errorf("%s may not %s", c.who, what)
	if !d.Login {
		return &Error{Code: CodeDenied, Err: err}
	}
	problem := ""
	if c.r.Header.Get("Authorization") != "" {
		problem = access.InsufficientScope
	}
	return &Error{Code: CodeUnauthorized, Challenge: c.config.Guard.Challenge(c.r, problem, c.scopes()...), Err: err}
}

// sees reports whether the caller may pull from a repository, so that a blob of
// it may be mounted elsewhere. The error asks for a wider token, where only that
// is missing: it says nothing but what the rules say of the caller.
func (c *call) sees(ctx context.Context, repository string) (bool, error) {
	g := c.config.Guard
	if g == nil {
		return true, nil
	}
	d := g.Can(ctx, c.shown, access.Pull, repository)
	if d.Allowed || !g.Listed(ctx, c.shown, repository) {
		return d.Allowed, nil
	}
	wider := *c
	wider.From = repository
	return false, wider.decide(ctx, d, "pull in "+repository)
}

// lists reports whether the catalog shows a repository to the caller.
func (c *call) lists(ctx context.Context, repository string) bool {
	return c.config.Guard == nil || c.config.Guard.Listed(ctx, c.shown, repository)
}
