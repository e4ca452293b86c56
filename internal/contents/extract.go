// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/depsjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/golang/gobinary"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/archive"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagejson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/wheelegg"
	"github.com/google/osv-scalibr/extractor/filesystem/language/ruby/gemspec"
	"github.com/google/osv-scalibr/extractor/filesystem/os/apk"
	"github.com/google/osv-scalibr/extractor/filesystem/os/dpkg"
	scalibrfs "github.com/google/osv-scalibr/fs"
	scalibrlog "github.com/google/osv-scalibr/log"

	"dossier.dev/dossier"
)

// sort says which limit holds for a file.
type sort int

const (
	database sort = iota // of a package manager
	program              // told by its first bytes
	zipped               // a zip archive
	manifest             // small
	lockfile             // of a project
)

// extract makes packages out of one file.
type extract func(ctx context.Context, in input) ([]Package, error)

// input is a file as an extractor gets it.
type input struct {
	path  string // without a slash in front
	info  fs.FileInfo
	body  *content
	files scalibrfs.FS // other files of the layer that were kept, or of the project
}

// extractor is one way to find packages.
type extractor struct {
	name     string
	sort     sort
	required func(path string, info fs.FileInfo) bool
	extract  extract
}

// quiet stops osv-scalibr from writing to the standard logger, through which it
// says more than it returns. Its logger is a variable of its package.
var quiet = sync.OnceFunc(func() { scalibrlog.SetLogger(silence{}) })

// silence is a logger that drops everything.
type silence struct{}

func (silence) Errorf(string, ...any) {}
func (silence) Error(...any)          {}
func (silence) Warnf(string, ...any)  {}
func (silence) Warn(...any)           {}
func (silence) Infof(string, ...any)  {}
func (silence) Info(...any)           {}
func (silence) Debugf(string, ...any) {}
func (silence) Debug(...any)          {}

// extractors returns all of them. osv-scalibr's own limits are turned off, since
// what they leave out is not reported.
func extractors(limits Limits) ([]extractor, error) {
	quiet()
	fromName := true
	config := &cpb.PluginConfig{
		MaxFileSizeBytes: 1 << 62,
		PluginSpecific: []*cpb.PluginSpecificConfig{{Config: &cpb.PluginSpecificConfig_Dpkg{
			// What is unpacked and not configured is there as well; see isGone.
			Dpkg: &cpb.DpkgConfig{IncludeNotInstalled: true},
		}}, {Config: &cpb.PluginSpecificConfig_JavaArchive{
			// Archives within archives are opened by us.
			JavaArchive: &cpb.JavaArchiveConfig{MaxZipDepth: 1, MaxOpenedBytes: 1 << 62, HashJars: new(bool), ExtractFromFilename: &fromName},
		}}},
	}
	all := []extractor{
		{"cargo", program, filesystemExecutable, func(_ context.Context, in input) ([]Package, error) {
			return rustPackages(in.body, limits.Manifest)
		}},
		{"composer", manifest, isComposer, extractComposer},
	}
	for _, s := range []struct {
		sort sort
		make func(*cpb.PluginConfig) (filesystem.Extractor, error)
	}{
		{database, dpkg.New},
		{database, apk.New},
		{program, gobinary.New},
		{zipped, archive.New},
		{manifest, wheelegg.New},
		{manifest, packagejson.New},
		{manifest, gemspec.New},
		{manifest, depsjson.New},
	} {
		e, err := s.make(config)
		if err != nil {
			return nil, &dossier.Error{Kind: dossier.KindInternal, Op: "making extractor", Err: err}
		}
		all = append(all, ofScalibr(e, s.sort))
	}
	return all, nil
}

// ofScalibr makes an extractor out of one of osv-scalibr's.
func ofScalibr(e filesystem.Extractor, sort sort) extractor {
	return extractor{
		name:     e.Name(),
		sort:     sort,
		required: func(path string, info fs.FileInfo) bool { return e.FileRequired(fileAPI{path, info}) },
		extract: func(ctx context.Context, in input) ([]Package, error) {
			found, err := e.Extract(ctx, &filesystem.ScanInput{FS: in.files, Path: in.path, Info: in.info, Reader: in.body})
			var packages []Package
			for _, p := range found.Packages {
				if converted, ok := convert(p); ok {
					packages = append(packages, converted)
				}
			}
			licensed(e.Name(), in, packages)
			return packages, err
		},
	}
}

// fileAPI is a file before it is read.
type fileAPI struct {
	path string
	info fs.FileInfo
}

func (f fileAPI) Path() string               { return f.path }
func (f fileAPI) Stat() (fs.FileInfo, error) { return f.info, nil }

func filesystemExecutable(p string, info fs.FileInfo) bool {
	return filesystem.IsInterestingExecutable(fileAPI{p, info})
}

// run extracts, and makes an error of a panic: readers of files from outside do
// not promise to be safe on them.
func (e extractor) run(ctx context.Context, in input) (found []Package, err error) {
	defer func() {
		if p := recover(); p != nil {
			found, err = nil, fmt.Errorf("%s failed on it: %v", e.name, p)
		}
	}()
	if _, err := in.body.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return e.extract(ctx, in)
}

// sortOf returns the sort of a file for this extractor: eggs, wheels and the
// like are manifests by name and archives by content.
func (e extractor) sortOf(p string) sort {
	if e.sort == manifest && isPythonArchive(p) {
		return zipped
	}
	return e.sort
}

func isPythonArchive(p string) bool {
	ext := path.Ext(p)
	return ext == ".egg" || ext == ".whl"
}

// isProgram reports whether the first bytes of a file are those of an
// executable: ELF, PE or Mach-O.
func isProgram(head []byte) bool {
	for _, magic := range []string{"\x7fELF", "MZ", "\xfe\xed\xfa", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe"} {
		if strings.HasPrefix(string(head), magic) {
			return true
		}
	}
	return false
}

// errEmptyDatabase says that a package database told of nothing. osv-scalibr logs
// and forgets some of the reasons why that can be.
var errEmptyDatabase = errors.New("it is not empty, and no package was found in it")
