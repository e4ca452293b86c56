// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"strconv"
	"strings"

	"dossier.dev/dossier"
)

// All returns the packages as the vocabulary has them, one for each of Packages,
// in that order: with the package of the distribution that owns each.
func (i Image) All() []dossier.PackageAt {
	installed := map[string]*dossier.Package{}
	out := make([]dossier.PackageAt, len(i.Packages))
	for n := range i.Packages {
		f := &i.Packages[n]
		out[n] = dossier.PackageAt{Package: f.vocabulary(i.Distribution), Layer: f.Layer, Path: f.Where()}
		if f.ofDistribution() && installed[f.Name] == nil {
			owner := out[n].Package
			installed[f.Name] = &owner
		}
	}
	for n := range i.Packages {
		f := &i.Packages[n]
		if f.Owner != "" {
			out[n].Owner = installed[f.Owner]
		}
	}
	return out
}

// vocabulary returns the package with all that advisories ask of it.
func (f *Found) vocabulary(d *dossier.Distribution) dossier.Package {
	p := dossier.Package{
		PURL: f.PURL, Type: f.Type, Ecosystem: f.Ecosystem, Name: f.Name, Version: f.Version, Arch: f.Arch,
		Source: f.Source, SourceVersion: f.SourceVersion, Module: f.Module, Vendor: f.Vendor, Program: f.Program,
	}
	if d != nil && f.ofDistribution() {
		p.Distribution = strings.TrimSpace(d.ID + " " + d.VersionID)
	}
	if f.Epoch != 0 { // that of the source is the same, but for rare packages
		epoch := strconv.Itoa(f.Epoch) + ":"
		p.Version = epoch + p.Version
		if p.SourceVersion != "" {
			p.SourceVersion = epoch + p.SourceVersion
		}
	}
	return p
}
