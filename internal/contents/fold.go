// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// Image is what an image holds: the fold of its layers.
type Image struct {
	Distribution *dossier.Distribution `json:"distribution,omitempty"` // nil: no layer tells, or none that is still seen
	Packages     []Found               `json:"packages"`               // by purl, layer, path
	Missed       []dossier.Missed      `json:"missed,omitempty"`       // as the layers say, base first
}

// Found is a package of an image, at one place.
type Found struct {
	Package
	PURL      string         `json:"purl"`
	Ecosystem string         `json:"ecosystem,omitempty"` // as OSV names it, "Debian:12"; empty: OSV has none for it
	Layer     dossier.Digest `json:"layer"`               // that brought it; for a package of the distribution: the first whose database lists it
	Position  int            `json:"position"`            // of that layer, from 0 for the base
	Path      string         `json:"path"`                // of the file that tells of it, without a slash in front

	Program *dossier.Program `json:"-"` // of which it is a module, when File tells
}

// Fold lays layers over one another, base first, and returns what is seen. It
// follows the image specification: whiteouts and opaque directories hide what
// lies beneath, an entry replaces what has its path, one that is no directory
// replaces a directory and all in it, and what is written through a symbolic
// link of a lower layer lies where that leads.
func Fold(layers []LayerResult) Image { return Lay(layers).Image() }

// Stack is layers laid over one another.
type Stack struct {
	layers []LayerResult
	tree   *tree
}

// Lay lays layers over one another, base first.
func Lay(layers []LayerResult) *Stack {
	t := newTree()
	for i := range layers {
		t.lay(i, &layers[i])
	}
	return &Stack{layers, t}
}

// Image returns what is seen from above.
func (s *Stack) Image() Image {
	t, layers := s.tree, s.layers
	var image Image
	for i := range layers {
		for _, m := range layers[i].Missed {
			m.Layer = layers[i].Digest
			image.Missed = append(image.Missed, m)
		}
	}
	image.Distribution = t.distribution()
	seen, packages := t.seen(), 0
	for _, s := range seen {
		packages += len(s.file.Packages)
	}
	image.Packages = make([]Found, 0, packages)
	for _, s := range seen {
		for _, p := range s.file.Packages {
			position := s.first(p)
			if p.Type == "deb" && p.License == "" {
				p.License = cmp.Or(t.licenses[p.Name], t.licenses[p.Source])
			}
			found := Found{Package: p, Layer: layers[position].Digest, Position: position, Path: s.path}
			if p.Type == "golang" {
				found.Program = s.file.Program
			}
			image.Packages = append(image.Packages, found)
		}
	}
	sideBySide(packages, func(begin, end int) {
		for i := range image.Packages[begin:end] {
			f := &image.Packages[begin+i]
			f.PURL, f.Ecosystem = purlOf(f.Package, image.Distribution), ecosystemOf(f.Package, image.Distribution)
		}
	})
	sortFound(image.Packages)
	// A distribution's package is installed once, however many databases list it.
	image.Packages = slices.CompactFunc(image.Packages, func(a, b Found) bool { return a.ofDistribution() && a.key() == b.key() })
	return image
}

// key is what makes a package the same in two versions of a file.
type key struct {
	kind, name, version, arch, inner string
	epoch                            int
}

func (p Package) key() key { return key{p.Type, p.Name, p.Version, p.Arch, p.Inner, p.Epoch} }

// place is a file that is seen at a path.
type place struct {
	path  string
	layer int // from which the file is
	file  *File
	since map[key]int // the layer from which on a package was listed there, if that is another
}

// first returns the layer from which on a package was listed there.
func (s place) first(p Package) int {
	if s.since != nil {
		if n, ok := s.since[p.key()]; ok {
			return n
		}
	}
	return s.layer
}

// tree is what is seen of the layers so far, of what matters. Its paths have no
// symbolic link in them but the last element.
type tree struct {
	files    map[string]place
	releases map[string]dossier.Distribution
	links    map[string]string
	licenses map[string]string // of packages of Debian; the layer on top counts
	resolved map[string]string // what parent found, while links stay as they are
}

func newTree() *tree {
	return &tree{files: map[string]place{}, releases: map[string]dossier.Distribution{}, links: map[string]string{}, licenses: map[string]string{}, resolved: map[string]string{}}
}

