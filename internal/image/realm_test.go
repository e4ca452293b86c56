// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/testimage"
	"github.com/google/go-containerregistry/pkg/authn"
)

// attacker is a server that remembers whatever it is sent.
type attacker struct {
	*httptest.Server
	mu   sync.Mutex
	sent []string
}

func newAttacker(t *testing.T) *attacker {
	a := &attacker{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 4096)
		n, _ := r.Body.Read(body)
		a.mu.Lock()
		a.sent = append(a.sent, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization")+" "+string(body[:n]))
		a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"token":"forged"}`))
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *attacker) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sent
}

// TestRealms: what a registry names as its token service is not trusted with
// credentials. (distribution's CVE-2026-33540.)
func TestRealms(t *testing.T) {
	evil := newAttacker(t)
	// The registry names as its realm whatever the test says; its own token
	// service sends the request on.
	var realm, onward string
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token" && onward != "":
			w.Header().Set("Location", onward)
			w.WriteHeader(http.StatusTemporaryRedirect)
		case r.URL.Path == "/token":
			_, _ = w.Write([]byte(`{"token":"honest"}`))
		case r.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Header().Set("Docker-Content-Digest", string(dossier.FromBytes(nil)))
		}
	}))
	defer registry.Close()
	host := strings.TrimPrefix(registry.URL, "http://")
	evilHost := strings.TrimPrefix(evil.URL, "http://")
	// The library refuses private addresses other than the registry's own, so
	// the name that leads to the attacker is a public one.
	const public = "tokens.example.com"
	tests := []struct {
		name          string
		realm, onward string
		login         authn.AuthConfig
		realms        []string
		kind          dossier.Kind
		told          bool // the attacker gets a request
	}{
		{"its own", registry.URL + "/token", "", authn.AuthConfig{Username: "ann", Password: "secret"}, []string{}, "", false},
		{"the attacker's, by password", "http://" + public + "/token", "", authn.AuthConfig{Username: "ann", Password: "secret"}, []string{}, dossier.KindDenied, false},
		{"the attacker's, by identity token", "http://" + public + "/token", "", authn.AuthConfig{IdentityToken: "secret"}, []string{}, dossier.KindDenied, false},
		{"the attacker's, another is configured", "http://" + public + "/token", "", authn.AuthConfig{Username: "ann", Password: "secret"}, []string{"auth.example.com"}, dossier.KindDenied, false},
		{"the attacker's, looks like ours", "http://auth.example.com@" + public + "/token", "", authn.AuthConfig{Username: "ann", Password: "secret"}, []string{"auth.example.com"}, dossier.KindDenied, false},
		{"configured", "http://" + public + "/token", "", authn.AuthConfig{Username: "ann", Password: "secret"}, []string{strings.ToUpper(public)}, "", true},
		{"configured, with the usual port", "http://" + public + ":80/token", "", authn.AuthConfig{Username: "ann", Password: "secret"}, []string{public}, "", true},
		{"its own, which sends on a password", registry.URL + "/token", "http://" + public + "/token", authn.AuthConfig{Username: "ann", Password: "secret"}, []string{}, dossier.KindDenied, false},
		{"its own, which sends on an identity token", registry.URL + "/token", "http://" + public + "/token", authn.AuthConfig{IdentityToken: "secret"}, []string{}, dossier.KindDenied, false},
		{"no credentials, nothing to lose", "http://" + public + "/token", "", authn.AuthConfig{}, []string{}, "", true},
		{"no address", "/token", "", authn.AuthConfig{Username: "ann", Password: "secret"}, nil, dossier.KindDenied, false},
		{"another scheme", "file:///etc/passwd", "", authn.AuthConfig{}, nil, dossier.KindDenied, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			realm, onward = test.realm, test.onward
			before := len(evil.requests())
			c := newClient(t)
			c.Keychain, c.Realms = account{host, test.login}, test.realms
			c.PlainHTTP = []string{public}
			c.Dial = dialInstead(map[string]string{public + ":80": evilHost})
			_, err := c.Resolve(t.Context(), host+"/app:1")
			wantKind(t, err, test.kind)
			got := evil.requests()[before:]
			if (len(got) > 0) != test.told {
				t.Errorf("the other host was sent %q", got)
			}
			if test.kind == "" {
				return
			}
			if strings.Contains(err.Error()+dossier.HintOf(err), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// TestPingStaysOutside: a registry cannot send us to an address of this machine.
func TestPingStaysOutside(t *testing.T) {
	evil := newAttacker(t)
	registry := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: func(http.Handler) http.Handler {
		return http.RedirectHandler(evil.URL, http.StatusTemporaryRedirect)
	}})
	c := newClient(t)
	c.PlainHTTP = []string{"registry.example"}
	c.Dial = dialInstead(map[string]string{"registry.example:80": registry.Host, "registry.example:443": registry.Host})
	_, err := c.Resolve(t.Context(), "registry.example/app:1")
	if err == nil || len(evil.requests()) != 0 {
		t.Errorf("%v; this machine was sent %q", err, evil.requests())
	}
}

// account is a keychain with one account.
type account struct {
	host   string
	config authn.AuthConfig
}

func (a account) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if r.RegistryStr() != a.host || a.config == (authn.AuthConfig{}) {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(a.config), nil
}
