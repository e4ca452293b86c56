// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob/disk"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
	"dossier.dev/dossier/internal/testimage"
)

// host is what the registry of the tests is called.
const host = "registry.example"

// lab is a registry on SQLite and a directory, served over HTTP.
type lab struct {
	dir     string
	store   store.Store
	blobs   *disk.Store
	handler *registry.Handler
	url     string
}

func newLab(t testing.TB, change func(*registry.Config)) *lab {
	t.Helper()
	return newLabOn(t, sqlstore.Config{Path: sqltest.File(t)}, change)
}

// noRows lets all blobs lie in files.
func noRows(c *registry.Config) { c.MaxSmall = -1 }

// newLabOn is newLab on a given database.
func newLabOn(t testing.TB, config sqlstore.Config, change func(*registry.Config)) *lab {
	t.Helper()
	dir := t.TempDir()
	db, err := sqlstore.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := disk.Open(disk.Config{Dir: filepath.Join(dir, "blobs")})
	if err != nil {
		t.Fatal(err)
	}
	c := registry.Config{Store: db, Blobs: blobs, Name: host}
	if change != nil {
		change(&c)
	}
	l := &lab{dir: dir, store: db, blobs: blobs}
	if l.handler, err = registry.New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(l.handler)
	l.url = server.URL
	t.Cleanup(func() {
		server.Close()
		l.handler.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// answer is a response with its body.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// code returns the first error code of an answer.
func (a answer) code() string {
	_, rest, _ := strings.Cut(string(a.body), `"code":"`)
	code, _, _ := strings.Cut(rest, `"`)
	return code
}

// do sends a request. Headers are "Name: value".
func (l *lab) do(t testing.TB, method, path string, body []byte, headers ...string) answer {
	t.Helper()
	a, err := send(t.Context(), method, l.resolve(path), bytes.NewReader(body), headers...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (l *lab) resolve(path string) string {
	if strings.HasPrefix(path, "http") {
		return path
	}
	return l.url + path
}

func send(ctx context.Context, method, url string, body io.Reader, headers ...string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return answer{}, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

// want sends a request and checks the status, and the code where one is given.
func (l *lab) want(t testing.TB, status int, code, method, path string, body []byte, headers ...string) answer {
	t.Helper()
	a := l.do(t, method, path, body, headers...)
	if a.status != status || a.code() != code {
		t.Errorf("%s %s: %d %s, want %d %s\n%s", method, path, a.status, a.code(), status, code, a.body)
	}
	return a
}

// push pushes content.
func (l *lab) push(t testing.TB, repository, tag string, c *testimage.Content) {
	t.Helper()
	if err := testimage.Push(t.Context(), nil, l.url, repository, tag, c); err != nil {
		t.Fatal(err)
	}
}

// blob pushes bytes and returns their digest.
func (l *lab) blob(t testing.TB, repository, content string) dossier.Digest {
	t.Helper()
	d := dossier.FromBytes([]byte(content))
	l.want(t, http.StatusCreated, "", http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+string(d), []byte(content))
	return d
}

func sample(t testing.TB, b testimage.Builder) *testimage.Content {
	t.Helper()
	c, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// webImage is an image of one layer.
func webImage(platform, version string) testimage.Image {
	return testimage.Image{
		Platform: platform, Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Layers: []testimage.Layer{{Files: map[string]testimage.File{"web": testimage.Text(version)}}},
		Labels: map[string]string{"org.opencontainers.image.source": "https://git.example/org/web"},
	}
}

// TestPushAndPull pushes an index and pulls back every byte of it.
func TestPushAndPull(t *testing.T) {
	l := newLab(t, nil)
	c := sample(t, testimage.Of(webImage("linux/amd64", "1"), webImage("linux/arm64", "1")))
	l.push(t, "org/web", "latest", c)
	l.checkPull(t, "org/web", "latest", c)
	if a := l.do(t, http.MethodGet, "/v2/org/web/tags/list", nil); string(a.body) != `{"name":"org/web","tags":["latest"]}` {
		t.Errorf("tags: %s", a.body)
	}
	if a := l.do(t, http.MethodGet, "/v2/_catalog", nil); string(a.body) != `{"repositories":["org/web"]}` {
		t.Errorf("catalog: %s", a.body)
	}
}

// checkPull pulls content back and compares.
func (l *lab) checkPull(t testing.TB, repository, tag string, c *testimage.Content) {
	t.Helper()
	base := "/v2/" + repository
	for _, b := range c.Blobs {
		a := l.want(t, http.StatusOK, "", http.MethodGet, base+"/blobs/"+string(b.Digest), nil)
		if !bytes.Equal(a.body, b.Bytes) {
			t.Errorf("blob %s differs", b.Digest)
		}
	}
	for _, m := range c.Manifests {
		a := l.want(t, http.StatusOK, "", http.MethodGet, base+"/manifests/"+string(m.Digest), nil)
		if !bytes.Equal(a.body, m.Bytes) || a.header.Get("Content-Type") != m.MediaType {
			t.Errorf("manifest %s differs, or its type %s", m.Digest, a.header.Get("Content-Type"))
		}
	}
	if tag == "" {
		return
	}
	a := l.want(t, http.StatusOK, "", http.MethodHead, base+"/manifests/"+tag, nil)
	if got := a.header.Get("Docker-Content-Digest"); got != string(c.Digest()) {
		t.Errorf("%s is %s, want %s", tag, got, c.Digest())
	}
}

// TestPushedImageHasFacts checks what is known as soon as a manifest is
// acknowledged.
func TestPushedImageHasFacts(t *testing.T) {
	l := newLab(t, func(c *registry.Config) { c.Contents = true })
	c := sample(t, webImage("linux/amd64", "1"))
	l.push(t, "org/web", "latest", c)
	config := dossier.FromBytes(c.Config())
	err := l.store.View(t.Context(), func(r store.Reader) error {
		kinds := map[dossier.FactKind]int{}
		for f, err := range r.Holding(t.Context(), []dossier.Digest{c.Digest(), config}, dossier.Times{}) {
			if err != nil {
				return err
			}
			kinds[f.Kind]++
		}
		for _, kind := range []dossier.FactKind{dossier.FactManifest, dossier.FactConfig, dossier.FactName, dossier.FactTag} {
			if kinds[kind] != 1 {
				t.Errorf("%d facts %s, want 1", kinds[kind], kind)
			}
		}
		images, err := r.Images(t.Context(), []dossier.Digest{c.Digest()})
		if err != nil {
			return err
		}
		if got := images[c.Digest()]; got.Kind != dossier.ImageManifest || got.Platform != "linux/amd64" {
			t.Errorf("image: %+v", got)
		}
		for _, key := range []string{"git.example/org/web", host + "/org/web:latest"} {
			hits, err := r.FindTerms(t.Context(), store.TermQuery{Key: key, Limit: 10})
			if err != nil || len(hits) == 0 {
				t.Errorf("%s finds nothing: %v", key, err)
			}
		}
		jobs, err := r.Jobs(t.Context(), "image.contents", []string{string(c.Digest())}, 1)
		if len(jobs) != 1 {
			t.Error("nobody reads what it holds")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
