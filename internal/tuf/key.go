// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// MaxKey is how many bytes a file with a key has at most.
const MaxKey = 64 << 10

// minRSA is how many bits an RSA key has at least.
const minRSA = 2048

// Signer signs metadata with one key.
type Signer struct {
	ID  string // of the key, TUF specification 4.2
	Key *metadata.Key
	signature.Signer
}

// NewSigner returns a Signer. KindUnsupported: the key is not Ed25519, ECDSA on P-256,
// or RSA of 2048 bits or more.
func NewSigner(private crypto.PrivateKey) (Signer, error) {
	const op = "reading key"
	s, ok := private.(crypto.Signer)
	if !ok {
		return Signer{}, dossier.Errorf(dossier.KindUnsupported, op, "", fmt.Sprintf("a %T does not sign", private))
	}
	key, id, err := newKey(s.Public())
	if err != nil {
		return Signer{}, err
	}
	signer := Signer{ID: id, Key: key}
	if rsaKey, ok := private.(*rsa.PrivateKey); ok { // as TUF has RSA, specification 4.2
		signer.Signer, err = signature.LoadRSAPSSSigner(rsaKey, crypto.SHA256, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: rsa.PSSSaltLengthEqualsHash})
	} else {
		signer.Signer, err = signature.LoadSigner(private, crypto.SHA256)
	}
	if err != nil {
		return Signer{}, &dossier.Error{Kind: dossier.KindUnsupported, Op: op, Err: err}
	}
	return signer, nil
}

// newKey returns a public key as metadata holds it, and its ID.
func newKey(public crypto.PublicKey) (*metadata.Key, string, error) {
	const op = "reading key"
	bad := ""
	switch k := public.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			bad = "the curve is " + k.Curve.Params().Name + "; only P-256 will do"
		}
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			bad = fmt.Sprintf("it has %d bits; RSA needs %d", k.N.BitLen(), minRSA)
		}
	default:
		bad = fmt.Sprintf("it is a %T; use Ed25519, ECDSA on P-256, or RSA", public)
	}
	if bad != "" {
		return nil, "", dossier.Errorf(dossier.KindUnsupported, op, "", bad)
	}
	key, err := metadata.KeyFromPublicKey(public)
	if err == nil {
		var id string
		if id, err = key.ID(); err == nil {
			return key, id, nil
		}
	}
	return nil, "", &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err}
}

// ParsePrivateKey reads a private key in PEM: PKCS #8, plain or encrypted, or as cosign
// encrypts it. password is asked when it is encrypted. KindInvalid, KindDenied: the
// password is wrong.
func ParsePrivateKey(text []byte, password func() ([]byte, error)) (Signer, error) {
	const op = "reading private key"
	block, _ := pem.Decode(text)
	if block == nil || len(text) > MaxKey {
		return Signer{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: errors.New("it is no PEM file"), Hint: "dossier keygen makes one"}
	}
	kind := dossier.KindInvalid
	if strings.Contains(block.Type, "ENCRYPTED") {
		kind = dossier.KindDenied
	}
	var asked error
	private, err := cryptoutils.UnmarshalPEMToPrivateKey(text, func(bool) ([]byte, error) {
		var word []byte
		word, asked = password()
		return word, asked
	})
	switch {
	case asked != nil:
		return Signer{}, asked
	case err != nil:
		return Signer{}, &dossier.Error{Kind: kind, Op: op, Err: err, Hint: "check the password, and that the file holds a private key"}
	}
	return NewSigner(private)
}

// ParsePublicKey reads a public key in PEM (PKIX), and returns it as metadata holds it, with its
// ID. KindInvalid, KindUnsupported.
func ParsePublicKey(text []byte) (*metadata.Key, string, error) {
	const op = "reading public key"
	block, _ := pem.Decode(text)
	if block == nil || len(text) > MaxKey {
		return nil, "", dossier.Errorf(dossier.KindInvalid, op, "", "it is no PEM file")
	}
	if block.Type != "PUBLIC KEY" {
		return nil, "", &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: fmt.Errorf("it holds a %.40s", block.Type),
			Hint: "give the public key, such as KEY.pub; the private one stays with its owner"}
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, "", &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err}
	}
	return newKey(public)
}

// newOnlineKey makes an Ed25519 key for the server, kept as PKCS #8 in DER.
func newOnlineKey(at time.Time) (Signer, store.SigningKey, error) {
	const op = "making online key"
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Signer{}, store.SigningKey{}, &dossier.Error{Kind: dossier.KindInternal, Op: op, Err: err}
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return Signer{}, store.SigningKey{}, &dossier.Error{Kind: dossier.KindInternal, Op: op, Err: err}
	}
	s, err := NewSigner(private)
	return s, store.SigningKey{ID: s.ID, CreatedAt: dossier.Instant(at), Secret: secret}, err
}

// openOnlineKey is the inverse of newOnlineKey.
func openOnlineKey(k store.SigningKey) (Signer, error) {
	private, err := x509.ParsePKCS8PrivateKey(k.Secret)
	if err != nil {
		return Signer{}, &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading online key", Subject: k.ID, Err: errors.New("it is no PKCS #8 key")}
	}
	return NewSigner(private)
}

// PublicPEM returns a key of metadata in PEM (PKIX).
func PublicPEM(k *metadata.Key) ([]byte, error) {
	public, err := k.ToPublicKey()
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "writing public key", Err: err}
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "writing public key", Err: err}
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
