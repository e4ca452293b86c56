// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"archive/tar"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// maxHelped is how many bytes of helpers and of files that wait for them are
// kept, and maxHelper how many of one.
const (
	maxHelped = 8 << 20
	maxHelper = 64 << 10
)

// isHelper recognises files in which a gemspec looks for its version.
func isHelper(p string) bool { return path.Base(p) == "version.rb" }

// takeHelper keeps a file that others may look up.
func (r *reader) takeHelper(p string, size int64, body io.Reader) error {
	if size > maxHelper || r.helped+size > maxHelped {
		return nil // who needs it says so
	}
	b, err := io.ReadAll(io.LimitReader(body, size))
	r.helpers[p] = b
	r.helped += int64(len(b))
	return err
}

// later keeps a file for when all helpers are known, and reports whether there
// was room.
func (r *reader) later(e extractor, p string, at io.ReaderAt, size int64) bool {
	if size > maxHelper || r.helped+size > maxHelped {
		return false
	}
	b, err := io.ReadAll(io.NewSectionReader(at, 0, size))
	if err != nil {
		return false
	}
	r.helped += size
	r.retry = append(r.retry, retry{e, p, b})
	return true
}

// again extracts what had to wait for the end of the layer.
func (r *reader) again(ctx context.Context) error {
	for _, w := range r.retry {
		timed, cancel := context.WithTimeout(ctx, r.limits.FileTime)
		info := fileInfo{path.Base(w.path), int64(len(w.body)), 0o644}
		found, err := w.extractor.run(timed, input{path: w.path, info: info, body: newContent(timed, strings.NewReader(string(w.body)), info.size), files: r.helpers})
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.missError(w.path, err)
		}
		r.keep(w.path, found)
	}
	return nil
}

// takeHardLink notes a second name of a file. When extractors want the file for
// this name and not for its first one, the layer is read again for it.
func (r *reader) takeHardLink(p, target string, mode fs.FileMode) {
	if first, ok := r.sources[target]; ok {
		target = first
	}
	info := fileInfo{path.Base(p), 0, mode}
	wanted := r.wanted(p, info)
	if len(wanted) == 0 {
		return
	}
	if !r.room(p, 2*len(p)+len(target)) {
		return
	}
	r.sources[p] = target
	byFirst := r.wanted(target, info)
	missing := slices.ContainsFunc(wanted, func(e extractor) bool {
		return !slices.ContainsFunc(byFirst, func(f extractor) bool { return f.name == e.name })
	})
	if missing && !slices.Contains(r.linked[target], p) {
		r.linked[target] = append(r.linked[target], p)
	}
}

// takeLinked looks, when the layer is read again, into the files that hard
// links led to.
func (r *reader) takeLinked(ctx context.Context, h *tar.Header, body io.Reader) error {
	target := cleanName(h.Name)
	names := r.linked[target]
	if len(names) == 0 || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse {
		return nil
	}
	delete(r.linked, target)
	name := names[0]
	if r.sources[name] != target {
		return nil // replaced later in the layer
	}
	info := fileInfo{path.Base(name), h.Size, h.FileInfo().Mode()}
	if err := r.look(ctx, name, info, body, r.wanted(name, info)); err != nil {
		return err
	}
	for _, other := range names[1:] {
		r.sources[other] = name
	}
	return nil
}

// finish returns the result, in order.
func (r *reader) finish() LayerResult {
	for _, p := range slices.Sorted(maps.Keys(r.sources)) {
		target := r.sources[p]
		if f := r.files[target]; f != nil && r.files[p] == nil {
			f.Aliases = append(f.Aliases, p)
		}
	}
	for _, target := range slices.Sorted(maps.Keys(r.linked)) {
		r.miss(r.linked[target][0], dossier.MissedLink, "it is a hard link to "+target+", which is not a file of the layer")
	}
	if r.windows {
		r.miss("Hives", dossier.MissedWindows, "it is a layer of Windows: what its registry says is installed, updates and programs among it, was not read, nor where reparse points lead; packages of applications under Files were")
	}
	for _, p := range slices.Sorted(maps.Keys(r.files)) {
		f := r.files[p]
		r.own(f)
		slices.SortFunc(f.Packages, comparePackages)
		f.Packages = slices.Compact(f.Packages)
		r.out.Files = append(r.out.Files, *f)
	}
	for _, p := range slices.Sorted(maps.Keys(r.releases)) {
		r.out.Releases = append(r.out.Releases, r.releases[p])
	}
	for _, p := range slices.Sorted(maps.Keys(r.links)) {
		r.out.Links = append(r.out.Links, Link{p, r.links[p]})
	}
	if len(r.licenses) > 0 {
		r.out.Licenses = r.licenses
	}
	r.out.Names, r.out.Dirs = r.out.Names.normal(), r.out.Dirs.normal()
	slices.Sort(r.out.Removed)
	slices.Sort(r.out.Opaque)
	r.out.Removed, r.out.Opaque = slices.Compact(r.out.Removed), slices.Compact(r.out.Opaque)
	if r.missed > 0 {
		r.out.Missed = append(r.out.Missed, dossier.Missed{Reason: dossier.MissedCount, Detail: fmt.Sprintf("%d more were missed and are not listed", r.missed)})
	}
	return r.out
}

// own says of packages of languages which package of the distribution brought
// their file.
func (r *reader) own(f *File) {
	for _, p := range append([]string{f.Path}, f.Aliases...) {
		owner := r.owners.of(p)
		if owner == "" {
			continue
		}
		for i := range f.Packages {
			if !f.Packages[i].ofDistribution() {
				f.Packages[i].Owner = owner
			}
		}
		return
	}
}

// ofDistribution reports whether a package is one of a distribution.
func (p Package) ofDistribution() bool {
	switch p.Type {
	case "deb", "apk", "rpm", "opkg":
		return true
	}
	return false
}

// comparePackages orders packages by all that they say.
func comparePackages(a, b Package) int {
	return cmp.Or(
		cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Version, b.Version),
		cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Inner, b.Inner), cmp.Compare(a.Source, b.Source),
		cmp.Compare(a.SourceVersion, b.SourceVersion), cmp.Compare(a.Module, b.Module), cmp.Compare(a.Vendor, b.Vendor),
		cmp.Compare(a.License, b.License), cmp.Compare(a.Owner, b.Owner),
	)
}
