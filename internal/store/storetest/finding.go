// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

func findingCases() []testCase {
	return []testCase{
		{"packages wait to be compared", packagesWait},
		{"findings are replaced by name", findingsAreReplaced},
		{"a finding in other bytes is the same", findingInOtherBytes},
		{"what was found at a time stays known of it", findingsAsOf},
		{"findings are found by any name", findingsByName},
		{"sets tell what they are exposed to", setsAreExposed},
		{"with what packages were compared", comparedWith},
		{"one step at a time", oneStepAtATime},
	}
}

// vulnerable makes a finding: "CVE-1 alias...", fixed in a version.
func vulnerable(ids, fixed string) dossier.Finding {
	list := strings.Fields(ids)
	f := dossier.Finding{ID: list[0], Aliases: list[1:], Severity: dossier.SeverityHigh, State: dossier.Unfixed, FixedIn: fixed,
		Proof: []dossier.Proof{{Advisory: list[0], SHA256: digest(ids + fixed), Fixed: fixed}}}
	if fixed != "" {
		f.State = dossier.Fixable
	}
	return f
}

// generation returns the generation that findings have now.
func generation(t testing.TB, s store.Store) int64 {
	t.Helper()
	return read(t, s, func(r store.Reader) (store.MatchState, error) { return r.MatchState(t.Context(), time.Time{}) }).Generation
}

// putMatched takes a step.
func putMatched(t testing.TB, s store.Store, m store.Matched) []store.FindingChange {
	t.Helper()
	m.Generation = generation(t, s)
	return written(t, s, func(tx store.Tx) ([]store.FindingChange, error) { return tx.PutMatched(t.Context(), m) })
}

// unmatched returns the packages that wait, by name.
func unmatched(t testing.TB, s store.Store, rules, limit int) map[string]int64 {
	t.Helper()
	list := read(t, s, func(r store.Reader) ([]store.KnownPackage, error) {
		return r.UnmatchedPackages(t.Context(), rules, limit)
	})
	out := map[string]int64{}
	for _, p := range list {
		out[p.Name] = p.ID
	}
	return out
}

// matched is a package that was compared, by its name as key.
func matched(id int64, name string, findings ...dossier.Finding) store.PackageFindings {
	return store.PackageFindings{Package: id, Findings: findings, Rules: 1, Ecosystem: "Debian:12", Keys: []match.Key{{Ecosystem: "Debian:12", Name: name}}}
}

// foundIn returns the findings of sets, "ID PACKAGE PATH fixed".
func foundIn(t testing.TB, s store.Store, at time.Time, sets ...dossier.Digest) []string {
	t.Helper()
	list := read(t, s, func(r store.Reader) ([]store.HeldFinding, error) { return r.FindingsOfSets(t.Context(), sets, at) })
	out := []string{}
	for _, f := range list {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", f.ID, f.Finding.Package.Name, f.Path, f.FixedIn)))
	}
	slices.Sort(out)
	return out
}

// setOf keeps a set of packages, and returns it with the packages by name.
func setOf(t *testing.T, s store.Store, name string, packages ...dossier.PackageAt) (dossier.Digest, map[string]int64) {
	t.Helper()
	set := store.NewPackageSet(digest(name), packages)
	putContents(t, s, "image "+name, 1, set)
	return set.Digest, unmatched(t, s, 1, 100)
}

func packagesWait(t *testing.T, s store.Store) {
	_, ids := setOf(t, s, "a", deb("bash", "5.2"), deb("libssl", "3.0"))
	if len(ids) != 2 {
		t.Fatalf("%v wait, want two", ids)
	}
	if got := unmatched(t, s, 1, 1); len(got) != 1 {
		t.Errorf("%v, want one", got)
	}
	under := func(names ...string) []string {
		var keys []match.Key
		for _, n := range names {
			keys = append(keys, match.Key{Ecosystem: "Debian:12", Name: n})
		}
		list := read(t, s, func(r store.Reader) ([]store.KnownPackage, error) { return r.PackagesUnder(t.Context(), keys) })
		var out []string
		for _, p := range list {
			out = append(out, strings.TrimSpace(p.Name+" "+p.Unclear))
		}
		return out
	}
	if got := under("bash", "libssl"); got != nil {
		t.Errorf("%v are found before they were compared", got)
	}
	unclear := matched(ids["bash"], "bash")
	unclear.Unclear = "why"
	putMatched(t, s, store.Matched{Packages: []store.PackageFindings{unclear, matched(ids["libssl"], "ssl")}})
	same(t, "those that wait", map[string]int64{}, unmatched(t, s, 1, 100))
	same(t, "those that wait for newer rules", ids, unmatched(t, s, 2, 100))
	same(t, "under keys", []string{"bash why", "libssl"}, under("bash", "ssl", "other"))
	same(t, "under one", []string{"libssl"}, under("ssl"))
	setOf(t, s, "b", deb("bash", "5.2"), deb("zsh", "1"))
	if got := unmatched(t, s, 1, 100); len(got) != 1 || got["zsh"] == 0 {
		t.Errorf("%v wait, want zsh", got)
	}
	putMatched(t, s, store.Matched{Restart: true})
	if got := unmatched(t, s, 1, 100); len(got) != 3 {
		t.Errorf("%v wait after a restart, want all", got)
	}
}

