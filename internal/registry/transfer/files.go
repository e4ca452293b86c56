// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// Limits of what is read.
const (
	MaxIndex   = 64 << 20  // bytes of the index.json of a layout
	MaxLink    = 1 << 10   // bytes of a link file
	MaxEntries = 5_000_000 // names in one directory, entries of one index.json
	MaxDepth   = 32        // directories within directories on the way to a repository
	MaxNesting = 8         // indexes within indexes
)

var errIrregular = errors.New("it is not a regular file")

// directory is a directory out of which no name and no link leads.
type directory struct {
	root *os.Root
	name string // as people gave it
}

func openDirectory(name string) (*directory, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err // the path is the subject
		}
		kind := dossier.KindInvalid
		if errors.Is(err, fs.ErrNotExist) {
			kind = dossier.KindNotFound
		}
		return nil, &dossier.Error{Kind: kind, Op: opImport, Subject: name, Err: err, Hint: "Name a directory that can be read."}
	}
	return &directory{root, name}, nil
}

func (d *directory) close() error { return d.root.Close() }

// fault says what is wrong with a file.
func (d *directory) fault(kind dossier.Kind, name string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return &dossier.Error{Kind: kind, Op: opImport, Subject: path.Join(d.name, name), Err: err}
}

// open opens a regular file. An absent one is fs.ErrNotExist.
func (d *directory) open(name string) (*os.File, error) {
	info, err := d.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait for its other end
		return nil, errIrregular
	}
	return d.root.Open(name)
}

// read reads a small file. An absent one is fs.ErrNotExist.
func (d *directory) read(name string, limit int64) ([]byte, fs.FileInfo, error) {
	f, err := d.open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return b, info, err
}

// list returns the names of what is in a directory, in order; of one that is not
// there none.
func (d *directory) list(name string) ([]fs.DirEntry, error) {
	f, err := d.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, d.fault(dossier.KindInvalid, name, err)
	}
	defer f.Close()
	const atOnce = 10_000
	var all []fs.DirEntry
	for {
		some, err := f.ReadDir(atOnce)
		all = append(all, some...)
		switch {
		case len(all) > MaxEntries:
			return nil, d.fault(dossier.KindLimit, name, fmt.Errorf("it has more than MaxEntries, %d, names", MaxEntries))
		case errors.Is(err, io.EOF):
			slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
			return all, nil
		case err != nil:
			return nil, d.fault(dossier.KindInvalid, name, err)
		}
	}
}

// has reports whether there is something of that name.
func (d *directory) has(name string) bool {
	_, err := d.root.Stat(name)
	return err == nil
}
