// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"slices"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
	"dossier.dev/dossier/internal/testimage"
)

// TestMetadataSearch pushes an image, an index, a chart and a signature, and
// finds each by what it says of itself as soon as it is acknowledged.
func TestMetadataSearch(t *testing.T) {
	for name, database := range map[string]func(t *testing.T) string{
		"SQLite":     func(*testing.T) string { return "" },
		"PostgreSQL": func(t *testing.T) string { return sqltest.URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s := serveRegistry(t, func(c *ServeConfig) {
				c.Registry.Name, c.Database, c.Offline = "registry.example", database(t), true
			})
			testMetadataSearch(t, s.url)
		})
	}
}

func testMetadataSearch(t *testing.T, url string) {
	const base = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
	push := func(repository, tag string, b testimage.Builder) *testimage.Content {
		c, err := b.Build()
		if err == nil {
			err = testimage.Push(t.Context(), nil, url, repository, tag, c)
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	elsewhere, err := testimage.Image{Author: "elsewhere"}.Build()
	if err != nil {
		t.Fatal(err)
	}
	web := testimage.Image{
		Platform: "linux/arm64/v8",
		Labels:   map[string]string{"com.example.team": "Payments", "org.opencontainers.image.revision": "4f5d2c1a9b0e8d7c6b5a4f3e2d1c0b9a8f7e6d5c"},
		Layers:   []testimage.Layer{{Files: map[string]testimage.File{"web": testimage.Text("web")}}},
		Annotations: map[string]string{
			"org.opencontainers.image.base.digest": base, "org.opencontainers.image.vendor": "Acme", "note": "a=b",
			"org.opencontainers.image.source": "https://Git.example/org/web.git",
		},
	}
	index := push("org/web", "1.0.0", testimage.Index{
		Entries: []testimage.Entry{{Of: web}}, Annotations: map[string]string{"com.example.channel": "stable"},
	}).Digest()
	plain := push("org/plain", "latest", testimage.Image{Labels: map[string]string{"com.example.vendor": "Acme"}}).Digest()
	chart := push("charts/web", "0.1.0", testimage.Artifact{
		ConfigType: "application/vnd.cncf.helm.config.v1+json", Config: []byte(`{"name":"web","version":"0.1.0"}`),
		Layers:      []testimage.Blob{{MediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip", Bytes: []byte("chart")}},
		Annotations: map[string]string{"org.opencontainers.image.title": "web-chart"},
	}).Digest()
	signature := push("org/web", "", testimage.Artifact{
		ArtifactType: "application/vnd.dev.sigstore.bundle.v0.3+json", Annotations: map[string]string{"dev.sigstore.bundle.content": "dsse-envelope"},
		Layers:  []testimage.Blob{{MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json", Bytes: []byte("{}")}},
		Subject: &elsewhere.Root,
	}).Digest()
	names := map[dossier.Digest]string{index: "index", plain: "plain", chart: "chart", signature: "signature"}
	c := newClient(t, url, client.Options{})
	for _, tt := range []struct{ term, field, want string }{
		{"com.example.team=payments", "label", "index"},
		{"label:com.example.team=Payments", "label", "index"},
		{"label:com.example.team=pay*", "label", "index"},
		{"annotation:com.example.team=Payments", "", ""},
		{"org.opencontainers.image.vendor=Acme", "annotation", "index"},
		{"annotation:org.opencontainers.image.vendor=Acme", "annotation", "index"},
		{"annotation:note=a=b", "annotation", "index"},
		{"label:org.opencontainers.image.vendor=Acme", "", ""},
		{"Acme", "label annotation", "index plain"},
		{"label=acme", "label", "plain"},
		{"annotation:com.example.channel=stable", "annotation", "index"},
		{"source=git.example/org/web", "source", "index"},
		{"revision=4f5d2c1a9b", "revision", "index"},
		{"Revision=4f5d2c1a9b0e8d7c6b5a4f3e2d1c0b9a8f7e6d5c", "revision", "index"},
		{"base=" + base, "base", "index"},
		{"base=" + base[:20] + "*", "base", "index"},
		{"platform=linux/arm64*", "platform", "index"},
		{"platform=linux/amd64", "platform", "plain"},
		{"mediaType=application/vnd.oci.image.index.v1+json", "mediaType", "index"},
		{"mediaType=application/vnd.cncf.helm.chart.content.v1.tar+gzip", "mediaType", "chart"},
		{"mediatype=application/vnd.oci.image.config.v1+json", "mediaType", "index plain"},
		{"artifactType=application/vnd.cncf.helm.config.v1+json", "artifactType", "chart"},
		{"artifactType=application/vnd.dev.sigstore*", "artifactType", "signature"},
		{"artifactType=application/vnd.oci.image.config.v1+json", "", ""},
		{"annotation:dev.sigstore.bundle.content=dsse-envelope", "annotation", "signature"},
		{"subject=" + string(elsewhere.Digest()), "subject", "signature"},
		{"registry.example/charts/web", "reference", "chart"},
		{"reference=registry.example/org/web:1.0.0", "reference", "index"},
		{"registry.example/org/*", "reference", "index plain signature"},
		{"mediaType=", "", ""},
	} {
		list, err := c.Where(t.Context(), tt.term, 100)
		if err != nil {
			t.Errorf("%s: %v", tt.term, err)
			continue
		}
		var found, fields []string
		for _, f := range list.Found {
			found, fields = append(found, names[f.Digest]), append(fields, string(f.Field))
		}
		slices.Sort(found)
		if got := strings.Join(found, " "); got != tt.want {
			t.Errorf("%s finds %q, want %q", tt.term, got, tt.want)
		}
		if got := strings.Join(slices.Compact(fields), " "); got != tt.field {
			t.Errorf("%s is found in %q, want %q", tt.term, got, tt.field)
		}
	}
}
