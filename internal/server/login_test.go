// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry/access"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

const (
	apiToken     = "0123456789abcdef"
	password     = "correct horse"
	passwordHash = "$2a$04$2B.VJQzV.EqfOuhDpVkpdeddV7TGkR8xXiEW84ppXqlndR6l6uMaW"
)

// writeFile writes a file of a test and returns its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// closedRegistry is a configuration with users, rules and API tokens.
func closedRegistry(t *testing.T) ServeConfig {
	return ServeConfig{
		Config: Config{Data: sqltest.Dir(t), Offline: true}, Listen: "127.0.0.1:0", NoCluster: true,
		TokenFile: writeFile(t, "tokens", apiToken),
		Registry: config.Registry{
			Name: "registry.example", AnonymousPull: true, Htpasswd: writeFile(t, "users", "alice:"+passwordHash+"\n"),
			Rules: writeFile(t, "rules.yaml", `rules:
- {repositories: ["team/**"], users: [alice], allow: [pull, push]}
- {repositories: ["team/**"], users: [api-token], allow: [pull, push, retag, delete]}
- {repositories: ["open/**"], anyone: true, allow: [pull]}
`),
		},
	}
}

func ask(t *testing.T, method, url, authorization, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// fetchToken asks a server for a token.
func fetchToken(t *testing.T, base, authorization string, scopes ...string) string {
	t.Helper()
	resp, body := ask(t, http.MethodGet, base+"/token?"+url.Values{"service": {"registry.example"}, "scope": scopes}.Encode(), authorization, "")
	var token struct{ Token string }
	if err := json.Unmarshal([]byte(body), &token); err != nil || token.Token == "" {
		t.Fatalf("no token: %d %s", resp.StatusCode, body)
	}
	return "Bearer " + token.Token
}

// TestLogin asks the registry of a server in every way that it is configured for.
func TestLogin(t *testing.T) {
	c := closedRegistry(t)
	s := serve(t, c)
	upload := s.url + "/v2/team/app/blobs/uploads/"
	blob := "?digest=" + string(dossier.FromBytes([]byte("x")))
	tests := []struct {
		name, method, url, authorization string
		want                             int
	}{
		{"a user", "POST", upload + blob, basic("alice", password), 201},
		{"a user with a token", "POST", upload + blob, fetchToken(t, s.url, basic("alice", password), "repository:team/app:pull,push"), 201},
		{"a user, by the rules", "POST", s.url + "/v2/other/app/blobs/uploads/" + blob, basic("alice", password), 403},
		{"a wrong password", "POST", upload + blob, basic("alice", "x"), 401},
		{"a token for another repository", "POST", upload + blob, fetchToken(t, s.url, basic("alice", password), "repository:team/other:push"), 401},
		{"an API token as password", "POST", upload + blob, basic("me", apiToken), 201},
		{"an API token as bearer", "POST", upload + blob, "Bearer " + apiToken, 201},
		{"an API token, by the rules", "POST", s.url + "/v2/other/app/blobs/uploads/" + blob, "Bearer " + apiToken, 403},
		{"an API token for a token", "POST", upload + blob, fetchToken(t, s.url, basic("any", apiToken), "repository:team/app:push"), 201},
		{"nobody, where anybody may pull", "GET", s.url + "/v2/open/app/tags/list", "", 404},
		{"nobody with a token", "GET", s.url + "/v2/open/app/tags/list", fetchToken(t, s.url, "", "repository:open/app:pull"), 404},
		{"nobody elsewhere", "GET", s.url + "/v2/team/app/tags/list", "", 401},
		{"nobody's ping", "GET", s.url + "/v2/", "", 401},
		{"a user's ping", "GET", s.url + "/v2/", basic("alice", password), 200},
		// The API is for the tokens of the token file only.
		{"the API with an API token", "GET", s.url + "/api/v1/images", "Bearer " + apiToken, 200},
		{"the API with a password", "GET", s.url + "/api/v1/images", basic("alice", password), 401},
		{"the API with a token of the registry", "GET", s.url + "/api/v1/images", fetchToken(t, s.url, basic("any", apiToken)), 401},
		{"the API with nothing", "GET", s.url + "/api/v1/images", "", 401},
		{"another method", "DELETE", s.url + "/token", "", 405},
		{"a wrong password for a token", "GET", s.url + "/token", basic("alice", "x"), 401},
	}
	bodies := map[string]string{"POST": "x"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := ask(t, tt.method, tt.url, tt.authorization, bodies[tt.method])
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, tt.want, body)
			}
			if strings.Contains(tt.url, "/v2/") {
				want := `Bearer realm="` + s.url + `/token",service="registry.example"`
				if got := resp.Header.Get("WWW-Authenticate"); (got != "") != (tt.want == 401) || got != "" && !strings.HasPrefix(got, want) {
					t.Errorf("challenge %q, want %q", got, want)
				}
			}
		})
	}
	if _, body := ask(t, "GET", s.url+"/metrics", "Bearer "+apiToken, ""); !strings.Contains(body, `dossier_oci_requests_total{kind="token",status="200"}`) {
		t.Error("requests for tokens are not counted")
	}
}

