// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"

	"dossier.dev/dossier"
)

// connectTo returns a Live to a server that answers paths by the handlers, and
// the rest as a fakeAPI does.
func connectTo(t *testing.T, paths map[string]http.HandlerFunc) *Live {
	t.Helper()
	f := newFakeAPI(t)
	mux := http.NewServeMux()
	mux.Handle("/", f)
	for path, handler := range paths {
		mux.HandleFunc(path, handler)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	l, err := Connect(t.Context(), Options{Kubeconfig: kubeconfig(t, server.URL)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// review answers as an API server does that knows one token, good for two audiences.
func review(w http.ResponseWriter, r *http.Request) {
	var ask authenticationv1.TokenReview
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || r.Method != http.MethodPost || ask.Kind != "TokenReview" ||
		ask.APIVersion != "authentication.k8s.io/v1" || r.Header.Get("Content-Type") != "application/json" {
		writeStatus(w, http.StatusBadRequest)
		return
	}
	good := []string{"registry", "other"}
	user := authenticationv1.UserInfo{
		Username: "system:serviceaccount:ns:sa", Groups: []string{"system:serviceaccounts"},
		Extra: map[string]authenticationv1.ExtraValue{"authentication.kubernetes.io/pod-name": {"web-0"}},
	}
	common := slices.DeleteFunc(good, func(a string) bool { return !slices.Contains(ask.Spec.Audiences, a) })
	switch {
	case ask.Spec.Token == "unaware": // of audiences: an old server, or a webhook
		ask.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: user}
	case ask.Spec.Token == "nameless":
		ask.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: common}
	case ask.Spec.Token == "good" && len(common) > 0:
		ask.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: user, Audiences: common}
	default:
		ask.Status = authenticationv1.TokenReviewStatus{Error: "not valid"}
	}
	writeJSON(w, http.StatusCreated, ask)
}

func TestReviewToken(t *testing.T) {
	l := connectTo(t, map[string]http.HandlerFunc{reviewPath: review})
	user, groups, extra, err := l.ReviewToken(t.Context(), "good", []string{"registry"})
	if err != nil || user != "system:serviceaccount:ns:sa" || !slices.Equal(groups, []string{"system:serviceaccounts"}) {
		t.Errorf("got %s, %v, %v", user, groups, err)
	}
	if diff := cmp.Diff(map[string][]string{"authentication.kubernetes.io/pod-name": {"web-0"}}, extra); diff != "" {
		t.Errorf("extra (-want +got):\n%s", diff)
	}
	for _, test := range []struct {
		token     string
		audiences []string
	}{
		{"good", []string{"third"}}, {"good", nil}, {"bad", []string{"registry"}}, {"unaware", []string{"registry"}}, {"nameless", []string{"registry"}}, {"", []string{"registry"}},
	} {
		user, _, _, err := l.ReviewToken(t.Context(), test.token, test.audiences)
		if dossier.KindOf(err) != dossier.KindDenied || user != "" {
			t.Errorf("%s for %v: got %q, %v", test.token, test.audiences, user, err)
		}
	}
}

// TestReviewTokenTrouble: that the cluster refuses us, or says nothing that makes
// sense, is not the fault of who showed the token.
func TestReviewTokenTrouble(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"forbidden":    func(w http.ResponseWriter, _ *http.Request) { writeStatus(w, http.StatusForbidden) },
		"unauthorized": func(w http.ResponseWriter, _ *http.Request) { writeStatus(w, http.StatusUnauthorized) },
		"not there":    func(w http.ResponseWriter, _ *http.Request) { writeStatus(w, http.StatusNotFound) },
		"broken":       func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") },
		"away":         func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		l := connectTo(t, map[string]http.HandlerFunc{reviewPath: handler})
		_, _, _, err := l.ReviewToken(t.Context(), "the-secret-token", []string{"registry"})
		if dossier.KindOf(err) != dossier.KindUnavailable || strings.Contains(err.Error(), "the-secret-token") {
			t.Errorf("%s: got %v", name, err)
		}
		if refused := name == "forbidden" || name == "unauthorized"; refused != strings.Contains(dossier.HintOf(err), "system:auth-delegator") {
			t.Errorf("%s: hint %q", name, dossier.HintOf(err))
		}
	}
}

func TestReadIssuer(t *testing.T) {
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
	}
	l := connectTo(t, map[string]http.HandlerFunc{
		// The address of the keys is not ours to follow: they are at the API server.
		issuerPath: text(`{"issuer": "https://issuer.test", "jwks_uri": "https://elsewhere.test/keys"}`),
		keysPath:   text(`{"keys": []}`),
	})
	issuer, keys, err := l.ReadIssuer(t.Context())
	if err != nil || issuer != "https://issuer.test" || string(keys) != `{"keys": []}` {
		t.Errorf("got %q, %q, %v", issuer, keys, err)
	}
	for _, document := range []string{"hello", "{}"} {
		l := connectTo(t, map[string]http.HandlerFunc{issuerPath: text(document)})
		if _, _, err := l.ReadIssuer(t.Context()); dossier.KindOf(err) != dossier.KindUnavailable {
			t.Errorf("%s: got %v", document, err)
		}
	}
}
