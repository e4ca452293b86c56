// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

func TestAdvise(t *testing.T) {
	base, own := dossier.FromBytes([]byte("base")), dossier.FromBytes([]byte("own"))
	of := func(p dossier.PackageAt, layer dossier.Digest, state dossier.FixState, fixed string) dossier.Finding {
		p.Layer = layer
		return dossier.Finding{Package: p, State: state, FixedIn: fixed}
	}
	goModule := func(name string) dossier.PackageAt {
		return dossier.PackageAt{Path: "usr/bin/app", Package: dossier.Package{PURL: "pkg:golang/" + name, Type: "golang", Ecosystem: "Go", Name: name, Version: "1.0.0"}}
	}
	inProject := goModule("example.com/m")
	inProject.Path = "src/go.mod"
	owned := npm("a", "1.0.0", "usr/share/nodejs/a/package.json")
	deb := debian("12", "node-a", "1")
	owned.Owner = &deb.Package
	list := dossier.FindingList{
		Findings: []dossier.Finding{
			of(npm("a", "1.0.0", "app/a"), own, dossier.Fixable, "1.9.0"), of(npm("a", "1.0.0", "app/a"), own, dossier.Fixable, "1.10.0"),
			of(npm("a", "1.0.0", "app/b"), own, dossier.Fixable, "1.9.0"), of(npm("a", "1.0.0", "app/a"), own, dossier.Unfixed, ""),
			of(npm("a", "1.0.0", "app/a"), base, dossier.Fixable, "1.9.0"), of(deb, base, dossier.Fixable, "2"), of(deb, base, dossier.WontFix, ""),
			of(deb, own, dossier.Fixable, "2"), of(deb, "", dossier.Fixable, "2"), of(owned, own, dossier.Fixable, "1.9.0"),
			of(goModule("stdlib"), own, dossier.Fixable, "1.26.2"), of(goModule("example.com/m"), own, dossier.Fixable, "1.2.0"), of(deb, own, dossier.EndOfLife, ""),
			of(inProject, "", dossier.Fixable, "1.2.0"),
		},
		Suppressed: []dossier.Suppressed{{Finding: of(npm("a", "1.0.0", "app/b"), own, dossier.Fixable, "1.11.0")}},
	}
	Advise(&list, map[dossier.Digest]string{base: "registry.example/debian:12"})
	var got []string
	each(&list, func(f *dossier.Finding) {
		got = append(got, fmt.Sprintf("%s %s %s: %s", f.Remedy.Kind, f.Remedy.Package, f.Remedy.To, f.Remedy.Text))
	})
	if diff := cmp.Diff([]string{
		"update-package a 1.10.0: update a to 1.10.0 or later in app/a", "update-package a 1.10.0: update a to 1.10.0 or later in app/a",
		"update-package a 1.11.0: update a to 1.11.0 or later in app/b", "none a : there is no fix for a yet",
		"update-base a 1.9.0: build on a newer registry.example/debian:12: its packages are out of date",
		"update-base node-a 2: build on a newer registry.example/debian:12: its packages are out of date",
		"none node-a : no fix for node-a is planned: do without it, or say why it does not matter (--vex, --ignore)",
		"rebuild node-a 2: build again without a cached layer, so that node-a 2 or later is installed",
		"update-package node-a 2: update node-a to 2 or later",
		"update-package node-a : update node-a, which installed usr/share/nodejs/a/package.json, or remove it",
		"rebuild stdlib 1.26.2: build usr/bin/app with Go 1.26.2 or later", "rebuild example.com/m 1.2.0: build usr/bin/app with example.com/m 1.2.0 or later",
		"none node-a : node-a is no longer supported there: move to a release that is",
		"update-package example.com/m 1.2.0: update example.com/m to 1.2.0 or later in src/go.mod",
		"update-package a 1.11.0: update a to 1.11.0 or later in app/b",
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