// TestTokensOutliveTheServer: keys are in the database, so that another server
// takes the tokens of this one, but not those of an API token that is gone.
func TestTokensOutliveTheServer(t *testing.T) {
	c := closedRegistry(t)
	s := serve(t, c)
	user := fetchToken(t, s.url, basic("alice", password), "repository:team/app:pull")
	api := fetchToken(t, s.url, basic("any", apiToken), "repository:team/app:pull")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	c.TokenFile = writeFile(t, "tokens", "another-token-of-this-server")
	s = serve(t, c)
	for token, want := range map[string]int{user: 404, api: 401} {
		if resp, body := ask(t, "GET", s.url+"/v2/team/app/tags/list", token, ""); resp.StatusCode != want {
			t.Errorf("status %d, want %d: %s", resp.StatusCode, want, body)
		}
	}
}

// TestKeysOfAFile signs with keys that the configuration gives.
func TestKeysOfAFile(t *testing.T) {
	c := closedRegistry(t)
	c.Registry.Tokens.Keys = writeFile(t, "keys.pem", `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
`)
	c.Registry.Tokens.Service = "service.example"
	s := serve(t, c)
	_, body := ask(t, "GET", s.url+"/token?service=service.example", basic("alice", password), "")
	var token struct{ Token string }
	if err := json.Unmarshal([]byte(body), &token); err != nil || token.Token == "" {
		t.Fatal(body)
	}
	if resp, body := ask(t, "GET", s.url+"/v2/", "Bearer "+token.Token, ""); resp.StatusCode != 200 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	c.Registry.Tokens.Keys = writeFile(t, "keys.pem", "none")
	c.Data = t.TempDir()
	if err := Serve(t.Context(), c, nil); dossier.KindOf(err) != dossier.KindInvalid {
		t.Errorf("without a key in the file: %v", err)
	}
}

// TestOpenToThisMachine: without a way to log in everybody on this machine may do everything,
// and no token is made.
func TestOpenToThisMachine(t *testing.T) {
	s := serveRegistry(t, nil)
	if resp, body := ask(t, "POST", s.url+"/v2/app/blobs/uploads/?digest="+string(dossier.FromBytes([]byte("x"))), "", "x"); resp.StatusCode != 201 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, _ := ask(t, "GET", s.url+"/token", "", ""); resp.StatusCode != 404 {
		t.Errorf("a token: %d", resp.StatusCode)
	}
}

func TestLoginConfiguration(t *testing.T) {
	audience := config.ServiceAccounts{Audience: "registry"}
	for _, tt := range []struct {
		name   string
		change func(*ServeConfig)
		want   string // part of the fault; empty: none
	}{
		{"nothing", func(*ServeConfig) {}, ""},
		{"users", func(c *ServeConfig) { c.Registry.Htpasswd = "f" }, ""},
		{"API tokens and rules", func(c *ServeConfig) { c.TokenFile, c.Registry.Rules = "f", "r" }, ""},
		{"service accounts", func(c *ServeConfig) { c.Registry.ServiceAccounts = audience }, ""},
		{"keys", func(c *ServeConfig) {
			c.Registry.ServiceAccounts = config.ServiceAccounts{Audience: "a", Check: "both", Issuer: "https://x"}
		}, ""},
		{"anonymous alone", func(c *ServeConfig) { c.Registry.AnonymousPull = true }, "no way to log in"},
		{"rules alone", func(c *ServeConfig) { c.Registry.Rules = "r" }, "no way to log in"},
		{"tokens alone", func(c *ServeConfig) { c.Registry.Tokens.Service = "r" }, "no way to log in"},
		{"no tokens, but anonymous", func(c *ServeConfig) {
			c.Registry.Htpasswd, c.Registry.AnonymousPull, c.Registry.Tokens.Off = "f", true, true
		}, "clients would not log in"},
		{"no audience", func(c *ServeConfig) { c.Registry.ServiceAccounts.Check = "keys" }, "need an audience"},
		{"offline", func(c *ServeConfig) { c.Registry.ServiceAccounts, c.Offline = audience, true }, "--offline"},
		{"no such check", func(c *ServeConfig) {
			c.Registry.ServiceAccounts = config.ServiceAccounts{Audience: "a", Check: "no"}
		}, "review, keys or both"},
		{"issuer without keys", func(c *ServeConfig) {
			c.Registry.ServiceAccounts = config.ServiceAccounts{Audience: "a", Issuer: "https://x"}
		}, "check: keys"},
		{"limits", func(c *ServeConfig) { c.Registry.Limits = config.Limits{Blob: 1, Requests: 1, UploadLife: time.Hour} }, ""},
		{"a blob limit", func(c *ServeConfig) { c.Registry.Limits.Blob = -1 }, "limits.blob"},
		{"a read time", func(c *ServeConfig) { c.Registry.Limits.ReadTime = time.Minute }, "limits.readTime"},
		{"all of it off", func(c *ServeConfig) { c.Registry = config.Registry{Off: true, AnonymousPull: true} }, ""},
	} {
		c := ServeConfig{Config: Config{Data: "data"}}
		tt.change(&c)
		err := c.Validate()
		text := ""
		if err != nil {
			text = err.Error() + dossier.HintOf(err)
		}
		if (err != nil) != (tt.want != "") || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestLimitsAreConfigured sees that limits of the file reach the registry.
func TestLimitsAreConfigured(t *testing.T) {
	s := serveRegistry(t, func(c *ServeConfig) { c.Registry.Limits.Blob = 3 })
	for text, want := range map[string]int{"abc": 201, "abcd": 400} {
		if resp, body := ask(t, "POST", s.url+"/v2/a/blobs/uploads/?digest="+string(dossier.FromBytes([]byte(text))), "", text); resp.StatusCode != want {
			t.Errorf("%q: %d %s, want %d", text, resp.StatusCode, body, want)
		}
	}
}

// reviewing is an API server that knows one token, until it is told not to.
func reviewing(t *testing.T, down *atomic.Bool) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/namespaces/kube-system", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	})
	mux.HandleFunc("/apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"authenticated":true,"audiences":["registry.example"],
			"user":{"username":"system:serviceaccount:ci:builder","extra":{"authentication.kubernetes.io/pod-name":["build-1"]}}}}`)
	})
	api := httptest.NewServer(mux)
	t.Cleanup(api.Close)
	return writeFile(t, "kubeconfig", fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"u","user":{"token":"t"}}]}`, api.URL))
}

