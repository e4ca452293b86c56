// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

// Key is under what name an advisory and a package meet. Both fields are in the
// form that Keys and KeysOf give.
type Key struct{ Ecosystem, Name string }

// Keys returns under which keys advisories about a package are found, and those
// about the package of the distribution that owns it. None: its ecosystem is not
// known.
func Keys(p dossier.Package) []Key {
	keys := ownKeys(p)
	if p.Owner != nil {
		keys = append(keys, ownKeys(*p.Owner)...)
	}
	slices.SortFunc(keys, compareKeys)
	return slices.Compact(keys)
}

func compareKeys(a, b Key) int {
	if c := strings.Compare(a.Ecosystem, b.Ecosystem); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

// ownKeys are those of the package itself.
func ownKeys(p dossier.Package) []Key {
	ecosystem := NormalEcosystem(p.Ecosystem)
	f := familyOf(ecosystem)
	if ecosystem == "" || f == nil {
		return nil
	}
	var names []string
	if f.names != bySource {
		names = append(names, p.Name)
	}
	if f.names != byBinary {
		names = append(names, sourceName(p))
	}
	var keys []Key
	for _, n := range slices.Compact(names) {
		keys = append(keys, Key{ecosystem, normalName(ecosystem, n)})
		if release, ok := strings.CutPrefix(ecosystem, "Ubuntu:"); ok {
			keys = append(keys, Key{"Ubuntu:Pro:" + release, n})
		}
		if base, _, ok := strings.Cut(ecosystem, ":"); ok {
			keys = append(keys, Key{base, n}) // said of all releases
		}
	}
	return keys
}

// KeysOf returns under which keys an advisory is found, each once, in order.
// One that was withdrawn is found under none.
func KeysOf(a dossier.Advisory) []Key {
	if !a.Withdrawn.IsZero() {
		return nil
	}
	var keys []Key
	for _, e := range a.Affected {
		keys = append(keys, KeyOf(e))
	}
	slices.SortFunc(keys, compareKeys)
	return slices.Compact(keys)
}

// KeyOf returns the key of one entry of an advisory.
func KeyOf(e dossier.Affected) Key {
	ecosystem := NormalEcosystem(e.Ecosystem)
	return Key{ecosystem, normalName(ecosystem, e.Name)}
}

var (
	susePattern   = pattern.New(`^SUSE:Linux Enterprise (?:Server|Module for .+?|High Performance Computing|Micro) ([0-9]+(?:\.[0-9]+| SP[0-9]+)?)$`)
	redhatPattern = pattern.New(`^Red Hat:enterprise_linux:([0-9]+)(?:\.[0-9]+)?(?:::?[a-z_]+)?$`)
	dashes        = pattern.New(`[-_.]+`)
)

// NormalEcosystem returns one name for those that mean the same: products of
// Red Hat and modules of SUSE by their release, releases of Ubuntu without what
// says how long they are supported.
func NormalEcosystem(ecosystem string) string {
	switch base, _, _ := strings.Cut(ecosystem, ":"); base {
	case "Ubuntu":
		return strings.TrimSuffix(ecosystem, ":LTS")
	case "SUSE":
		if m := susePattern.FindStringSubmatch(ecosystem); m != nil {
			return "SUSE:" + m[1]
		}
	case "Red Hat":
		if m := redhatPattern.FindStringSubmatch(ecosystem); m != nil {
			return "Red Hat:" + m[1]
		}
	}
	return ecosystem
}

// normalName returns one name for those that an ecosystem takes for the same.
func normalName(ecosystem, name string) string {
	switch ecosystem {
	case "PyPI":
		return strings.ToLower(dashes.ReplaceAllString(name, "-")) // PEP 503
	case "NuGet", "Packagist":
		return strings.ToLower(name)
	}
	return name
}

// sourceName is the name of the source package.
func sourceName(p dossier.Package) string {
	if p.Source != "" {
		return p.Source
	}
	return p.Name
}
