// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// corpus returns the versions that osv-scalibr tests its orders with, from the
// cache of modules. Each line is "VERSION < VERSION", or with = or >.
func corpus(t *testing.T, name string) [][3]string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/osv-scalibr").Output()
	if err != nil {
		t.Skipf("the source of osv-scalibr is not at hand: %v", err)
	}
	var out [][3]string
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "semantic", "testdata", name+"-versions*.txt"))
	if err != nil || len(files) == 0 {
		t.Skipf("osv-scalibr has no versions of %s with it (%v)", name, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if words := strings.Fields(line); len(words) == 3 && words[0] != "#" && words[0] != "//" {
				out = append(out, [3]string{words[0], words[1], words[2]})
			}
		}
	}
	return out
}

// TestOrders compares the order of each ecosystem with pairs that are known.
func TestOrders(t *testing.T) {
	for name, ecosystem := range map[string]string{
		"debian": "Debian:12", "alpine": "Alpine:v3.20", "redhat": "AlmaLinux:9", "pypi": "PyPI", "maven": "Maven", "rubygems": "RubyGems",
		"packagist": "Packagist", "nuget": "NuGet", "semver": "npm",
	} {
		t.Run(name, func(t *testing.T) {
			f, pairs := familyOf(ecosystem), corpus(t, name)
			wrong := 0
			for _, p := range pairs {
				a, errA := f.version(p[0])
				b, errB := f.version(p[2])
				if errA != nil || errB != nil {
					t.Errorf("%v: %v, %v", p, errA, errB)
					continue
				}
				want := strings.Index("<=>", p[1]) - 1
				ab, okA := compare(a, b)
				ba, okB := compare(b, a)
				if !okA || !okB || sign(ab) != want || sign(ba) != -want {
					if wrong++; wrong < 10 {
						t.Errorf("%v: %d and %d", p, ab, ba)
					}
				}
			}
			t.Logf("%d pairs, %d wrong", len(pairs), wrong)
		})
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

// TestLocateAgreesWithTheSchema draws ranges by lot and compares with the
// algorithm that the OSV schema gives, written as it stands there.
func TestLocateAgreesWithTheSchema(t *testing.T) {
	f := familyOf("npm")
	rnd := rand.New(rand.NewPCG(1, 2))
	version := func(n int) string {
		if n == 0 {
			return "0"
		}
		return fmt.Sprintf("1.%d.0", n)
	}
	vulnerable := 0
	for range 20_000 {
		var r dossier.Range
		used := map[int]bool{}
		for range 1 + rnd.IntN(6) {
			at := rnd.IntN(12)
			if used[at] {
				continue // what comes first of two at one version is not defined
			}
			used[at] = true
			switch rnd.IntN(7) {
			case 0, 1, 2:
				r.Events = append(r.Events, dossier.Event{Introduced: version(at)})
			case 3, 4:
				r.Events = append(r.Events, dossier.Event{Fixed: version(at)})
			case 5:
				r.Events = append(r.Events, dossier.Event{LastAffected: version(at)})
			case 6:
				r.Events = append(r.Events, dossier.Event{Limit: version(at)})
			}
		}
		v := 1 + rnd.IntN(11)
		at, _ := f.version(version(v))
		got, ok := f.locate(at, r)
		want := bySchema(v, r)
		if !ok || got.vulnerable != want {
			t.Fatalf("%s in %+v: %v %v, want %v", version(v), r.Events, got.vulnerable, ok, want)
		}
		if want {
			vulnerable++
		}
	}
	if vulnerable < 2000 {
		t.Errorf("only %d of 20,000 were vulnerable: the lot is not drawn well", vulnerable)
	}
}

func bySchema(v int, r dossier.Range) bool {
	number := func(s string) int {
		n := 0
		if s != "0" {
			_, _ = fmt.Sscanf(s, "1.%d.0", &n)
		}
		return n
	}
	before, limits := false, false
	for _, e := range r.Events {
		if e.Limit != "" {
			limits = true
			before = before || v < number(e.Limit)
		}
	}
	if limits && !before {
		return false
	}
	vulnerable := false
	for at := range 12 {
		for _, e := range r.Events {
			if text(e) != "" && number(text(e)) != at {
				continue
			}
			switch {
			case e.Introduced != "" && v >= at:
				vulnerable = true
			case e.Fixed != "" && v >= at:
				vulnerable = false
			case e.LastAffected != "" && v > at:
				vulnerable = false
			}
		}
	}
	return vulnerable
}

// TestMatchDoesNotDependOnOrder shuffles advisories, and leaves out those that
// share no name with a finding.
func TestMatchDoesNotDependOnOrder(t *testing.T) {
	p := pkg("Debian:12", "libssl3", "3.0.9-1", "openssl 3.0.9-1")
	var all []dossier.Advisory
	for i := range 30 {
		all = append(all, advisory(fmt.Sprintf("DEBIAN-CVE-2023-%04d -> CVE-2023-%04d", i, i), says(fmt.Sprintf("Debian:12|openssl|0 3.0.%d-1", i))))
	}
	for i := range 10 {
		all = append(all, advisory(fmt.Sprintf("DSA-%d-1 -> CVE-2023-%04d CVE-2023-%04d", i, 3*i, 3*i+1), says("Debian:12|openssl|0 3.0.20-1")))
	}
	want := Match(p, all).Findings
	if len(want) < 20 {
		t.Fatalf("%d findings: the case is not worth much", len(want))
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if diff := cmp.Diff(want, Match(p, all).Findings); diff != "" {
			t.Fatalf("in another order (-want +got):\n%s", diff)
		}
	}
	for _, f := range want {
		var near []dossier.Advisory
		for _, a := range all {
			for _, names := range Names(a) {
				if len(names) > 0 && (names[0] == f.ID || f.ID == names[len(names)-1]) {
					near = append(near, a)
				}
			}
		}
		var got []dossier.Finding
		for _, g := range Match(p, near).Findings {
			if g.ID == f.ID {
				got = append(got, g)
			}
		}
		if diff := cmp.Diff([]dossier.Finding{f}, got); diff != "" {
			t.Errorf("judged again with its neighbours only (-want +got):\n%s", diff)
		}
	}
}

// FuzzMatch judges whatever: it must not fail, and what it finds must be proven
// by a range of the advisory.
func FuzzMatch(f *testing.F) {
	f.Add("Debian:12", "1.0-1", "0", "1.1-1", "1.0-1")
	f.Add("PyPI", "1!1.0.post1+local", "0", "2", "1")
	f.Add("Maven", "1.0-SNAPSHOT", "1.0-alpha-1", "1", "1.0")
	f.Add("AlmaLinux:8", "1:1.0-1.module_el8+1+1", "0", "1:1.1~rc^git", "~")
	f.Add("Alpine:v3.20", "1.2.3_alpha1_p2-r3", "0", "1.2.3_git", "1")
	f.Add("NuGet", "1.0.0.0-a.b+c", "0", "1.0", "")
	f.Add("Go", "v0.0.0-20210101000000-0123456789ab", "0", "0.1.0", "0")
	f.Fuzz(func(t *testing.T, ecosystem, version, introduced, fixed, last string) {
		a := dossier.Advisory{ID: "X-1", Affected: []dossier.Affected{{Ecosystem: ecosystem, Name: "a", Ranges: []dossier.Range{{
			Type: dossier.RangeEcosystem, Events: []dossier.Event{{Introduced: introduced}, {Fixed: fixed}, {Introduced: last}, {LastAffected: last}},
		}}}}}
		p := dossier.Package{Type: "deb", Ecosystem: ecosystem, Name: "a", Version: version}
		for _, finding := range Match(p, []dossier.Advisory{a}).Findings {
			if len(finding.Proof) != 1 || finding.Proof[0].Introduced == "" {
				t.Errorf("a finding without a range: %+v", finding)
			}
		}
	})
}
