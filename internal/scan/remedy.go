// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"fmt"
	"path"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
)

// Advise says of each finding of a list what would mend it. bases are the known
// images whose layers lie beneath the artifact's own, by layer.
func Advise(list *dossier.FindingList, bases map[dossier.Digest]string) {
	highest := map[place]dossier.Finding{}
	each(list, func(f *dossier.Finding) {
		if f.State != dossier.Fixable || f.FixedIn == "" {
			return
		}
		at := placeOf(f)
		if have, ok := highest[at]; !ok || later(f, have.FixedIn) {
			highest[at] = *f
		}
	})
	each(list, func(f *dossier.Finding) {
		to := ""
		if f.State == dossier.Fixable {
			to = highest[placeOf(f)].FixedIn
		}
		f.Remedy = remedy(f, to, bases[f.Package.Layer])
	})
}

// each calls fn on all findings, suppressed ones too.
func each(list *dossier.FindingList, fn func(*dossier.Finding)) {
	for i := range list.Findings {
		fn(&list.Findings[i])
	}
	for i := range list.Suppressed {
		fn(&list.Suppressed[i].Finding)
	}
}

// place is a package at one place: what one update changes.
type place struct {
	purl, path string
	layer      dossier.Digest
}

func placeOf(f *dossier.Finding) place {
	return place{f.Package.PURL, f.Package.Path, f.Package.Layer}
}

// later reports whether the version that mends a finding comes after another one.
func later(f *dossier.Finding, than string) bool {
	p := f.Package.Package
	p.Version = f.FixedIn
	n, err := match.Compare(p, than)
	return err == nil && n > 0
}

// remedy says what would mend a finding: to is the version to update to, empty
// when there is none; base the image that brought the layer, if one is known.
func remedy(f *dossier.Finding, to, base string) *dossier.Remedy {
	r := &dossier.Remedy{Base: base, Package: f.Package.Name, To: to}
	owner := f.Package.Owner
	switch {
	case to == "":
		r.Kind = dossier.RemedyNone
		r.Text = nothingToDo(f)
	case base != "":
		r.Kind = dossier.RemedyBase
		r.Text = fmt.Sprintf("build on a newer %s: its packages are out of date", base)
	case owner != nil:
		r.Kind, r.Package, r.To = dossier.RemedyPackage, owner.Name, ""
		r.Text = fmt.Sprintf("update %s, which installed %s, or remove it", owner.Name, f.Package.Path)
	case f.Package.Type == "golang" && f.Package.Name == "stdlib":
		r.Kind = dossier.RemedyRebuild
		r.Text = fmt.Sprintf("build %s with Go %s or later", f.Package.Path, to)
	case isProgram(f):
		r.Kind = dossier.RemedyRebuild
		r.Text = fmt.Sprintf("build %s with %s %s or later", f.Package.Path, f.Package.Name, to)
	case ofDistribution(f.Package.Package) && f.Package.Layer != "":
		r.Kind = dossier.RemedyRebuild
		r.Text = fmt.Sprintf("build again without a cached layer, so that %s %s or later is installed", f.Package.Name, to)
	default:
		r.Kind = dossier.RemedyPackage
		r.Text = fmt.Sprintf("update %s to %s or later", f.Package.Name, to)
		if f.Package.Path != "" && !ofDistribution(f.Package.Package) {
			r.Text += " in " + f.Package.Path
		}
	}
	return r
}

// isProgram reports whether the package was found in a program that it is
// compiled into, not in a file that names it.
func isProgram(f *dossier.Finding) bool {
	base := path.Base(f.Package.Path)
	return f.Package.Type == "golang" && base != "go.mod" || f.Package.Type == "cargo" && base != "Cargo.lock"
}

// nothingToDo says why there is nothing to update to, and what is left.
func nothingToDo(f *dossier.Finding) string {
	name := f.Package.Name
	switch f.State {
	case dossier.WontFix:
		return fmt.Sprintf("no fix for %s is planned: do without it, or say why it does not matter (--vex, --ignore)", name)
	case dossier.EndOfLife:
		return name + " is no longer supported there: move to a release that is"
	case dossier.Deferred:
		return "a fix for " + name + " is to come with a later update"
	case dossier.Investigating:
		return "whether " + name + " is vulnerable is being looked into"
	}
	return "there is no fix for " + name + " yet"
}

func ofDistribution(p dossier.Package) bool {
	return slices.Contains([]string{"deb", "apk", "rpm", "opkg"}, p.Type)
}
