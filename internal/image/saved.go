// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"dossier.dev/dossier"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// savedList is the file that docker save wrote before Docker 25.
const savedList = "manifest.json"

// saved is a source: an archive in the form of docker save before Docker 25. It
// holds configurations and layers but no manifests.
//
// A manifest is made up for each image, always the same for the same archive:
// an OCI image manifest in compact JSON with the configuration and the layers
// as they lie in the archive. The image's digest is the SHA-256 of that. It is
// not the digest that the image has in any registry, where layers are
// compressed; the digest of the configuration is the same everywhere.
type saved struct {
	location Location
	archive  *archive
	choices  []choice
	made     map[dossier.Digest][]byte // manifests
	names    map[dossier.Digest]string // of the files with configurations and layers
}

// savedImage is an entry of manifest.json.
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// madeManifest is the manifest that is made up. Its form must not change, since
// digests depend on it; that is why it is no type of another module.
type madeManifest struct {
	SchemaVersion int              `json:"schemaVersion"`
	MediaType     string           `json:"mediaType"`
	Config        madeDescriptor   `json:"config"`
	Layers        []madeDescriptor `json:"layers"`
}

type madeDescriptor struct {
	MediaType string         `json:"mediaType"`
	Digest    dossier.Digest `json:"digest"`
	Size      int64          `json:"size"`
}

func openSaved(ctx context.Context, loc Location, a *archive, limits Limits) (source, error) {
	r, size, err := a.open(ctx, savedList)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &dossier.Error{
			Kind: dossier.KindInvalid, Op: opArchive, Subject: loc.Path,
			Hint: "Name a file that `docker save` wrote.",
			Err:  fmt.Errorf("it has neither %s nor %s", ocispec.ImageIndexFile, savedList),
		}
	}
	if err != nil {
		return nil, a.fault(err)
	}
	b, err := readFile(opArchive, loc.Path, r, size, ceiling{"Manifest", limits.Manifest})
	if err != nil {
		return nil, err
	}
	var images []savedImage
	if err := json.Unmarshal(b, &images); err != nil {
		return nil, a.fault(fmt.Errorf("%s: %w", savedList, err))
	}
	if n := len(images); n > limits.IndexEntries {
		return nil, limitError(opArchive, loc.Path, "IndexEntries", int64(limits.IndexEntries), fmt.Sprintf("it has %d images", n))
	}
	s := &saved{location: loc, archive: a, made: map[dossier.Digest][]byte{}, names: map[dossier.Digest]string{}}
	for _, im := range images {
		if err := s.add(ctx, im, limits); err != nil {
			return nil, a.fault(err)
		}
	}
	return s, nil
}

// add makes up the manifest of an image.
func (s *saved) add(ctx context.Context, im savedImage, limits Limits) error {
	config, err := s.archive.find(im.Config)
	if err != nil {
		return err
	}
	diffIDs, err := s.diffIDs(ctx, im.Config, config, limits)
	if err != nil {
		return err
	}
	if len(diffIDs) != len(im.Layers) {
		return fmt.Errorf("the configuration %s names %d layers, %s names %d", config.digest, len(diffIDs), savedList, len(im.Layers))
	}
	m := madeManifest{
		SchemaVersion: 2,
		MediaType:     ocispec.MediaTypeImageManifest,
		Config:        madeDescriptor{ocispec.MediaTypeImageConfig, config.digest, config.size},
		Layers:        []madeDescriptor{},
	}
	s.names[config.digest] = im.Config
	for i, name := range im.Layers {
		l, err := s.archive.find(name)
		if err != nil {
			return err
		}
		mediaType := ocispec.MediaTypeImageLayerGzip
		if !l.packed {
			mediaType = ocispec.MediaTypeImageLayer
			if l.digest != diffIDs[i] {
				return fmt.Errorf("layer %s should have the digest %s and has %s", quote(name), diffIDs[i], l.digest)
			}
		}
		m.Layers = append(m.Layers, madeDescriptor{mediaType, l.digest, l.size})
		s.names[l.digest] = name
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	d := dossier.FromBytes(b)
	s.made[d] = b
	s.choices = append(s.choices, choice{
		names: im.RepoTags,
		root:  Descriptor{MediaType: m.MediaType, Digest: d, Size: int64(len(b))},
	})
	return nil
}

// diffIDs reads the digests of the uncompressed layers from a configuration,
// whose file name must not deny its digest.
func (s *saved) diffIDs(ctx context.Context, name string, e entry, limits Limits) ([]dossier.Digest, error) {
	stated := strings.TrimSuffix(path.Base(name), ".json")
	if d, err := dossier.ParseDigest(dossier.SHA256 + ":" + stated); err == nil && d != e.digest {
		return nil, fmt.Errorf("the configuration %s has the digest %s", quote(name), e.digest)
	}
	if e.size > limits.Config {
		return nil, limitError(opArchive, string(e.digest), "Config", limits.Config, fmt.Sprintf("the configuration has %d bytes", e.size))
	}
	r, size, err := s.archive.open(ctx, name)
	if err != nil {
		return nil, err
	}
	b, err := readFile(opArchive, s.location.Path, r, size, ceiling{"Config", limits.Config})
	if err != nil {
		return nil, err
	}
	var config struct {
		RootFS struct {
			DiffIDs []dossier.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := unmarshalObject(b, &config); err != nil {
		return nil, fmt.Errorf("the configuration %s: %w", e.digest, err)
	}
	return config.RootFS.DiffIDs, nil
}

func (s *saved) name() string { return "" }
func (s *saved) close() error { return nil }

// resolve implements source.
func (s *saved) resolve(context.Context) (Descriptor, error) {
	return choose(s.location, s.choices)
}

// open implements source.
func (s *saved) open(ctx context.Context, _ part, d dossier.Digest) (*body, error) {
	if b, ok := s.made[d]; ok {
		return &body{ReadCloser: io.NopCloser(bytes.NewReader(b)), mediaType: ocispec.MediaTypeImageManifest, size: int64(len(b))}, nil
	}
	name, ok := s.names[d]
	if !ok {
		return nil, dossier.Errorf(dossier.KindNotFound, opArchive, s.location.Path, "it does not hold "+string(d))
	}
	r, size, err := s.archive.open(ctx, name)
	if err != nil {
		return nil, s.archive.fault(err)
	}
	return &body{ReadCloser: r, size: size}, nil
}
