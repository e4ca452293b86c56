// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"testing"

	"dossier.dev/dossier"
)

func program(packages []string, symbols ...string) *dossier.Program {
	p := &dossier.Program{OS: "linux", Arch: "amd64", Packages: packages}
	if symbols != nil {
		p.Symbols = dossier.NewSymbols(symbols)
	}
	return p
}

func linkedInto(p dossier.Package, into *dossier.Program) dossier.Package { p.Program = into; return p }

func imports(list ...dossier.Import) func(*dossier.Affected) {
	return func(e *dossier.Affected) { e.Imports = list }
}

func TestRulesOfGo(t *testing.T) {
	text := pkg("Go", "golang.org/x/text", "v0.3.5")
	parse := dossier.Import{Path: "golang.org/x/text/language", Symbols: []string{"Parse", "Tag.String"}}
	vuln := advisory("GO-2021-0113 CVE-2021-38561 GHSA-ppp9-7jff-5vj2", says("Go|golang.org/x/text|0 0.3.7", imports(parse)))
	module := advisory("GHSA-ppp9-7jff-5vj2 CVE-2021-38561", says("Go|golang.org/x/text|0 0.3.7"))
	const found = "CVE-2021-38561 (GHSA-ppp9-7jff-5vj2 GO-2021-0113) fixable 0.3.7 symbols "
	onlyWindows := parse
	onlyWindows.OS = []string{"windows"}
	custom := func(e *dossier.Affected) { e.Custom = says("Go|x|8.0.0 8.0.7").Ranges }
	runRules(t, []rule{
		{"a module whose program is not known", text, []dossier.Advisory{vuln}, []string{found + "unknown"}, nil},
		{"a program that holds the symbol", linkedInto(text, program([]string{"golang.org/x/text/language"}, "golang.org/x/text/language.Parse")),
			[]dossier.Advisory{vuln, module}, []string{found + "present"}, nil},
		{"a program that holds a method", linkedInto(text, program([]string{"golang.org/x/text/language"}, "golang.org/x/text/language.Tag.String")),
			[]dossier.Advisory{vuln}, []string{found + "present"}, nil},
		{"a program that holds the package and not the symbol", linkedInto(text, program([]string{"golang.org/x/text/language"}, "golang.org/x/text/language.Make")),
			[]dossier.Advisory{vuln}, []string{found + "absent"}, nil},
		{"a program without symbols", linkedInto(text, program([]string{"golang.org/x/text/language"})), []dossier.Advisory{vuln}, []string{found + "unknown"}, nil},
		{"a program that does not hold the package", linkedInto(text, program([]string{"golang.org/x/text/width"}, "golang.org/x/text/width.Fold")),
			[]dossier.Advisory{vuln}, nil, []string{"GO-2021-0113: absent"}},
		{"then an advisory that knows only the module is overruled", linkedInto(text, program([]string{"golang.org/x/text/width"})),
			[]dossier.Advisory{module, vuln}, nil, []string{"GHSA-ppp9-7jff-5vj2: overruled", "GO-2021-0113: absent"}},
		{"but not when it stands alone", linkedInto(text, program([]string{"golang.org/x/text/width"})), []dossier.Advisory{module},
			[]string{"CVE-2021-38561 (GHSA-ppp9-7jff-5vj2) fixable 0.3.7 symbols unknown"}, nil},
		{"another operating system", linkedInto(text, program([]string{"golang.org/x/text/language"})),
			[]dossier.Advisory{advisory("GO-2021-0113 CVE-2021-38561", says("Go|golang.org/x/text|0 0.3.7", imports(onlyWindows)))}, nil, []string{"GO-2021-0113: platform"}},
		{"a package of which all is vulnerable", linkedInto(text, program([]string{"golang.org/x/text/language"}, "golang.org/x/text/language.Make")),
			[]dossier.Advisory{advisory("GO-2021-0113 CVE-2021-38561", says("Go|golang.org/x/text|0 0.3.7", imports(dossier.Import{Path: "golang.org/x/text/language"})))},
			[]string{"CVE-2021-38561 (GO-2021-0113) fixable 0.3.7 symbols unknown"}, nil},
		{"the standard library as Go numbers it", pkg("Go", "stdlib", "1.21rc2"), []dossier.Advisory{
			advisory("GO-2023-0001", says("Go|stdlib|0 1.20.7 1.21.0-0 1.21.0-rc.3")), advisory("GO-2023-0002", says("Go|stdlib|0 1.20.7 1.21.0-0 1.21.0-rc.2")),
		}, []string{"GO-2023-0001 fixable 1.21.0-rc.3 symbols unknown"}, nil},
		{"a commit before the fix", pkg("Go", "golang.org/x/text", "v0.3.7-0.20210101000000-0123456789ab"), []dossier.Advisory{vuln}, []string{found + "unknown"}, nil},
		{"a commit without a release before it", pkg("Go", "golang.org/x/text", "v0.0.0-20210101000000-0123456789ab"), []dossier.Advisory{vuln}, []string{found + "unknown"}, nil},
		{"a release outside the ranges that Go cannot express", pkg("Go", "github.com/grafana/grafana", "v8.0.7+incompatible"), []dossier.Advisory{
			advisory("GO-2024-0001", says("Go|github.com/grafana/grafana|0 -", custom)),
		}, nil, []string{"GO-2024-0001: fixed"}},
		{"a release inside", pkg("Go", "github.com/grafana/grafana", "v8.0.6+incompatible"), []dossier.Advisory{
			advisory("GO-2024-0001", says("Go|github.com/grafana/grafana|0 -", custom)),
		}, []string{"GO-2024-0001 fixable 8.0.7 symbols unknown"}, nil},
		{"a commit, of which those ranges say nothing", pkg("Go", "github.com/grafana/grafana", "v0.0.0-20240101000000-0123456789ab"), []dossier.Advisory{
			advisory("GO-2024-0001", says("Go|github.com/grafana/grafana|0 -", custom)),
		}, []string{"GO-2024-0001 unfixed symbols unknown"}, nil},
		{"a development version", pkg("Go", "golang.org/x/text", ""), []dossier.Advisory{vuln}, nil, []string{"GO-2021-0113: incomparable"}},
	})
	if got, want := Match(pkg("Go", "golang.org/x/text", ""), []dossier.Advisory{vuln}).Unclear, "its version is not told, and 1 vulnerability is known"; got != want {
		t.Errorf("without a version: %q, want %q", got, want)
	}
	held := Match(linkedInto(text, program([]string{"golang.org/x/text/language"}, "golang.org/x/text/language.Parse")), []dossier.Advisory{vuln}).Findings[0]
	if len(held.Held) != 1 || held.Held[0] != "golang.org/x/text/language.Parse" || held.Package.Program != nil {
		t.Errorf("held %q, program %v", held.Held, held.Package.Program)
	}
}

func TestGoVersion(t *testing.T) {
	for in, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3": "1.2.3", "go1.21.3": "1.21.3", "1.21": "1.21.0", "go1.21rc2": "1.21.0-rc.2", "1.9beta1": "1.9.0-beta.1",
		"1.22.3 X:boringcrypto": "1.22.3", "v0.0.0-20210101000000-0123456789ab": "0.0.0-20210101000000-0123456789ab", "v2.0.0+incompatible": "2.0.0+incompatible",
		"devel": "devel", "": "",
	} {
		if got := goVersion(in); got != want {
			t.Errorf("goVersion(%q) = %q, want %q", in, got, want)
		}
	}
}