func findingsAreReplaced(t *testing.T, s store.Store) {
	set, ids := setOf(t, s, "a", deb("bash", "5.2"), deb("libssl", "3.0"))
	bash, ssl := ids["bash"], ids["libssl"]
	same(t, "first", []store.FindingChange{{Package: bash, Vulnerability: "CVE-1"}, {Package: bash, Vulnerability: "CVE-2"}, {Package: ssl, Vulnerability: "CVE-2"}},
		putMatched(t, s, store.Matched{Packages: []store.PackageFindings{
			matched(bash, "bash", vulnerable("CVE-1 GHSA-a", ""), vulnerable("CVE-2", "6")), matched(ssl, "ssl", vulnerable("CVE-2", "4"))}}))
	same(t, "the same again", nil, putMatched(t, s, store.Matched{Packages: []store.PackageFindings{
		{Package: bash, Names: []string{"GHSA-a"}, Findings: []dossier.Finding{vulnerable("CVE-1 GHSA-a", "")}}}}))
	same(t, "one that is fixed now", nil, putMatched(t, s, store.Matched{Packages: []store.PackageFindings{
		{Package: bash, Names: []string{"CVE-1", "GHSA-a"}, Findings: []dossier.Finding{vulnerable("CVE-1 GHSA-a", "5.3")}}}}))
	path := " var/lib/dpkg/status"
	same(t, "then", []string{"CVE-1 bash" + path + " 5.3", "CVE-2 bash" + path + " 6", "CVE-2 libssl" + path + " 4"}, foundIn(t, s, time.Time{}, set))
	same(t, "one that is gone, by another of its names", []store.FindingChange{{Package: bash, Vulnerability: "CVE-1", Gone: true}},
		putMatched(t, s, store.Matched{Packages: []store.PackageFindings{{Package: bash, Names: []string{"GHSA-a"}}}}))
	same(t, "one that got another name", []store.FindingChange{{Package: bash, Vulnerability: "CVE-3"}, {Package: bash, Vulnerability: "CVE-2", Gone: true}},
		putMatched(t, s, store.Matched{Packages: []store.PackageFindings{
			{Package: bash, Names: []string{"CVE-2", "CVE-3"}, Findings: []dossier.Finding{vulnerable("CVE-3 CVE-2", "6")}}}}))
	same(t, "at last", []string{"CVE-2 libssl" + path + " 4", "CVE-3 bash" + path + " 6"}, foundIn(t, s, time.Time{}, set))
}

func findingInOtherBytes(t *testing.T, s store.Store) {
	set, ids := setOf(t, s, "a", deb("bash", "5.2"))
	putMatched(t, s, store.Matched{Packages: []store.PackageFindings{matched(ids["bash"], "bash", vulnerable("CVE-1", ""))}})
	held := func() store.HeldFinding {
		list := read(t, s, func(r store.Reader) ([]store.HeldFinding, error) {
			return r.FindingsOfSets(t.Context(), []dossier.Digest{set}, time.Time{})
		})
		if len(list) != 1 {
			t.Fatalf("%v, want one", list)
		}
		return list[0]
	}
	was := held()
	again := vulnerable("CVE-1", "")
	again.Proof[0].SHA256 = digest("other bytes")
	same(t, "changes", nil, putMatched(t, s, store.Matched{Packages: []store.PackageFindings{{Package: ids["bash"], Names: []string{"CVE-1"}, Findings: []dossier.Finding{again}}}}))
	if now := held(); now.Proof[0].SHA256 != digest("other bytes") || !now.Since.Equal(was.Since) {
		t.Errorf("since %s by %s, was since %s", now.Since, now.Proof[0].SHA256, was.Since)
	}
}

