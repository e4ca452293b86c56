// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package rpmdbtest

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	oracle "github.com/erikvarga/go-rpmdb/pkg"
	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite"

	"dossier.dev/dossier/internal/contents/rpmdb"
)

// sqliteOf lets SQLite write a database.
func sqliteOf(t testing.TB, packages []rpmdb.Package, pageSize int) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "rpmdb.sqlite")
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	statements := []string{
		"PRAGMA synchronous = OFF",
		fmt.Sprintf("PRAGMA page_size = %d", pageSize),
		"CREATE TABLE 'Basenames' (key TEXT NOT NULL, hnum INTEGER NOT NULL)",
		"CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)",
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range packages {
		if _, err := db.Exec("INSERT INTO Packages (blob) VALUES (?)", Header(p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readAll(b []byte, limits rpmdb.Limits) ([]rpmdb.Package, error) {
	var out []rpmdb.Package
	for p, err := range rpmdb.Read(bytes.NewReader(b), int64(len(b)), limits) {
		if err != nil {
			return out, err
		}
		out = append(out, p)
	}
	return out, nil
}

// TestSQLite reads what SQLite wrote, with rows on one page and on many, and
// trees of one level and of several.
func TestSQLite(t *testing.T) {
	for _, size := range []int{512, 4096, 65536} {
		for _, want := range [][]rpmdb.Package{nil, Sample(1), Sample(120)} {
			got, err := readAll(sqliteOf(t, want, size), rpmdb.Limits{})
			if err != nil {
				t.Fatalf("%d packages on pages of %d bytes: %v", len(want), size, err)
			}
			if diff := cmp.Diff(want, got); len(want) != len(got) || len(want) > 0 && diff != "" {
				t.Errorf("%d packages on pages of %d bytes (-want +got):\n%.2000s", len(want), size, diff)
			}
		}
	}
}

// TestReadLikeOthers compares with another reader on databases that rpm wrote,
// of the test data of the module that brings it.
func TestReadLikeOthers(t *testing.T) {
	files := map[string]int{}
	for module, pattern := range map[string]string{
		"github.com/google/osv-scalibr": "extractor/filesystem/os/rpm/testdata/*",
		"github.com/erikvarga/go-rpmdb": "pkg/testdata/*/*",
	} {
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
		if err != nil {
			t.Skipf("SKIPPED: the test data of %s is not here: %v", module, err)
		}
		found, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range found {
			switch filepath.Base(name) {
			case "Packages", "Packages.db", "rpmdb.sqlite", "Packages_epoch":
				files[name] = 0
			}
		}
	}
	if len(files) < 4 {
		t.Skipf("SKIPPED: found only %d databases of others", len(files))
	}
	for name := range files {
		t.Run(filepath.Base(filepath.Dir(name))+"/"+filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			db, err := oracle.Open(name)
			if err != nil {
				t.Skipf("the other reader: %v", err)
			}
			defer db.Close()
			list, err := db.ListPackages()
			if err != nil {
				t.Skipf("the other reader: %v", err)
			}
			var want []rpmdb.Package
			for _, p := range list {
				files, err := p.InstalledFileNames()
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, rpmdb.Package{
					Name: p.Name, Version: p.Version, Release: p.Release, Epoch: p.EpochNum(), Arch: p.Arch, SourceRPM: strings.TrimPrefix(p.SourceRpm, "(none)"),
					Vendor: p.Vendor, License: p.License, Module: p.Modularitylabel, Files: files,
				})
			}
			got, err := readAll(b, rpmdb.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d packages", len(got))
			if len(got) != len(want) {
				t.Fatalf("got %d packages, want %d", len(got), len(want))
			}
			for i := range want {
				if len(want[i].Files) == 0 {
					want[i].Files = []string{}
				}
				if !reflect.DeepEqual(want[i], got[i]) {
					t.Fatalf("package %d (-theirs +ours):\n%.4000s", i, cmp.Diff(want[i], got[i]))
				}
			}
		})
	}
}
