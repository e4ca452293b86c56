// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func packageCases() []testCase {
	return []testCase{
		{"layers that were read", layersThatWereRead},
		{"sets of packages", setsOfPackages},
		{"sets are shared", setsAreShared},
		{"packages are distinct", packagesAreDistinct},
		{"packages are found", packagesAreFound},
		{"contents are replaced", contentsAreReplaced},
		{"images not looked at", imagesNotLookedAt},
	}
}

// deb is a package of Debian, found in dpkg's database.
func deb(name, version string) dossier.PackageAt {
	return dossier.PackageAt{
		Package: dossier.Package{
			PURL: "pkg:deb/debian/" + name + "@" + version, Type: "deb", Ecosystem: "Debian:12", Distribution: "debian 12",
			Name: name, Version: version, Source: strings.TrimPrefix(name, "lib") + "-src",
		},
		Path: "var/lib/dpkg/status",
	}
}

func layersThatWereRead(t *testing.T, s store.Store) {
	put := func(name string, serial, at int) {
		update(t, s, func(tx store.Tx) error {
			return tx.PutLayerRead(t.Context(), store.LayerRead{Digest: digest(name), Serial: serial, At: minute(at)})
		})
	}
	put("a", 1, 5)
	put("b", 1, 3)
	put("c", 2, 1)
	put("c", 1, 9) // an older program does not undo what a newer one did
	got := read(t, s, func(r store.Reader) (map[dossier.Digest]store.LayerRead, error) {
		return r.LayersRead(t.Context(), []dossier.Digest{digest("a"), digest("c"), digest("x")})
	})
	want := map[dossier.Digest]store.LayerRead{
		digest("a"): {Digest: digest("a"), Serial: 1, At: minute(5)},
		digest("c"): {Digest: digest("c"), Serial: 2, At: minute(1)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("LayersRead (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		serial, limit int
		want          []string
	}{{2, 10, []string{"b", "a"}}, {2, 1, []string{"b"}}, {1, 10, nil}, {3, 10, []string{"c", "b", "a"}}, {3, 0, nil}} {
		old := read(t, s, func(r store.Reader) ([]store.LayerRead, error) {
			return r.OldLayers(t.Context(), tt.serial, store.LayerRead{}, tt.limit)
		})
		var names []string
		for _, l := range old {
			names = append(names, nameOf(l.Digest, "a", "b", "c"))
		}
		if diff := cmp.Diff(tt.want, names); diff != "" {
			t.Errorf("OldLayers(%d, %d) (-want +got):\n%s", tt.serial, tt.limit, diff)
		}
	}
	after := store.LayerRead{Digest: digest("b"), Serial: 1, At: minute(3)}
	if old := read(t, s, func(r store.Reader) ([]store.LayerRead, error) { return r.OldLayers(t.Context(), 2, after, 10) }); len(old) != 1 || old[0].Digest != digest("a") {
		t.Errorf("after b: %v, want a", old)
	}
	put("a", 2, 7)
	if old := read(t, s, func(r store.Reader) ([]store.LayerRead, error) {
		return r.OldLayers(t.Context(), 2, store.LayerRead{}, 10)
	}); len(old) != 1 {
		t.Errorf("a layer that was read anew is still old: %v", old)
	}
}

// nameOf returns which of the names a digest stands for.
func nameOf(d dossier.Digest, names ...string) string {
	for _, n := range names {
		if digest(n) == d {
			return n
		}
	}
	return string(d)
}

// members returns the packages of a set, "NAME VERSION LAYER PATH".
func members(t *testing.T, s store.Store, set dossier.Digest) []string {
	t.Helper()
	list := read(t, s, func(r store.Reader) ([]dossier.PackageAt, error) { return collect(r.SetPackages(t.Context(), set)) })
	var out []string
	for _, p := range list {
		out = append(out, fmt.Sprintf("%s %s %s %s", p.Name, p.Version, p.Layer.Short(), p.Path))
	}
	slices.Sort(out)
	return out
}

func setsOfPackages(t *testing.T, s store.Store) {
	layer := digest("layer")
	set := store.NewPackageSet(layer, []dossier.PackageAt{deb("bash", "5.2"), deb("libssl", "3.0"), deb("bash", "5.2"), {Package: deb("bash", "5.2").Package, Path: "elsewhere"}})
	part := set
	part.Packages = set.Packages[:1]
	update(t, s, func(tx store.Tx) error { return tx.PutPackages(t.Context(), part, false) })
	whole := func() bool {
		return read(t, s, func(r store.Reader) (map[dossier.Digest]bool, error) {
			return r.WholeSets(t.Context(), []dossier.Digest{set.Digest, digest("other")})
		})[set.Digest]
	}
	if whole() || len(members(t, s, set.Digest)) != 0 {
		t.Error("a part of a set counts as the whole")
	}
	image := store.ImageContents{Manifest: digest("m"), Serial: 1, At: minute(1), Sets: []dossier.Digest{set.Digest}}
	wantKind(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutImageContents(t.Context(), image) }), dossier.KindNotFound)
	for range 2 { // the second time changes nothing
		update(t, s, func(tx store.Tx) error { return tx.PutPackages(t.Context(), set, true) })
	}
	want := []string{
		"bash 5.2 " + layer.Short() + " elsewhere",
		"bash 5.2 " + layer.Short() + " var/lib/dpkg/status",
		"libssl 3.0 " + layer.Short() + " var/lib/dpkg/status",
	}
	if diff := cmp.Diff(want, members(t, s, set.Digest)); diff != "" || !whole() {
		t.Errorf("whole: %v; members (-want +got):\n%s", whole(), diff)
	}
	more := set
	more.Packages = []dossier.PackageAt{deb("zsh", "1")}
	update(t, s, func(tx store.Tx) error { return tx.PutPackages(t.Context(), more, true) })
	if diff := cmp.Diff(want, members(t, s, set.Digest)); diff != "" {
		t.Errorf("a whole set was changed (-want +got):\n%s", diff)
	}
}

