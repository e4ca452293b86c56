// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
	"dossier.dev/dossier/internal/testimage"
)

// serveRegistry serves an empty store.
func serveRegistry(t *testing.T, change func(*ServeConfig)) serving {
	t.Helper()
	c := ServeConfig{Config: Config{Data: sqltest.Dir(t)}, Listen: "127.0.0.1:0", NoCluster: true}
	if change != nil {
		change(&c)
	}
	return serve(t, c)
}

// TestPushedProgramIsRead pushes an image and waits until the program that it
// starts was read, which the workers do in this process: the registry lies on
// no network that they know.
func TestPushedProgramIsRead(t *testing.T) {
	s := serveRegistry(t, func(c *ServeConfig) { c.Registry.Name = "registry.example" })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	content, err := testimage.Image{
		Entrypoint: []string{"/program"},
		Layers:     []testimage.Layer{{Files: map[string]testimage.File{"program": testimage.Program(program)}}},
	}.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := testimage.Push(t.Context(), nil, s.url, "org/program", "latest", content); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, s.url, client.Options{})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		kinds := map[dossier.FactKind]bool{}
		for f, err := range c.Facts(t.Context(), content.Digest()) {
			if err != nil {
				t.Fatal(err)
			}
			kinds[f.Kind] = true
		}
		if !kinds[dossier.FactManifest] || !kinds[dossier.FactTag] {
			t.Fatalf("facts of what was pushed: %v", kinds)
		}
		if kinds[dossier.FactGoBuild] {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the program was not read")
		}
	}
}

// TestRegistryName checks that a store keeps the name of its registry.
func TestRegistryName(t *testing.T) {
	dir := t.TempDir()
	c := ServeConfig{Config: Config{Data: dir, Offline: true}, Listen: "127.0.0.1:0", NoCluster: true, Registry: config.Registry{Name: "registry.example"}}
	if err := serve(t, c).stop(); err != nil {
		t.Fatal(err)
	}
	c.Registry.Name = ""
	if err := serve(t, c).stop(); err != nil {
		t.Errorf("without a name: %v", err)
	}
	c.Registry.Name = "other.example"
	err := Serve(t.Context(), c, nil)
	if dossier.KindOf(err) != dossier.KindConflict || !strings.Contains(err.Error(), "registry.example") {
		t.Errorf("with another name: %v", err)
	}
	for _, name := range []string{"a/b", "Ä", "registry", "a:b"} {
		c.Registry.Name = name
		if err := c.Validate(); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%q: %v, want it refused", name, err)
		}
	}
}

func TestRegistryAccess(t *testing.T) {
	const token = "0123456789abcdef"
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	open := serveRegistry(t, nil)
	closed := serveRegistry(t, func(c *ServeConfig) { c.TokenFile = file })
	none := serveRegistry(t, func(c *ServeConfig) { c.Registry.Off = true })
	tests := []struct {
		name   string
		url    string
		change func(*http.Request)
		want   int
	}{
		{"anybody", open.url, func(*http.Request) {}, http.StatusOK},
		{"by another name", open.url, func(r *http.Request) { r.Host = "rebound.example" }, http.StatusForbidden},
		{"no token", closed.url, func(*http.Request) {}, http.StatusUnauthorized},
		{"wrong password", closed.url, func(r *http.Request) { r.SetBasicAuth("me", "0123456789abcdee") }, http.StatusUnauthorized},
		{"token as password", closed.url, func(r *http.Request) { r.SetBasicAuth("me", token) }, http.StatusOK},
		{"token", closed.url, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }, http.StatusOK},
		{"no registry", none.url, func(*http.Request) {}, http.StatusNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tt.url+"/v2/", nil)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(r)
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
			}
			challenge := resp.Header.Get("WWW-Authenticate") != ""
			if challenge != (tt.want == http.StatusUnauthorized) {
				t.Errorf("a challenge: %v", challenge)
			}
		})
	}
}

