// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/testimage"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// dialInstead returns a Dial that leads some addresses elsewhere.
func dialInstead(to map[string]string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if other, ok := to[addr]; ok {
			addr = other
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

func repositoryOf(t *testing.T, c *image.Client, host, path string) *image.Repository {
	t.Helper()
	r, err := c.Repository(host, path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRepository(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	built := testimage.MustPush(t, r, "team/app", "1", testimage.Of(app("linux/amd64"), app("linux/arm64")))
	repo := repositoryOf(t, newClient(t), r.Host, "team/app")
	root, err := repo.Head(t.Context(), "1")
	if err != nil || root.Digest != built.Digest() {
		t.Fatalf("Head: %+v, %v", root, err)
	}
	for _, m := range built.Manifests {
		n, err := repo.Manifest(t.Context(), m.Digest)
		if err != nil || !bytes.Equal(n.Bytes, m.Bytes) || n.MediaType != m.MediaType {
			t.Errorf("Manifest: %v", err)
		}
	}
	for _, b := range built.Blobs {
		size, err := repo.HeadBlob(t.Context(), b.Digest)
		if err != nil || size != int64(len(b.Bytes)) {
			t.Errorf("HeadBlob: %d, %v", size, err)
		}
		from, err := repo.Blob(t.Context(), b.Digest)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(from)
		if err := errors.Join(err, from.Close()); err != nil || !bytes.Equal(got, b.Bytes) || from.Size != size {
			t.Errorf("Blob: %d of %d bytes, size %d, %v", len(got), len(b.Bytes), from.Size, err)
		}
	}
	missing := dossier.FromBytes([]byte("missing"))
	_, err = repo.Head(t.Context(), "2")
	wantKind(t, err, dossier.KindNotFound)
	_, err = repo.Manifest(t.Context(), missing)
	wantKind(t, err, dossier.KindNotFound)
	_, err = repo.HeadBlob(t.Context(), missing)
	wantKind(t, err, dossier.KindNotFound)
	_, err = repo.Blob(t.Context(), missing)
	wantKind(t, err, dossier.KindNotFound)
	offline := &image.Client{Offline: true}
	_, err = offline.Repository(r.Host, "team/app")
	wantKind(t, err, dossier.KindUnavailable)
}

func TestRepositoryOfAPlainHost(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	built := testimage.MustPush(t, r, "app", "1", app("linux/amd64"))
	c := newClient(t)
	c.PlainHTTP = []string{"registry"}
	c.Dial = dialInstead(map[string]string{"registry:80": r.Host, "registry:443": r.Host})
	root, err := repositoryOf(t, c, "registry", "app").Head(t.Context(), "1")
	if err != nil || root.Digest != built.Digest() {
		t.Errorf("%+v, %v", root, err)
	}
}

func TestReferrersOfRepository(t *testing.T) {
	for _, api := range []bool{true, false} {
		t.Run(fmt.Sprint("API ", api), func(t *testing.T) {
			r := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !api && strings.Contains(r.URL.Path, "/referrers/") {
						w.WriteHeader(http.StatusNotFound)
						return
					}
					next.ServeHTTP(w, r)
				})
			}})
			built := testimage.MustPush(t, r, "app", "1", app("linux/amd64"))
			subject := ocispec.Descriptor{MediaType: built.Root.MediaType, Digest: built.Root.Digest, Size: built.Root.Size}
			note := testimage.MustPush(t, r, "app", "", testimage.Artifact{ArtifactType: "application/x-note", Subject: &subject, Annotations: map[string]string{"a": "b"}})
			c := newClient(t)
			if !api {
				none, err := repositoryOf(t, c, r.Host, "app").Referrers(t.Context(), built.Digest())
				if err != nil || len(none) != 0 {
					t.Errorf("without the tag: %+v, %v", none, err)
				}
				index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"artifactType":"application/x-note","annotations":{"a":"b"}}]}`,
					ocispec.MediaTypeImageIndex, note.Root.MediaType, note.Digest(), note.Root.Size)
				testimage.MustPush(t, r, "app", strings.Replace(string(built.Digest()), ":", "-", 1), testimage.Raw{MediaType: ocispec.MediaTypeImageIndex, Bytes: []byte(index), Others: []*testimage.Content{note}})
			}
			list, err := repositoryOf(t, c, r.Host, "app").Referrers(t.Context(), built.Digest())
			if err != nil || len(list) != 1 || list[0].Digest != note.Digest() || list[0].Annotations["a"] != "b" || !api && list[0].ArtifactType != "application/x-note" {
				t.Errorf("%+v, %v", list, err)
			}
		})
	}
}

// TestHasTag: what is attached to images under tags costs one request a
// repository, and a registry that does not list referrers is asked for them once.
func TestHasTag(t *testing.T) {
	var asked []string
	tags := `{"tags":["1","%s","%[1]s.att"]}`
	d, other := dossier.FromBytes(nil), dossier.FromBytes([]byte("other"))
	r := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/" {
				return
			}
			asked = append(asked, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v2/"))
			switch r.URL.Path {
			case "/v2/a/short/tags/list":
				_, _ = fmt.Fprintf(w, tags, strings.Replace(string(d), ":", "-", 1))
			case "/v2/a/long/tags/list":
				w.Header().Set("Link", `</v2/a/long/tags/list?last=1>; rel="next"`)
				_, _ = w.Write([]byte(`{"tags":["1"]}`))
			default:
				w.WriteHeader(http.StatusNotFound)
			}
		})
	}})
	c := newClient(t)
	short, long, closed := repositoryOf(t, c, r.Host, "a/short"), repositoryOf(t, c, r.Host, "a/long"), repositoryOf(t, c, r.Host, "b/closed")
	for _, test := range []struct {
		r      *image.Repository
		d      dossier.Digest
		suffix string
		want   bool
	}{
		{short, d, ".att", true}, {short, d, ".sbom", false}, {short, d, "", true}, {short, other, ".att", false},
		{long, d, ".sbom", true},
		{closed, d, ".sbom", true},
	} {
		if got := test.r.HasTag(t.Context(), test.d, test.suffix); got != test.want {
			t.Errorf("HasTag of %s, %q: %v", test.d, test.suffix, got)
		}
	}
	for range 2 {
		if list, err := short.Referrers(t.Context(), other); err != nil || len(list) != 0 {
			t.Errorf("%v, %v", list, err)
		}
	}
	for range 2 {
		if list, err := closed.Referrers(t.Context(), other); err != nil || len(list) != 0 {
			t.Errorf("%v, %v", list, err)
		}
	}
	tag := strings.Replace(string(other), ":", "-", 1)
	want := []string{
		"GET a/short/tags/list", "GET a/long/tags/list", "GET b/closed/tags/list",
		"GET a/short/referrers/" + string(other),
		"GET b/closed/referrers/" + string(other), "GET b/closed/manifests/" + tag, // another part of the registry
		"GET b/closed/referrers/" + string(other), "GET b/closed/manifests/" + tag, // it may be the repository that is missing
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked for\n%s\nwant\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
}

// TestPagesOfRepository: lists come in pages, and a registry does not lead us
// elsewhere or round in circles.
func TestPagesOfRepository(t *testing.T) {
	one := fmt.Sprintf(`{"manifests":[{"mediaType":"a/b","digest":%q,"size":1}]}`, dossier.FromBytes(nil))
	link := `<http://elsewhere.invalid/x?last=1>; rel="next"`
	r := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: replace(map[string]http.HandlerFunc{
		"/pages/referrers/" + string(dossier.FromBytes(nil)): func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("last") == "" {
				w.Header().Set("Link", link)
			}
			_, _ = w.Write([]byte(one))
		},
		"/circle/referrers/" + string(dossier.FromBytes(nil)): func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", link)
			_, _ = w.Write([]byte(one))
		},
		"/pages/tags/list": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("last") == "" {
				w.Header().Set("Link", link)
			}
			_, _ = fmt.Fprintf(w, `{"tags":["%s1","%s2"]}`, r.URL.Query().Get("last"), r.URL.Query().Get("n"))
		},
		"/bad/tags/list": serve("application/json", []byte(`{"tags":["a/b"]}`)),
		"/all/tags/list": serve("application/json", []byte(`{"tags":["a","b","c"]}`)),
	})})
	c := newClient(t)
	list, err := repositoryOf(t, c, r.Host, "pages").Referrers(t.Context(), dossier.FromBytes(nil))
	if err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = repositoryOf(t, c, r.Host, "circle").Referrers(t.Context(), dossier.FromBytes(nil))
	wantKind(t, err, dossier.KindLimit, "maxPages")
	tags, more, err := repositoryOf(t, c, r.Host, "pages").Tags(t.Context(), "", 2)
	if err != nil || !more || !slices.Equal(tags, []string{"1", "22"}) {
		t.Errorf("%q, %v, %v", tags, more, err)
	}
	tags, more, err = repositoryOf(t, c, r.Host, "pages").Tags(t.Context(), "x", 3)
	if err != nil || more || !slices.Equal(tags, []string{"x1", "32"}) {
		t.Errorf("%q, %v, %v", tags, more, err)
	}
	if tags, _, err := repositoryOf(t, c, r.Host, "all").Tags(t.Context(), "", 2); err != nil || len(tags) != 3 {
		t.Errorf("%q, %v", tags, err)
	}
	_, _, err = repositoryOf(t, c, r.Host, "bad").Tags(t.Context(), "", 2)
	wantKind(t, err, dossier.KindCorrupt)
}

