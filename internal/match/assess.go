// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// Knowledge is what the advisories at hand can tell about.
type Knowledge struct {
	At time.Time // when it is judged
	// Covers reports whether there are advisories for an ecosystem and release, as
	// NormalEcosystem writes it.
	Covers func(ecosystem string) bool
}

// Rules is the number of the rules by which this package judges. It rises with
// every change of what Match, Keys or AssessPackage give.
const Rules = 1

// Assess says why nothing, or not everything, can be said of the vulnerabilities
// of a package: empty when it can. What Match finds of such a package is true;
// that it finds nothing means nothing.
func Assess(p dossier.Package, k Knowledge) string {
	if why := AssessPackage(p); why != "" {
		return why
	}
	return AssessEcosystem(p.Ecosystem, k)
}

// AssessPackage is the part of Assess that follows from the package alone.
func AssessPackage(p dossier.Package) string {
	ecosystem := NormalEcosystem(p.Ecosystem)
	switch {
	case ecosystem == "" && ofDistribution(p) && p.Distribution == "":
		return "the image does not say which distribution it is"
	case ecosystem == "" && ofDistribution(p):
		return fmt.Sprintf("there are no advisories for %s packages of %s", p.Type, p.Distribution)
	case ecosystem == "" || familyOf(ecosystem) == nil:
		return fmt.Sprintf("there are no advisories for %s packages", p.Type)
	}
	if who := foreign(p); who != "" {
		return fmt.Sprintf("it was built by %s, not by %s", who, p.Distribution)
	}
	return ""
}

// AssessEcosystem is the part of Assess that follows from the ecosystem and from
// what is known of it.
func AssessEcosystem(ecosystem string, k Knowledge) string {
	ecosystem = NormalEcosystem(ecosystem)
	if !k.Covers(ecosystem) {
		return fmt.Sprintf("no advisories for %s are loaded", ecosystem)
	}
	if ends, ok := Ends(ecosystem); ok && !k.At.Before(ends) {
		return fmt.Sprintf("%s is not supported since %s", ecosystem, ends.Format(time.DateOnly))
	}
	return ""
}

// ofDistribution reports whether a package is one of a distribution.
func ofDistribution(p dossier.Package) bool {
	return slices.Contains([]string{"deb", "apk", "rpm", "opkg"}, p.Type)
}

// unclear says why advisories could not be judged.
func unclear(p dossier.Package, n int) string {
	what := fmt.Sprintf("%d vulnerabilities are known", n)
	if n == 1 {
		what = "1 vulnerability is known"
	}
	if p.Version == "" {
		return "its version is not told, and " + what
	}
	return fmt.Sprintf("its version cannot be compared, and %s", what)
}

// Ends returns when a release of a distribution gets its last security updates
// that everyone gets: those of Debian LTS count, those for subscribers do not.
// ok is false when that is not known, or the distribution has no releases.
func Ends(ecosystem string) (ends time.Time, ok bool) {
	base, release, _ := strings.Cut(NormalEcosystem(ecosystem), ":")
	for _, line := range supported() {
		if line.base != base {
			continue
		}
		for _, field := range strings.Fields(line.ends) {
			name, day, _ := strings.Cut(field, "=")
			if strings.ReplaceAll(name, "_", " ") == release {
				ends, err := time.Parse(time.DateOnly, day)
				return ends, err == nil
			}
		}
	}
	return time.Time{}, false
}

type support struct{ base, ends string }

// supported is the last day of support of each release; a blank in the name of
// a release is written as a line.
func supported() []support {
	return []support{
		{"Debian", "6=2016-02-29 7=2018-05-31 8=2020-06-30 9=2022-07-01 10=2024-06-30 11=2026-08-31 12=2028-06-30 13=2030-06-30"},
		{"Ubuntu", "14.04=2019-04-02 16.04=2021-04-02 18.04=2023-05-31 20.04=2025-05-31 22.04=2027-04-01 24.04=2029-05-31 26.04=2031-04-30 " +
			"18.10=2019-07-18 19.04=2020-01-23 19.10=2020-07-06 20.10=2021-07-22 21.04=2022-01-20 21.10=2022-07-14 22.10=2023-07-20 23.04=2024-01-20 " +
			"23.10=2024-07-12 24.10=2025-07-10 25.04=2026-01-17 25.10=2026-07-01"},
		{"Alpine", "v3.9=2020-11-01 v3.10=2021-05-01 v3.11=2021-11-01 v3.12=2022-05-01 v3.13=2022-11-01 v3.14=2023-05-01 v3.15=2023-11-01 v3.16=2024-05-23 " +
			"v3.17=2024-11-22 v3.18=2025-05-09 v3.19=2025-11-01 v3.20=2026-04-01 v3.21=2026-11-01 v3.22=2027-05-01 v3.23=2027-11-01 v3.24=2028-06-01"},
		{"AlmaLinux", "8=2029-05-31 9=2032-05-31 10=2035-05-31"},
		{"Rocky Linux", "8=2029-05-31 9=2032-05-31 10=2035-05-31"},
		{"Red Hat", "6=2020-11-30 7=2024-06-30 8=2029-05-31 9=2032-05-31 10=2035-05-31"},
		{"SUSE", "12_SP5=2024-10-31 15=2019-12-31 15_SP1=2021-01-31 15_SP2=2021-12-31 15_SP3=2022-12-31 15_SP4=2023-12-31 15_SP5=2024-12-31 " +
			"15_SP6=2025-12-31 15_SP7=2031-07-31 16.0=2027-11-30"},
		{"openSUSE", "Leap_15.3=2022-12-31 Leap_15.4=2023-12-07 Leap_15.5=2024-12-31 Leap_15.6=2026-04-30 Leap_16.0=2027-10-31"},
		{"Mageia", "7=2021-06-30 8=2023-11-30 9=2026-09-29 10=2028-03-31"},
		{"Photon OS", "1.0=2022-02-28 2.0=2022-12-01 3.0=2025-10-02 4.0=2027-10-11"},
	}
}
