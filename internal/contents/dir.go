// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"dossier.dev/dossier"
)

const opDir = "reading directory"

// ReadDir reads a directory as ReadLayer reads a layer: a root file system, or a
// project, of which it also reads the files that name its dependencies (go.mod,
// package-lock.json, requirements.txt and the like). Symbolic links are not followed out of it, and
// the file systems of the kernel at its top (proc, sys, dev) are left out. The
// result has no digest: nothing says that a directory stays as it is.
//
// What cannot be opened is Missed. It fails with KindNotFound or KindInvalid when
// root is no directory, KindDenied when it may not be read, KindLimit when Time
// is exceeded, KindStorage as ReadLayer.
func ReadDir(ctx context.Context, root string, o Options) (LayerResult, error) {
	limits := o.Limits.orDefault()
	all, err := extractors(limits)
	if err != nil {
		return LayerResult{}, err
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return LayerResult{}, dirError(root, err)
	}
	defer dir.Close()
	if !isSystem(dir) {
		locks, err := lockExtractors()
		if err != nil {
			return LayerResult{}, err
		}
		all = append(all, locks...)
	}
	r := newReader(limits, o.TempDir, all)
	r.project = projectFS{dir, limits.Manifest}
	defer r.close()
	timed, cancel := context.WithTimeoutCause(ctx, limits.Time, errLayerTime)
	defer cancel()
	if err := r.walk(timed, dir); err != nil {
		if ctx.Err() == nil && errors.Is(context.Cause(timed), errLayerTime) {
			return LayerResult{}, dossier.Errorf(dossier.KindLimit, opDir, root, fmt.Sprintf("it takes longer than %v", limits.Time))
		}
		return LayerResult{}, dirError(root, err)
	}
	return r.finish(), nil
}

// dirError gives an error of the file system its kind.
func dirError(root string, err error) error {
	if _, ok := errors.AsType[*dossier.Error](err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	kind := dossier.KindStorage
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = dossier.KindNotFound
	case errors.Is(err, fs.ErrPermission):
		kind = dossier.KindDenied
	default:
		if info, statErr := os.Stat(root); statErr == nil && !info.IsDir() {
			kind = dossier.KindInvalid
		}
	}
	return &dossier.Error{Kind: kind, Op: opDir, Subject: root, Err: err}
}

// walk reads all that lies in a directory, in the order of names.
func (r *reader) walk(ctx context.Context, dir *os.Root) error {
	full := errors.New("there are too many entries")
	err := fs.WalkDir(dir.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && p == ".":
			return err
		case err != nil:
			r.miss(p, dossier.MissedBroken, reasonOf(err))
			return nil
		case d.IsDir() && slices.Contains([]string{"proc", "sys", "dev"}, p):
			return fs.SkipDir
		case p == ".":
			return nil
		}
		if r.out.Entries++; r.out.Entries > r.limits.Entries {
			r.miss("", dossier.MissedLayer, fmt.Sprintf("there are more than %d entries", r.limits.Entries))
			return full
		}
		return r.takeEntry(ctx, dir, p, d)
	})
	if err != nil && !errors.Is(err, full) {
		return err
	}
	return r.again(ctx)
}

// takeEntry looks at one entry of a directory.
func (r *reader) takeEntry(ctx context.Context, dir *os.Root, p string, d fs.DirEntry) error {
	if d.Type()&(fs.ModeSocket|fs.ModeNamedPipe|fs.ModeDevice|fs.ModeIrregular) != 0 {
		return nil
	}
	info, err := d.Info()
	if err != nil {
		r.miss(p, dossier.MissedBroken, reasonOf(err))
		return nil
	}
	h := &tar.Header{Name: p, Mode: int64(info.Mode().Perm()), Size: info.Size(), Typeflag: tar.TypeReg}
	switch {
	case d.IsDir():
		h.Typeflag = tar.TypeDir
	case d.Type()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = dir.Readlink(p); err != nil {
			r.miss(p, dossier.MissedBroken, reasonOf(err))
			return nil
		}
	default:
		r.out.Unpacked += info.Size()
	}
	body := &lazyFile{dir: dir, path: p}
	defer body.Close()
	err = r.take(ctx, h, body)
	if body.failed != nil && ctx.Err() == nil {
		r.miss(p, dossier.MissedBroken, reasonOf(body.failed))
		return nil
	}
	return err
}

// reasonOf is an error of the file system without the path, which is told beside
// it.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Op + ": " + e.Err.Error()
	}
	return err.Error()
}

// lazyFile is a file that is opened when somebody reads it: few are.
type lazyFile struct {
	dir    *os.Root
	path   string
	file   *os.File
	failed error // why it could not be opened or read
}

func (l *lazyFile) Read(p []byte) (int, error) {
	if l.file == nil && l.failed == nil {
		l.file, l.failed = l.dir.Open(l.path)
	}
	if l.failed != nil {
		return 0, l.failed
	}
	n, err := l.file.Read(p)
	if err != nil && err != io.EOF {
		l.failed = err
	}
	return n, err
}

// Close closes the file if it was opened.
func (l *lazyFile) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
