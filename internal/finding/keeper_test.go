// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
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

// begin is when the clock of a world starts.
var begin = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// world is a keeper with its stores, and a clock that moves with each write.
type world struct {
	*Keeper
	t       *testing.T
	dir     string
	minutes int
	changes []store.FindingChange // since they were looked at last
}

func open(t *testing.T, path string, now func() time.Time) store.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// newWorld returns an empty world with advisories in a database of their own.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.Keeper = &Keeper{
		Store: open(t, filepath.Join(w.dir, "dossier.db"), w.now), Advisories: open(t, filepath.Join(w.dir, "advisories.db"), w.now),
		Changed: func(_ context.Context, _ store.Tx, c []store.FindingChange) error {
			w.changes = append(w.changes, c...)
			return nil
		},
	}
	return w
}

func (w *world) now() time.Time { return begin.Add(time.Duration(w.minutes) * time.Minute) }

// osv is a record: "ID" with names that mean the same, and a package with the
// version that fixes it ("" for none).
func osv(id string, aliases []string, ecosystem, name, fixed string) []byte {
	type event map[string]string
	events := []event{{"introduced": "0"}}
	if fixed != "" {
		events = append(events, event{"fixed": fixed})
	}
	b, err := json.Marshal(map[string]any{
		"id": id, "aliases": aliases,
		"affected": []any{map[string]any{
			"package": map[string]string{"ecosystem": ecosystem, "name": name},
			"ranges":  []any{map[string]any{"type": "ECOSYSTEM", "events": events}},
		}},
	})
	if err != nil {
		panic(err)
	}
	return b
}

