// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

// program builds a Go program with a vulnerable module, and returns the packages
// that are found in an image that holds it.
func program(t *testing.T, source string) []dossier.PackageAt {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "go.mod"), "module example.org/prog\ngo 1.24\nrequire golang.org/x/text v0.3.5\n")
	put(t, filepath.Join(dir, "main.go"), source)
	cmd := exec.Command("go", "build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", "prog", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no program can be built from golang.org/x/text v0.3.5 here: %v\n%s", err, out)
	}
	body, err := os.ReadFile(filepath.Join(dir, "prog"))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "prog", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(body))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	d := dossier.FromBytes(layer.Bytes())
	r, err := contents.ReadLayer(t.Context(), contents.Layer{Digest: d, DiffID: d, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	}}, contents.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return contents.Fold([]contents.LayerResult{r}).All()
}

// TestVulnerablePrograms builds programs from a module with a vulnerability in
// one of its packages (GO-2021-0113): one that calls what is vulnerable, one that
// uses the package otherwise, and one that uses another package.
func TestVulnerablePrograms(t *testing.T) {
	dir := os.Getenv("DOSSIER_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	feedFile := filepath.Join(dir, "feeds", "Go.zip")
	if _, err := os.Stat(feedFile); err != nil {
		t.Skipf("SKIPPED: no real data: %v", err)
	}
	k := newKeeper(t, "")
	if err := k.Import(t.Context(), feedFile, func(Report) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, source string
		want         dossier.Presence // of the finding; empty: there is none
	}{
		{"calls it", "package main\nimport \"golang.org/x/text/language\"\nimport \"os\"\nfunc main() { println(language.MustParse(os.Args[1]).String()) }\n", dossier.SymbolsPresent},
		{"uses the package otherwise", "package main\nimport \"golang.org/x/text/language\"\nfunc main() { println(language.English.String()) }\n", dossier.SymbolsAbsent},
		{"uses another package", "package main\nimport \"golang.org/x/text/width\"\nimport \"os\"\nfunc main() { println(width.Fold.String(os.Args[1])) }\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := false
			for _, p := range program(t, tt.source) {
				if p.Name != "golang.org/x/text" {
					continue
				}
				seen = true
				err := k.Store.View(t.Context(), func(r store.Reader) error {
					list, err := r.Advisories(t.Context(), store.AdvisoryQuery{Keys: match.Keys(p.Package)})
					var got dossier.Presence
					for _, f := range match.Match(p.Package, list).Findings {
						if f.ID == "CVE-2021-38561" {
							got = f.Symbols
						}
					}
					if got != tt.want {
						t.Errorf("of %d advisories, symbols are %q, want %q", len(list), got, tt.want)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
			if !seen {
				t.Error("the module was not found in the program")
			}
		})
	}
}
