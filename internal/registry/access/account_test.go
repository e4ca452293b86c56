// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
)

// A live cluster can be asked about tokens and for its keys.
var (
	_ TokenReviewer = (*cluster.Live)(nil)
	_ IssuerReader  = (*cluster.Live)(nil)
)

const clusterIssuer = "https://kubernetes.default.svc"

// fakeCluster makes service-account tokens, reviews them and publishes its key.
type fakeCluster struct {
	clock    *clock
	key      jose.JSONWebKey
	reviewed int
	read     int
	gone     map[string]bool // tokens whose pods are gone
	err      error           // of every question
	user     string          // when not empty, the user it sees in every token
}

func newFakeCluster(t testing.TB, c *clock) *fakeCluster {
	t.Helper()
	return &fakeCluster{clock: c, key: jose.JSONWebKey{Key: newECKey(t, elliptic.P256()), KeyID: "k1", Algorithm: "ES256", Use: "sig"}, gone: map[string]bool{}}
}

// podClaims are those of a token that is bound to a pod.
func podClaims(now time.Time, namespace, name, audience string) map[string]any {
	return map[string]any{
		"iss": clusterIssuer, "aud": []string{audience}, "sub": accountPrefix + namespace + ":" + name,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		"kubernetes.io": map[string]any{
			"namespace": namespace, "serviceaccount": map[string]string{"name": name, "uid": "sa-uid"},
			"pod": map[string]string{"name": "web-0", "uid": "pod-uid"},
		},
	}
}

func (f *fakeCluster) sign(t testing.TB, claims map[string]any, change ...func(*forge)) string {
	t.Helper()
	forged := forge{alg: jose.ES256, sign: f.key.Key.(crypto.Signer), headers: map[string]any{"kid": f.key.KeyID}, claims: claims}
	for _, c := range change {
		c(&forged)
	}
	return forged.text(t)
}

func (f *fakeCluster) ReviewToken(_ context.Context, token string, audiences []string) (string, []string, map[string][]string, error) {
	f.reviewed++
	if f.err != nil {
		return "", nil, nil, f.err
	}
	if f.gone[token] {
		return "", nil, nil, denied("the pod is gone")
	}
	if f.user != "" {
		return f.user, nil, nil, nil
	}
	var c accountClaims
	parsed, _, err := parseToken(token, clusterAlgorithms()...)
	if err != nil || parsed.UnsafeClaimsWithoutVerification(&c) != nil {
		return "", nil, nil, denied("not a token")
	}
	return c.Subject, []string{"system:masters"}, map[string][]string{extraPodName: {c.Kubernetes.Pod.Name}, extraPodUID: {c.Kubernetes.Pod.UID}}, nil
}

func (f *fakeCluster) ReadIssuer(context.Context) (string, []byte, error) {
	f.read++
	if f.err != nil {
		return "", nil, f.err
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{f.key.Public()}})
	return clusterIssuer, keys, err
}

const audience = "registry.example"

