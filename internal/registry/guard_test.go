// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/access"
)

// password is that of every user, and passwordHash its bcrypt hash.
const (
	password     = "correct horse"
	passwordHash = "$2a$04$2B.VJQzV.EqfOuhDpVkpdeddV7TGkR8xXiEW84ppXqlndR6l6uMaW"
)

// guarded is a lab with users alice and bob, tokens, and rules that a test can
// change.
type guarded struct {
	*lab
	tokens *access.TokenEndpoint
	mu     sync.Mutex
	rules  *access.Rules
}

func newGuarded(t *testing.T, rules string, changes ...func(*registry.Config)) *guarded {
	t.Helper()
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte("alice:"+passwordHash+"\nbob:"+passwordHash+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	known, err := access.OpenHtpasswd(users, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := access.GenerateKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := access.NewTokens(t.Context(), access.StaticKeys{key}, access.TokenConfig{Service: host})
	if err != nil {
		t.Fatal(err)
	}
	g := &guarded{}
	guard := &access.Guard{
		Authenticator: &access.Authenticator{Anonymous: true, Users: known, Tokens: tokens},
		Rules: func(context.Context) *access.Rules {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.rules
		},
	}
	g.tokens = &access.TokenEndpoint{Guard: guard}
	g.setRules(t, rules)
	g.lab = newLab(t, func(c *registry.Config) {
		c.Guard = guard
		c.Fixed = func(_, tag string) bool { return tag == "1.0.0" }
		for _, change := range changes {
			change(c)
		}
	})
	return g
}

func (g *guarded) setRules(t *testing.T, text string) {
	t.Helper()
	rules, err := access.ParseRules([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rules = rules
}

// as returns the header by which a user shows who it is.
func as(user string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// token returns the header with a token for scopes that a user asked for.
func (g *guarded) token(t *testing.T, user string, scopes ...string) string {
	t.Helper()
	w := httptest.NewRecorder()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/token?"+url.Values{"scope": scopes}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	g.tokens.ServeHTTP(w, r)
	var token struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &token); err != nil || token.Token == "" {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return "Authorization: Bearer " + token.Token
}

// push pushes a manifest without layers and returns it with its digest.
func (g *guarded) push(t *testing.T, repository, tag, text string, header string) (body []byte, digest dossier.Digest) {
	t.Helper()
	config := dossier.FromBytes([]byte(text))
	g.want(t, http.StatusCreated, "", http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+string(config), []byte(text), header)
	body = manifestOf(config, len(text))
	if tag != "" {
		g.want(t, http.StatusCreated, "", http.MethodPut, "/v2/"+repository+"/manifests/"+tag, body, header)
	}
	return body, dossier.FromBytes(body)
}

func manifestOf(config dossier.Digest, size int) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"text/plain","digest":%q,"size":%d},"layers":[]}`, config, size)
}

const everything = `rules: [{repositories: ["**"], authenticated: true, allow: [pull, push, retag, delete]}]`

// TestEveryRequestIsAsked sends a request of every kind as somebody who may do
// nothing, as nobody, with a token that is good for nothing, and with wrong
// credentials. What is there and what is not gets the same answer. It is the class of a
// path that skips a switch (CVE-2026-41888), and of oracles.
func TestEveryRequestIsAsked(t *testing.T) {
	g := newGuarded(t, everything)
	body, digest := g.push(t, "team/app", "latest", "here", as("alice"))
	blob := string(dossier.FromBytes([]byte("here")))
	location := g.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/team/app/blobs/uploads/", nil, as("alice")).header.Get("Location")
	g.setRules(t, `rules: [{repositories: ["**"], users: [alice], allow: [pull, push, retag, delete]}]`)
	empty := g.token(t, "alice")
	upload := strings.TrimPrefix(location, "/v2/team/app")
	paths := []struct{ method, path string }{
		{"GET", "/manifests/latest"}, {"HEAD", "/manifests/latest"}, {"GET", "/manifests/" + string(digest)}, {"GET", "/manifests/none"},
		{"PUT", "/manifests/latest"}, {"PUT", "/manifests/" + string(digest) + "?tag=other"},
		{"DELETE", "/manifests/latest"}, {"DELETE", "/manifests/" + string(digest)}, {"DELETE", "/manifests/none"},
		{"GET", "/blobs/" + blob}, {"HEAD", "/blobs/" + blob}, {"DELETE", "/blobs/" + blob}, {"GET", "/blobs/" + string(dossier.FromBytes(nil))},
		{"GET", "/tags/list"}, {"GET", "/referrers/" + string(digest)},
		{"POST", "/blobs/uploads/"}, {"POST", "/blobs/uploads/?digest=" + blob}, {"POST", "/blobs/uploads/?mount=" + blob}, {"POST", "/blobs/uploads/?mount=" + blob + "&from=team/app"},
		{"GET", upload}, {"PATCH", upload}, {"PUT", upload + "?digest=" + blob}, {"DELETE", upload},
	}
	seen := map[registry.Kind]bool{}
	for _, p := range paths {
		u, err := url.Parse("/v2/team/app" + p.path)
		if err != nil {
			t.Fatal(err)
		}
		q, err := registry.Parse(p.method, u)
		if err != nil {
			t.Fatal(err)
		}
		seen[q.Kind] = true
		for _, repository := range []string{"team/app", "team/none"} {
			path := "/v2/" + repository + p.path
			check := func(who, header string, status int, challenge string) {
				t.Helper()
				a := g.do(t, p.method, path, body, header)
				if got := a.header.Get("WWW-Authenticate"); a.status != status || !strings.Contains(got, challenge) || (got == "") != (challenge == "") {
					t.Errorf("%s %s as %s: %d %q %s, want %d", p.method, path, who, a.status, got, a.body, status)
				}
			}
			scope := `scope="repository:` + repository + `:`
			check("bob", as("bob"), http.StatusForbidden, "")
			check("nobody", "X: y", http.StatusUnauthorized, scope)
			check("a token for nothing", empty, http.StatusUnauthorized, `error="insufficient_scope"`)
			check("wrong credentials", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("alice:x")), http.StatusUnauthorized, `error="invalid_token"`)
		}
	}
	for kind := registry.KindPing; kind <= registry.KindCatalog; kind++ {
		if !seen[kind] && kind != registry.KindPing && kind != registry.KindCatalog {
			t.Errorf("no request of kind %s was sent", kind)
		}
	}
	// Nothing happened, and who may still can.
	g.want(t, http.StatusOK, "", http.MethodGet, "/v2/team/app/manifests/latest", nil, as("alice"))
	g.want(t, http.StatusNotFound, "NAME_UNKNOWN", http.MethodGet, "/v2/team/none/tags/list", nil, as("alice"))
	g.want(t, http.StatusNoContent, "", http.MethodGet, location, nil, as("alice"))
}

