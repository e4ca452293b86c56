// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

// A build of a package for a module has the module's build in its release.
const modularBuild = ".module"

var moduleNumber = pattern.New(`^\d+`)

// otherStream reports whether an entry is about a build for another module
// stream than the package's, or only one of the two is a build for a module.
// Versions of different streams say nothing about each other. note is what a
// person should know when the streams are not told and were taken for the same.
func (s *subject) otherStream(e *dossier.Affected, version string) (note string, other bool) {
	if s.Type != "rpm" {
		return "", false
	}
	fixed := fixOf(e)
	modular := s.Module != "" || strings.Contains(version, modularBuild)
	wanted := e.Stream != "" || strings.Contains(fixed, modularBuild)
	switch {
	case fixed == "" && e.Stream == "":
		return "", false // it is about all that there is
	case modular != wanted:
		return "", true
	case !modular:
		return "", false
	}
	mine := streamOf(s.Module)
	if mine != "" && e.Stream != "" {
		return "", mine != e.Stream
	}
	if moduleNumber.FindString(upstream(version)) != moduleNumber.FindString(upstream(fixed)) {
		return "", true
	}
	return "module streams are not told; they were taken for the same", false
}

// streamOf returns "name:stream" of a modularity label.
func streamOf(label string) string {
	parts := strings.SplitN(label, ":", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + ":" + parts[1]
}

// upstream is a version without its epoch.
func upstream(version string) string {
	if _, rest, ok := strings.Cut(version, ":"); ok {
		return rest
	}
	return version
}

// fixOf returns the first fixed version of an entry.
func fixOf(e *dossier.Affected) string {
	for _, r := range e.Ranges {
		for _, ev := range r.Events {
			if ev.Fixed != "" {
				return ev.Fixed
			}
		}
	}
	return ""
}

// withPro brings together what an Ubuntu advisory says of a release and of what
// subscribers of Ubuntu Pro get for it. A fix for subscribers counts only for a
// package that is itself such a build.
func (s *subject) withPro(plain, pro *Verdict) *Verdict {
	if strings.Contains(s.Version, "esm") {
		pro.pro = false
		return pro
	}
	if plain == nil {
		if pro.Reason == Affected && pro.Proof.Fixed != "" {
			pro.note = fmt.Sprintf("fixed in %s, with Ubuntu Pro only", pro.Proof.Fixed)
		}
		return pro
	}
	if plain.Reason == Affected && plain.Proof.Fixed == "" && pro.Proof.Fixed != "" {
		plain.note = fmt.Sprintf("fixed in %s, with Ubuntu Pro only", pro.Proof.Fixed)
	}
	return plain
}

var (
	// foreignBuild finds what builders outside a distribution put into versions
	// of their deb packages.
	foreignBuild = pattern.New(`(?i)pgdg|nodesource|dotdeb|\bppa\d*\b|[~.+-](?:debian|ubuntu)\.?\d+(?:\.\d+)?~|[~+](?:jessie|stretch|buster|bullseye|bookworm|trixie|forky|xenial|bionic|focal|jammy|noble|resolute)\b`)
	ubuntuBuild  = pattern.New(`ubuntu\d`)
)

// foreign says who made a package of a distribution that is not the
// distribution's own; empty when it is, or nothing tells.
func foreign(p dossier.Package) string {
	id, _, _ := strings.Cut(p.Distribution, " ")
	switch p.Type {
	case "rpm":
		own := vendors(id)
		if own == nil || p.Vendor == "" {
			return ""
		}
		for _, prefix := range own {
			if strings.HasPrefix(strings.ToLower(p.Vendor), prefix) {
				return ""
			}
		}
		return p.Vendor
	case "deb":
		if foreignBuild.MatchString(p.Version) || id == "debian" && ubuntuBuild.MatchString(p.Version) {
			if p.Vendor != "" {
				return p.Vendor
			}
			return "others"
		}
	}
	return ""
}

// vendors returns how a distribution's packages name their vendor, in lower
// case; nil when it is not known.
func vendors(id string) []string {
	switch id {
	case "almalinux":
		return []string{"almalinux"}
	case "rocky":
		return []string{"rocky"}
	case "rhel":
		return []string{"red hat"}
	case "sles", "opensuse-leap":
		return []string{"suse", "opensuse"}
	case "mageia":
		return []string{"mageia"}
	case "photon":
		return []string{"vmware", "broadcom"}
	case "azurelinux", "mariner":
		return []string{"microsoft"}
	}
	return nil
}
