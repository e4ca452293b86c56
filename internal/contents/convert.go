// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"strings"

	scalibr "github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/depsjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/requirements"
	apkmeta "github.com/google/osv-scalibr/extractor/filesystem/os/apk/metadata"
	dpkgmeta "github.com/google/osv-scalibr/extractor/filesystem/os/dpkg/metadata"
)

// maxField is how many bytes of a name, version or other field are kept.
const maxField = 1024

// convert makes a Package of one of osv-scalibr's. It reports false for what is
// none: an application itself in its own list of dependencies.
func convert(p *scalibr.Package) (Package, bool) {
	out := Package{Type: p.PURLType, Name: p.Name, Version: p.Version, License: strings.Join(p.Licenses, " AND ")}
	switch m := p.Metadata.(type) {
	case *dpkgmeta.Metadata:
		if isGone(m.Status) {
			return Package{}, false
		}
		out.Arch, out.Vendor = m.Architecture, m.Maintainer
		out.Source, out.SourceVersion = m.SourceName, m.SourceVersion
		if out.Source == "" {
			out.Source = p.Name
		}
		if out.SourceVersion == "" {
			out.SourceVersion = p.Version
		}
	case *apkmeta.Metadata:
		out.Arch, out.Vendor, out.Source = m.Architecture, m.Maintainer, m.OriginName
		if out.Source == "" {
			out.Source = p.Name
		}
	case *requirements.Metadata:
		if m.VersionComparator != "==" && m.VersionComparator != "===" {
			out.Version = "" // it says what will do, not what is there
		}
	case *depsjson.Metadata:
		if m.Type == "project" {
			return Package{}, false
		}
	}
	switch out.Type {
	case "golang":
		out = goPackage(out)
	case "maven":
		out.License = ""
	}
	for _, field := range []*string{&out.Name, &out.Version, &out.Arch, &out.Source, &out.SourceVersion, &out.Vendor, &out.License} {
		*field = printable(*field)
	}
	return out, out.Name != ""
}

// isGone reports whether a package that dpkg lists has no files: its status ends
// in "not-installed" or "config-files". One that was unpacked and not configured,
// or waits for triggers, has them all.
func isGone(status string) bool {
	return strings.HasSuffix(status, " not-installed") || strings.HasSuffix(status, " config-files")
}

// goPackage writes a Go module as the Go advisories do: the standard library is
// "stdlib", a development version is none.
func goPackage(p Package) Package {
	if p.Name == "go" {
		p.Name = "stdlib"
	}
	if p.Version == "(devel)" {
		p.Version = ""
	}
	return p
}

// unidentified reports whether a package does not say which it is.
func (p Package) unidentified() bool {
	return p.Name == "unknown" || p.Name == "unknown:unknown" ||
		p.Type == "golang" && (strings.HasPrefix(p.Name, ".") || strings.HasPrefix(p.Name, "/"))
}

// printable returns s as valid UTF-8 without control characters, cut to maxField.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), maxField)], "\uFFFD"))
	return strings.TrimSpace(s)
}