// putContents keeps an image with sets of packages, by layer.
func putContents(t *testing.T, s store.Store, name string, at int, sets ...store.PackageSet) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		c := store.ImageContents{Manifest: digest(name), Serial: 1, At: minute(at)}
		for _, set := range sets {
			if err := tx.PutPackages(t.Context(), set, true); err != nil {
				return err
			}
			c.Sets = append(c.Sets, set.Digest)
		}
		return tx.PutImageContents(t.Context(), c)
	})
}

// holders returns which images have a package that is found by a term, "PACKAGE
// VERSION IMAGE PATH".
func holders(t *testing.T, s store.Store, term string, prefix bool, images ...string) []string {
	t.Helper()
	list := []string{}
	view(t, s, func(r store.Reader) error {
		list = list[:0]
		found, err := r.FindPackages(t.Context(), term, prefix, 100)
		if err != nil {
			return err
		}
		byID := map[int64]dossier.Package{}
		var ids []int64
		for _, p := range found {
			byID[p.ID] = p.Package
			ids = append(ids, p.ID)
		}
		hits, err := r.PackageHolders(t.Context(), ids, 100)
		for _, h := range hits {
			p := byID[h.Package]
			list = append(list, fmt.Sprintf("%s %s %s %s", p.Name, p.Version, nameOf(h.Manifest, images...), h.Path))
		}
		return err
	})
	slices.Sort(list)
	return list
}

