// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
)

// gate is a guard with users alice and bob, service accounts and tokens, over
// rules that the test can change.
type gate struct {
	*Guard
	clock   *clock
	cluster *fakeCluster
	users   string // path
	rules   *Rules
	server  *httptest.Server // /token, and /REPO?action=
}

const gateRules = `
rules:
  - {repositories: ["a/**"], users: [alice], allow: [pull, push, retag]}
  - {repositories: ["a/**"], serviceAccounts: ["ns/*"], allow: [pull]}
  - {repositories: ["open/**"], anyone: true, allow: [pull]}
  - {repositories: ["b"], users: [bob], allow: [pull, push]}
`

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{clock: newClock(), rules: mustRules(t, gateRules)}
	g.cluster = newFakeCluster(t, g.clock)
	var users *Htpasswd
	users, g.users = openUsers(t, g.clock, map[string]string{"alice": "secret", "bob": "hidden"})
	g.Guard = &Guard{
		Authenticator: &Authenticator{
			Anonymous: true, Users: users, Tokens: newTokens(t, g.clock, StaticKeys{newTestKey(t, g.clock.now())}),
			ServiceAccounts: newAccounts(t, AccountConfig{Reviewer: g.cluster, Now: g.clock.now}),
		},
		Rules: func(context.Context) *Rules { return g.rules },
	}
	mux := http.NewServeMux()
	mux.Handle(TokenPath, &TokenEndpoint{Guard: g.Guard})
	mux.HandleFunc("/v2/{repo...}", g.serve)
	g.server = httptest.NewServer(mux)
	t.Cleanup(g.server.Close)
	return g
}

// serve answers as a registry does: 200 when the action of the query is allowed.
func (g *gate) serve(w http.ResponseWriter, r *http.Request) {
	repo, action := r.PathValue("repo"), Action(r.URL.Query().Get("action"))
	caller, err := g.Authenticate(r.Context(), r.Header)
	if err != nil {
		w.Header().Set("WWW-Authenticate", g.Challenge(r, InvalidToken, RepositoryAccess(repo, action)))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch d := g.Can(r.Context(), caller, action, repo); {
	case d.Allowed:
	case d.Login:
		w.Header().Set("WWW-Authenticate", g.Challenge(r, InsufficientScope, RepositoryAccess(repo, action)))
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.WriteHeader(http.StatusForbidden)
	}
}

// status asks for an action with an Authorization header.
func (g *gate) status(t *testing.T, authorization string, action Action, repo string) int {
	t.Helper()
	response, _ := g.get(t, authorization, "/v2/"+repo+"?action="+string(action))
	return response.StatusCode
}

func (g *gate) get(t *testing.T, authorization, path string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return do(t, r)
}

func do(t *testing.T, r *http.Request) (*http.Response, []byte) {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// token asks for one and returns it as an Authorization header.
func (g *gate) token(t *testing.T, authorization string, scopes ...string) (string, tokenResponse) {
	t.Helper()
	q := url.Values{"service": {"registry.example"}, "scope": scopes}
	response, body := g.get(t, authorization, TokenPath+"?"+q.Encode())
	var token tokenResponse
	if err := json.Unmarshal(body, &token); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%d %s: %v", response.StatusCode, body, err)
	}
	return "Bearer " + token.Token, token
}

// TestTokenFlow does what clients do: ask, be challenged, fetch a token, ask again.
func TestTokenFlow(t *testing.T) {
	g := newGate(t)
	response, _ := g.get(t, "", "/v2/a/b?action=push")
	want := `Bearer realm="` + g.server.URL + `/token",service="registry.example",scope="repository:a/b:push",error="insufficient_scope"`
	if got := response.Header.Get("WWW-Authenticate"); got != want || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %d %s, want %s", response.StatusCode, got, want)
	}
	account := g.cluster.sign(t, podClaims(g.clock.now(), "ns", "sa", audience))
	tests := []struct {
		name, authorization string
		asked               []string
		scope               string // granted
		may, mayNot         string // "ACTION REPO", parted by commas
	}{
		{"user", basic("alice", "secret"), []string{"repository:a/b:pull,push"}, "repository:a/b:pull,push",
			"pull a/b,push a/b,retag a/b", "delete a/b,pull a/b/c,pull a,pull a/c,pull open/x"},
		{"more than allowed", basic("alice", "secret"), []string{"repository:a/b:* repository:b:*"}, "repository:a/b:pull,push", "pull a/b", "delete a/b,pull b"},
		{"nothing asked", basic("alice", "secret"), nil, "", "", "pull a/b,pull open/x"},
		{"nobody", "", []string{"repository:open/x:pull,push", "repository:a/b:pull"}, "repository:open/x:pull", "pull open/x", "push open/x,pull a/b"},
		{"service account", basic(ServiceAccountUser, account), []string{"repository:a/b:pull,push"}, "repository:a/b:pull", "pull a/b", "push a/b"},
		{"its token as bearer", "Bearer " + account, []string{"repository:a/b:pull"}, "repository:a/b:pull", "pull a/b", "push a/b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bearer, token := g.token(t, test.authorization, test.asked...)
			if token.Scope != test.scope || token.ExpiresIn != 300 || token.AccessToken != token.Token || !token.IssuedAt.Equal(g.clock.now()) {
				t.Errorf("got %+v, want scope %q", token, test.scope)
			}
			for list, want := range map[string]bool{test.may: true, test.mayNot: false} {
				for one := range strings.SplitSeq(list, ",") {
					action, repo, ok := strings.Cut(one, " ")
					if status := g.status(t, bearer, Action(action), repo); ok && (status == http.StatusOK) != want {
						t.Errorf("%s: got %d", one, status)
					}
				}
			}
		})
	}
}

