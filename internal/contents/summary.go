// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// maxSummary is how many Missed a summary lists.
const maxSummary = 20

// Command is what an image starts, with what is needed to find it.
type Command struct {
	Programs []string // absolute paths at which the program may lie; the first that is there counts
	Words    []string // entrypoint and command
	Dir      string   // working directory
}

// Summary returns what the layers hold in short, and the sets of packages that
// it names, base first. facts are the IDs of the facts of the layers, "" for
// those that were not read.
func (s *Stack) Summary(facts []dossier.Digest, c Command) (dossier.Contents, []store.PackageSet) {
	image := s.Image()
	out := dossier.Contents{
		Version: Version, Distribution: image.Distribution, Layers: make([]dossier.LayerContents, len(s.layers)),
		Main: s.main(image, c), Missed: image.Missed[:min(len(image.Missed), maxSummary)], MissedCount: len(image.Missed),
	}
	members := make([][]dossier.PackageAt, len(s.layers))
	for i, p := range image.All() {
		n := image.Packages[i].Position
		p.Layer = ""
		members[n] = append(members[n], p)
		l := &out.Layers[n]
		if l.Packages == nil {
			l.Packages = map[string]int{}
		}
		l.Packages[p.Type]++
	}
	var sets []store.PackageSet
	for i, l := range s.layers {
		out.Layers[i].Layer, out.Layers[i].Fact = l.Digest, facts[i]
		if len(members[i]) > 0 {
			set := store.NewPackageSet(l.Digest, members[i])
			out.Layers[i].Set = set.Digest
			sets = append(sets, set)
		}
	}
	return out, sets
}

// Where returns the path of the file that tells of a package, and behind "!/"
// the path within it when it is an archive. It is cut to what a database takes.
func (f *Found) Where() string {
	p := f.Path
	if f.Inner != "" {
		p += "!/" + f.Inner
	}
	return printable(p)
}

// main returns the packages for which an image is there, as far as its command
// tells.
func (s *Stack) main(image Image, c Command) []dossier.MainPackage {
	var out []dossier.MainPackage
	add := func(why string, match func(Found) bool) {
		for _, f := range image.Packages {
			if match(f) && !slices.ContainsFunc(out, func(m dossier.MainPackage) bool { return m.PURL == f.PURL }) {
				out = append(out, dossier.MainPackage{PURL: f.PURL, Name: f.Name, Version: f.vocabulary(nil).Version, Path: f.Where(), Why: why})
			}
		}
	}
	if g := s.Program(c.Programs); g != nil {
		add("the program that it starts", func(f Found) bool {
			return f.Type == "golang" && f.Path == strings.TrimPrefix(g.Path, "/") && f.Name == g.Module
		})
	}
	for _, w := range c.Words {
		at := s.tree.resolve(strings.TrimPrefix(path.Join("/", c.Dir, w), "/"))
		if strings.HasPrefix(w, "/") {
			at = s.tree.resolve(w[1:])
		}
		if _, ok := s.tree.files[at]; ok && isJava(at) {
			add("the archive that it runs", func(f Found) bool {
				_, artifact := cut(f.Name, strings.LastIndexByte(f.Name, ':'))
				return f.Path == at && f.Inner == "" && strings.HasPrefix(path.Base(at), artifact)
			})
		}
		if dir, ok := s.nodeDir(w, c.Dir); ok {
			add("the application that it runs", func(f Found) bool { return f.Type == "npm" && f.Path == path.Join(dir, "package.json") })
		}
	}
	if len(out) > 0 {
		return out[:min(len(out), maxMain)]
	}
	for _, w := range c.Words {
		if s.isBuilt(w) {
			continue
		}
		add("the package of that name", func(f Found) bool { return f.ofDistribution() && f.Name == path.Base(w) && !isTool(f.Name) })
	}
	return out[:min(len(out), maxMain)]
}

// maxMain bounds how many main packages are listed.
const maxMain = 10

func isJava(p string) bool {
	return slices.Contains([]string{".jar", ".war", ".ear"}, path.Ext(p))
}

// isBuilt reports whether a program lies where packages of distributions put none.
func (s *Stack) isBuilt(word string) bool {
	if strings.HasPrefix(word, "/") {
		return strings.HasPrefix(word, "/usr/local/") || strings.HasPrefix(word, "/opt/")
	}
	return s.has("usr/local/bin/"+path.Base(word)) || s.has("usr/local/sbin/"+path.Base(word))
}

// isTool reports whether a package is one that starts others, rather than what
// an image is there for.
func isTool(name string) bool {
	return slices.Contains([]string{"bash", "dash", "busybox", "coreutils", "tini", "dumb-init", "sudo", "env"}, name)
}

// nodeDir returns the directory, at or above that of a word of a command, that
// has the package.json of an application. Words are scripts, or programs that
// look for it in the working directory.
func (s *Stack) nodeDir(word, working string) (string, bool) {
	dir := ""
	switch {
	case slices.Contains([]string{".js", ".mjs", ".cjs"}, path.Ext(word)):
		dir = path.Dir(path.Join("/", working, word))
		if strings.HasPrefix(word, "/") {
			dir = path.Dir(word)
		}
	case slices.Contains([]string{"npm", "yarn", "pnpm", "node"}, path.Base(word)):
		dir = path.Join("/", working)
	default:
		return "", false
	}
	for ; ; dir = path.Dir(dir) {
		at := s.tree.resolve(strings.TrimPrefix(path.Join(dir, "package.json"), "/"))
		if f, ok := s.tree.files[at]; ok && len(f.file.Packages) > 0 {
			return path.Dir(at), true
		}
		if dir == "/" {
			return "", false
		}
	}
}

// sortFound puts packages of an image in their order. They are large: their places are
// sorted first, and each is moved once.
func sortFound(packages []Found) {
	order := make([]int32, len(packages)) // which is to be at each place
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return compareFound(&packages[a], &packages[b]) })
	for begin := range order {
		first := packages[begin]
		at := int32(begin)
		for order[at] != int32(begin) {
			from := order[at]
			packages[at] = packages[from]
			order[at], at = at, from
		}
		packages[at], order[at] = first, at
	}
}

// compareFound orders packages of an image.
func compareFound(a, b *Found) int {
	if a.PURL != b.PURL {
		return cmp.Compare(a.PURL, b.PURL)
	}
	return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.Path, b.Path), comparePackages(a.Package, b.Package))
}
