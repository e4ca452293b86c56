// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/durable"
)

// maxKeyFile is how much of a key file is read.
const maxKeyFile = 4 << 10 // bytes

// OpenKey reads the key of a log from a file, which holds it on one line in the form of
// signed notes (PRIVATE+KEY+NAME+HASH+KEY, golang.org/x/mod/sumdb/note), and returns its
// signer and its verifier key. When there is no such file it makes a key with a name
// of its own, readable by nobody else. KindInvalid: the file holds no key.
// KindStorage: it cannot be read or made.
func OpenKey(path string) (note.Signer, string, error) {
	b, err := readKey(path, "log")
	if err != nil {
		return nil, "", err
	}
	signer, key, err := parseKey(b)
	if err != nil {
		return nil, "", keyError(path, err)
	}
	return signer, key, nil
}

const opKey = "reading the key of the log"

func keyError(path string, err error) error {
	return &dossier.Error{Kind: dossier.KindInvalid, Op: opKey, Subject: path, Err: err,
		Hint: "the file holds one line PRIVATE+KEY+NAME+HASH+KEY; without the file, a new key is made"}
}

// readKey reads the file of a key, which it makes when there is none. What the key is for becomes a
// part of its name.
func readKey(path, use string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if b, err = makeKey(path, use); errors.Is(err, fs.ErrExist) { // another process was quicker
			b, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindStorage, Op: opKey, Err: err, Hint: "make the directory writable, or give a key with --log-key"}
	}
	return b, nil
}

// parseKey reads a private key and computes the verifier key from it. Its errors
// hold nothing of the key.
func parseKey(b []byte) (note.Signer, string, error) {
	name, private, err := secretOf(b)
	if err != nil {
		return nil, "", err
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, "", errors.New("it is no private key of signed notes")
	}
	key, err := note.NewEd25519VerifierKey(name, private.Public().(ed25519.PublicKey))
	return signer, key, err
}

// secretOf reads a private key and its name. Its errors hold nothing of the key.
func secretOf(b []byte) (string, ed25519.PrivateKey, error) {
	if len(b) > maxKeyFile {
		return "", nil, errors.New("it is too large")
	}
	secret := strings.TrimSpace(string(b))
	signer, err := note.NewSigner(secret)
	if err != nil {
		return "", nil, errors.New("it is no private key of signed notes")
	}
	_, encoded, _ := strings.Cut(strings.TrimPrefix(secret, "PRIVATE+KEY+"+signer.Name()+"+"), "+")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return "", nil, errors.New("it is no Ed25519 key")
	}
	return signer.Name(), ed25519.NewKeyFromSeed(raw[1:]), nil
}

// makeKey makes a key and returns what the file holds then. It is there whole or
// not at all. fs.ErrExist: it is there already.
func makeKey(path, use string) ([]byte, error) {
	dir := filepath.Dir(path)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	secret, _, err := note.GenerateKey(rand.Reader, "dossier.dev/"+use+"/"+strings.ToLower(rand.Text()))
	if err != nil {
		return nil, err
	}
	content := fmt.Appendln(nil, secret)
	f, err := os.CreateTemp(dir, ".log-key-*") // mode 0600
	if err != nil {
		return nil, err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Link(f.Name(), path) // does not replace one that is there
	}
	err = errors.Join(err, os.Remove(f.Name()))
	if err == nil {
		err = durable.Sync(dir)
	}
	return content, err
}
