// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package layout makes OCI layouts of images from files that are at hand: layers
// as files, each with its digests, and directories that hold an image. All times
// in layers are 1970, so the same files give the same digests.
package layout

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer is a layer in a file, compressed.
type Layer struct {
	Path       string
	Descriptor v1.Descriptor
	DiffID     digest.Digest
	Unpacked   int64 // bytes
}

// Write writes a layer into a file, compressed by gzip.
func Write(path string, write func(*tar.Writer) error) (l Layer, err error) {
	f, err := os.Create(path)
	if err != nil {
		return l, err
	}
	defer f.Close()
	packed, plain, size := sha256.New(), sha256.New(), &count{}
	z := gzip.NewWriter(io.MultiWriter(f, packed))
	w := tar.NewWriter(io.MultiWriter(z, plain, size))
	if err := write(w); err != nil {
		return l, err
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return l, err
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return l, err
	}
	l = Layer{Path: path, DiffID: digest.NewDigest(digest.SHA256, plain), Unpacked: size.n}
	l.Descriptor = v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.NewDigest(digest.SHA256, packed), Size: at}
	return l, nil
}

// Mark writes into a file what a layer holds with one more file in front, so that
// it is another layer: a member of gzip before those that are there, as tools write
// that compress in parts.
func (l Layer) Mark(path, name string, body []byte) (marked Layer, err error) {
	from, err := os.Open(l.Path)
	if err != nil {
		return marked, err
	}
	defer from.Close()
	to, err := os.Create(path)
	if err != nil {
		return marked, err
	}
	defer to.Close()
	var front bytes.Buffer
	z := gzip.NewWriter(&front)
	w := tar.NewWriter(z)
	if err := errors.Join(WriteFile(w, name, body), w.Flush(), z.Close()); err != nil {
		return marked, err
	}
	packed, plain := sha256.New(), sha256.New()
	size, err := io.Copy(io.MultiWriter(to, packed), io.MultiReader(&front, from))
	if err != nil {
		return marked, err
	}
	if _, err := to.Seek(0, io.SeekStart); err != nil {
		return marked, err
	}
	r, err := gzip.NewReader(to)
	if err != nil {
		return marked, err
	}
	unpacked, err := io.Copy(plain, r)
	if err != nil {
		return marked, err
	}
	marked = Layer{Path: path, DiffID: digest.NewDigest(digest.SHA256, plain), Unpacked: unpacked}
	marked.Descriptor = v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.NewDigest(digest.SHA256, packed), Size: size}
	return marked, nil
}

type count struct{ n int64 }

func (c *count) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// WriteFile writes a file into an archive.
func WriteFile(w *tar.Writer, name string, b []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

// WriteTree writes the files, directories and symbolic links of a directory
// whose names are wanted.
func WriteTree(w *tar.Writer, dir string, wanted func(string) bool) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." || !wanted(name) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := ""
		switch mode := info.Mode(); {
		case mode&fs.ModeSymlink != 0:
			if target, err = os.Readlink(path); err != nil {
				return err
			}
		case !mode.IsRegular() && !mode.IsDir():
			return nil // a device: no layer of an image has one
		}
		h, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		h.Name, h.ModTime, h.Uname, h.Gname = name, time.Unix(0, 0), "", ""
		if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
}

// WriteImage writes an OCI layout of one image. Its layers are links to their files,
// which must lie on the same file system.
func WriteImage(dir string, layers []Layer) error {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	put := func(mediaType string, v any) (v1.Descriptor, error) {
		content, err := json.Marshal(v)
		if err != nil {
			return v1.Descriptor{}, err
		}
		d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
		return d, os.WriteFile(filepath.Join(blobs, d.Digest.Encoded()), content, 0o644)
	}
	platform := v1.Platform{OS: "linux", Architecture: "amd64"}
	config := v1.Image{Platform: platform, RootFS: v1.RootFS{Type: "layers"}}
	manifest := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
		manifest.Layers = append(manifest.Layers, l.Descriptor)
		if err := os.Link(l.Path, filepath.Join(blobs, l.Descriptor.Digest.Encoded())); err != nil {
			return err
		}
	}
	var err error
	if manifest.Config, err = put(v1.MediaTypeImageConfig, config); err != nil {
		return err
	}
	d, err := put(v1.MediaTypeImageManifest, manifest)
	if err != nil {
		return err
	}
	index, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{d}})
	if err != nil {
		return err
	}
	layout, err := json.Marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, v1.ImageIndexFile), index, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, v1.ImageLayoutFile), layout, 0o644)
}
