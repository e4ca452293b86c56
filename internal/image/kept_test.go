// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/testimage"
)

// shelf keeps bytes by digest, and where one tag points.
type shelf struct {
	tag   string
	root  dossier.Digest
	bytes map[dossier.Digest][]byte
}

func (s shelf) Head(_ context.Context, tag string) (image.Descriptor, error) {
	if tag != s.tag {
		return image.Descriptor{}, dossier.Errorf(dossier.KindNotFound, "resolving", tag, "there is no such tag")
	}
	return image.Descriptor{Digest: s.root}, nil
}

func (s shelf) Manifest(_ context.Context, d dossier.Digest) ([]byte, error) {
	b, ok := s.bytes[d]
	if !ok {
		return nil, dossier.Errorf(dossier.KindNotFound, "reading", string(d), "it is not kept")
	}
	return b, nil
}

func (s shelf) Blob(ctx context.Context, d image.Descriptor) (io.ReadCloser, error) {
	b, err := s.Manifest(ctx, d.Digest)
	return io.NopCloser(bytes.NewReader(b)), err
}

// TestKept reads what is kept in this process, and from a registry only what is not.
func TestKept(t *testing.T) {
	r := testimage.NewRegistry(t, testimage.RegistryOptions{})
	built := testimage.MustPush(t, r, "team/app", "1", testimage.Of(app("linux/amd64"), app("linux/arm64")))
	all := map[dossier.Digest][]byte{}
	for _, m := range built.Manifests {
		all[m.Digest] = m.Bytes
	}
	root := all[built.Digest()]
	for _, b := range built.Blobs {
		all[b.Digest] = b.Bytes
	}
	without := map[dossier.Digest][]byte{built.Digest(): root}
	wrong := map[dossier.Digest][]byte{built.Digest(): append([]byte(" "), root...)}
	tests := []struct {
		name     string
		kept     map[dossier.Digest][]byte
		whole    bool
		kind     dossier.Kind
		requests int // for the tag, manifests and configurations
	}{
		{"all of a repository", all, true, "", 0},
		{"all, of one that is elsewhere", all, false, "", 1},
		{"a part", without, false, "", 1 + 4},
		{"nothing", nil, false, "", 1 + 5},
		{"not all of what should be all", without, true, "", 0},
		{"other bytes", wrong, true, dossier.KindCorrupt, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.ResetRequests()
			c := newClient(t)
			c.Kept = func(ref dossier.Reference) (image.Kept, bool) {
				if ref.Registry != r.Host || ref.Repository != "team/app" {
					t.Errorf("it asks for %s", ref)
				}
				return shelf{"1", built.Digest(), tt.kept}, tt.whole
			}
			location := r.Host + "/team/app:1"
			d, err := c.Resolve(t.Context(), location)
			if err != nil || d.Digest != built.Digest() {
				t.Fatalf("Resolve: %+v, %v", d, err)
			}
			tree, err := c.Read(t.Context(), location, image.ReadOptions{Root: d})
			if dossier.KindOf(err) != tt.kind {
				t.Fatalf("Read: %v, want kind %q", err, tt.kind)
			}
			if got := r.Count(http.MethodGet, "/team/app/") + r.Count(http.MethodHead, "/team/app/"); got != tt.requests {
				t.Errorf("the registry was asked %d times, want %d: %v", got, tt.requests, r.Requests())
			}
			if err == nil && tree.Name != r.Host+"/team/app" {
				t.Errorf("it lies in %s", tree.Name)
			}
		})
	}
	if _, err := (&image.Client{Offline: true, Kept: func(dossier.Reference) (image.Kept, bool) { return shelf{"1", built.Digest(), all}, true }}).
		Read(t.Context(), r.Host+"/team/app:1", image.ReadOptions{}); err != nil {
		t.Errorf("without a network: %v", err)
	}
}