// TestMovingIsNotCreating: who may create tags may not move them, whatever they
// are called and in whichever way it is asked (the class of CVE-2026-31801: an
// action inferred wrongly, latest special-cased).
func TestMovingIsNotCreating(t *testing.T) {
	g := newGuarded(t, `rules: [{repositories: ["**"], users: [alice], allow: [pull, push]}, {repositories: ["**"], users: [bob], allow: [pull, push, retag]}]`)
	_, first := g.push(t, "app", "latest", "one", as("alice"))
	second, digest := g.push(t, "app", "", "two", as("alice"))
	put := func(status int, code, reference string, header string) {
		t.Helper()
		g.want(t, status, code, http.MethodPut, "/v2/app/manifests/"+reference, second, header)
	}
	put(http.StatusForbidden, "DENIED", "latest", as("alice"))
	put(http.StatusForbidden, "DENIED", "latest", g.token(t, "alice", "repository:app:pull,push"))
	put(http.StatusForbidden, "DENIED", string(digest)+"?tag=new&tag=latest", as("alice"))
	// The transaction is undone as a whole: neither the manifest nor the other tag.
	g.want(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodGet, "/v2/app/manifests/new", nil, as("alice"))
	g.want(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodGet, "/v2/app/manifests/"+string(digest), nil, as("alice"))
	if got := g.do(t, http.MethodHead, "/v2/app/manifests/latest", nil, as("alice")).header.Get("Docker-Content-Digest"); got != string(first) {
		t.Errorf("latest is %s, want %s", got, first)
	}
	put(http.StatusCreated, "", "new", as("alice"))
	put(http.StatusCreated, "", "new", as("alice")) // it does not move
	put(http.StatusCreated, "", "latest", as("bob"))
	put(http.StatusCreated, "", "1.0.0", as("bob"))
	// Who may pull learns where a fixed tag points; who may not does not.
	other, _ := g.push(t, "app", "", "three", as("bob"))
	fixed := func(status int, code string, tells bool, header string) {
		t.Helper()
		answer := g.want(t, status, code, http.MethodPut, "/v2/app/manifests/1.0.0", other, header)
		if got := strings.Contains(string(answer.body), string(digest)); got != tells {
			t.Errorf("it tells the digest: %v, want %v: %s", got, tells, answer.body)
		}
	}
	fixed(http.StatusConflict, "TAG_IMMUTABLE", true, as("bob"))
	fixed(http.StatusConflict, "TAG_IMMUTABLE", true, as("alice"))
	g.setRules(t, `rules: [{repositories: ["**"], users: [alice], allow: [push]}, {repositories: ["**"], users: [bob], allow: [push, retag]}]`)
	fixed(http.StatusConflict, "TAG_IMMUTABLE", false, as("bob"))
	fixed(http.StatusForbidden, "DENIED", false, as("alice"))
	// A tag that was deleted is created anew.
	g.setRules(t, `rules: [{repositories: ["**"], users: [alice], allow: [pull, push, delete]}]`)
	g.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/manifests/latest", nil, as("alice"))
	put(http.StatusCreated, "", "latest", as("alice"))
}

