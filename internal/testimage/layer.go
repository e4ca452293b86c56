// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package testimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer is one layer. Missing parent directories are added.
type Layer struct {
	Files        map[string]File // by path, without a leading slash; "dir/.wh.name" removes name
	ModTime      time.Time       // of every file; zero is 1970
	CreatedBy    string          // the instruction, for the image's history
	Uncompressed bool
}

// File is one file of a layer: a directory when Mode says so, a symbolic link
// when Link is set, else a regular file.
type File struct {
	Data []byte
	Mode fs.FileMode // 0 is 0644
	Link string
}

// Text returns a file with mode 0644.
func Text(s string) File { return File{Data: []byte(s)} }

// Program returns a file with mode 0755.
func Program(b []byte) File { return File{Data: b, Mode: 0o755} }

// build returns the layer and the digest of its uncompressed form.
func (l Layer) build(docker bool) (Blob, dossier.Digest, error) {
	tarred, err := l.Tar()
	if err != nil {
		return Blob{}, "", err
	}
	diffID := dossier.FromBytes(tarred)
	if l.Uncompressed {
		mediaType := ocispec.MediaTypeImageLayer
		if docker {
			mediaType = DockerTar
		}
		return newBlob(mediaType, tarred), diffID, nil
	}
	packed, err := compress(tarred)
	if err != nil {
		return Blob{}, "", err
	}
	mediaType := ocispec.MediaTypeImageLayerGzip
	if docker {
		mediaType = DockerLayer
	}
	return newBlob(mediaType, packed), diffID, nil
}

// Tar returns the layer as an uncompressed tar file.
func (l Layer) Tar() ([]byte, error) {
	files := maps.Clone(l.Files)
	if files == nil {
		files = map[string]File{}
	}
	for name := range l.Files {
		for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
			if _, ok := files[dir]; !ok {
				files[dir] = File{Mode: fs.ModeDir | 0o755}
			}
		}
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeEntry(w, name, files[name], l.ModTime); err != nil {
			return nil, fmt.Errorf("building layer: %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("building layer: %w", err)
	}
	return buf.Bytes(), nil
}

func writeEntry(w *tar.Writer, name string, f File, modTime time.Time) error {
	if modTime.IsZero() {
		modTime = time.Unix(0, 0)
	}
	mode := f.Mode.Perm()
	if mode == 0 {
		mode = 0o644
	}
	h := &tar.Header{Name: name, Mode: int64(mode), ModTime: modTime.UTC(), Typeflag: tar.TypeReg, Size: int64(len(f.Data))}
	switch {
	case f.Mode.IsDir():
		h.Typeflag, h.Size, h.Name = tar.TypeDir, 0, strings.TrimSuffix(name, "/")+"/"
	case f.Link != "":
		h.Typeflag, h.Size, h.Linkname = tar.TypeSymlink, 0, f.Link
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	_, err := w.Write(f.Data)
	return err
}

// compress packs b with gzip, without name or time in its header.
func compress(b []byte) ([]byte, error) {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(b); err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	return buf.Bytes(), nil
}

// decompress is the inverse of compress; what is not compressed stays.
func decompress(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
