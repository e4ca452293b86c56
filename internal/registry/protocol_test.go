// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/store"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
)

// artifact is a manifest with a configuration "{}" and some layers.
func artifact(more string, layers ...dossier.Digest) []byte {
	var list []string
	for _, d := range layers {
		list = append(list, fmt.Sprintf(`{"mediaType":"text/plain","digest":%q,"size":1}`, d))
	}
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[%s]%s}`,
		manifestType, dossier.FromBytes([]byte("{}")), strings.Join(list, ","), more)
}

func TestBadManifests(t *testing.T) {
	l := newLab(t, nil)
	l.blob(t, "app", "{}")
	there, missing := l.blob(t, "app", "there"), dossier.FromBytes([]byte("missing"))
	l.blob(t, "other", "missing")
	tests := []struct {
		name        string
		ref         string
		body        []byte
		contentType string
		status      int
		code        string
	}{
		{"good", "latest", artifact("", there), manifestType, http.StatusCreated, ""},
		{"type with parameters", "latest", artifact("", there), manifestType + "; charset=utf-8", http.StatusCreated, ""},
		{"no type", "latest", artifact("", there), "", http.StatusCreated, ""},
		{"an index by type, a manifest by content", "latest", artifact("", there), indexType, http.StatusBadRequest, "MANIFEST_INVALID"},
		{"index and manifest at once", "latest", artifact(`,"manifests":[]`, there), manifestType, http.StatusBadRequest, "MANIFEST_INVALID"},
		{"malformed type", "latest", artifact("", there), "a/b/c;", http.StatusBadRequest, "MANIFEST_INVALID"},
		{"a blob of another repository", "latest", artifact("", there, missing), manifestType, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN"},
		{"no JSON", "latest", []byte("hello"), manifestType, http.StatusBadRequest, "MANIFEST_INVALID"},
		{"nothing", "latest", nil, manifestType, http.StatusBadRequest, "MANIFEST_INVALID"},
		{"schema 1", "latest", []byte(`{"schemaVersion":1,"fsLayers":[]}`), manifestType, http.StatusBadRequest, "MANIFEST_INVALID"},
		{"wrong digest", string(missing), artifact("", there), manifestType, http.StatusBadRequest, "DIGEST_INVALID"},
		{"too large", "latest", bytes.Repeat([]byte(" "), registry.MaxManifest+1), manifestType, http.StatusRequestEntityTooLarge, "MANIFEST_TOO_LARGE"},
		{"index without its children", "latest", fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":5}]}`, indexType, manifestType, missing), indexType, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := l.want(t, tt.status, tt.code, http.MethodPut, "/v2/app/manifests/"+tt.ref, tt.body, "Content-Type: "+tt.contentType)
			if tt.status == http.StatusNotFound && !strings.Contains(string(a.body), string(missing)) {
				t.Errorf("it does not say what is missing: %s", a.body)
			}
		})
	}
}

func TestSparseIndex(t *testing.T) {
	l := newLab(t, func(c *registry.Config) { c.Sparse = true })
	body := fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":5}]}`, manifestType, dossier.FromBytes([]byte("elsewhere")))
	l.want(t, http.StatusCreated, "", http.MethodPut, "/v2/app/manifests/latest", body, "Content-Type: "+indexType)
}

// TestChildrenAreKept deletes what is needed.
func TestChildrenAreKept(t *testing.T) {
	l := newLab(t, nil)
	l.blob(t, "app", "{}")
	layer := l.blob(t, "app", "layer")
	m := artifact("", layer)
	d := dossier.FromBytes(m)
	l.want(t, http.StatusCreated, "", http.MethodPut, "/v2/app/manifests/latest", m, "Content-Type: "+manifestType)
	l.want(t, http.StatusConflict, "IN_USE", http.MethodDelete, "/v2/app/blobs/"+string(layer), nil)
	l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/manifests/"+string(d), nil)
	l.want(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodGet, "/v2/app/manifests/latest", nil)
	l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/blobs/"+string(layer), nil)
	l.want(t, http.StatusNotFound, "BLOB_UNKNOWN", http.MethodDelete, "/v2/app/blobs/"+string(layer), nil)
	l.want(t, http.StatusNotFound, "BLOB_UNKNOWN", http.MethodGet, "/v2/app/blobs/"+string(layer), nil)
}

