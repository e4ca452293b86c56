// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// pkg makes a package of "ecosystem name version", and of "source version" when
// it was built from another.
func pkg(ecosystem, name, version string, source ...string) dossier.Package {
	base, release, _ := strings.Cut(ecosystem, ":")
	p := dossier.Package{Ecosystem: ecosystem, Name: name, Version: version}
	switch base {
	case "Debian", "Ubuntu":
		p.Type, p.Distribution = "deb", strings.ToLower(base)+" "+strings.TrimSuffix(release, ":LTS")
	case "Alpine":
		p.Type, p.Distribution = "apk", "alpine "+release
	case "AlmaLinux":
		p.Type, p.Distribution = "rpm", "almalinux "+release
	case "Red Hat", "Rocky Linux":
		p.Type, p.Distribution = "rpm", "rhel "+release
	case "Go":
		p.Type = "golang"
	case "PyPI", "npm":
		p.Type = strings.ToLower(base)
	}
	p.PURL = "pkg:" + p.Type + "/" + name + "@" + version
	for _, s := range source {
		p.Source, p.SourceVersion, _ = strings.Cut(s, " ")
	}
	return p
}

// says makes an entry: "ecosystem|name|introduced fixed ...", where a fixed of
// "-" is none.
func says(line string, change ...func(*dossier.Affected)) dossier.Affected {
	parts := strings.Split(line, "|")
	e := dossier.Affected{Ecosystem: parts[0], Name: parts[1]}
	r := dossier.Range{Type: dossier.RangeEcosystem}
	for i, v := range strings.Fields(parts[2]) {
		switch {
		case v == "-":
		case i%2 == 0:
			r.Events = append(r.Events, dossier.Event{Introduced: v})
		case strings.HasPrefix(v, "<="):
			r.Events = append(r.Events, dossier.Event{LastAffected: v[2:]})
		default:
			r.Events = append(r.Events, dossier.Event{Fixed: v})
		}
	}
	e.Ranges = []dossier.Range{r}
	for _, f := range change {
		f(&e)
	}
	return e
}

// advisory makes an advisory. Its ID may be followed by others that mean the
// same, after an arrow by those it passes on.
func advisory(ids string, entries ...dossier.Affected) dossier.Advisory {
	same, upstream, _ := strings.Cut(ids, "->")
	names := strings.Fields(same)
	return dossier.Advisory{
		ID: names[0], SHA256: dossier.FromBytes([]byte(ids)), Aliases: names[1:], Upstream: strings.Fields(upstream), Affected: entries,
	}
}

// lines writes findings: "ID (aliases) state fixedIn severity" and notes.
func lines(findings []dossier.Finding) []string {
	out := []string{}
	for _, f := range findings {
		s := f.ID
		if len(f.Aliases) > 0 {
			s += " (" + strings.Join(f.Aliases, " ") + ")"
		}
		s += " " + string(f.State)
		if f.FixedIn != "" {
			s += " " + f.FixedIn
		}
		if f.Severity != dossier.SeverityUnknown {
			s += " " + string(f.Severity)
		}
		if f.Symbols != "" {
			s += " symbols " + string(f.Symbols)
		}
		for _, n := range f.Notes {
			s += "; " + n
		}
		out = append(out, s)
	}
	return out
}

// reasons writes verdicts: "advisory: reason".
func reasons(list []Verdict) []string {
	out := []string{}
	for _, v := range list {
		out = append(out, fmt.Sprintf("%s: %s", v.Advisory, v.Reason))
	}
	return out
}

func state(s dossier.FixState, note string) func(*dossier.Affected) {
	return func(e *dossier.Affected) { e.State, e.Note = s, note }
}

func rated(word string) func(*dossier.Affected) {
	return func(e *dossier.Affected) { e.Ratings = []dossier.Rating{{Type: "WORD", Score: word}} }
}

func stream(s string) func(*dossier.Affected) { return func(e *dossier.Affected) { e.Stream = s } }

func modular(p dossier.Package, label string) dossier.Package { p.Module = label; return p }

func by(p dossier.Package, vendor string) dossier.Package { p.Vendor = vendor; return p }

func owned(p, owner dossier.Package) dossier.Package { p.Owner = &owner; return p }

// rule is a rule of a distribution: what is found, and the verdicts when nothing
// is.
type rule struct {
	name       string
	p          dossier.Package
	advisories []dossier.Advisory
	want       []string
	why        []string // verdicts; nil: not looked at
}

