// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"time"

	"dossier.dev/dossier"
)

// Key is a public key that may sign.
type Key struct {
	Public crypto.PublicKey // *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey
	// ID is "sha256:" and the hash of its PKIX form: what it is counted by, whatever it
	// is called.
	ID string
	// From and Until bound when it may have signed. A time of signing is then needed.
	// Zero: unbounded. Both ends belong to it.
	From, Until time.Time
}

// minRSA is the smallest RSA key that is trusted, in bits.
const minRSA = 2048

// ParseKey reads a PEM public key, or a certificate, of which the key is taken.
// KindInvalid, KindUnsupported: it is of another kind, or too weak.
func ParseKey(b []byte) (Key, error) {
	const op = "reading public key"
	block, _ := pem.Decode(b)
	if block == nil {
		return Key{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: noPEM(b),
			Hint: "give the public key that dossier keygen or cosign generate-key-pair wrote beside the private one, or a certificate"}
	}
	var public any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = c.PublicKey
		}
	default:
		return Key{}, &dossier.Error{Kind: dossier.KindUnsupported, Op: op, Err: fmt.Errorf("it is a PEM %q", block.Type), Hint: "give the public key: PUBLIC KEY"}
	}
	if err != nil {
		return Key{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err}
	}
	return NewKey(public)
}

// noPEM says what a file is that holds no PEM.
func noPEM(b []byte) error {
	if len(b) == 0 {
		return errors.New("the file is empty")
	}
	return fmt.Errorf("it is no PEM: none of its %d bytes begin a block (-----BEGIN)", len(b))
}

// NewKey returns a key. KindUnsupported: it is of another kind, or too weak.
func NewKey(public crypto.PublicKey) (Key, error) {
	if err := strong(public); err != nil {
		return Key{}, &dossier.Error{Kind: dossier.KindUnsupported, Op: "reading public key", Err: err}
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading public key", Err: err}
	}
	return Key{Public: public, ID: fmt.Sprintf("sha256:%x", sha256.Sum256(der))}, nil
}

// strong refuses keys that are of another kind or too weak.
func strong(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == nil || k.Curve.Params().BitSize < 256 {
			return errors.New("its curve is smaller than P-256")
		}
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return fmt.Errorf("an RSA key of %d bits is too weak, at least %d are needed", k.N.BitLen(), minRSA)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("a key of type %T is not supported: ECDSA, RSA or Ed25519 is", public)
	}
	return nil
}

// Identity is who a certificate must name.
type Identity struct {
	issuer, subject *regexp.Regexp
	text            string
	exact           bool // it names one, and no pattern
}

// NewIdentity takes the issuer and the subject of certificates, each exactly or as a
// regular expression, which must match the whole. KindInvalid: one is missing, or is
// no expression.
func NewIdentity(issuer, issuerPattern, subject, subjectPattern string) (*Identity, error) {
	id := &Identity{exact: issuer != "" && subject != ""}
	for _, part := range []struct {
		name, exact, pattern string
		to                   **regexp.Regexp
	}{{"issuer", issuer, issuerPattern, &id.issuer}, {"identity", subject, subjectPattern, &id.subject}} {
		text := part.pattern
		switch {
		case part.exact != "" && part.pattern != "":
			return nil, dossier.Errorf(dossier.KindInvalid, "reading identity", "", "the "+part.name+" is given twice, exactly and as a pattern")
		case part.exact != "":
			text = regexp.QuoteMeta(part.exact)
		case part.pattern == "":
			return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading identity", Err: errors.New("the " + part.name + " is missing"),
				Hint: "name both who signed and who vouches for them"}
		}
		re, err := regexp.Compile(`\A(?:` + text + `)\z`)
		if err != nil {
			return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading identity", Subject: part.name, Err: err}
		}
		*part.to = re
		id.text += part.name + " " + firstOf(part.exact, part.pattern) + " "
	}
	return id, nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// ParseSigner reads somebody who signs by a key: a public key, a certificate, or OpenPGP
// keys. Errors are those of ParseKey and ParseKeyring.
func ParseSigner(name string, b []byte) (Signer, error) {
	if isKeyring(b) {
		ring, err := ParseKeyring(b)
		return Signer{Name: name, Keyring: ring}, err
	}
	key, err := ParseKey(b)
	return Signer{Name: name, Key: &key}, err
}

// Signer is somebody who may sign: by a key, by an identity, or by OpenPGP keys.
type Signer struct {
	Name     string
	Key      *Key
	Identity *Identity
	Keyring  *Keyring // OpenPGP
	Notary   *Notary  // certificates, as the Notary Project has them
	// Revoked is why nothing counts that it signed, whenever that was; empty: it counts.
	Revoked string
	// FirstUse takes of all whom it speaks of only the one that is pinned for the repository,
	// or that comes first.
	FirstUse bool
	// Builders are the builders that provenance by this signer may name, as patterns of
	// the whole builder ID; none: any, since none is relied on.
	Builders []*regexp.Regexp
}
