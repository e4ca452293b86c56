// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry"
)

// The tests of this file are each named for a class of faults that registries
// had. Those about who may do what are in guard_test.go of the package access.

// TestPathTraversal asks for what lies outside, in every place of a path.
func TestPathTraversal(t *testing.T) {
	l := newLab(t, nil)
	l.blob(t, "app", "x")
	digest := string(dossier.FromBytes([]byte("x")))
	for _, path := range []string{
		"/v2/../app/blobs/DIGEST", "/v2/%2e%2e/app/blobs/DIGEST", "/v2/app/../../blobs/DIGEST", "/v2/app%2f..%2fother/blobs/DIGEST",
		"/v2/app/manifests/..%2f..%2fDIGEST", "/v2/app/manifests/%2e%2e", "/v2/app/blobs/sha256:..%2f..%2fDIGEST",
		"/v2/app/blobs/uploads/..%2fDIGEST", "/v2/app/blobs/uploads/%2e%2e", "/v2/app/referrers/..%2fDIGEST", "/v2/.hidden/blobs/DIGEST", "/v2/app%00/blobs/DIGEST",
	} {
		path = strings.ReplaceAll(path, "DIGEST", digest)
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			a := l.do(t, method, path, []byte("x"), "Content-Type: "+manifestType)
			if a.status < 400 || a.status >= 500 {
				t.Errorf("%s %s: %d", method, path, a.status)
			}
		}
	}
	if a := l.do(t, http.MethodGet, "/v2/app/blobs/"+digest, nil); a.status != http.StatusOK {
		t.Errorf("what was there: %d", a.status)
	}
}

// TestHugePage asks for pages of absurd length (CVE-2023-2253).
func TestHugePage(t *testing.T) {
	l := newLab(t, nil)
	l.blob(t, "app", "x")
	subject := string(dossier.FromBytes([]byte("x")))
	for _, path := range []string{"/v2/_catalog", "/v2/app/tags/list", "/v2/app/referrers/" + subject} {
		for n, status := range map[string]int{
			"1000000000": http.StatusOK, "9223372036854775807": http.StatusOK,
			"9223372036854775808": http.StatusBadRequest, "-1": http.StatusBadRequest, "1e9": http.StatusBadRequest,
		} {
			if a := l.do(t, http.MethodGet, path+"?n="+n, nil); a.status != status {
				t.Errorf("%s?n=%s: %d, want %d", path, n, a.status, status)
			}
		}
	}
}

