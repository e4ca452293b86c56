// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package testimage

import (
	"time"

	"dossier.dev/dossier"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is an image for one platform. The zero value is an image for
// linux/amd64 without layers, labels or history.
type Image struct {
	Layers     []Layer
	Platform   string    // "os/arch[/variant]"; empty is linux/amd64, "-" leaves it out
	Created    time.Time // zero leaves it out
	Author     string
	Labels     map[string]string
	Env        []string // "NAME=value"
	Entrypoint []string
	Cmd        []string
	WorkingDir string
	User       string
	// History is the history that the configuration states. When it is nil and
	// any layer has a CreatedBy, one entry a layer is made.
	History      []ocispec.History
	Annotations  map[string]string // of the manifest
	Docker       bool              // Docker schema 2 media types instead of OCI
	ArtifactType string
	Subject      *ocispec.Descriptor
	RawConfig    []byte // stands in place of the configuration, whatever it holds
}

// Build implements Builder.
func (im Image) Build() (*Content, error) {
	manifestType, configType := ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig
	if im.Docker {
		manifestType, configType = DockerManifest, DockerConfig
	}
	c := &Content{}
	manifest := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    manifestType,
		ArtifactType: im.ArtifactType,
		Layers:       []ocispec.Descriptor{},
		Subject:      im.Subject,
		Annotations:  im.Annotations,
	}
	var diffIDs []digest.Digest
	var layers []Blob
	for _, l := range im.Layers {
		blob, diffID, err := l.build(im.Docker)
		if err != nil {
			return nil, err
		}
		layers = append(layers, blob)
		diffIDs = append(diffIDs, digest.Digest(diffID))
		manifest.Layers = append(manifest.Layers, blob.descriptor())
	}
	config := newBlob(configType, im.RawConfig)
	if im.RawConfig == nil {
		var err error
		if config, err = jsonBlob(configType, im.config(diffIDs)); err != nil {
			return nil, err
		}
	}
	manifest.Config = config.descriptor()
	root, err := jsonBlob(manifestType, manifest)
	if err != nil {
		return nil, err
	}
	c.addBlob(config)
	for _, l := range layers {
		c.addBlob(l)
	}
	c.addManifest(root)
	c.Root = root.descriptor()
	c.Root.Platform = platformOf(im.platform())
	return c, nil
}

func (im Image) platform() string {
	switch im.Platform {
	case "":
		return "linux/amd64"
	case "-":
		return ""
	}
	return im.Platform
}

func (im Image) config(diffIDs []digest.Digest) ocispec.Image {
	config := ocispec.Image{
		Author: im.Author,
		Config: ocispec.ImageConfig{
			User:       im.User,
			Env:        im.Env,
			Entrypoint: im.Entrypoint,
			Cmd:        im.Cmd,
			WorkingDir: im.WorkingDir,
			Labels:     im.Labels,
		},
		RootFS:  ocispec.RootFS{Type: "layers", DiffIDs: diffIDs},
		History: im.history(),
	}
	if config.RootFS.DiffIDs == nil {
		config.RootFS.DiffIDs = []digest.Digest{}
	}
	if p := platformOf(im.platform()); p != nil {
		config.Platform = *p
	}
	if !im.Created.IsZero() {
		created := im.Created.UTC()
		config.Created = &created
	}
	return config
}

func (im Image) history() []ocispec.History {
	if im.History != nil {
		return im.History
	}
	var steps []ocispec.History
	named := false
	for _, l := range im.Layers {
		step := ocispec.History{CreatedBy: l.CreatedBy}
		if !im.Created.IsZero() {
			created := im.Created.UTC()
			step.Created = &created
		}
		steps = append(steps, step)
		named = named || l.CreatedBy != ""
	}
	if !named {
		return nil
	}
	return steps
}

// Artifact is a manifest that is no image to run: an SBOM, a Helm chart, a
// signature, a BuildKit attestation.
type Artifact struct {
	ArtifactType string
	ConfigType   string // media type of the configuration; empty is the OCI empty descriptor
	Config       []byte // empty is {}
	Layers       []Blob // Digest may be left empty
	Subject      *ocispec.Descriptor
	Annotations  map[string]string
}

// Build implements Builder.
func (a Artifact) Build() (*Content, error) {
	config := newBlob(a.ConfigType, a.Config)
	if a.ConfigType == "" {
		config.MediaType = ocispec.MediaTypeEmptyJSON
	}
	if len(a.Config) == 0 {
		config = newBlob(config.MediaType, []byte("{}"))
	}
	c := &Content{}
	manifest := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: a.ArtifactType,
		Config:       config.descriptor(),
		Layers:       []ocispec.Descriptor{},
		Subject:      a.Subject,
		Annotations:  a.Annotations,
	}
	c.addBlob(config)
	for _, l := range a.Layers {
		l = newBlob(l.MediaType, l.Bytes)
		manifest.Layers = append(manifest.Layers, l.descriptor())
		c.addBlob(l)
	}
	root, err := jsonBlob(ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return nil, err
	}
	c.addManifest(root)
	c.Root = root.descriptor()
	return c, nil
}

// Raw is a manifest or index given as bytes, right or wrong.
type Raw struct {
	MediaType string
	Bytes     []byte
	Others    []*Content // what it refers to
}

// Build implements Builder.
func (r Raw) Build() (*Content, error) {
	c := &Content{}
	for _, other := range r.Others {
		c.add(other)
	}
	root := newBlob(r.MediaType, r.Bytes)
	c.addManifest(root)
	c.Root = root.descriptor()
	return c, nil
}

// Attestation is a BuildKit attestation manifest about another manifest, as an
// entry of an index.
func Attestation(subject dossier.Digest, statements ...[]byte) Entry {
	var layers []Blob
	for _, s := range statements {
		layers = append(layers, Blob{MediaType: "application/vnd.in-toto+json", Bytes: s})
	}
	return Entry{
		Of: Artifact{
			ConfigType: ocispec.MediaTypeImageConfig,
			Config:     []byte(`{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[]}}`),
			Layers:     layers,
		},
		Platform: "unknown/unknown",
		Annotations: map[string]string{
			"vnd.docker.reference.type":   "attestation-manifest",
			"vnd.docker.reference.digest": string(subject),
		},
	}
}
