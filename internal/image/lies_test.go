// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/testimage"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// replace serves something else where the path of a request ends in one of the keys.
func replace(with map[string]http.HandlerFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for end, h := range with {
				if strings.HasSuffix(r.URL.Path, end) {
					h(w, r)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

func serve(mediaType string, b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		_, _ = w.Write(b)
	}
}

// endless never stops sending.
func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
	if r.Method == http.MethodHead {
		return
	}
	block := bytes.Repeat([]byte(" "), 64<<10)
	for {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// slow sends a byte now and then.
func slow(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
	for r.Context().Err() == nil {
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		time.Sleep(5 * time.Millisecond)
	}
}

func TestLyingRegistry(t *testing.T) {
	good := testimage.Must(t, testimage.Of(app("linux/amd64")))
	index, manifest, config := good.Manifests[1], good.Manifests[0], good.Blobs[0]
	cut := manifest.Bytes[:len(manifest.Bytes)/2]
	tests := []struct {
		name  string
		lie   map[string]http.HandlerFunc
		kind  dossier.Kind
		words []string
	}{
		{"truncated index", map[string]http.HandlerFunc{string(index.Digest): serve(index.MediaType, index.Bytes[:20])},
			dossier.KindCorrupt, []string{string(index.Digest), string(dossier.FromBytes(index.Bytes[:20]))}},
		{"truncated manifest", map[string]http.HandlerFunc{string(manifest.Digest): serve(manifest.MediaType, cut)},
			dossier.KindCorrupt, []string{string(index.Digest), string(manifest.Digest)}},
		{"truncated manifest of unstated length", map[string]http.HandlerFunc{string(manifest.Digest): func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(cut)
		}}, dossier.KindCorrupt, []string{string(manifest.Digest), string(dossier.FromBytes(cut))}},
		{"other manifest of the same size", map[string]http.HandlerFunc{string(manifest.Digest): serve(manifest.MediaType, bytes.Repeat([]byte("x"), len(manifest.Bytes)))},
			dossier.KindCorrupt, []string{string(index.Digest), string(manifest.Digest), "the bytes received have the digest sha256:"}},
		{"the index again as its child", map[string]http.HandlerFunc{string(manifest.Digest): serve(index.MediaType, index.Bytes)},
			dossier.KindCorrupt, []string{string(index.Digest), string(manifest.Digest)}},
		{"other configuration", map[string]http.HandlerFunc{string(config.Digest): serve("", bytes.Repeat([]byte("x"), len(config.Bytes)))},
			dossier.KindCorrupt, []string{string(manifest.Digest), string(config.Digest)}},
		{"larger configuration", map[string]http.HandlerFunc{string(config.Digest): func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(config.Bytes)
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write([]byte("{}"))
		}}, dossier.KindCorrupt, []string{string(config.Digest), "more"}},
		{"broken off", map[string]http.HandlerFunc{string(config.Digest): func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(config.Bytes)))
			_, _ = w.Write(config.Bytes[:3])
			panic(http.ErrAbortHandler)
		}}, dossier.KindUnavailable, []string{string(config.Digest)}},
		{"endless manifest", map[string]http.HandlerFunc{string(index.Digest): endless}, dossier.KindLimit, []string{"Manifest"}},
		{"endless configuration", map[string]http.HandlerFunc{string(config.Digest): endless}, dossier.KindCorrupt, []string{string(config.Digest)}},
		{"endless tag", map[string]http.HandlerFunc{"/manifests/1": endless}, dossier.KindLimit, []string{"Manifest"}},
		{"slow manifest", map[string]http.HandlerFunc{string(index.Digest): slow}, dossier.KindUnavailable, []string{"time allowed"}},
		{"says it is schema 1", map[string]http.HandlerFunc{string(index.Digest): serve("application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1}`))},
			dossier.KindUnsupported, []string{"schema 1"}},
		{"forbidden", map[string]http.HandlerFunc{string(index.Digest): status(http.StatusForbidden)}, dossier.KindDenied, []string{"403"}},
		{"server error", map[string]http.HandlerFunc{string(index.Digest): status(http.StatusInternalServerError)}, dossier.KindUnavailable, []string{"500"}},
		{"teapot", map[string]http.HandlerFunc{string(index.Digest): status(http.StatusTeapot)}, dossier.KindInvalid, []string{"418"}},
		{"configuration gone", map[string]http.HandlerFunc{string(config.Digest): status(http.StatusNotFound)}, dossier.KindNotFound, []string{string(manifest.Digest), string(config.Digest)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: replace(test.lie)})
			testimage.MustPush(t, r, "app", "1", testimage.Of(app("linux/amd64")))
			c := newClient(t)
			if strings.HasPrefix(test.name, "slow") {
				c.Limits.Time = 100 * time.Millisecond
			}
			tree, err := c.Read(t.Context(), r.Host+"/app:1", image.ReadOptions{})
			if err == nil {
				t.Fatalf("got a tree of %d nodes, want an error", len(tree.Nodes))
			}
			wantKind(t, err, test.kind, test.words...)
		})
	}
}