func setsAreShared(t *testing.T, s store.Store) {
	base := store.NewPackageSet(digest("base"), []dossier.PackageAt{deb("bash", "5.2"), deb("libssl", "3.0")})
	for i := range 3 {
		app := deb(fmt.Sprint("app", i), "1")
		putContents(t, s, fmt.Sprint("image", i), i, base, store.NewPackageSet(digest(fmt.Sprint("top", i)), []dossier.PackageAt{app}))
	}
	names := []string{"image0", "image1", "image2"}
	want := []string{"libssl 3.0 image0 var/lib/dpkg/status", "libssl 3.0 image1 var/lib/dpkg/status", "libssl 3.0 image2 var/lib/dpkg/status"}
	if diff := cmp.Diff(want, holders(t, s, "libssl", false, names...)); diff != "" {
		t.Errorf("holders (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"app1 1 image1 var/lib/dpkg/status"}, holders(t, s, "app1", false, names...)); diff != "" {
		t.Errorf("holders (-want +got):\n%s", diff)
	}
	if base.Digest == store.NewPackageSet(digest("other"), base.Packages).Digest {
		t.Error("the layer is no part of a set's digest")
	}
}

func packagesAreDistinct(t *testing.T, s store.Store) {
	program := &dossier.Program{OS: "linux", Arch: "amd64", Packages: []string{"example.org/m"}, Symbols: dossier.NewSymbols([]string{"example.org/m.F"})}
	module := dossier.Package{PURL: "pkg:golang/example.org/m@v1", Type: "golang", Ecosystem: "Go", Name: "example.org/m", Version: "1"}
	linked, owned := module, module
	linked.Program = program
	owner := deb("m-tool", "1").Package
	owned.Owner = &owner
	ids := store.PackageIDs([]dossier.PackageAt{{Package: module}, {Package: linked}, {Package: owned}, {Package: module, Path: "other"}})
	if ids[0] != ids[3] || ids[0] == ids[1] || ids[0] == ids[2] || ids[1] == ids[2] {
		t.Errorf("IDs %v: want the first and the last to be equal, no others", ids)
	}
	putContents(t, s, "image", 1, store.NewPackageSet(digest("layer"), []dossier.PackageAt{{Package: module, Path: "a"}, {Package: linked, Path: "b"}, {Package: owned, Path: "c"}}))
	putContents(t, s, "again", 1, store.NewPackageSet(digest("layer2"), []dossier.PackageAt{{Package: linked, Path: "d"}}))
	view(t, s, func(r store.Reader) error {
		found, err := r.FindPackages(t.Context(), "example.org/m", false, 10)
		if err != nil {
			return err
		}
		if len(found) != 3 {
			t.Fatalf("found %d packages, want 3", len(found))
		}
		for _, p := range found {
			got, err := r.Program(t.Context(), p.ID)
			if err != nil {
				return err
			}
			hits, err := r.PackageHolders(t.Context(), []int64{p.ID}, 10)
			if err != nil {
				return err
			}
			want := (*dossier.Program)(nil)
			if len(hits) == 2 {
				want = program
			}
			if diff := cmp.Diff(want, got); diff != "" || p.Program != nil {
				t.Errorf("program of what is at %v (-want +got):\n%s", hits, diff)
			}
			if (p.Owner != nil) != (hits[0].Path == "c") {
				t.Errorf("package at %s has the owner %v", hits[0].Path, p.Owner)
			}
		}
		return nil
	})
	err := s.View(t.Context(), func(r store.Reader) error {
		_, err := r.Program(t.Context(), 1<<40)
		return err
	})
	wantKind(t, err, dossier.KindNotFound)
}

func packagesAreFound(t *testing.T, s store.Store) {
	maven := dossier.PackageAt{Package: dossier.Package{PURL: "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1", Type: "maven", Ecosystem: "Maven",
		Name: "org.apache.logging.log4j:log4j-core", Version: "2.14.1"}, Path: "app.jar"}
	npm := dossier.PackageAt{Package: dossier.Package{PURL: "pkg:npm/%40Scope/Thing@1", Type: "npm", Ecosystem: "npm", Name: "@Scope/Thing", Version: "1"}, Path: "package.json"}
	putContents(t, s, "image", 1, store.NewPackageSet(digest("layer"), []dossier.PackageAt{maven, npm, deb("libssl", "3.0")}))
	for _, tt := range []struct {
		term   string
		prefix bool
		want   string
	}{
		{"log4j-core", false, "org.apache.logging.log4j:log4j-core"},
		{"log4j", true, "org.apache.logging.log4j:log4j-core"},
		{"org.apache.logging.log4j:log4j-core", false, "org.apache.logging.log4j:log4j-core"},
		{"@scope/thing", false, "@Scope/Thing"},
		{"thing", false, "@Scope/Thing"},
		{"ssl-src", false, "libssl"},
		{"libssl", false, "libssl"},
		{"lib", false, ""},
		{"lib%", true, ""},
	} {
		found := read(t, s, func(r store.Reader) ([]store.KnownPackage, error) {
			return r.FindPackages(t.Context(), tt.term, tt.prefix, 10)
		})
		names := ""
		for _, p := range found {
			names += p.Name
		}
		if names != tt.want {
			t.Errorf("FindPackages(%q, %v) = %q, want %q", tt.term, tt.prefix, names, tt.want)
		}
	}
	none := read(t, s, func(r store.Reader) ([]store.PackageHolder, error) { return r.PackageHolders(t.Context(), nil, 10) })
	if len(none) != 0 {
		t.Errorf("no packages are held: %v", none)
	}
}

func contentsAreReplaced(t *testing.T, s store.Store) {
	one := store.NewPackageSet(digest("layer"), []dossier.PackageAt{deb("bash", "5.1")})
	two := store.NewPackageSet(digest("layer"), []dossier.PackageAt{deb("bash", "5.2")})
	putContents(t, s, "image", 1, one)
	putContents(t, s, "other", 2, one)
	putContents(t, s, "image", 3, two, one)
	want := []string{"bash 5.1 image var/lib/dpkg/status", "bash 5.1 other var/lib/dpkg/status", "bash 5.2 image var/lib/dpkg/status"}
	if diff := cmp.Diff(want, holders(t, s, "bash", false, "image", "other")); diff != "" {
		t.Errorf("holders (-want +got):\n%s", diff)
	}
	update(t, s, func(tx store.Tx) error { return tx.PutLook(t.Context(), digest("other"), minute(9)) })
	putContents(t, s, "image", 4)
	if diff := cmp.Diff([]string{"bash 5.1 other var/lib/dpkg/status"}, holders(t, s, "bash", false, "image", "other")); diff != "" {
		t.Errorf("holders (-want +got):\n%s", diff)
	}
	got := read(t, s, func(r store.Reader) (map[dossier.Digest]store.ImageContents, error) {
		return r.ImageContents(t.Context(), []dossier.Digest{digest("image"), digest("other"), digest("none")})
	})
	never := time.Unix(0, 0).UTC()
	wantContents := map[dossier.Digest]store.ImageContents{
		digest("image"): {Manifest: digest("image"), Serial: 1, At: minute(4), Looked: never},
		digest("other"): {Manifest: digest("other"), Serial: 1, At: minute(2), Looked: minute(9), Sets: []dossier.Digest{one.Digest}},
	}
	if diff := cmp.Diff(wantContents, got); diff != "" {
		t.Errorf("ImageContents (-want +got):\n%s", diff)
	}
	old := read(t, s, func(r store.Reader) ([]store.ImageContents, error) {
		return r.OldImages(t.Context(), 2, store.ImageContents{}, 1)
	})
	if len(old) != 1 || old[0].Manifest != digest("other") {
		t.Errorf("the image laid first is %v, want other", old)
	}
}

func imagesNotLookedAt(t *testing.T, s store.Store) {
	for i, name := range []string{"a", "b", "c"} {
		putContents(t, s, name, i)
	}
	look := func(name string, at int) {
		update(t, s, func(tx store.Tx) error { return tx.PutLook(t.Context(), digest(name), minute(at)) })
	}
	look("a", 7)
	look("b", 5)
	look("nobody", 5)
	notLooked := func(since int, after store.ImageContents) string {
		list := read(t, s, func(r store.Reader) ([]store.ImageContents, error) {
			return r.NotLooked(t.Context(), minute(since), after, 10)
		})
		names := ""
		for _, c := range list {
			names += nameOf(c.Manifest, "a", "b", "c")
		}
		return names
	}
	for _, tt := range []struct {
		since int
		after store.ImageContents
		want  string
	}{{9, store.ImageContents{}, "cba"}, {6, store.ImageContents{}, "cb"}, {9, store.ImageContents{Manifest: digest("b"), Looked: minute(5)}, "a"}} {
		if got := notLooked(tt.since, tt.after); got != tt.want {
			t.Errorf("since %d after %v: %s, want %s", tt.since, tt.after.Looked, got, tt.want)
		}
	}
	putContents(t, s, "a", 9) // it does not forget
	if got := notLooked(6, store.ImageContents{}); got != "cb" {
		t.Errorf("after a was laid anew: %s", got)
	}
}
