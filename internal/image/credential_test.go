// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"github.com/google/go-containerregistry/pkg/authn"
)

// asked is a resource of a registry.
type asked string

func (a asked) String() string      { return string(a) + "/app" }
func (a asked) RegistryStr() string { return string(a) }

func TestCredentialFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	basic := base64.StdEncoding.EncodeToString([]byte("ann:secret"))
	tests := []struct {
		name, text string
		host       asked
		want       authn.AuthConfig
		kind       dossier.Kind
	}{
		{"its own name", `{"auths":{"registry.example":{"auth":"` + basic + `"}}}`, "host.example", authn.AuthConfig{Username: "ann", Password: "secret"}, ""},
		{"the host", `{"auths":{"host.example":{"username":"ann","password":"secret"}}}`, "host.example", authn.AuthConfig{Username: "ann", Password: "secret"}, ""},
		{"the best name", `{"auths":{"host.example":{"username":"x","password":"x"},"registry.example":{"identitytoken":"secret"}}}`, "host.example", authn.AuthConfig{IdentityToken: "secret"}, ""},
		{"another host asks", `{"auths":{"registry.example":{"auth":"` + basic + `"},"evil.example":{"auth":"` + basic + `"}}}`, "evil.example", authn.AuthConfig{}, ""},
		{"no entry", `{"auths":{"other.example":{"auth":"` + basic + `"}}}`, "host.example", authn.AuthConfig{}, ""},
		{"other members", `{"credsStore":"secret","auths":{}}`, "host.example", authn.AuthConfig{}, ""},
		{"a malformed entry of another", `{"auths":{"other.example":7,"registry.example":{"auth":"` + basic + `"}}}`, "host.example", authn.AuthConfig{Username: "ann", Password: "secret"}, ""},
		{"a malformed entry", `{"auths":{"registry.example":{"auth":"secret"}}}`, "host.example", authn.AuthConfig{}, dossier.KindInvalid},
		{"no JSON", `secret`, "host.example", authn.AuthConfig{}, dossier.KindInvalid},
		{"too large", `{"auths":{}}` + strings.Repeat(" ", 1<<20), "host.example", authn.AuthConfig{}, dossier.KindLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			f := image.CredentialFile{Path: path, Host: "host.example", Names: []string{"registry.example", "host.example"}}
			auth, err := f.Resolve(tt.host)
			wantKind(t, err, tt.kind)
			if err != nil {
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("it tells a secret: %v", err)
				}
				return
			}
			got, err := auth.Authorization()
			if err != nil {
				t.Fatal(err)
			}
			got.Auth = "" // the same again
			if *got != tt.want {
				t.Errorf("%+v, want %+v", *got, tt.want)
			}
		})
	}
	_, err := image.CredentialFile{Path: path + "x"}.Check()
	wantKind(t, err, dossier.KindInvalid)
}

func FuzzCredentialFile(f *testing.F) {
	f.Add([]byte(`{"auths":{"registry.example":{"auth":"YW5uOnNlY3JldA=="}}}`))
	f.Add([]byte(`{"auths":{"registry.example":{"auth":"x"}}}`))
	path := filepath.Join(f.TempDir(), "config.json")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := image.CredentialFile{Path: path, Names: []string{"registry.example"}}.Check()
		if kind := dossier.KindOf(err); err != nil && kind != dossier.KindInvalid && kind != dossier.KindLimit {
			t.Error(err)
		}
	})
}
