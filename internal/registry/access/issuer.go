// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"dossier.dev/dossier"
)

// The limits of what an issuer publishes.
const (
	maxIssuerBytes = 1 << 20 // of a document
	maxIssuerKeys  = 100
	issuerTimeout  = 10 * time.Second
	minRSABits     = 2048
)

// How long an issuer's keys are used.
const (
	issuerKeysFor   = time.Hour        // before they are read again
	issuerKeysStale = 24 * time.Hour   // when they cannot be
	issuerRetry     = 10 * time.Second // between two attempts, also for keys that are not known
)

// IssuerReader reads what an OpenID issuer publishes.
type IssuerReader interface {
	// ReadIssuer returns the issuer's name and its keys as a JSON Web Key Set.
	// Errors: KindUnavailable, KindDenied, KindInvalid.
	ReadIssuer(ctx context.Context) (issuer string, keys []byte, err error)
}

// Issuer verifies tokens with the keys that their issuer publishes. The keys are
// kept, so that tokens verify while it cannot be reached.
type Issuer struct {
	reader IssuerReader
	name   string
	now    func() time.Time

	loading sync.Mutex // held by who reads keys; before mu

	mu     sync.Mutex
	issuer string
	keys   []jose.JSONWebKey
	loaded time.Time
	tried  time.Time
}

// NewIssuer reads keys when they are first needed. The issuer must have the
// name, unless that is empty: then it is what the reader says, who is trusted to
// have asked the right one. The clock may be nil.
func NewIssuer(reader IssuerReader, name string, now func() time.Time) *Issuer {
	return &Issuer{reader: reader, name: name, now: orNow(now)}
}

// verify checks signature and issuer of a token and reads its claims. The other
// claims are for the caller to check.
func (i *Issuer) verify(ctx context.Context, token *jwt.JSONWebToken, header jose.Header, into *accountClaims) error {
	issuer, key, err := i.key(ctx, header.KeyID)
	if err != nil {
		return err
	}
	if !fits(key, header.Algorithm) {
		return denied("the token's algorithm is not that of its key")
	}
	if err := token.Claims(key.Key, into); err != nil {
		return denied("the signature of the token does not verify")
	}
	if into.Issuer != issuer {
		return denied("the token is of another issuer")
	}
	return nil
}

// fits reports whether a key may be used with an algorithm.
func fits(key jose.JSONWebKey, algorithm string) bool {
	if key.Algorithm != "" && key.Algorithm != algorithm {
		return false
	}
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return algorithm == string(jose.RS256) && k.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		return algorithm == map[int]string{256: string(jose.ES256), 384: string(jose.ES384), 521: string(jose.ES512)}[k.Curve.Params().BitSize]
	}
	return false
}

// key returns a key of the issuer by its ID, and the issuer's name. Who has a key
// that is good enough does not wait for others who read keys again.
func (i *Issuer) key(ctx context.Context, id string) (string, jose.JSONWebKey, error) {
	l := i.look(id)
	var err error
	switch {
	case !l.due:
	case !l.usable:
		i.loading.Lock()
		if l = i.look(id); l.due {
			err = i.load(ctx)
		}
		i.loading.Unlock()
	case i.loading.TryLock():
		err = i.load(ctx)
		i.loading.Unlock()
	}
	l = i.look(id)
	switch {
	case l.usable:
		return l.issuer, l.key, nil
	case err != nil:
		return "", jose.JSONWebKey{}, err
	case l.stale:
		return "", jose.JSONWebKey{}, dossier.Errorf(dossier.KindUnavailable, "reading", "keys of the issuer", "it did not answer a moment ago")
	}
	return "", jose.JSONWebKey{}, denied("the token is signed with a key that is not known")
}

// look is what is known of a key.
type look struct {
	issuer string
	key    jose.JSONWebKey
	stale  bool // the keys were read too long ago to be used at all
	usable bool // the key is there, and not stale
	due    bool // the keys should be read again
}

func (i *Issuer) look(id string) look {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	l := look{issuer: i.issuer, stale: now.Sub(i.loaded) >= issuerKeysStale}
	for _, k := range i.keys {
		if k.KeyID == id {
			l.key, l.usable = k, !l.stale
		}
	}
	l.due = (!l.usable || now.Sub(i.loaded) >= issuerKeysFor) && now.Sub(i.tried) >= issuerRetry
	return l
}

