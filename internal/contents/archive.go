// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/google/osv-scalibr/extractor/filesystem/language/java/archive"

	"dossier.dev/dossier"
)

// budget is what all archives within one may hold.
type budget struct{ bytes int64 }

// unzip extracts from an archive, and from those within it. An extractor gets
// an archive only after its table of contents was found to be of a sane size:
// it would read all of it into memory.
func (r *reader) unzip(ctx context.Context, e extractor, in input, left *budget, depth int) ([]Package, error) {
	table := &tableReader{r: in.body, left: r.limits.Directory + tableOverhead}
	z, err := zip.NewReader(table, in.body.Size())
	if table.exceeded {
		return nil, &missedError{dossier.MissedInner, fmt.Sprintf("the limit Directory of its table of contents is %d bytes", r.limits.Directory)}
	}
	if err != nil {
		return nil, err
	}
	table.unlimited = true
	for _, f := range z.File {
		if isArchiveManifest(f.Name) && f.UncompressedSize64 > uint64(r.limits.Manifest) {
			return nil, &missedError{dossier.MissedInner, fmt.Sprintf("%s has %d bytes, the limit Manifest is %d", f.Name, f.UncompressedSize64, r.limits.Manifest)}
		}
	}
	found, err := e.run(ctx, in)
	err = withoutDepth(err)
	inner := 0
	for _, f := range z.File {
		if !archive.IsArchive(f.Name) || f.FileInfo().IsDir() {
			continue
		}
		inner++
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		more, innerErr := r.unzipInner(ctx, e, in, f, left, depth+1)
		if m, ok := errors.AsType[*missedError](innerErr); ok {
			r.miss(in.path+"!/"+f.Name, m.reason, m.detail)
		} else if innerErr != nil {
			r.miss(in.path+"!/"+f.Name, dossier.MissedBroken, innerErr.Error())
		}
		found = append(found, more...)
	}
	if err == nil && len(found) == 0 && inner == 0 && archive.IsArchive(in.path) {
		err = &missedError{dossier.MissedIdentity, "it does not say which package it is"}
	}
	return found, err
}

// unzipInner extracts from an archive within an archive.
func (r *reader) unzipInner(ctx context.Context, e extractor, outer input, f *zip.File, left *budget, depth int) ([]Package, error) {
	size := int64(f.UncompressedSize64)
	switch {
	case depth > r.limits.Nesting:
		return nil, &missedError{dossier.MissedNesting, fmt.Sprintf("it lies %d archives deep, the limit Nesting is %d", depth, r.limits.Nesting)}
	case f.UncompressedSize64 > uint64(r.limits.Archive):
		return nil, &missedError{dossier.MissedFileSize, fmt.Sprintf("it has %d bytes, the limit Archive is %d", f.UncompressedSize64, r.limits.Archive)}
	case size > left.bytes:
		return nil, &missedError{dossier.MissedInner, fmt.Sprintf("archives within one have more than %d bytes, the limit Inner", r.limits.Inner)}
	}
	if r.looked++; r.looked > r.limits.Files {
		return nil, &missedError{dossier.MissedCount, fmt.Sprintf("there are more than %d files to look into", r.limits.Files)}
	}
	left.bytes -= size
	body, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	at, size, err := r.holder(depth).hold(cancelledReader{ctx.Err, body}, size)
	if err != nil {
		return nil, err
	}
	in := input{
		path: outer.path + "!/" + cleanName(f.Name),
		info: fileInfo{path.Base(f.Name), size, 0o644},
		body: newContent(ctx, at, size),
	}
	found, err := r.unzip(ctx, e, in, left, depth)
	for i := range found {
		if found[i].Inner == "" {
			_, found[i].Inner, _ = strings.Cut(in.path, "!/")
			found[i].Inner = printable(found[i].Inner)
		}
	}
	return found, err
}

// cancelledReader is an io.Reader that fails when its context is done.
type cancelledReader struct {
	done func() error
	r    io.Reader
}

func (c cancelledReader) Read(p []byte) (int, error) {
	if err := c.done(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// isArchiveManifest recognises the files in archives that extractors read.
func isArchiveManifest(name string) bool {
	base := strings.ToLower(path.Base(name))
	return base == "manifest.mf" || base == "pom.properties" || base == "metadata" || base == "pkg-info" || strings.HasSuffix(base, ".egg-info")
}

// tableOverhead is what a reader of zip reads besides the table of contents: it
// looks for the end of the archive in the last 64 KiB, twice at most.
const tableOverhead = 256 << 10

// tableReader bounds how much is read until unlimited is set.
type tableReader struct {
	r         io.ReaderAt
	left      int64
	unlimited bool
	exceeded  bool
}

func (t *tableReader) ReadAt(p []byte, off int64) (int, error) {
	if t.unlimited {
		return t.r.ReadAt(p, off)
	}
	if t.left -= int64(len(p)); t.left < 0 {
		t.exceeded = true
		return 0, errors.New("the table of contents is too large")
	}
	return t.r.ReadAt(p, off)
}

// withoutDepth drops from an error of the Java extractor what it says of
// archives within the archive: those are opened here.
func withoutDepth(err error) error {
	if err == nil {
		return nil
	}
	list := []error{err}
	if inner := errors.Unwrap(err); inner != nil {
		list = []error{inner}
		if many, ok := inner.(interface{ Unwrap() []error }); ok {
			list = many.Unwrap()
		}
	}
	var rest []error
	for _, e := range list {
		if !strings.Contains(e.Error(), "reached max zip depth") {
			rest = append(rest, e)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return rest[0]
}
