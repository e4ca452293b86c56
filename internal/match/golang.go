// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

var (
	goRelease  = pattern.New(`^(\d+\.\d+)(\.\d+)?(?:(beta|rc)(\d+))?$`)
	goVCSTime  = pattern.New(`[-.]\d{14}-[0-9a-f]{12}$`)
	goPrefixed = pattern.New(`^(?:go|v)(\d)`)
)

// goVersion writes a version of a Go module or of Go itself as semantic versions
// are written: "v1.2.3" and "go1.21rc2" are 1.2.3 and 1.21.0-rc.2. What a build
// of Go adds after a space is left out.
func goVersion(s string) string {
	s, _, _ = strings.Cut(goPrefixed.ReplaceAllString(s, "$1"), " ")
	m := goRelease.FindStringSubmatch(s)
	if m == nil || m[2] != "" && m[3] == "" {
		return s
	}
	out := m[1] + m[2]
	if m[2] == "" {
		out += ".0"
	}
	if m[3] != "" {
		out += "-" + m[3] + "." + m[4]
	}
	return out
}

// isTagged reports whether a version of a Go module is a release, not one that
// the go command made up for a commit.
func isTagged(version string) bool {
	return !goVCSTime.MatchString(strings.TrimSuffix(version, "+incompatible"))
}

// linked says whether a program holds what an entry of an advisory says is
// vulnerable. reason is empty when it does, or may.
func linked(p *dossier.Program, e dossier.Affected) (presence dossier.Presence, held []string, reason Reason) {
	if p == nil || len(p.Packages) == 0 || len(e.Imports) == 0 {
		return dossier.SymbolsUnknown, nil, ""
	}
	reason, presence = Absent, dossier.SymbolsAbsent
	for _, im := range e.Imports {
		switch {
		case !p.HasPackage(im.Path):
			continue
		case excluded(im.OS, p.OS) || excluded(im.Arch, p.Arch):
			if reason == Absent {
				reason = Platform
			}
			continue
		}
		reason = ""
		switch {
		case len(im.Symbols) == 0 || p.Symbols == nil:
			if presence != dossier.SymbolsPresent {
				presence = dossier.SymbolsUnknown
			}
		default:
			for _, s := range im.Symbols {
				if p.Symbols.Has(im.Path + "." + s) {
					presence = dossier.SymbolsPresent
					held = append(held, im.Path+"."+s)
				}
			}
		}
	}
	slices.Sort(held)
	return presence, slices.Compact(held), reason
}

// excluded reports whether a list names others than the one that is known.
func excluded(list []string, one string) bool {
	return len(list) > 0 && one != "" && !slices.Contains(list, one)
}
