// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"dossier.dev/dossier/internal/registry/upstream"
	"dossier.dev/dossier/internal/testimage"
)

// TestRealmOfUpstream: whoever answers for an upstream does not get its
// credentials by naming a token service (distribution's CVE-2026-33540).
func TestRealmOfUpstream(t *testing.T) {
	var seen atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		_, _ = w.Write([]byte(`{"token":"forged"}`))
	}))
	defer evil.Close()
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(`{"auths":{"docker.io":{"username":"ann","password":"secret"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	realm := ""
	p := newProxyLab(t, proxyOptions{
		config: upstream.Config{Credentials: file},
		upstream: testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="x"`)
				w.WriteHeader(http.StatusUnauthorized)
			})
		}},
	})
	realm = strings.Replace(evil.URL, "127.0.0.1", "tokens.example", 1) + "/token"
	a := p.want(t, http.StatusForbidden, "DENIED", http.MethodGet, nginx+"/manifests/1.27", nil)
	if !strings.Contains(string(a.body), "tokens.example") || strings.Contains(string(a.body), "secret") {
		t.Errorf("it says %s", a.body)
	}
	if seen.Load() != 0 {
		t.Error("the attacker was asked")
	}
	if s := p.status(); !strings.Contains(s.Error, "tokens.example") || strings.Contains(s.Error, "secret") {
		t.Errorf("status: %+v", s)
	}
}

// TestCredentialsOfUpstream pulls with an account, by each way of asking for it.
func TestCredentialsOfUpstream(t *testing.T) {
	for _, auth := range []testimage.Auth{testimage.AuthBasic, testimage.AuthBearer} {
		file := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(file, []byte(`{"auths":{"https://index.docker.io/v1/":{"username":"ann","password":"secret"}}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		p := newProxyLab(t, proxyOptions{
			config:   upstream.Config{Credentials: file},
			upstream: testimage.RegistryOptions{Auth: auth, User: "ann", Password: "secret"},
		})
		c := sample(t, webImage("linux/amd64", "1"))
		p.pushUp(t, "library/nginx", "1.27", c)
		p.checkPullThrough(t, nginx, "", "1.27", c)
	}
}
