// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// LayerRead says that the contents of a layer were read. Which they are, its
// dossier.FactLayer says.
type LayerRead struct {
	Digest dossier.Digest
	Serial int       // of what read it: contents.Serial of its version
	At     time.Time // when
}

// ImageContents is which packages an image has: sets, one a layer.
type ImageContents struct {
	Manifest dossier.Digest
	Serial   int              // of what laid its layers: contents.Serial of its version
	At       time.Time        // when
	Looked   time.Time        // when somebody last looked for what is attached to it; 1970: never
	Sets     []dossier.Digest // base first
}

// PackageSet is the packages of an image that one of its layers brought. Its
// digest names it and tells all of it; images in which the same is seen of a
// layer share the set.
type PackageSet struct {
	Digest   dossier.Digest
	Layer    dossier.Digest
	Packages []dossier.PackageAt // of that layer; their Layer is left empty
}

// NewPackageSet makes a set and its digest: the SHA-256 of a line for the layer
// and one for each package, in order, with its ID (PackageIDs) and its path.
func NewPackageSet(layer dossier.Digest, packages []dossier.PackageAt) PackageSet {
	h := sha256.New()
	_, _ = io.WriteString(h, "dossier/packages/v1\n"+string(layer)+"\n") // a hash takes anything
	for i, id := range PackageIDs(packages) {
		_, _ = io.WriteString(h, string(id)+" "+packages[i].Path+"\n")
	}
	return PackageSet{Digest: dossier.FromHash(dossier.SHA256, h), Layer: layer, Packages: packages}
}

// PackageIDs returns what makes each package distinct: the digest of its JSON,
// with the digest of its program in the place of that.
func PackageIDs(packages []dossier.PackageAt) []dossier.Digest {
	ids := make([]dossier.Digest, len(packages))
	programs := map[*dossier.Program]dossier.Digest{} // many packages are of one
	for i, at := range packages {
		p := at.Package
		var program dossier.Digest
		if p.Program != nil {
			var ok bool
			if program, ok = programs[p.Program]; !ok {
				b, _ := json.Marshal(p.Program) // its Symbols have no error to give
				program = dossier.FromBytes(b)
				programs[p.Program] = program
			}
			p.Program = nil
		}
		b, _ := json.Marshal(p) // strings only: cannot fail
		ids[i] = dossier.FromBytes(append(append(b, '\n'), program...))
	}
	return ids
}

// PackageTerms returns the words under which a package is found: its name, the
// last part of it, and those of its source package, as Normal gives them.
func PackageTerms(p dossier.Package) []string {
	var terms []string
	for _, name := range []string{p.Name, p.Source} {
		for _, t := range []string{name, name[strings.LastIndexAny(name, ":/")+1:]} {
			if t = Normal(t); t != "" && !slices.Contains(terms, t) {
				terms = append(terms, t)
			}
		}
	}
	return terms
}

// KnownPackage is a package that some image has or had.
type KnownPackage struct {
	ID int64 // within this database
	dossier.Package
	// Unclear is what PackageFindings said of it last; PackagesUnder alone tells.
	Unclear string
}

// PackageHolder is an image that has a package.
type PackageHolder struct {
	Package  int64 // KnownPackage.ID
	Manifest dossier.Digest
	Layer    dossier.Digest
	Path     string
}

// ContentsWriter writes what layers and images hold. All of it can be made
// again from facts.
type ContentsWriter interface {
	// PutLayerRead remembers that a layer was read. What was read by an older
	// Serial is replaced, what was read by a newer one stays.
	PutLayerRead(ctx context.Context, l LayerRead) error
	// PutPackages adds packages to a set. Any part of them may be given, and
	// given twice; a set counts once it was given with whole.
	PutPackages(ctx context.Context, set PackageSet, whole bool) error
	// PutImageContents replaces which sets an image has. KindNotFound: a set is
	// not there as a whole.
	PutImageContents(ctx context.Context, c ImageContents) error
	// PutLook remembers that somebody looked for what is attached to an image
	// whose contents are known.
	PutLook(ctx context.Context, manifest dossier.Digest, at time.Time) error
}

// ContentsReader reads what layers and images hold.
type ContentsReader interface {
	// LayersRead returns those of the layers that were read, by digest.
	LayersRead(ctx context.Context, ds []dossier.Digest) (map[dossier.Digest]LayerRead, error)
	// OldLayers returns up to limit layers that were read by less than a serial,
	// those read first before others, after one (the zero value: all).
	OldLayers(ctx context.Context, serial int, after LayerRead, limit int) ([]LayerRead, error)
	// OldImages returns up to limit images that were laid by less than a serial,
	// those laid first before others, after one, without their sets.
	OldImages(ctx context.Context, serial int, after ImageContents, limit int) ([]ImageContents, error)
	// NotLooked returns up to limit images at which nobody looked since a time, as
	// OldImages does, by when somebody last did.
	NotLooked(ctx context.Context, since time.Time, after ImageContents, limit int) ([]ImageContents, error)
	// ImageContents returns what is known of the contents of images, by manifest.
	ImageContents(ctx context.Context, manifests []dossier.Digest) (map[dossier.Digest]ImageContents, error)
	// WholeSets returns which of the sets are there as a whole.
	WholeSets(ctx context.Context, sets []dossier.Digest) (map[dossier.Digest]bool, error)
}

// PackageReader reads packages.
type PackageReader interface {
	// SetPackages yields the packages of a set, in no order, without Program.
	SetPackages(ctx context.Context, set dossier.Digest) iter.Seq2[dossier.PackageAt, error]
	// FindPackages returns up to limit packages of which one of PackageTerms is
	// term, or begins with it when prefix is true, by name, then ID; without Program.
	FindPackages(ctx context.Context, term string, prefix bool, limit int) ([]KnownPackage, error)
	// PackageHolders returns up to limit places at which images have one of the
	// packages: those of one package after those of another.
	PackageHolders(ctx context.Context, packages []int64, limit int) ([]PackageHolder, error)
	// Program returns what the program of a package is linked from, nil when the
	// package has none. KindNotFound: there is no such package.
	Program(ctx context.Context, id int64) (*dossier.Program, error)
}
