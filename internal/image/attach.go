// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	godigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"dossier.dev/dossier"
)

// Attachment is a document that refers to a manifest.
type Attachment struct {
	Subject     Descriptor
	Type        string // media type of the document, and of the artifact
	Document    []byte
	Annotations map[string]string
}

// emptyConfig is the configuration of an artifact that has none (image-spec,
// "Guidelines for Artifact Usage").
var emptyConfig = []byte("{}")

// rawManifest is a manifest as it is pushed.
type rawManifest []byte

// RawManifest implements remote.Taggable.
func (m rawManifest) RawManifest() ([]byte, error) { return m, nil }

// MediaType says what it is.
func (m rawManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// Attach pushes a document that refers to a manifest, as an artifact with one layer, and
// returns its digest. A registry that does not list referrers gets the index under the tag
// that stands in for it.
func (r *Repository) Attach(ctx context.Context, a Attachment) (dossier.Digest, error) {
	door, err := r.source.network.registry(r.source.ref.Registry)
	if err != nil {
		return "", err
	}
	manifest, err := json.Marshal(a.manifest())
	if err != nil {
		return "", &dossier.Error{Kind: dossier.KindInternal, Op: "writing manifest", Err: err}
	}
	d := dossier.FromBytes(manifest)
	repo := door.named.Repo(r.source.ref.Repository)
	opts := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(r.source.network.keychain), remote.WithTransport(r.source.network.base)}
	err = r.within(ctx, func(ctx context.Context) error {
		for _, blob := range []struct {
			b    []byte
			kind string
		}{{a.Document, a.Type}, {emptyConfig, ocispec.MediaTypeEmptyJSON}} {
			if err := remote.WriteLayer(repo, static.NewLayer(blob.b, types.MediaType(blob.kind)), opts...); err != nil {
				return r.source.network.failure("pushing to", r.source.ref.Name(), r.source.ref.Registry, err)
			}
		}
		if err := remote.Put(name.Reference(repo.Digest(string(d))), rawManifest(manifest), opts...); err != nil {
			return r.source.network.failure("pushing to", r.source.ref.Name(), r.source.ref.Registry, err)
		}
		return nil
	})
	return d, err
}

// manifest is that of the artifact.
func (a Attachment) manifest() ocispec.Manifest {
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: a.Type, Annotations: a.Annotations,
		Config:  descriptorOf(ocispec.MediaTypeEmptyJSON, emptyConfig),
		Layers:  []ocispec.Descriptor{descriptorOf(a.Type, a.Document)},
		Subject: &ocispec.Descriptor{MediaType: a.Subject.MediaType, Digest: godigest.Digest(a.Subject.Digest), Size: a.Subject.Size},
	}
	m.SchemaVersion = 2
	return m
}

func descriptorOf(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: godigest.Digest(dossier.FromBytes(b)), Size: int64(len(b))}
}