func newAccounts(t testing.TB, c AccountConfig) *ServiceAccounts {
	t.Helper()
	c.Audience = audience
	a, err := NewServiceAccounts(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestServiceAccounts(t *testing.T) {
	c := newClock()
	f := newFakeCluster(t, c)
	token := f.sign(t, podClaims(c.now(), "ns", "sa", audience))
	issuer := func() *Issuer { return NewIssuer(f, clusterIssuer, c.now) }
	for name, config := range map[string]AccountConfig{
		"review":    {Reviewer: f, Now: c.now},
		"signature": {Issuer: issuer(), Now: c.now},
		"both":      {Reviewer: f, Issuer: issuer(), Now: c.now},
	} {
		got, expires, err := newAccounts(t, config).verify(t.Context(), token)
		want := Identity{
			User: "system:serviceaccount:ns:sa", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:ns"},
			ServiceAccount: ServiceAccount{"ns", "sa"}, Pod: Pod{"web-0", "pod-uid"}, Method: TokenReview,
		}
		if name == "signature" {
			want.Method = Signature
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil || !expires.Equal(c.now().Add(10*time.Minute)) {
			t.Errorf("%s: %v, %v (-want +got):\n%s", name, expires, err, diff)
		}
	}
}

// TestServiceAccountAttacks tries each token in each way of verifying. A token
// that only its signature gives away passes where the cluster is asked about it.
func TestServiceAccountAttacks(t *testing.T) {
	c := newClock()
	f := newFakeCluster(t, c)
	other := newECKey(t, elliptic.P256())
	tests := []struct {
		name    string
		claims  func(map[string]any)
		header  func(*forge)
		offline bool // only the signature tells
		want    string
	}{
		{name: "for the API server", claims: func(m map[string]any) { m["aud"] = []string{clusterIssuer} }, want: "audience"},
		{name: "no audience", claims: func(m map[string]any) { delete(m, "aud") }, want: "audience"},
		{name: "expired", claims: func(m map[string]any) { m["exp"] = c.now().Unix() }, want: "expired"},
		{name: "never expires", claims: func(m map[string]any) { delete(m, "exp") }, want: "never expires"},
		{name: "not yet good", claims: func(m map[string]any) { m["nbf"] = c.now().Add(time.Hour).Unix() }, want: "not good yet"},
		{name: "a user", claims: func(m map[string]any) { m["sub"] = "alice" }, want: "service account"},
		{name: "short form as subject", claims: func(m map[string]any) { m["sub"] = "ns/sa" }, want: "service account"},
		{name: "another account in the subject", claims: func(m map[string]any) { m["sub"] = accountPrefix + "kube-system:admin" }, want: "bound"},
		{name: "not bound", claims: func(m map[string]any) { delete(m, "kubernetes.io") }, want: "bound"},
		{name: "colons in the name", claims: func(m map[string]any) { m["sub"] = accountPrefix + "ns:sa:x" }, want: "service account"},
		{name: "alg none", header: func(g *forge) { g.alg, g.sign = "none", nil }, want: "algorithm"},
		{name: "embedded key", header: func(g *forge) { g.headers["jwk"] = jose.JSONWebKey{Key: other.Public()}; g.sign = other }, want: "its own key"},
		{name: "jku", header: func(g *forge) { g.headers["jku"] = "https://attacker.example" }, want: "not taken"},
		{name: "other key", header: func(g *forge) { g.sign = other }, offline: true, want: "signature"},
		{name: "unknown key", header: func(g *forge) { g.headers["kid"] = "k2" }, offline: true, want: "not known"},
		{name: "other issuer", claims: func(m map[string]any) { m["iss"] = "https://other.example" }, offline: true, want: "another issuer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			claims := podClaims(c.now(), "ns", "sa", audience)
			if test.claims != nil {
				test.claims(claims)
			}
			change := func(*forge) {}
			if test.header != nil {
				change = test.header
			}
			token := f.sign(t, claims, change)
			ways := map[string]AccountConfig{"signature": {Issuer: NewIssuer(f, "", c.now), Now: c.now}, "both": {Reviewer: f, Issuer: NewIssuer(f, "", c.now), Now: c.now}}
			if !test.offline {
				ways["review"] = AccountConfig{Reviewer: f, Now: c.now}
			}
			before := f.reviewed
			for name, config := range ways {
				id, _, err := newAccounts(t, config).verify(t.Context(), token)
				if dossier.KindOf(err) != dossier.KindDenied || !strings.Contains(err.Error(), test.want) || id.User != "" {
					t.Errorf("%s: got %+v, %v, want %q", name, id, err, test.want)
				}
			}
			if f.reviewed != before {
				t.Error("the cluster was asked about a token that cannot be good")
			}
		})
	}
}

// TestReviewDecides: the cluster has the last word, about the account and about
// whether it is still there.
func TestReviewDecides(t *testing.T) {
	c := newClock()
	f := newFakeCluster(t, c)
	a := newAccounts(t, AccountConfig{Reviewer: f, Issuer: NewIssuer(f, "", c.now), Now: c.now})
	token := f.sign(t, podClaims(c.now(), "ns", "sa", audience))
	check := func(want dossier.Kind, reviews int) {
		t.Helper()
		f.reviewed = 0
		if _, _, err := a.verify(t.Context(), token); dossier.KindOf(err) != want || f.reviewed != reviews {
			t.Errorf("got %v and %d reviews, want %q and %d", err, f.reviewed, want, reviews)
		}
	}
	check("", 1)
	check("", 0)
	f.gone[token] = true
	check("", 0) // believed for reviewedFor
	c.add(reviewedFor)
	check(dossier.KindDenied, 1)
	check(dossier.KindDenied, 0)
	delete(f.gone, token)
	c.add(refusedFor)
	check("", 1)
	c.add(reviewedFor)
	f.err = &dossier.Error{Kind: dossier.KindUnavailable, Op: "asking", Err: errors.New("down")}
	check(dossier.KindUnavailable, 1) // which is not the caller's fault, and not remembered
	f.err = nil
	for _, user := range []string{accountPrefix + "ns:other", "alice", "ns/sa"} {
		c.add(reviewedFor)
		f.user = user
		check(dossier.KindDenied, 1)
	}
	f.user = ""
	c.add(reviewedFor)
	check("", 1)
	c.add(10 * time.Minute)
	check(dossier.KindDenied, 0) // expired
}

// TestIssuerKeys: keys are read once, followed when they change, and used while
// the issuer is away.
func TestIssuerKeys(t *testing.T) {
	c := newClock()
	f := newFakeCluster(t, c)
	a := newAccounts(t, AccountConfig{Issuer: NewIssuer(f, clusterIssuer, c.now), Now: c.now})
	check := func(want dossier.Kind, reads int) {
		t.Helper()
		f.read = 0
		token := f.sign(t, podClaims(c.now(), "ns", "sa", audience))
		if _, _, err := a.verify(t.Context(), token); dossier.KindOf(err) != want || f.read != reads {
			t.Errorf("got %v and %d reads, want %q and %d", err, f.read, want, reads)
		}
	}
	check("", 1)
	check("", 0)
	old := f.key
	f.key = jose.JSONWebKey{Key: newECKey(t, elliptic.P256()), KeyID: "k2", Algorithm: "ES256", Use: "sig"}
	check(dossier.KindDenied, 0) // anybody can name a key
	c.add(issuerRetry)
	check("", 1)
	f.key = old
	check(dossier.KindDenied, 0) // it is no longer published
	c.add(issuerRetry)
	check("", 1)
	f.err = &dossier.Error{Kind: dossier.KindUnavailable, Op: "asking", Err: errors.New("down")}
	c.add(issuerKeysFor)
	check("", 1)
	check("", 0)
	c.add(issuerKeysStale - issuerKeysFor - time.Second)
	check("", 1)
	c.add(issuerRetry)
	check(dossier.KindUnavailable, 1)
	check(dossier.KindUnavailable, 0)
	f.err = nil
	c.add(issuerRetry)
	check("", 1)
	wrong := newAccounts(t, AccountConfig{Issuer: NewIssuer(f, "https://other.example", c.now), Now: c.now})
	if _, _, err := wrong.verify(t.Context(), f.sign(t, podClaims(c.now(), "ns", "sa", audience))); dossier.KindOf(err) != dossier.KindInvalid {
		t.Errorf("an issuer of another name: %v", err)
	}
}

func TestParseKeySet(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	ec := newECKey(t, elliptic.P256())
	good := jose.JSONWebKey{Key: ec.Public(), KeyID: "good"}
	set := func(keys ...jose.JSONWebKey) string {
		text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	tests := []struct {
		name, text string
		want       []string
		kind       dossier.Kind
	}{
		{"good", set(good), []string{"good"}, ""},
		{"without a name", set(good, jose.JSONWebKey{Key: ec.Public()}), []string{"good"}, ""},
		{"for encryption", set(good, jose.JSONWebKey{Key: ec.Public(), KeyID: "e", Use: "enc"}), []string{"good"}, ""},
		{"a secret", set(good, jose.JSONWebKey{Key: []byte("secret"), KeyID: "s"}), []string{"good"}, ""},
		{"a private key", set(good, jose.JSONWebKey{Key: ec, KeyID: "p"}), []string{"good"}, ""},
		{"two of one name", set(good, good), nil, ""},
		{"an unknown kind", `{"keys":[{"kty":"new","kid":"n"}]}`, nil, ""},
		{"nothing", `{}`, nil, ""},
		{"not JSON", `x`, nil, dossier.KindInvalid},
		{"many", `{"keys":[` + strings.Repeat(`{},`, maxIssuerKeys) + `{}]}`, nil, dossier.KindLimit},
		{"large", strings.Repeat(" ", maxIssuerBytes+1), nil, dossier.KindLimit},
	}
	for _, test := range tests {
		keys, err := parseKeySet([]byte(test.text))
		var got []string
		for _, k := range keys {
			got = append(got, k.KeyID)
		}
		if diff := cmp.Diff(test.want, got); diff != "" || dossier.KindOf(err) != test.kind {
			t.Errorf("%s: %v (-want +got):\n%s", test.name, err, diff)
		}
	}
	for _, test := range []struct {
		key       jose.JSONWebKey
		algorithm string
		want      bool
	}{
		{good, "ES256", true}, {good, "ES384", false}, {good, "RS256", false}, {good, "HS256", false}, {good, "none", false},
		{jose.JSONWebKey{Key: ec.Public(), Algorithm: "ES384"}, "ES256", false},
		{jose.JSONWebKey{Key: weak.Public()}, "RS256", false},
	} {
		if got := fits(test.key, test.algorithm); got != test.want {
			t.Errorf("%T with %s: got %v", test.key.Key, test.algorithm, got)
		}
	}
}

func FuzzParseKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"AA","y":"AA"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA","kid":"a"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeySet(text)
		for _, k := range keys {
			if err != nil || k.KeyID == "" || !k.IsPublic() {
				t.Errorf("%q: kept %+v, %v", text, k, err)
			}
		}
	})
}

