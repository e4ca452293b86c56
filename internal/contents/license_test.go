// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLicenses(t *testing.T) {
	python := "Metadata-Version: 2.1\nName: a\nVersion: 1\n"
	for _, tt := range []struct{ path, body, want string }{
		{"package.json", `{"name":"a","version":"1","license":"(MIT OR Apache-2.0)"}`, "(MIT OR Apache-2.0)"},
		{"package.json", `{"name":"a","version":"1","license":{"type":"BSD-3-Clause","url":"x"}}`, "BSD-3-Clause"},
		{"package.json", `{"name":"a","version":"1","licenses":[{"type":"MIT"},{"type":"ISC"},{}]}`, "MIT OR ISC"},
		{"package.json", `{"name":"a","version":"1","license":5}`, ""},
		{"package.json", `{"name":"a","version":"1"}`, ""},
		{"x/a-1.dist-info/METADATA", python + "License-Expression: MIT\nLicense: as is\n", "MIT"},
		{"x/a-1.dist-info/METADATA", python + "License: Apache 2.0\nClassifier: License :: OSI Approved :: MIT License\n", "Apache 2.0"},
		{"x/a-1.dist-info/METADATA", python + "License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n", "MIT License"},
		{"x/a-1.dist-info/METADATA", python + "Classifier: License :: Public Domain\n", "Public Domain"},
		{"x/a-1.dist-info/METADATA", python + "\nLicense: in the description\n", ""},
	} {
		r := readLayer(t, Options{}, file(tt.path, tt.body))
		if len(r.Files) != 1 || len(r.Files[0].Packages) != 1 || r.Files[0].Packages[0].License != tt.want {
			t.Errorf("%s %q: got %+v, want %q", tt.path, tt.body, r.Files, tt.want)
		}
	}
}

func TestLicensesOfDebian(t *testing.T) {
	const head = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: x\n\n"
	for _, tt := range []struct{ body, want string }{
		{head + "Files: *\nLicense: GPL-2+\n text\n\nFiles: a\nLicense: Expat\n\nFiles: b\nLicense: GPL-2+\n", "GPL-2.0-or-later AND MIT"},
		{head + "License: LGPL-2.1 or BSD-3-clause\n", "(LGPL-2.1-only OR BSD-3-Clause)"},
		{head + "License: GPL-3+ with Bison-2.2-exception\n", "GPL-3.0-or-later WITH Bison-2.2-exception"},
		{head + "License: public-domain\n", "public-domain"},
		{"On Debian systems the text is in /usr/share/common-licenses/GPL-3.\nor /usr/share/common-licenses/Artistic'", "Artistic-1.0-Perl AND GPL-3.0-only"},
		{"All rights reserved.\n", ""},
		{"License: not in a machine-readable file\n", ""},
	} {
		r := readLayer(t, Options{}, file("usr/share/doc/bash/copyright", tt.body), file("usr/share/doc/bash/other", "License: x"))
		if got := r.Licenses["bash"]; got != tt.want || len(r.Missed) > 0 {
			t.Errorf("%q: got %q, want %q", tt.body, got, tt.want)
		}
	}
	// The database of the layer above lists what the layer beneath brought.
	image := readImage(t,
		[]entry{file("etc/os-release", debian12), file(status, dpkgBash), file("usr/share/doc/bash/copyright", head+"License: GPL-3+\n")},
		[]entry{file(status, dpkgBash+dpkgZlib), file("usr/share/doc/zlib/copyright", head+"License: Zlib\n")})
	var got []string
	for _, p := range image.Packages {
		got = append(got, p.Name+" "+p.License)
	}
	if diff := cmp.Diff([]string{"bash GPL-3.0-or-later", "zlib1g Zlib"}, got); diff != "" {
		t.Errorf("licences (-want +got):\n%s", diff)
	}
}

func FuzzCopyright(f *testing.F) {
	f.Add("Format: copyright-format\nLicense: GPL-2+ or MIT\n/usr/share/common-licenses/GPL")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := readCopyright(strings.NewReader(s)); err != nil || len(got) > maxField {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func FuzzLicenses(f *testing.F) {
	f.Add(`{"license":[{"type":"x"}]}`)
	f.Add("License: x\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{npmLicense(strings.NewReader(s)), pythonLicense(strings.NewReader(s))} {
			if len(got) > maxField {
				t.Errorf("%d bytes", len(got))
			}
		}
	})
}
