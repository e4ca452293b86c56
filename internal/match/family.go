// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"strings"

	"github.com/google/osv-scalibr/semantic"
)

// naming says which packages an ecosystem's advisories name.
type naming int

const (
	byBinary naming = iota // those that are installed
	bySource               // those they are built from
	byBoth
)

// family is how an ecosystem names and compares.
type family struct {
	names        naming
	distribution bool
	// comprehensive: its advisories also tell what is not fixed, so one that is
	// missing means that the distribution is not concerned.
	comprehensive bool
	order         string // of versions: an ecosystem that semantic knows
}

// familyOf returns the family of an ecosystem, nil when there is none.
func familyOf(ecosystem string) *family {
	base, _, _ := strings.Cut(ecosystem, ":")
	switch base {
	case "Debian", "Ubuntu":
		return &family{names: bySource, distribution: true, comprehensive: true, order: "Debian"}
	case "Alpine", "Wolfi", "Chainguard", "MinimOS":
		return &family{names: bySource, distribution: true, order: "Alpine"}
	case "AlmaLinux":
		return &family{names: byBinary, distribution: true, order: "Red Hat"}
	case "Red Hat":
		return &family{names: byBoth, distribution: true, comprehensive: true, order: "Red Hat"}
	case "Rocky Linux", "SUSE", "openSUSE", "Mageia", "openEuler", "Photon OS", "Azure Linux":
		return &family{names: byBoth, distribution: true, order: "Red Hat"}
	case "Go", "npm", "PyPI", "Maven", "RubyGems", "crates.io", "Packagist", "NuGet":
		return &family{order: base}
	}
	return nil
}

// version parses a version. A panic of the parser is an error: it does not
// promise to be safe on what it is given.
func (f *family) version(s string) (v semantic.Version, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = nil, semantic.ErrInvalidVersion
		}
	}()
	if len(s) > maxVersion {
		return nil, semantic.ErrInvalidVersion
	}
	if f.order == "Go" {
		s = goVersion(s)
	}
	return semantic.Parse(s, f.order)
}

// maxVersion bounds a version, in bytes. Comparing is quadratic for some.
const maxVersion = 512
