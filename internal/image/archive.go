// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"dossier.dev/dossier"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const opArchive = "reading archive"

// archive is the table of contents of a tar file, plain or gzip.
type archive struct {
	path    string
	size    int64
	modTime time.Time
	entries map[string]entry
}

// entry is one file of an archive.
type entry struct {
	offset int64 // of its bytes in the unpacked archive
	size   int64
	digest dossier.Digest // of its bytes
	packed bool           // it is itself gzip
	link   string         // the entry that it stands for, when it is a link
}

// shelf keeps the archive that was read last, so that resolving, reading and
// then streaming the layers of an image scans it once.
type shelf struct {
	mu   sync.Mutex
	last *archive
}

// open opens the image source of an archive.
func (s *shelf) open(ctx context.Context, loc Location, limits Limits) (source, error) {
	info, err := os.Stat(loc.Path)
	if err != nil {
		return nil, pathError(opArchive, loc.Path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, dossier.Errorf(dossier.KindInvalid, opArchive, loc.Path, "it is not a regular file")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.last
	if a == nil || a.path != loc.Path || a.size != info.Size() || !a.modTime.Equal(info.ModTime()) {
		a = &archive{path: loc.Path, size: info.Size(), modTime: info.ModTime(), entries: map[string]entry{}}
		if err := a.scan(ctx, limits); err != nil {
			return nil, err
		}
		s.last = a
	}
	if _, ok := a.entries[ocispec.ImageIndexFile]; ok {
		return &layout{location: loc, files: a, limits: limits}, nil
	}
	return openSaved(ctx, loc, a, limits)
}

// scan reads the archive from end to end.
func (a *archive) scan(ctx context.Context, limits Limits) error {
	r, err := a.unpacked(ctx)
	if err != nil {
		return err
	}
	defer r.Close() // it was only read
	counter := &position{r: r, path: a.path, limit: limits.Archive}
	t := tar.NewReader(counter)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return a.fault(err)
		}
		if len(a.entries) >= limits.ArchiveEntries {
			return limitError(opArchive, a.path, "ArchiveEntries", int64(limits.ArchiveEntries), "it has more files")
		}
		if err := a.add(h, t, counter.n); err != nil {
			return a.fault(err)
		}
	}
}

// add takes a file or a link into the table. Anything else, and what lies
// outside of the archive's root, is left out.
func (a *archive) add(h *tar.Header, content io.Reader, offset int64) error {
	name := path.Clean(strings.TrimLeft(h.Name, "/"))
	if !fs.ValidPath(name) {
		return nil
	}
	switch h.Typeflag {
	case tar.TypeReg:
		head := &prefix{}
		hash := sha256.New()
		if _, err := io.Copy(io.MultiWriter(hash, head), content); err != nil {
			return err
		}
		a.entries[name] = entry{
			offset: offset, size: h.Size, packed: head.isGzip(),
			digest: dossier.FromHash(dossier.SHA256, hash),
		}
	case tar.TypeSymlink:
		a.entries[name] = entry{link: path.Join(path.Dir(name), h.Linkname)}
	case tar.TypeLink:
		a.entries[name] = entry{link: path.Clean(h.Linkname)}
	}
	return nil
}

// fault says that the archive cannot be read.
func (a *archive) fault(err error) error {
	if _, ok := errors.AsType[*dossier.Error](err); ok {
		return err
	}
	kind := dossier.KindCorrupt
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		kind = dossier.KindUnavailable
	}
	return &dossier.Error{
		Kind: kind, Op: opArchive, Subject: a.path,
		Hint: "Write it again with `docker save`.", Err: err,
	}
}

// find returns the entry of a name, through links.
func (a *archive) find(name string) (entry, error) {
	const maxLinks = 8
	for range maxLinks {
		e, ok := a.entries[path.Clean(name)]
		if !ok {
			return entry{}, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		if e.link == "" {
			return e, nil
		}
		name = e.link
	}
	return entry{}, fmt.Errorf("%s: more than %d links", quote(name), maxLinks)
}

func (a *archive) close() error { return nil }

// open implements files.
func (a *archive) open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	e, err := a.find(name)
	if err != nil {
		return nil, 0, err
	}
	r, err := a.unpacked(ctx)
	if err != nil {
		return nil, 0, err
	}
	if err := r.skip(e.offset); err != nil {
		return nil, 0, errors.Join(a.fault(err), r.Close())
	}
	return &section{Reader: io.LimitReader(r, e.size), Closer: r}, e.size, nil
}

// section is a part of a file with the file's Close.
type section struct {
	io.Reader
	io.Closer
}

// stream is an archive being read, unpacked.
type stream struct {
	over func() error // says when the context of the stream has ended
	file *os.File
	r    io.Reader
	gzip bool
}

// unpacked opens the archive at its beginning.
func (a *archive) unpacked(ctx context.Context) (*stream, error) {
	f, err := os.Open(a.path)
	if err != nil {
		return nil, pathError(opArchive, a.path, err)
	}
	s := &stream{over: ctx.Err, file: f, r: f}
	var magic [2]byte
	if _, err := f.ReadAt(magic[:], 0); err == nil && isGzip(magic[:]) {
		z, err := gzip.NewReader(bufio.NewReaderSize(f, 256<<10))
		if err != nil {
			return nil, errors.Join(a.fault(err), f.Close())
		}
		s.r, s.gzip = z, true
	}
	return s, nil
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if err := s.over(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// Close implements io.Closer.
func (s *stream) Close() error { return s.file.Close() }

// skip goes forward to an offset.
func (s *stream) skip(offset int64) error {
	if !s.gzip {
		_, err := s.file.Seek(offset, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, s, offset)
	return err
}

// position counts what is read and stops at a limit.
type position struct {
	r     io.Reader
	path  string
	n     int64
	limit int64
}

// Read implements io.Reader.
func (p *position) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	if p.n > p.limit {
		return 0, limitError(opArchive, p.path, "Archive", p.limit, "it unpacks to more bytes")
	}
	return n, err
}

// prefix keeps the first bytes written to it.
type prefix struct {
	b [2]byte
	n int
}

// Write implements io.Writer.
func (p *prefix) Write(b []byte) (int, error) {
	if p.n < len(p.b) {
		p.n += copy(p.b[p.n:], b)
	}
	return len(b), nil
}

func (p *prefix) isGzip() bool { return p.n == len(p.b) && isGzip(p.b[:]) }

func isGzip(b []byte) bool { return b[0] == 0x1f && b[1] == 0x8b }
