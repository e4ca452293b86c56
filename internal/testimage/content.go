// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package testimage

import (
	"encoding/json"
	"fmt"
	"strings"

	"dossier.dev/dossier"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's own forms. The OCI ones are in image-spec.
const (
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerConfig   = "application/vnd.docker.container.image.v1+json"
	DockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	DockerTar      = "application/vnd.docker.image.rootfs.diff.tar"
)

// Builder is anything that can be built: Image, Index, Artifact, Raw.
type Builder interface {
	Build() (*Content, error)
}

// Content is a built image or index with all that it refers to.
type Content struct {
	Root      ocispec.Descriptor
	Manifests []Blob // manifests and indexes, children before parents; Root is the last
	Blobs     []Blob // configurations and layers, each once
}

// Blob is bytes and what they are.
type Blob struct {
	MediaType string
	Digest    dossier.Digest
	Bytes     []byte
}

// Digest returns the digest of the root.
func (c *Content) Digest() dossier.Digest { return dossier.Digest(c.Root.Digest) }

// Bytes returns the bytes of d, whatever it is, or nil.
func (c *Content) Bytes(d dossier.Digest) []byte {
	for _, list := range [][]Blob{c.Manifests, c.Blobs} {
		for _, b := range list {
			if b.Digest == d {
				return b.Bytes
			}
		}
	}
	return nil
}

// Config returns the configuration of an image as JSON, or nil for an index.
func (c *Content) Config() []byte {
	var m ocispec.Manifest
	if json.Unmarshal(c.Bytes(c.Digest()), &m) != nil {
		return nil
	}
	return c.Bytes(dossier.Digest(m.Config.Digest))
}

// add puts in what other holds and c does not.
func (c *Content) add(other *Content) {
	for _, m := range other.Manifests {
		c.addManifest(m)
	}
	for _, b := range other.Blobs {
		c.addBlob(b)
	}
}

func (c *Content) addManifest(b Blob) { c.Manifests = appendNew(c.Manifests, b) }
func (c *Content) addBlob(b Blob)     { c.Blobs = appendNew(c.Blobs, b) }

func appendNew(list []Blob, b Blob) []Blob {
	for _, have := range list {
		if have.Digest == b.Digest {
			return list
		}
	}
	return append(list, b)
}

func newBlob(mediaType string, b []byte) Blob {
	return Blob{MediaType: mediaType, Digest: dossier.FromBytes(b), Bytes: b}
}

func (b Blob) descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: b.MediaType, Digest: digest.Digest(b.Digest), Size: int64(len(b.Bytes))}
}

// jsonBlob marshals v. Maps come out sorted, so equal values give equal bytes.
func jsonBlob(mediaType string, v any) (Blob, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Blob{}, fmt.Errorf("building %s: %w", mediaType, err)
	}
	return newBlob(mediaType, b), nil
}

// platformOf parses "os/arch[/variant]"; empty gives nil.
func platformOf(s string) *ocispec.Platform {
	if s == "" {
		return nil
	}
	parts := append(strings.SplitN(s, "/", 3), "", "")
	return &ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}