// accountToken is the form of a token; the cluster has the last word on it.
func accountToken() string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	claims := fmt.Sprintf(`{"sub":"system:serviceaccount:ci:builder","aud":["registry.example"],"exp":%d,
		"kubernetes.io":{"namespace":"ci","serviceaccount":{"name":"builder","uid":"u"}}}`, time.Now().Add(time.Hour).Unix())
	return part(`{"alg":"ES256","kid":"k"}`) + "." + part(claims) + "." + part(strings.Repeat("s", 64))
}

// TestServiceAccountLogsIn asks a cluster, which is there, gone, and back.
func TestServiceAccountLogsIn(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	s := serveRegistry(t, func(c *ServeConfig) {
		c.Cluster.Kubeconfig = reviewing(t, &down)
		c.Registry.ServiceAccounts.Audience = "registry.example"
		c.Registry.Rules = writeFile(t, "rules.yaml", `rules: [{repositories: ["team/**"], serviceAccounts: [ci/builder], allow: [pull]}]`)
	})
	login := basic("kubernetes-service-account", accountToken())
	get := func(authorization, path string) int {
		t.Helper()
		resp, _ := ask(t, "GET", s.url+path, authorization, "")
		return resp.StatusCode
	}
	if got := get(login, "/v2/"); got != http.StatusServiceUnavailable {
		t.Errorf("while the cluster is away: %d", got)
	}
	down.Store(false)
	for end := time.Now().Add(20 * time.Second); get(login, "/v2/") != http.StatusOK; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the cluster is back, and the token is not taken")
		}
	}
	for path, want := range map[string]int{"/v2/team/a/tags/list": 404, "/v2/other/tags/list": 403} {
		if got := get(login, path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if got := get(basic("kubernetes-service-account", "x"), "/v2/"); got != http.StatusUnauthorized {
		t.Errorf("no token: %d", got)
	}
}

func identityOf(t *testing.T, name string) access.Identity {
	t.Helper()
	id, err := access.ParseIdentity(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestAccessRulesWithoutAFile: who has logged in may do everything.
func TestAccessRulesWithoutAFile(t *testing.T) {
	for anonymous, want := range map[bool]bool{false: false, true: true} {
		rules, err := AccessRules(config.Registry{AnonymousPull: anonymous}, Config{})
		if err != nil {
			t.Fatal(err)
		}
		r := rules(t.Context())
		for _, action := range []string{"pull", "push", "retag", "delete"} {
			if got := r.Can(identityOf(t, "anonymous"), access.Action(action), "a/b").Allowed; got != (want && action == "pull") {
				t.Errorf("anonymous %s with anonymous pull %v: %v", action, anonymous, got)
			}
			if !r.Can(identityOf(t, "alice"), access.Action(action), "a/b").Allowed {
				t.Errorf("alice may not %s", action)
			}
		}
	}
}
