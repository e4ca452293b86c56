// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/testimage"
)

// TestAttach pushes documents about an image, and finds them: with a token for pushing,
// in a registry that lists referrers and in one that does not, twice without harm.
func TestAttach(t *testing.T) {
	unlisted := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/referrers/") {
				http.NotFound(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	for name, opts := range map[string]testimage.RegistryOptions{
		"token": {Auth: testimage.AuthBearer, User: "ann", Password: "secret"}, "basic": {Auth: testimage.AuthBasic, User: "ann", Password: "secret"}, "no list": {Intercept: unlisted},
	} {
		t.Run(name, func(t *testing.T) {
			r := testimage.NewRegistry(t, opts)
			built := testimage.MustPush(t, r, "team/app", "1", app("linux/amd64"))
			c := newClient(t)
			c.Keychain = account{r.Host, authn.AuthConfig{Username: opts.User, Password: opts.Password}}
			subject := image.Descriptor{MediaType: built.Root.MediaType, Digest: built.Digest(), Size: built.Root.Size}
			var want []dossier.Digest
			for _, document := range []string{"one", "two", "one"} {
				d, err := repositoryOf(t, c, r.Host, "team/app").Attach(t.Context(), image.Attachment{Subject: subject, Type: "application/vnd.example+json", Document: []byte(document)})
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, d)
			}
			list, err := repositoryOf(t, c, r.Host, "team/app").Referrers(t.Context(), subject.Digest)
			if err != nil || len(list) != 2 || want[0] != want[2] {
				t.Fatalf("%v, %v; attached %v", list, err, want)
			}
			for _, l := range list {
				if l.Digest != want[0] && l.Digest != want[1] {
					t.Errorf("%+v is listed", l)
				}
			}
		})
	}
}

// TestAttachRealms: who pushes sends credentials to no other token service than who pulls.
func TestAttachRealms(t *testing.T) {
	evil := newAttacker(t)
	const public = "tokens.example.com"
	registry := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+public+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		})
	}})
	c := newClient(t)
	c.Keychain, c.Realms = account{registry.Host, authn.AuthConfig{Username: "ann", Password: "secret"}}, []string{}
	c.PlainHTTP = []string{public}
	c.Dial = dialInstead(map[string]string{public + ":80": strings.TrimPrefix(evil.URL, "http://")})
	_, err := repositoryOf(t, c, registry.Host, "team/app").Attach(t.Context(), image.Attachment{Subject: image.Descriptor{Digest: dossier.FromBytes(nil)}, Type: "a/b", Document: []byte("x")})
	wantKind(t, err, dossier.KindDenied)
	if got := evil.requests(); len(got) > 0 {
		t.Errorf("the other host was sent %q", got)
	}
}

// TestUploadElsewhere: a registry may send the bytes elsewhere, and no credentials with
// them.
func TestUploadElsewhere(t *testing.T) {
	evil := newAttacker(t)
	const public = "storage.example.com"
	registry := testimage.NewRegistry(t, testimage.RegistryOptions{Auth: testimage.AuthBasic, User: "ann", Password: "secret", Intercept: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.Header().Set("Location", "http://"+public+"/upload?state=1")
				w.WriteHeader(http.StatusAccepted)
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	c := newClient(t)
	c.Keychain = account{registry.Host, authn.AuthConfig{Username: "ann", Password: "secret"}}
	c.PlainHTTP = []string{public}
	c.Dial = dialInstead(map[string]string{public + ":80": strings.TrimPrefix(evil.URL, "http://")})
	_, _ = repositoryOf(t, c, registry.Host, "team/app").Attach(t.Context(), image.Attachment{Subject: image.Descriptor{Digest: dossier.FromBytes(nil)}, Type: "a/b", Document: []byte("x")})
	got := strings.Join(evil.requests(), "\n")
	if !strings.Contains(got, "PUT /upload?digest=") || strings.Contains(got, "Basic") {
		t.Errorf("the other host was sent %q", got)
	}
}
