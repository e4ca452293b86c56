// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"cmp"
	"fmt"

	"dossier.dev/dossier"
)

// Compare returns -1, 0 or 1 when the version of a package comes before another
// one, is it, or comes after it, in the order of the package's ecosystem, or else
// of its package manager. KindUnsupported: no order is known. KindInvalid: one of
// them is no version there.
func Compare(p dossier.Package, version string) (int, error) {
	const op = "comparing versions"
	f := familyOf(NormalEcosystem(p.Ecosystem))
	if order := orderOfType(p.Type); f == nil && order != "" {
		f = &family{order: order}
	}
	if f == nil {
		return 0, dossier.Errorf(dossier.KindUnsupported, op, p.PURL, fmt.Sprintf("packages of type %q have no known order", p.Type))
	}
	if p.Version == "" || version == "" {
		return 0, dossier.Errorf(dossier.KindInvalid, op, p.PURL, "a version is not told")
	}
	a, errA := f.version(p.Version)
	b, errB := f.version(version)
	if err := cmp.Or(errA, errB); err != nil {
		return 0, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: p.PURL, Err: err}
	}
	n, err := a.Compare(b)
	if err != nil {
		return 0, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: p.PURL, Err: err}
	}
	return cmp.Compare(n, 0), nil
}

// orderOfType returns how versions of a type of package are ordered whatever the
// distribution is, "" when that is not known.
func orderOfType(kind string) string {
	switch kind {
	case "deb":
		return "Debian"
	case "apk":
		return "Alpine"
	case "rpm":
		return "Red Hat"
	}
	return ""
}
