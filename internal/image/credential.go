// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"dossier.dev/dossier"
	"github.com/google/go-containerregistry/pkg/authn"
)

// CredentialFile is a keychain for one registry: a file in the form of Docker's
// configuration, of which the member "auths" counts and nothing else. It is
// read each time a credential is wanted, so it may change.
type CredentialFile struct {
	Path string
	Host string // the registry, as requests name it; nobody else gets anything
	// Names are the keys under which its entry may stand, the best first.
	Names []string
}

const maxCredentialFile = 1 << 20 // bytes

var _ authn.Keychain = CredentialFile{}

// Resolve implements authn.Keychain.
func (f CredentialFile) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if r.RegistryStr() != f.Host {
		return authn.Anonymous, nil
	}
	config, err := f.read()
	if err != nil || config == (authn.AuthConfig{}) {
		return authn.Anonymous, err
	}
	return authn.FromConfig(config), nil
}

// Check reports whether the file can be read, and whether it has an entry for
// the registry. KindInvalid, KindLimit; no error shows what it holds.
func (f CredentialFile) Check() (has bool, err error) {
	config, err := f.read()
	return config != (authn.AuthConfig{}), err
}

func (f CredentialFile) read() (authn.AuthConfig, error) {
	const op = "reading credentials"
	fail := func(err error) (authn.AuthConfig, error) {
		return authn.AuthConfig{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: f.Path, Err: err,
			Hint: `Write {"auths": {"REGISTRY": {"auth": BASE64 OF USER:PASSWORD}}}, as docker login does.`}
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return fail(err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxCredentialFile+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return fail(err)
	}
	if len(text) > maxCredentialFile {
		return authn.AuthConfig{}, limitError(op, f.Path, "maxCredentialFile", maxCredentialFile, "it has more bytes")
	}
	var content struct {
		Auths map[string]json.RawMessage `json:"auths"`
	}
	if json.Unmarshal(text, &content) != nil {
		return fail(errors.New("it is not the JSON that was expected")) // what is wrong may be a secret
	}
	for _, name := range f.Names {
		entry, ok := content.Auths[name]
		if !ok {
			continue
		}
		var config authn.AuthConfig
		if json.Unmarshal(entry, &config) != nil {
			return fail(fmt.Errorf("its entry %s is malformed", quote(name)))
		}
		return config, nil
	}
	return authn.AuthConfig{}, nil
}

// NoCredentials is a keychain that has none.
type NoCredentials struct{}

// Resolve implements authn.Keychain.
func (NoCredentials) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.Anonymous, nil
}