// TestBasicOnRequests: credentials on the request itself are good for what the rules allow.
func TestBasicOnRequests(t *testing.T) {
	g := newGate(t)
	account := basic(ServiceAccountUser, g.cluster.sign(t, podClaims(g.clock.now(), "ns", "sa", audience)))
	tests := []struct {
		authorization string
		action        Action
		repo          string
		want          int
	}{
		{basic("alice", "secret"), Push, "a/b", 200},
		{basic("alice", "secret"), Push, "b", 403},
		{basic("alice", "wrong"), Pull, "open/x", 401}, // wrong credentials are not none
		{basic("alice", ""), Push, "a/b", 401},
		{account, Pull, "a/b", 200},
		{account, Push, "a/b", 403},
		{"", Pull, "open/x", 200},
		{"", Pull, "a/b", 401},
		{"Basic x", Pull, "open/x", 401},
		{"Basic " + base64.StdEncoding.EncodeToString([]byte("alice")), Pull, "open/x", 401},
		{"Digest x", Pull, "open/x", 401},
		{"Bearer x", Pull, "open/x", 401},
		{"Bearer", Pull, "open/x", 401},
		{"Bearer " + strings.Repeat("x", maxCredentials), Pull, "open/x", 401},
		{basic(ServiceAccountUser, "secret"), Pull, "open/x", 401},
		{basic(AnonymousUser, ""), Pull, "open/x", 401},
	}
	for _, test := range tests {
		if got := g.status(t, test.authorization, test.action, test.repo); got != test.want {
			t.Errorf("%.60q %s %s: got %d, want %d", test.authorization, test.action, test.repo, got, test.want)
		}
	}
}

