// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"slices"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/advisory"
	"dossier.dev/dossier/internal/match"
)

// explained is a package with one advisory, judged as a server would.
func explained(t *testing.T, version string) dossier.ExplainedPackage {
	t.Helper()
	b := []byte(`{"id":"GHSA-1","modified":"2024-01-01T00:00:00Z","aliases":["CVE-2024-1"],"affected":[{"package":{"ecosystem":"npm","name":"shop"},"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"fixed":"2.0.1"}]}]}]}`)
	a, err := advisory.Parse(b, advisory.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	a.Feed = "npm"
	e := dossier.ExplainedPackage{Records: []dossier.Original{{ID: a.ID, Feed: "npm", SHA256: a.SHA256, Bytes: b}}}
	e.Package.Package = dossier.Package{PURL: "pkg:npm/shop@" + version, Type: "npm", Ecosystem: "npm", Name: "shop", Version: version}
	for _, v := range match.Verdicts(e.Package.Package, []dossier.Advisory{a}) {
		e.Verdicts = append(e.Verdicts, dossier.Verdict{Advisory: v.Advisory, Names: v.Names, Reason: string(v.Reason), Proof: v.Proof})
	}
	for _, f := range match.Match(e.Package.Package, []dossier.Advisory{a}).Findings {
		e.Finding = &f
	}
	return e
}

func TestReplay(t *testing.T) {
	for version, want := range map[string]string{"2.0.0": "affected", "2.0.1": "fixed", "0.9.0": "unaffected"} {
		e := explained(t, version)
		got, err := Replay(e)
		if err != nil || got.Differs != "" || len(got.Verdicts) != 1 || got.Verdicts[0].Reason != want || (got.Finding != nil) != (want == "affected") {
			t.Errorf("%s: %+v, %v; want %s", version, got, err, want)
		}
	}
}

// TestReplayFindsLies changes what is explained: judging again must not agree.
func TestReplayFindsLies(t *testing.T) {
	for name, lie := range map[string]func(*dossier.ExplainedPackage){
		"another version":  func(e *dossier.ExplainedPackage) { e.Package.Version = "2.0.1" },
		"no finding":       func(e *dossier.ExplainedPackage) { e.Finding = nil },
		"another fix":      func(e *dossier.ExplainedPackage) { e.Finding.FixedIn = "2.0.2" },
		"another severity": func(e *dossier.ExplainedPackage) { e.Finding.Severity = dossier.SeverityLow },
		"another range":    func(e *dossier.ExplainedPackage) { e.Verdicts[0].Proof.Fixed = "9" },
		"no advisory":      func(e *dossier.ExplainedPackage) { e.Records = nil },
	} {
		e := explained(t, "2.0.0")
		lie(&e)
		if got, err := Replay(e); err != nil || got.Differs == "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	e := explained(t, "2.0.0")
	e.Records[0].Bytes = []byte(strings.Replace(string(slices.Clone(e.Records[0].Bytes)), "2.0.1", "2.0.0", 1))
	if _, err := Replay(e); dossier.KindOf(err) != dossier.KindCorrupt {
		t.Errorf("other bytes: %v, want that they are corrupt", err)
	}
}
