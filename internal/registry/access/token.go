// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"dossier.dev/dossier"
)

// The limits of tokens.
const (
	// MaxTokenLife is how long a token is good for at most. It bounds how long a
	// service account is believed that is gone; rules and passwords are looked at
	// each time.
	MaxTokenLife  = 5 * time.Minute
	maxTokenBytes = 16 << 10
	// maxSkew is how far the clocks of replicas may be apart for a token that is not
	// good yet. A token that has expired is expired.
	maxSkew = 30 * time.Second
)

// tokenType is the typ of our tokens (RFC 9068). Tokens of others that happen to
// be signed with our key are not taken for ours.
const tokenType = "at+jwt"

// jtiBytes is how much randomness is in the name of a token.
const jtiBytes = 16

// TokenConfig says how tokens are made. Service is required.
type TokenConfig struct {
	Service string        // the audience: the name of the registry, equal on all replicas
	Issuer  string        // empty: Service
	Life    time.Duration // 0: MaxTokenLife
	Rotate  time.Duration // age at which a key is replaced; 0: DefaultRotate
	Log     *slog.Logger
	Now     func() time.Time
}

// Tokens makes and verifies tokens that name an identity and what they are good
// for (distribution spec, "Token Authentication Implementation").
type Tokens struct {
	config TokenConfig
	keys   *keyring
}

// NewTokens begins with the keys of a store, and makes one when a KeyRotator has
// none. Errors: KindInvalid for the configuration; those of the store.
func NewTokens(ctx context.Context, store KeyStore, c TokenConfig) (*Tokens, error) {
	if c.Life == 0 {
		c.Life = MaxTokenLife
	}
	if c.Rotate == 0 {
		c.Rotate = DefaultRotate
	}
	if c.Issuer == "" {
		c.Issuer = c.Service
	}
	c.Now = orNow(c.Now)
	switch {
	case !isServiceName(c.Service), !isServiceName(c.Issuer):
		return nil, dossier.Errorf(dossier.KindInvalid, "configuring", "tokens", "the service is a name of 1 to 255 letters, digits and signs of host names and URLs")
	case c.Life < time.Second || c.Life > MaxTokenLife:
		return nil, dossier.Errorf(dossier.KindInvalid, "configuring", "tokens", fmt.Sprintf("their life is from 1s to %s", MaxTokenLife))
	case c.Rotate < time.Hour:
		return nil, dossier.Errorf(dossier.KindInvalid, "configuring", "tokens", "keys are replaced once an hour at most")
	}
	t := &Tokens{config: c, keys: &keyring{store: store, rotate: c.Rotate, log: orDiscard(c.Log), now: c.Now}}
	if _, err := t.keys.signing(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// isServiceName reports whether s can stand between quotes in a header.
func isServiceName(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._:/[]", c)
	})
}

// Token is a token with what a client is told of it.
type Token struct {
	Text    string
	Scopes  []Scope // what it is good for; may be empty
	Issued  time.Time
	Expires time.Time
}

// claims is what a token says.
type claims struct {
	jwt.Claims
	Access  []Scope  `json:"access"`
	Dossier identity `json:"dossier"`
}

// identity is how a token holds who asks. Groups are not in it: they are
// looked up when it is used.
type identity struct {
	Method         Method         `json:"method"`
	ServiceAccount ServiceAccount `json:"serviceAccount,omitzero"`
	Pod            Pod            `json:"pod,omitzero"`
	Credential     string         `json:"credential,omitempty"` // entryFingerprint
}

// issue makes a token for a caller and for scopes that were granted.
func (t *Tokens) issue(ctx context.Context, c Caller, granted []Scope) (Token, error) {
	key, err := t.keys.signing(ctx)
	if err != nil {
		return Token{}, err
	}
	options := (&jose.SignerOptions{}).WithType(tokenType).WithHeader("kid", key.id)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: key.algorithm(), Key: key.private}, options)
	if err != nil {
		return Token{}, fmt.Errorf("signing a token: %w", err)
	}
	jti := make([]byte, jtiBytes)
	_, _ = rand.Read(jti) // it never fails
	now := t.config.Now().Truncate(time.Second)
	expires := now.Add(t.config.Life)
	if !c.expires.IsZero() && c.expires.Before(expires) {
		expires = c.expires.Truncate(time.Second)
	}
	body := claims{
		Claims: jwt.Claims{
			Issuer: t.config.Issuer, Subject: c.Identity.User, Audience: jwt.Audience{t.config.Service},
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(expires),
			ID: base64.RawURLEncoding.EncodeToString(jti),
		},
		Access:  granted,
		Dossier: identity{c.Identity.Method, c.Identity.ServiceAccount, c.Identity.Pod, c.credential},
	}
	text, err := jwt.Signed(signer).Claims(body).Serialize()
	if err != nil {
		return Token{}, fmt.Errorf("signing a token: %w", err)
	}
	return Token{Text: text, Scopes: granted, Issued: now, Expires: expires}, nil
}

