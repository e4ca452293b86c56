// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// TestAll gives packages as the vocabulary has them.
func TestAll(t *testing.T) {
	layer := dossier.FromBytes([]byte("layer"))
	image := Fold([]LayerResult{{
		Version: Version, Digest: layer,
		Releases: []dossier.Distribution{{Path: "etc/os-release", ID: "debian", VersionID: "12"}},
		Files: []File{
			{Path: "usr/lib/python3/dist-packages/requests-2.28.1.egg-info/PKG-INFO", Packages: []Package{{Type: "pypi", Name: "requests", Version: "2.28.1", Owner: "python3-requests"}}},
			{Path: "usr/local/bin/app", Packages: []Package{{Type: "golang", Name: "golang.org/x/text", Version: "0.3.5"}}, Program: &dossier.Program{Packages: []string{"runtime"}}},
			{Path: "var/lib/dpkg/status", Packages: []Package{{Type: "deb", Name: "python3-requests", Version: "2.28.1+dfsg-1", Arch: "all", Source: "requests", SourceVersion: "2.28.1+dfsg-1", Vendor: "Python Team"}}},
		},
	}})
	deb := dossier.Package{
		PURL: "pkg:deb/debian/python3-requests@2.28.1%2Bdfsg-1?arch=all&distro=debian-12", Type: "deb", Ecosystem: "Debian:12", Distribution: "debian 12",
		Name: "python3-requests", Version: "2.28.1+dfsg-1", Arch: "all", Source: "requests", SourceVersion: "2.28.1+dfsg-1", Vendor: "Python Team",
	}
	want := []dossier.PackageAt{
		{Package: deb, Layer: layer, Path: "var/lib/dpkg/status"},
		{Package: dossier.Package{PURL: "pkg:golang/golang.org/x/text@v0.3.5", Type: "golang", Ecosystem: "Go", Name: "golang.org/x/text", Version: "0.3.5", Program: &dossier.Program{Packages: []string{"runtime"}}}, Layer: layer, Path: "usr/local/bin/app"},
		{Package: dossier.Package{PURL: "pkg:pypi/requests@2.28.1", Type: "pypi", Ecosystem: "PyPI", Name: "requests", Version: "2.28.1", Owner: &deb}, Layer: layer, Path: "usr/lib/python3/dist-packages/requests-2.28.1.egg-info/PKG-INFO"},
	}
	if diff := cmp.Diff(want, image.All()); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

// TestEpochs writes epochs of rpm as versions are compared.
func TestEpochs(t *testing.T) {
	f := Found{Package: Package{Type: "rpm", Name: "openssl-libs", Version: "3.0.1-20.el9", Epoch: 1, Source: "openssl", SourceVersion: "3.0.1-20.el9"}}
	p := f.vocabulary(nil)
	if p.Version != "1:3.0.1-20.el9" || p.SourceVersion != "1:3.0.1-20.el9" || p.Distribution != "" {
		t.Errorf("version %q, source %q, distribution %q", p.Version, p.SourceVersion, p.Distribution)
	}
}
