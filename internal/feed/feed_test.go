// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"archive/zip"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/advisory"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

// record is an OSV record that was changed in a minute of 2024.
func record(id string, minute int) string {
	return fmt.Sprintf(`{"id":%q,"modified":%q,"affected":[{"package":{"ecosystem":"npm","name":"a"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"%d.0.0"}]}]}]}`,
		id, time.Date(2024, 1, 1, 0, minute, 0, 0, time.UTC).Format(time.RFC3339), minute)
}

// bucket writes a feed as OSV lays it out. A record that is not given by minute
// is written as it stands.
func bucket(t *testing.T, dir string, minutes map[string]int, broken map[string]string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "npm"), 0o755); err != nil {
		t.Fatal(err)
	}
	texts := maps.Clone(broken)
	if texts == nil {
		texts = map[string]string{}
	}
	for id, m := range minutes {
		if texts[id] == "" {
			texts[id] = record(id, m)
		}
	}
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		f, err := w.Create(id + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(texts[id])); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "npm", id+".json"), texts[id])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "npm", "all.zip"), archive.String())
	var list []string
	for id, m := range minutes {
		list = append(list, time.Date(2024, 1, 1, 0, m, 0, 0, time.UTC).Format(time.RFC3339)+","+id+"\n")
	}
	slices.Sort(list)
	slices.Reverse(list)
	put(t, filepath.Join(dir, "npm", "modified_id.csv"), strings.Join(list, ""))
}

// put writes a file, with a time that no other one had.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func newKeeper(t *testing.T, base string) *Keeper {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "advisories.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC)
	return &Keeper{Store: s, Fetcher: advisory.Fetcher{Base: base}, Now: func() time.Time { now = now.Add(time.Hour); return now }}
}

// said writes a report in a line.
func said(r Report, err error) string {
	if err != nil {
		return string(dossier.KindOf(err))
	}
	out := fmt.Sprintf("%s %d: %d, +%d ~%d -%d", r.Feed.Ecosystem, r.Feed.Serial, r.Feed.Records, r.Added, r.Changed, r.Removed)
	for _, f := range r.Refused {
		out += " refused " + f.Name
	}
	if r.More > 0 {
		out += fmt.Sprintf(" and %d more", r.More)
	}
	return out
}

