// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/testimage"
	"github.com/google/go-containerregistry/pkg/authn"
)

// login is a keychain that knows one account, for one registry.
type login struct{ host, user, password string }

func (l login) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if r.RegistryStr() != l.host {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(authn.AuthConfig{Username: l.user, Password: l.password}), nil
}

func TestResolveAsksByHead(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	built := testimage.MustPush(t, r, "app", "1", app("linux/amd64"))
	testimage.MustPush(t, r, "app", "latest", app("linux/amd64"))
	c := newClient(t)
	for _, ref := range []string{"/app:1", "/app", "/app@" + string(built.Digest()), "/app:9@" + string(built.Digest())} {
		d, err := c.Resolve(t.Context(), r.Host+ref)
		if err != nil {
			t.Fatal(err)
		}
		if d.Digest != built.Digest() {
			t.Errorf("%s: got %s, want %s", ref, d.Digest, built.Digest())
		}
	}
	if heads, gets := r.Count(http.MethodHead, "/manifests/"), r.Count(http.MethodGet, "/manifests/"); heads != 2 || gets != 0 {
		t.Errorf("%d HEAD and %d GET requests, want 2 and 0", heads, gets)
	}
	_, err := c.Resolve(t.Context(), r.Host+"/app:2")
	wantKind(t, err, dossier.KindNotFound, r.Host+"/app:2")
	if dossier.HintOf(err) == "" {
		t.Error("no hint")
	}
}

func TestResolveWithoutDigestHeader(t *testing.T) {
	tests := map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler){
		"no header": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodHead {
				return
			}
			next.ServeHTTP(w, r)
		},
		"malformed header": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodHead {
				w.Header().Set("Docker-Content-Digest", "sha256:nonsense")
				return
			}
			next.ServeHTTP(w, r)
		},
		"no HEAD": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			next.ServeHTTP(w, r)
		},
	}
	for name, serve := range tests {
		t.Run(name, func(t *testing.T) {
			r := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(w, r, next) })
			}})
			built := testimage.MustPush(t, r, "app", "1", app("linux/amd64"))
			d, err := newClient(t).Resolve(t.Context(), r.Host+"/app:1")
			if err != nil {
				t.Fatal(err)
			}
			if d.Digest != built.Digest() || d.MediaType != built.Root.MediaType || d.Size != built.Root.Size {
				t.Errorf("got %+v, want %+v", d, built.Root)
			}
		})
	}
}

func TestAuthentication(t *testing.T) {
	for _, auth := range []testimage.Auth{testimage.AuthBasic, testimage.AuthBearer} {
		t.Run(string(auth), func(t *testing.T) {
			r := testimage.NewRegistry(t, testimage.RegistryOptions{Auth: auth, User: "ann", Password: "secret"})
			testimage.MustPush(t, r, "team/app", "1", testimage.Of(app("linux/amd64"), app("linux/arm64")))
			for _, test := range []struct {
				name     string
				password string
				kind     dossier.Kind
			}{{"right", "secret", ""}, {"wrong", "guess", dossier.KindDenied}} {
				c := newClient(t)
				c.Keychain = login{r.Host, "ann", test.password}
				_, err := c.Read(t.Context(), r.Host+"/team/app:1", image.ReadOptions{})
				wantKind(t, err, test.kind)
				if err != nil {
					if strings.Contains(err.Error(), test.password) {
						t.Errorf("%s: the error tells the password: %v", test.name, err)
					}
					if want := "docker login " + r.Host; !strings.Contains(dossier.HintOf(err), want) {
						t.Errorf("hint %q does not say %q", dossier.HintOf(err), want)
					}
				}
			}
			_, err := newClient(t).Read(t.Context(), r.Host+"/team/app:1", image.ReadOptions{})
			wantKind(t, err, dossier.KindDenied)
		})
	}
}

