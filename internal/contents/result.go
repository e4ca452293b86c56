// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import "dossier.dev/dossier"

// Version names what turns bytes into a LayerResult. Its number, see Serial,
// rises whenever equal bytes may give another result: then layers are to be
// read again. What follows tells which extractors are linked.
const Version = "6+osv-scalibr.0.5.3"

// LayerResult is what one layer holds. It is a function of the layer's bytes,
// Version and Limits. Keep it under Digest and Version: the same DiffID under
// another Digest says nothing about bytes that nobody has decompressed.
type LayerResult struct {
	Version  string         `json:"version"`
	Digest   dossier.Digest `json:"digest"`           // of the bytes as transferred, checked
	DiffID   dossier.Digest `json:"diffID,omitempty"` // of the decompressed bytes, checked; empty: not read to the end
	Size     int64          `json:"size"`             // bytes as transferred
	Unpacked int64          `json:"unpacked"`         // bytes decompressed
	Entries  int            `json:"entries"`

	Files    []File                 `json:"files,omitempty"`    // that tell of packages, by path
	Releases []dossier.Distribution `json:"releases,omitempty"` // that tell of a distribution, by path

	Licenses map[string]string `json:"licenses,omitempty"` // of packages of Debian, by name

	Removed []string `json:"removed,omitempty"` // paths that are deleted beneath (whiteouts), sorted
	Opaque  []string `json:"opaque,omitempty"`  // directories of which everything beneath is hidden, sorted
	Links   []Link   `json:"links,omitempty"`   // symbolic links, by path
	Names   Names    `json:"names,omitempty"`   // everything but directories
	Dirs    Names    `json:"dirs,omitempty"`    // directories

	Missed []dossier.Missed `json:"missed,omitempty"` // what was not read
}

// File is a file that tells of packages. Paths have no slash in front.
type File struct {
	Path     string    `json:"path"`
	Aliases  []string  `json:"aliases,omitempty"` // hard links to it that tell of the same
	Packages []Package `json:"packages,omitempty"`
	// Go is the build information of a program that Go built, without Path and
	// Layer.
	Go *dossier.GoBuild `json:"go,omitempty"`
	// Program is what the linker put into a Go program; nil: it is none, or does
	// not tell.
	Program *dossier.Program `json:"program,omitempty"`
}

// Package is a package as a file tells of it.
type Package struct {
	Type    string `json:"type"`              // of its purl: deb, apk, rpm, golang, npm, pypi, maven, gem, cargo, composer, nuget
	Name    string `json:"name"`              // as its ecosystem writes it: "group:artifact" for maven, the import path for golang
	Version string `json:"version,omitempty"` // as its ecosystem writes it, without an epoch for rpm; empty: not told
	Epoch   int    `json:"epoch,omitempty"`   // rpm only
	Arch    string `json:"arch,omitempty"`

	Source        string `json:"source,omitempty"`        // name of the source package; rpm: the name of its source rpm
	SourceVersion string `json:"sourceVersion,omitempty"` // deb and rpm
	Module        string `json:"module,omitempty"`        // rpm: modularity label "name:stream:version:context"
	Vendor        string `json:"vendor,omitempty"`        // rpm: vendor; deb and apk: maintainer
	License       string `json:"license,omitempty"`

	Inner string `json:"inner,omitempty"` // path inside File when that is an archive; levels are parted by "!/"
	Owner string `json:"owner,omitempty"` // name of the distribution's package that installed File
}

// Link is a symbolic link.
type Link struct {
	Path   string `json:"path"`
	Target string `json:"target"` // as written
}
