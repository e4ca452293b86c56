// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package rpmdb_test

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents/rpmdb"
	"dossier.dev/dossier/internal/contents/rpmdb/rpmdbtest"
)

// sqliteSample is rpmdbtest.Sample(12), written by SQLite on pages of 512 bytes.
//
//go:embed testdata/rpmdb.sqlite
var sqliteSample []byte

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

func TestRead(t *testing.T) {
	want := rpmdbtest.Sample(120)
	for name, b := range map[string][]byte{
		"ndb":               rpmdbtest.NDB(want),
		"ndb of one":        rpmdbtest.NDB(want[:1]),
		"berkeley":          rpmdbtest.Berkeley(want, binary.LittleEndian),
		"berkeley, swapped": rpmdbtest.Berkeley(want, binary.BigEndian),
		"sqlite":            sqliteSample,
	} {
		t.Run(name, func(t *testing.T) {
			want := want
			switch name {
			case "ndb of one":
				want = want[:1]
			case "sqlite":
				want = want[:12]
			}
			got, err := readAll(b, rpmdb.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadFails(t *testing.T) {
	packages := rpmdbtest.Sample(40)
	berkeley := rpmdbtest.Berkeley(packages, binary.LittleEndian)
	change := func(b []byte, at int, value ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], value)
		return b
	}
	circle := bytes.Clone(berkeley)
	for at := 512; at < len(circle); at += 512 {
		if circle[at+25] == 7 { // an overflow page
			binary.LittleEndian.PutUint32(circle[at+16:], uint32(at/512))
			binary.LittleEndian.PutUint16(circle[at+22:], 1)
		}
	}
	db := sqliteSample
	for _, tt := range []struct {
		name   string
		b      []byte
		limits rpmdb.Limits
		want   dossier.Kind
	}{
		{"empty", nil, rpmdb.Limits{}, dossier.KindUnsupported},
		{"text", []byte("hello"), rpmdb.Limits{}, dossier.KindUnsupported},
		{"long text", bytes.Repeat([]byte("hello"), 200), rpmdb.Limits{}, dossier.KindInvalid},
		{"ndb: table larger than file", change(rpmdbtest.NDB(packages), 12, 0xff, 0xff, 0xff, 0x7f), rpmdb.Limits{}, dossier.KindInvalid},
		{"ndb: another version", change(rpmdbtest.NDB(packages), 4, 9), rpmdb.Limits{}, dossier.KindUnsupported},
		{"ndb: hole", change(rpmdbtest.NDB(packages), 48, 0), rpmdb.Limits{}, dossier.KindInvalid},
		{"ndb: blob beyond the end", change(rpmdbtest.NDB(packages), 40, 0xff, 0xff, 0xff, 0xff), rpmdb.Limits{}, dossier.KindInvalid},
		{"ndb: truncated", rpmdbtest.NDB(packages)[:9000], rpmdb.Limits{}, dossier.KindInvalid},
		{"berkeley: page size", change(berkeley, 20, 1), rpmdb.Limits{}, dossier.KindInvalid},
		{"berkeley: item beyond the page", change(berkeley, 512+28, 0xff, 0xff), rpmdb.Limits{}, dossier.KindInvalid},
		{"berkeley: more items than room", change(berkeley, 512+20, 0xff, 0xff), rpmdb.Limits{}, dossier.KindInvalid},
		{"berkeley: huge package", change(berkeley, 512+512-5-12+8, 0xff, 0xff, 0xff, 0xff), rpmdb.Limits{}, dossier.KindLimit},
		{"berkeley: chain in a circle", circle, rpmdb.Limits{}, dossier.KindInvalid},
		{"sqlite: page size", change(db, 16, 0, 3), rpmdb.Limits{}, dossier.KindInvalid},
		{"sqlite: no such table", bytes.ReplaceAll(db, []byte("Packages"), []byte("Packagez")), rpmdb.Limits{}, dossier.KindInvalid},
		{"sqlite: truncated", db[:len(db)/2], rpmdb.Limits{}, dossier.KindInvalid},
		{"too many packages", rpmdbtest.NDB(packages), rpmdb.Limits{Packages: 10}, dossier.KindLimit},
		{"too large a package", db, rpmdb.Limits{Header: 1000}, dossier.KindLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := readAll(tt.b, tt.limits); dossier.KindOf(err) != tt.want {
				t.Errorf("got %d packages and %v, want an error of kind %q", len(got), err, tt.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	packages := rpmdbtest.Sample(5)
	f.Add(rpmdbtest.NDB(packages))
	f.Add(rpmdbtest.Berkeley(packages, binary.LittleEndian))
	f.Add(rpmdbtest.Berkeley(packages, binary.BigEndian))
	f.Add(sqliteSample)
	f.Fuzz(func(t *testing.T, b []byte) {
		for p, err := range rpmdb.Read(bytes.NewReader(b), int64(len(b)), rpmdb.Limits{Header: 1 << 20, Packages: 100}) {
			if err != nil && dossier.KindOf(err) == dossier.KindInternal {
				t.Errorf("an error of no kind: %v", err)
			}
			if err == nil && (p.Name == "" || p.Version == "") {
				t.Errorf("a package without name or version: %+v", p)
			}
		}
	})
}
