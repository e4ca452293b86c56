// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
)

func TestFailOn(t *testing.T) {
	finding := func(s dossier.Severity, state dossier.FixState, exploited bool) dossier.Finding {
		f := dossier.Finding{Severity: s, State: state, Exploit: &dossier.Exploit{Probability: 0.9}}
		if exploited {
			f.Exploit.KnownSince = time.Unix(1, 0)
		}
		return f
	}
	list := dossier.FindingList{
		Feeds: []dossier.Feed{{}},
		Findings: []dossier.Finding{
			finding(dossier.SeverityCritical, dossier.Unfixed, false), finding(dossier.SeverityHigh, dossier.Fixable, false),
			finding(dossier.SeverityLow, dossier.WontFix, true), finding(dossier.SeverityUnknown, dossier.Fixable, false),
		},
	}
	unjudged := dossier.FindingList{Feeds: list.Feeds, Stale: true, NotAssessable: []dossier.NotAssessable{{}}}
	missed := dossier.FindingList{Feeds: list.Feeds, Missed: []dossier.Missed{{}}}
	absent := dossier.FindingList{Feeds: list.Feeds, Findings: []dossier.Finding{
		{Severity: dossier.SeverityHigh, Symbols: dossier.SymbolsAbsent}, {Severity: dossier.SeverityLow, Symbols: dossier.SymbolsUnknown},
	}}
	clean := dossier.FindingList{Feeds: list.Feeds}
	for _, tt := range []struct {
		flags string // with blanks between
		list  dossier.FindingList
		found bool
		said  string
	}{
		{"", list, false, ""},
		{"critical", list, true, "note: 1 of 4 findings are critical\n"},
		{"high", list, true, "note: 2 of 4 findings are high\n"},
		{"critical,fixable", list, false, ""},
		{"high,fixable", list, true, "note: 1 of 4 findings are high,fixable\n"},
		{"fixable,high", list, true, "note: 1 of 4 findings are fixable,high\n"},
		{"fixable", list, true, "note: 2 of 4 findings are fixable\n"},
		{"exploited", list, true, "note: 1 of 4 findings are exploited\n"},
		{"medium,exploited", list, false, ""},
		{"negligible", list, true, "note: 3 of 4 findings are negligible\n"}, // nobody says how bad the fourth is
		{"any", list, true, "note: 4 of 4 findings are any\n"},
		{"critical,fixable low,exploited", list, true, "note: 1 of 4 findings are low,exploited\n"},
		{"high,present", absent, false, ""},
		{"present", absent, true, "note: 1 of 2 findings are present\n"},
		{"any", clean, false, ""},
		{"any not-assessable stale", unjudged, true, "note: the list is not-assessable\nnote: the list is stale\n"},
		{"not-assessable", missed, true, "note: the list is not-assessable\n"},
		{"not-assessable stale", clean, false, ""},
		{"stale", dossier.FindingList{}, true, "note: the list is stale\n"}, // no feed at all
	} {
		var said strings.Builder
		f := failOn{texts: strings.Fields(tt.flags)}
		if err := f.parse(); err != nil {
			t.Errorf("%q: %v", tt.flags, err)
			continue
		}
		err := f.judge(&program{stderr: &said}, tt.list)
		if errors.Is(err, errFound) != tt.found || said.String() != tt.said {
			t.Errorf("%q: got %v, %q; want %v, %q", tt.flags, err, said.String(), tt.found, tt.said)
		}
	}
	for _, text := range []string{"", "criticall", "unknown", "high,critical", "stale,high", "any,not-assessable", "high,"} {
		f := failOn{texts: []string{text}}
		if err := f.parse(); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%q: got %v, want an error", text, err)
		}
	}
}
