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
	"path"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/extractor/filesystem/language/golang/gobinary"

	"dossier.dev/dossier"
)

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// reader reads one layer.
type reader struct {
	limits     Limits
	extractors []extractor
	holders    []*holder // by depth: a file of the layer, an archive in it, ...
	dir        string    // for temporary files

	out      LayerResult
	files    map[string]*File
	releases map[string]dossier.Distribution
	links    map[string]string
	owners   owners
	licenses map[string]string // by package of Debian
	missed   int               // Missed beyond maxMissed
	looked   int               // files that extractors looked into
	found    int               // packages
	text     int64             // bytes that are kept
	windows  bool              // an entry is as only layers of Windows have them

	helpers memoryFS            // files that extractors look up by name
	project projectFS           // where lock files look for others; they are extracted in a project only
	helped  int64               // bytes of helpers
	retry   []retry             // what may need them
	linked  map[string][]string // hard links to files that were passed by, by target
	sources map[string]string   // hard links of wanted names, to their target
}

// retry is a file that is extracted again when the whole layer is known.
type retry struct {
	extractor extractor
	path      string
	body      []byte
}

func newReader(limits Limits, dir string, all []extractor) *reader {
	r := &reader{
		limits: limits, dir: dir,
		out:      LayerResult{Version: Version},
		files:    map[string]*File{},
		releases: map[string]dossier.Distribution{},
		links:    map[string]string{},
		owners:   owners{},
		licenses: map[string]string{},
		helpers:  memoryFS{},
		linked:   map[string][]string{},
		sources:  map[string]string{},
	}
	r.extractors = append(slices.Clone(all),
		extractor{"rpm", database, isRPM, r.extractRPM},
		extractor{"go", program, filesystemExecutable, r.extractGo})
	return r
}

func (r *reader) close() {
	for _, h := range r.holders {
		h.close()
	}
}

// holder returns the one for a depth.
func (r *reader) holder(depth int) *holder {
	for len(r.holders) <= depth {
		r.holders = append(r.holders, &holder{memory: r.limits.Memory, dir: r.dir})
	}
	return r.holders[depth]
}

// miss notes that something was not read.
func (r *reader) miss(p string, reason dossier.Reason, detail string) {
	if len(r.out.Missed) >= maxMissed {
		r.missed++
		return
	}
	r.out.Missed = append(r.out.Missed, dossier.Missed{Path: printable(p), Reason: reason, Detail: printable(detail)})
}

// cleanName returns the path of an entry without a slash in front. Whatever it
// says, it lies within the layer.
func cleanName(name string) string { return path.Clean("/" + name)[1:] }

// take looks at one entry of the layer.
func (r *reader) take(ctx context.Context, h *tar.Header, body io.Reader) error {
	if len(h.Name) > r.limits.Name || len(h.Linkname) > r.limits.Name {
		r.miss(h.Name, dossier.MissedName, fmt.Sprintf("its name or target has more than %d bytes", r.limits.Name))
		return nil
	}
	p := cleanName(h.Name)
	r.windows = r.windows || isWindows(p, h.PAXRecords)
	if p == "" || h.Typeflag == tar.TypeXGlobalHeader || r.takeMark(p) {
		return nil
	}
	if h.Typeflag == tar.TypeDir {
		r.forget(p)
		r.out.Dirs = append(r.out.Dirs, nameHash(p))
		return nil
	}
	r.forget(p)
	r.out.Names = append(r.out.Names, nameHash(p))
	switch h.Typeflag {
	case tar.TypeSymlink:
		if len(r.links) >= r.limits.Links {
			r.miss(p, dossier.MissedCount, fmt.Sprintf("there are more than %d symbolic links", r.limits.Links))
			return nil
		}
		if r.room(p, len(p)+len(h.Linkname)) {
			r.links[p] = h.Linkname
		}
	case tar.TypeLink:
		r.takeHardLink(p, cleanName(h.Linkname), h.FileInfo().Mode())
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return r.takeFile(ctx, p, fileInfo{path.Base(p), h.Size, h.FileInfo().Mode()}, body)
	}
	return nil
}

// takeMark takes a whiteout, and reports whether p is one.
func (r *reader) takeMark(p string) bool {
	dir, base := path.Split(p)
	if !strings.HasPrefix(base, whiteout) {
		return false
	}
	dir = strings.TrimSuffix(dir, "/")
	if len(r.out.Removed)+len(r.out.Opaque) >= r.limits.Removed {
		r.miss(p, dossier.MissedCount, fmt.Sprintf("there are more than %d whiteouts", r.limits.Removed))
		return true
	}
	name := base[len(whiteout):]
	switch {
	case !r.room(p, len(p)):
	case base == opaque:
		r.out.Opaque = append(r.out.Opaque, dir)
	case strings.HasPrefix(name, whiteout), name == "", name == ".", name == "..":
		// Kept by union file systems for themselves, or naming nothing.
	default:
		r.out.Removed = append(r.out.Removed, path.Join(dir, name))
	}
	return true
}

// forget drops what an earlier entry of the same name told: a later one
// replaces it, as when unpacking.
func (r *reader) forget(p string) {
	delete(r.files, p)
	delete(r.releases, p)
	delete(r.links, p)
	delete(r.sources, p)
}

// takeFile looks into a regular file when somebody wants it.
func (r *reader) takeFile(ctx context.Context, p string, info fileInfo, body io.Reader) error {
	switch {
	case isRelease(p):
		return r.takeRelease(p, info.size, body)
	case isOwnerList(p):
		return r.takeOwnerList(p, info.size, body)
	case isCopyright(p):
		return r.takeCopyright(p, body)
	case isHelper(p):
		return r.takeHelper(p, info.size, body)
	}
	wanted := r.wanted(p, info)
	if len(wanted) == 0 {
		return nil
	}
	return r.look(ctx, p, info, body, wanted)
}