// TestEndlessPing: the head of an endless answer says all that is needed.
func TestEndlessPing(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: replace(map[string]http.HandlerFunc{"/v2/": endless})})
	testimage.MustPush(t, r, "app", "1", app("linux/amd64"))
	if _, err := newClient(t).Read(t.Context(), r.Host+"/app:1", image.ReadOptions{}); err != nil {
		t.Error(err)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// TestLyingImages is about images that are what their digest says and lie all
// the same.
func TestLyingImages(t *testing.T) {
	lie := func(change func(*ocispec.Descriptor)) testimage.Index {
		return testimage.Index{Entries: []testimage.Entry{{Of: app("linux/amd64"), Change: change}}}
	}
	raw := func(mediaType, s string) testimage.Raw { return testimage.Raw{MediaType: mediaType, Bytes: []byte(s)} }
	config := func(b string) testimage.Image {
		im := app("linux/amd64")
		im.RawConfig = []byte(b)
		return im
	}
	nested := testimage.Builder(app("linux/amd64"))
	for range 5 {
		nested = testimage.Index{Entries: []testimage.Entry{{Of: nested}}}
	}
	wide := testimage.Index{}
	for i := range 12 {
		wide.Entries = append(wide.Entries, testimage.Entry{Of: app(fmt.Sprintf("linux/arch%d", i))})
	}
	other := testimage.Must(t, app("linux/s390x"))
	oneDigest := string(other.Digest())
	descriptor := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, ocispec.MediaTypeImageManifest, oneDigest, other.Root.Size)
	tests := []struct {
		name    string
		content testimage.Builder
		kind    dossier.Kind
		words   []string
	}{
		{"size too small", lie(func(d *ocispec.Descriptor) { d.Size-- }), dossier.KindCorrupt, []string{"bytes"}},
		{"size too large", lie(func(d *ocispec.Descriptor) { d.Size++ }), dossier.KindCorrupt, []string{"bytes"}},
		{"size zero", lie(func(d *ocispec.Descriptor) { d.Size = 0 }), dossier.KindCorrupt, []string{"size should be 0"}},
		{"size huge", lie(func(d *ocispec.Descriptor) { d.Size = 1 << 40 }), dossier.KindLimit, []string{"Manifest"}},
		{"media type", lie(func(d *ocispec.Descriptor) { d.MediaType = ocispec.MediaTypeImageIndex }), dossier.KindCorrupt, []string{"is said to be"}},
		{"config is not JSON", config("not JSON"), dossier.KindCorrupt, []string{"not a JSON object"}},
		{"config is null", config("null"), dossier.KindCorrupt, []string{"not a JSON object"}},
		{"config is a list", config("[]"), dossier.KindCorrupt, []string{"not a JSON object"}},
		{"config is cut", config(`{"os":"linux"`), dossier.KindCorrupt, []string{"JSON"}},
		{"100 MB of labels", config(`{"config":{"Labels":{"x":"` + strings.Repeat("x", 100<<20) + `"}}}`), dossier.KindLimit, []string{"Config", "8388608"}},
		{"5 MB of annotations", testimage.Index{Annotations: map[string]string{"x": strings.Repeat("x", 5<<20)}}, dossier.KindLimit, []string{"Manifest", "4194304"}},
		{"too deep", nested, dossier.KindLimit, []string{"Nesting"}},
		{"too wide", wide, dossier.KindLimit, []string{"IndexEntries"}},
		{"unknown media type", raw("application/vnd.example", `{"schemaVersion":2,"mediaType":"application/vnd.example"}`), dossier.KindUnsupported, []string{"application/vnd.example"}},
		{"schema 1", raw(ocispec.MediaTypeImageManifest, `{"schemaVersion":1,"fsLayers":[]}`), dossier.KindUnsupported, []string{"schema 1"}},
		{"two in one", raw(ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"manifests":[],"config":`+descriptor+`,"layers":[]}`), dossier.KindCorrupt, []string{"at once"}},
		{"index called manifest", testimage.Raw{MediaType: "application/json", Bytes: []byte(`{"mediaType":"` + ocispec.MediaTypeImageManifest + `","manifests":[]}`)}, dossier.KindCorrupt, []string{"media type"}},
		{"nothing", raw("application/json", `{}`), dossier.KindCorrupt, []string{"neither"}},
		{"not JSON", raw("application/json", `hello`), dossier.KindCorrupt, []string{"not a JSON object"}},
		{"malformed digest", raw("application/json", `{"manifests":[{"digest":"sha256:../../etc/passwd","size":1}]}`), dossier.KindCorrupt, []string{"position 0"}},
		{"negative size", raw("application/json", `{"manifests":[{"digest":"`+oneDigest+`","size":-1}]}`), dossier.KindCorrupt, []string{"-1"}},
	}
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			built := testimage.Must(t, test.content)
			name := fmt.Sprintf("app%d", i)
			err := r.Push(t.Context(), name, "1", built)
			if err != nil { // the registry does not like lies: use a layout
				t.Logf("layout in place of a registry: %v", err)
				name = t.TempDir()
				if err := testimage.WriteLayout(name, "1", built); err != nil {
					t.Fatal(err)
				}
				name = "oci:" + name
			} else {
				name = r.Host + "/" + name + ":1"
			}
			c := newClient(t)
			c.Limits.IndexEntries = 10
			tree, err := c.Read(t.Context(), name, image.ReadOptions{})
			if err == nil {
				t.Fatalf("got %q, want an error", shape(tree))
			}
			wantKind(t, err, test.kind, test.words...)
		})
	}
}

// TestIndexThatContainsItself lets a registry answer any digest with an index
// that names that digest again; the digest check ends it.
func TestIndexThatContainsItself(t *testing.T) {
	self := dossier.FromBytes([]byte("self"))
	body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%%d}]}`,
		ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageIndex, self)
	body = fmt.Sprintf(body, len(body)+1)
	r := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: replace(map[string]http.HandlerFunc{
		string(self): serve(ocispec.MediaTypeImageIndex, []byte(body)),
	})})
	built := testimage.Raw{MediaType: ocispec.MediaTypeImageIndex, Bytes: []byte(body)}
	dir := t.TempDir()
	if err := testimage.WriteLayout(dir, "", testimage.Must(t, built)); err != nil {
		t.Fatal(err)
	}
	_, err := newClient(t).Read(t.Context(), r.Host+"/app@"+string(self), image.ReadOptions{})
	wantKind(t, err, dossier.KindCorrupt, string(self), string(dossier.FromBytes([]byte(body))))
	tree, err := newClient(t).Read(t.Context(), "oci:"+dir, image.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Missing) != 1 || tree.Missing[0] != self {
		t.Errorf("missing %v, want %s", tree.Missing, self)
	}
}