func TestRegistryMetrics(t *testing.T) {
	s := serveRegistry(t, nil)
	if _, body := fetch(t, s.url+"/v2/"); body != "{}" {
		t.Errorf("ping: %s", body)
	}
	if _, body := fetch(t, s.url+"/v2/x/y/z"); !strings.Contains(body, "NOT_FOUND") {
		t.Errorf("no path: %s", body)
	}
	_, body := fetch(t, s.url+"/metrics")
	for _, want := range []string{
		`dossier_oci_requests_total{kind="ping",status="200"} 1`, `dossier_oci_requests_total{kind="other",status="404"} 1`,
		"dossier_oci_sent_bytes_total ", `dossier_oci_request_duration_seconds_count{kind="ping"} 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestFixedTags(t *testing.T) {
	for tag, want := range map[string]bool{
		"1.2.3": true, "v1.2.3": true, "1.27.1-alpine3.20": true, "2026.11.23": true, "1.2.3.4": true,
		"9f2c41d0a7b34e55f6a1b2c3d4e5f60718293a4b": true, "sha-9f2c41d0a7b34e55f6a1b2c3d4e5f60718293a4b": true,
		"sha-9f2c41d": true, "git-9f2c41d0": true, "sha-9f2c41": false, "sha-main": false, "sha256-9f2c41d": false,
		"latest": false, "main": false, "1": false, "1.2": false, "v1": false, "nightly-2026": false, "": false, "9f2c41d": false,
	} {
		if got := fixedTag(nil)("org/app", tag); got != want {
			t.Errorf("%q: %v, want %v", tag, got, want)
		}
	}
}

func TestMovableTags(t *testing.T) {
	fixed := fixedTag([]string{"dev/*:*", "org/app:1.2.?"})
	for ref, want := range map[string]bool{
		"dev/app:1.0.0": false, "dev/deep/app:1.0.0": true, "org/app:1.2.3": false, "org/app:1.2.30": true, "org/app:1.3.0": true, "app:1.0.0": true,
	} {
		repository, tag, _ := strings.Cut(ref, ":")
		if got := fixed(repository, tag); got != want {
			t.Errorf("%s: %v, want %v", ref, got, want)
		}
	}
	for _, pattern := range []string{"[", "org/app", "org/app:["} {
		c := ServeConfig{Config: Config{Data: "data"}, Registry: config.Registry{Movable: []string{pattern}}}
		if err := c.Validate(); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%q: %v, want it refused", pattern, err)
		}
	}
}

// TestOwnImagesAreReadInProcess runs pods whose images lie in the server's own
// registry, whose name nothing on the network has.
func TestOwnImagesAreReadInProcess(t *testing.T) {
	k, options := startKubernetes(t)
	var mu sync.Mutex
	var dialled []string
	var later atomic.Int64 // how much the clock is ahead
	s := serveRegistry(t, func(c *ServeConfig) {
		c.Registry.Name, c.Cluster, c.NoCluster = "registry.example", options, false
		c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		c.Dial = func(_ context.Context, _, addr string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dialled = append(dialled, addr)
			return nil, errors.New("there is no network")
		}
	})
	content := testimage.Must(t, testimage.Image{Layers: []testimage.Layer{{Files: map[string]testimage.File{"a": testimage.Text("a")}}}})
	if err := testimage.Push(t.Context(), nil, s.url, "team/app", "latest", content); err != nil {
		t.Fatal(err)
	}
	later.Store(int64(time.Hour)) // when where the tag points wants another look
	k.run("a", "registry.example/team/app:latest", "registry.example/team/app@"+string(content.Digest()))
	c := newClient(t, s.url, client.Options{})
	eventually(t, func() string {
		list, err := c.Images(t.Context(), dossier.ImagesQuery{})
		if err != nil || len(list.Images) != 1 || list.Images[0].Digest != content.Digest() {
			return fmt.Sprintf("images: %+v, %v", list.Images, err)
		}
		jobs, err := c.Jobs(t.Context())
		if err != nil || len(jobs.Failing) > 0 {
			return fmt.Sprintf("failing: %+v, %v", jobs.Failing, err)
		}
		for _, n := range jobs.Counts {
			if strings.HasPrefix(n.Kind, "image.") && n.Count > 0 {
				return fmt.Sprintf("still to do: %+v", n)
			}
		}
		return ""
	})
	mu.Lock()
	defer mu.Unlock()
	if len(dialled) > 0 {
		t.Errorf("it asked %q", dialled)
	}
}