// TestOneMayCreateATagOnce lets many create one tag at a time, who may not move
// it: the decision falls in the transaction, so that exactly one does.
func TestOneMayCreateATagOnce(t *testing.T) {
	g := newGuarded(t, `rules: [{repositories: ["**"], users: [alice], allow: [pull, push]}]`)
	const n = 8
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i], _ = g.push(t, "app", "", fmt.Sprint("config ", i), as("alice"))
	}
	statuses := make([]int, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			a, err := send(context.WithoutCancel(t.Context()), http.MethodPut, g.url+"/v2/app/manifests/latest", strings.NewReader(string(bodies[i])), as("alice"))
			if err == nil {
				statuses[i] = a.status
			}
		})
	}
	group.Wait()
	slices.Sort(statuses)
	want := append([]int{http.StatusCreated}, slices.Repeat([]int{http.StatusForbidden}, n-1)...)
	if !slices.Equal(statuses, want) {
		t.Errorf("got %v, want %v", statuses, want)
	}
}

// TestMountIsNoOracle: a blob in a repository that the caller may not pull is as
// one that is nowhere, named or not. One in a repository that it may pull is mounted.
func TestMountIsNoOracle(t *testing.T) {
	g := newGuarded(t, everything)
	secret, public := string(dossier.FromBytes([]byte("secret"))), string(dossier.FromBytes([]byte("public")))
	nowhere := string(dossier.FromBytes([]byte("nowhere")))
	g.push(t, "a/hidden", "latest", "secret", as("alice"))
	g.push(t, "a/hidden", "", "public", as("alice")) // comes first in order
	g.push(t, "open/base", "latest", "public", as("alice"))
	g.setRules(t, `rules: [{repositories: ["b/**"], users: [bob], allow: [pull, push]}, {repositories: ["open/**"], anyone: true, allow: [pull]}]`)
	mount := func(query, header string) answer {
		return g.do(t, http.MethodPost, "/v2/b/app/blobs/uploads/?mount="+query, nil, header)
	}
	for _, query := range []string{secret, secret + "&from=a/hidden", nowhere, nowhere + "&from=a/hidden", nowhere + "&from=open/base", public + "&from=a/hidden", public + "&from=none"} {
		a := mount(query, as("bob"))
		if a.status != http.StatusAccepted || len(a.body) > 0 || a.header.Get("Docker-Content-Digest") != "" {
			t.Errorf("%s: %d %s, want an upload as if there were no such blob", query, a.status, a.body)
		}
	}
	for _, query := range []string{public, public + "&from=open/base"} {
		if a := mount(query, as("bob")); a.status != http.StatusCreated {
			t.Errorf("%s: %d %s, want it mounted", query, a.status, a.body)
		}
		g.setRules(t, everything)
		g.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/b/app/blobs/"+public, nil, as("bob"))
		g.setRules(t, `rules: [{repositories: ["b/**"], users: [bob], allow: [pull, push]}, {repositories: ["open/**"], anyone: true, allow: [pull]}]`)
	}
	// A token must be good for the source as well. It is asked for only where the
	// rules allow it anyway.
	narrow, wide := g.token(t, "bob", "repository:b/app:pull,push"), g.token(t, "bob", "repository:b/app:pull,push repository:open/base:pull")
	for _, from := range []string{"&from=open/base", ""} {
		a := mount(public+from, narrow)
		if want := `scope="repository:b/app:pull,push repository:open/base:pull",error="insufficient_scope"`; a.status != http.StatusUnauthorized || !strings.HasSuffix(a.header.Get("WWW-Authenticate"), want) {
			t.Errorf("%s with a token for the target alone: %d %s, want %s", from, a.status, a.header.Get("WWW-Authenticate"), want)
		}
	}
	for _, from := range []string{"&from=open/base", ""} {
		if a := mount(public+from, wide); a.status != http.StatusCreated {
			t.Errorf("%s with a token for both: %d", from, a.status)
		}
	}
	for _, query := range []string{secret, secret + "&from=a/hidden", nowhere, public + "&from=a/hidden"} {
		if a := mount(query, narrow); a.status != http.StatusAccepted {
			t.Errorf("%s with a token for the target alone: %d", query, a.status)
		}
	}
}