func runRules(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if r.want == nil {
				r.want = []string{}
			}
			if diff := cmp.Diff(r.want, lines(Match(r.p, r.advisories).Findings)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(r.why, reasons(Verdicts(r.p, r.advisories))); r.why != nil && diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			for _, a := range r.advisories {
				meets(t, r.p, a)
			}
		})
	}
}

// meets checks that a store would bring an advisory and a package together when
// the advisory means something for it.
func meets(t *testing.T, p dossier.Package, a dossier.Advisory) {
	t.Helper()
	if len(Match(p, []dossier.Advisory{a}).Findings) == 0 {
		return
	}
	for _, k := range KeysOf(a) {
		for _, mine := range Keys(p) {
			if k == mine {
				return
			}
		}
	}
	t.Errorf("%s concerns %s, but has the keys %v and the package %v", a.ID, p.PURL, KeysOf(a), Keys(p))
}

func TestRulesOfDebian(t *testing.T) {
	libssl := pkg("Debian:12", "libssl3", "3.0.9-1+b1", "openssl 3.0.9-1")
	runRules(t, []rule{
		{"the source package is named, not the one installed", libssl, []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|openssl|0 3.0.11-1")),
			advisory("DEBIAN-CVE-2023-0002 -> CVE-2023-0002", says("Debian:12|libssl3|0 3.0.11-1")),
		}, []string{"CVE-2023-0001 (DEBIAN-CVE-2023-0001) fixable 3.0.11-1"}, nil},
		{"the version of the source counts, which the package may not share", pkg("Debian:12", "libfoo1", "1:2.0-1", "foo 0.9-1"), []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|foo|0 1.0-1")),
		}, []string{"CVE-2023-0001 (DEBIAN-CVE-2023-0001) fixable 1.0-1"}, nil},
		{"a binary rebuild is no newer source", pkg("Debian:12", "libssl3", "3.0.9-1+b1", "openssl 3.0.9-1"), []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|openssl|0 3.0.9-1")),
		}, nil, []string{"DEBIAN-CVE-2023-0001: fixed"}},
		{"another release says nothing", libssl, []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:13|openssl|0 3.0.11-1")),
		}, nil, []string{}},
		{"what is said of all releases counts", libssl, []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian|openssl|0 3.0.11-1")),
		}, []string{"CVE-2023-0001 (DEBIAN-CVE-2023-0001) fixable 3.0.11-1"}, nil},
		{"no epoch is epoch 0", pkg("Debian:12", "a", "1.5-1"), []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|a|0 0:1.5-1")),
			advisory("DEBIAN-CVE-2023-0002 -> CVE-2023-0002", says("Debian:12|a|0 1:0.1-1")),
		}, []string{"CVE-2023-0002 (DEBIAN-CVE-2023-0002) fixable 1:0.1-1"}, nil},
		{"fixed in 0 was never vulnerable", libssl, []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|openssl|0 0")),
		}, nil, []string{"DEBIAN-CVE-2023-0001: never"}},
		{"no fix", libssl, []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|openssl|0 -")),
		}, []string{"CVE-2023-0001 (DEBIAN-CVE-2023-0001) unfixed"}, nil},
		{"no-dsa is vulnerable", libssl, []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|openssl|0 -", state("", "no-dsa: Minor issue"))),
		}, []string{"CVE-2023-0001 (DEBIAN-CVE-2023-0001) unfixed; no-dsa: Minor issue"}, nil},
		{"ignored will not be fixed", libssl, []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|openssl|0 -", state(dossier.WontFix, "ignored"))),
		}, []string{"CVE-2023-0001 (DEBIAN-CVE-2023-0001) wont-fix; ignored"}, nil},
		{"postponed is deferred", libssl, []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|openssl|0 -", state(dossier.Deferred, ""))),
		}, []string{"CVE-2023-0001 (DEBIAN-CVE-2023-0001) deferred"}, nil},
		{"end-of-life", libssl, []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|openssl|0 -", state(dossier.EndOfLife, ""))),
		}, []string{"CVE-2023-0001 (DEBIAN-CVE-2023-0001) end-of-life"}, nil},
		{"a fix of another release is nothing to update to", libssl, []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|openssl|0 3.1-1", func(e *dossier.Affected) { e.Unreleased = true })),
		}, []string{"CVE-2023-0001 (DEBIAN-CVE-2023-0001) unfixed"}, nil},
		{"and a version beyond it is not vulnerable", pkg("Debian:12", "openssl", "3.1-2"), []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|openssl|0 3.1-1", func(e *dossier.Affected) { e.Unreleased = true })),
		}, nil, []string{"DEBIAN-CVE-2023-0001: fixed"}},
		{"unimportant is negligible", libssl, []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|openssl|0 -", rated("unimportant"))),
		}, []string{"CVE-2023-0001 (DEBIAN-CVE-2023-0001) unfixed negligible"}, nil},
		{"a bulletin about several is a finding for each, with the record of each", libssl, []dossier.Advisory{
			advisory("DSA-5532-1 -> CVE-2023-0002 CVE-2023-0001", says("Debian:12|openssl|0 3.0.11-1")),
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|openssl|0 3.0.11-1")),
		}, []string{"CVE-2023-0001 (DEBIAN-CVE-2023-0001 DSA-5532-1) fixable 3.0.11-1", "CVE-2023-0002 (DSA-5532-1) fixable 3.0.11-1"}, nil},
		{"a bulletin about none has its own name", libssl, []dossier.Advisory{
			advisory("DSA-5532-1", says("Debian:12|openssl|0 3.0.11-1")),
		}, []string{"DSA-5532-1 fixable 3.0.11-1"}, nil},
		{"a package of another repository is not compared", by(pkg("Debian:12", "nginx", "1.25.3-1~bookworm"), "NGINX Packaging"), []dossier.Advisory{
			advisory("DEBIAN-CVE-2023-0001 -> CVE-2023-0001", says("Debian:12|nginx|0 -")),
		}, nil, []string{"DEBIAN-CVE-2023-0001: foreign"}},
	})
}

