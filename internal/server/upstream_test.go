// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
	"dossier.dev/dossier/internal/testimage"
)

// TestServeUpstream pulls through a server, looks at its metrics, and has the
// program read that the pulled image starts: from what is kept.
func TestServeUpstream(t *testing.T) {
	up := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("RateLimit-Limit", "100;w=21600")
			w.Header().Set("RateLimit-Remaining", "76;w=21600")
			next.ServeHTTP(w, r)
		})
	}})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	content := testimage.MustPush(t, up, "library/program", "1", testimage.Image{
		Entrypoint: []string{"/program"},
		Layers:     []testimage.Layer{{Files: map[string]testimage.File{"program": testimage.Program(program)}}},
	})
	s := serveRegistry(t, func(c *ServeConfig) {
		c.Registry.Name, c.Registry.Upstreams = "registry.example", []config.Upstream{{Name: "docker.io", URL: up.URL}}
	})
	get := func(path string) string {
		t.Helper()
		resp, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
		return string(b)
	}
	get("/v2/docker.io/library/program/manifests/1")
	for _, b := range content.Blobs {
		get("/v2/library/program/blobs/" + string(b.Digest) + "?ns=docker.io")
	}
	c := newClient(t, s.url, client.Options{})
	eventually(t, func() string {
		for f, err := range c.Facts(t.Context(), content.Digest()) {
			if err != nil {
				t.Fatal(err)
			}
			if f.Kind == dossier.FactGoBuild {
				return ""
			}
		}
		return "its program is not read"
	})
	layer := string(content.Blobs[len(content.Blobs)-1].Digest)
	if n := up.Count(http.MethodGet, layer); n != 1 {
		t.Errorf("the layer was downloaded %d times", n)
	}
	metrics := get("/metrics")
	for _, want := range []string{
		`dossier_upstream_up{upstream="docker.io"} 1`,
		`dossier_upstream_ratelimit_limit{upstream="docker.io"} 100`,
		`dossier_upstream_ratelimit_remaining{upstream="docker.io"} 76`,
		`dossier_upstream_pulls_total{source="fetched",upstream="docker.io"} 3`,
		`dossier_upstream_held_seconds{upstream="docker.io"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics do not say %s", want)
		}
	}
	list, err := c.Upstreams(t.Context())
	if err != nil || len(list.Upstreams) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if u := list.Upstreams[0]; u.State != dossier.UpstreamOK || u.RateLimit == nil || u.RateLimit.Seconds != 21600 || u.Blobs != 2 || u.Manifests != 1 || u.Bytes == 0 {
		t.Errorf("%+v", u)
	}
}

// TestServeUpstreamFaults: what is wrong with an upstream is told before anything
// is served.
func TestServeUpstreamFaults(t *testing.T) {
	c := ServeConfig{Config: Config{Data: sqltest.Dir(t)}, Listen: "127.0.0.1:0", NoCluster: true}
	for name, u := range map[string]config.Upstream{
		"a name that is none":      {Name: "docker"},
		"itself":                   {Name: "registry.example"},
		"credentials that are not": {Name: "docker.io", Credentials: filepath.Join(t.TempDir(), "none.json")},
	} {
		c.Registry.Name, c.Registry.Upstreams = "registry.example", []config.Upstream{u}
		if err := Serve(t.Context(), c, nil); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
