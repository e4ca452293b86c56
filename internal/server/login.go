// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/api"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/access"
)

// AccessRules returns the rules that a configuration of the registry gives:
// those of its file, as it is at each time. Without a file, who has logged in
// may do everything, and who has not may pull when that is switched on.
func AccessRules(c config.Registry, e Config) (func(context.Context) *access.Rules, error) {
	if c.Rules != "" {
		file, err := access.OpenRulesFile(c.Rules, e.Logger, e.Now)
		if err != nil {
			return nil, err
		}
		return file.Rules, nil
	}
	everywhere := []string{"**"}
	set := access.RuleSet{Rules: []access.Rule{{Repositories: everywhere, Authenticated: true, Allow: access.Actions()}}}
	if c.AnonymousPull {
		set.Rules = append(set.Rules, access.Rule{Repositories: everywhere, Anyone: true, Allow: []access.Action{access.Pull}})
	}
	rules, err := access.NewRules(set)
	return func(context.Context) *access.Rules { return rules }, err
}

// openGuard returns who says who asks the registry of a name, and what they may
// do; nil when there is no way to log in.
func openGuard(ctx context.Context, c ServeConfig, tokens api.Tokens, e *Engine, name string) (*access.Guard, error) {
	r := c.Registry
	if !r.Login() && !tokens.Required() {
		return nil, nil
	}
	a := &access.Authenticator{Anonymous: r.AnonymousPull}
	if tokens.Required() {
		a.APITokens = tokens
	}
	var err error
	if r.Htpasswd != "" {
		if a.Users, err = access.OpenHtpasswd(r.Htpasswd, e.config.Logger, e.config.Now); err != nil {
			return nil, err
		}
	}
	if r.ServiceAccounts.Audience != "" {
		if a.ServiceAccounts, err = openAccounts(c, e); err != nil {
			return nil, err
		}
	}
	if !r.Tokens.Off {
		if a.Tokens, err = openTokens(ctx, r.Tokens, e, name); err != nil {
			return nil, err
		}
	}
	rules, err := AccessRules(r, e.config)
	return &access.Guard{Authenticator: a, Rules: rules, Realm: r.Tokens.Realm}, err
}

// openTokens returns who makes tokens for the registry of a name.
func openTokens(ctx context.Context, c config.Tokens, e *Engine, name string) (*access.Tokens, error) {
	stored := storedKeys{e.store, e.seal}
	var keys access.KeyStore = stored
	if c.Keys != "" {
		keys = access.KeyFile(c.Keys)
	} else if err := stored.reseal(ctx); err != nil {
		return nil, err
	}
	if c.Service == "" {
		c.Service = name
	}
	return access.NewTokens(ctx, keys, access.TokenConfig{
		Service: c.Service, Issuer: c.Issuer, Life: c.Life, Log: e.config.Logger, Now: e.config.Now,
	})
}

// openAccounts returns who knows service accounts.
func openAccounts(c ServeConfig, e *Engine) (*access.ServiceAccounts, error) {
	s := c.Registry.ServiceAccounts
	cluster := newClusterAccounts(e, c.Cluster)
	known := access.AccountConfig{Audience: s.Audience, Now: e.config.Now}
	if s.Check.Reviews() {
		known.Reviewer = cluster
	}
	if s.Check.Verifies() {
		var reader access.IssuerReader = cluster
		if s.Issuer != "" {
			reader = access.HTTPIssuer{URL: s.Issuer}
		}
		known.Issuer = access.NewIssuer(reader, s.Issuer, e.config.Now)
	}
	return access.NewServiceAccounts(known)
}

// validateLogin tells fault all that is wrong with how one logs in.
func (c ServeConfig) validateLogin(fault func(subject, why, hint string)) {
	r := c.Registry
	login := r.Login() || c.TokenFile != ""
	if !login && (r.AnonymousPull || r.Rules != "" || r.Tokens != config.Tokens{}) {
		fault("registry", "there is no way to log in, so that everybody on this machine may do everything",
			"set htpasswd, serviceAccounts or tokenFile beside anonymousPull, rules and tokens")
	}
	if r.Tokens.Off && r.AnonymousPull {
		fault("registry.tokens.off", "clients would not log in where anybody may pull", "leave out one of tokens.off and anonymousPull")
	}
	s := r.ServiceAccounts
	switch {
	case s.Audience == "" && s != config.ServiceAccounts{}:
		fault("registry.serviceAccounts", "they need an audience", "set the one that tokens are made for, such as the name of the registry")
	case s.Audience != "" && c.Offline:
		fault("registry.serviceAccounts", "nobody can be asked about them without the network", "leave out --offline")
	}
	switch s.Check {
	case "", config.CheckReview, config.CheckKeys, config.CheckBoth:
	default:
		fault("registry.serviceAccounts.check", fmt.Sprintf("there is no %.20q", string(s.Check)), "write review, keys or both")
	}
	if s.Issuer != "" && !s.Check.Verifies() {
		fault("registry.serviceAccounts.issuer", "it is asked only for keys", "set check: keys or check: both")
	}
}

// onlyLoopback refuses requests that are addressed to another name than
// loopback: nobody logs in, so a page whose own name leads here must not get through.
func onlyLoopback(r *http.Request) error {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if isLoopback(strings.Trim(host, "[]")) {
		return nil
	}
	return &registry.Error{Code: registry.CodeDenied, Err: errors.New("this server answers to loopback names only")}
}

// The limits of requests for tokens.
const (
	maxTokenRequests = 256 // at the same time; most wait for a password to be verified
	tokenReadTime    = 10 * time.Second
)

// tokenHandler serves requests for tokens, so many at a time.
type tokenHandler struct {
	endpoint *access.TokenEndpoint
	slots    chan struct{}
	metrics  *registryMetrics
	refused  func(dossier.AuditEntry)
	now      func() time.Time
}

func newTokenHandler(g *access.Guard, e *Engine, m *registryMetrics, refused func(dossier.AuditEntry)) *tokenHandler {
	return &tokenHandler{
		endpoint: &access.TokenEndpoint{Guard: g, Log: e.config.Logger}, slots: make(chan struct{}, maxTokenRequests),
		metrics: m, refused: refused, now: e.config.Now,
	}
}

// ServeHTTP implements http.Handler.
func (h *tokenHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		h.metrics.observe(r.Context(), registry.Call{Kind: "token", Status: rec.status, Took: time.Since(begin)})
	}()
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(begin.Add(tokenReadTime)) // a writer without one is of a test
	_ = control.SetWriteDeadline(begin.Add(registry.WriteTimeout))
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		rec.Header().Set("Retry-After", "1")
		http.Error(rec, "too many requests for tokens are under way", http.StatusTooManyRequests)
		return
	}
	h.endpoint.ServeHTTP(rec, r)
	if rec.status == http.StatusUnauthorized {
		h.refused(registry.RefusedLogin(r, h.now()))
	}
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusRecorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
