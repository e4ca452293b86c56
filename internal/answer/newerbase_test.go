// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"testing"
	"time"

	"dossier.dev/dossier"
)

// TestAdviseBases: a newer base is named only where it is known not to have a finding,
// and what is not known is said.
func TestAdviseBases(t *testing.T) {
	t.Parallel()
	const base = "registry.example/debian:12"
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	one := func(name string, packages map[string]string, findings ...string) newerBase {
		b := newerBase{name: name, digest: dossier.FromBytes([]byte(name)), since: day, findings: map[string]bool{}, packages: packages}
		for _, f := range findings {
			b.findings[f] = true
		}
		return b
	}
	short := func(name string) string { return dossier.FromBytes([]byte(name)).Short() }
	mended, vulnerable := one("registry.example/debian:12", nil), one("registry.example/debian:13", nil, "CVE-1")
	for name, tt := range map[string]struct {
		newer newerBases
		kind  dossier.RemedyKind
		want  string
	}{
		"none was seen":             {newerBases{}, dossier.RemedyBase, "update it; no newer one has been seen"},
		"one was not read":          {newerBases{unread: 1}, dossier.RemedyBase, "update it; a newer one has been seen, and what is in there is not known: dossier show reads one"},
		"some were not read":        {newerBases{unread: 3}, dossier.RemedyBase, "update it; 3 newer ones have been seen, and what is in there is not known: dossier show reads one"},
		"one is mended":             {newerBases{list: []newerBase{mended}}, dossier.RemedyBase, "build on a newer " + base + ": " + short(mended.name) + " has been registry.example/debian:12 since 2026-05-01, and has none of this"},
		"the best has it":           {newerBases{list: []newerBase{vulnerable, mended}}, dossier.RemedyBase, "build on a newer " + base + ": " + short(mended.name) + " has been registry.example/debian:12 since 2026-05-01, and has none of this"},
		"all have it":               {newerBases{list: []newerBase{vulnerable}}, dossier.RemedyBase, "update it; of the newer ones that were read (1) none is known to be without it"},
		"all that were read":        {newerBases{list: []newerBase{vulnerable}, unread: 2}, dossier.RemedyBase, "update it; of the newer ones that were read (1) none is known to be without it, and 2 more were not read"},
		"by another name":           {newerBases{list: []newerBase{one("x", nil, "DEBIAN-1")}}, dossier.RemedyBase, "update it; of the newer ones that were read (1) none is known to be without it"},
		"it cannot be told":         {newerBases{list: []newerBase{one("x", map[string]string{"deb/bash": "no advisories for Debian:13 are loaded"})}}, dossier.RemedyBase, "update it; of the newer ones that were read (1) none is known to be without it"},
		"no fix, and one is mended": {newerBases{list: []newerBase{mended}}, dossier.RemedyNone, "build on a newer " + base + ": " + short(mended.name) + " has been registry.example/debian:12 since 2026-05-01, and has none of this"},
		"no fix, and none is":       {newerBases{list: []newerBase{vulnerable}}, dossier.RemedyNone, "update it"},
	} {
		f := dossier.Finding{ID: "CVE-1", Aliases: []string{"DEBIAN-1"}, Remedy: &dossier.Remedy{Kind: tt.kind, Text: "update it"}}
		f.Package.Type, f.Package.Name = "deb", "bash"
		tt.newer.advise(&f, base)
		if f.Remedy.Text != tt.want {
			t.Errorf("%s: %q, want %q", name, f.Remedy.Text, tt.want)
		}
		if named := f.Remedy.Newer != ""; named != (tt.want != "update it" && tt.want[:6] != "update") {
			t.Errorf("%s: the newer one is %q", name, f.Remedy.Newer)
		}
	}
}
