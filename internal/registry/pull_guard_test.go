// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/access"
	"dossier.dev/dossier/internal/testimage"
)

// TestRulesOfMirrors: access rules name a mirror by its path, by whatever name a
// client asks for it, and nothing is asked of an upstream for who may not pull.
func TestRulesOfMirrors(t *testing.T) {
	rules, err := access.ParseRules([]byte("rules:\n  - repositories: [\"docker.io/open/**\"]\n    anyone: true\n    allow: [pull]\n"))
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
	p := newProxyLab(t, proxyOptions{change: func(c *registry.Config) {
		c.Guard = &access.Guard{
			Authenticator: &access.Authenticator{Anonymous: true, Tokens: tokens},
			Rules:         func(context.Context) *access.Rules { return rules },
		}
	}})
	c := sample(t, webImage("linux/amd64", "1"))
	p.pushUp(t, "open/app", "1", c)
	p.pushUp(t, "library/nginx", "1.27", c)
	p.checkPullThrough(t, "/v2/docker.io/open/app", "", "1", c)
	p.checkPullThrough(t, "/v2/open/app", "?ns=docker.io", "1", c)
	p.settle(t, "docker.io/open/app", c)
	p.upstream.ResetRequests()
	layer := string(c.Blobs[len(c.Blobs)-1].Digest)
	for _, path := range []string{
		nginx + "/manifests/1.27", "/v2/library/nginx/manifests/1.27?ns=docker.io", "/v2/docker.io/nginx/manifests/1.27",
		nginx + "/blobs/" + layer, nginx + "/tags/list", nginx + "/referrers/" + string(c.Digest()),
		"/v2/open/app/manifests/1", // an own repository, of which nothing is said
	} {
		a := p.do(t, http.MethodGet, path, nil)
		if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", path, a.status, a.code())
		}
	}
	if n := len(p.upstream.Requests()); n != 0 {
		t.Errorf("asked for who may not pull: %+v", p.upstream.Requests())
	}
}

// TestCutOverHTTP2: a pull that turns out to be wrong does not look whole over
// HTTP/2 either.
func TestCutOverHTTP2(t *testing.T) {
	const size = 3 << 20
	d := dossier.FromBytes([]byte("something else"))
	p := newProxyLab(t, proxyOptions{upstream: testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, string(d)) {
				next.ServeHTTP(w, r)
				return
			}
			_, _ = w.Write(make([]byte, size))
			_ = http.NewResponseController(w).Flush() // of unknown size
			_, _ = w.Write(make([]byte, size))
		})
	}}})
	server := httptest.NewUnstartedServer(p.handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	resp, err := server.Client().Transport.RoundTrip(request(t, server.URL+nginx+"/blobs/"+string(d)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if resp.ProtoMajor != 2 || resp.StatusCode == http.StatusOK && err == nil {
		t.Errorf("%s %s: %d bytes, %v", resp.Proto, resp.Status, n, err)
	}
}
