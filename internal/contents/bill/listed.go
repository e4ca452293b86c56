// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package bill

import (
	"cmp"
	"strings"

	"github.com/package-url/packageurl-go"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/pattern"
)

// property is an entry of CycloneDX's properties.
type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (m more) printable() more {
	return more{printable(m.source), printable(m.sourceVersion), printable(m.module), printable(m.owner), printable(m.path)}
}

// moreOfCycloneDX reads what this program and Trivy write into properties.
func moreOfCycloneDX(p component) more {
	var m more
	var trivy struct{ version, release, epoch string }
	for _, field := range p.Properties {
		switch field.Name {
		case "dossier:source", "aquasecurity:trivy:SrcName":
			m.source = field.Value
		case "dossier:sourceVersion":
			m.sourceVersion = field.Value
		case "dossier:module", "aquasecurity:trivy:Modularitylabel":
			m.module = field.Value
		case "dossier:owner":
			m.owner = field.Value
		case "aquasecurity:trivy:FilePath", "syft:location:0:path":
			m.path = strings.TrimPrefix(field.Value, "/")
		case "aquasecurity:trivy:SrcVersion":
			trivy.version = field.Value
		case "aquasecurity:trivy:SrcRelease":
			trivy.release = field.Value
		case "aquasecurity:trivy:SrcEpoch":
			trivy.epoch = field.Value
		}
	}
	if trivy.version != "" {
		m.sourceVersion = trivy.version
		if trivy.release != "" {
			m.sourceVersion += "-" + trivy.release
		}
		if trivy.epoch != "" {
			m.sourceVersion = trivy.epoch + ":" + m.sourceVersion
		}
	}
	if len(p.Evidence.Occurrences) > 0 {
		m.path = strings.TrimPrefix(p.Evidence.Occurrences[0].Location, "/")
	}
	return m
}

// What Trivy and this program write of a package's source, in words.
var (
	builtPackage = pattern.New(`^built package from: (\S+)(?: (\S+))?$`)
	builtFrom    = pattern.New(`^built from source package (\S+)(?: (\S+))?$`)
	foundIn      = pattern.New(`^found in layer \S+, file (.+?)(?:, installed by (\S+?))?(?:;|$)`)
)

// moreOfSPDX reads what this program and Trivy write in words.
func moreOfSPDX(sourceInfo, comment string) more {
	var m more
	if f := builtPackage.FindStringSubmatch(sourceInfo); f != nil {
		m.source, m.sourceVersion = f[1], f[2]
	} else if f := foundIn.FindStringSubmatch(sourceInfo); f != nil {
		m.path, m.owner = f[1], f[2]
	}
	if f := builtFrom.FindStringSubmatch(comment); f != nil {
		m.source, m.sourceVersion = f[1], f[2]
	}
	return m
}

// distribution notes the distribution that a bill lists, the first one.
func (c *collector) distribution(id, version string) {
	if id = strings.ToLower(printable(id)); id != "" && c.bill.Distribution == nil {
		d := contents.Release(dossier.Distribution{ID: id, VersionID: printable(version)})
		c.bill.Distribution = &d
	}
}

// Listed returns the packages of a bill with all that advisories ask of them, as
// far as the bill tells. Which distribution a package is of, its own URL says, or
// else the bill.
func (b Bill) Listed() []dossier.PackageAt {
	out := make([]dossier.PackageAt, 0, len(b.Packages))
	at := map[string]int{}
	for _, p := range b.Packages {
		if listed, ok := b.listed(p); ok {
			at[p.PURL] = len(out)
			out = append(out, listed)
		}
	}
	for _, p := range b.Packages {
		n, ok := at[p.PURL]
		if i, owned := at[p.owner]; ok && owned && i != n {
			owner := out[i].Package
			owner.Owner = nil
			out[n].Owner = &owner
		}
	}
	return out
}

func (b Bill) listed(p Package) (dossier.PackageAt, bool) {
	u, err := packageurl.FromString(p.PURL)
	if err != nil {
		return dossier.PackageAt{}, false
	}
	qualifiers := u.Qualifiers.Map()
	out := dossier.Package{
		PURL: p.PURL, Type: u.Type, Name: p.Key.Name, Version: p.Key.Version, Arch: qualifiers["arch"],
		Source: p.source, SourceVersion: p.sourceVersion, Module: cmp.Or(p.module, qualifiers["rpmmod"]),
	}
	if u.Type == "maven" {
		out.Name = strings.TrimPrefix(u.Namespace+":"+u.Name, ":")
	}
	switch u.Type {
	case "deb", "apk", "rpm":
		d := contents.ReleaseOfPURL(u.Namespace, qualifiers["distro"])
		if d.Ecosystem == "" && b.Distribution != nil {
			d = *b.Distribution
		}
		out.Distribution = strings.TrimSpace(d.ID + " " + d.VersionID)
		out.Ecosystem = contents.Ecosystem(u.Type, &d)
		if out.Source == "" {
			out.Source, out.SourceVersion = sourceOf(u.Type, qualifiers["upstream"])
		}
	default:
		out.Ecosystem = contents.Ecosystem(u.Type, nil)
	}
	return dossier.PackageAt{Package: out, Path: p.path}, true
}

// sourceOf reads the qualifier "upstream" as Syft writes it: the name of the
// source package, with its version where that is another one, or of its file.
func sourceOf(kind, upstream string) (name, version string) {
	if kind != "rpm" {
		name, version, _ = strings.Cut(upstream, "@")
		return name, version
	}
	rest, ok := strings.CutSuffix(upstream, ".src.rpm")
	if !ok {
		return "", ""
	}
	release := strings.LastIndexByte(rest, '-')
	if release < 0 {
		return "", ""
	}
	cut := strings.LastIndexByte(rest[:release], '-')
	if cut < 0 {
		return "", ""
	}
	return rest[:cut], rest[cut+1:]
}