func TestRulesOfUbuntu(t *testing.T) {
	plain := says("Ubuntu:22.04:LTS|foo|0 -")
	pro := says("Ubuntu:Pro:22.04:LTS|foo|0 1.0-1ubuntu1+esm1")
	runRules(t, []rule{
		{"the source package, in a release however long it is supported", pkg("Ubuntu:22.04:LTS", "libfoo", "1.0-1ubuntu1", "foo 1.0-1ubuntu1"), []dossier.Advisory{
			advisory("UBUNTU-CVE-2023-0001 -> CVE-2023-0001", says("Ubuntu:22.04|foo|0 1.0-1ubuntu2")),
		}, []string{"CVE-2023-0001 (UBUNTU-CVE-2023-0001) fixable 1.0-1ubuntu2"}, nil},
		{"a fix for subscribers is none without a subscription", pkg("Ubuntu:22.04:LTS", "foo", "1.0-1ubuntu1"), []dossier.Advisory{
			advisory("UBUNTU-CVE-2023-0001 -> CVE-2023-0001", plain, pro),
		}, []string{"CVE-2023-0001 (UBUNTU-CVE-2023-0001) unfixed; fixed in 1.0-1ubuntu1+esm1, with Ubuntu Pro only"}, nil},
		{"also where only subscribers are told", pkg("Ubuntu:22.04:LTS", "foo", "1.0-1ubuntu1"), []dossier.Advisory{
			advisory("USN-1-1 -> CVE-2023-0001", pro),
		}, []string{"CVE-2023-0001 (USN-1-1) unfixed; fixed in 1.0-1ubuntu1+esm1, with Ubuntu Pro only"}, nil},
		{"a later version that is not for subscribers does not have it", pkg("Ubuntu:22.04:LTS", "foo", "1.0-1ubuntu2"), []dossier.Advisory{
			advisory("UBUNTU-CVE-2023-0001 -> CVE-2023-0001", plain, pro),
		}, []string{"CVE-2023-0001 (UBUNTU-CVE-2023-0001) unfixed; fixed in 1.0-1ubuntu1+esm1, with Ubuntu Pro only"}, nil},
		{"with a subscription it is fixed", pkg("Ubuntu:22.04:LTS", "foo", "1.0-1ubuntu1+esm1"), []dossier.Advisory{
			advisory("UBUNTU-CVE-2023-0001 -> CVE-2023-0001", plain, pro),
		}, nil, []string{"UBUNTU-CVE-2023-0001: fixed"}},
		{"with a subscription there is something to update to", pkg("Ubuntu:22.04:LTS", "foo", "1.0-1ubuntu1+esm1"), []dossier.Advisory{
			advisory("UBUNTU-CVE-2023-0002 -> CVE-2023-0002", plain, says("Ubuntu:Pro:22.04:LTS|foo|0 1.0-1ubuntu1+esm2")),
		}, []string{"CVE-2023-0002 (UBUNTU-CVE-2023-0002) fixable 1.0-1ubuntu1+esm2"}, nil},
		{"a package of a PPA is not compared", pkg("Ubuntu:22.04:LTS", "foo", "2.0-1~ppa1"), []dossier.Advisory{
			advisory("UBUNTU-CVE-2023-0001 -> CVE-2023-0001", plain),
		}, nil, []string{"UBUNTU-CVE-2023-0001: foreign"}},
	})
}