func findingsAsOf(t *testing.T, s store.Store) {
	set, ids := setOf(t, s, "a", deb("bash", "5.2"))
	pause := func() time.Time {
		time.Sleep(time.Millisecond)
		at := time.Now()
		time.Sleep(time.Millisecond)
		return at
	}
	before := pause()
	putMatched(t, s, store.Matched{Packages: []store.PackageFindings{matched(ids["bash"], "bash", vulnerable("CVE-1", ""))}})
	first := pause()
	putMatched(t, s, store.Matched{Packages: []store.PackageFindings{{Package: ids["bash"], Names: []string{"CVE-1"}, Findings: []dossier.Finding{vulnerable("CVE-1", "6")}}}})
	second := pause()
	putMatched(t, s, store.Matched{Packages: []store.PackageFindings{{Package: ids["bash"], Names: []string{"CVE-1"}}}})
	path := " var/lib/dpkg/status"
	same(t, "before", []string{}, foundIn(t, s, before, set))
	same(t, "at first", []string{"CVE-1 bash" + path}, foundIn(t, s, first, set))
	same(t, "then", []string{"CVE-1 bash" + path + " 6"}, foundIn(t, s, second, set))
	same(t, "now", []string{}, foundIn(t, s, time.Time{}, set))
	for at, want := range map[time.Time]bool{before: false, first: true} {
		list := read(t, s, func(r store.Reader) ([]store.MatchedPackage, error) {
			return r.PackagesOfSets(t.Context(), []dossier.Digest{set}, at)
		})
		if len(list) != 1 || list[0].Matched != want {
			t.Errorf("at %s: %+v, want one that is compared: %v", at, list, want)
		}
	}
}

func findingsByName(t *testing.T, s store.Store) {
	_, ids := setOf(t, s, "a", deb("bash", "5.2"), deb("libssl", "3.0"))
	putMatched(t, s, store.Matched{Packages: []store.PackageFindings{
		matched(ids["bash"], "bash", vulnerable("CVE-1 GHSA-a", "")), matched(ids["libssl"], "ssl", vulnerable("CVE-1 DSA-1", "4"))}})
	named := func(name string, limit int) []string {
		list := read(t, s, func(r store.Reader) ([]store.KnownFinding, error) {
			return r.FindingsNamed(t.Context(), name, time.Time{}, limit)
		})
		out := []string{}
		for _, f := range list {
			out = append(out, f.ID+" "+f.Finding.Package.Name)
		}
		slices.Sort(out)
		return out
	}
	same(t, "CVE-1", []string{"CVE-1 bash", "CVE-1 libssl"}, named("cve-1", 10))
	same(t, "GHSA-a", []string{"CVE-1 bash"}, named("GHSA-A", 10))
	same(t, "others", []string{}, named("CVE-2", 10))
	if got := named("CVE-1", 1); len(got) != 1 {
		t.Errorf("%v, want one", got)
	}
	putMatched(t, s, store.Matched{Packages: []store.PackageFindings{{Package: ids["bash"], Names: []string{"CVE-1"}}}})
	same(t, "what is left of CVE-1", []string{"CVE-1 libssl"}, named("CVE-1", 10))
}

