// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
)

// Package is one version of a package, with all that decides which advisories
// concern it. Two that are equal have the same vulnerabilities, in whatever
// images they are.
type Package struct {
	PURL         string `json:"purl"`
	Type         string `json:"type"`                   // of its purl: deb, apk, rpm, golang, npm, ...
	Ecosystem    string `json:"ecosystem,omitempty"`    // as OSV names it: "Debian:12", "Go"; empty: OSV has none for it
	Distribution string `json:"distribution,omitempty"` // of the image, for a package of a distribution: "debian 12"; empty: not told
	Name         string `json:"name"`                   // as its ecosystem writes it
	Version      string `json:"version,omitempty"`      // as its ecosystem compares it, for rpm "[EPOCH:]VERSION-RELEASE"; empty: not told
	Arch         string `json:"arch,omitempty"`

	Source        string `json:"source,omitempty"`        // source package; apk: origin
	SourceVersion string `json:"sourceVersion,omitempty"` // empty: that of the package
	Module        string `json:"module,omitempty"`        // rpm: modularity label "name:stream:version:context"
	Vendor        string `json:"vendor,omitempty"`        // rpm: vendor; deb and apk: maintainer

	// Owner is the package of the distribution that installed the file in which
	// this package of a language was found. nil: nobody did.
	Owner *Package `json:"owner,omitempty"`
	// Program is what the Go program is linked from, in which this module was
	// found. nil: it is no module of a program, or that could not be read.
	Program *Program `json:"program,omitempty"`
}

// PackageAt is a package and where an image has it.
type PackageAt struct {
	Package
	Layer Digest `json:"layer,omitempty"` // that brought it
	Path  string `json:"path,omitempty"`  // of the file that tells of it, without a slash in front
}

// Program is what the linker put into a program written in Go.
type Program struct {
	OS       string   `json:"os,omitempty"`       // GOOS
	Arch     string   `json:"arch,omitempty"`     // GOARCH
	Packages []string `json:"packages,omitempty"` // import paths of packages that have functions in it, sorted
	Symbols  Symbols  `json:"symbols,omitempty"`  // its functions and methods, inlined ones too; nil: not read
}

// HasPackage reports whether something of a package is linked in.
func (p *Program) HasPackage(importPath string) bool {
	_, ok := slices.BinarySearch(p.Packages, importPath)
	return ok
}

// Symbols is a set of the functions and methods of a program. Only hashes of 32
// bits are kept, sorted: a symbol that is there is always found, one that is not
// is taken for one that is in about one of 100,000 cases.
type Symbols []uint32

// NewSymbols returns the set of symbols, each written "import/path.Func" or
// "import/path.Type.Method".
func NewSymbols(names []string) Symbols {
	s := make(Symbols, 0, len(names))
	for _, n := range names {
		s = append(s, symbolHash(n))
	}
	slices.Sort(s)
	return slices.Compact(s)
}

func symbolHash(name string) uint32 {
	sum := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint32(sum[:])
}

// Has reports whether a symbol is in the set.
func (s Symbols) Has(name string) bool {
	_, ok := slices.BinarySearch(s, symbolHash(name))
	return ok
}

// MarshalText writes the differences from one hash to the next as varints, in
// base64.
func (s Symbols) MarshalText() ([]byte, error) {
	b := make([]byte, 0, 4*len(s))
	last := uint32(0)
	for _, h := range s {
		b = binary.AppendUvarint(b, uint64(h-last))
		last = h
	}
	return base64.StdEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText is the inverse of MarshalText. KindInvalid: the text is not what
// MarshalText writes of a sorted set.
func (s *Symbols) UnmarshalText(text []byte) error {
	invalid := func(err error) error { return &Error{Kind: KindInvalid, Op: "reading symbols", Err: err} }
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return invalid(err)
	}
	out := make(Symbols, 0, len(b)/3)
	last := uint64(0)
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		if n <= 0 || gap > 1<<32-1-last || gap == 0 && len(out) > 0 {
			return invalid(errors.New("they are not a sorted set"))
		}
		last += gap
		out = append(out, uint32(last))
		b = b[n:]
	}
	*s = out
	return nil
}