// TestFixedTags moves tags that do not move.
func TestFixedTags(t *testing.T) {
	l := newLab(t, func(c *registry.Config) { c.Fixed = func(_, tag string) bool { return tag == "1.0.0" } })
	l.blob(t, "app", "{}")
	put := func(tag, more string, status int, code string) answer {
		return l.want(t, status, code, http.MethodPut, "/v2/app/manifests/"+tag, artifact(more), "Content-Type: "+manifestType)
	}
	first := dossier.FromBytes(artifact(""))
	put("1.0.0", "", http.StatusCreated, "")
	put("1.0.0", "", http.StatusCreated, "")
	put("latest", "", http.StatusCreated, "")
	put("latest", `,"annotations":{"a":"b"}`, http.StatusCreated, "")
	a := put("1.0.0", `,"annotations":{"a":"c"}`, http.StatusConflict, "TAG_IMMUTABLE")
	if !strings.Contains(string(a.body), string(first)) {
		t.Errorf("it does not say what holds the tag: %s", a.body)
	}
	// Nothing of the refused push is there.
	refused := dossier.FromBytes(artifact(`,"annotations":{"a":"c"}`))
	l.want(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodGet, "/v2/app/manifests/"+string(refused), nil)
	err := l.store.View(t.Context(), func(r store.Reader) error {
		for range r.Chain(t.Context(), refused) {
			t.Error("a refused push left a fact")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestUploadsAreBound goes on with uploads where, and as whom, one must not.
func TestUploadsAreBound(t *testing.T) {
	l := newGuarded(t, `rules: [{repositories: ["**"], authenticated: true, allow: [pull, push]}]`)
	a := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/mine/blobs/uploads/", nil, as("alice"))
	location := a.header.Get("Location")
	elsewhere := strings.Replace(location, "/mine/", "/yours/", 1)
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete, http.MethodPut} {
		query := ""
		if method == http.MethodPut {
			query = "?digest=" + string(dossier.FromBytes(nil))
		}
		l.want(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", method, location+query, []byte("x"), as("bob"))
		l.want(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", method, elsewhere+query, []byte("x"), as("alice"))
	}
	l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("x"), as("alice"))
}

// TestChunks uploads in pieces, out of order, too long, and with the client
// going away in between.
func TestChunks(t *testing.T) {
	l := newLab(t, nil)
	content := bytes.Repeat([]byte("0123456789"), 100)
	d := string(dossier.FromBytes(content))
	location := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil).header.Get("Location")
	chunk := func(from, to, status int, code string) answer {
		return l.want(t, status, code, http.MethodPatch, location, content[from:to], fmt.Sprintf("Content-Range: %d-%d", from, to-1))
	}
	stands := func(want string) {
		t.Helper()
		if a := l.want(t, http.StatusNoContent, "", http.MethodGet, location, nil); a.header.Get("Range") != want {
			t.Errorf("it stands at %s, want %s", a.header.Get("Range"), want)
		}
	}
	chunk(0, 100, http.StatusAccepted, "")
	stands("0-99")
	if a := chunk(200, 300, http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID"); a.header.Get("Range") != "0-99" {
		t.Errorf("the refusal says %s", a.header.Get("Range"))
	}
	l.want(t, http.StatusBadRequest, "SIZE_INVALID", http.MethodPatch, location, content[100:200], "Content-Range: 100-150")
	stands("0-99")
	chunk(100, 200, http.StatusAccepted, "")
	// A client that leaves in the middle has sent what it has sent.
	r, w := io.Pipe()
	go func() {
		_, err := w.Write(content[200:300])
		w.CloseWithError(errors.Join(err, errors.New("the client leaves")))
	}()
	if _, err := send(t.Context(), http.MethodPatch, l.url+location, r); err == nil {
		t.Error("the client did not leave")
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		a := l.do(t, http.MethodGet, location, nil)
		if a.header.Get("Range") == "0-299" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it stands at %s", a.header.Get("Range"))
		}
	}
	chunk(300, 900, http.StatusAccepted, "")
	l.want(t, http.StatusCreated, "", http.MethodPut, location+"?digest="+d, content[900:], "Content-Range: 900-999")
	if a := l.want(t, http.StatusOK, "", http.MethodGet, "/v2/app/blobs/"+d, nil); !bytes.Equal(a.body, content) {
		t.Error("it came back different")
	}
	l.want(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", http.MethodGet, location, nil)
}

// TestSHA512 pushes by a digest that was announced and by one that was not.
func TestSHA512(t *testing.T) {
	l := newLab(t, nil)
	for i, query := range []string{"", "?digest-algorithm=sha512", "?digest-algorithm=sha256"} {
		content := fmt.Appendf(nil, "content %d", i)
		sum := sha512.Sum512(content)
		d := "sha512:" + hex.EncodeToString(sum[:])
		for _, part := range []struct {
			digest string
			status int
			code   string
		}{
			{"sha512:" + strings.Repeat("0", 128), http.StatusBadRequest, "DIGEST_INVALID"},
			{d, http.StatusCreated, ""},
			{string(dossier.FromBytes(content)), http.StatusCreated, ""},
		} {
			location := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/"+query, nil).header.Get("Location")
			l.want(t, http.StatusAccepted, "", http.MethodPatch, location, content[:4])
			l.want(t, part.status, part.code, http.MethodPut, location+"?digest="+part.digest, content[4:])
		}
		if a := l.want(t, http.StatusOK, "", http.MethodGet, "/v2/app/blobs/"+d, nil); !bytes.Equal(a.body, content) {
			t.Errorf("%q came back as %q", content, a.body)
		}
	}
}

func TestConditionsAndRanges(t *testing.T) {
	l := newLab(t, nil)
	d := string(l.blob(t, "app", "0123456789"))
	tests := []struct {
		header string
		status int
		body   string
	}{
		{`If-None-Match: "` + d + `"`, http.StatusNotModified, ""},
		{`If-None-Match: "other"`, http.StatusOK, "0123456789"},
		{"Range: bytes=2-4", http.StatusPartialContent, "234"},
		{"Range: bytes=-3", http.StatusPartialContent, "789"},
		{"Range: bytes=7-", http.StatusPartialContent, "789"},
		{"Range: bytes=20-", http.StatusRequestedRangeNotSatisfiable, `{"errors":[{"code":"RANGE_INVALID","message":"there is no such part: bytes=20-"}]}`},
	}
	for _, tt := range tests {
		a := l.do(t, http.MethodGet, "/v2/app/blobs/"+d, nil, tt.header)
		if a.status != tt.status || string(a.body) != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.header, a.status, a.body, tt.status, tt.body)
		}
	}
	a := l.do(t, http.MethodHead, "/v2/app/blobs/"+d, nil, "Range: bytes=2-4")
	if a.status != http.StatusPartialContent || a.header.Get("Content-Length") != "3" {
		t.Errorf("HEAD of a range: %d, %s bytes", a.status, a.header.Get("Content-Length"))
	}
}

func TestPages(t *testing.T) {
	l := newLab(t, nil)
	l.blob(t, "app", "{}")
	subject := dossier.FromBytes([]byte("subject"))
	for i := range 5 {
		more := fmt.Sprintf(`,"artifactType":"type/%d","subject":{"mediaType":%q,"digest":%q,"size":7},"annotations":{"n":"%d"}`, i%2, manifestType, subject, i)
		a := l.want(t, http.StatusCreated, "", http.MethodPut, fmt.Sprintf("/v2/app/manifests/tag%d", i), artifact(more), "Content-Type: "+manifestType)
		if got := a.header.Get("OCI-Subject"); got != string(subject) {
			t.Errorf("OCI-Subject: %q", got)
		}
		l.blob(t, fmt.Sprint("repo", i), "x")
	}
	for path, want := range map[string]int{
		"/v2/app/tags/list?n=2": 5, "/v2/app/tags/list": 5, "/v2/app/tags/list?n=0": 0, "/v2/app/tags/list?n=5": 5, "/v2/app/tags/list?last=tag2&n=1": 2,
		"/v2/_catalog?n=4": 6, "/v2/app/referrers/" + string(subject) + "?n=2": 5, "/v2/app/referrers/" + string(subject) + "?artifactType=type/0&n=1": 3,
		"/v2/none/referrers/" + string(subject): 0,
	} {
		got := 0
		for next := path; next != ""; {
			a := l.want(t, http.StatusOK, "", http.MethodGet, next, nil)
			var page struct {
				Tags, Repositories []string
				Manifests          []json.RawMessage
			}
			if err := json.Unmarshal(a.body, &page); err != nil {
				t.Fatal(err)
			}
			got += len(page.Tags) + len(page.Repositories) + len(page.Manifests)
			next, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
		}
		if got != want {
			t.Errorf("%s: %d entries, want %d", path, got, want)
		}
	}
	l.want(t, http.StatusNotFound, "NAME_UNKNOWN", http.MethodGet, "/v2/none/tags/list", nil)
}

// TestMounts takes blobs from elsewhere.
func TestMounts(t *testing.T) {
	l := newLab(t, nil)
	d := string(l.blob(t, "from", "content"))
	none := string(dossier.FromBytes([]byte("none")))
	for i, tt := range []struct {
		query  string
		status int
	}{
		{"mount=" + d + "&from=from", http.StatusCreated},
		{"mount=" + d, http.StatusCreated},
		{"mount=" + d + "&from=nowhere", http.StatusAccepted},
		{"mount=" + none + "&from=from", http.StatusAccepted},
		{"mount=" + none, http.StatusAccepted},
	} {
		repo := fmt.Sprint("to", i)
		l.want(t, tt.status, "", http.MethodPost, "/v2/"+repo+"/blobs/uploads/?"+tt.query, nil)
		want := http.StatusNotFound
		if tt.status == http.StatusCreated {
			want = http.StatusOK
		}
		if a := l.do(t, http.MethodGet, "/v2/"+repo+"/blobs/"+d, nil); a.status != want {
			t.Errorf("%s: then %d, want %d", tt.query, a.status, want)
		}
	}
}

// TestRefusals checks what never comes to a method.
func TestRefusals(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{})
	l := newLab(t, func(c *registry.Config) {
		c.MaxRequests, c.MaxBlob = 1, 10
		c.Refuse = func(r *http.Request) error {
			switch r.Header.Get("X-Who") {
			case "nobody":
				return &registry.Error{Code: registry.CodeUnauthorized, Err: errors.New("who are you")}
			case "slow":
				close(entered)
				<-release
			}
			return nil
		}
	})
	l.want(t, http.StatusUnauthorized, "UNAUTHORIZED", http.MethodGet, "/v2/", nil, "X-Who: nobody")
	l.want(t, http.StatusUnauthorized, "UNAUTHORIZED", http.MethodGet, "/v2/no/path", nil, "X-Who: nobody")
	l.want(t, http.StatusForbidden, "DENIED", http.MethodPost, "/v2/app/blobs/uploads/", nil, "Sec-Fetch-Site: cross-site")
	l.want(t, http.StatusBadRequest, "SIZE_INVALID", http.MethodPost, "/v2/app/blobs/uploads/?digest="+string(dossier.FromBytes(nil)), []byte("more than ten bytes"))
	done := make(chan error, 1)
	go func() {
		_, err := send(context.WithoutCancel(t.Context()), http.MethodGet, l.url+"/v2/", nil, "X-Who: slow")
		done <- err
	}()
	<-entered
	a := l.want(t, http.StatusTooManyRequests, "TOOMANYREQUESTS", http.MethodGet, "/v2/", nil)
	if a.header.Get("Retry-After") == "" {
		t.Error("it does not say when to come back")
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSecondWriter checks that a second writer of an upload is told so.
func TestSecondWriter(t *testing.T) {
	l := newLab(t, nil)
	location := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil).header.Get("Location")
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	done := make(chan error, 1)
	go func() {
		a, err := send(context.WithoutCancel(t.Context()), http.MethodPatch, l.url+location, r)
		if err == nil && a.status != http.StatusAccepted {
			err = fmt.Errorf("the first writer: %d %s", a.status, a.body)
		}
		done <- err
	}()
	if _, err := w.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	l.awaitHolder(t, "app", location)
	l.want(t, http.StatusConflict, "BLOB_UPLOAD_INVALID", http.MethodPatch, location, []byte("second"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	l.want(t, http.StatusCreated, "", http.MethodPut, location+"?digest="+string(dossier.FromBytes([]byte("first"))), nil)
}

// awaitHolder waits until somebody writes an upload.
func (l *lab) awaitHolder(t *testing.T, repository, location string) {
	t.Helper()
	id := location[strings.LastIndexByte(location, '/')+1:]
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		held := false
		err := l.store.View(t.Context(), func(r store.Reader) error {
			u, err := r.Upload(t.Context(), repository, id)
			held = u.Holder != ""
			return err
		})
		if err != nil || time.Now().After(end) {
			t.Fatalf("nobody writes the upload: %v", err)
		}
		if held {
			return
		}
	}
}

// TestRefusalDoesNotWait refuses a body that does not come to an end.
func TestRefusalDoesNotWait(t *testing.T) {
	l := newLab(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), registry.ReadTimeout/2)
	defer cancel()
	for path, status := range map[string]int{
		"/v2/app/blobs/uploads/" + strings.Repeat("A", 26): http.StatusNotFound,
		"/v2/app/tags/list": http.StatusMethodNotAllowed,
	} {
		r, w := io.Pipe()
		go func() { _, _ = w.Write([]byte("there is more to come")) }()
		a, err := send(ctx, http.MethodPatch, l.url+path, r)
		if err != nil || a.status != status {
			t.Errorf("%s: %d, %v; want %d", path, a.status, err, status)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSweep(t *testing.T) {
	now := time.Now()
	l := newLab(t, func(c *registry.Config) { c.Now = func() time.Time { return now } })
	location := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil).header.Get("Location")
	l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("x"))
	for _, want := range []int{0, 1, 0} {
		if n, err := l.handler.Sweep(t.Context()); err != nil || n != want {
			t.Errorf("%d uploads ended, %v; want %d", n, err, want)
		}
		now = now.Add(registry.UploadLife + 2*time.Hour)
	}
	l.want(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", http.MethodGet, location, nil)
}

// TestDeleteTakesTags deletes a manifest that has several tags, one of them in
// another repository, where it stays.
func TestDeleteTakesTags(t *testing.T) {
	l := newLab(t, nil)
	m := artifact("")
	d := string(dossier.FromBytes(m))
	for _, repository := range []string{"app", "other"} {
		l.blob(t, repository, "{}")
		a := l.want(t, http.StatusCreated, "", http.MethodPut, "/v2/"+repository+"/manifests/"+d+"?tag=a&tag=b", m, "Content-Type: "+manifestType)
		if got := strings.Join(a.header.Values("OCI-Tag"), " "); got != "a b" {
			t.Errorf("OCI-Tag: %s", got)
		}
	}
	l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/manifests/"+d, nil)
	for repository, want := range map[string]string{"app": `[]`, "other": `["a","b"]`} {
		a := l.want(t, http.StatusOK, "", http.MethodGet, "/v2/"+repository+"/tags/list", nil)
		if !strings.Contains(string(a.body), `"tags":`+want) {
			t.Errorf("%s: %s, want %s", repository, a.body, want)
		}
	}
	l.want(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodDelete, "/v2/app/manifests/a", nil)
	l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/other/manifests/a", nil)
}
