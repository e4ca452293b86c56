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
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"dossier.dev/dossier"
)

// Key signs tokens and verifies them.
type Key struct {
	private crypto.Signer // ed25519.PrivateKey, or *ecdsa.PrivateKey on P-256
	id      string
	Created time.Time // zero: not known
}

// KeyStore holds the keys that replicas share.
type KeyStore interface {
	// Keys returns all keys. The first signs, the others only verify. Errors:
	// KindUnavailable, KindCorrupt for a key that cannot be read.
	Keys(ctx context.Context) ([]Key, error)
}

// KeyRotator is a KeyStore whose keys can be changed. Without one, keys are
// changed by who configures them.
type KeyRotator interface {
	KeyStore
	// Add keeps a key, durably, as the one that signs. Other replicas see it
	// in Keys at once. Errors: KindStorage, KindUnavailable.
	Add(ctx context.Context, k Key) error
	// Remove forgets a key; one that is not there is no error.
	Remove(ctx context.Context, id string) error
}

// GenerateKey makes an Ed25519 key.
func GenerateKey(now time.Time) (Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("making a key: %w", err)
	}
	return newKey(private, now)
}

// newKey names a key by its RFC 7638 thumbprint, so that a name can stand for
// one key only.
func newKey(private any, created time.Time) (Key, error) {
	fail := func(why string) (Key, error) {
		return Key{}, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading", Subject: "a signing key", Err: errors.New(why),
			Hint: "make one with: openssl genpkey -algorithm ed25519"}
	}
	k := Key{Created: created}
	switch p := private.(type) {
	case ed25519.PrivateKey:
		k.private = p
	case *ecdsa.PrivateKey:
		if p.Curve != elliptic.P256() {
			return fail("of the ECDSA keys only those on P-256 are taken")
		}
		k.private = p
	default:
		return fail(fmt.Sprintf("%T is neither Ed25519 nor ECDSA", private))
	}
	sum, err := (&jose.JSONWebKey{Key: k.private.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return Key{}, fmt.Errorf("naming a key: %w", err)
	}
	k.id = base64.RawURLEncoding.EncodeToString(sum)
	return k, nil
}

// ID is the key's name, which follows from the key.
func (k Key) ID() string { return k.id }

// algorithm is the only one that the key is used with.
func (k Key) algorithm() jose.SignatureAlgorithm {
	if _, ok := k.private.(ed25519.PrivateKey); ok {
		return jose.EdDSA
	}
	return jose.ES256
}

// The PEM form of a key: PKCS #8, with the time it was made as a header.
const (
	pemType    = "PRIVATE KEY"
	pemCreated = "Created"
)

// MarshalKey returns the key as PEM (PKCS #8). It is a secret.
func MarshalKey(k Key) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("writing key %s: %w", k.id, err)
	}
	block := &pem.Block{Type: pemType, Bytes: der}
	if !k.Created.IsZero() {
		block.Headers = map[string]string{pemCreated: k.Created.UTC().Format(time.RFC3339Nano)}
	}
	return pem.EncodeToMemory(block), nil
}

// ParseKeys reads one or more keys as PEM (PKCS #8): Ed25519, or ECDSA on P-256.
// Errors: KindInvalid; they never hold what was read.
func ParseKeys(text []byte) ([]Key, error) {
	fail := func(why string) ([]Key, error) {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading", Subject: "signing keys", Err: errors.New(why),
			Hint: "make one with: openssl genpkey -algorithm ed25519"}
	}
	var keys []Key
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != pemType {
			return fail(fmt.Sprintf("want PEM blocks of type %q, found %q", pemType, short(block.Type)))
		}
		private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return fail("a block is not a key in the form PKCS #8")
		}
		var created time.Time
		if s := block.Headers[pemCreated]; s != "" {
			if created, err = time.Parse(time.RFC3339Nano, s); err != nil {
				return fail("the time a key was made is not RFC 3339")
			}
		}
		k, err := newKey(private, created)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return fail("there is no key")
	}
	return keys, nil
}

// StaticKeys are keys that the configuration gives. The first signs; to change
// keys put the new one second on all replicas, then first, then drop the old one.
type StaticKeys []Key

// KeyFile is the path of a file of keys (ParseKeys). It is read again each time, so
// that keys can be changed while servers run, in the order that StaticKeys says.
type KeyFile string

// Keys implements KeyStore. Errors: KindNotFound, KindStorage, KindInvalid.
func (f KeyFile) Keys(context.Context) ([]Key, error) {
	text, err := readFile(string(f), maxKeys*maxKeyBytes)
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", string(f), err)
	}
	return keys, nil
}

// Keys implements KeyStore.
func (s StaticKeys) Keys(context.Context) ([]Key, error) { return s, nil }