// TestRevocation: what is taken away is gone at once, whatever tokens say
// (CVE-2026-35172 and CVE-2025-23208 classes).
func TestRevocation(t *testing.T) {
	account := func(g *gate, t *testing.T) string {
		return basic(ServiceAccountUser, g.cluster.sign(t, podClaims(g.clock.now(), "ns", "sa", audience)))
	}
	alice := func(*gate, *testing.T) string { return basic("alice", "secret") }
	nobody := func(*gate, *testing.T) string { return "" }
	tests := []struct {
		name   string
		who    func(*gate, *testing.T) string
		repo   string
		revoke func(*gate, *testing.T)
		want   int
	}{
		{"nothing happens", alice, "a/b", func(*gate, *testing.T) {}, 200},
		{"rules change", alice, "a/b", func(g *gate, t *testing.T) { g.rules = mustRules(t, "") }, 403},
		{"group membership ends", alice, "a/b", func(g *gate, t *testing.T) {
			g.rules = mustRules(t, "groups: {x: [bob]}\nrules: [{repositories: ['**'], groups: [x], allow: [pull]}]")
		}, 403},
		{"password changes", alice, "a/b", func(g *gate, t *testing.T) { writeFile(t, g.users, "alice:"+hashOf(t, "other")+"\n") }, 401},
		{"user is removed", alice, "a/b", func(g *gate, t *testing.T) { writeFile(t, g.users, "bob:"+hashOf(t, "hidden")+"\n") }, 401},
		{"users are switched off", alice, "a/b", func(g *gate, _ *testing.T) { g.Authenticator.Users = nil }, 401},
		{"accounts are switched off", account, "a/b", func(g *gate, _ *testing.T) { g.Authenticator.ServiceAccounts = nil }, 401},
		{"anonymous is switched off", nobody, "open/x", func(g *gate, _ *testing.T) { g.Authenticator.Anonymous = false }, 401},
		{"anonymous rule goes", nobody, "open/x", func(g *gate, t *testing.T) { g.rules = mustRules(t, "") }, 401},
		{"the token expires", alice, "a/b", func(g *gate, _ *testing.T) { g.clock.add(MaxTokenLife) }, 401},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := newGate(t)
			bearer, _ := g.token(t, test.who(g, t), "repository:"+test.repo+":pull")
			if got := g.status(t, bearer, Pull, test.repo); got != http.StatusOK {
				t.Fatalf("before: %d", got)
			}
			g.clock.add(checkEvery)
			test.revoke(g, t)
			if got := g.status(t, bearer, Pull, test.repo); got != test.want {
				t.Errorf("after: got %d, want %d", got, test.want)
			}
		})
	}
}

