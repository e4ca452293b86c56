// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"dossier.dev/dossier"
)

// content is a file of a layer that is being extracted: it can be read, read at
// any offset and sought in. It fails once its context is done, so that whoever
// reads it comes to an end.
type content struct {
	*io.SectionReader
}

// cancelled is an io.ReaderAt that fails when ctx is done.
type cancelled struct {
	done func() error
	r    io.ReaderAt
}

func (c cancelled) ReadAt(p []byte, off int64) (int, error) {
	if err := c.done(); err != nil {
		return 0, err
	}
	return c.r.ReadAt(p, off)
}

func newContent(ctx context.Context, r io.ReaderAt, size int64) *content {
	return &content{io.NewSectionReader(cancelled{ctx.Err, r}, 0, size)}
}

// holder holds the content of one file at a time, in memory or, when it is
// large, in a temporary file. Both are used again for the next file.
type holder struct {
	memory int64
	dir    string // for temporary files
	buf    bytes.Buffer
	spool  *os.File
}

// hold copies r, of at most size bytes, and returns what came.
func (h *holder) hold(r io.Reader, size int64) (io.ReaderAt, int64, error) {
	h.buf.Reset()
	if size <= h.memory {
		n, err := h.buf.ReadFrom(io.LimitReader(r, size))
		return bytes.NewReader(h.buf.Bytes()), n, err
	}
	if h.spool == nil {
		f, err := os.CreateTemp(h.dir, "dossier-layer-*")
		if err != nil {
			return nil, 0, noRoom(err)
		}
		h.spool = f
		// Where that can be done the name goes at once: a process that dies leaves
		// nothing behind.
		_ = os.Remove(f.Name())
	}
	if err := errors.Join(h.spool.Truncate(0), rewind(h.spool)); err != nil {
		return nil, 0, noRoom(err)
	}
	n, err := io.Copy(spoolWriter{h.spool}, io.LimitReader(r, size))
	return h.spool, n, err
}

// rewind sets the offset of a file to its beginning.
func rewind(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// spoolWriter tells faults of the disk from those of the layer.
type spoolWriter struct{ f *os.File }

func (w spoolWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err != nil {
		return n, noRoom(err)
	}
	return n, nil
}

// close removes the temporary file.
func (h *holder) close() {
	if h.spool != nil {
		h.spool.Close()
		os.Remove(h.spool.Name())
		h.spool = nil
	}
}

func noRoom(err error) error {
	return &dossier.Error{Kind: dossier.KindStorage, Op: "keeping file of a layer", Hint: "Make room in the directory for temporary files.", Err: err}
}

// memoryFS is the few files of a layer that extractors look up by name.
type memoryFS map[string][]byte

// Open implements fs.FS.
func (m memoryFS) Open(name string) (fs.File, error) {
	b, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memoryFile{bytes.NewReader(b), fileInfo{name: path.Base(name), size: int64(len(b)), mode: 0o644}}, nil
}

// Stat implements fs.StatFS.
func (m memoryFS) Stat(name string) (fs.FileInfo, error) {
	f, err := m.Open(name)
	if err != nil {
		return nil, err
	}
	return f.Stat()
}

// ReadDir implements fs.ReadDirFS: there are no directories.
func (m memoryFS) ReadDir(name string) ([]fs.DirEntry, error) {
	return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
}

type memoryFile struct {
	*bytes.Reader
	info fileInfo
}

func (f *memoryFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *memoryFile) Close() error               { return nil }

// fileInfo describes a regular file.
type fileInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return i.mode }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return false }
func (i fileInfo) Sys() any           { return nil }