func TestRulesOfAlpine(t *testing.T) {
	libssl := pkg("Alpine:v3.20", "libssl3", "3.3.0-r0", "openssl")
	runRules(t, []rule{
		{"the origin is named", libssl, []dossier.Advisory{
			advisory("ALPINE-CVE-2024-0001 -> CVE-2024-0001", says("Alpine:v3.20|openssl|0 3.3.1-r0")),
			advisory("ALPINE-CVE-2024-0002 -> CVE-2024-0002", says("Alpine:v3.20|libssl3|0 3.3.1-r0")),
		}, []string{"CVE-2024-0001 (ALPINE-CVE-2024-0001) fixable 3.3.1-r0"}, nil},
		{"0 is not vulnerable", libssl, []dossier.Advisory{
			advisory("ALPINE-CVE-2024-0001 -> CVE-2024-0001", says("Alpine:v3.20|openssl|0 0")),
		}, nil, []string{"ALPINE-CVE-2024-0001: never"}},
		{"revisions count", pkg("Alpine:v3.20", "busybox", "1.36.1-r9"), []dossier.Advisory{
			advisory("ALPINE-CVE-2024-0001 -> CVE-2024-0001", says("Alpine:v3.20|busybox|0 1.36.1-r10")),
		}, []string{"CVE-2024-0001 (ALPINE-CVE-2024-0001) fixable 1.36.1-r10"}, nil},
		{"another branch says nothing", libssl, []dossier.Advisory{
			advisory("ALPINE-CVE-2024-0001 -> CVE-2024-0001", says("Alpine:v3.19|openssl|0 3.3.1-r0")),
		}, nil, []string{}},
	})
}