// load reads the keys again. The caller holds the lock for that.
func (i *Issuer) load(ctx context.Context) error {
	now := i.now()
	i.mu.Lock()
	i.tried = now
	i.mu.Unlock()
	issuer, text, err := i.reader.ReadIssuer(ctx)
	if err != nil {
		return err
	}
	if i.name != "" && issuer != i.name {
		return dossier.Errorf(dossier.KindInvalid, "reading issuer", short(i.name), fmt.Sprintf("it calls itself %q", short(issuer)))
	}
	keys, err := parseKeySet(text)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.issuer, i.keys, i.loaded = issuer, keys, now
	return nil
}

// parseKeySet reads a JSON Web Key Set (RFC 7517) and keeps the public keys that
// have a name and are for signatures. Of two keys with one name neither is kept.
func parseKeySet(text []byte) ([]jose.JSONWebKey, error) {
	fail := func(kind dossier.Kind, why string) ([]jose.JSONWebKey, error) {
		return nil, dossier.Errorf(kind, "reading", "keys of the issuer", why)
	}
	if len(text) > maxIssuerBytes {
		return fail(dossier.KindLimit, fmt.Sprintf("there are more than %d bytes", maxIssuerBytes))
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return fail(dossier.KindInvalid, "they are not a JSON Web Key Set")
	}
	if len(set.Keys) > maxIssuerKeys {
		return fail(dossier.KindLimit, fmt.Sprintf("there are more than %d", maxIssuerKeys))
	}
	named := map[string][]jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		// A key of a kind that is not known is somebody else's business.
		if err := k.UnmarshalJSON(raw); err == nil && k.KeyID != "" && k.IsPublic() && (k.Use == "" || k.Use == "sig") {
			named[k.KeyID] = append(named[k.KeyID], k)
		}
	}
	var keys []jose.JSONWebKey
	for _, same := range named {
		if len(same) == 1 {
			keys = append(keys, same[0])
		}
	}
	return keys, nil
}

// HTTPIssuer reads an issuer over HTTP (OpenID Connect Discovery 1.0, section 4).
type HTTPIssuer struct {
	URL string // of the issuer, which is its name as well; https, or loopback
	// Client sends the requests; nil: one without credentials. Redirects are not followed.
	Client *http.Client
}

// ReadIssuer implements IssuerReader.
func (h HTTPIssuer) ReadIssuer(ctx context.Context) (string, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, issuerTimeout)
	defer cancel()
	text, err := h.get(ctx, strings.TrimSuffix(h.URL, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", nil, err
	}
	var document struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return "", nil, dossier.Errorf(dossier.KindInvalid, "reading issuer", short(h.URL), "its configuration is not JSON")
	}
	if document.Issuer != h.URL {
		return "", nil, dossier.Errorf(dossier.KindInvalid, "reading issuer", short(h.URL), fmt.Sprintf("it calls itself %q", short(document.Issuer)))
	}
	keys, err := h.get(ctx, document.Keys)
	return document.Issuer, keys, err
}

func (h HTTPIssuer) get(ctx context.Context, address string) ([]byte, error) {
	fail := func(kind dossier.Kind, err error) ([]byte, error) {
		return nil, &dossier.Error{Kind: kind, Op: "reading issuer", Subject: short(address), Err: err, Hint: "check the address of the issuer"}
	}
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return fail(dossier.KindInvalid, errors.New("want an https address without credentials"))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fail(dossier.KindInvalid, err)
	}
	client := http.Client{}
	if h.Client != nil {
		client = *h.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(request)
	if err != nil {
		return fail(dossier.KindUnavailable, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fail(dossier.KindUnavailable, fmt.Errorf("it answers %d", response.StatusCode))
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxIssuerBytes+1))
	if err != nil {
		return fail(dossier.KindUnavailable, err)
	}
	if len(text) > maxIssuerBytes {
		return fail(dossier.KindLimit, fmt.Errorf("there are more than %d bytes", maxIssuerBytes))
	}
	return text, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