// TestRevokedAccessStaysRevoked: what is taken from somebody is taken at once, in the
// middle of an upload and with tokens that were made before, and nothing that was
// there brings it back (the classes of CVE-2026-35172 and CVE-2025-23208).
func TestRevokedAccessStaysRevoked(t *testing.T) {
	const with = "groups: {team: [alice, bob]}\nrules: [{repositories: [app], groups: [team], allow: [pull, push, delete]}]"
	g := newGuarded(t, with)
	_, digest := g.push(t, "app", "latest", "one", as("bob"))
	token := g.token(t, "bob", "repository:app:pull,push,delete")
	location := g.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil, token).header.Get("Location")
	g.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("x"), token)
	blob := string(dossier.FromBytes([]byte("x")))
	g.setRules(t, strings.Replace(with, ", bob", "", 1)) // he leaves the group
	for _, header := range []string{token, as("bob")} {
		g.want(t, http.StatusForbidden, "DENIED", http.MethodPut, location+"?digest="+blob, nil, header)
		g.want(t, http.StatusForbidden, "DENIED", http.MethodGet, "/v2/app/manifests/"+string(digest), nil, header)
		g.want(t, http.StatusForbidden, "DENIED", http.MethodDelete, location, nil, header)
	}
	// The same upload is nobody else's.
	g.want(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", http.MethodPut, location+"?digest="+blob, nil, as("alice"))
	g.setRules(t, with)
	g.want(t, http.StatusCreated, "", http.MethodPut, location+"?digest="+blob, nil, token)
	// A blob that a repository lost does not come back by way of another.
	g.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/blobs/"+blob, nil, token)
	g.want(t, http.StatusNotFound, "BLOB_UNKNOWN", http.MethodGet, "/v2/app/blobs/"+blob, nil, token)
}