func TestDockerConfiguration(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{Auth: testimage.AuthBasic, User: "ann", Password: "secret"})
	testimage.MustPush(t, r, "app", "1", app("linux/amd64"))
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	helper := "#!/bin/sh\necho '{\"ServerURL\":\"x\",\"Username\":\"ann\",\"Secret\":\"secret\"}'\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-fake"), []byte(helper), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]string{
		"auths":  fmt.Sprintf(`{"auths":{%q:{"auth":"YW5uOnNlY3JldA=="}}}`, r.Host),
		"helper": fmt.Sprintf(`{"credHelpers":{%q:"fake"}}`, r.Host),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := new(image.Client).Resolve(t.Context(), r.Host+"/app:1"); err != nil {
				t.Error(err)
			}
		})
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := new(image.Client).Resolve(t.Context(), r.Host+"/app:1")
	wantKind(t, err, dossier.KindDenied, "credentials")
}

// TestTokensAreKept: one ping for a registry, one token for a repository,
// however many images are read at a time.
func TestTokensAreKept(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{Auth: testimage.AuthBearer})
	for i := range 10 {
		testimage.MustPush(t, r, fmt.Sprintf("app%d", i%2), fmt.Sprint(i), app(fmt.Sprintf("linux/arch%d", i)))
	}
	c := newClient(t)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if _, err := c.Read(t.Context(), fmt.Sprintf("%s/app%d:%d", r.Host, i%2, i), image.ReadOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := r.Count("", "/token"); got != 2 {
		t.Errorf("%d token requests, want 2", got)
	}
	var pings int
	for _, req := range r.Requests() {
		if req.Path == "/v2/" {
			pings++
		}
	}
	if pings != 1 {
		t.Errorf("%d pings, want 1", pings)
	}
	if got, want := c.Usage().Hosts[r.Host].Requests, int64(len(r.Requests())); got < want || got > want+1 { // one more: the try with TLS
		t.Errorf("counted %d requests, the registry %d", got, want)
	}
}

// TestTokenRunsOut: a token that is refused before its time is replaced once.
func TestTokenRunsOut(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{Auth: testimage.AuthBearer})
	testimage.MustPush(t, r, "app", "1", app("linux/amd64"))
	c := newClient(t)
	if _, err := c.Resolve(t.Context(), r.Host+"/app:1"); err != nil {
		t.Fatal(err)
	}
	r.RevokeTokens()
	if _, err := c.Resolve(t.Context(), r.Host+"/app:1"); err != nil {
		t.Fatal(err)
	}
	if got := r.Count("", "/token"); got != 2 {
		t.Errorf("%d token requests, want 2", got)
	}
	now := time.Now()
	late := newClient(t)
	late.Now = func() time.Time { return now }
	if _, err := late.Resolve(t.Context(), r.Host+"/app:1"); err != nil {
		t.Fatal(err)
	}
	r.ResetRequests()
	now = now.Add(10 * time.Minute)
	if _, err := late.Resolve(t.Context(), r.Host+"/app:1"); err != nil {
		t.Fatal(err)
	}
	if got := r.Count("", "/token"); got != 1 {
		t.Errorf("%d token requests after the token's age, want 1", got)
	}
}

