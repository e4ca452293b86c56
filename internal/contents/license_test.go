// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"strings"
	"testing"
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
