// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"testing"

	"dossier.dev/dossier"
)

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		kind, ecosystem, a, b string
		want                  int
	}{
		{"deb", "Debian:12", "1:1.0-1", "2.0", 1},
		{"deb", "Debian:12", "1.0~rc1", "1.0", -1},
		{"deb", "", "1.0", "1.0", 0},
		{"apk", "Alpine:v3.20", "1.2.5-r0", "1.2.5-r10", -1},
		{"rpm", "", "1.10-1", "1.9-1", 1},
		{"npm", "npm", "1.10.0", "1.9.0", 1},
		{"maven", "Maven", "2.14.1", "2.15", -1},
		{"golang", "Go", "0.3.5", "v0.3.7", -1},
		{"pypi", "PyPI", "2.0rc1", "2.0", -1},
	} {
		got, err := Compare(dossier.Package{Type: tt.kind, Ecosystem: tt.ecosystem, Version: tt.a}, tt.b)
		if err != nil || got != tt.want {
			t.Errorf("%s %s with %s: got %d, %v, want %d", tt.kind, tt.a, tt.b, got, err, tt.want)
		}
	}
	for _, tt := range []struct {
		p    dossier.Package
		want dossier.Kind
	}{
		{dossier.Package{Type: "conan", Version: "1"}, dossier.KindUnsupported},
		{dossier.Package{Type: "pypi", Ecosystem: "PyPI", Version: ""}, dossier.KindInvalid},
	} {
		if n, err := Compare(tt.p, "1"); dossier.KindOf(err) != tt.want {
			t.Errorf("%+v: got %d, %v, want an error of kind %q", tt.p, n, err, tt.want)
		}
	}
}
