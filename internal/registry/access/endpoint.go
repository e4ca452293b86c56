// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// maxForm bounds the body of a request for a token, in bytes.
const maxForm = 64 << 10

// TokenEndpoint hands out tokens: GET with Basic credentials (distribution spec,
// "Token Authentication Specification") and POST with a form ("OAuth2 Token Authentication").
// A token is good for what was asked for and is allowed, which may be nothing: with
// such a token clients log in. The guard must have Tokens.
type TokenEndpoint struct {
	Guard *Guard
	Log   *slog.Logger // of what is wrong with the server; nil: nothing
}

// tokenRequest is what was asked for, in either form.
type tokenRequest struct {
	caller  Caller
	service string
	scopes  []string
}

// tokenResponse has the fields of both forms.
type tokenResponse struct {
	Token       string    `json:"token"`
	AccessToken string    `json:"access_token"`
	TokenType   string    `json:"token_type"`
	Scope       string    `json:"scope"`
	ExpiresIn   int       `json:"expires_in"` // seconds
	IssuedAt    time.Time `json:"issued_at"`
}

// ServeHTTP implements http.Handler.
func (e *TokenEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	token, err := e.token(w, r)
	if err != nil {
		e.refuse(w, r, err)
		return
	}
	var words []string
	for _, s := range token.Scopes {
		words = append(words, s.String())
	}
	writeJSON(w, http.StatusOK, tokenResponse{
		Token: token.Text, AccessToken: token.Text, TokenType: "Bearer", Scope: strings.Join(words, " "),
		ExpiresIn: int(token.Expires.Sub(token.Issued) / time.Second), IssuedAt: token.Issued.UTC(),
	})
}

// errMethod is the one refusal that no kind stands for.
var errMethod = errors.New("the method is neither GET nor POST")

func (e *TokenEndpoint) token(w http.ResponseWriter, r *http.Request) (Token, error) {
	var ask tokenRequest
	var err error
	switch r.Method {
	case http.MethodGet:
		q := r.URL.Query()
		ask.service, ask.scopes = q.Get("service"), q["scope"]
		ask.caller, err = e.Guard.Authenticate(r.Context(), r.Header)
	case http.MethodPost:
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		ask, err = e.form(r)
	default:
		err = errMethod
	}
	if err != nil {
		return Token{}, err
	}
	return e.issue(r.Context(), ask)
}

// form reads a request in the form of OAuth2. A service account's token is given
// as password of ServiceAccountUser or as refresh token.
func (e *TokenEndpoint) form(r *http.Request) (tokenRequest, error) {
	fail := func(why string) (tokenRequest, error) {
		return tokenRequest{}, dossier.Errorf(dossier.KindInvalid, "reading", "request for a token", why)
	}
	if err := r.ParseForm(); err != nil {
		return fail("the body is not a form of at most 64 KiB")
	}
	form := r.PostForm
	ask := tokenRequest{service: form.Get("service"), scopes: form["scope"]}
	var err error
	switch form.Get("grant_type") {
	case "password":
		ask.caller, err = e.Guard.Authenticator.password(r.Context(), form.Get("username"), form.Get("password"))
	case "refresh_token":
		ask.caller, err = e.Guard.Authenticator.account(r.Context(), form.Get("refresh_token"))
	default:
		return fail("the grant_type is neither password nor refresh_token")
	}
	return ask, err
}

func (e *TokenEndpoint) issue(ctx context.Context, ask tokenRequest) (Token, error) {
	tokens := e.Guard.Authenticator.Tokens
	if ask.service != "" && ask.service != tokens.config.Service {
		return Token{}, dossier.Errorf(dossier.KindInvalid, "making a token for", short(ask.service), "this is another service")
	}
	if ask.caller.scoped {
		return Token{}, denied("a token is not taken for another token")
	}
	asked, err := ParseScopes(ask.scopes)
	if err != nil {
		return Token{}, err
	}
	return tokens.issue(ctx, ask.caller, e.Guard.Rules(ctx).Grant(ask.caller.Identity, asked))
}

// refuse answers with an error in the form that the client expects.
func (e *TokenEndpoint) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, code, oauth := http.StatusInternalServerError, "UNKNOWN", "server_error"
	message := err.Error()
	switch kind := dossier.KindOf(err); {
	case errors.Is(err, errMethod):
		w.Header().Set("Allow", "GET, POST")
		status, code, oauth = http.StatusMethodNotAllowed, "UNSUPPORTED", "invalid_request"
	case errors.Is(err, context.Canceled):
		return // nobody listens
	case kind == dossier.KindDenied:
		w.Header().Set("WWW-Authenticate", `Basic realm="registry", charset="UTF-8"`)
		status, code, oauth = http.StatusUnauthorized, "UNAUTHORIZED", "invalid_grant"
	case slices.Contains([]dossier.Kind{dossier.KindInvalid, dossier.KindLimit}, kind):
		status, code, oauth = http.StatusBadRequest, "UNSUPPORTED", "invalid_request"
	case kind == dossier.KindUnavailable, errors.Is(err, context.DeadlineExceeded):
		w.Header().Set("Retry-After", "5")
		status, code, oauth = http.StatusServiceUnavailable, "UNKNOWN", "temporarily_unavailable"
	}
	if status >= http.StatusInternalServerError {
		orDiscard(e.Log).ErrorContext(r.Context(), "a token cannot be made", "error", err)
		message = "the server cannot do this now"
	}
	if r.Method == http.MethodPost {
		writeJSON(w, status, map[string]string{"error": oauth, "error_description": message})
		return
	}
	writeJSON(w, status, map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}