// feed replaces a feed.
func (w *world) feed(name string, records ...[]byte) {
	w.t.Helper()
	w.minutes++
	err := w.Advisories.Update(w.t.Context(), func(tx store.Tx) error {
		_, err := tx.PutAdvisories(w.t.Context(), store.FeedUpdate{Feed: name, Source: "a test", AsOf: w.now(), Whole: true, MayShrink: 1, Records: each(w.t, records)})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func each(t *testing.T, records [][]byte) iter.Seq2[store.Advisory, error] {
	return func(yield func(store.Advisory, error) bool) {
		for _, b := range records {
			a, err := advisory.Parse(b, advisory.Limits{})
			if err != nil {
				t.Errorf("%s: %v", b, err)
			}
			if !yield(store.Advisory{Advisory: a, Bytes: b}, err) {
				return
			}
		}
	}
}

// image keeps an image of one layer that holds packages.
func (w *world) image(name string, packages ...dossier.Package) dossier.Digest {
	w.t.Helper()
	w.minutes++
	var at []dossier.PackageAt
	for _, p := range packages {
		at = append(at, dossier.PackageAt{Package: p, Path: "var/lib/dpkg/status"})
	}
	set := store.NewPackageSet(dossier.FromBytes([]byte("layer of "+name)), at)
	err := w.Store.Update(w.t.Context(), func(tx store.Tx) error {
		if err := tx.PutPackages(w.t.Context(), set, true); err != nil {
			return err
		}
		return tx.PutImageContents(w.t.Context(), store.ImageContents{
			Manifest: dossier.FromBytes([]byte(name)), Serial: 1, At: w.now(), Sets: []dossier.Digest{set.Digest},
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return set.Digest
}

func (w *world) drain() {
	w.t.Helper()
	w.minutes++
	if err := w.Drain(w.t.Context(), nil); err != nil {
		w.t.Fatal(err)
	}
}

// found returns the findings of a set, "ID package version fixed".
func (w *world) found(set dossier.Digest, at time.Time) []string {
	w.t.Helper()
	out := []string{}
	err := w.Store.View(w.t.Context(), func(r store.Reader) error {
		list, err := r.FindingsOfSets(w.t.Context(), []dossier.Digest{set}, at)
		for _, f := range list {
			out = append(out, fmt.Sprintf("%s %s %s %s", f.ID, f.Finding.Package.Name, f.Finding.Package.Version, f.FixedIn))
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func same[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func deb(name, version string) dossier.Package {
	return dossier.Package{PURL: "pkg:deb/debian/" + name + "@" + version, Type: "deb", Ecosystem: "Debian:12", Distribution: "debian 12", Name: name, Version: version}
}

// TestFindingsFollow changes advisories and packages, and looks at what was known
// when.
func TestFindingsFollow(t *testing.T) {
	w := newWorld(t)
	first := w.image("first", deb("bash", "5.1"), deb("openssl", "3.0"))
	w.drain()
	same(t, "without advisories", []string{}, w.found(first, time.Time{}))
	noAdvisories := w.now()

	w.feed("Debian", osv("CVE-2024-0001", nil, "Debian:12", "openssl", "3.1"), osv("CVE-2024-0002", nil, "Debian:12", "bash", "5.0"))
	w.drain()
	one := []string{"CVE-2024-0001 openssl 3.0 3.1"}
	same(t, "the first advisories", one, w.found(first, time.Time{}))
	same(t, "before them", []string{}, w.found(first, noAdvisories))
	known := w.now()

	second := w.image("second", deb("openssl", "3.0"), deb("openssl", "3.1"), deb("bash", "4.0"))
	w.drain()
	same(t, "a new image", []string{"CVE-2024-0001 openssl 3.0 3.1", "CVE-2024-0002 bash 4.0 5.0"}, w.found(second, time.Time{}))

	w.changes = nil
	w.feed("Debian", osv("CVE-2024-0001", nil, "Debian:12", "openssl", "3.2"), osv("CVE-2024-0002", nil, "Debian:12", "bash", "5.0"))
	w.drain()
	same(t, "a corrected advisory", []string{"CVE-2024-0001 openssl 3.0 3.2", "CVE-2024-0001 openssl 3.1 3.2", "CVE-2024-0002 bash 4.0 5.0"}, w.found(second, time.Time{}))
	same(t, "what it was before", one, w.found(first, known))
	if len(w.changes) != 1 || w.changes[0].Gone {
		t.Errorf("%+v, want one package to be vulnerable now", w.changes)
	}

	w.changes = nil
	w.feed("Debian", osv("CVE-2024-0002", nil, "Debian:12", "bash", "5.0"))
	w.drain()
	same(t, "an advisory that is gone", []string{"CVE-2024-0002 bash 4.0 5.0"}, w.found(second, time.Time{}))
	if len(w.changes) != 2 || !w.changes[0].Gone || !w.changes[1].Gone {
		t.Errorf("%+v, want two packages not to be vulnerable any more", w.changes)
	}
	same(t, "the day it was known", one, w.found(first, known))
}

// TestOnlyTheProofChanges says a thing again in other bytes.
func TestOnlyTheProofChanges(t *testing.T) {
	w := newWorld(t)
	set := w.image("a", deb("openssl", "3.0"))
	record := osv("CVE-2024-0001", nil, "Debian:12", "openssl", "3.1")
	w.feed("Debian", record)
	w.drain()
	since := w.now()
	w.changes = nil
	other := append(slices.Clone(record[:len(record)-1]), `,"modified":"2024-02-02T00:00:00Z"}`...)
	w.feed("Debian", other)
	w.drain()
	err := w.Store.View(t.Context(), func(r store.Reader) error {
		list, err := r.FindingsOfSets(t.Context(), []dossier.Digest{set}, time.Time{})
		if err != nil || len(list) != 1 {
			return fmt.Errorf("%v, %w", list, err)
		}
		if f := list[0]; !f.Since.Equal(since) || f.Proof[0].SHA256 != dossier.FromBytes(other) {
			t.Errorf("known since %s, proven by %s", f.Since, f.Proof[0].SHA256)
		}
		return nil
	})
	if err != nil || len(w.changes) != 0 {
		t.Errorf("%v, changes %v", err, w.changes)
	}
}

// TestOtherAdvisories throws the database of advisories away and begins a new one.
func TestOtherAdvisories(t *testing.T) {
	w := newWorld(t)
	set := w.image("a", deb("openssl", "3.0"))
	for i := range 4 {
		w.feed("Debian", osv("CVE-2024-0001", nil, "Debian:12", "openssl", fmt.Sprint("3.", i+1)))
		w.drain()
	}
	w.Advisories = open(t, filepath.Join(w.dir, "other.db"), w.now)
	w.feed("Debian", osv("CVE-2024-0002", nil, "Debian:12", "openssl", "4"))
	w.drain()
	same(t, "findings", []string{"CVE-2024-0002 openssl 3.0 4"}, w.found(set, time.Time{}))
}

// TestFindingsAreThoseOfMatch lets advisories, feeds and packages come and go as a
// seed decides, with steps in between, and compares what is kept with what
// match.Match finds among all.
func TestFindingsAreThoseOfMatch(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t)
			cve := func() string { return fmt.Sprintf("CVE-2024-%04d", rnd.IntN(12)) }
			names := []string{"bash", "openssl", "zlib", "curl"}
			version := func() string {
				if rnd.IntN(10) == 0 {
					return "" // cannot be compared
				}
				return fmt.Sprintf("%d.%d", rnd.IntN(4), rnd.IntN(4))
			}
			var sets []dossier.Digest
			feeds := map[string]map[string][]byte{"Debian": {}, "other": {}}
			for step := range 60 {
				switch rnd.IntN(3) {
				case 0:
					p := deb(names[rnd.IntN(len(names))], version())
					if rnd.IntN(3) == 0 {
						owner := deb("python3-"+p.Name, version())
						p = dossier.Package{PURL: "pkg:pypi/" + p.Name, Type: "pypi", Ecosystem: "PyPI", Name: p.Name, Version: "1." + fmt.Sprint(rnd.IntN(5)), Owner: &owner}
					}
					sets = append(sets, w.image(fmt.Sprint("image", step), p, deb("base", "1")))
				default:
					name := []string{"Debian", "other"}[rnd.IntN(2)]
					f := feeds[name]
					id := fmt.Sprintf("X-%d", rnd.IntN(30))
					if rnd.IntN(4) == 0 {
						delete(f, id)
					} else {
						ecosystem := []string{"Debian:12", "Debian:12", "PyPI"}[rnd.IntN(3)]
						f[id] = osv(id, []string{cve(), fmt.Sprintf("X-%d", rnd.IntN(30))}, ecosystem, names[rnd.IntN(len(names))], fmt.Sprintf("%d.%d", rnd.IntN(4), rnd.IntN(4)))
					}
					var list [][]byte
					for _, b := range f {
						list = append(list, b)
					}
					w.feed(name, list...)
				}
				if rnd.IntN(3) == 0 {
					if _, err := w.Step(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			w.drain()
			w.compareWithMatch(sets)
		})
	}
}

// compareWithMatch compares what is kept of the packages of sets with what
// match.Match finds.
func (w *world) compareWithMatch(sets []dossier.Digest) {
	w.t.Helper()
	want, got := map[string][]dossier.Finding{}, map[string][]dossier.Finding{}
	var packages []store.MatchedPackage
	err := w.Store.View(w.t.Context(), func(r store.Reader) (err error) {
		if packages, err = r.PackagesOfSets(w.t.Context(), sets, time.Time{}); err != nil {
			return err
		}
		held, err := r.FindingsOfSets(w.t.Context(), sets, time.Time{})
		for _, h := range held {
			key := h.Layer.Short() + " " + h.Finding.Package.PURL
			h.Finding.Package.Layer, h.Finding.Package.Path = "", ""
			got[key] = append(got[key], h.Finding)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	total := 0
	err = w.Advisories.View(w.t.Context(), func(r store.Reader) error {
		for _, p := range packages {
			list, err := r.Advisories(w.t.Context(), store.AdvisoryQuery{Keys: match.Keys(p.PackageAt.Package)})
			if err != nil {
				return err
			}
			result := match.Match(p.PackageAt.Package, list)
			if result.Unclear != p.Unclear {
				w.t.Errorf("%s: unclear %q, want %q", p.PURL, p.Unclear, result.Unclear)
			}
			key := p.Layer.Short() + " " + p.PURL
			if want[key] = append(want[key], result.Findings...); len(want[key]) == 0 {
				delete(want, key)
			}
			total += len(result.Findings)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range []map[string][]dossier.Finding{want, got} {
		for _, list := range m {
			slices.SortFunc(list, func(a, b dossier.Finding) int { return strings.Compare(a.ID, b.ID) })
		}
	}
	same(w.t, "findings", want, got)
	if total == 0 {
		w.t.Error("nothing was found")
	}
}
