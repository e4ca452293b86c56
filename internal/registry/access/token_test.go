// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"dossier.dev/dossier"
)

func contextWithin(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

func newTestKey(t testing.TB, now time.Time) Key {
	t.Helper()
	k, err := GenerateKey(now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newECKey is an ES256 key.
func newECKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func newTokens(t testing.TB, c *clock, store KeyStore) *Tokens {
	t.Helper()
	tokens, err := NewTokens(t.Context(), store, TokenConfig{Service: "registry.example", Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

var sameCaller = cmp.Options{cmp.AllowUnexported(Caller{}), cmpopts.EquateEmpty()}

func TestTokenRoundTrip(t *testing.T) {
	c := newClock()
	ec, err := newKey(newECKey(t, elliptic.P256()), c.now())
	if err != nil {
		t.Fatal(err)
	}
	scopes := []Scope{RepositoryAccess("a/b", Pull, Push), CatalogAccess()}
	for name, key := range map[string]Key{"Ed25519": newTestKey(t, c.now()), "ES256": ec} {
		tokens := newTokens(t, c, StaticKeys{key})
		for _, caller := range []Caller{
			{Identity: Identity{Method: Anonymous}},
			{Identity: who(t, "alice"), credential: "fingerprint"},
			{Identity: ServiceAccount{"ns", "sa"}.identity(Signature, Pod{"pod-1", "uid-1"})},
		} {
			token, err := tokens.issue(t.Context(), caller, scopes)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tokens.verify(t.Context(), token.Text)
			want := Caller{Identity: caller.Identity, scoped: true, scopes: scopes, credential: caller.credential}
			if diff := cmp.Diff(want, got, sameCaller); diff != "" || err != nil {
				t.Errorf("%s, %s: %v (-want +got):\n%s", name, caller.Identity.Name(), err, diff)
			}
			if token.Expires.Sub(token.Issued) != MaxTokenLife {
				t.Errorf("it lives from %s to %s", token.Issued, token.Expires)
			}
		}
	}
}

// TestTokenDoesNotOutlive: a token does not outlive what was shown for it.
func TestTokenDoesNotOutlive(t *testing.T) {
	c := newClock()
	tokens := newTokens(t, c, StaticKeys{newTestKey(t, c.now())})
	token, err := tokens.issue(t.Context(), Caller{Identity: who(t, "ns/sa"), expires: c.now().Add(time.Minute)}, nil)
	if err != nil || token.Expires.Sub(token.Issued) != time.Minute {
		t.Errorf("got %+v, %v", token, err)
	}
}

// forge makes tokens that differ from good ones in one thing.
type forge struct {
	claims  map[string]any
	headers map[string]any
	sign    crypto.Signer
	alg     jose.SignatureAlgorithm
}

// text signs by hand, since libraries refuse to make what attackers do.
func (f forge) text(t testing.TB) string {
	t.Helper()
	header := map[string]any{"alg": f.alg}
	maps.Copy(header, f.headers)
	for k, v := range header {
		if v == nil {
			delete(header, k)
		}
	}
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	input := part(header) + "." + part(f.claims)
	var signature []byte
	switch key := f.sign.(type) {
	case ed25519.PrivateKey:
		signature = ed25519.Sign(key, []byte(input))
	case *ecdsa.PrivateKey:
		hash := crypto.SHA256.New()
		hash.Write([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, key, hash.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		signature = make([]byte, 64)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// TestTokenAttacks forges tokens by class. Each differs from a good one, which is
// the first case, in what its name says.
func TestTokenAttacks(t *testing.T) {
	c := newClock()
	key := newTestKey(t, c.now())
	tokens := newTokens(t, c, StaticKeys{key})
	other := newTestKey(t, c.now())
	ec := newECKey(t, elliptic.P256())
	public := jose.JSONWebKey{Key: key.private.Public(), KeyID: key.id}
	embedded := jose.JSONWebKey{Key: other.private.Public(), KeyID: key.id} // CVE-2025-24976 class: the name is right, the key is not
	sec := func(d time.Duration) int64 { return c.now().Add(d).Unix() }
	hs256 := func(secret []byte) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret},
			(&jose.SignerOptions{}).WithType(tokenType).WithHeader("kid", key.id))
		if err != nil {
			t.Fatal(err)
		}
		text, err := jwt.Signed(signer).Claims(map[string]any{"iss": "registry.example"}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	tests := []struct {
		name   string
		change func(*forge)
		want   string // in the error; empty: it is good
	}{
		{"good", func(*forge) {}, ""},
		{"alg none", func(f *forge) { f.alg, f.sign = "none", nil }, "algorithm"},
		{"alg None", func(f *forge) { f.alg, f.sign = "None", nil }, "algorithm"},
		{"no signature", func(f *forge) { f.sign = nil }, "signature"},
		{"other algorithm than the key's", func(f *forge) { f.alg, f.sign = jose.ES256, ec }, "algorithm"},
		{"other key", func(f *forge) { f.sign = other.private }, "signature"},
		{"unknown kid", func(f *forge) { f.headers["kid"], f.sign = other.id, other.private }, "not known"},
		{"no kid", func(f *forge) { delete(f.headers, "kid") }, "names none"},
		{"path as kid", func(f *forge) { f.headers["kid"] = "../../etc/passwd" }, "not known"},
		{"embedded jwk", func(f *forge) { f.headers["jwk"], f.sign = embedded, other.private }, "its own key"},
		{"embedded jwk that is right", func(f *forge) { f.headers["jwk"] = public }, "its own key"},
		{"jku", func(f *forge) { f.headers["jku"] = "https://attacker.example/keys" }, "not taken"},
		{"x5u", func(f *forge) { f.headers["x5u"] = "https://attacker.example/cert" }, "not taken"},
		{"x5c", func(f *forge) { f.headers["x5c"] = []string{"AAAA"} }, "not"},
		{"crit", func(f *forge) { f.headers["crit"] = []string{"exp"}; f.headers["exp"] = 1 }, "not"},
		{"b64", func(f *forge) { f.headers["b64"] = false; f.headers["crit"] = []string{"b64"} }, "not"},
		{"other type", func(f *forge) { f.headers["typ"] = "JWT" }, "type"},
		{"no type", func(f *forge) { delete(f.headers, "typ") }, "type"},
		{"other issuer", func(f *forge) { f.claims["iss"] = "other" }, "issuer"},
		{"no issuer", func(f *forge) { delete(f.claims, "iss") }, "issuer"},
		{"other audience", func(f *forge) { f.claims["aud"] = "other.example" }, "another service"},
		{"several audiences", func(f *forge) { f.claims["aud"] = []string{"registry.example", "other.example"} }, "another service"},
		{"no audience", func(f *forge) { delete(f.claims, "aud") }, "another service"},
		{"expired", func(f *forge) { f.claims["exp"] = sec(0) }, "expired"},
		{"never expires", func(f *forge) { delete(f.claims, "exp") }, "when it is good"},
		{"lives too long", func(f *forge) { f.claims["exp"] = sec(time.Hour) }, "too long"},
		{"made in the future to live long", func(f *forge) { f.claims["iat"], f.claims["exp"] = sec(time.Hour), sec(time.Hour+time.Minute) }, "too long"},
		{"not yet good", func(f *forge) { f.claims["nbf"] = sec(maxSkew + time.Second) }, "not good yet"},
		{"no nbf", func(f *forge) { delete(f.claims, "nbf") }, "when it is good"},
		{"no iat", func(f *forge) { delete(f.claims, "iat") }, "when it is good"},
		{"no jti", func(f *forge) { delete(f.claims, "jti") }, "name"},
		{"short jti", func(f *forge) { f.claims["jti"] = "AAAA" }, "name"},
		{"no method", func(f *forge) { f.claims["dossier"] = map[string]any{} }, "nobody"},
		{"made-up method", func(f *forge) { f.claims["dossier"] = map[string]any{"method": "root"} }, "nobody"},
		{"anonymous with a name", func(f *forge) { f.claims["dossier"] = map[string]any{"method": Anonymous} }, "nobody"},
		{"account that is not the subject", func(f *forge) {
			f.claims["dossier"] = map[string]any{"method": TokenReview, "serviceAccount": ServiceAccount{"a", "b"}}
		}, "nobody"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := forge{alg: jose.EdDSA, sign: key.private, headers: map[string]any{"typ": tokenType, "kid": key.id}, claims: map[string]any{
				"iss": "registry.example", "aud": "registry.example", "sub": "alice", "iat": sec(0), "nbf": sec(0), "exp": sec(time.Minute),
				"jti": base64.RawURLEncoding.EncodeToString(make([]byte, jtiBytes)), "dossier": map[string]any{"method": Password},
			}}
			test.change(&f)
			got, err := tokens.verify(t.Context(), f.text(t))
			if test.want == "" {
				if err != nil || got.Identity.User != "alice" {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if dossier.KindOf(err) != dossier.KindDenied || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %+v, %v, want %q", got, err, test.want)
			}
			if diff := cmp.Diff(Caller{}, got, sameCaller); diff != "" {
				t.Errorf("a refused token gives a caller: %s", diff)
			}
		})
	}
	// The public key, which is no secret, as the secret of an HMAC.
	public25519 := []byte(key.private.Public().(ed25519.PublicKey))
	text := hs256(public25519)
	if _, err := tokens.verify(t.Context(), text); dossier.KindOf(err) != dossier.KindDenied {
		t.Errorf("HMAC with the public key: %v", err)
	}
}

// TestTokenTampering changes each part of a good token.
func TestTokenTampering(t *testing.T) {
	c := newClock()
	tokens := newTokens(t, c, StaticKeys{newTestKey(t, c.now())})
	token, err := tokens.issue(t.Context(), Caller{Identity: who(t, "alice")}, []Scope{RepositoryAccess("a", Pull)})
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token.Text, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	wider := strings.Replace(string(payload), `"pull"`, `"push"`, 1)
	for name, text := range map[string]string{
		"wider scope": parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(wider)) + "." + parts[2],
		"cut":         token.Text[:len(token.Text)-4],
		"longer":      token.Text + "AAAA",
		"two parts":   parts[0] + "." + parts[1],
		"no payload":  parts[0] + ".." + parts[2],
		"JSON form":   `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"spaces":      " " + token.Text,
		"empty":       "",
		"huge":        token.Text + strings.Repeat("A", maxTokenBytes),
	} {
		if text == token.Text {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := tokens.verify(t.Context(), text); dossier.KindOf(err) != dossier.KindDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.add(MaxTokenLife)
	if _, err := tokens.verify(t.Context(), token.Text); dossier.KindOf(err) != dossier.KindDenied {
		t.Errorf("expired: %v", err)
	}
}

func TestTokenConfig(t *testing.T) {
	key := StaticKeys{newTestKey(t, time.Time{})}
	for name, c := range map[string]TokenConfig{
		"no service":    {},
		"quotes":        {Service: `a"b`},
		"line":          {Service: "a\nb"},
		"long life":     {Service: "a", Life: MaxTokenLife + 1},
		"negative life": {Service: "a", Life: -1},
		"short rotate":  {Service: "a", Rotate: time.Minute},
	} {
		if _, err := NewTokens(t.Context(), key, c); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewTokens(t.Context(), StaticKeys{}, TokenConfig{Service: "a"}); dossier.KindOf(err) != dossier.KindInvalid {
		t.Errorf("no key: %v", err)
	}
}

func FuzzVerifyToken(f *testing.F) {
	c := newClock()
	key := newTestKey(f, c.now())
	tokens := newTokens(f, c, StaticKeys{key})
	good, err := tokens.issue(f.Context(), Caller{Identity: Identity{User: "alice", Method: Password}}, []Scope{CatalogAccess()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Text)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(forge{alg: jose.EdDSA, sign: key.private, headers: map[string]any{"kid": key.id, "typ": tokenType}}.text(f))
	f.Fuzz(func(t *testing.T, text string) {
		_, err := tokens.verify(t.Context(), text)
		// Base64 has letters whose last bits say nothing; what is signed is the same.
		same := strings.HasPrefix(text, good.Text[:strings.LastIndex(good.Text, ".")+1])
		if err == nil && !same {
			t.Errorf("a token that was not made here is good: %q", text)
		}
		if err != nil && dossier.KindOf(err) != dossier.KindDenied {
			t.Errorf("%q: %v", text, err)
		}
		_ = issuerOf(text)
	})
}