func TestRulesOfRPM(t *testing.T) {
	node16 := modular(pkg("AlmaLinux:8", "nodejs", "1:16.13.1-3.module_el8.5.0+2605+45d748af"), "nodejs:16:8050020211213115342:c5368500")
	fix16 := says("AlmaLinux:8|nodejs|0 1:16.14.0-4.module_el8.6.0+2904+f21ad6f4", stream("nodejs:16"))
	fix18 := says("AlmaLinux:8|nodejs|0 1:18.2.0-1.module_el8.6.0+2904+f21ad6f4", stream("nodejs:18"))
	noStream := says("AlmaLinux:8|nodejs|0 1:16.14.0-4.module_el8.6.0+2904+f21ad6f4")
	runRules(t, []rule{
		{"AlmaLinux names what is installed", pkg("AlmaLinux:9", "openssl-libs", "1:3.0.1-20.el9", "openssl 1:3.0.1-20.el9"), []dossier.Advisory{
			advisory("ALSA-2022:1 -> CVE-2022-0001", says("AlmaLinux:9|openssl-libs|0 1:3.0.1-41.el9_0")),
			advisory("ALSA-2022:2 -> CVE-2022-0002", says("AlmaLinux:9|openssl|0 1:3.0.1-41.el9_0")),
		}, []string{"CVE-2022-0001 (ALSA-2022:1) fixable 1:3.0.1-41.el9_0"}, nil},
		{"epochs count", pkg("AlmaLinux:9", "a", "1:1.0-1.el9"), []dossier.Advisory{
			advisory("ALSA-2022:1 -> CVE-2022-0001", says("AlmaLinux:9|a|0 0:2.0-1.el9")),
			advisory("ALSA-2022:2 -> CVE-2022-0002", says("AlmaLinux:9|a|0 2:0.1-1.el9")),
		}, []string{"CVE-2022-0002 (ALSA-2022:2) fixable 2:0.1-1.el9"}, nil},
		{"no epoch is epoch 0", pkg("AlmaLinux:9", "a", "1.5-1.el9"), []dossier.Advisory{
			advisory("ALSA-2022:1 -> CVE-2022-0001", says("AlmaLinux:9|a|0 0:1.5-1.el9")),
		}, nil, []string{"ALSA-2022:1: fixed"}},
		{"the same module stream", node16, []dossier.Advisory{advisory("ALSA-2022:1 -> CVE-2022-0001", fix16)},
			[]string{"CVE-2022-0001 (ALSA-2022:1) fixable 1:16.14.0-4.module_el8.6.0+2904+f21ad6f4"}, nil},
		{"another module stream", node16, []dossier.Advisory{advisory("ALSA-2022:1 -> CVE-2022-0001", fix18)}, nil, []string{"ALSA-2022:1: stream"}},
		{"a module, and a package that is of none", pkg("AlmaLinux:8", "nodejs", "1:10.1-1.el8"), []dossier.Advisory{advisory("ALSA-2022:1 -> CVE-2022-0001", fix16)}, nil, []string{"ALSA-2022:1: stream"}},
		{"no module, and a package that is of one", node16, []dossier.Advisory{advisory("ALSA-2022:1 -> CVE-2022-0001", says("AlmaLinux:8|nodejs|0 1:99-1.el8"))}, nil, []string{"ALSA-2022:1: stream"}},
		{"a stream that is not told is taken for the same, and that is said", node16, []dossier.Advisory{advisory("ALSA-2022:1 -> CVE-2022-0001", noStream)},
			[]string{"CVE-2022-0001 (ALSA-2022:1) fixable 1:16.14.0-4.module_el8.6.0+2904+f21ad6f4; module streams are not told; they were taken for the same"}, nil},
		{"but not over another main version", modular(pkg("AlmaLinux:8", "nodejs", "1:14.2-1.module_el8.5.0+1+1"), "nodejs:14:1:1"), []dossier.Advisory{advisory("ALSA-2022:1 -> CVE-2022-0001", noStream)}, nil, []string{"ALSA-2022:1: stream"}},
		{"each build that an update lists fixes it", modular(pkg("AlmaLinux:8", "nodejs-nodemon", "2.0.15-1.module_el8.5.0+2605+45d748af"), "nodejs:16:1:1"), []dossier.Advisory{
			advisory("ALSA-2022:1 -> CVE-2022-0001",
				says("AlmaLinux:8|nodejs-nodemon|0 2.0.15-1.module_el8.6.0+2904+f21ad6f4", stream("nodejs:16")),
				says("AlmaLinux:8|nodejs-nodemon|0 2.0.15-1.module_el8.5.0+2605+45d748af", stream("nodejs:16"))),
		}, nil, []string{"ALSA-2022:1: fixed"}},
		{"an update that mends no vulnerability", pkg("AlmaLinux:8", "a", "1-1.el8"), []dossier.Advisory{
			advisory("ALBA-2022:1", says("AlmaLinux:8|a|0 2-1.el8")), advisory("ALBA-2022:2 -> CVE-2022-0002", says("AlmaLinux:8|a|0 2-1.el8")),
		}, []string{"CVE-2022-0002 (ALBA-2022:2) fixable 2-1.el8"}, []string{"ALBA-2022:1: harmless", "ALBA-2022:2: affected"}},
		{"a package of another vendor is not compared", by(pkg("AlmaLinux:8", "a", "1-1.el8"), "Fedora Project"), []dossier.Advisory{
			advisory("ALSA-2022:1 -> CVE-2022-0001", says("AlmaLinux:8|a|0 2-1.el8")),
		}, nil, []string{"ALSA-2022:1: foreign"}},
		{"Red Hat names sources where it says so", pkg("Red Hat:9", "openssl-libs", "1:3.0.1-20.el9", "openssl 1:3.0.1-20.el9"), []dossier.Advisory{
			advisory("RHSA-2022:1 -> CVE-2022-0001", says("Red Hat:enterprise_linux:9::baseos|openssl|0 1:3.0.1-41.el9_0", func(e *dossier.Affected) { e.Source = true })),
		}, []string{"CVE-2022-0001 (RHSA-2022:1) fixable 1:3.0.1-41.el9_0"}, nil},
		{"a stream of updates that is paid for is another release", pkg("Red Hat:9", "a", "1-1.el9"), []dossier.Advisory{
			advisory("RHSA-2022:1 -> CVE-2022-0001", says("Red Hat:rhel_eus:9.0::appstream|a|0 2-1.el9_0")),
		}, nil, []string{}},
	})
}

