// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/layer"
)

// read reads layer i to its end, checks its digest, and returns its index with
// the content of wanted programs.
func (t *tree) read(ctx context.Context, i int) (*layerIndex, error) {
	l := t.layers[i]
	x := &layerIndex{files: map[string]*file{}, white: map[string]bool{}, opaq: map[string]bool{}}
	limits := layer.Limits{Compressed: t.limits.Layer, Unpacked: t.limits.Unpacked, Entries: t.limits.Entries}
	_, err := layer.Walk(ctx, layer.Source{Digest: l.Digest, Open: l.Open}, limits, func(h *tar.Header, content io.Reader) error {
		if t.entries++; t.entries > t.limits.Entries {
			return dossier.Errorf(dossier.KindLimit, "reading archives", "", fmt.Sprintf("there are more than %d entries", t.limits.Entries))
		}
		return t.take(content, h, i, x)
	})
	if err != nil {
		x.discard()
		return nil, err
	}
	return x, nil
}

// take adds one entry of layer i to x when it matters.
func (t *tree) take(archive io.Reader, h *tar.Header, i int, x *layerIndex) error {
	f := &file{layer: i, path: cleanName(h.Name), kind: h.Typeflag, mode: h.FileInfo().Mode()}
	if len(f.path) > maxPath || len(h.Linkname) > maxPath || f.path == "/" {
		return nil
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if f.mode&0o111 == 0 && !t.bases[path.Base(f.path)] && !isMark(f.path) && x.files[f.path] == nil {
			return nil
		}
		if t.wanted[f.path] && f.executable() {
			spool, err := t.keep(archive, h.Size)
			if err != nil {
				return err
			}
			f.spool, f.examined = spool, true
		}
	case tar.TypeSymlink:
		f.link = h.Linkname
	case tar.TypeLink:
		f.link = cleanName(h.Linkname)
	}
	x.add(f)
	return nil
}

// isMark reports whether a path is a whiteout or marks an opaque directory.
func isMark(p string) bool {
	base := path.Base(p)
	return len(base) > len(whiteout) && base[:len(whiteout)] == whiteout
}

// keep copies a program to a temporary file. It returns nil when the content
// is no program by its first bytes.
func (t *tree) keep(r io.Reader, size int64) (spool *os.File, err error) {
	head := make([]byte, 4)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return nil, err
	}
	if !isProgram(head[:n]) {
		return nil, nil
	}
	if size > t.limits.Program {
		return nil, dossier.Errorf(dossier.KindLimit, "reading program", "", fmt.Sprintf("it has %d bytes, the limit is %d", size, t.limits.Program))
	}
	spool, err = os.CreateTemp(t.limits.TempDir, "dossier-program-*")
	if err != nil {
		return nil, noRoom(err)
	}
	if _, err = io.Copy(spool, io.MultiReader(bytes.NewReader(head[:n]), r)); err != nil {
		spool.Close()
		os.Remove(spool.Name())
		if _, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, noRoom(err)
		}
		return nil, err
	}
	return spool, nil
}

func noRoom(err error) error {
	return &dossier.Error{Kind: dossier.KindStorage, Op: "keeping program", Hint: "Make room in the directory for temporary files.", Err: err}
}
