// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// files is a small repository: path to text. A go.mod and the licence at the
// head of each Go file are added.
type files map[string]string

func (f files) load(t *testing.T) *repository {
	t.Helper()
	fsys := fstest.MapFS{"go.mod": {Data: []byte("module example.org/m\n")}}
	for name, text := range f {
		if strings.HasSuffix(name, ".go") && !strings.HasPrefix(text, "//") {
			text = licence + text
		}
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	r, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checkCase is a check, a small repository with faults in it, and what the
// check says.
type checkCase struct {
	name  string
	check func(*repository) []string
	files files
	want  []string
}

func runCases(t *testing.T, cases []checkCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.check(tt.files.load(t))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestChecksOfStructureFind runs the checks of packages on repositories with faults.
func TestChecksOfStructureFind(t *testing.T) {
	arch := architecture{
		layers: []layer{
			{programLayer, []string{"cmd"}},
			{wiringLayer, []string{"internal/top"}},
			{"middle", []string{"internal/left", "internal/right"}},
			{"bottom", []string{"internal/low"}},
		},
		exceptions: []edge{{"internal/low", "internal/left", "a test"}},
	}
	long := strings.Repeat("\n", 90)
	runCases(t, []checkCase{
		{"layers", arch.checkLayers, files{
			"m.go":                     "package m\n",
			"cmd/x/main.go":            "package main\n",
			"internal/top/a.go":        "package top\nimport _ \"example.org/m/internal/left\"\n",
			"internal/left/a.go":       "package left\nimport _ \"example.org/m/internal/left/sub\"\nimport _ \"example.org/m\"\n",
			"internal/left/sub/a.go":   "package sub\nimport _ \"example.org/m/internal/right\"\n",
			"internal/right/a.go":      "package right\n",
			"internal/right/a_test.go": "package right\nimport _ \"example.org/m/internal/top\"\n",
			"internal/new/a.go":        "package new\n",
		}, []string{
			"internal/left/sub/a.go: imports internal/right, which is in its own row: a package imports lower rows and the root only",
			"internal/new: has no row in the layer table (internal/archtest/layers_test.go)",
			"internal/right/a_test.go: imports internal/top, which is in a higher row: a package imports lower rows and the root only",
			"internal/low: is in the layer table, but there is no such package",
			"internal/low: no longer imports internal/left: remove the exception",
		}},
		{"ambient", arch.checkAmbient, files{
			"m.go":                    "package m\nimport \"context\"\nvar _ = context.TODO()\n",
			"main.go":                 "package m\nimport \"os\"\nfunc f() { os.Exit(1) }\n",
			"internal/top/a.go":       "package top\nimport \"context\"\nimport \"fmt\"\nfunc f() { fmt.Println(context.Background()) }\n",
			"internal/left/a.go":      "package left\nimport \"time\"\nimport \"context\"\nvar _ = time.Now()\nvar _ = context.TODO()\n",
			"internal/render/a.go":    "package render\nimport \"time\"\nvar now = time.Now\nvar _ = time.Now()\n",
			"internal/left/a_test.go": "package left\nimport \"context\"\nvar _ = context.Background()\n",
			"internal/low/a.go":       "package low\nimport \"os\"\nimport _ \"testing\"\nvar _ = os.Getenv(\"X\")\n",
			"cmd/x/main.go":           "package main\nimport \"os\"\nfunc main() { os.Exit(1) }\n",
		}, []string{
			"m.go:6: calls context.TODO: take the context of the caller",
			"main.go:6: calls os.Exit: return an error",
			"internal/left/a.go:8: calls context.TODO: take the context of the caller",
			"internal/render/a.go:7: calls time.Now: take the time as an argument",
			"internal/top/a.go:7: calls fmt.Println: write to the writer that was given",
		}},
		{"imports", importCheck(forbiddenImports(), map[string]string{"internal/left log": "why", "internal/left io/ioutil": "why"}), files{
			"internal/left/a.go":       "package left\nimport _ \"log\"\n",
			"internal/right/a.go":      "package right\nimport _ \"log\"\n",
			"internal/right/a_test.go": "package right\nimport _ \"math/rand\"\n",
		}, []string{
			"internal/right/a.go: imports log: use log/slog, passed in",
			"internal/left io/ioutil: is no longer imported: remove the exception",
		}},
		{"root", checkRoot, files{
			"m.go":      "package m\nimport _ \"fmt\"\nimport _ \"example.org/m/internal/low\"\nimport _ \"github.com/a/b\"\nimport _ \"net/http\"\n",
			"m_test.go": "package m\nimport _ \"github.com/a/b\"\n",
		}, []string{
			"m.go: imports example.org/m/internal/low: the root package is vocabulary, and imports the standard library only",
			"m.go: imports github.com/a/b: the root package is vocabulary, and imports the standard library only",
			"m.go: imports net/http: the root package does no I/O",
		}},
		{"kits", checkKits, files{
			"internal/left/a.go":      "package left\nimport _ \"example.org/m/internal/kit\"\n",
			"internal/left/a_test.go": "package left\nimport _ \"example.org/m/internal/kit\"\n",
			"internal/kit/a.go":       "package kit\nimport _ \"testing\"\n",
		}, []string{"internal/left/a.go: imports internal/kit, a test kit, outside tests"}},
		{"modules", moduleCheck([]module{
			{"github.com/a", []string{"internal/left"}, []string{"internal/right"}, "why"},
			{"github.com/a/b", []string{"internal/right", "internal/idle"}, nil, "why b"},
		}), files{
			"internal/idle/a.go":       "package idle\n",
			"internal/left/x/a.go":     "package x\nimport _ \"github.com/a/c\"\nimport _ \"github.com/a/b/c\"\n",
			"internal/right/a.go":      "package right\nimport _ \"github.com/a\"\nimport _ \"github.com/a/b\"\n",
			"internal/right/a_test.go": "package right\nimport _ \"github.com/a\"\nimport _ \"github.com/ab\"\n",
		}, []string{
			"internal/left/x/a.go: imports github.com/a/b/c: only internal/right, internal/idle may (why b)",
			"internal/right/a.go: imports github.com/a: only internal/left, tests of internal/right may (why)",
			"internal/right/a_test.go: imports github.com/ab: a module that is not on the list (internal/archtest/modules_test.go)",
			"github.com/a/b: internal/idle may import it and does not: remove it from the list",
		}},
		{"budgets", budgetCheck(map[string]string{"b.go:F": "why", "b.go": "why"}), files{
			"a.go":      "package m\nfunc F() {\n" + long + strings.Repeat("\n", 9) + "}\n",
			"a_test.go": "package m\nfunc g() {\n" + long + strings.Repeat("\n", 9) + "}\n",
			"b.go":      "package m\nfunc F() {\n" + long + strings.Repeat("\n", 9) + "}\n",
			"c.go":      "package m\n" + strings.Repeat("\n", maxFileLines),
			"d.go":      "// Code generated by a test. DO NOT EDIT.\n\npackage m\n" + strings.Repeat("\n", maxFileLines),
		}, []string{
			"a.go:F: has 101 lines, the budget is 100",
			fmt.Sprintf("c.go: has %d lines, the budget is 500", maxFileLines+4),
			"b.go: is within the budget: remove the exception",
		}},
	})
}

// TestChecksOfFilesFind does the same for what files say.
func TestChecksOfFilesFind(t *testing.T) {
	runCases(t, []checkCase{
		{"licences", checkLicences, files{
			"a.go": "package m\n",
			"b.go": "// Package m.\npackage m\n",
		}, []string{"b.go: does not begin with the two SPDX lines and an empty one"}},
		{"format", checkFormat, files{
			"a.go": "package m\n",
			"b.go": "package m\nvar  x int\n",
		}, []string{"b.go: is not as gofmt writes it"}},
		{"docs", checkDocs, files{
			"a/a.go":      "// Package a is. It does.\npackage a\n",
			"b/b.go":      "// Package b is.\npackage b\n",
			"c/c.go":      "// It is. It does.\npackage c\n",
			"d/d_test.go": "package d\n",
			"e/main.go":   "// The e command does. It ends.\npackage main\n",
		}, []string{
			"b: its package doc has fewer than two sentences",
			`c: its package doc does not begin with "Package c "`,
			"d: has tests only: add a doc.go that says what they are",
		}},
		{"exported", checkExported, files{
			"a.go": `package m
func F() {}
func f() {}
// G does.
func G() {}
type T struct{}
func (T) M() {}
func (*t) M() {}
type t struct{}
// The colours.
const (
	Red = iota
	Blue
)
var X, y int
type (
	// A is.
	A int
	B int // is too
	C int
)
`,
			"a_test.go": "package m\nfunc H() {}\n",
		}, []string{
			"a.go:5: exported F has no comment", "a.go:9: exported T has no comment", "a.go:10: exported M has no comment",
			"a.go:18: exported X has no comment", "a.go:23: exported C has no comment",
		}},
		{"tested", testedCheck(map[string]string{"b": "why", "c": "why"}), files{
			"a/a.go":      "package a\n",
			"b/b.go":      "package b\n",
			"c/c.go":      "package c\n",
			"c/c_test.go": "package c\n",
			"d/d.go":      "package d\nimport _ \"testing\"\n",
		}, []string{"a: has no tests", "c: has tests: remove the exception"}},
		{"fuzzed", fuzzCheck([]string{"a", "b"}), files{
			"a/a_test.go": "package a\nfunc FuzzA(f *testing.F) {}\n",
			"b/b_test.go": "package b\nfunc TestB(t *testing.T) {}\n",
			"c/c_test.go": "package c\n",
		}, []string{"b: parses bytes from outside and has no fuzz test"}},
		{"names", checkPackageNames, files{
			"a/a.go":    "package a\n",
			"util/a.go": "package util\n",
		}, []string{"util: a package named util takes anything: name it for what it has"}},
		{"interfaces", checkInterfaces, files{
			"a.go": "package m\ntype i interface { A(); B(); C(); D(); E(); F(); G(); error }\ntype j interface { A(); B(); C(); D(); E(); F(); G(); H() }\n",
		}, []string{"a.go:6: an interface with 8 methods, the limit is 7"}},
		{"paths", checkPaths, files{
			"README.md":   "See `docs/a.md`, `docs/*.md`, docs/NAME.md, docs/c/NAME.txt, internal/x/... and (docs/b.md). https://example.org/docs/none\n",
			"docs/a.md":   "[up](../README.md#top) [out](https://example.org) [gone](gone.md)\n",
			"NOTES.md":    "docs/none\n",
			"internal/a":  "",
			"docs/c/d.md": "",
		}, []string{
			"README.md:1: names docs/c/NAME.txt, which does not exist",
			"README.md:1: names internal/x/, which does not exist",
			"README.md:1: names docs/b.md, which does not exist",
			"docs/a.md:1: links to docs/gone.md, which does not exist",
		}},
		{"commands", checkCommands, files{
			"internal/cli/root.go":           "package cli\nvar a = &cobra.Command{Use: \"dossier\"}\nvar b = &cobra.Command{Use: \"stray\"}\n",
			"internal/cli/cmd_show.go":       "package cli\nvar c = &cobra.Command{Use: \"show IMAGE\"}\n",
			"internal/cli/cmd_where.go":      "package cli\nvar d = &cobra.Command{Use: \"there\"}\n",
			"testdata/script/show_one.txtar": "",
		}, []string{
			"internal/cli/cmd_where.go: its first cobra.Command is not where",
			"internal/cli/cmd_where.go: no testdata/script/where*.txtar runs the command",
			"internal/cli/root.go: defines the command stray, which belongs in cmd_stray.go",
		}},
		{"migrations", checkMigrations, files{
			migrations + "/sqlite/00001_a.sql":   "",
			migrations + "/sqlite/00003_b.sql":   "",
			migrations + "/postgres/00001_a.sql": "",
			migrations + "/mysql/00001_a.sql":    "",
			migrations + "/postgres/b.sql":       "",
			migrations + "/postgres/c.sql":       "",
		}, []string{
			migrations + "/mysql/00001_a.sql: lies in the folder of no engine",
			migrations + "/postgres/b.sql: is not named NNNNN_words.sql",
			migrations + "/postgres/c.sql: is not named NNNNN_words.sql",
			migrations + "/sqlite/00003_b.sql: want number 00002",
			migrations + ": sqlite has 2, postgres 3",
		}},
		{"machine", checkMachine, files{
			"a.txt": "one\ncd /" + "root/x\n",
			"b.txt": "/roots/x",
		}, []string{"a.txt:2: names a path of somebody's machine"}},
	})
}

// TestStateFinds runs checkState on the ways to change package-level state, and
// on what only looks like one.
func TestStateFinds(t *testing.T) {
	tests := []struct {
		name, body string
		want       []string
	}{
		{"init", "func init() {}", []string{"a.go:5: an init function: make it a value that somebody asks for"}},
		{"assignment", "var x int\nfunc f() { x = 1 }", []string{"a.go:6: package-level x is assigned to"}},
		{"count", "var x int\nfunc f() { x++ }", []string{"a.go:6: package-level x is counted up or down"}},
		{"map entry", "var x = map[int]int{}\nfunc f() { x[1] = 1 }", []string{"a.go:6: package-level x is assigned to"}},
		{"delete", "var x = map[int]int{}\nfunc f() { delete(x, 1) }", []string{"a.go:6: package-level x is changed by delete"}},
		{"field", "var x struct{ y int }\nfunc f() { x.y = 1 }", []string{"a.go:6: package-level x is assigned to"}},
		{"address", "var x int\nfunc f() *int { return &x }", []string{"a.go:6: package-level x has its address taken"}},
		{"range", "var x int\nfunc f(s []int) { for _, x = range s {} }", []string{"a.go:6: package-level x is assigned to"}},
		{"lock", "import \"sync\"\nvar mu sync.Mutex", []string{"a.go:6: package-level mu guards state that changes: put both in a struct"}},
		{"pool", "import \"sync\"\nvar pool sync.Pool", nil},
		{"atomic", "import \"sync/atomic\"\nvar n atomic.Pointer[int]", []string{"a.go:6: package-level n guards state that changes: put both in a struct"}},
		{"other package", "import \"net/http\"\nfunc f() { http.DefaultClient = nil }", []string{"a.go:6: a variable of package http is assigned to"}},
		{"local of the same name", "var x int\nfunc f() { x := 1; x++; _ = x }", nil},
		{"parameter", "var x []int\nfunc f(x []int) { x[0] = 1 }", nil},
		{"composite literal", "import \"net/http\"\nfunc f() *http.Client { return &http.Client{} }", nil},
		{"pointer to a variable of another package", "import \"net/http\"\nfunc f() any { return &http.NoBody }", nil},
		{"only read", "var x = map[int]int{1: 1}\nfunc f() int { return x[1] }", nil},
		{"blank", "var _ error = nil\nfunc f() { _ = 1 }", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := checkState(files{"a.go": "package m\n" + tt.body + "\n"}.load(t))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestStateAcrossFiles writes in one file to a variable of another.
func TestStateAcrossFiles(t *testing.T) {
	got := checkState(files{
		"a.go":      "package m\nvar x int\n",
		"b.go":      "package m\nfunc f() { x = 1 }\n",
		"c_test.go": "package m\nfunc g() { x = 2 }\n",
	}.load(t))
	want := []string{"b.go:5: package-level x is assigned to"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

// TestLoadRejectsBrokenSource: no rule holds for a file nobody can read.
func TestLoadRejectsBrokenSource(t *testing.T) {
	if _, err := load(fstest.MapFS{"a.go": {Data: []byte("package")}}); err == nil {
		t.Error("got no error for a file that does not parse")
	}
}