func TestRulesOfOwners(t *testing.T) {
	deb := pkg("Debian:12", "python3-requests", "2.28.1+dfsg-1", "requests 2.28.1+dfsg-1")
	apk := pkg("Alpine:v3.20", "py3-requests", "2.28.1-r0", "py3-requests")
	pypi := pkg("PyPI", "requests", "2.28.1")
	lang := advisory("PYSEC-2023-74 CVE-2023-32681 GHSA-j8r2-6x86-q33q", says("PyPI|requests|2.3.0 2.31.0"))
	runRules(t, []rule{
		{"without an owner the language's advisory counts", pypi, []dossier.Advisory{lang}, []string{"CVE-2023-32681 (GHSA-j8r2-6x86-q33q PYSEC-2023-74) fixable 2.31.0"}, nil},
		{"a distribution that knows all and does not name it is not concerned", owned(pypi, deb), []dossier.Advisory{lang}, nil, []string{"PYSEC-2023-74: owned"}},
		{"a distribution that fixed it", owned(pypi, deb), []dossier.Advisory{lang, advisory("DEBIAN-CVE-2023-32681 -> CVE-2023-32681", says("Debian:12|requests|0 2.28.1+dfsg-1"))},
			nil, []string{"PYSEC-2023-74: owned", "DEBIAN-CVE-2023-32681: fixed"}},
		{"a distribution that is concerned has the finding itself", owned(pypi, deb), []dossier.Advisory{lang, advisory("DEBIAN-CVE-2023-32681 -> CVE-2023-32681", says("Debian:12|requests|0 2.28.1+dfsg-2"))},
			nil, []string{"PYSEC-2023-74: owned", "DEBIAN-CVE-2023-32681: affected"}},
		{"namely so", deb, []dossier.Advisory{advisory("DEBIAN-CVE-2023-32681 -> CVE-2023-32681", says("Debian:12|requests|0 2.28.1+dfsg-2"))},
			[]string{"CVE-2023-32681 (DEBIAN-CVE-2023-32681) fixable 2.28.1+dfsg-2"}, nil},
		{"a distribution that tells of fixes only does not speak by silence", owned(pypi, apk), []dossier.Advisory{lang},
			[]string{"CVE-2023-32681 (GHSA-j8r2-6x86-q33q PYSEC-2023-74) fixable 2.31.0"}, nil},
		{"but by a fix", owned(pypi, apk), []dossier.Advisory{lang, advisory("ALPINE-CVE-2023-32681 -> CVE-2023-32681", says("Alpine:v3.20|py3-requests|0 2.28.1-r0"))}, nil, nil},
		{"a package of another repository does not speak for the distribution", owned(pypi, pkg("Debian:12", "python3-requests", "2.28.1-1~bookworm")), []dossier.Advisory{lang},
			[]string{"CVE-2023-32681 (GHSA-j8r2-6x86-q33q PYSEC-2023-74) fixable 2.31.0"}, nil},
		{"a Go program holds what it was linked from, whoever packed it", owned(pkg("Go", "golang.org/x/text", "0.3.5"), deb), []dossier.Advisory{
			advisory("GO-2021-0113 CVE-2021-38561", says("Go|golang.org/x/text|0 0.3.7")),
		}, []string{"CVE-2021-38561 (GO-2021-0113) fixable 0.3.7 symbols unknown"}, nil},
	})
}

func TestWithdrawnConcernsNothing(t *testing.T) {
	a := advisory("GHSA-1 CVE-2023-0001", says("npm|left-pad|0 2.0.0"))
	p := pkg("npm", "left-pad", "1.0.0")
	if got := lines(Match(p, []dossier.Advisory{a}).Findings); len(got) != 1 {
		t.Fatalf("before it was withdrawn: %v", got)
	}
	a.Withdrawn = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := Match(p, []dossier.Advisory{a}).Findings; got != nil {
		t.Errorf("withdrawn: %v", lines(got))
	}
	if got := KeysOf(a); got != nil {
		t.Errorf("withdrawn, it is found under %v", got)
	}
}
