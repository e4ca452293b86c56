// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
)

func TestParse(t *testing.T) {
	b := `{"schema_version":"1.7.0","id":"GO-2021-0113","modified":"2023-06-12T18:45:41.123456789Z","published":"2021-10-06T17:51:21Z",
"aliases":["GHSA-ppp9-7jff-5vj2","CVE-2021-38561","CVE-2021-38561","see the page"],"upstream":["CVE-1"],"related":["CVE-2"],"summary":"Out-of-bounds\nread",
"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N"}],"unknown":{"a":[1]},"database_specific":{"severity":"HIGH","url":3},
"affected":[{"package":{"ecosystem":"Go","name":"golang.org/x/text","purl":"pkg:golang/golang.org/x/text"},
"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"0.3.7"}]},{"type":"GIT","repo":"https://x","events":[{"introduced":"0"}]}],
"versions":["0.3.5"],"ecosystem_specific":{"imports":[{"path":"golang.org/x/text/language","symbols":["Parse"],"goos":["linux"],"goarch":["amd64"]}],
"custom_ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"last_affected":"0.3.6"}]}]}}]}`
	got, err := Parse([]byte(b), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := dossier.Advisory{
		ID: "GO-2021-0113", SHA256: dossier.FromBytes([]byte(b)),
		Modified: time.Date(2023, 6, 12, 18, 45, 41, 123456000, time.UTC), Published: time.Date(2021, 10, 6, 17, 51, 21, 0, time.UTC),
		Aliases: []string{"CVE-2021-38561", "GHSA-ppp9-7jff-5vj2"}, Upstream: []string{"CVE-1"}, Related: []string{"CVE-2"},
		Summary: "Out-of-bounds read",
		Ratings: []dossier.Rating{{Type: "CVSS_V3", Score: "CVSS:3.1/AV:N"}, {Type: "WORD", Score: "high"}},
		Affected: []dossier.Affected{{
			Ecosystem: "Go", Name: "golang.org/x/text", Versions: []string{"0.3.5"},
			Ranges:  []dossier.Range{{Type: "SEMVER", Events: []dossier.Event{{Introduced: "0"}, {Fixed: "0.3.7"}}}},
			Custom:  []dossier.Range{{Type: "ECOSYSTEM", Events: []dossier.Event{{Introduced: "0"}, {LastAffected: "0.3.6"}}}},
			Imports: []dossier.Import{{Path: "golang.org/x/text/language", Symbols: []string{"Parse"}, OS: []string{"linux"}, Arch: []string{"amd64"}}},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestParseWhatDistributionsAdd reads what no field of the format is for.
func TestParseWhatDistributionsAdd(t *testing.T) {
	entry := func(text string) string {
		return `{"id":"X-1","summary":"Important: nodejs:16 security update","affected":[` + text + `]}`
	}
	fixed := `"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1:16.14.0-4.module_el8.6.0+2904+f21ad6f4"}]}]`
	for _, tt := range []struct {
		name, text string
		want       dossier.Affected
	}{
		{"urgency", `{"package":{"ecosystem":"Debian:12","name":"a"},"ecosystem_specific":{"urgency":"unimportant"}}`,
			dossier.Affected{Ecosystem: "Debian:12", Name: "a", Ratings: []dossier.Rating{{Type: "WORD", Score: "unimportant"}}}},
		{"no urgency", `{"package":{"ecosystem":"Debian:12","name":"a"},"ecosystem_specific":{"urgency":"not yet assigned"}}`, dossier.Affected{Ecosystem: "Debian:12", Name: "a"}},
		{"end of life", `{"package":{"ecosystem":"Debian:12","name":"a"},"ecosystem_specific":{"urgency":"end-of-life"}}`, dossier.Affected{Ecosystem: "Debian:12", Name: "a", State: dossier.EndOfLife}},
		{"a source package", `{"package":{"ecosystem":"Debian:12","name":"a","purl":"pkg:deb/debian/a?arch=source"}}`, dossier.Affected{Ecosystem: "Debian:12", Name: "a", Source: true}},
		{"a word for the package", `{"package":{"ecosystem":"Ubuntu:22.04:LTS","name":"a"},"severity":[{"type":"Ubuntu","score":"medium"}]}`,
			dossier.Affected{Ecosystem: "Ubuntu:22.04:LTS", Name: "a", Ratings: []dossier.Rating{{Type: "Ubuntu", Score: "medium"}}}},
		{"a module stream", `{"package":{"ecosystem":"AlmaLinux:8","name":"nodejs"},` + fixed + `}`,
			dossier.Affected{Ecosystem: "AlmaLinux:8", Name: "nodejs", Stream: "nodejs:16", Ranges: []dossier.Range{{Type: "ECOSYSTEM", Events: []dossier.Event{{Introduced: "0"}, {Fixed: "1:16.14.0-4.module_el8.6.0+2904+f21ad6f4"}}}}}},
		{"what converters write", `{"package":{"ecosystem":"Debian:12","name":"a"},"database_specific":{"dossier":{"state":"wont-fix","note":"ignored","unreleased":true,"source":true,"stream":"a:1"}}}`,
			dossier.Affected{Ecosystem: "Debian:12", Name: "a", State: dossier.WontFix, Note: "ignored", Unreleased: true, Source: true, Stream: "a:1"}},
		{"what others write", `{"package":{"ecosystem":"crates.io","name":"a"},"ecosystem_specific":{"imports":"yes","urgency":[]},"database_specific":[{"dossier":1}]}`, dossier.Affected{Ecosystem: "crates.io", Name: "a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := Parse([]byte(entry(tt.text)), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]dossier.Affected{tt.want}, a.Affected); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseTimes(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Time
	}{
		{`"withdrawn":"2024-05-01T00:00:00Z"`, time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)},
		{`"withdrawn":"yesterday"`, time.Unix(0, 0).UTC()}, // it was, at some time
		{`"withdrawn":null`, time.Time{}},
		{`"modified":"1-01-01T00:00:00Z"`, time.Time{}},
	} {
		a, err := Parse([]byte(`{"id":"X-1",`+tt.text+`}`), Limits{})
		if err != nil || !a.Withdrawn.Equal(tt.want) {
			t.Errorf("%s: withdrawn %v, %v; want %v", tt.text, a.Withdrawn, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	affected := func(text string) string { return `{"id":"X-1","affected":[` + text + `]}` }
	ranged := func(text string) string {
		return affected(`{"package":{"ecosystem":"npm","name":"a"},"ranges":[` + text + `]}`)
	}
	many := func(n int, text string) string { return strings.TrimSuffix(strings.Repeat(text+",", n), ",") }
	small := Limits{Record: 100_000, Affected: 10, Events: 100, Versions: 100, Names: 10, Imports: 10, Text: 100, Nesting: 20}
	for _, tt := range []struct {
		name, text string
		kind       dossier.Kind
		says       string
	}{
		{"nothing", ``, dossier.KindInvalid, "unexpected end"},
		{"no JSON", `id: X-1`, dossier.KindInvalid, "invalid character"},
		{"a list", `[]`, dossier.KindInvalid, "cannot unmarshal"},
		{"no ID", `{}`, dossier.KindInvalid, "its ID is none"},
		{"an ID that is a path", `{"id":"../../etc/passwd"}`, dossier.KindInvalid, "its ID is none"},
		{"an ID with a line feed", `{"id":"X-1\nY"}`, dossier.KindInvalid, "its ID is none"},
		{"a long ID", `{"id":"` + strings.Repeat("x", 101) + `"}`, dossier.KindInvalid, "its ID is none"},
		{"no ecosystem", affected(`{"package":{"name":"a"}}`), dossier.KindInvalid, "no ecosystem or no name"},
		{"no name", affected(`{"package":{"ecosystem":"npm"}}`), dossier.KindInvalid, "no ecosystem or no name"},
		{"a name of two lines", affected(`{"package":{"ecosystem":"npm","name":"a\nb"}}`), dossier.KindInvalid, "control characters"},
		{"an unknown type of range", ranged(`{"type":"COLOUR","events":[{"introduced":"0"}]}`), dossier.KindUnsupported, "COLOUR"},
		{"no beginning", ranged(`{"type":"SEMVER","events":[{"fixed":"1"}]}`), dossier.KindInvalid, "where it begins"},
		{"no events", ranged(`{"type":"SEMVER"}`), dossier.KindInvalid, "where it begins"},
		{"an event of two", ranged(`{"type":"SEMVER","events":[{"introduced":"0","fixed":"1"}]}`), dossier.KindInvalid, "one field"},
		{"an event of none", ranged(`{"type":"SEMVER","events":[{}]}`), dossier.KindInvalid, "one field"},
		{"an unknown event", ranged(`{"type":"SEMVER","events":[{"introduced":"0"},{"mended":"1"}]}`), dossier.KindUnsupported, "unknown kind"},
		{"an empty version", ranged(`{"type":"SEMVER","events":[{"introduced":""}]}`), dossier.KindInvalid, "no version"},
		{"a version that is a number", ranged(`{"type":"SEMVER","events":[{"introduced":0}]}`), dossier.KindInvalid, "cannot unmarshal"},
		{"a state that is none", affected(`{"package":{"ecosystem":"npm","name":"a"},"database_specific":{"dossier":{"state":"fine"}}}`), dossier.KindInvalid, "its state"},
		{"imports of Go that are none", affected(`{"package":{"ecosystem":"Go","name":"a"},"ecosystem_specific":{"imports":"all"}}`), dossier.KindInvalid, "none of Go"},
		{"too long", `{"id":"X-1","details":"` + strings.Repeat("x", 100_000) + `"}`, dossier.KindLimit, "limit Record"},
		{"too deep", `{"id":"X-1","a":` + strings.Repeat("[", 21) + strings.Repeat("]", 21) + `}`, dossier.KindLimit, "limit Nesting"},
		{"too many packages", affected(many(11, `{"package":{"ecosystem":"npm","name":"a"}}`)), dossier.KindLimit, "limit Affected"},
		{"too many events", ranged(`{"type":"SEMVER","events":[` + many(101, `{"introduced":"0"}`) + `]}`), dossier.KindLimit, "limit Events"},
		{"too many versions", affected(`{"package":{"ecosystem":"npm","name":"a"},"versions":[` + many(101, `"1"`) + `]}`), dossier.KindLimit, "limit Versions"},
		{"too many names", `{"id":"X-1","aliases":[` + many(11, `"Y-1"`) + `]}`, dossier.KindLimit, "limit Names"},
		{"too many symbols", affected(`{"package":{"ecosystem":"Go","name":"a"},"ecosystem_specific":{"imports":[{"path":"a","symbols":[` + many(10, `"F"`) + `]}]}}`), dossier.KindLimit, "limit Imports"},
		{"a long version", ranged(`{"type":"SEMVER","events":[{"introduced":"` + strings.Repeat("1", 101) + `"}]}`), dossier.KindLimit, "limit Text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := Parse([]byte(tt.text), small)
			if dossier.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("%+v, %v error %v; want %v, and %q", a, dossier.KindOf(err), err, tt.kind, tt.says)
			}
		})
	}
}

// TestHundredThousandEvents gives records with far too many events, in one range
// and in many, and one with as many as may be.
func TestHundredThousandEvents(t *testing.T) {
	record := func(ranges, events int) []byte {
		var b strings.Builder
		b.WriteString(`{"id":"X-1","affected":[{"package":{"ecosystem":"npm","name":"a"},"ranges":[`)
		for r := range ranges {
			if r > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`{"type":"SEMVER","events":[`)
			for i := range events - 1 {
				fmt.Fprintf(&b, `{"introduced":"1.%d.0"},`, (i*7919)%events)
			}
			b.WriteString(`{"introduced":"0"}]}`)
		}
		b.WriteString(`]}]}`)
		return []byte(b.String())
	}
	for _, tt := range []struct {
		ranges, events int
		says           string
	}{{1, 100_000, "limit Events"}, {100, 1000, "limit Events"}, {1, 2001, "limit Range"}, {1, 2000, ""}, {25, 2000, ""}} {
		a, err := Parse(record(tt.ranges, tt.events), Limits{})
		if tt.says != "" {
			if dossier.KindOf(err) != dossier.KindLimit || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%d ranges of %d events: %v", tt.ranges, tt.events, err)
			}
			continue
		}
		p := dossier.Package{Type: "npm", Ecosystem: "npm", Name: "a", Version: "1.5.0"}
		if err != nil || len(match.Match(p, []dossier.Advisory{a}).Findings) != 1 {
			t.Errorf("%d ranges of %d events: %v", tt.ranges, tt.events, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":"X-1","affected":[{"package":{"ecosystem":"npm","name":"a"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1"}]}]}]}`))
	f.Add([]byte(`{"id":"X-1","withdrawn":"2024-05-01T00:00:00Z","affected":[{"package":{"ecosystem":"Go","name":"a"},"ecosystem_specific":{"imports":[{"path":"a"}],"custom_ranges":[]}}]}`))
	f.Add([]byte(`{"id":"DEBIAN-CVE-2024-0001","upstream":["CVE-2024-0001"],"affected":[{"package":{"ecosystem":"Debian:12","name":"a"},"database_specific":{"dossier":{"state":"wont-fix"}}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Parse(b, Limits{})
		if err != nil {
			if k := dossier.KindOf(err); k != dossier.KindInvalid && k != dossier.KindLimit && k != dossier.KindUnsupported {
				t.Errorf("%v is of kind %s", err, k)
			}
			return
		}
		again, err := Parse(b, Limits{})
		if diff := cmp.Diff(a, again); err != nil || diff != "" {
			t.Errorf("a second time: %v\n%s", err, diff)
		}
		if a.ID == "" || strings.ContainsAny(a.ID, "/\\\n") {
			t.Errorf("the ID is %q", a.ID)
		}
		for _, e := range a.Affected {
			if e.Ecosystem == "" || e.Name == "" {
				t.Errorf("an entry without a name: %+v", e)
			}
		}
	})
}
