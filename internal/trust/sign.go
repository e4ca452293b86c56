// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"dossier.dev/dossier"
)

// BundleType is the media type of the bundles that are made.
const BundleType = mediaTypeBundle + ".v0.3+json"

// PrivateKey signs.
type PrivateKey struct {
	signer crypto.Signer
	Public Key
}

// The kinds of PEM that private keys come in. Encrypted ones are as cosign writes them:
// scrypt and NaCl's secretbox around PKCS #8.
const (
	pemEncrypted    = "ENCRYPTED SIGSTORE PRIVATE KEY"
	pemEncryptedOld = "ENCRYPTED COSIGN PRIVATE KEY"
	pemPublic       = "PUBLIC KEY"
)

// GenerateKey makes a key for ECDSA on P-256, as two PEM files: the private one encrypted
// with a password, the public one.
func GenerateKey(password []byte) (private, public []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	sealed, err := encrypted.Encrypt(der, password)
	if err != nil {
		return nil, nil, err
	}
	pub, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemEncrypted, Bytes: sealed}), pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: pub}), nil
}

// ParsePrivateKey reads a private key: encrypted as cosign does, or plain PKCS #8.
// KindDenied: the password is wrong. KindInvalid, KindUnsupported.
func ParsePrivateKey(b, password []byte) (*PrivateKey, error) {
	const op = "reading private key"
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: noPEM(b), Hint: "give the private key that dossier keygen or cosign generate-key-pair wrote"}
	}
	der := block.Bytes
	switch block.Type {
	case pemEncrypted, pemEncryptedOld:
		var err error
		if der, err = encrypted.Decrypt(block.Bytes, password); err != nil {
			return nil, &dossier.Error{Kind: dossier.KindDenied, Op: op, Err: errors.New("the password is wrong, or the file is damaged"), Hint: "set COSIGN_PASSWORD, or type the password"}
		}
	case "PRIVATE KEY":
	default:
		return nil, &dossier.Error{Kind: dossier.KindUnsupported, Op: op, Err: fmt.Errorf("it is a PEM %q", block.Type)}
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err}
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return nil, dossier.Errorf(dossier.KindUnsupported, op, "", "it does not sign")
	}
	public, err := NewKey(signer.Public())
	return &PrivateKey{signer, public}, err
}

// sign signs a message, over the usual hash of the key.
func (k *PrivateKey) sign(message []byte) ([]byte, error) {
	if _, ok := k.signer.(ed25519.PrivateKey); ok {
		return k.signer.Sign(rand.Reader, message, crypto.Hash(0))
	}
	h := hashesOf(k.Public.Public)[0]
	return k.signer.Sign(rand.Reader, sum(h, message), h)
}

// ImageStatement is what signs an image: a statement about its digest that says no more.
func ImageStatement(d dossier.Digest) []byte { return Statement(d, predicateCosignSign, []byte("{}")) }

// Statement is an in-toto statement v1 about an image. predicate is JSON.
func Statement(d dossier.Digest, predicateType string, predicate []byte) []byte {
	type subject struct {
		Name   string            `json:"name,omitempty"`
		Digest map[string]string `json:"digest"`
	}
	b, _ := json.Marshal(struct { // strings and JSON that was read: cannot fail
		Type          string          `json:"_type"`
		Subject       []subject       `json:"subject"`
		PredicateType string          `json:"predicateType"`
		Predicate     json.RawMessage `json:"predicate"`
	}{statementV1, []subject{{Digest: map[string]string{d.Algorithm(): d.Hex()}}}, predicateType, predicate})
	return b
}

// material names the key in a bundle, by the hash of it as cosign does.
func (k *PrivateKey) material() (map[string]any, error) {
	der, err := x509.MarshalPKIXPublicKey(k.Public.Public)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(der)
	return map[string]any{"publicKey": map[string]string{"hint": base64.StdEncoding.EncodeToString(hash[:])}}, nil
}

// SignStatement makes a bundle v0.3 of a statement.
func (k *PrivateKey) SignStatement(statement []byte) ([]byte, error) {
	e := envelope{payloadType: payloadInToto, payload: statement}
	sig, err := k.sign(e.pae())
	if err != nil {
		return nil, err
	}
	m, err := k.material()
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"mediaType": BundleType, "verificationMaterial": m,
		"dsseEnvelope": map[string]any{"payload": statement, "payloadType": payloadInToto, "signatures": []any{map[string]any{"sig": sig}}},
	})
}

// SignArtifact makes a bundle v0.3 over the bytes of an artifact.
func (k *PrivateKey) SignArtifact(r io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxContent+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxContent {
		return nil, dossier.Errorf(dossier.KindLimit, "signing artifact", "", fmt.Sprintf("it has more than %d bytes", maxContent))
	}
	sig, err := k.sign(content)
	if err != nil {
		return nil, err
	}
	m, err := k.material()
	if err != nil {
		return nil, err
	}
	h, name := hashesOf(k.Public.Public)[0], "SHA2_256"
	switch h {
	case crypto.SHA384:
		name = "SHA2_384"
	case crypto.SHA512:
		name = "SHA2_512"
	}
	return json.Marshal(map[string]any{
		"mediaType": BundleType, "verificationMaterial": m,
		"messageSignature": map[string]any{"messageDigest": map[string]any{"algorithm": name, "digest": sum(h, content)}, "signature": sig},
	})
}

// Predicate finds out the type of a predicate by the words that its kind is known by, or
// takes what is a URI already. KindInvalid.
func Predicate(word string) (string, error) {
	known := map[string]string{
		"slsaprovenance02": "https://slsa.dev/provenance/v0.2", "slsaprovenance1": "https://slsa.dev/provenance/v1", "slsaprovenance": "https://slsa.dev/provenance/v1",
		"spdxjson": "https://spdx.dev/Document", "spdx": "https://spdx.dev/Document", "cyclonedx": "https://cyclonedx.org/bom",
		"vuln": "https://cosign.sigstore.dev/attestation/vuln/v1", "openvex": "https://openvex.dev/ns", "vsa": "https://slsa.dev/verification_summary/v1",
	}
	if uri := known[word]; uri != "" {
		return uri, nil
	}
	if bytes.Contains([]byte(word), []byte("://")) {
		return word, nil
	}
	return "", &dossier.Error{Kind: dossier.KindInvalid, Op: "reading type of statement", Subject: word, Err: errors.New("it is no URI"),
		Hint: "give a URI, or one of slsaprovenance1, slsaprovenance02, spdx, cyclonedx, vuln, openvex, vsa"}
}