// TestManifestIndexConfusion says of bytes that they are an index, of a manifest, and
// of both at once (CVE-2021-41190).
func TestManifestIndexConfusion(t *testing.T) {
	l := newLab(t, nil)
	l.blob(t, "app", "{}")
	both := artifact(`,"manifests":[]`)
	for name, test := range map[string]struct {
		body        []byte
		contentType string
	}{
		"a manifest called an index":     {artifact(""), indexType},
		"both, called a manifest":        {both, manifestType},
		"both, called an index":          {both, indexType},
		"both, called nothing":           {both, ""},
		"an index called a manifest":     {fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, indexType), manifestType},
		"a key twice":                    {artifact(fmt.Sprintf(`,"mediaType":%q`, indexType)), manifestType},
		"a key in another case":          {artifact(`,"Manifests":[]`), manifestType},
		"an index with layers in it":     {fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"layers":[]}`, indexType), indexType},
		"two documents after each other": {append(artifact(""), artifact("")...), manifestType},
	} {
		a := l.do(t, http.MethodPut, "/v2/app/manifests/latest", test.body, "Content-Type: "+test.contentType)
		if a.status != http.StatusBadRequest || a.code() != "MANIFEST_INVALID" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	l.want(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodGet, "/v2/app/manifests/latest", nil)
}

// TestRevokedStaysRevoked takes a blob out of a repository that another one still holds: no
// cache brings it back (CVE-2026-35172).
func TestRevokedStaysRevoked(t *testing.T) {
	l := newLab(t, nil)
	d := string(l.blob(t, "app", "x"))
	l.blob(t, "other", "x")
	l.want(t, http.StatusOK, "", http.MethodGet, "/v2/app/blobs/"+d, nil)
	l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/blobs/"+d, nil)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if a := l.do(t, method, "/v2/app/blobs/"+d, nil); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", method, a.status)
		}
	}
	l.want(t, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN", http.MethodPut, "/v2/app/manifests/latest", artifact("", dossier.Digest(d)), "Content-Type: "+manifestType)
	l.want(t, http.StatusOK, "", http.MethodGet, "/v2/other/blobs/"+d, nil)
}

// TestReferrersBomb gives a subject many referrers with large annotations: no answer is large,
// and all are found page by page.
func TestReferrersBomb(t *testing.T) {
	const referrers, note = 60, 64 << 10
	l := newLab(t, nil)
	l.blob(t, "app", "{}")
	subject := dossier.FromBytes([]byte("subject"))
	want := map[dossier.Digest]bool{}
	for i := range referrers {
		body := artifact(fmt.Sprintf(`,"subject":{"mediaType":%q,"digest":%q,"size":7},"annotations":{"n":"%d","note":%q}`, manifestType, subject, i, strings.Repeat("a", note)))
		d := dossier.FromBytes(body)
		want[d] = true
		l.want(t, http.StatusCreated, "", http.MethodPut, "/v2/app/manifests/"+string(d), body, "Content-Type: "+manifestType)
	}
	pages := 0
	for next := "/v2/app/referrers/" + string(subject); next != ""; pages++ {
		a := l.want(t, http.StatusOK, "", http.MethodGet, next, nil)
		if len(a.body) > 2<<20 {
			t.Fatalf("a page of %d bytes", len(a.body))
		}
		var page struct {
			Manifests []struct{ Digest dossier.Digest }
		}
		if err := json.Unmarshal(a.body, &page); err != nil || len(page.Manifests) == 0 {
			t.Fatalf("%v: %d entries", err, len(page.Manifests))
		}
		for _, m := range page.Manifests {
			if !want[m.Digest] {
				t.Errorf("%s is there twice, or never was", m.Digest)
			}
			delete(want, m.Digest)
		}
		next, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	}
	if len(want) > 0 || pages < 3 {
		t.Errorf("%d pages lack %d referrers", pages, len(want))
	}
}

// TestAnnotationBomb pushes a manifest that is all annotations: what is searched is bounded, and
// the manifest comes back as it was pushed.
func TestAnnotationBomb(t *testing.T) {
	l := newLab(t, nil)
	l.blob(t, "app", "{}")
	var notes strings.Builder
	for i := range 9_000 {
		fmt.Fprintf(&notes, `%s"key.%d":%q`, map[bool]string{true: ",", false: ""}[i > 0], i, strings.Repeat("v", 300))
	}
	body := artifact(`,"annotations":{` + notes.String() + `}`)
	l.want(t, http.StatusCreated, "", http.MethodPut, "/v2/app/manifests/latest", body, "Content-Type: "+manifestType)
	if a := l.do(t, http.MethodGet, "/v2/app/manifests/latest", nil); !bytes.Equal(a.body, body) {
		t.Errorf("%d bytes came back, want %d", len(a.body), len(body))
	}
	large := artifact(`,"annotations":{"k":"` + strings.Repeat("v", registry.MaxManifest) + `"}`)
	l.want(t, http.StatusRequestEntityTooLarge, "MANIFEST_TOO_LARGE", http.MethodPut, "/v2/app/manifests/latest", large, "Content-Type: "+manifestType)
}

// lines is a log, as a list of lines.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// TestLogInjection sends what would be a line of the log, and what would move the
// cursor of who reads it.
func TestLogInjection(t *testing.T) {
	for name, handler := range map[string]func(w *lines) slog.Handler{
		"text": func(w *lines) slog.Handler {
			return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
		},
		"JSON": func(w *lines) slog.Handler {
			return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log lines
			l := newLab(t, func(c *registry.Config) { c.Logger = slog.New(handler(&log)) })
			evil := "x%0Alevel=ERROR%20msg=forged%1B[2J"
			for _, path := range []string{"/v2/" + evil + "/tags/list", "/v2/app/manifests/" + evil, "/v2/app/tags/list?last=" + evil, "/v2/app/blobs/uploads/" + evil} {
				r := httptest.NewRequest(http.MethodGet, path, nil)
				r.Header.Set("User-Agent", "\x1b]0;forged\x07\nforged") // what no client can send
				l.handler.ServeHTTP(httptest.NewRecorder(), r)
			}
			log.mu.Lock()
			defer log.mu.Unlock()
			text := strings.TrimRight(log.text.String(), "\n")
			if n := strings.Count(text, "\n") + 1; n != 4 {
				t.Errorf("4 requests made %d lines:\n%q", n, text)
			}
			if strings.ContainsAny(text, "\x1b\x07") {
				t.Errorf("the log has control characters:\n%q", text)
			}
		})
	}
}

// TestNothingIsDecompressed pushes what would be a thousand times as large: as a layer, and as the body
// of a request that says that it is compressed.
func TestNothingIsDecompressed(t *testing.T) {
	l := newLab(t, nil)
	var bomb bytes.Buffer
	z, err := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(make([]byte, 16<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	d := dossier.FromBytes(bomb.Bytes())
	l.want(t, http.StatusCreated, "", http.MethodPost, "/v2/app/blobs/uploads/?digest="+string(d), bomb.Bytes(), "Content-Encoding: gzip")
	a := l.want(t, http.StatusOK, "", http.MethodGet, "/v2/app/blobs/"+string(d), nil, "Accept-Encoding: identity")
	if a.header.Get("Content-Encoding") != "" || !bytes.Equal(a.body, bomb.Bytes()) {
		t.Errorf("%d bytes came back, want %d; encoding %q", len(a.body), bomb.Len(), a.header.Get("Content-Encoding"))
	}
}

// TestInternalHeaders sends headers by which registries and proxies speak among themselves: they
// change nothing (a hop count from outside ended another registry).
func TestInternalHeaders(t *testing.T) {
	l := newLab(t, nil)
	for _, h := range []string{
		"X-Zot-Cluster-Hop-Count: 99", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: gopher", "Forwarded: host=evil.example",
		"X-Original-Url: /v2/_catalog", "X-Rewrite-Url: /v2/_catalog", "X-Http-Method-Override: DELETE",
	} {
		a := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil, h)
		if got := a.header.Get("Location"); !strings.HasPrefix(got, "/v2/app/blobs/uploads/") {
			t.Errorf("%s: Location %q", h, got)
		}
	}
}