// verify returns what one of our tokens says. Errors: KindDenied; those of the
// key store when it cannot be asked.
func (t *Tokens) verify(ctx context.Context, text string) (Caller, error) {
	token, header, err := parseToken(text, ownAlgorithms()...)
	if err != nil {
		return Caller{}, err
	}
	if header.ExtraHeaders[jose.HeaderType] != tokenType {
		return Caller{}, denied("the token is not of the type that is taken here")
	}
	key, err := t.keys.verifying(ctx, header.KeyID)
	if err != nil {
		return Caller{}, err
	}
	// The algorithm is the key's, whatever the token says.
	if header.Algorithm != string(key.algorithm()) {
		return Caller{}, denied("the token's algorithm is not that of its key")
	}
	var c claims
	if err := token.Claims(key.private.Public(), &c); err != nil {
		return Caller{}, denied("the signature of the token does not verify")
	}
	if err := t.check(c); err != nil {
		return Caller{}, err
	}
	return c.caller()
}

// check holds the claims against the configuration and the clock.
func (t *Tokens) check(c claims) error {
	now := t.config.Now()
	jti, err := base64.RawURLEncoding.DecodeString(c.ID)
	switch {
	case c.Issuer != t.config.Issuer:
		return denied("the token is of another issuer")
	case len(c.Audience) != 1 || c.Audience[0] != t.config.Service:
		return denied("the token is for another service")
	case c.Expiry == nil || c.NotBefore == nil || c.IssuedAt == nil:
		return denied("the token does not say when it is good")
	case !now.Before(c.Expiry.Time()):
		return denied("the token has expired")
	case now.Add(maxSkew).Before(c.NotBefore.Time()):
		return denied("the token is not good yet")
	case c.Expiry.Time().Sub(c.IssuedAt.Time()) > MaxTokenLife, c.NotBefore.Time().Before(c.IssuedAt.Time()):
		return denied("the token is good for too long")
	case err != nil || len(jti) != jtiBytes:
		return denied("the token has no name of its own")
	}
	return nil
}

// caller rebuilds who holds a token.
func (c claims) caller() (Caller, error) {
	caller := Caller{scopes: c.Access, scoped: true, credential: c.Dossier.Credential}
	switch c.Dossier.Method {
	case Anonymous:
		caller.Identity = Identity{Method: Anonymous}
	case Password:
		caller.Identity = Identity{User: c.Subject, Method: Password}
	case APIToken:
		caller.Identity = Identity{User: APITokenUser, Method: APIToken}
	case TokenReview, Signature:
		caller.Identity = c.Dossier.ServiceAccount.identity(c.Dossier.Method, c.Dossier.Pod)
	}
	if caller.Identity.Method == "" || caller.Identity.User != c.Subject {
		return Caller{}, denied("the token names nobody that is known")
	}
	return caller, nil
}

// parseToken reads a JWT in compact form, and refuses what lets a token choose
// how it is verified: other algorithms, keys and addresses of keys in its header,
// extensions. It verifies nothing.
func parseToken(text string, algorithms ...jose.SignatureAlgorithm) (*jwt.JSONWebToken, jose.Header, error) {
	fail := func(why string) (*jwt.JSONWebToken, jose.Header, error) { return nil, jose.Header{}, denied(why) }
	if len(text) > maxTokenBytes {
		return fail(fmt.Sprintf("the token has more than %d bytes", maxTokenBytes))
	}
	token, err := jwt.ParseSigned(text, algorithms)
	if _, unexpected := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); unexpected {
		return fail("the token is signed with an algorithm that is not taken")
	}
	if err != nil || len(token.Headers) != 1 {
		return fail("the token is not a signed JWT")
	}
	header := token.Headers[0]
	if header.JSONWebKey != nil || header.KeyID == "" {
		return fail("the token brings its own key, or names none")
	}
	for name := range header.ExtraHeaders {
		if name != jose.HeaderType {
			return fail("the token's header has fields that are not taken")
		}
	}
	return token, header, nil
}

// issuerOf returns who a token says has made it, unverified: to choose who
// verifies, which then checks it.
func issuerOf(text string) string {
	var c jwt.Claims
	token, _, err := parseToken(text, slices.Concat(ownAlgorithms(), clusterAlgorithms())...)
	if err != nil || token.UnsafeClaimsWithoutVerification(&c) != nil {
		return ""
	}
	return c.Issuer
}

func ownAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256}
}
