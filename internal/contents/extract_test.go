// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents/rpmdb/rpmdbtest"
)

func TestExtract(t *testing.T) {
	deb := func(name, version, arch, source, sourceVersion string) Package {
		return Package{Type: "deb", Name: name, Version: version, Arch: arch, Source: source, SourceVersion: sourceVersion}
	}
	for _, tt := range []struct {
		name    string
		entries []entry
		want    []File
	}{
		{"dpkg", []entry{file(status, dpkgZlib+dpkgBash+
			"Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n"+
			"Package: never\nStatus: unknown ok not-installed\nArchitecture: amd64\nVersion: 1\n\n"+
			"Package: npm\nStatus: install ok unpacked\nArchitecture: all\nVersion: 9.2\n\n"+
			"Package: man-db\nStatus: install ok triggers-pending\nArchitecture: amd64\nVersion: 2.11\n\n"+
			"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc (2.36-9)\nVersion: 2.36-9+b1\n")},
			[]File{{Path: status, Packages: []Package{
				deb("bash", "5.2.15-2+b2", "amd64", "bash", "5.2.15-2+b2"),
				deb("libc6", "2.36-9+b1", "amd64", "glibc", "2.36-9"),
				deb("man-db", "2.11", "amd64", "man-db", "2.11"), // waits for triggers
				deb("npm", "9.2", "all", "npm", "9.2"),           // is not configured
				deb("zlib1g", "1:1.2.13.dfsg-1", "amd64", "zlib", "1:1.2.13.dfsg-1"),
			}}}},
		{"distroless", []entry{
			file("var/lib/dpkg/status.d/base-files", "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n"),
			file("var/lib/dpkg/status.d/base-files.md5sums", "d41d8cd98f00b204e9800998ecf8427e  usr/share/doc/package.json\n"),
			file("usr/share/doc/package.json", npm("doc", "1.0.0")),
		}, []File{
			{Path: "usr/share/doc/package.json", Packages: []Package{{Type: "npm", Name: "doc", Version: "1.0.0", Owner: "base-files"}}},
			{Path: "var/lib/dpkg/status.d/base-files", Packages: []Package{deb("base-files", "12.4", "amd64", "base-files", "12.4")}},
		}},
		{"apk", []entry{
			file("lib/apk/db/installed", "C:Q1x=\nP:py3-six\nV:1.16.0-r9\nA:x86_64\nL:MIT\no:py3-six-src\nm:A B <a@example.org>\nF:usr/lib/python3.12/site-packages/six-1.16.0.dist-info\nR:METADATA\n\n"),
			file("usr/lib/python3.12/site-packages/six-1.16.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n\n"),
		}, []File{
			{Path: "lib/apk/db/installed", Packages: []Package{{Type: "apk", Name: "py3-six", Version: "1.16.0-r9", Arch: "x86_64", License: "MIT", Source: "py3-six-src", Vendor: "A B <a@example.org>"}}},
			{Path: "usr/lib/python3.12/site-packages/six-1.16.0.dist-info/METADATA", Packages: []Package{{Type: "pypi", Name: "six", Version: "1.16.0", Owner: "py3-six"}}},
		}},
		{"rpm", []entry{
			file("var/lib/rpm/Packages.db", string(rpmdbtest.NDB(rpmdbtest.Sample(2)))),
			file("usr/share/package001/file0001", "not asked for"),
		}, []File{{Path: "var/lib/rpm/Packages.db", Packages: []Package{
			{Type: "rpm", Name: "package000", Version: "1.2-0.el9", Arch: "x86_64", Source: "source0", SourceVersion: "1.2-1.el9"},
			{Type: "rpm", Name: "package001", Version: "1.2-1.el9", Epoch: 1, Arch: "x86_64", Source: "source1", SourceVersion: "1.2-1.el9", Module: "nodejs:18:9020020230327152102:rhel9"},
		}}}},
		{"list of a merged directory", []entry{
			file("var/lib/dpkg/info/node-a:amd64.list", "/.\n/lib\n/lib/node/a/package.json\n"), file("usr/lib/node/a/package.json", npm("a", "1.0.0")),
		}, []File{{Path: "usr/lib/node/a/package.json", Packages: []Package{{Type: "npm", Name: "a", Version: "1.0.0", Owner: "node-a"}}}}},
		{"egg", []entry{file("x/a.egg-info/PKG-INFO", "Name: a\nVersion: 1\n"), file("x/b.egg", zipOf(t, "EGG-INFO/PKG-INFO", "Name: b\nVersion: 2\n"))}, []File{
			{Path: "x/a.egg-info/PKG-INFO", Packages: []Package{{Type: "pypi", Name: "a", Version: "1"}}},
			{Path: "x/b.egg", Packages: []Package{{Type: "pypi", Name: "b", Version: "2"}}},
		}},
		{"npm without version", []entry{file("a/package.json", `{"name":"a"}`)}, nil},
		{"gem", []entry{file("usr/lib/ruby/specifications/rake-13.0.6.gemspec", "# -*- encoding: utf-8 -*-\nGem::Specification.new do |s|\n  s.name = \"rake\".freeze\n  s.version = \"13.0.6\"\nend\n")},
			[]File{{Path: "usr/lib/ruby/specifications/rake-13.0.6.gemspec", Packages: []Package{{Type: "gem", Name: "rake", Version: "13.0.6"}}}}},
		{"dotnet", []entry{file("app/app.deps.json", `{"libraries":{"app/1.0.0":{"type":"project"},"Newtonsoft.Json/13.0.1":{"type":"package"}}}`)},
			[]File{{Path: "app/app.deps.json", Packages: []Package{{Type: "nuget", Name: "Newtonsoft.Json", Version: "13.0.1"}}}}},
		{"composer", []entry{
			file("srv/vendor/composer/installed.json", `{"packages":[{"name":"a/b","version":"v1.2.0","license":["MIT","BSD"]}]}`),
			file("srv/composer.lock", `{"packages":[{"name":"a/b","version":"1.2.0","license":7}],"packages-dev":[{"name":"dev/tool","version":"1"}]}`),
			file("old/vendor/composer/installed.json", `[{"name":"a/old","version":"1.0.0"}]`),
			file("srv/installed.json", `{"packages":[{"name":"x/y","version":"1"}]}`),
		}, []File{
			{Path: "old/vendor/composer/installed.json", Packages: []Package{{Type: "composer", Name: "a/old", Version: "1.0.0"}}},
			{Path: "srv/composer.lock", Packages: []Package{{Type: "composer", Name: "a/b", Version: "1.2.0"}}},
			{Path: "srv/vendor/composer/installed.json", Packages: []Package{{Type: "composer", Name: "a/b", Version: "1.2.0", License: "MIT OR BSD"}}},
		}},
		{"jars", []entry{
			file("app/lib/named-1.4.2.jar", zipOf(t, "META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n\n")),
			file("app/shaded.jar", jar(t, "org.outer", "outer", "1", "META-INF/maven/org.inner/inner/pom.properties", "groupId=org.inner\nartifactId=inner\nversion=2\n")),
			file("app/app.ear", zipOf(t, "web.war", zipOf(t, "WEB-INF/lib/deep.jar", jar(t, "org.deep", "deep", "3")))),
		}, []File{
			{Path: "app/app.ear", Packages: []Package{{Type: "maven", Name: "org.deep:deep", Version: "3", Inner: "web.war!/WEB-INF/lib/deep.jar"}}},
			{Path: "app/lib/named-1.4.2.jar", Packages: []Package{{Type: "maven", Name: "named:named", Version: "1.4.2"}}},
			{Path: "app/shaded.jar", Packages: []Package{{Type: "maven", Name: "org.inner:inner", Version: "2"}, {Type: "maven", Name: "org.outer:outer", Version: "1"}}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := readLayer(t, Options{}, tt.entries...)
			if diff := cmp.Diff(tt.want, r.Files); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if len(r.Missed) > 0 {
				t.Errorf("missed %v", r.Missed)
			}
		})
	}
}

// TestResultIsAFunctionOfBytes: equal bytes give equal results, whatever the
// order in which extractors find things.
func TestResultIsAFunctionOfBytes(t *testing.T) {
	var names []string
	for _, c := range "abcdefghijklmnop" {
		names = append(names, `"`+string(c)+`/1.0.0":{"type":"package"}`)
	}
	entries := []entry{file("app/app.deps.json", `{"libraries":{`+strings.Join(names, ",")+`}}`), symlink("b", "c"), symlink("a", "c"), gone("y"), gone("x")}
	first := readLayer(t, Options{}, entries...)
	for range 5 {
		if diff := cmp.Diff(first, readLayer(t, Options{}, entries...)); diff != "" {
			t.Fatalf("results (-first +later):\n%s", diff)
		}
	}
}

func TestParseRelease(t *testing.T) {
	for _, tt := range []struct {
		path, body string
		want       dossier.Distribution
		ecosystem  string
	}{
		{"etc/os-release", debian12, dossier.Distribution{ID: "debian", VersionID: "12", Codename: "bookworm", Name: "Debian GNU/Linux 12 (bookworm)"}, "Debian:12"},
		{"etc/os-release", "ID=alpine\nVERSION_ID=3.20.3\n", dossier.Distribution{ID: "alpine", VersionID: "3.20.3"}, "Alpine:v3.20"},
		{"etc/os-release", "ID=alpine\nVERSION_ID=3.21_alpha20240923\n", dossier.Distribution{ID: "alpine", VersionID: "3.21_alpha20240923"}, ""},
		{"etc/os-release", "ID=ubuntu\nVERSION_ID=\"22.04\"\nID_LIKE=debian\n", dossier.Distribution{ID: "ubuntu", VersionID: "22.04", Like: []string{"debian"}}, "Ubuntu:22.04:LTS"},
		{"etc/os-release", "ID=ubuntu\nVERSION_ID='23.10'\n", dossier.Distribution{ID: "ubuntu", VersionID: "23.10"}, "Ubuntu:23.10"},
		{"etc/os-release", "ID=\"almalinux\"\nVERSION_ID=\"9.4\"\nID_LIKE=\"rhel centos fedora\"", dossier.Distribution{ID: "almalinux", VersionID: "9.4", Like: []string{"rhel", "centos", "fedora"}}, "AlmaLinux:9"},
		{"etc/os-release", "ID=rocky\nVERSION_ID=8.9", dossier.Distribution{ID: "rocky", VersionID: "8.9"}, "Rocky Linux:8"},
		{"etc/os-release", "ID=sles\nVERSION_ID=15.5", dossier.Distribution{ID: "sles", VersionID: "15.5"}, "SUSE:Linux Enterprise Server 15 SP5"},
		{"etc/os-release", "ID=wolfi\nVERSION_ID=20230201", dossier.Distribution{ID: "wolfi", VersionID: "20230201"}, "Wolfi"},
		{"etc/os-release", "ID=debian\nPRETTY_NAME=\"trixie \\\"sid\\\"\"", dossier.Distribution{ID: "debian", Name: "trixie \"sid\""}, ""},
		{"etc/redhat-release", "CentOS release 6.10 (Final)\n", dossier.Distribution{ID: "centos", VersionID: "6.10", Name: "CentOS release 6.10 (Final)"}, ""},
		{"etc/redhat-release", "Red Hat Enterprise Linux Server release 7.9 (Maipo)\n", dossier.Distribution{ID: "rhel", VersionID: "7.9", Name: "Red Hat Enterprise Linux Server release 7.9 (Maipo)"}, "Red Hat:7"},
		{"etc/debian_version", "6.0.10\n", dossier.Distribution{ID: "debian", VersionID: "6.0.10"}, "Debian:6"},
		{"etc/os-release", "nothing", dossier.Distribution{}, ""},
		{"etc/redhat-release", "nothing", dossier.Distribution{}, ""},
		{"etc/debian_version", "", dossier.Distribution{}, ""},
	} {
		got, ok := parseRelease(tt.path, []byte(tt.body))
		if ok != (tt.want.ID != "") {
			t.Errorf("%q: got %v, %+v", tt.body, ok, got)
			continue
		}
		if !ok {
			continue
		}
		tt.want.Path = tt.path
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.body, diff)
		}
		if e := osvDistribution(got); e != tt.ecosystem {
			t.Errorf("%q: got ecosystem %q, want %q", tt.body, e, tt.ecosystem)
		}
	}
}

func TestDatabaseOfAnotherDistribution(t *testing.T) {
	// rpm's database in an image of Debian says nothing about Debian's packages.
	image := readImage(t, []entry{file("etc/os-release", debian12), file("var/lib/rpm/Packages.db", string(rpmdbtest.NDB(rpmdbtest.Sample(1))))})
	if p := image.Packages[0]; p.Ecosystem != "" || p.PURL != "pkg:rpm/package000@1.2-0.el9?arch=x86_64" {
		t.Errorf("got %+v", p)
	}
}
