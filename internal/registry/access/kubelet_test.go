// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

func credentialRequestFor(image, token string) []byte {
	text, _ := json.Marshal(map[string]any{
		"kind": credentialRequest, "apiVersion": credentialVersion, "image": image, "serviceAccountToken": token,
		"serviceAccountAnnotations": map[string]string{"example.org/a": "b"},
	})
	return text
}

func TestProvideCredential(t *testing.T) {
	c := newClock()
	f := newFakeCluster(t, c)
	token := f.sign(t, podClaims(c.now(), "ns", "sa", audience)) // good for ten minutes
	config := CredentialConfig{Registries: []string{"registry.example:5000", "docker.io"}, Cache: 5 * time.Minute, Now: c.now()}
	with := func(change func(*CredentialConfig)) CredentialConfig {
		changed := config
		change(&changed)
		return changed
	}
	tests := []struct {
		name, image, token string
		config             CredentialConfig
		registry, cache    string // of the answer
	}{
		{"by tag", "registry.example:5000/a/b:1", token, config, "registry.example:5000", "5m0s"},
		{"by digest", "registry.example:5000/a/b@" + string(dossier.FromBytes(nil)), token, config, "registry.example:5000", "5m0s"},
		{"short name", "nginx", token, config, "docker.io", "5m0s"},
		{"other port", "registry.example/a/b", token, config, "", "0s"},
		{"other registry", "attacker.example/registry.example:5000", token, config, "", "0s"},
		{"registry as prefix", "registry.example.attacker.example:5000/a", token, config, "", "0s"},
		{"never beyond the token", "registry.example:5000/a", token, with(func(c *CredentialConfig) { c.Cache = time.Hour }), "registry.example:5000", "9m0s"},
		{"token almost at its end", "registry.example:5000/a", token, with(func(c *CredentialConfig) { c.Now = c.Now.Add(9*time.Minute + 30*time.Second) }), "registry.example:5000", "0s"},
		{"no cache", "registry.example:5000/a", token, with(func(c *CredentialConfig) { c.Cache = 0 }), "registry.example:5000", "0s"},
		{"opaque token", "registry.example:5000/a", "opaque", config, "registry.example:5000", "0s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text, err := ProvideCredential(credentialRequestFor(test.image, test.token), test.config)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"kind": credentialResponse, "apiVersion": credentialVersion, "cacheKeyType": "Registry", "cacheDuration": test.cache}
			if test.registry != "" {
				want["auth"] = map[string]any{test.registry: map[string]any{"username": ServiceAccountUser, "password": test.token}}
			}
			var got map[string]any
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProvideCredentialRefuses(t *testing.T) {
	config := CredentialConfig{Registries: []string{"registry.example"}}
	good := string(credentialRequestFor("registry.example/a", "secret"))
	for name, test := range map[string]struct {
		text string
		want dossier.Kind
	}{
		"not JSON":        {"x", dossier.KindInvalid},
		"empty":           {"", dossier.KindInvalid},
		"other version":   {strings.Replace(good, "/v1", "/v1beta1", 1), dossier.KindUnsupported},
		"other kind":      {strings.Replace(good, credentialRequest, credentialResponse, 1), dossier.KindUnsupported},
		"bad image":       {string(credentialRequestFor("UPPER", "secret")), dossier.KindInvalid},
		"no token":        {string(credentialRequestFor("registry.example/a", "")), dossier.KindDenied},
		"lines in token":  {string(credentialRequestFor("registry.example/a", "secret\r\nX: y")), dossier.KindInvalid},
		"too large":       {good + strings.Repeat(" ", MaxCredentialRequest), dossier.KindLimit},
		"too large token": {string(credentialRequestFor("registry.example/a", "secret"+strings.Repeat("x", maxTokenBytes))), dossier.KindInvalid},
	} {
		_, err := ProvideCredential([]byte(test.text), config)
		if dossier.KindOf(err) != test.want || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
}

func FuzzProvideCredential(f *testing.F) {
	f.Add(credentialRequestFor("registry.example/a", "t"))
	f.Add(credentialRequestFor("other.example/a", "t"))
	f.Add([]byte(`{"kind":"CredentialProviderRequest"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := ProvideCredential(text, CredentialConfig{Registries: []string{"registry.example"}, Cache: time.Minute, Now: newClock().now()})
		if err != nil {
			return
		}
		var answer credentialAnswer
		if err := json.Unmarshal(out, &answer); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		for registry := range answer.Auth {
			if registry != "registry.example" {
				t.Errorf("%q: a token for %s", text, registry)
			}
		}
	})
}