func TestHTTPIssuer(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("/good/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": %q}`, server.URL+"/good", server.URL+"/keys")
	})
	mux.HandleFunc("/posing/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": %q}`, clusterIssuer, server.URL+"/keys")
	})
	mux.HandleFunc("/plain/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": "http://metadata.example/keys"}`, server.URL+"/plain")
	})
	mux.HandleFunc("/file/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": "file:///etc/passwd"}`, server.URL+"/file")
	})
	mux.HandleFunc("/large/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat(" ", maxIssuerBytes+1))
	})
	mux.Handle("/moved/", http.RedirectHandler(server.URL+"/good/.well-known/openid-configuration", http.StatusFound))
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) })
	for path, want := range map[string]dossier.Kind{
		"/good": "", "/posing": dossier.KindInvalid, "/plain": dossier.KindInvalid, "/file": dossier.KindInvalid,
		"/large": dossier.KindLimit, "/moved": dossier.KindUnavailable, "/none": dossier.KindUnavailable,
	} {
		issuer, keys, err := HTTPIssuer{URL: server.URL + path}.ReadIssuer(t.Context())
		if dossier.KindOf(err) != want || err == nil && (issuer != server.URL+path || string(keys) != `{"keys":[]}`) {
			t.Errorf("%s: got %q, %q, %v, want %q", path, issuer, keys, err, want)
		}
	}
	if _, _, err := (HTTPIssuer{URL: "http://issuer.example"}).ReadIssuer(t.Context()); dossier.KindOf(err) != dossier.KindInvalid {
		t.Errorf("without TLS: %v", err)
	}
}

func TestAccountConfig(t *testing.T) {
	f := newFakeCluster(t, newClock())
	for name, c := range map[string]AccountConfig{"no audience": {Reviewer: f}, "nobody to ask": {Audience: "a"}} {
		if _, err := NewServiceAccounts(c); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
