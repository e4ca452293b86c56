// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package seal encrypts the private keys that a server keeps in its database, by keys that lie outside of it
// (docs/spec/config.md, sealKey).
//
// It promises: who has the database alone, or a copy of it, has none of the secrets; a sealed secret opens under the label
// that it was sealed for, and no other. It does not protect against who has the key file, or the server while it runs.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"dossier.dev/dossier"
)

// MaxFile is how many bytes a file of keys has at most.
const MaxFile = 16 << 10

const (
	keySize = 32
	nameLen = 8 // bytes of the name of a key
)

// magic is what a sealed secret begins with. Keys in DER or PEM begin otherwise.
var magic = []byte("dossier-sealed-1\n")

// Keys seal and open secrets: the first seals, all open. nil seals nothing, and opens what is not sealed.
type Keys []key

type key struct {
	name [nameLen]byte
	aead cipher.AEAD
}

const (
	op      = "reading keys that seal"
	example = "make one with: openssl rand -base64 32"
)

// Parse reads keys: one a line, 32 bytes in base64 or hexadecimal. Lines that are empty or begin with # are
// left out. KindInvalid; the error never holds what was read.
func Parse(text []byte) (Keys, error) {
	var keys Keys
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		raw, err := hex.DecodeString(line)
		if err != nil || len(raw) != keySize {
			raw, err = base64.StdEncoding.DecodeString(line)
		}
		if err != nil || len(raw) != keySize {
			return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: fmt.Sprintf("line %d", i+1), Err: errors.New("it is not 32 bytes in base64 or hexadecimal"), Hint: example}
		}
		k, err := newKey(raw)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: errors.New("there is no key"), Hint: example}
	}
	return keys, nil
}

func newKey(raw []byte) (k key, err error) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return k, &dossier.Error{Kind: dossier.KindInternal, Op: op, Err: err}
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return k, &dossier.Error{Kind: dossier.KindInternal, Op: op, Err: err}
	}
	sum := sha256.Sum256(append([]byte("name of a sealing key\n"), raw...))
	copy(k.name[:], sum[:])
	return k, nil
}

// Seal returns a secret as it is to be kept under a label.
func (keys Keys) Seal(label string, secret []byte) []byte {
	if len(keys) == 0 {
		return secret
	}
	k := keys[0]
	nonce := make([]byte, k.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	out := append(append(bytes.Clone(magic), k.name[:]...), nonce...)
	return k.aead.Seal(out, nonce, secret, []byte(label))
}

// Open is the inverse of Seal. What was never sealed is returned as it is.
// KindDenied: none of the keys has sealed it, or there is none. KindCorrupt: it was changed, or is another's.
func (keys Keys) Open(label string, kept []byte) ([]byte, error) {
	sealed, ok := bytes.CutPrefix(kept, magic)
	if !ok {
		return kept, nil
	}
	fail := func(kind dossier.Kind, why, hint string) ([]byte, error) {
		return nil, &dossier.Error{Kind: kind, Op: "opening sealed secret", Subject: label, Err: errors.New(why), Hint: hint}
	}
	if len(sealed) < nameLen {
		return fail(dossier.KindCorrupt, "it is cut short", "")
	}
	name, sealed := [nameLen]byte(sealed), sealed[nameLen:]
	if len(keys) == 0 {
		return fail(dossier.KindDenied, fmt.Sprintf("it is sealed by the key %x, and the configuration names no key file", name), "set sealKey in the server's configuration")
	}
	for _, k := range keys {
		if k.name != name {
			continue
		}
		if len(sealed) < k.aead.NonceSize() {
			return fail(dossier.KindCorrupt, "it is cut short", "")
		}
		secret, err := k.aead.Open(nil, sealed[:k.aead.NonceSize()], sealed[k.aead.NonceSize():], []byte(label))
		if err != nil {
			return fail(dossier.KindCorrupt, "it was changed, or was sealed for something else", "")
		}
		return secret, nil
	}
	return fail(dossier.KindDenied, fmt.Sprintf("it is sealed by the key %x, which is not in the key file", name), "add that key to the file that sealKey names, as a further line")
}

// Current reports whether a secret is kept as Seal would keep it now, so that it need not be sealed anew.
func (keys Keys) Current(kept []byte) bool {
	if len(keys) == 0 {
		return true
	}
	sealed, ok := bytes.CutPrefix(kept, magic)
	return ok && bytes.HasPrefix(sealed, keys[0].name[:])
}
