// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"testing"

	"github.com/package-url/packageurl-go"
)

// FuzzPurlText compares purls with those that the library writes.
func FuzzPurlText(f *testing.F) {
	f.Add("deb", "debian", "libstdc++6", "1:12.2.0-14+deb12u1~x", "amd64", "debian-12")
	f.Add("npm", "@types", "node", "20.1.0", "", "")
	f.Add("golang", "github.com/a/b", "c d%&?#=/é\xff", "v1.0.0+incompatible", "a b", "\x00")
	f.Add("generic", "//a//b/", "", "", "x", "")
	f.Fuzz(func(t *testing.T, kind, namespace, name, version, arch, distro string) {
		for _, c := range kind {
			if c < 'a' || c > 'z' {
				t.Skip("SKIPPED: types are our own")
			}
		}
		u := packageurl.PackageURL{Type: kind, Namespace: namespace, Name: name, Version: version}
		if arch != "" {
			u.Qualifiers = append(u.Qualifiers, packageurl.Qualifier{Key: "arch", Value: arch})
		}
		if distro != "" {
			u.Qualifiers = append(u.Qualifiers, packageurl.Qualifier{Key: "distro", Value: distro})
		}
		if got, want := purlText(u), u.ToString(); got != want {
			t.Errorf("purlText(%#v) = %q, the library writes %q", u, got, want)
		}
	})
}
