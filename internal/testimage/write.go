// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package testimage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"time"

	"dossier.dev/dossier"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// WriteLayout writes c into an OCI image layout in dir, which is made when it is
// not there, and names it tag (no name when tag is empty). A second call adds
// to the layout; an entry of the same name is replaced.
func WriteLayout(dir, tag string, c *Content) error {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	b, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("writing layout: %w", err)
	default:
		if err := json.Unmarshal(b, &index); err != nil {
			return fmt.Errorf("writing layout: %w", err)
		}
	}
	kept := []ocispec.Descriptor{}
	for _, d := range index.Manifests {
		if tag == "" || d.Annotations[ocispec.AnnotationRefName] != tag {
			kept = append(kept, d)
		}
	}
	index.Manifests = append(kept, named(c.Root, tag))
	files, err := layoutFiles(index, c)
	if err != nil {
		return err
	}
	for name, body := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("writing layout: %w", err)
		}
		if err := os.WriteFile(file, body, 0o644); err != nil {
			return fmt.Errorf("writing layout: %w", err)
		}
	}
	return nil
}

func named(d ocispec.Descriptor, tag string) ocispec.Descriptor {
	d.Annotations = maps.Clone(d.Annotations)
	if tag != "" {
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations[ocispec.AnnotationRefName] = tag
	}
	return d
}

func layoutFiles(index ocispec.Index, contents ...*Content) (map[string][]byte, error) {
	top, err := json.Marshal(index)
	if err != nil {
		return nil, fmt.Errorf("writing layout: %w", err)
	}
	files := map[string][]byte{
		ocispec.ImageLayoutFile: []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`),
		ocispec.ImageIndexFile:  top,
	}
	for _, c := range contents {
		for _, list := range [][]Blob{c.Manifests, c.Blobs} {
			for _, b := range list {
				files[BlobPath(b.Digest)] = b.Bytes
			}
		}
	}
	return files, nil
}

// BlobPath is where a layout keeps the bytes of d, with slashes.
func BlobPath(d dossier.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm(), d.Hex())
}

// Named is an image with the name that an archive gives it, such as
// "example.com/app:1.0".
type Named struct {
	Name string
	*Content
}

// WriteArchive writes what docker save writes before Docker 25: a tar file with
// manifest.json, configurations, and layers as uncompressed tar files. Indexes
// cannot be kept in this form.
func WriteArchive(w io.Writer, images ...Named) error {
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var entries []entry
	files := map[string][]byte{}
	for _, im := range images {
		var m ocispec.Manifest
		if err := json.Unmarshal(im.Bytes(im.Digest()), &m); err != nil {
			return fmt.Errorf("writing archive: %w", err)
		}
		config := dossier.Digest(m.Config.Digest)
		e := entry{Config: config.Hex() + ".json", RepoTags: []string{}, Layers: []string{}}
		if im.Name != "" {
			e.RepoTags = append(e.RepoTags, im.Name)
		}
		files[e.Config] = im.Bytes(config)
		for _, l := range m.Layers {
			body, err := decompress(im.Bytes(dossier.Digest(l.Digest)))
			if err != nil {
				return fmt.Errorf("writing archive: %w", err)
			}
			name := dossier.FromBytes(body).Hex() + "/layer.tar"
			files[name] = body
			e.Layers = append(e.Layers, name)
		}
		entries = append(entries, e)
	}
	top, err := json.Marshal(entries)
	if err != nil {
		return fmt.Errorf("writing archive: %w", err)
	}
	files["manifest.json"] = top
	return writeTar(w, files)
}

// WriteLayoutArchive writes what docker save writes since Docker 25: an OCI
// layout in a tar file, each image under the annotations that Docker sets.
func WriteLayoutArchive(w io.Writer, images ...Named) error {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	var contents []*Content
	for _, im := range images {
		d := named(im.Root, im.Name)
		if im.Name != "" {
			d.Annotations["io.containerd.image.name"] = im.Name
		}
		index.Manifests = append(index.Manifests, d)
		contents = append(contents, im.Content)
	}
	files, err := layoutFiles(index, contents...)
	if err != nil {
		return err
	}
	return writeTar(w, files)
}

func writeTar(w io.Writer, files map[string][]byte) error {
	l := Layer{Files: map[string]File{}, ModTime: time.Unix(0, 0)}
	for name, body := range files {
		l.Files[name] = File{Data: body}
	}
	b, err := l.Tar()
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}