// fixes writes what is known of package a: "ID<fixed".
func (k *Keeper) fixes(t *testing.T) []string {
	t.Helper()
	out := []string{}
	err := k.Store.View(t.Context(), func(r store.Reader) error {
		list, err := r.Advisories(t.Context(), store.AdvisoryQuery{Keys: []match.Key{{Ecosystem: "npm", Name: "a"}}})
		for _, a := range list {
			out = append(out, a.ID+"<"+a.Affected[0].Ranges[0].Events[1].Fixed)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUpdate(t *testing.T) {
	dir := t.TempDir()
	k := newKeeper(t, dir)
	want := func(step, report string, fixes ...string) {
		t.Helper()
		if got := said(k.Update(t.Context(), "npm")); got != report {
			t.Errorf("%s: %s, want %s", step, got, report)
		}
		if diff := cmp.Diff(fixes, k.fixes(t)); diff != "" {
			t.Errorf("%s: known (-want +got):\n%s", step, diff)
		}
	}
	bucket(t, dir, map[string]int{"A-1": 1, "A-2": 2}, nil)
	want("first", "npm 1: 2, +2 ~0 -0", "A-1<1.0.0", "A-2<2.0.0")
	want("nothing new", "npm 1: 2, +0 ~0 -0", "A-1<1.0.0", "A-2<2.0.0")
	status, err := ReadStatus(t.Context(), k.Store, time.Date(2024, 2, 1, 3, 0, 0, 0, time.UTC), 2*time.Hour)
	if err != nil || len(status.Feeds) != 1 || status.Feeds[0].Stale || !status.Feeds[0].AsOf.Equal(time.Date(2024, 2, 1, 2, 0, 0, 0, time.UTC)) {
		t.Errorf("status: %+v, %v", status, err)
	}
	if status, err = ReadStatus(t.Context(), k.Store, time.Date(2024, 2, 1, 5, 0, 0, 0, time.UTC), 2*time.Hour); err != nil || !slices.Equal(status.Stale(), []string{"npm"}) {
		t.Errorf("three hours later: %+v, %v", status, err)
	}
	bucket(t, dir, map[string]int{"A-1": 1, "A-2": 3, "A-3": 4}, nil)
	want("changed", "npm 2: 3, +1 ~1 -0", "A-1<1.0.0", "A-2<3.0.0", "A-3<4.0.0")
	bucket(t, dir, map[string]int{"A-1": 5, "A-2": 3, "A-3": 4}, map[string]string{"A-1": `{"id":"A-1","affected":[{}]}`})
	want("one cannot be read", "npm 2: 3, +0 ~0 -0 refused "+filepath.Join(dir, "npm", "A-1.json"), "A-1<1.0.0", "A-2<3.0.0", "A-3<4.0.0")
	bucket(t, dir, map[string]int{"A-3": 6}, nil)
	want("shrunk", "conflict", "A-1<1.0.0", "A-2<3.0.0", "A-3<4.0.0")
	k.AllowShrink = true
	want("shrunk, as it may", "npm 3: 1, +0 ~1 -2", "A-3<6.0.0")
	k.Fetcher.Base = "file://" + dir
	bucket(t, dir, map[string]int{"A-4": 4}, nil)
	want("another base is read as a whole", "npm 4: 1, +1 ~0 -1", "A-4<4.0.0")
	k.Fetcher.Base = filepath.Join(dir, "nothing")
	want("no base", "not found", "A-4<4.0.0")
}

// TestRefusedInArchive keeps what was known under the name of a record that
// cannot be read.
func TestRefusedInArchive(t *testing.T) {
	dir := t.TempDir()
	k := newKeeper(t, dir)
	bucket(t, dir, map[string]int{"A-1": 1, "A-2": 2}, nil)
	zipped := filepath.Join(dir, "npm", "all.zip")
	var got []string
	report := func(r Report) error { got = append(got, said(r, nil)); return nil }
	if err := k.Import(t.Context(), zipped, report); err != nil {
		t.Fatal(err)
	}
	broken := map[string]string{"A-1": "{"}
	for i := range 150 {
		broken[fmt.Sprintf("B-%d", i)] = "{"
	}
	bucket(t, dir, map[string]int{"A-2": 3}, broken)
	if err := k.Import(t.Context(), zipped, report); err != nil {
		t.Fatal(err)
	}
	if got[0] != "npm 1: 2, +2 ~0 -0" || !strings.HasPrefix(got[1], "npm 2: 2, +0 ~1 -0 refused A-1.json refused B-0.json") || !strings.HasSuffix(got[1], "and 51 more") {
		t.Errorf("%q", got)
	}
	if diff := cmp.Diff([]string{"A-1<1.0.0", "A-2<3.0.0"}, k.fixes(t)); diff != "" {
		t.Errorf("known (-want +got):\n%s", diff)
	}
}

func TestImport(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "kev.json"), `{"catalogVersion":"1","vulnerabilities":[{"cveID":"CVE-2021-44228","dateAdded":"2021-12-10"}]}`)
	put(t, filepath.Join(dir, "epss.csv"), "cve,epss,percentile\nCVE-2021-44228,0.97,0.999\nCVE-2014-0160,0.5,0.9\n")
	put(t, filepath.Join(dir, "main.json"), `{"distroversion":"v3.20","reponame":"main","packages":[{"pkg":{"name":"a","secfixes":{"1-r0":["CVE-2024-0001"]}}}]}`)
	put(t, filepath.Join(dir, "deep", "A-1.json"), record("A-1", 1))
	k := newKeeper(t, "")
	var got []string
	if err := k.Import(t.Context(), dir, func(r Report) error { got = append(got, r.Kind+": "+said(r, nil)); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want := []string{
		"alpine secdb: Alpine:v3.20 main 1: 1, +1 ~0 -0",
		"epss: EPSS 0: 2, +2 ~0 -0",
		"kev: KEV 0: 1, +1 ~0 -0",
		"osv: " + filepath.Base(dir) + " 2: 1, +1 ~0 -0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	err := k.Store.View(t.Context(), func(r store.Reader) error {
		exploits, err := r.Exploits(t.Context(), []string{"CVE-2021-44228"})
		if e := exploits["CVE-2021-44228"]; e.Probability != 0.97 || e.KnownSince.Year() != 2021 {
			t.Errorf("exploits: %+v", exploits)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := k.Import(t.Context(), filepath.Join(dir, "nothing"), nil); dossier.KindOf(err) != dossier.KindNotFound {
		t.Errorf("nothing: %v", err)
	}
}

// TestRealFeeds imports what is real, twice, and asks for a package of it.
func TestRealFeeds(t *testing.T) {
	dir := os.Getenv("DOSSIER_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	if _, err := os.Stat(filepath.Join(dir, "feeds", "AlmaLinux-9.zip")); err != nil {
		t.Skipf("SKIPPED: no real data: %v", err)
	}
	k := newKeeper(t, "")
	for i, want := range []string{"AlmaLinux-9 1: 1783, +1783 ~0 -0", "AlmaLinux-9 1: 1783, +0 ~0 -0"} {
		err := k.Import(t.Context(), filepath.Join(dir, "feeds", "AlmaLinux-9.zip"), func(r Report) error {
			if got := said(r, nil); got != want {
				t.Errorf("%d: %s, want %s", i, got, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p := dossier.Package{Type: "rpm", Ecosystem: "AlmaLinux:9", Distribution: "almalinux 9", Name: "openssl-libs", Version: "1:3.0.1-20.el9", Vendor: "AlmaLinux"}
	err := k.Store.View(t.Context(), func(r store.Reader) error {
		list, err := r.Advisories(t.Context(), store.AdvisoryQuery{Keys: match.Keys(p)})
		if err != nil {
			return err
		}
		findings := match.Match(p, list).Findings
		if len(findings) < 10 {
			t.Errorf("%d findings in an openssl of 2022", len(findings))
		}
		for _, f := range findings {
			b, err := r.AdvisoryBytes(t.Context(), f.Proof[0].SHA256)
			if err != nil {
				return err
			}
			a, err := advisory.Parse(b, advisory.Limits{})
			if err != nil {
				return err
			}
			a.Feed = f.Proof[0].Feed
			again := match.Match(p, []dossier.Advisory{a}).Findings
			if !slices.ContainsFunc(again, func(g dossier.Finding) bool { return g.ID == f.ID && cmp.Equal(g.Proof[0], f.Proof[0]) }) {
				t.Errorf("%s cannot be judged again from the bytes of its proof", f.ID)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