// TestBlobGoesOn: a blob that breaks off is asked for from there.
func TestBlobGoesOn(t *testing.T) {
	content := make([]byte, 300_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content) // never fails
	d := dossier.FromBytes(content)
	cutAt := func(w http.ResponseWriter, from, to int) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)-from))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(content[from:to])
		if to < len(content) {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	tests := []struct {
		name  string
		serve func(w http.ResponseWriter, n int32, from int)
		kind  dossier.Kind
		asked int32
	}{
		{"whole", func(w http.ResponseWriter, _ int32, from int) { cutAt(w, from, len(content)) }, "", 1},
		{"breaks off twice", func(w http.ResponseWriter, n int32, from int) { cutAt(w, from, min(int(n)*120_000, len(content))) }, "", 3},
		{"knows no ranges", func(w http.ResponseWriter, n int32, _ int) { cutAt(w, 0, min(int(n)*200_000, len(content))) }, "", 2},
		{"minds ranges", func(w http.ResponseWriter, n int32, from int) {
			if from > 0 {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			cutAt(w, 0, min(int(n)*150_000, len(content)))
		}, "", 3},
		{"always breaks off there", func(w http.ResponseWriter, _ int32, from int) { cutAt(w, from, max(from, 100_000)) }, dossier.KindUnavailable, 3},
		{"sends another part", func(w http.ResponseWriter, n int32, from int) { cutAt(w, max(0, from-int(n)+1), 200_000) }, dossier.KindCorrupt, 2},
		{"is gone", func(w http.ResponseWriter, n int32, from int) {
			if n > 1 {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			cutAt(w, from, 100_000)
		}, dossier.KindNotFound, 2},
		{"is another afterwards", func(w http.ResponseWriter, n int32, from int) {
			if n > 1 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(make([]byte, len(content)-from))
				return
			}
			cutAt(w, from, 100_000)
		}, dossier.KindCorrupt, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var n atomic.Int32
			r := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: replace(map[string]http.HandlerFunc{
				string(d): func(w http.ResponseWriter, r *http.Request) {
					from := 0
					_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from) // none: 0
					tt.serve(w, n.Add(1), from)
				},
			})})
			c := newClient(t)
			c.Limits.Retries = 2
			from, err := repositoryOf(t, c, r.Host, "app").Blob(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(from)
			wantKind(t, err, tt.kind)
			if err := from.Close(); err != nil {
				t.Error(err)
			}
			if tt.kind == "" && !bytes.Equal(got, content) {
				t.Error("the bytes differ")
			}
			if n.Load() != tt.asked {
				t.Errorf("asked %d times, want %d", n.Load(), tt.asked)
			}
		})
	}
}