// lay puts layer i on top.
func (t *tree) lay(i int, l *LayerResult) {
	c := t.cover(l)
	for p := range those(t.links, c.hides) {
		delete(t.links, p)
		clear(t.resolved)
	}
	gone := t.hide(c)
	for _, link := range l.Links {
		p := t.parent(link.Path)
		if t.links[p] != link.Target {
			t.links[p] = link.Target
			clear(t.resolved)
		}
	}
	maps.Copy(t.licenses, l.Licenses)
	for _, r := range l.Releases {
		p := t.parent(r.Path)
		t.releases[p] = r
	}
	for n := range l.Files {
		f := &l.Files[n]
		for _, name := range append([]string{f.Path}, f.Aliases...) {
			p := t.parent(name)
			before, ok := gone[p]
			if !ok {
				before, ok = t.files[p]
				ok = ok && before.layer < i
			}
			now := place{path: p, layer: i, file: f}
			if ok {
				now.since = sinceOf(f, before)
			}
			t.files[p] = now
		}
	}
}

// sinceOf returns the packages that a file lists as the one before it at its place did,
// and since when.
func sinceOf(f *File, before place) map[key]int {
	listed := make(map[key]bool, len(before.file.Packages))
	for _, p := range before.file.Packages {
		listed[p.key()] = true
	}
	since := map[key]int{}
	for _, p := range f.Packages {
		if listed[p.key()] {
			since[p.key()] = before.first(p)
		}
	}
	return since
}

// cover is what a layer itself deletes or replaces.
type cover struct {
	*LayerResult
	removed, opaque map[string]bool
}

// cover returns what layer l itself deletes or replaces: by whiteouts, opaque
// directories, and entries.
func (t *tree) cover(l *LayerResult) cover {
	c := cover{l, map[string]bool{}, map[string]bool{}}
	for _, p := range l.Removed {
		c.removed[t.parent(p)] = true
	}
	for _, p := range l.Opaque {
		c.opaque[t.resolve(p)] = true
	}
	return c
}

// hides returns a function that tells of paths without symbolic links on the way whether
// they are covered. It remembers directories, and is for one goroutine.
func (c cover) hides() func(string) bool {
	below := map[string]bool{".": c.opaque[""]} // whether all in a directory is hidden
	var isBelow func(dir string) bool
	isBelow = func(dir string) bool {
		gone, ok := below[dir]
		if !ok {
			gone = c.removed[dir] || c.opaque[dir] || c.Names.has(nameHash(dir)) || isBelow(dirOf(dir))
			below[dir] = gone
		}
		return gone
	}
	return func(p string) bool { return c.removed[p] || c.names(nameHash(p)) || isBelow(dirOf(p)) }
}

// names reports whether a layer has an entry at the path with that hash.
func (l *LayerResult) names(hash uint64) bool { return l.Names.has(hash) || l.Dirs.has(hash) }

// hide drops files and releases that a layer hides, by their own paths or by
// those that lead to them through symbolic links: the layer names what it has as it is
// written there. It returns the files.
func (t *tree) hide(c cover) map[string]place {
	through := t.aliases()
	hides := func() func(string) bool {
		hidden := c.hides()
		return func(p string) bool {
			if hidden(p) {
				return true
			}
			for _, alias := range through.of(p) {
				if c.names(nameHash(alias)) {
					return true
				}
			}
			return false
		}
	}
	dropped := map[string]place{}
	for p := range those(t.files, hides) {
		dropped[p] = t.files[p]
		delete(t.files, p)
	}
	for p := range those(t.releases, hides) {
		delete(t.releases, p)
	}
	return dropped
}

// seen returns the files by path, each at one place: its own path, or else the first of
// its hard links that is still there.
func (t *tree) seen() []place {
	all := slices.SortedFunc(maps.Values(t.files), func(a, b place) int { return cmp.Compare(a.path, b.path) })
	linked := map[*File]bool{} // of those with hard links, which have had a place
	return slices.DeleteFunc(all, func(s place) bool {
		if len(s.file.Aliases) == 0 || s.path == s.file.Path {
			return false
		}
		if own, ok := t.files[s.file.Path]; ok && own.file == s.file || linked[s.file] {
			return true
		}
		linked[s.file] = true
		return false
	})
}

// distribution returns what the image says it is: the release file at the two
// places of os-release(5), the first that is there, or those of older systems.
func (t *tree) distribution() *dossier.Distribution {
	for _, p := range []string{"etc/os-release", "usr/lib/os-release", "etc/redhat-release", "etc/debian_version"} {
		if r, ok := t.releases[t.resolve(p)]; ok {
			r.Ecosystem = osvDistribution(r)
			return &r
		}
	}
	return nil
}