func TestRedirects(t *testing.T) {
	var stranger atomic.Pointer[http.Request]
	built := testimage.Must(t, app("linux/amd64"))
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stranger.Store(r)
		d := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		_, _ = w.Write(built.Bytes(dossier.Digest(d)))
	}))
	defer storage.Close()
	to := func(location string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.Contains(r.URL.Path, "/blobs/") {
					next.ServeHTTP(w, r)
					return
				}
				target := location
				if location == "loop" {
					target = r.URL.String()
				}
				if location == "storage" {
					target = storage.URL + r.URL.Path
				}
				if location == "home" && r.URL.RawQuery == "" {
					target = r.URL.Path + "?again"
				} else if location == "home" {
					next.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Location", target)
				w.WriteHeader(http.StatusTemporaryRedirect)
			})
		}
	}
	tests := []struct {
		location string
		kind     dossier.Kind
		words    []string
	}{
		{"storage", "", nil},
		{"home", "", nil},
		{"loop", dossier.KindLimit, []string{"Redirects"}},
		{"ftp://127.0.0.1/x", dossier.KindDenied, []string{"ftp"}},
		{"", dossier.KindDenied, []string{"no address"}},
		{"http://registry.invalid/x", dossier.KindDenied, []string{"TLS"}},
	}
	for _, test := range tests {
		t.Run(test.location, func(t *testing.T) {
			r := testimage.NewRegistry(t, testimage.RegistryOptions{
				Auth: testimage.AuthBasic, User: "ann", Password: "secret", Intercept: to(test.location),
			})
			testimage.MustPush(t, r, "app", "1", app("linux/amd64"))
			c := newClient(t)
			c.Keychain = login{r.Host, "ann", "secret"}
			_, err := c.Read(t.Context(), r.Host+"/app:1", image.ReadOptions{})
			wantKind(t, err, test.kind, test.words...)
			if n := r.Count("", "/blobs/"); test.location == "loop" && n != 6 {
				t.Errorf("%d requests, want 1 and 5 redirects", n)
			}
		})
	}
	if r := stranger.Load(); r == nil {
		t.Error("the storage was not asked")
	} else if got := r.Header.Get("Authorization"); got != "" {
		t.Errorf("the storage was sent the credential %q", got)
	}
}

func TestTLS(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{TLS: true, Auth: testimage.AuthBearer})
	testimage.MustPush(t, r, "app", "1", app("linux/amd64"))
	c := newClient(t)
	c.CAFile = testimage.MustCAFile(t, r)
	if _, err := c.Read(t.Context(), r.Host+"/app:1", image.ReadOptions{}); err != nil {
		t.Error(err)
	}
	_, err := newClient(t).Read(t.Context(), r.Host+"/app:1", image.ReadOptions{})
	wantKind(t, err, dossier.KindUnavailable)
	if !strings.Contains(dossier.HintOf(err), "--registry-ca") {
		t.Errorf("hint %q for %v", dossier.HintOf(err), err)
	}
	for name, file := range map[string]string{"absent": filepath.Join(t.TempDir(), "none"), "empty": os.DevNull} {
		c := newClient(t)
		c.CAFile = file
		_, err := c.Read(t.Context(), r.Host+"/app:1", image.ReadOptions{})
		if dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%s CA file: %v", name, err)
		}
	}
}

func TestThrottling(t *testing.T) {
	var refuse atomic.Int32
	var after atomic.Value
	r := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("RateLimit-Limit", "100;w=21600")
			w.Header().Set("RateLimit-Remaining", "42;w=21600")
			if refuse.Add(-1) >= 0 {
				w.Header().Set("Retry-After", after.Load().(string))
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	testimage.MustPush(t, r, "app", "1", app("linux/amd64"))
	c := newClient(t)
	c.Limits.Retries = 3
	refuse.Store(1)
	after.Store("1")
	started := time.Now()
	tally := &image.Tally{}
	if _, err := c.Resolve(image.WithTally(t.Context(), tally), r.Host+"/app:1"); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(started); d < time.Second {
		t.Errorf("came back after %v, want 1s", d)
	}
	u := c.Usage().Hosts[r.Host]
	if u.Throttled != 1 || u.Waited < time.Second || u.Limit != "100;w=21600" || u.Remaining != "42;w=21600" {
		t.Errorf("usage %+v", u)
	}
	if tally.Requests() != u.Requests || tally.Requests() == 0 {
		t.Errorf("tally %d requests, usage %d", tally.Requests(), u.Requests)
	}
	refuse.Store(1)
	after.Store("3600")
	r.ResetRequests()
	started = time.Now()
	_, err := c.Resolve(t.Context(), r.Host+"/app:1")
	wantKind(t, err, dossier.KindUnavailable)
	throttled, ok := errors.AsType[*image.Throttled](err)
	if !ok || throttled.Host != r.Host || throttled.Until.Before(started.Add(59*time.Minute)) {
		t.Errorf("error %v says %+v, want an hour", err, throttled)
	}
	before := len(r.Requests())
	_, err = c.Resolve(t.Context(), r.Host+"/app:1")
	wantKind(t, err, dossier.KindUnavailable)
	if n := len(r.Requests()) - before; n != 0 {
		t.Errorf("sent %d requests to a host that wants none", n)
	}
}

func TestPerHostParallelism(t *testing.T) {
	var now, most atomic.Int32
	r := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(5 * time.Millisecond)
			next.ServeHTTP(w, r)
		})
	}})
	testimage.MustPush(t, r, "app", "1", app("linux/amd64"))
	c := newClient(t)
	c.Limits.PerHost = 3
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.Resolve(t.Context(), r.Host+"/app:1"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := most.Load(); got > 3 || got < 2 {
		t.Errorf("%d requests at a time, want at most 3 and more than one", got)
	}
}

