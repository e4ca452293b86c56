// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package testimage

import (
	"maps"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Index is an image index: images for several platforms under one digest.
type Index struct {
	Entries     []Entry
	Annotations map[string]string
	Docker      bool // a Docker manifest list instead of an OCI index
}

// Entry is one child of an index.
type Entry struct {
	Of          Builder
	Platform    string // as the index states it; empty is what the child says, "-" states none
	Annotations map[string]string
	// Change alters the descriptor after it was made, to let it lie.
	Change func(*ocispec.Descriptor)
}

// Of returns an index of images, each under its own platform.
func Of(images ...Image) Index {
	var x Index
	for _, im := range images {
		x.Entries = append(x.Entries, Entry{Of: im})
	}
	return x
}

// Build implements Builder.
func (x Index) Build() (*Content, error) {
	mediaType := ocispec.MediaTypeImageIndex
	if x.Docker {
		mediaType = DockerList
	}
	c := &Content{}
	index := ocispec.Index{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   mediaType,
		Manifests:   []ocispec.Descriptor{},
		Annotations: x.Annotations,
	}
	for _, e := range x.Entries {
		child, err := e.Of.Build()
		if err != nil {
			return nil, err
		}
		c.add(child)
		d := child.Root
		switch e.Platform {
		case "":
		case "-":
			d.Platform = nil
		default:
			d.Platform = platformOf(e.Platform)
		}
		d.Annotations = maps.Clone(e.Annotations)
		if e.Change != nil {
			e.Change(&d)
		}
		index.Manifests = append(index.Manifests, d)
	}
	root, err := jsonBlob(mediaType, index)
	if err != nil {
		return nil, err
	}
	c.addManifest(root)
	c.Root = root.descriptor()
	return c, nil
}