func TestDocumentsLimit(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	testimage.MustPush(t, r, "app", "1", testimage.Of(app("linux/a"), app("linux/b"), app("linux/c")))
	c := newClient(t)
	c.Limits.Documents = 5
	_, err := c.Read(t.Context(), r.Host+"/app:1", image.ReadOptions{})
	wantKind(t, err, dossier.KindLimit, "Documents")
}

func TestLayer(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	built := testimage.MustPush(t, r, "app", "1", app("linux/amd64"))
	layer := built.Blobs[1]
	right := image.Descriptor{Digest: layer.Digest, Size: int64(len(layer.Bytes))}
	lying := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: replace(map[string]http.HandlerFunc{
		string(layer.Digest): serve("", bytes.Repeat([]byte("x"), len(layer.Bytes))),
	})})
	stalling := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: replace(map[string]http.HandlerFunc{
		string(layer.Digest): func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(layer.Bytes[:10])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	})})
	tests := []struct {
		name string
		host string
		d    image.Descriptor
		kind dossier.Kind
	}{
		{"right", r.Host, right, ""},
		{"of unknown size", r.Host, image.Descriptor{Digest: layer.Digest}, ""},
		{"other bytes", lying.Host, right, dossier.KindCorrupt},
		{"wrong size", r.Host, image.Descriptor{Digest: layer.Digest, Size: 3}, dossier.KindCorrupt},
		{"not there", r.Host, image.Descriptor{Digest: dossier.FromBytes([]byte("?"))}, dossier.KindNotFound},
		{"too large", r.Host, image.Descriptor{Digest: layer.Digest, Size: 1 << 50}, dossier.KindLimit},
		{"stalls", stalling.Host, right, dossier.KindUnavailable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t)
			c.Limits.Stall = 200 * time.Millisecond
			body, err := c.Layer(t.Context(), test.host+"/app:1", test.d)
			if err == nil {
				var b []byte
				b, err = io.ReadAll(body)
				if closeErr := body.Close(); closeErr != nil {
					t.Errorf("closing: %v", closeErr)
				}
				if err == nil && !bytes.Equal(b, layer.Bytes) {
					t.Errorf("got %d other bytes", len(b))
				}
			}
			wantKind(t, err, test.kind)
		})
	}
}
