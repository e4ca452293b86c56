// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
)

// blob is a layer in a file, compressed.
type blob struct {
	path       string
	descriptor v1.Descriptor
	diffID     digest.Digest
	unpacked   int64
}

// base returns the layers of base n, base first: the root file system in three
// parts, and before them one that only this base has, so that none is equal to
// another's. They are made once.
func (b *bench) base(n int) ([]blob, error) {
	if layers, ok := b.bases[n]; ok {
		return layers, nil
	}
	var layers []blob
	for part, in := range []func(name string) bool{
		func(name string) bool {
			return !strings.HasPrefix(name, "usr/lib/") && !strings.HasPrefix(name, "usr/share/")
		},
		func(name string) bool { return strings.HasPrefix(name, "usr/lib/") },
		func(name string) bool { return strings.HasPrefix(name, "usr/share/") },
	} {
		l, err := b.layer(fmt.Sprintf("base-%d-%d", n, part), func(w *tar.Writer) error {
			if err := writeFile(w, "opt/base", fmt.Appendf(nil, "%d", n)); err != nil {
				return err
			}
			return writeTree(w, b.rootfs, in)
		})
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	b.bases[n] = layers
	return layers, nil
}

// application returns a layer with a Node application of 50 modules.
func (b *bench) application(n int) (blob, error) {
	return b.layer(fmt.Sprint("application-", n), func(w *tar.Writer) error {
		for m := range 50 {
			name := fmt.Sprintf("app/node_modules/module-%d/package.json", m)
			if err := writeFile(w, name, fmt.Appendf(nil, `{"name":"module-%d","version":"%d.%d.0","license":"MIT"}`, m, n, m)); err != nil {
				return err
			}
		}
		return nil
	})
}

// layer writes a layer into a file.
func (b *bench) layer(name string, write func(*tar.Writer) error) (l blob, err error) {
	l.path = filepath.Join(b.dir, name+".tar.gz")
	f, err := os.Create(l.path)
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
	if err := w.Close(); err != nil {
		return l, err
	}
	if err := z.Close(); err != nil {
		return l, err
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return l, err
	}
	l.diffID, l.unpacked = digest.NewDigest(digest.SHA256, plain), size.n
	l.descriptor = v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.NewDigest(digest.SHA256, packed), Size: at}
	return l, nil
}

type count struct{ n int64 }

func (c *count) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func writeFile(w *tar.Writer, name string, b []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

// writeTree writes the files, directories and symbolic links of a directory
// whose names are wanted.
func writeTree(w *tar.Writer, dir string, wanted func(string) bool) error {
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

// writeLayout writes an OCI layout of one image.
func writeLayout(dir string, layers []blob) error {
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
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.diffID)
		manifest.Layers = append(manifest.Layers, l.descriptor)
		if err := os.Link(l.path, filepath.Join(blobs, l.descriptor.Digest.Encoded())); err != nil {
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

// layers measures how quickly layers are read, beside decompressing alone, in
// this process: one after another, and all side by side.
func (b *bench) layers(ctx context.Context) error {
	base, err := b.base(0)
	if err != nil {
		return err
	}
	var all []contents.Layer
	var size int64
	for _, l := range base {
		size += l.unpacked
		all = append(all, contents.Layer{Digest: dossier.Digest(l.descriptor.Digest), DiffID: dossier.Digest(l.diffID),
			Open: func(context.Context) (io.ReadCloser, error) { return os.Open(l.path) }})
	}
	speed := func(read func() error) (float64, error) {
		least := time.Duration(0)
		for n := range 3 {
			start := time.Now()
			if err := read(); err != nil {
				return 0, err
			}
			if took := time.Since(start); n == 0 || took < least {
				least = took
			}
		}
		return float64(size) / 1e6 / least.Seconds(), nil
	}
	alone, err := speed(func() error {
		for _, l := range base {
			if err := decompress(l.path); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.note("\ndecompression alone, one core", "%8.0f MB/s", alone)
	for _, parallel := range []int{1, 2} {
		got, err := speed(func() error {
			_, err := contents.Read(ctx, all, contents.Options{TempDir: b.dir, Parallel: parallel})
			return err
		})
		if err != nil {
			return err
		}
		b.note(fmt.Sprintf("layers read, %d at a time", parallel), "%8.0f MB/s, %.2f of it", got, got/alone)
	}
	return nil
}

func decompress(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, z)
	return err
}
