// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/feed"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

// feedTime is when the feeds were read.
func feedTime() time.Time { return time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC) }

// keep returns a store with advisories, by file.
func keep(t *testing.T, files map[string]string) store.Store {
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
	k := feed.Keeper{Store: s, Now: feedTime}
	for name, text := range files {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := k.Import(t.Context(), path, func(feed.Report) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func find(t *testing.T, s store.Store, packages []dossier.PackageAt, o Options) dossier.FindingList {
	t.Helper()
	var list dossier.FindingList
	err := s.View(t.Context(), func(r store.Reader) (err error) {
		list, err = Find(t.Context(), r, packages, o)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// osv is a record that says of npm packages that they are vulnerable before 2.
func osv(id, severity string, names ...string) string {
	affected := ""
	for _, n := range names {
		affected += fmt.Sprintf(`,{"package":{"ecosystem":"npm","name":%q},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"2.0.0"}]}]}`, n)
	}
	return fmt.Sprintf(`{"id":%q,"modified":"2026-01-01T00:00:00Z","affected":[%s],"database_specific":{"severity":%q}}`, id, affected[1:], severity)
}

func npm(name, version, path string) dossier.PackageAt {
	return dossier.PackageAt{Path: path, Package: dossier.Package{PURL: "pkg:npm/" + name + "@" + version, Type: "npm", Ecosystem: "npm", Name: name, Version: version}}
}

func debian(release, name, version string) dossier.PackageAt {
	return dossier.PackageAt{Path: "var/lib/dpkg/status", Package: dossier.Package{PURL: "pkg:deb/debian/" + name + "@" + version, Type: "deb", Ecosystem: "Debian:" + release,
		Distribution: "debian " + release, Name: name, Version: version}}
}

// lines writes findings and what was not judged, a line each.
func lines(list dossier.FindingList) (found, unjudged []string) {
	for _, f := range list.Findings {
		found = append(found, fmt.Sprintf("%s %s %s %s <%s", f.Severity, f.ID, f.Package.PURL, f.Package.Path, f.FixedIn))
	}
	for _, n := range list.NotAssessable {
		unjudged = append(unjudged, n.Package+": "+n.Why)
	}
	return found, unjudged
}

func TestFind(t *testing.T) {
	s := keep(t, map[string]string{
		"A.json": osv("GHSA-a", "LOW", "a"), "B.json": osv("GHSA-b", "HIGH", "a", "b"), "C.json": osv("GHSA-c", "HIGH", "b"),
		"kev.json": `{"catalogVersion":"2026","vulnerabilities":[{"cveID":"GHSA-c","dateAdded":"2026-01-01"}]}`,
	})
	packages := []dossier.PackageAt{npm("a", "1.0.0", "x"), npm("b", "1.0.0", "y"), npm("a", "1.0.0", "z"), npm("a", "3.0.0", "w"), npm("b", "", "v"), debian("12", "bash", "5.2")}
	list := find(t, s, packages, Options{Now: feedTime()})
	found, unjudged := lines(list)
	if diff := cmp.Diff([]string{
		"high GHSA-c pkg:npm/b@1.0.0 y <2.0.0", // known to be exploited
		"high GHSA-b pkg:npm/a@1.0.0 x <2.0.0", "high GHSA-b pkg:npm/a@1.0.0 z <2.0.0", "high GHSA-b pkg:npm/b@1.0.0 y <2.0.0",
		"low GHSA-a pkg:npm/a@1.0.0 x <2.0.0", "low GHSA-a pkg:npm/a@1.0.0 z <2.0.0",
	}, found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"pkg:deb/debian/bash@5.2: no advisories for Debian:12 are loaded", "pkg:npm/b@: its version is not told, and 2 vulnerabilities are known",
	}, unjudged); diff != "" {
		t.Errorf("not assessable (-want +got):\n%s", diff)
	}
	if len(list.Feeds) != 3 || list.Packages != 6 || !list.AsOf.Equal(feedTime()) || list.Stale || len(list.Notes) > 0 {
		t.Errorf("%d feeds, %d packages, as of %v, stale %v, notes %q", len(list.Feeds), list.Packages, list.AsOf, list.Stale, list.Notes)
	}
	slices.Reverse(packages)
	if diff := cmp.Diff(list, find(t, s, packages, Options{Now: feedTime()})); diff != "" {
		t.Errorf("packages in another order:\n%s", diff)
	}
}

// TestFindAsMatch: advisories that are read for many packages at once give what
// match.Match gives when it has all of them.
func TestFindAsMatch(t *testing.T) {
	files := map[string]string{}
	var packages []dossier.PackageAt
	for i := range 3 * keysAtOnce / 2 {
		name := fmt.Sprintf("p%03d", i)
		packages = append(packages, npm(name, "1.0.0", name))
		if i%50 == 0 { // one advisory about packages that are asked for apart
			files[name+".json"] = osv("GHSA-"+name, "HIGH", name, fmt.Sprintf("p%03d", 299-i))
		}
	}
	s := keep(t, files)
	list := find(t, s, packages, Options{Now: feedTime()})
	var want []dossier.Finding
	err := s.View(t.Context(), func(r store.Reader) error {
		want = nil
		for _, p := range packages {
			all, err := r.Advisories(t.Context(), store.AdvisoryQuery{Keys: match.Keys(p.Package)})
			if err != nil {
				return err
			}
			for _, f := range match.Match(p.Package, all).Findings {
				f.Package.Path = p.Path
				want = append(want, f)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(want, Compare)
	if diff := cmp.Diff(want, list.Findings); diff != "" || len(want) != 12 {
		t.Errorf("%d found (-want +got):\n%s", len(want), diff)
	}
}

func TestFindWithoutAdvisories(t *testing.T) {
	s := keep(t, nil)
	err := s.View(t.Context(), func(r store.Reader) error {
		_, err := Find(t.Context(), r, nil, Options{})
		return err
	})
	if dossier.KindOf(err) != dossier.KindNotFound || dossier.HintOf(err) == "" {
		t.Errorf("got %v, want an error that says where to get advisories", err)
	}
}

func TestFindSaysThatFeedsAreOld(t *testing.T) {
	s := keep(t, map[string]string{"A.json": osv("GHSA-a", "LOW", "a")})
	now := feedTime().Add(25 * time.Hour)
	for _, tt := range []struct {
		packages []dossier.PackageAt
		max      time.Duration
		stale    bool
	}{
		{[]dossier.PackageAt{npm("a", "3.0.0", "x")}, 24 * time.Hour, true},
		{[]dossier.PackageAt{npm("a", "3.0.0", "x")}, 26 * time.Hour, false},
		{[]dossier.PackageAt{npm("a", "3.0.0", "x")}, 0, false},
		{[]dossier.PackageAt{debian("12", "bash", "5")}, 24 * time.Hour, false}, // the feed does not matter
	} {
		list := find(t, s, tt.packages, Options{Now: now, MaxAge: tt.max})
		if list.Stale != tt.stale || (len(list.Notes) > 0) != tt.stale {
			t.Errorf("%v, %v: stale %v, notes %q", tt.packages[0].Name, tt.max, list.Stale, list.Notes)
		}
	}
}
