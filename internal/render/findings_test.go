// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/vex"
)

// findings is a list with one of everything.
func findings() dossier.FindingList {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ssl := dossier.PackageAt{Layer: digest("base layer"), Path: "var/lib/dpkg/status", Package: dossier.Package{
		PURL: "pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12", Type: "deb", Ecosystem: "Debian:12", Name: "libssl3", Version: "3.0.11-1", Source: "openssl"}}
	text := dossier.PackageAt{Layer: digest("top layer"), Path: "srv/a b:1/app", Package: dossier.Package{PURL: "pkg:golang/golang.org/x/text@v0.3.5", Type: "golang", Ecosystem: "Go", Name: "golang.org/x/text", Version: "0.3.5"}}
	thing := dossier.PackageAt{Package: dossier.Package{PURL: "pkg:npm/thing@1.0.0", Type: "npm", Ecosystem: "npm", Name: "thing", Version: "1.0.0"}}
	proof := func(id string) []dossier.Proof {
		return []dossier.Proof{{Advisory: id, SHA256: digest(id), Feed: "Go", Ecosystem: "Go", Name: "x", Version: "1", Introduced: "0", Fixed: "2"}}
	}
	rebuild := &dossier.Remedy{Kind: dossier.RemedyRebuild, Package: "golang.org/x/text", To: "0.3.8", Text: "build app with golang.org/x/text 0.3.8 or later"}
	elsewhere := text
	elsewhere.Path = "usr/bin/other"
	return dossier.FindingList{
		Artifact: "registry.example/team/web:1.0", Digest: digest("index"), AsOf: at, Packages: 12,
		Feeds: []dossier.Feed{{Ecosystem: "Debian", Serial: 7, AsOf: at, Records: 3}, {Ecosystem: "Go", Serial: 1, AsOf: at.Add(-time.Hour), Records: 2}},
		Findings: []dossier.Finding{
			{ID: "CVE-2024-0001", Aliases: []string{"DSA-1-1"}, Package: ssl, Severity: dossier.SeverityCritical, Score: 5.5, Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
				FixedIn: "3.0.11-2", State: dossier.Fixable, Remedy: &dossier.Remedy{Kind: dossier.RemedyBase, Text: "build on a newer registry.example/debian:12"}, Exploit: &dossier.Exploit{KnownSince: at}, Proof: proof("DEBIAN-CVE-2024-0001")},
			{ID: "CVE-2024-0002", Aliases: []string{}, Package: ssl, Severity: dossier.SeverityMedium, State: dossier.WontFix, Remedy: &dossier.Remedy{Kind: dossier.RemedyNone, Text: "no fix is planned"}, Notes: []string{"minor"}, Proof: proof("DEBIAN-CVE-2024-0002")},
			{ID: "GO-2022-0001", Aliases: []string{}, Package: text, Severity: dossier.SeverityUnknown, FixedIn: "0.3.8", State: dossier.Fixable, Symbols: dossier.SymbolsAbsent, Remedy: rebuild, Proof: proof("GO-2022-0001")},
			{ID: "GO-2022-0001", Aliases: []string{}, Package: elsewhere, Severity: dossier.SeverityUnknown, FixedIn: "0.3.8", State: dossier.Fixable, Symbols: dossier.SymbolsAbsent, Remedy: rebuild, Proof: proof("GO-2022-0001")},
			{ID: "GHSA-1", Aliases: []string{}, Package: thing, Severity: dossier.SeverityLow, State: dossier.Investigating, Proof: proof("GHSA-1")},
		},
		Suppressed: []dossier.Suppressed{
			{Finding: dossier.Finding{ID: "CVE-2024-0003", Aliases: []string{}, Package: ssl, Severity: dossier.SeverityHigh, State: dossier.Unfixed, Proof: proof("x")},
				By: []dossier.Triage{{Source: "web.vex.json", Format: "OpenVEX", Author: "Vendor", Status: "not_affected", Justification: "vulnerable_code_not_in_execute_path", Reason: "TLS is not used.", At: at}}},
			{Finding: dossier.Finding{ID: "GHSA-2", Aliases: []string{}, Package: thing, Severity: dossier.SeverityHigh, FixedIn: "2", State: dossier.Fixable, Proof: proof("y")},
				By: []dossier.Triage{{Source: "ignore.yaml", Format: "ignore", Author: "team-web", Status: "ignored", Reason: "Behind a login.", Expires: at.AddDate(1, 0, 0)}}},
			{Finding: dossier.Finding{ID: "GHSA-3", Aliases: []string{}, Package: thing, Severity: dossier.SeverityHigh, State: dossier.Unfixed, Proof: proof("z")},
				By: []dossier.Triage{{Source: "v.json", Format: "CSAF", Status: "not_affected"}, {Source: "w.json", Format: "CSAF", Author: "B", Status: "fixed"}}},
		},
		NotAssessable: []dossier.NotAssessable{
			{Package: "pkg:cargo/a@1", Why: "no advisories for crates.io are loaded"}, {Package: "pkg:cargo/b@1", Why: "no advisories for crates.io are loaded"},
			{Package: "pkg:rpm/x@1", Why: "there are no advisories for rpm packages of debian 12"},
		},
		Missed: []dossier.Missed{{Layer: digest("top layer"), Path: "huge.jar", Reason: dossier.MissedFileSize, Detail: "the limit Archive is 1 byte"}, {Path: "torn", Detail: "it is torn"}},
		Notes:  []string{"Go: the advisories are old"},
	}
}

