// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
)

// TestSeverity takes the examples of FIRST: the guides of CVSS v2 (section 3.3),
// v3.1 and v4.0.
func TestSeverity(t *testing.T) {
	for _, tt := range []struct {
		name, kind, vector string
		score              float64
		word               dossier.Severity
	}{
		{"CVE-2002-0392, v2", "CVSS_V2", "AV:N/AC:L/Au:N/C:N/I:N/A:C", 7.8, dossier.SeverityHigh},
		{"CVE-2003-0818, v2", "CVSS_V2", "AV:N/AC:L/Au:N/C:C/I:C/A:C", 10, dossier.SeverityHigh},
		{"CVE-2003-0062, v2", "CVSS_V2", "AV:L/AC:H/Au:N/C:C/I:C/A:C", 6.2, dossier.SeverityMedium},
		{"CVE-2013-0375, v3.0", "CVSS_V3", "CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4, dossier.SeverityMedium},
		{"CVE-2014-3566, v3.1", "CVSS_V3", "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 3.1, dossier.SeverityLow},
		{"CVE-2012-1516, v3.1", "CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", 9.9, dossier.SeverityCritical},
		{"CVE-2014-0160, v3.1", "CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5, dossier.SeverityHigh},
		{"nothing, v3.1", "CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0, dossier.SeverityNegligible},
		{"CVE-2021-44228, v4.0", "CVSS_V4", "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", 10, dossier.SeverityCritical},
		{"CVE-2022-41741, v4.0", "CVSS_V4", "CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 7.3, dossier.SeverityHigh},
		{"CVE-2020-3549, v4.0", "CVSS_V4", "CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:P/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 7.7, dossier.SeverityHigh},
		{"CVE-2023-3089, v4.0", "CVSS_V4", "CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:N/VC:H/VI:L/VA:L/SC:N/SI:N/SA:N", 8.3, dossier.SeverityHigh},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := advisory("GHSA-1", says("npm|a|0 2.0.0"))
			a.Ratings = []dossier.Rating{{Type: tt.kind, Score: tt.vector}}
			f := Match(pkg("npm", "a", "1.0.0"), []dossier.Advisory{a}).Findings[0]
			if f.Score != tt.score || f.Severity != tt.word || f.Vector != tt.vector {
				t.Errorf("%v %s %s, want %v %s", f.Score, f.Severity, f.Vector, tt.score, tt.word)
			}
		})
	}
}

func TestWhichSeverityCounts(t *testing.T) {
	v3 := dossier.Rating{Type: "CVSS_V3", Score: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}                    // 7.5
	v4 := dossier.Rating{Type: "CVSS_V4", Score: "CVSS:4.0/AV:L/AC:L/AT:N/PR:N/UI:P/VC:N/VI:H/VA:N/SC:N/SI:N/SA:N"} // medium
	v2 := dossier.Rating{Type: "CVSS_V2", Score: "AV:N/AC:L/Au:N/C:C/I:C/A:C"}                                      // 10
	word := func(s string) dossier.Rating { return dossier.Rating{Type: "WORD", Score: s} }
	for _, tt := range []struct {
		name, ecosystem string
		ratings         []dossier.Rating
		want            dossier.Severity
	}{
		{"none", "npm", nil, dossier.SeverityUnknown},
		{"a newer version of CVSS", "npm", []dossier.Rating{v2, v3, v4}, dossier.SeverityMedium},
		{"a vector before a word", "npm", []dossier.Rating{word("critical"), v3}, dossier.SeverityHigh},
		{"a word where there is no vector", "npm", []dossier.Rating{word("MODERATE")}, dossier.SeverityMedium},
		{"a broken vector is none", "npm", []dossier.Rating{{Type: "CVSS_V3", Score: "CVSS:3.1/AV:X"}}, dossier.SeverityUnknown},
		{"the distribution's word before a vector", "AlmaLinux:9", []dossier.Rating{v3, word("low")}, dossier.SeverityLow},
	} {
		a := advisory("X-1", says(tt.ecosystem+"|a|0 2.0.0"))
		a.Ratings = tt.ratings
		if got := Match(pkg(tt.ecosystem, "a", "1.0.0"), []dossier.Advisory{a}).Findings[0].Severity; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestAssess(t *testing.T) {
	covered := map[string]bool{"Debian:12": true, "Debian:9": true, "AlmaLinux:9": true, "PyPI": true, "Ubuntu:22.04": true}
	k := Knowledge{At: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Covers: func(e string) bool { return covered[e] }}
	nowhere := dossier.Package{Type: "deb", Name: "a", Version: "1"}
	unknown := dossier.Package{Type: "deb", Distribution: "kali 2024.1", Name: "a", Version: "1"}
	for _, tt := range []struct {
		p    dossier.Package
		want string
	}{
		{pkg("Debian:12", "a", "1"), ""},
		{pkg("Ubuntu:22.04:LTS", "a", "1"), ""},
		{pkg("PyPI", "a", "1"), ""},
		{nowhere, "the image does not say which distribution it is"},
		{unknown, "there are no advisories for deb packages of kali 2024.1"},
		{dossier.Package{Type: "opkg", Name: "a", Distribution: "openwrt 23"}, "there are no advisories for opkg packages of openwrt 23"},
		{dossier.Package{Type: "cran", Name: "a"}, "there are no advisories for cran packages"},
		{pkg("npm", "a", "1"), "no advisories for npm are loaded"},
		{pkg("Debian:11", "a", "1"), "no advisories for Debian:11 are loaded"},
		{pkg("Debian:9", "a", "1"), "Debian:9 is not supported since 2022-07-01"},
		{by(pkg("AlmaLinux:9", "a", "1"), "Fedora Project"), "it was built by Fedora Project, not by almalinux 9"},
		{by(pkg("AlmaLinux:9", "a", "1"), "AlmaLinux OS Foundation"), ""},
	} {
		if got := Assess(tt.p, k); got != tt.want {
			t.Errorf("%s of %q: %q, want %q", tt.p.PURL, tt.p.Ecosystem, got, tt.want)
		}
	}
}

// TestForeign looks at versions of the distributions and of others.
func TestForeign(t *testing.T) {
	for _, tt := range []struct {
		distribution, version string
		want                  bool
	}{
		{"debian 12", "1.2-3+deb12u1", false}, {"debian 12", "2.74.6-2+deb12u5", false}, {"debian 12", "1.2~bpo12+1", false}, {"debian 12", "6.1.99-1", false},
		{"debian 12", "1:10.11.6-0+deb12u1", false}, {"debian 12", "20230311", false}, {"debian 9", "1.0-1+wheezy1", false},
		{"debian 12", "5:24.0.7-1~debian.12~bookworm", true}, {"debian 12", "16.1-1.pgdg120+1", true}, {"debian 12", "20.11.0-1nodesource1", true},
		{"debian 12", "8.2.7-1+0~20230609.41+debian12~1.gbp1e3b29", true}, {"debian 12", "2.0-1ubuntu1", true},
		{"ubuntu 22.04", "2.0-1ubuntu1.2", false}, {"ubuntu 22.04", "115.0+build2-0ubuntu0.22.04.1", false}, {"ubuntu 22.04", "29.4~22.04", false},
		{"ubuntu 22.04", "1.0-0ubuntu1~22.04.1+esm1", false}, {"ubuntu 22.04", "5:24.0.7-1~ubuntu.22.04~jammy", true}, {"ubuntu 22.04", "1.18~ppa1", true},
	} {
		p := dossier.Package{Type: "deb", Distribution: tt.distribution, Version: tt.version}
		if got := foreign(p) != ""; got != tt.want {
			t.Errorf("%s in %s: foreign %v", tt.version, tt.distribution, got)
		}
	}
}

// TestEnds compares our table with endoflife.date's.
func TestEnds(t *testing.T) {
	dir := os.Getenv("DOSSIER_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	f, err := os.Open(filepath.Join(dir, "eol", "products.jsonl"))
	if err != nil {
		t.Skipf("no table to compare with: %v", err)
	}
	defer f.Close()
	ours := map[string]string{"/debian": "Debian:", "/ubuntu": "Ubuntu:", "/alpine-linux": "Alpine:v", "/almalinux": "AlmaLinux:", "/rocky-linux": "Rocky Linux:", "/rhel": "Red Hat:", "/opensuse": "openSUSE:Leap ", "/mageia": "Mageia:", "/photon": "Photon OS:"}
	compared := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var product struct {
			Permalink string
			Releases  []struct {
				ReleaseCycle string
				EOL, EOES    any
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &product); err != nil {
			t.Fatal(err)
		}
		prefix := ours[product.Permalink]
		for _, r := range product.Releases {
			ends, ok := Ends(prefix + r.ReleaseCycle)
			if !ok {
				continue
			}
			want := r.EOL
			if product.Permalink == "/debian" {
				want = r.EOES // LTS is for everyone
			}
			if got := ends.Format(time.DateOnly); got != want {
				t.Errorf("%s%s: %s, want %v", prefix, r.ReleaseCycle, got, want)
			}
			compared++
		}
	}
	if compared < 60 {
		t.Errorf("only %d releases were compared", compared)
	}
	if _, ok := Ends("Debian:99"); ok {
		t.Error("a release that is not known has an end")
	}
	if _, ok := Ends("SUSE:Linux Enterprise Server 15 SP4"); !ok || !strings.Contains(NormalEcosystem("SUSE:Linux Enterprise Module for Basesystem 15 SP4"), "SUSE:15 SP4") {
		t.Error("a release of SUSE is not recognised")
	}
}