// TestCatalogShowsWhatMayBePulled walks the catalog in pages of all sizes. What
// one may not pull is neither in the list nor in the link to the next page.
func TestCatalogShowsWhatMayBePulled(t *testing.T) {
	g := newGuarded(t, everything)
	for _, name := range []string{"a/1", "hidden/1", "a/2", "hidden/2", "b", "hidden/3", "z/hidden"} {
		g.push(t, name, "", "x", as("alice"))
	}
	g.setRules(t, `rules: [{repositories: ["a/*"], users: [bob], allow: [pull]}, {repositories: [b], anyone: true, allow: [pull]}, {repositories: ["hidden/*"], users: [bob], allow: [push]}]`)
	walk := func(n int, header string) []string {
		var all []string
		path := fmt.Sprintf("/v2/_catalog?n=%d", n)
		for path != "" {
			a := g.want(t, http.StatusOK, "", http.MethodGet, path, nil, header)
			if strings.Contains(string(a.body)+a.header.Get("Link"), "hidden") {
				t.Errorf("%s shows what is hidden: %s %s", path, a.body, a.header.Get("Link"))
			}
			var list struct{ Repositories []string }
			if err := json.Unmarshal(a.body, &list); err != nil || len(list.Repositories) > n {
				t.Fatalf("%s: %s", path, a.body)
			}
			all = append(all, list.Repositories...)
			path, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
		}
		return all
	}
	for n := 1; n < 5; n++ {
		if got, want := walk(n, as("bob")), []string{"a/1", "a/2", "b"}; !slices.Equal(got, want) {
			t.Errorf("pages of %d for bob: %v, want %v", n, got, want)
		}
		if got, want := walk(n, "X: y"), []string{"b"}; !slices.Equal(got, want) {
			t.Errorf("pages of %d for anybody: %v, want %v", n, got, want)
		}
		if got := walk(n, g.token(t, "bob", "registry:catalog:*")); len(got) != 3 {
			t.Errorf("pages of %d with a token: %v", n, got)
		}
	}
	a := g.want(t, http.StatusUnauthorized, "UNAUTHORIZED", http.MethodGet, "/v2/_catalog", nil, g.token(t, "bob", "repository:b:pull"))
	if !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="registry:catalog:*"`) {
		t.Errorf("challenge %s", a.header.Get("WWW-Authenticate"))
	}
}

// TestPingTellsWhereTokensAre: who shows nothing is told where to log in even
// where anybody may pull, for clients ask but once.
func TestPingTellsWhereTokensAre(t *testing.T) {
	g := newGuarded(t, everything)
	a := g.want(t, http.StatusUnauthorized, "UNAUTHORIZED", http.MethodGet, "/v2/", nil)
	if got, want := a.header.Get("WWW-Authenticate"), `Bearer realm="`+g.url+`/token",service="`+host+`"`; got != want {
		t.Errorf("challenge %s, want %s", got, want)
	}
	for _, header := range []string{as("alice"), g.token(t, "alice"), g.token(t, "")} {
		g.want(t, http.StatusOK, "", http.MethodGet, "/v2/", nil, header)
	}
	g.want(t, http.StatusUnauthorized, "UNAUTHORIZED", http.MethodGet, "/v2/", nil, "Authorization: Bearer x")
	g.want(t, http.StatusUnauthorized, "UNAUTHORIZED", http.MethodGet, "/v2/", nil, "Authorization: Digest x")
}
