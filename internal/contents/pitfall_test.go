// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents/rpmdb/rpmdbtest"
)

// The tests of this file are named for what goes wrong when layers are read one
// by one with extractors that were made for a file system.

func TestReleaseLiesInAnotherLayer(t *testing.T) {
	base := []entry{file("usr/lib/os-release", debian12), symlink("etc/os-release", "../usr/lib/os-release")}
	packages := []entry{file(status, dpkgBash)}
	for name, layers := range map[string][][]entry{"beneath": {base, packages}, "above": {packages, base}} {
		image := readImage(t, layers...)
		if len(image.Packages) != 1 || image.Packages[0].PURL != purlBash || image.Packages[0].Ecosystem != "Debian:12" {
			t.Errorf("%s: got %+v", name, image.Packages)
		}
	}
	image := readImage(t, packages)
	if p := image.Packages[0]; p.PURL != "pkg:deb/bash@5.2.15-2%2Bb2?arch=amd64" || p.Ecosystem != "" || image.Distribution != nil {
		t.Errorf("without a release: got %+v", p)
	}
}

func TestHardLinkToNameNobodyAskedFor(t *testing.T) {
	image := readImage(t, []entry{
		file("store/files/ab/cdef", npm("linked", "1.0.0")),
		hardlink("node_modules/linked/package.json", "store/files/ab/cdef"),
		hardlink("node_modules/again/package.json", "node_modules/linked/package.json"),
		file("store/files/ab/other", npm("replaced", "1.0.0")),
		hardlink("node_modules/replaced/package.json", "./store/files/ab/other"),
		file("node_modules/replaced/package.json", "{}"),
	})
	if diff := cmp.Diff([]string{"pkg:npm/linked@1.0.0 0 node_modules/linked/package.json"}, purls(image)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	image = readImage(t,
		[]entry{file("a/package.json", npm("a", "1.0.0")), hardlink("b/package.json", "a/package.json")},
		[]entry{gone("a")},
	)
	if diff := cmp.Diff([]string{"pkg:npm/a@1.0.0 0 b/package.json"}, purls(image)); diff != "" {
		t.Errorf("the first name is deleted (-want +got):\n%s", diff)
	}
	r := readLayer(t, Options{}, hardlink("a/package.json", "not/here"))
	if diff := cmp.Diff([]string{"a/package.json link"}, reasons(r.Missed)); diff != "" {
		t.Errorf("leading out of the layer (-want +got):\n%s", diff)
	}
}

func TestWriteThroughLinkOfLowerLayer(t *testing.T) {
	image := readImage(t,
		[]entry{symlink("lib", "usr/lib"), file("usr/lib/a/package.json", npm("a", "1.0.0"))},
		[]entry{file("lib/a/package.json", npm("a", "2.0.0"))},
	)
	if diff := cmp.Diff([]string{"pkg:npm/a@2.0.0 1 usr/lib/a/package.json"}, purls(image)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

func TestFoldNeedsAllNames(t *testing.T) {
	// The layer above tells of no package, and hides one by name alone.
	image := readImage(t, []entry{exe("app/package.json", npm("a", "1.0.0"))}, []entry{file("app/package.json", "not even JSON")})
	if len(image.Packages) != 0 {
		t.Errorf("got %v", purls(image))
	}
}

func TestBrokenRPMDatabaseIsSaid(t *testing.T) {
	sample := rpmdbtest.Sample(40)
	whole := string(rpmdbtest.NDB(sample))
	for _, tt := range []struct {
		name, body string
		packages   int
		want       []string
	}{
		{"whole", whole, 40, nil},
		{"cut off", whole[:len(whole)-3000], 39, []string{"usr/lib/sysimage/rpm/Packages.db broken"}},
		{"nonsense", "nonsense", 0, []string{"usr/lib/sysimage/rpm/Packages.db broken"}},
	} {
		r := readLayer(t, Options{}, file("usr/lib/sysimage/rpm/Packages.db", tt.body))
		if diff := cmp.Diff(tt.want, reasons(r.Missed)); diff != "" {
			t.Errorf("%s: missed (-want +got):\n%s", tt.name, diff)
		}
		got := 0
		for _, f := range r.Files {
			got += len(f.Packages)
		}
		if got != tt.packages {
			t.Errorf("%s: got %d packages, want %d", tt.name, got, tt.packages)
		}
	}
	r := readLayer(t, Options{}, file("var/lib/rpm/rpmdb.sqlite-wal", "changes"), file("usr/share/rpm/rpmdb.sqlite-wal", ""))
	if diff := cmp.Diff([]string{"var/lib/rpm/rpmdb.sqlite-wal broken"}, reasons(r.Missed)); diff != "" {
		t.Errorf("write-ahead log: missed (-want +got):\n%s", diff)
	}
}

func TestMissingParentsAndLinkedRelease(t *testing.T) {
	image := readImage(t, []entry{symlink("etc/os-release", "/usr/lib/os.d/os-release-image"), file("usr/lib/os.d/os-release-image", debian12), file(status, dpkgBash)})
	if diff := cmp.Diff([]string{purlBash + " 0 " + status}, purls(image)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

func TestProgramsAreReadAtAnyOffset(t *testing.T) {
	// What is larger than Memory lies in a file, and can be read just so.
	for _, memory := range []int64{1, 64 << 20} {
		o := Options{Limits: Limits{Memory: memory}, TempDir: t.TempDir()}
		r := readLayer(t, o, exe("bin/app", rustProgram(t, rustAudit)), file("app.jar", jar(t, "org.example", "app", "1.0")))
		var got []string
		for _, f := range r.Files {
			for _, p := range f.Packages {
				got = append(got, f.Path+" "+p.Type+" "+p.Name+" "+p.Version)
			}
		}
		want := []string{"app.jar maven org.example:app 1.0", "bin/app cargo serde 1.0.0"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("memory %d (-want +got):\n%s", memory, diff)
		}
		if left, _ := os.ReadDir(o.TempDir); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestLargeFilesAreCapped(t *testing.T) {
	big := strings.Repeat("x", 5000)
	limits := Limits{Database: 1000, Program: 1000, Archive: 1000, Manifest: 1000}
	r := readLayer(t, Options{Limits: limits},
		file(status, dpkgBash+big), exe("bin/app", "\x7fELF"+big), file("app.jar", "PK"+big), file("package.json", big), file("x.egg", big), exe("script", big))
	want := []string{status + " size", "bin/app size", "app.jar size", "package.json size", "x.egg size"}
	if diff := cmp.Diff(want, reasons(r.Missed)); diff != "" {
		t.Errorf("missed (-want +got):\n%s", diff)
	}
}

func TestScriptsAreNotHeld(t *testing.T) {
	// Only programs by their first bytes count as files that are looked into.
	r := readLayer(t, Options{Limits: Limits{Files: 1}}, exe("a.py", "#!/usr/bin/python3"), exe("b.sh", "#!/bin/sh"), file("c.so", "text"), file("package.json", npm("a", "1.0.0")))
	if len(r.Missed) != 0 || len(r.Files) != 1 {
		t.Errorf("got %v, missed %v", r.Files, r.Missed)
	}
}

func TestGemsLookUpTheirVersion(t *testing.T) {
	spec := "require_relative \"lib/thing/version\"\nGem::Specification.new do |s|\n  s.name = \"thing\"\n  s.version = Thing::VERSION\nend\n"
	// The gemspec lies in front of what it asks for.
	r := readLayer(t, Options{},
		file("srv/thing/thing.gemspec", spec),
		file("srv/thing/lib/thing/version.rb", "module Thing\n  VERSION = \"1.2.3\"\nend\n"),
		file("srv/lost/lost.gemspec", strings.ReplaceAll(spec, "thing", "lost")),
	)
	want := []File{{Path: "srv/thing/thing.gemspec", Packages: []Package{{Type: "gem", Name: "thing", Version: "1.2.3"}}}}
	if diff := cmp.Diff(want, r.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"srv/lost/lost.gemspec broken"}, reasons(r.Missed)); diff != "" {
		t.Errorf("missed (-want +got):\n%s", diff)
	}
}

func TestNamesAreThoseOfAdvisories(t *testing.T) {
	for _, tt := range []struct {
		p               Package
		purl, ecosystem string
	}{
		{goPackage(Package{Type: "golang", Name: "go", Version: "1.26.8"}), "pkg:golang/stdlib@1.26.8", "Go"},
		{goPackage(Package{Type: "golang", Name: "golang.org/x/text", Version: "0.3.5"}), "pkg:golang/golang.org/x/text@v0.3.5", "Go"},
		{goPackage(Package{Type: "golang", Name: "example.org/app", Version: "(devel)"}), "pkg:golang/example.org/app", "Go"},
		{Package{Type: "npm", Name: "@scope/name", Version: "1.0.0"}, "pkg:npm/%40scope/name@1.0.0", "npm"},
		{Package{Type: "pypi", Name: "Zope_Interface", Version: "5"}, "pkg:pypi/zope-interface@5", "PyPI"},
		{Package{Type: "maven", Name: "org.example:app", Version: "1"}, "pkg:maven/org.example/app@1", "Maven"},
		{Package{Type: "composer", Name: "vendor/thing", Version: "2.1.0"}, "pkg:composer/vendor/thing@2.1.0", "Packagist"},
		{Package{Type: "rpm", Name: "bash", Version: "5.1-2.el9", Epoch: 1, Arch: "x86_64"}, "pkg:rpm/bash@5.1-2.el9?arch=x86_64&epoch=1", ""},
	} {
		if got := purlOf(tt.p, nil); got != tt.purl {
			t.Errorf("%+v: got %s, want %s", tt.p, got, tt.purl)
		}
		if got := ecosystemOf(tt.p, nil); got != tt.ecosystem {
			t.Errorf("%+v: got ecosystem %q, want %q", tt.p, got, tt.ecosystem)
		}
	}
	r := readLayer(t, Options{}, file("empty.jar", zipOf(t, "x/Y.class", "class file")))
	if diff := cmp.Diff([]string{"empty.jar identity"}, reasons(r.Missed)); diff != "" || len(r.Files) != 0 {
		t.Errorf("a jar that does not say what it is: got %v (-want +got):\n%s", r.Files, diff)
	}
}

func TestDiffIDAloneIsNoKey(t *testing.T) {
	plain := tarOf(t, file("package.json", npm("a", "1.0.0")))
	packed := gzipOf(t, plain)
	flipped := bytes.Clone(packed)
	flipped[9] ^= 0xff // the operating system in the header: the content stays the same
	open := func(b []byte) func(context.Context) (io.ReadCloser, error) {
		return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	}
	fine := Layer{Digest: dossier.FromBytes(packed), DiffID: dossier.FromBytes(plain), Open: open(packed)}
	known, err := ReadLayer(t.Context(), fine, Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Known: func(_ context.Context, d dossier.Digest) (LayerResult, bool, error) {
		return known, d == fine.Digest, nil
	}}
	lying := fine
	lying.Open = open(flipped)
	if _, err := ReadLayer(t.Context(), lying, o); dossier.KindOf(err) != dossier.KindCorrupt {
		t.Errorf("changed header: got %v, want a corrupt layer", err)
	}
	other := fine
	other.DiffID = dossier.FromBytes(nil)
	if _, err := Read(t.Context(), []Layer{other}, o); dossier.KindOf(err) != dossier.KindCorrupt {
		t.Errorf("known layer under another diffID: got %v, want a corrupt layer", err)
	}
	if r, err := Read(t.Context(), []Layer{fine}, o); err != nil || len(r.New) != 0 || len(r.Image.Packages) != 1 {
		t.Errorf("known layer: got %+v, %v", r, err)
	}
	known.Version = "0"
	if r, err := Read(t.Context(), []Layer{fine, fine}, o); err != nil || !cmp.Equal(r.New, []int{0}) {
		t.Errorf("known by another version: read %v, %v; want it read once", r.New, err)
	}
}

func TestExtractorsMayPanic(t *testing.T) {
	e := extractor{name: "bad", extract: func(context.Context, input) ([]Package, error) { panic("index out of range") }}
	found, err := e.run(t.Context(), input{body: newContent(t.Context(), strings.NewReader("x"), 1)})
	if found != nil || err == nil || !strings.Contains(err.Error(), "bad failed on it: index out of range") {
		t.Errorf("got %v, %v", found, err)
	}
}

func TestExtractorsMustEnd(t *testing.T) {
	r := newReader(Limits{FileTime: 1}.orDefault(), t.TempDir(), nil)
	e := extractor{name: "slow", sort: manifest, extract: func(ctx context.Context, in input) ([]Package, error) {
		<-ctx.Done()
		_, err := io.ReadAll(in.body)
		return nil, err
	}}
	if err := r.extract(t.Context(), e, "x", fileInfo{"x", 1, 0o644}, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"x time"}, reasons(r.out.Missed)); diff != "" {
		t.Errorf("missed (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadLayer(ctx, layerOf(tarOf(t, file("package.json", "{}"))), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v", err)
	}
	if _, err := ReadLayer(t.Context(), layerOf(tarOf(t)), Options{Limits: Limits{Time: 1}}); dossier.KindOf(err) != dossier.KindLimit {
		t.Errorf("no time for a layer: got %v, want an error of kind limit", err)
	}
}