func setsAreExposed(t *testing.T, s store.Store) {
	twice := deb("bash", "5.2")
	twice.Path = "elsewhere"
	a, ids := setOf(t, s, "a", deb("bash", "5.2"), twice, deb("libssl", "3.0"), deb("zsh", "1"))
	b, _ := setOf(t, s, "b", deb("libssl", "3.0"))
	foreign := matched(ids["libssl"], "ssl", vulnerable("CVE-1", ""))
	foreign.Reason = "built by others"
	putMatched(t, s, store.Matched{Packages: []store.PackageFindings{matched(ids["bash"], "bash", vulnerable("CVE-1", ""), vulnerable("CVE-2", "6")), foreign}})
	got := read(t, s, func(r store.Reader) (map[dossier.Digest]store.SetExposure, error) {
		return r.Exposures(t.Context(), []dossier.Digest{a, b, digest("other")}, time.Time{})
	})
	high := func(id string, state dossier.FixState) store.SetFinding {
		return store.SetFinding{ID: id, Severity: dossier.SeverityHigh, State: state}
	}
	ssl := store.PackagesAlike{Count: 1, Matched: true, Ecosystem: "Debian:12", Reason: "built by others"}
	want := map[dossier.Digest]store.SetExposure{
		a: {
			Findings: []store.SetFinding{high("CVE-1", dossier.Unfixed), high("CVE-2", dossier.Fixable)},
			Packages: []store.PackagesAlike{{Count: 1}, {Count: 1, Matched: true, Ecosystem: "Debian:12"}, ssl},
		},
		b: {Findings: []store.SetFinding{high("CVE-1", dossier.Unfixed)}, Packages: []store.PackagesAlike{ssl}},
	}
	same(t, "exposures", want, got)
	changed := func(since int64, limit int) int {
		return len(read(t, s, func(r store.Reader) ([]dossier.Digest, error) { return r.SetsChanged(t.Context(), since, limit) }))
	}
	now := generation(t, s)
	if all, one, none := changed(now-1, 10), changed(now-1, 1), changed(now, 10); all != 2 || one != 1 || none != 0 {
		t.Errorf("%d sets changed, with a limit %d, since then %d; want 2, 1, 0", all, one, none)
	}
	putMatched(t, s, store.Matched{Packages: []store.PackageFindings{{Package: ids["bash"], Names: []string{"CVE-2"}, Findings: []dossier.Finding{vulnerable("CVE-2", "6")}}}})
	if n := changed(now, 10); n != 0 {
		t.Errorf("%d sets changed when nothing did", n)
	}
	putMatched(t, s, store.Matched{Packages: []store.PackageFindings{{Package: ids["bash"], Names: []string{"CVE-2"}}}})
	if n := changed(now, 10); n != 1 {
		t.Errorf("%d sets changed when a finding went, want 1", n)
	}
}

func comparedWith(t *testing.T, s store.Store) {
	feed := func(name string, serial int64, asOf int) store.Feed {
		return store.Feed{Feed: dossier.Feed{Ecosystem: name, Serial: serial, AsOf: minute(asOf), Records: 5}, Source: "a test", ChangedAt: minute(int(serial))}
	}
	state := func(at time.Time) store.MatchState {
		got := read(t, s, func(r store.Reader) (store.MatchState, error) { return r.MatchState(t.Context(), at) })
		got.Generation = 0
		return got
	}
	put := func(want store.MatchState) {
		t.Helper()
		putMatched(t, s, store.Matched{State: &want})
		same(t, "state", want, state(time.Time{}))
	}
	before := time.Now()
	time.Sleep(time.Millisecond)
	first := store.MatchState{
		Position: store.AdvisoryPosition{Serial: 3, Version: 9}, Feeds: []store.Feed{feed("A", 2, 5), feed("B", 3, 5)},
		Covers: map[string][]string{"Debian:12": {"A", "B"}, "Debian:11": {"A"}},
	}
	put(first)
	time.Sleep(time.Millisecond)
	then := time.Now()
	time.Sleep(time.Millisecond)
	second := first
	second.Feeds = []store.Feed{feed("A", 2, 8), feed("C", 4, 8)}
	second.Position, second.Covers = store.AdvisoryPosition{Serial: 4, Version: 1}, map[string][]string{"Debian:12": {"A"}, "npm": {"C"}}
	put(second)
	same(t, "before", store.MatchState{Covers: map[string][]string{}}, state(before))
	was := state(then)
	same(t, "what covered then", first.Covers, was.Covers)
	if len(was.Feeds) != 2 || was.Feeds[1].Ecosystem != "B" || was.Feeds[0].AsOf.After(then) {
		t.Errorf("feeds then: %+v", was.Feeds)
	}
}

func oneStepAtATime(t *testing.T, s store.Store) {
	_, ids := setOf(t, s, "a", deb("bash", "5.2"))
	g := generation(t, s)
	step := store.Matched{Generation: g, Packages: []store.PackageFindings{matched(ids["bash"], "bash", vulnerable("CVE-1", ""))}}
	update(t, s, func(tx store.Tx) error { _, err := tx.PutMatched(t.Context(), step); return err })
	wantKind(t, s.Update(t.Context(), func(tx store.Tx) error { _, err := tx.PutMatched(t.Context(), step); return err }), dossier.KindConflict)
	done := make(chan error, 2)
	for range 2 {
		go func() {
			done <- s.Update(t.Context(), func(tx store.Tx) error {
				_, err := tx.PutMatched(t.Context(), store.Matched{Generation: g + 1, Restart: true})
				return err
			})
		}()
	}
	a, b := <-done, <-done
	if (a == nil) == (b == nil) {
		t.Errorf("two at a time: %v, %v; want one to have gone first", a, b)
	}
	if now := generation(t, s); now != g+2 {
		t.Errorf("the generation is %d, want %d", now, g+2)
	}
}