const (
	maxHops    = 40 // symbolic links that are followed for one path
	maxAliases = 64 // paths that lead to one file
)

// resolve follows all symbolic links in a path. In a circle it stops somewhere.
func (t *tree) resolve(p string) string {
	if t.isPlain(p) {
		return p
	}
	return t.walk(p)
}

// walk resolves a path element by element.
func (t *tree) walk(p string) string {
	at, rest := "", strings.Split(p, "/")
	for hops := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = cleanName(path.Dir(at))
			continue
		}
		next := name
		if at != "" {
			next = at + "/" + name
		}
		target, ok := t.links[next]
		if !ok || hops >= maxHops || len(rest) > maxParts {
			at = next
			continue
		}
		hops++
		if strings.HasPrefix(target, "/") {
			at = ""
		}
		rest = slices.Concat(strings.Split(target, "/"), rest)
	}
	return at
}

// isPlain reports whether there is nothing to follow in a path: most are so.
func (t *tree) isPlain(p string) bool {
	for begin := 0; begin <= len(p); {
		end := len(p)
		if i := strings.IndexByte(p[begin:], '/'); i >= 0 {
			end = begin + i
		}
		if name := p[begin:end]; name == "" || name == "." || name == ".." {
			return false
		}
		if _, ok := t.links[p[:end]]; ok {
			return false
		}
		begin = end + 1
	}
	return true
}

// dirOf is path.Dir for a clean path that does not begin with a slash.
func dirOf(p string) string {
	if i := strings.LastIndexByte(p, '/'); i > 0 {
		return p[:i]
	}
	return "."
}

// maxParts bounds how long a path grows by following links.
const maxParts = 4096

// parent follows the symbolic links on the way to p, but not p itself.
func (t *tree) parent(p string) string {
	dir, base := path.Split(p)
	if dir == "" {
		return p
	}
	if base == "." || base == ".." || base == "" {
		return path.Join(t.resolve(strings.TrimSuffix(dir, "/")), base)
	}
	at, ok := t.resolved[dir]
	if !ok {
		at = t.resolve(strings.TrimSuffix(dir, "/"))
		t.resolved[dir] = at
	}
	if at == "" {
		return base
	}
	if len(at) == len(dir)-1 && p[:len(at)] == at {
		return p
	}
	return at + "/" + base
}

// aliases is which symbolic links lead to a directory.
type aliases map[string][]string

// aliases returns the links to directories in which there is something to be
// seen.
func (t *tree) aliases() aliases {
	return t.aliasesTo(slices.AppendSeq(slices.Collect(maps.Keys(t.files)), maps.Keys(t.releases))...)
}

// aliasesTo returns the links to directories on the way to paths.
func (t *tree) aliasesTo(paths ...string) aliases {
	dirs := make(map[string]bool, len(paths))
	for _, p := range paths {
		for dir := dirOf(p); dir != "." && !dirs[dir]; dir = dirOf(dir) {
			dirs[dir] = true
		}
	}
	a := aliases{}
	links := slices.Collect(maps.Keys(t.links))
	targets := make([]string, len(links))
	sideBySide(len(links), func(begin, end int) {
		for i, link := range links[begin:end] {
			targets[begin+i] = t.follow(link)
		}
	})
	for i, link := range links {
		if target := targets[i]; dirs[target] && target != link {
			a[target] = append(a[target], link)
		}
	}
	for _, links := range a {
		slices.Sort(links)
	}
	return a
}

// follow is resolve for a symbolic link itself, to which no other one leads.
func (t *tree) follow(link string) string {
	at, rest := dirOf(link), t.links[link]
	if strings.HasPrefix(rest, "/") {
		at, rest = ".", rest[1:]
	}
	for at != "." && strings.HasPrefix(rest, "../") {
		at, rest = dirOf(at), rest[len("../"):]
	}
	if at != "." {
		rest = at + "/" + rest
	}
	if t.isPlain(rest) {
		return rest
	}
	return t.resolve(link)
}

// of returns the other paths that lead to p, at most maxAliases.
func (a aliases) of(p string) []string {
	if len(a) == 0 {
		return nil
	}
	out := []string{p}
	for i := 0; i < len(out) && len(out) <= maxAliases; i++ {
		for dir := dirOf(out[i]); dir != "."; dir = dirOf(dir) {
			for _, link := range a[dir] {
				if alias := link + out[i][len(dir):]; len(out) <= maxAliases && !slices.Contains(out, alias) {
					out = append(out, alias)
				}
			}
		}
	}
	return out[1:]
}
