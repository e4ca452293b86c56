// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"slices"
	"testing"
	"time"

	"dossier.dev/dossier"
)

// debian12 is a package group that was compared with a feed of Debian.
func debian12(n int) Compared {
	return Compared{Count: n, Matched: true, Ecosystem: "Debian:12", Feeds: []string{"Debian"}}
}

// compared lets the packages of a sample have been compared with advisories.
func compared(x Exposure, change ...func(*Evidence)) func(*Evidence) {
	return func(e *Evidence) {
		x.On = e.Platforms[0].Manifest
		e.Exposures = []Exposure{x}
		e.Feeds = []dossier.Feed{
			{Ecosystem: "Debian", Serial: 7, AsOf: asOf.Add(-time.Hour), Records: 50_000},
			{Ecosystem: "npm", Serial: 5, AsOf: asOf.Add(-30 * day), Records: 200_000},
		}
		for _, c := range change {
			c(e)
		}
	}
}

func vulnerabilityCases() []judgeCase {
	base := nginx().with(onDebian())
	none := Exposure{Vulnerabilities: []Vulnerability{}, Packages: []Compared{debian12(91)}}
	with := func(list ...Vulnerability) Exposure {
		return Exposure{Vulnerabilities: list, Packages: none.Packages}
	}
	packages := func(list ...Compared) Exposure {
		return Exposure{Vulnerabilities: []Vulnerability{}, Packages: list}
	}
	critical := Vulnerability{ID: "CVE-2024-3094", Severity: dossier.SeverityCritical, Fixable: true}
	medium := Vulnerability{ID: "CVE-2023-5678", Severity: dossier.SeverityMedium}
	unimportant := Vulnerability{ID: "CVE-2011-3374", Severity: dossier.SeverityNegligible}
	foreign := Compared{Count: 3, Matched: true, Ecosystem: "Debian:12", Feeds: []string{"Debian"}, Reason: "it was built by pgdg, not by debian 12"}
	npm := Compared{Count: 40, Matched: true, Ecosystem: "npm"}
	return []judgeCase{
		{row: "not-read", sample: base, change: unread},
		{row: "not-scanned", sample: nginx()},
		{row: "no-advisories", sample: base, change: compared(none, func(e *Evidence) { e.Feeds = nil })},
		{row: "not-compared", sample: base, change: compared(packages(Compared{Count: 91}))},
		{row: "severe", sample: base, change: compared(with(medium, critical))},
		{row: "severe", variant: "exploited", sample: base, change: compared(with(medium, critical, Vulnerability{ID: "CVE-2021-44228", Severity: dossier.SeverityMedium, Exploited: true}))},
		{row: "severe", variant: "platforms", sample: base, change: compared(with(medium), func(e *Evidence) {
			e.add(base.with(func(s *sample) { s.seed = "arm" }))
			e.Exposures = append(e.Exposures, Exposure{On: e.Platforms[1].Manifest, Packages: none.Packages,
				Vulnerabilities: []Vulnerability{{ID: medium.ID, Severity: dossier.SeverityHigh, Fixable: true}}})
		})},
		{row: "vulnerable", sample: base, change: compared(with(medium, unimportant))},
		{row: "vulnerable", variant: "old-advisories", sample: base, change: compared(with(medium), func(e *Evidence) { e.Feeds[0].AsOf = asOf.Add(-9 * day) })},
		{row: "no-packages", sample: base, change: compared(packages())},
		{row: "not-assessable", sample: base, change: compared(packages(Compared{Count: 91, Matched: true, Reason: "the image does not say which distribution it is"}))},
		{row: "not-assessable", variant: "not-loaded", sample: base, change: compared(packages(npm, Compared{Count: 91, Matched: true, Ecosystem: "Alpine:v3.20"}))},
		{row: "not-assessable", variant: "ended", sample: base, change: compared(packages(Compared{Count: 91, Matched: true, Ecosystem: "Debian:8", Feeds: []string{"Debian"}}))},
		{row: "partly", sample: base, change: compared(packages(debian12(88), foreign, npm))},
		{row: "missed", sample: base.with(onDebian()).with(func(s *sample) {
			s.contents.Missed = []dossier.Missed{{Layer: digestOf("top"), Path: "app/huge.jar", Reason: dossier.MissedFileSize, Detail: "the limit Archive is 1073741824 bytes"}}
			s.contents.MissedCount = 1
		}), change: compared(none)},
		{row: "old-advisories", sample: base, change: compared(none, func(e *Evidence) { e.Feeds[0].AsOf = asOf.Add(-9 * day) })},
		{row: "none", sample: base, change: compared(none)},
		{row: "none", variant: "unimportant", sample: base, change: compared(with(unimportant))},
	}
}

// TestAnUnknownIsNotGood asks that no image of which something is not known be
// called free of vulnerabilities.
func TestAnUnknownIsNotGood(t *testing.T) {
	for _, c := range vulnerabilityCases() {
		a := Judge(c.evidence(), Policy{}).Vulnerabilities
		unknown := slices.Contains([]string{"not-read", "not-scanned", "no-advisories", "not-compared", "no-packages", "not-assessable"}, c.row)
		if (a.Status == dossier.StatusUnknown) != unknown {
			t.Errorf("%s: %s", c.name(), a.Status)
		}
		if a.Status == dossier.StatusOK && c.row != "none" {
			t.Errorf("%s: is called good", c.name())
		}
	}
}