// TestScopeEscalation: a token for one repository opens no other, and cannot be
// traded for a wider one.
func TestScopeEscalation(t *testing.T) {
	g := newGate(t)
	bearer, _ := g.token(t, basic("alice", "secret"), "repository:a/b:pull")
	for _, one := range []struct {
		action Action
		repo   string
	}{{Push, "a/b"}, {Retag, "a/b"}, {Pull, "a/b/c"}, {Pull, "a/c"}, {Pull, "open/x"}} {
		if got := g.status(t, bearer, one.action, one.repo); got != http.StatusUnauthorized {
			t.Errorf("%s %s: got %d", one.action, one.repo, got)
		}
	}
	response, _ := g.get(t, bearer, TokenPath+"?scope=repository:a/b:push")
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a token for a token: got %d", response.StatusCode)
	}
	// A token of another registry with the same key, as when one configuration serves two.
	other, err := NewTokens(t.Context(), g.Authenticator.Tokens.keys.store, TokenConfig{Service: "other.example", Issuer: "registry.example", Now: g.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	token, err := other.issue(t.Context(), Caller{Identity: Identity{Method: Anonymous}}, []Scope{RepositoryAccess("open/x", Pull)})
	if err != nil {
		t.Fatal(err)
	}
	if got := g.status(t, "Bearer "+token.Text, Pull, "open/x"); got != http.StatusUnauthorized {
		t.Errorf("a token for another service: got %d", got)
	}
}

func TestList(t *testing.T) {
	g := newGate(t)
	caller := func(authorization string) Caller {
		c, err := g.Authenticate(t.Context(), http.Header{"Authorization": {authorization}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	narrow, _ := g.token(t, basic("alice", "secret"), "repository:a/b:pull")
	wide, _ := g.token(t, basic("alice", "secret"), "registry:catalog:*")
	for name, test := range map[string]struct {
		c    Caller
		want bool
	}{"password": {caller(basic("alice", "secret")), true}, "token for a repository": {caller(narrow), false}, "token for the list": {caller(wide), true}} {
		if d := g.CanList(test.c); d.Allowed != test.want || d.Login == test.want {
			t.Errorf("%s: got %+v, want %v", name, d, test.want)
		}
		if !g.Listed(t.Context(), test.c, "a/x") || g.Listed(t.Context(), test.c, "b") {
			t.Errorf("%s: the list shows what alice may not pull, or not what she may", name)
		}
	}
}

func TestChallenge(t *testing.T) {
	g := newGate(t)
	r := httptest.NewRequest(http.MethodGet, "https://registry.test/v2/", nil)
	scope := RepositoryAccess("a/b", Push, Retag, Pull)
	bad := Scope{Type: RepositoryScope, Name: `a",error="x`, Actions: []string{"pull"}}
	for name, test := range map[string]struct {
		change func()
		want   string
	}{
		"TLS":         {func() {}, `Bearer realm="https://registry.test/token",service="registry.example",scope="repository:a/b:pull,push"`},
		"realm given": {func() { g.Realm = "https://auth.test/t" }, `Bearer realm="https://auth.test/t",service="registry.example",scope="repository:a/b:pull,push"`},
	} {
		g.Realm = ""
		test.change()
		if got := g.Challenge(r, "", scope, bad); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
	g.Realm = ""
	r.Host = `x",realm="https://attacker.example`
	if got := g.Challenge(r, ""); got != `Bearer realm="https://registry.example/token",service="registry.example"` {
		t.Errorf("header injection: %s", got)
	}
	g.Authenticator.Tokens = nil
	if got := g.Challenge(r, InvalidToken, scope); got != `Basic realm="registry", charset="UTF-8"` {
		t.Errorf("without tokens: %s", got)
	}
	if _, err := g.Authenticate(t.Context(), http.Header{"Authorization": {"", basic("alice", "secret")}}); dossier.KindOf(err) != dossier.KindDenied {
		t.Errorf("two headers: %v", err)
	}
}

func TestTokenEndpointErrors(t *testing.T) {
	g := newGate(t)
	account := g.cluster.sign(t, podClaims(g.clock.now(), "ns", "sa", audience))
	form := func(pairs ...string) string {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Add(pairs[i], pairs[i+1])
		}
		return v.Encode()
	}
	tests := []struct {
		name, method, query, authorization, body string
		want                                     int
		text                                     string // in the answer
	}{
		{"wrong password", "GET", "", basic("alice", "x"), "", 401, `"UNAUTHORIZED"`},
		{"other service", "GET", "?service=other", "", "", 400, "another service"},
		{"bad scope", "GET", "?scope=repository:../x:pull", "", "", 400, "not the name of a repository"},
		{"many scopes", "GET", "?" + strings.Repeat("scope=repository:a:pull&", MaxScopes+1), "", "", 400, "more than 64"},
		{"method", "DELETE", "", "", "", 405, "neither GET nor POST"},
		{"password", "POST", "", "", form("grant_type", "password", "username", "alice", "password", "secret", "scope", "repository:a/b:pull repository:b:pull", "service", "registry.example"), 200, `"scope":"repository:a/b:pull"`},
		{"account as password", "POST", "", "", form("grant_type", "password", "username", ServiceAccountUser, "password", account), 200, `"access_token"`},
		{"account as refresh token", "POST", "", "", form("grant_type", "refresh_token", "refresh_token", account, "scope", "repository:a/b:pull"), 200, `"scope":"repository:a/b:pull"`},
		{"wrong password in the form", "POST", "", "", form("grant_type", "password", "username", "alice", "password", "x"), 401, "invalid_grant"},
		{"password as refresh token", "POST", "", "", form("grant_type", "refresh_token", "refresh_token", "secret"), 401, "invalid_grant"},
		{"no grant", "POST", "", basic("alice", "secret"), form("username", "alice"), 400, "invalid_request"},
		{"credentials in the query", "POST", "?" + form("grant_type", "password", "username", "alice", "password", "secret"), "", "", 400, "grant_type"},
		{"large form", "POST", "", "", form("grant_type", strings.Repeat("x", maxForm)), 400, "64 KiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, g.server.URL+TokenPath+test.query, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if test.authorization != "" {
				r.Header.Set("Authorization", test.authorization)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			response, body := do(t, r)
			if response.StatusCode != test.want || !strings.Contains(string(body), test.text) || strings.Contains(string(body), "secret") {
				t.Errorf("got %d %s, want %d with %s", response.StatusCode, body, test.want, test.text)
			}
			if challenge := response.Header.Get("WWW-Authenticate"); (challenge != "") != (test.want == 401) {
				t.Errorf("challenge %q", challenge)
			}
			if response.Header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be stored")
			}
		})
	}
}

// TestTokenEndpointTrouble: what is the server's fault is told to its log, and
// not to the client.
func TestTokenEndpointTrouble(t *testing.T) {
	g := newGate(t)
	g.cluster.err = dossier.Errorf(dossier.KindUnavailable, "asking", "https://internal.example", "down")
	response, body := g.get(t, basic(ServiceAccountUser, g.cluster.sign(t, podClaims(g.clock.now(), "ns", "sa", audience))), TokenPath)
	if response.StatusCode != http.StatusServiceUnavailable || strings.Contains(string(body), "internal") || response.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %s", response.StatusCode, body)
	}
	g.Authenticator.Anonymous = false
	response, _ = g.get(t, "", TokenPath)
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("nobody, where somebody is wanted: got %d", response.StatusCode)
	}
}