func TestUnreachable(t *testing.T) {
	gone := httptest.NewServer(nil)
	host := gone.Listener.Addr().String()
	gone.Close()
	c := newClient(t)
	for range 2 {
		_, err := c.Resolve(t.Context(), host+"/app:1")
		wantKind(t, err, dossier.KindUnavailable, host)
		if dossier.HintOf(err) == "" {
			t.Errorf("no hint in %v", err)
		}
	}
	if n := c.Usage().Requests(); n > 2 {
		t.Errorf("%d requests to a registry that is not there, want one with and one without TLS", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	if _, err := c.Resolve(ctx, r.Host+"/app:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancelling: %v", err)
	}
}

// TestNoRegistry: a server that knows no registry must not look like an image
// that is gone.
func TestNoRegistry(t *testing.T) {
	challenge := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	tests := []struct {
		name  string
		serve map[string]http.HandlerFunc
		kind  dossier.Kind
	}{
		{"no ping", map[string]http.HandlerFunc{"/v2/": status(http.StatusNotFound)}, dossier.KindUnavailable},
		{"no tokens", map[string]http.HandlerFunc{"/v2/": challenge, "/token": status(http.StatusNotFound)}, dossier.KindUnavailable},
		{"tokens refused", map[string]http.HandlerFunc{"/v2/": challenge, "/token": status(http.StatusForbidden)}, dossier.KindDenied},
		{"no token in the answer", map[string]http.HandlerFunc{"/v2/": challenge, "/token": serve("application/json", []byte(`{"refresh_token":"hidden"}`))}, dossier.KindUnavailable},
		{"tokens elsewhere on this machine", map[string]http.HandlerFunc{"/v2/": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://127.0.0.1:1/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}}, dossier.KindUnavailable},
		{"unknown way to log in", map[string]http.HandlerFunc{"/v2/": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Negotiate")
			w.WriteHeader(http.StatusUnauthorized)
		}}, dossier.KindUnsupported},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(replace(test.serve)(http.NotFoundHandler()))
			defer server.Close()
			_, err := newClient(t).Resolve(t.Context(), server.Listener.Addr().String()+"/app:1")
			if err == nil {
				t.Fatal("no error")
			}
			wantKind(t, err, test.kind)
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error tells a token: %v", err)
			}
		})
	}
}

func TestDial(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	testimage.MustPush(t, r, "team/app", "1", app("linux/amd64"))
	c := newClient(t)
	c.PlainHTTP = []string{"registry.example"}
	c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, r.Host)
	}
	tree, err := c.Read(t.Context(), "registry.example/team/app:1", image.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tree.Name, "registry.example/team/app"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
}

func TestOffline(t *testing.T) {
	c := newClient(t)
	c.Offline = true
	_, err := c.Resolve(t.Context(), "example.com/app:1")
	wantKind(t, err, dossier.KindUnavailable, "example.com/app:1")
	if n := c.Usage().Requests(); n != 0 {
		t.Errorf("%d requests", n)
	}
}