// wanted returns the extractors that want a file, by its name and mode.
func (r *reader) wanted(p string, info fs.FileInfo) []extractor {
	var wanted []extractor
	for _, e := range r.extractors {
		if e.required(p, info) {
			wanted = append(wanted, e)
		}
	}
	return wanted
}

// look lets the extractors that want a file have it.
func (r *reader) look(ctx context.Context, p string, info fileInfo, body io.Reader, wanted []extractor) error {
	head := make([]byte, 4)
	n, err := io.ReadFull(body, head)
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if !isProgram(head[:n]) {
		wanted = slices.DeleteFunc(wanted, func(e extractor) bool { return e.sort == program })
	}
	var large error
	wanted = slices.DeleteFunc(wanted, func(e extractor) bool {
		limit, name := r.sizeLimit(e.sortOf(p))
		if info.size > limit && large == nil {
			large = errTooLarge(fmt.Sprintf("%s file of %d bytes", e.name, info.size), name, limit)
		}
		return info.size > limit
	})
	if large != nil {
		r.missError(p, large)
	}
	if len(wanted) == 0 {
		return nil
	}
	if r.looked++; r.looked > r.limits.Files {
		r.miss(p, dossier.MissedCount, fmt.Sprintf("there are more than %d files to look into", r.limits.Files))
		return nil
	}
	at, size, err := r.holder(0).hold(io.MultiReader(strings.NewReader(string(head[:n])), body), info.size)
	if err != nil {
		return err
	}
	info.size = size
	for _, e := range wanted {
		if err := r.extract(ctx, e, p, info, at); err != nil {
			return err
		}
	}
	return nil
}

// extract runs one extractor on one file and keeps what it finds.
func (r *reader) extract(ctx context.Context, e extractor, p string, info fileInfo, at io.ReaderAt) error {
	timed, cancel := context.WithTimeout(ctx, r.limits.FileTime)
	defer cancel()
	in := input{path: p, info: info, body: newContent(timed, at, info.size), files: r.helpers}
	if e.sort == lockfile {
		in.files = r.project
	}
	var found []Package
	var err error
	if e.sortOf(p) == zipped {
		found, err = r.unzip(timed, e, in, &budget{bytes: r.limits.Inner}, 0)
	} else {
		found, err = e.run(timed, in)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case timed.Err() != nil:
		r.miss(p, dossier.MissedTime, fmt.Sprintf("%s took longer than %v", e.name, r.limits.FileTime))
	case err != nil && e.name == "ruby/gemspec" && r.later(e, p, at, info.size):
	case err != nil:
		r.missError(p, err)
	case e.sort == database && len(found) == 0 && info.size > 0:
		r.miss(p, dossier.MissedBroken, errEmptyDatabase.Error())
	}
	r.keep(p, found)
	if e.name == gobinary.Name && r.files[p] != nil && len(found) > 0 {
		r.files[p].Program = goProgram(in.body)
		if timed.Err() != nil {
			r.miss(p, dossier.MissedTime, fmt.Sprintf("its functions were not read within %v", r.limits.FileTime))
		}
	}
	if e.name == "os/apk" {
		r.owners.addAPK(io.NewSectionReader(at, 0, info.size))
	}
	return nil
}

// missError notes why an extractor failed.
func (r *reader) missError(p string, err error) {
	if m, ok := errors.AsType[*missedError](err); ok {
		r.miss(p, m.reason, m.Error())
		return
	}
	r.miss(p, dossier.MissedBroken, err.Error())
}

// room reports whether n more bytes of text about a path may be kept.
func (r *reader) room(p string, n int) bool {
	if r.text+int64(n) > r.limits.Text {
		r.miss(p, dossier.MissedCount, fmt.Sprintf("what is kept of the layer takes more than %d bytes, the limit Text", r.limits.Text))
		return false
	}
	r.text += int64(n)
	return true
}

// length is how many bytes a package takes, about.
func (p Package) length() int {
	return len(p.Name) + len(p.Version) + len(p.Arch) + len(p.Source) + len(p.SourceVersion) + len(p.Module) + len(p.Vendor) + len(p.License) + len(p.Inner)
}

// keep adds packages that a file tells of.
func (r *reader) keep(p string, found []Package) {
	for _, f := range found {
		switch {
		case f.unidentified():
			r.miss(p, dossier.MissedIdentity, "it holds a package that does not say which it is: "+f.Name)
		case r.found >= r.limits.Packages:
			r.miss(p, dossier.MissedCount, fmt.Sprintf("there are more than %d packages", r.limits.Packages))
			return
		case !r.room(p, f.length()+len(p)):
			return
		default:
			r.found++
			if r.files[p] == nil {
				r.files[p] = &File{Path: p}
			}
			r.files[p].Packages = append(r.files[p].Packages, f)
		}
	}
}

func (r *reader) sizeLimit(s sort) (int64, string) {
	switch s {
	case database:
		return r.limits.Database, "Database"
	case program:
		return r.limits.Program, "Program"
	case lockfile:
		return r.limits.Database, "Database"
	case zipped:
		return r.limits.Archive, "Archive"
	}
	return r.limits.Manifest, "Manifest"
}

// missedError is an error that says which limit was exceeded.
type missedError struct {
	reason dossier.Reason
	detail string
}

func (e *missedError) Error() string { return e.detail }

func errTooLarge(what, limit string, n int64) error {
	return &missedError{dossier.MissedFileSize, fmt.Sprintf("%s: the limit %s is %d bytes", what, limit, n)}
}
