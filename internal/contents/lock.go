// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"context"
	"io/fs"
	"os"
	"slices"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/packageslockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/golang/gomod"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/gradlelockfile"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagelockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/pnpmlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/yarnlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/pipfilelock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/poetrylock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/requirements"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/uvlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/ruby/gemfilelock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/rust/cargolock"

	"dossier.dev/dossier"
)

// isSystem reports whether a directory is a root file system: it says which
// distribution it is.
func isSystem(dir *os.Root) bool {
	for _, p := range []string{"etc/os-release", "usr/lib/os-release", "etc/redhat-release", "etc/debian_version"} {
		if _, err := dir.Lstat(p); err == nil {
			return true
		}
	}
	return false
}

// lockExtractors read the files of a project in which its dependencies are
// written down. In an image such files tell what somebody once built with, not
// what is there, so they are read in projects only.
func lockExtractors() ([]extractor, error) {
	config := &cpb.PluginConfig{MaxFileSizeBytes: 1 << 62}
	var all []extractor
	for _, make := range []func(*cpb.PluginConfig) (filesystem.Extractor, error){
		packagelockjson.New, yarnlock.New, pnpmlock.New, requirements.New, poetrylock.New, pipfilelock.New, uvlock.New,
		cargolock.New, gemfilelock.New, gradlelockfile.New, packageslockjson.New,
	} {
		e, err := make(config)
		if err != nil {
			return nil, &dossier.Error{Kind: dossier.KindInternal, Op: "making extractor", Err: err}
		}
		all = append(all, ofScalibr(e, lockfile))
	}
	e, err := gomod.New(config)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInternal, Op: "making extractor", Err: err}
	}
	return append(all, withoutToolchain(ofScalibr(e, lockfile))), nil
}

// withoutToolchain drops the standard library: go.mod tells the least release of
// Go that will do, not the one that builds the program.
func withoutToolchain(e extractor) extractor {
	extract := e.extract
	e.extract = func(ctx context.Context, in input) ([]Package, error) {
		found, err := extract(ctx, in)
		return slices.DeleteFunc(found, func(p Package) bool { return p.Name == "stdlib" }), err
	}
	return e
}

// projectFS is the files of a project that lock files name: go.sum, and what
// requirements.txt includes. Only regular files up to a size are opened.
type projectFS struct {
	dir *os.Root
	max int64
}

// Stat implements fs.StatFS. It follows symbolic links within the project.
func (p projectFS) Stat(name string) (fs.FileInfo, error) { return p.dir.Stat(name) }

// Open implements fs.FS.
func (p projectFS) Open(name string) (fs.File, error) {
	info, err := p.dir.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > p.max {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return p.dir.Open(name)
}

// ReadDir implements fs.ReadDirFS: extractors look for no directories.
func (p projectFS) ReadDir(name string) ([]fs.DirEntry, error) {
	return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
}
