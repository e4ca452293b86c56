// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

// TestTokenForMetadata: a token is shown to the server that it was given for, and to nobody else: the name of
// an image says which host is asked for its metadata, and may be anybody's.
func TestTokenForMetadata(t *testing.T) {
	shown := make(chan string, 10)
	somebody := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown <- r.Header.Get("Authorization")
		http.NotFound(w, r)
	}))
	t.Cleanup(somebody.Close)
	host := strings.TrimPrefix(somebody.URL, "http://")
	e, err := Open(t.Context(), Config{Data: sqltest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	digest := dossier.FromBytes([]byte("x"))
	for _, tt := range []struct {
		name, registry, url, token string
		want                       string // that is shown
		refused                    string // why nobody is asked
	}{
		{"to the server that is named", "registry.example", somebody.URL, "secret", "Bearer secret", ""},
		{"not to the registry in the name", host, "", "secret", "", ""},
		{"none", host, "", "", "", ""},
		{"in the clear", "registry.example", "http://registry.example", "secret", "", "a token is sent under TLS only"},
		{"a password", "registry.example", "http://me:word@" + host, "", "", "it holds a user or a password"},
		{"no URL", "registry.example", "registry.example", "secret", "", "it does not begin with http:// or https://"},
		{"with a query", "registry.example", somebody.URL + "?x=y", "secret", "", "it has a query or a fragment"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ref := dossier.Reference{Registry: tt.registry, Repository: "team/web/app", Tag: "1", Digest: digest}
			r, err := e.VerifyTag(t.Context(), TagQuery{Ref: ref, Prefix: "team/web", URL: tt.url, Token: tt.token, FirstUse: true})
			if tt.refused != "" {
				if dossier.KindOf(err) != dossier.KindInvalid || !strings.Contains(err.Error(), tt.refused) || strings.Contains(err.Error(), "word@") {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil || r.Verified {
				t.Fatalf("verified is %t, %v", r.Verified, err)
			}
			if got := <-shown; got != tt.want {
				t.Errorf("%q was shown, want %q", got, tt.want)
			}
		})
	}
	if len(shown) > 0 {
		t.Errorf("somebody was asked %d times more", len(shown))
	}
}
