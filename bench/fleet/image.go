// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"dossier.dev/dossier"
)

// epoch is when everything in the fleet was made.
func epoch() time.Time { return time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC) }

// architectures are the platforms of every image, and of the nodes in turn.
func architectures() []string { return []string{"amd64", "arm64"} }

// baseLayers is how many layers an image shares with all others of its platform.
const baseLayers = 6

// Image is one image: an index with a manifest for each architecture.
type Image struct {
	Repository string // within the registry, "team-07/app-0123"
	Tag        string
	Source     string // URL of its source code
	Revision   string // the commit it was built from
	Index      dossier.Digest
	Digests    []dossier.Digest // all that must be read to know it: Index, manifests, configurations
}

// Images are a set of images with their bytes.
type Images struct {
	List    []Image
	content map[dossier.Digest]content
	tags    map[string]dossier.Digest // "REPOSITORY:TAG"
}

// content is the bytes of a digest.
type content struct {
	mediaType string // of a manifest or an index; empty for a blob
	bytes     []byte
}

// layer is one layer in its two forms.
type layer struct {
	descriptor v1.Descriptor
	diffID     dossier.Digest
}

// NewImages makes n images: some 15 kB each, of 11 digests that are its own.
func NewImages(n int) (*Images, error) {
	s := &Images{content: map[dossier.Digest]content{}, tags: map[string]dossier.Digest{}}
	base := map[string][]layer{}
	for _, arch := range architectures() {
		for i := range baseLayers {
			l, err := s.addLayer(fmt.Sprintf("usr/lib/%s/part-%d", arch, i), strings.Repeat("base ", 200*(i+1)))
			if err != nil {
				return nil, err
			}
			base[arch] = append(base[arch], l)
		}
	}
	for i := range n {
		image, err := s.addImage(i, base)
		if err != nil {
			return nil, err
		}
		s.List = append(s.List, image)
		s.tags[image.Repository+":"+image.Tag] = image.Index
	}
	return s, nil
}

// addImage makes the i-th image.
func (s *Images) addImage(i int, base map[string][]layer) (Image, error) {
	image := Image{
		Repository: fmt.Sprintf("team-%02d/app-%04d", i%50, i),
		Tag:        fmt.Sprintf("1.%d.%d", i%17, i%5),
		Source:     fmt.Sprintf("https://git.example.com/team-%02d/app-%04d", i%50, i),
		Revision:   dossier.FromBytes(fmt.Appendf(nil, "commit %d", i)).Hex()[:40],
	}
	index := v1.Index{MediaType: v1.MediaTypeImageIndex}
	index.SchemaVersion = 2
	var children []dossier.Digest
	for _, arch := range architectures() {
		own, err := s.addLayer("app/server", fmt.Sprintf("#!/bin/sh\n# %s on %s\nexec sleep infinity\n", image.Repository, arch))
		if err != nil {
			return Image{}, err
		}
		layers := append(base[arch][:baseLayers:baseLayers], own)
		config, err := s.addJSON("", configOf(image, arch, layers))
		if err != nil {
			return Image{}, err
		}
		config.MediaType = v1.MediaTypeImageConfig
		manifest := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: config}
		manifest.SchemaVersion = 2
		for _, l := range layers {
			manifest.Layers = append(manifest.Layers, l.descriptor)
		}
		d, err := s.addJSON(v1.MediaTypeImageManifest, manifest)
		if err != nil {
			return Image{}, err
		}
		d.Platform = &v1.Platform{OS: "linux", Architecture: arch}
		index.Manifests = append(index.Manifests, d)
		children = append(children, dossier.Digest(d.Digest), dossier.Digest(config.Digest))
	}
	d, err := s.addJSON(v1.MediaTypeImageIndex, index)
	if err != nil {
		return Image{}, err
	}
	image.Index = dossier.Digest(d.Digest)
	image.Digests = append([]dossier.Digest{image.Index}, children...)
	return image, nil
}

// configOf is the configuration of an image, as a usual build makes it.
func configOf(image Image, arch string, layers []layer) v1.Image {
	created := epoch()
	_, version, _ := strings.Cut(image.Tag, ".")
	c := v1.Image{Created: &created, Author: "build@example.com"}
	c.OS, c.Architecture = "linux", arch
	c.RootFS.Type = "layers"
	for i, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, v1DigestOf(l.diffID))
		step := fmt.Sprintf("RUN /bin/sh -c apt-get install -y part-%d # buildkit", i)
		if i == len(layers)-1 {
			step = "COPY server /app/server # buildkit"
		}
		c.History = append(c.History, v1.History{Created: &created, CreatedBy: step, Comment: "buildkit.dockerfile.v0"})
	}
	c.History = append(c.History, v1.History{Created: &created, CreatedBy: `ENTRYPOINT ["/app/server"]`, EmptyLayer: true})
	c.Config = v1.ImageConfig{
		User:         "65532",
		Entrypoint:   []string{"/app/server"},
		WorkingDir:   "/app",
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Env:          []string{"PATH=/usr/local/bin:/usr/bin:/bin", "APP_VERSION=1." + version, "LANG=C.UTF-8"},
		Labels: map[string]string{
			v1.AnnotationTitle:         image.Repository[strings.Index(image.Repository, "/")+1:],
			v1.AnnotationVersion:       image.Tag,
			v1.AnnotationDescription:   "A service of " + image.Repository + ".",
			v1.AnnotationSource:        image.Source,
			v1.AnnotationRevision:      image.Revision,
			v1.AnnotationCreated:       created.Format(time.RFC3339),
			v1.AnnotationLicenses:      "Apache-2.0",
			v1.AnnotationVendor:        "Example Company",
			v1.AnnotationBaseImageName: "registry.example.com/base/debian:12",
		},
	}
	return c
}

// addLayer makes a layer with one file.
func (s *Images) addLayer(path, text string) (layer, error) {
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	header := &tar.Header{Name: path, Mode: 0o755, Size: int64(len(text)), ModTime: epoch(), Typeflag: tar.TypeReg}
	if err := w.WriteHeader(header); err != nil {
		return layer{}, err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return layer{}, err
	}
	if err := w.Close(); err != nil {
		return layer{}, err
	}
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain.Bytes()); err != nil {
		return layer{}, err
	}
	if err := z.Close(); err != nil {
		return layer{}, err
	}
	d := s.add("", packed.Bytes())
	d.MediaType = v1.MediaTypeImageLayerGzip
	return layer{descriptor: d, diffID: dossier.FromBytes(plain.Bytes())}, nil
}

func (s *Images) addJSON(mediaType string, v any) (v1.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return s.add(mediaType, b), nil
}

func (s *Images) add(mediaType string, b []byte) v1.Descriptor {
	d := dossier.FromBytes(b)
	s.content[d] = content{mediaType: mediaType, bytes: b}
	return v1.Descriptor{MediaType: mediaType, Digest: v1DigestOf(d), Size: int64(len(b))}
}
