// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package testimage

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// token is a bearer token that a registry gave out.
type token struct {
	scopes []string
	until  time.Time
}

// admit checks who asks and answers 401 with a challenge when it must.
func (r *Registry) admit(w http.ResponseWriter, req *http.Request) bool {
	switch r.opts.Auth {
	case AuthBasic:
		if r.knows(req) {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
	case AuthBearer:
		if r.bears(req) {
			return true
		}
		challenge := `Bearer realm="` + r.URL + `/token",service="` + r.Host + `"`
		if scope := scopeOf(req); scope != "" {
			challenge += `,scope="` + scope + `"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	default:
		return true
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
	return false
}

func (r *Registry) knows(req *http.Request) bool {
	user, password, ok := req.BasicAuth()
	return ok && user == r.opts.User && password == r.opts.Password
}

func (r *Registry) bears(req *http.Request) bool {
	s, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.tokens[s]
	if !ok || !time.Now().Before(t.until) {
		return false
	}
	scope := scopeOf(req)
	name, action, _ := cutLast(scope, ":")
	return scope == "" || slices.ContainsFunc(t.scopes, func(s string) bool {
		of, actions, _ := cutLast(s, ":")
		return of == name && slices.Contains(strings.Split(actions, ","), action)
	})
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// scopeOf returns what a token must allow for a request, "repository:NAME:pull" or :push.
func scopeOf(req *http.Request) string {
	rest := strings.TrimPrefix(req.URL.Path, "/v2/")
	for _, mark := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if i := strings.LastIndex(rest, mark); i > 0 {
			action := ":pull"
			if req.Method != http.MethodGet && req.Method != http.MethodHead {
				action = ":push"
			}
			return "repository:" + rest[:i] + action
		}
	}
	return ""
}

// serveToken gives a token for the scopes asked for (the token protocol of the
// distribution project).
func (r *Registry) serveToken(w http.ResponseWriter, req *http.Request) {
	if r.opts.User != "" && !r.knows(req) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	age := r.opts.TokenAge
	if age == 0 {
		age = 5 * time.Minute
	}
	s := rand.Text()
	r.mu.Lock()
	r.tokens[s] = token{scopes: req.URL.Query()["scope"], until: time.Now().Add(age)}
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": s, "expires_in": int(age.Seconds())})
}
