// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// buildGo builds a program of a few packages, in a directory whose name has a dot.
func buildGo(t *testing.T, flags ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.org/prog\ngo 1.24\n",
		"cmd/prog/main.go": "package main\nimport \"os\"\nimport \"example.org/prog/lib.v2\"\nfunc main() {\n" +
			"g := &lib.Box[int]{}\nprintln(lib.Inlined(len(os.Args)), g.Get(), lib.Kind(3).String())\n}\n",
		"lib.v2/lib.go": "package lib\nfunc Inlined(i int) int { return i + 1 }\ntype Box[T any] struct{ v T }\n" +
			"//go:noinline\nfunc (b *Box[T]) Get() T { return b.v }\ntype Kind int\n//go:noinline\nfunc (k Kind) String() string { return \"kind\" }\n" +
			"//go:noinline\nfunc Unused() { println(1) }\n",
		"idle/idle.go": "package idle\nfunc Idle() {}\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out")
	cmd := exec.Command("go", append(append([]string{"build", "-o", out}, flags...), "./cmd/prog")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no Go program can be built here: %v\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGoProgramTellsWhatItHolds builds a program, stripped and not, and looks for
// functions that are in it, are inlined, or were left out by the linker.
func TestGoProgramTellsWhatItHolds(t *testing.T) {
	for _, flags := range [][]string{nil, {"-ldflags=-s -w", "-trimpath"}, {"-buildmode=pie"}} {
		b := buildGo(t, flags...)
		r := readLayer(t, Options{}, exe("bin/prog", string(b)))
		p := r.Files[0].Program
		if p == nil {
			t.Fatalf("%v: nothing is told of the program", flags)
		}
		got := map[string]bool{}
		for _, path := range []string{"example.org/prog/lib.v2", "example.org/prog/cmd/prog", "runtime", "example.org/prog/idle", "net/http"} {
			got[path] = p.HasPackage(path)
		}
		for _, symbol := range []string{"Inlined", "Box.Get", "Kind.String", "Unused"} {
			got[symbol] = p.Symbols.Has("example.org/prog/lib.v2." + symbol)
		}
		want := map[string]bool{
			"example.org/prog/lib.v2": true, "example.org/prog/cmd/prog": true, "runtime": true, "example.org/prog/idle": false, "net/http": false,
			"Inlined": true, "Box.Get": true, "Kind.String": true, "Unused": false,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: what the program holds (-want +got):\n%s", flags, diff)
		}
		if p.OS == "" || p.Arch == "" {
			t.Errorf("%v: built for %q %q", flags, p.OS, p.Arch)
		}
		seesAllFunctions(t, b, p)
	}
}

// seesAllFunctions compares with what the standard library reads of the table of
// functions. That does not tell of inlined ones.
func seesAllFunctions(t *testing.T, b []byte, p *dossier.Program) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Skipf("SKIPPED: not a program of this sort: %v", err)
	}
	section := f.Section(".gopclntab")
	if section == nil {
		return // in position-independent programs it has another name
	}
	data, err := section.Data()
	if err != nil {
		t.Fatal(err)
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, f.Section(".text").Addr))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, fn := range table.Funcs {
		path, symbol := splitSymbol(fn.Name)
		if path == "" || path == "main" {
			continue
		}
		seen++
		if !p.HasPackage(path) || !p.Symbols.Has(path+"."+symbol) {
			t.Errorf("%s is not seen", fn.Name)
		}
	}
	if seen < 500 {
		t.Errorf("only %d functions were compared", seen)
	}
}

func TestSplitSymbol(t *testing.T) {
	for _, tt := range [][3]string{
		{"net/http.Get", "net/http", "Get"},
		{"net/http.(*Transport).roundTrip", "net/http", "Transport.roundTrip"},
		{"net/http.HandlerFunc.ServeHTTP", "net/http", "HandlerFunc.ServeHTTP"},
		{"gopkg.in/yaml%2ev2.Unmarshal", "gopkg.in/yaml.v2", "Unmarshal"},
		{"github.com/a/b%2ec.(*T).M-fm", "github.com/a/b.c", "T.M"},
		{"slices.SortFunc[...]", "slices", "SortFunc"},
		{"a/b.(*T[go.shape.struct { c/d.X int }]).M", "a/b", "T.M"},
		{"main.main", "main", "main"},
		{"vendor/golang.org/x/net/idna.ToASCII", "vendor/golang.org/x/net/idna", "ToASCII"},
		{"a/b.F.func1", "a/b", "F.func1"},
		{"type:.eq.a/b.T", "", ""}, {"go:buildid", "", ""}, {"_rt0_amd64_linux", "", ""}, {"", "", ""}, {".x", "", ""}, {"a%2", "", ""},
	} {
		if path, symbol := splitSymbol(tt[0]); path != tt[1] || symbol != tt[2] {
			t.Errorf("%s: %q %q, want %q %q", tt[0], path, symbol, tt[1], tt[2])
		}
	}
}

// FuzzFunctionTable reads broken tables of functions.
func FuzzFunctionTable(f *testing.F) {
	head := "\xf1\xff\xff\xff\x00\x00\x01\x08" + string(make([]byte, 24)) + "\x30\x00\x00\x00\x00\x00\x00\x00\x3a\x00\x00\x00\x00\x00\x00\x00" + "runtime.x\x00"
	f.Add([]byte(head))
	f.Add([]byte("\xff\xff\xff\xfa\x00\x00\x01\x04" + head))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := functionNames(bytes.NewReader(b))
		if err == nil && len(names) > len(b) {
			t.Errorf("%d bytes of names in %d", len(names), len(b))
		}
		splitSymbol(string(names))
		_ = searchTable(bytes.NewReader(b), int64(len(b)))
		_ = goProgram(bytes.NewReader(b))
	})
}