// TestZeroAuthenticator refuses everybody.
func TestZeroAuthenticator(t *testing.T) {
	g := newGate(t)
	bearer, _ := g.token(t, "", "repository:open/x:pull")
	for _, authorization := range []string{"", basic("alice", "secret"), basic(ServiceAccountUser, "x"), bearer} {
		if c, err := new(Authenticator).Authenticate(t.Context(), authorization); dossier.KindOf(err) != dossier.KindDenied {
			t.Errorf("%.20s: got %+v, %v", authorization, c, err)
		}
	}
}

func FuzzAuthenticate(f *testing.F) {
	f.Add("")
	f.Add(basic("alice", "secret"))
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.")
	c := newClock()
	users, _ := openUsers(f, c, map[string]string{"alice": "secret"})
	a := &Authenticator{Users: users, Tokens: newTokens(f, c, StaticKeys{newTestKey(f, c.now())})}
	f.Fuzz(func(t *testing.T, authorization string) {
		caller, err := a.Authenticate(t.Context(), authorization)
		if err == nil && (caller.Identity.User != "alice" || caller.scoped) {
			t.Errorf("%q is %+v", authorization, caller)
		}
		if err != nil && dossier.KindOf(err) != dossier.KindDenied {
			t.Errorf("%q: %v", authorization, err)
		}
	})
}

// BenchmarkAuthenticate is what a request costs before anything is done for it.
func BenchmarkAuthenticate(b *testing.B) {
	c := &clock{at: time.Now()}
	users, _ := openUsers(b, c, map[string]string{"alice": "secret"})
	tokens := newTokens(b, c, StaticKeys{newTestKey(b, c.now())})
	a := &Authenticator{Users: users, Tokens: tokens}
	caller, err := a.Authenticate(b.Context(), basic("alice", "secret"))
	if err != nil {
		b.Fatal(err)
	}
	token, err := tokens.issue(b.Context(), caller, []Scope{RepositoryAccess("a/b", Pull)})
	if err != nil {
		b.Fatal(err)
	}
	for name, authorization := range map[string]string{"password": basic("alice", "secret"), "token": "Bearer " + token.Text} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := a.Authenticate(b.Context(), authorization); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("rules", func(b *testing.B) {
		rules := mustRules(b, sampleRules)
		for b.Loop() {
			if d := rules.Can(caller.Identity, Push, "team/web/app"); d.Allowed {
				continue
			}
		}
	})
}