// findingFormats are the formats of others.
func findingFormats() map[string]func(io.Writer, dossier.FindingList) error {
	return map[string]func(io.Writer, dossier.FindingList) error{
		"sarif":         func(w io.Writer, l dossier.FindingList) error { return SARIF(w, l, "1.2.3") },
		"openvex":       func(w io.Writer, l dossier.FindingList) error { return OpenVEX(w, l, "", "1.2.3") },
		"cyclonedx-vex": func(w io.Writer, l dossier.FindingList) error { return CycloneDXVEX(w, l, "1.2.3") },
	}
}

func TestFindings(t *testing.T) {
	for name, opt := range map[string]Options{"findings.txt": {}, "findings-wide.txt": {Wide: true}, "findings-70.txt": {Width: 70}} {
		var b strings.Builder
		if err := Findings(&b, findings(), opt); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
	for name, write := range findingFormats() {
		var one, two bytes.Buffer
		if err := write(&one, findings()); err != nil {
			t.Fatal(err)
		}
		golden(t, "findings."+name+".json", one.String())
		if err := write(&two, findings()); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("%s: equal lists give other bytes, or %v", name, err)
		}
	}
}

// TestNothingFound: that there is nothing is said only where that is known.
func TestNothingFound(t *testing.T) {
	feeds := []dossier.Feed{{Ecosystem: "npm"}}
	for _, tt := range []struct {
		list dossier.FindingList
		want string
	}{
		{dossier.FindingList{Packages: 3, Feeds: feeds}, "no known vulnerabilities in 3 packages"},
		{dossier.FindingList{Packages: 3, Feeds: feeds, Suppressed: make([]dossier.Suppressed, 1)}, "no known vulnerabilities in 3 packages but the one that is suppressed"},
		{dossier.FindingList{Packages: 3}, "nothing can be said of 3 packages: there are no advisories for them"},
		{dossier.FindingList{Feeds: feeds}, "no packages were found: nothing can be said"},
		{dossier.FindingList{Packages: 3, Feeds: feeds, NotAssessable: []dossier.NotAssessable{{Package: "a", Why: "b"}}}, "no known vulnerabilities in those of 3 packages that could be judged"},
	} {
		if got := findingSummary(tt.list); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestSARIFIsValid by the schema that OASIS publishes.
func TestSARIFIsValid(t *testing.T) {
	schema := compile(t, filepath.Join(moduleDir(t, "github.com/anchore/grype", "v0.120.1"), "grype/presenter/sarif/testdata/sarif-schema-2.1.0.json"), nil)
	strange := findings()
	strange.Digest, strange.Artifact, strange.Missed = "", "a dir/with:colon", nil
	for i := range strange.Findings {
		strange.Findings[i].Package.Path = "../\x00\xff%:/" + strange.Findings[i].Package.Path
	}
	for i, list := range []dossier.FindingList{findings(), {}, strange} {
		var b bytes.Buffer
		if err := SARIF(&b, list, ""); err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("document %d: %v", i, err)
		}
	}
	if err := schema.Validate(map[string]any{"version": "2.1.0", "runs": []any{map[string]any{}}}); err == nil {
		t.Error("the schema finds nothing wrong with a run without a tool")
	}
}

// TestCycloneDXVEXIsValid by the published schema, and says what it was made from
// to who reads it.
func TestCycloneDXVEXIsValid(t *testing.T) {
	schema := compileCycloneDX(t)
	strange := findings()
	strange.Digest, strange.Artifact = "", "a dir/with:colon"
	strange.Findings[0].Vector, strange.Findings[0].Severity, strange.Findings[1].Vector = "AV:N/AC:L/Au:N/C:P/I:P/A:P", dossier.SeverityNegligible, "nonsense"
	for i, list := range []dossier.FindingList{findings(), {}, strange} {
		var b bytes.Buffer
		if err := CycloneDXVEX(&b, list, ""); err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("document %d: %v", i, err)
		}
		d, err := vex.Parse(b.Bytes(), vex.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		named := map[string]bool{}
		for _, s := range d.Statements {
			named[s.Names[0]] = true
		}
		for _, f := range list.Findings {
			if !named[f.ID] {
				t.Errorf("document %d: %s is not in it as others read it", i, f.ID)
			}
		}
	}
}

// TestOpenVEXIsValid by the rules of its schema that go beyond types.
func TestOpenVEXIsValid(t *testing.T) {
	var b bytes.Buffer
	if err := OpenVEX(&b, findings(), "team", "1"); err != nil {
		t.Fatal(err)
	}
	var doc openVEX
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range doc.Statements {
		switch {
		case len(s.Products) == 0, s.Vulnerability.Name == "":
			t.Errorf("about nothing: %+v", s)
		case s.Status == "not_affected" && (s.Justification == "") == (s.Impact == ""):
			t.Errorf("want a justification or an impact statement: %+v", s)
		case s.Status != "not_affected" && s.Justification+s.Impact != "":
			t.Errorf("why should it be so: %+v", s)
		case s.Status == "affected" && s.Action == "":
			t.Errorf("what is to be done: %+v", s)
		}
		text, err := json.Marshal(s)
		if err != nil || seen[string(text)] {
			t.Errorf("it is there twice: %s, %v", text, err)
		}
		seen[string(text)] = true
	}
	if len(seen) != 7 || doc.Author != "team" {
		t.Errorf("%d statements by %s", len(seen), doc.Author)
	}
}

func TestSecuritySeverity(t *testing.T) {
	for _, tt := range []struct {
		word  dossier.Severity
		score float64
		want  float64
	}{
		{dossier.SeverityCritical, 9.8, 9.8}, {dossier.SeverityLow, 9.8, 2}, {dossier.SeverityHigh, 0, 7.95}, {dossier.SeverityMedium, 4, 4},
	} {
		if got := securitySeverity(dossier.Finding{Severity: tt.word, Score: tt.score}); got != tt.want {
			t.Errorf("%s, %v: got %v, want %v", tt.word, tt.score, got, tt.want)
		}
	}
}

// FuzzFindings: whatever is in a finding, documents are JSON.
func FuzzFindings(f *testing.F) {
	f.Add("CVE-2024-1", "path", "reason")
	f.Add("a\x00\xff", "../%", "\u202e")
	f.Fuzz(func(t *testing.T, id, path, reason string) {
		list := findings()
		list.Findings[0].ID, list.Findings[0].Package.Path, list.Artifact, list.Suppressed[0].By[0].Reason = id, path, path, reason
		for name, write := range findingFormats() {
			var b bytes.Buffer
			if err := write(&b, list); err != nil || !json.Valid(b.Bytes()) {
				t.Errorf("%s: %v, no JSON:\n%s", name, err, b.Bytes())
			}
		}
	})
}
