// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notary1

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// minRSA is how many bits an RSA key has at least, as Notary has it.
const minRSA = 2048

// key is a key as metadata holds it.
type key struct {
	Type  string `json:"keytype"`
	Value struct {
		Public []byte `json:"public"`
	} `json:"keyval"`
}

// id returns the ID of a key: the SHA-256 digest of its canonical form, in which the private half is null.
func (k key) id() string {
	b := append([]byte(`{"keytype":`), appendString(nil, k.Type)...)
	b = append(b, `,"keyval":{"private":null,"public":"`...)
	b = base64.StdEncoding.AppendEncode(b, k.Value.Public)
	sum := sha256.Sum256(append(b, `"}}`...))
	return hex.EncodeToString(sum[:])
}

// certificate returns the certificate of a key that is one; nil: it is none.
func (k key) certificate() (*x509.Certificate, error) {
	if k.Type != "ecdsa-x509" && k.Type != "rsa-x509" {
		return nil, nil
	}
	block, _ := pem.Decode(k.Value.Public)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("its certificate is no PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// public returns the public key, and a name that it has in whatever form it comes.
func (k key) public() (crypto.PublicKey, string, error) {
	var public crypto.PublicKey
	cert, err := k.certificate()
	switch {
	case err != nil:
		return nil, "", err
	case cert != nil:
		public = cert.PublicKey
	case k.Type == "ed25519":
		if len(k.Value.Public) != ed25519.PublicKeySize {
			return nil, "", errors.New("an Ed25519 key has 32 bytes")
		}
		public = ed25519.PublicKey(k.Value.Public)
	case k.Type == "ecdsa" || k.Type == "rsa":
		if public, err = x509.ParsePKIXPublicKey(k.Value.Public); err != nil {
			return nil, "", err
		}
	default:
		return nil, "", fmt.Errorf("keys of type %.40q are not known", k.Type)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(der)
	return public, hex.EncodeToString(sum[:]), nil
}

// verify verifies a signature by the method that it names.
func verify(public crypto.PublicKey, method string, message, sig []byte) error {
	sum := sha256.Sum256(message)
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		size := (k.Curve.Params().BitSize + 7) / 8
		if method != "ecdsa" || len(sig) != 2*size {
			return errors.New("it is no ECDSA signature of that curve")
		}
		if ecdsa.Verify(k, sum[:], new(big.Int).SetBytes(sig[:size]), new(big.Int).SetBytes(sig[size:])) {
			return nil
		}
	case ed25519.PublicKey:
		if method == "eddsa" && ed25519.Verify(k, message, sig) {
			return nil
		}
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return fmt.Errorf("the RSA key has %d bits, it needs %d", k.N.BitLen(), minRSA)
		}
		switch method {
		case "rsapss":
			return rsa.VerifyPSS(k, crypto.SHA256, sum[:], sig, &rsa.PSSOptions{SaltLength: sha256.Size, Hash: crypto.SHA256})
		case "rsapkcs1v15":
			return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], sig)
		}
	}
	return fmt.Errorf("the signature, by the method %.40q, does not verify", method)
}
