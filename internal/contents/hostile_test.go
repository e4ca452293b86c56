// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents/rpmdb/rpmdbtest"
)

func TestHostile(t *testing.T) {
	a := file("package.json", npm("a", "1.0.0"))
	nested := jar(t, "org.example", "deep", "1")
	for range 8 {
		nested = zipOf(t, "a.jar", nested)
	}
	zeros := strings.Repeat("\x00", 8<<20)
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprintf("a/long/path/in/the/archive/%d", i), "")
	}
	long := strings.Repeat("x", 5000)
	for _, tt := range []struct {
		name    string
		limits  Limits
		entries []entry
		want    []string // missed
	}{
		{"bomb", Limits{Unpacked: 1 << 20}, []entry{a, file("zeros", zeros)}, []string{" layer"}},
		{"entries", Limits{Entries: 2}, []entry{a, file("b", ""), file("c", "")}, []string{" layer"}},
		{"long name", Limits{}, []entry{a, file(long+"/package.json", npm("b", "1.0.0")), symlink("b", long)}, []string{long[:maxField] + " name", "b name"}},
		{"files", Limits{Files: 1}, []entry{a, file("b/package.json", npm("b", "1.0.0"))}, []string{"b/package.json count"}},
		{"links", Limits{Links: 1}, []entry{a, symlink("b", "c"), symlink("c", "d")}, []string{"c count"}},
		{"whiteouts", Limits{Removed: 1}, []entry{a, gone("x"), gone("y")}, []string{".wh.y count"}},
		{"archives in archives", Limits{}, []entry{a, file("a.jar", nested)}, []string{"a.jar!/a.jar!/a.jar!/a.jar!/a.jar!/a.jar!/a.jar nesting"}},
		{"bomb in a jar", Limits{Archive: 1 << 20}, []entry{a, file("a.jar", zipOf(t, "b.jar", zeros))}, []string{"a.jar!/b.jar size"}},
		{"many archives in one", Limits{Inner: 1 << 20}, []entry{a, file("a.jar", zipOf(t, "b.jar", zeros[:1<<19], "c.jar", zeros[:1<<19], "d.jar", zeros[:1<<19]))},
			[]string{"a.jar!/b.jar broken", "a.jar!/c.jar broken", "a.jar!/d.jar inner"}},
		{"bomb for a manifest", Limits{}, []entry{a, file("a.jar", zipOf(t, "META-INF/MANIFEST.MF", zeros))}, []string{"a.jar inner"}},
		{"bomb in an egg", Limits{}, []entry{a, file("a.egg", zipOf(t, "EGG-INFO/PKG-INFO", zeros))}, []string{"a.egg inner"}},
		{"table of contents", Limits{Directory: 1}, []entry{a, file("a.jar", zipOf(t, slices.Repeat(many, 3)...))}, []string{"a.jar inner"}},
		{"no zip", Limits{}, []entry{a, file("a.jar", "PK\x03\x04 nonsense that is long enough")}, []string{"a.jar broken"}},
		{"text of links", Limits{Text: 100}, []entry{a, symlink("b", strings.Repeat("x", 100))}, []string{"b count"}},
		{"text of whiteouts", Limits{Text: 30}, []entry{a, gone("some/long/path")}, []string{"some/long/.wh.path count"}},
		{"text of packages", Limits{Text: 30}, []entry{a, file("b/package.json", npm("bb", "1.0.0"))}, []string{"b/package.json count"}},
		{"text of hard links", Limits{Text: 40}, []entry{a, hardlink("some/long/package.json", "package.json")}, []string{"some/long/package.json count"}},
		{"text of licences", Limits{Text: 30}, []entry{a, file("usr/share/doc/b/copyright", "/usr/share/common-licenses/GPL-3")}, []string{"usr/share/doc/b/copyright count"}},
		{"packages", Limits{Packages: 1}, []entry{a, file("b/package.json", npm("b", "1.0.0"))}, []string{"b/package.json count"}},
		{"broken JSON", Limits{}, []entry{a, file("b/package.json", "{"), file("composer.lock", "{")}, []string{"b/package.json broken", "composer.lock broken"}},
		{"deep JSON", Limits{}, []entry{a, file("b/package.json", strings.Repeat("[", 1<<20))}, []string{"b/package.json broken"}},
		{"broken status", Limits{}, []entry{a, file(status, "Package: x\n\x00\x01 no header\n")}, []string{status + " broken"}},
		{"status.d that tells of nothing", Limits{}, []entry{a, file("var/lib/dpkg/status.d/x", "no header at all\n")}, []string{"var/lib/dpkg/status.d/x broken"}},
		{"device instead of a database", Limits{}, []entry{a, {Header: tar.Header{Name: status, Typeflag: tar.TypeChar}}}, nil},
		{"hard link to itself", Limits{}, []entry{a, hardlink("x/package.json", "x/package.json")}, nil},
		{"release", Limits{}, []entry{a, file("etc/os-release", strings.Repeat("x", maxRelease+1))}, []string{"etc/os-release size"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := readLayer(t, Options{Limits: tt.limits}, tt.entries...)
			if diff := cmp.Diff(tt.want, reasons(r.Missed)); diff != "" {
				t.Errorf("missed (-want +got):\n%s", diff)
			}
			if len(r.Files) == 0 || r.Files[0].Packages[0].Name != "a" {
				t.Errorf("what could be read was not: %v", r.Files)
			}
		})
	}
}

func TestManyAreMissedAndCounted(t *testing.T) {
	var entries []entry
	for i := range maxMissed + 7 {
		entries = append(entries, file(fmt.Sprintf("%d/package.json", i), "{"))
	}
	r := readLayer(t, Options{}, entries...)
	if n := len(r.Missed); n != maxMissed+1 || r.Missed[n-1].Detail != "7 more were missed and are not listed" {
		t.Errorf("got %d, the last of which is %+v", n, r.Missed[n-1])
	}
}

func TestNothingLeavesTheLayer(t *testing.T) {
	temp := t.TempDir()
	r := readLayer(t, Options{TempDir: temp, Limits: Limits{Memory: 1}},
		file("../../../../etc/package.json", npm("up", "1.0.0")),
		file("/abs/package.json", npm("abs", "1.0.0")),
		file("a/../../b/package.json", npm("b", "1.0.0")),
		symlink("out", "/"+strings.Repeat("../", 40)+"etc"),
		symlink("loop/a", "b"), symlink("loop/b", "a"), symlink("self", "self/self"),
		gone("../../x"), file(".wh...", ""), file("a/.wh..", ""), file(".wh.", ""),
	)
	var paths []string
	for _, f := range r.Files {
		paths = append(paths, f.Path)
	}
	if diff := cmp.Diff([]string{"abs/package.json", "b/package.json", "etc/package.json"}, paths); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"x"}, r.Removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	image := Fold([]LayerResult{r, readLayer(t, Options{}, file("out/package.json", npm("up", "2.0.0")), file("loop/a/package.json", npm("l", "1")), file("self/self/package.json", npm("s", "1")))})
	if got := image.Packages; len(got) != 5 {
		t.Errorf("got %v", purls(image))
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTruncatedLayers(t *testing.T) {
	whole := tarOf(t, file("package.json", npm("a", "1.0.0")), file("b/package.json", npm("b", "1.0.0")))
	lying := bytes.Clone(whole)
	// A PAX record that promises more bytes than there are.
	var pax bytes.Buffer
	w := tar.NewWriter(&pax)
	if err := w.WriteHeader(&tar.Header{Name: "package.json", Typeflag: tar.TypeReg, Size: 1 << 40, Format: tar.FormatPAX}); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"cut in a header": whole[:1024+300],
		"cut in content":  whole[:512+10],
		"lying size":      pax.Bytes(),
		"garbage":         append(lying[:1024], bytes.Repeat([]byte("garbage "), 200)...),
	} {
		r, err := ReadLayer(t.Context(), layerOf(b), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(r.Missed) == 0 || r.Missed[0].Reason != dossier.MissedLayer && r.Missed[0].Reason != dossier.MissedFileSize || r.DiffID != "" {
			t.Errorf("%s: got diffID %q, missed %v", name, r.DiffID, r.Missed)
		}
	}
	// Compressed and cut: the digest is that of the cut bytes.
	packed := gzipOf(t, whole)
	cut := packed[:len(packed)-20]
	l := Layer{Digest: dossier.FromBytes(cut), DiffID: dossier.FromBytes(whole), Open: layerOf(cut).Open}
	if r, err := ReadLayer(t.Context(), l, Options{}); err != nil || len(r.Missed) == 0 {
		t.Errorf("cut gzip: got %v, %v", r.Missed, err)
	}
}

func TestReadLayerFails(t *testing.T) {
	b := tarOf(t, file("package.json", npm("a", "1.0.0")))
	lost := errors.New("connection lost")
	fine := layerOf(b)
	for _, tt := range []struct {
		name  string
		layer Layer
		o     Options
		want  dossier.Kind
	}{
		{"wrong digest", Layer{Digest: dossier.FromBytes(nil), Open: fine.Open}, Options{}, dossier.KindCorrupt},
		{"wrong diffID", Layer{Digest: fine.Digest, DiffID: dossier.FromBytes(nil), Open: fine.Open}, Options{}, dossier.KindCorrupt},
		{"malformed digest", Layer{Digest: "x"}, Options{}, dossier.KindInvalid},
		{"too large to check", fine, Options{Limits: Limits{Compressed: 100}}, dossier.KindLimit},
		{"no room", fine, Options{TempDir: filepath.Join(t.TempDir(), "absent"), Limits: Limits{Memory: 1}}, dossier.KindStorage},
		{"not there", Layer{Digest: fine.Digest, Open: func(context.Context) (io.ReadCloser, error) {
			return nil, dossier.Errorf(dossier.KindNotFound, "opening", "layer", "gone")
		}}, Options{}, dossier.KindNotFound},
		{"lost", Layer{Digest: fine.Digest, Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(b[:600]), failing{lost})), nil
		}}, Options{}, dossier.KindInternal},
	} {
		if _, err := Read(t.Context(), []Layer{layerOf(tarOf(t)), tt.layer}, tt.o); dossier.KindOf(err) != tt.want {
			t.Errorf("%s: got %v, want an error of kind %q", tt.name, err, tt.want)
		}
	}
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestLongNames: names that do not fit into a header are those that PAX records
// and GNU's entries tell.
func TestLongNames(t *testing.T) {
	name := strings.Repeat("directory/", 20) + "grün/package.json"
	for _, format := range []tar.Format{tar.FormatPAX, tar.FormatGNU} {
		e := file(name, npm("a", "1.0.0"))
		e.Format = format
		if format == tar.FormatPAX {
			e.PAXRecords = map[string]string{"SCHILY.xattr.user.x": "y", "comment": "z"}
		}
		link := hardlink("short/package.json", name)
		link.Format = format
		r := readLayer(t, Options{}, e, link)
		if len(r.Files) != 1 || r.Files[0].Path != name || len(r.Files[0].Aliases) != 1 || len(r.Missed) > 0 {
			t.Errorf("%v: got %+v, missed %v", format, r.Files, r.Missed)
		}
	}
}

// TestNothingIsInIt: a layer, and an image, that hold nothing are no fault.
func TestNothingIsInIt(t *testing.T) {
	r := readLayer(t, Options{})
	if image := Fold([]LayerResult{r}); len(image.Packages)+len(image.Missed) > 0 || image.Distribution != nil || r.DiffID == "" {
		t.Errorf("got %+v of %+v", image, r)
	}
	if image := Fold(nil); len(image.Packages)+len(image.Missed) > 0 {
		t.Errorf("without layers: %+v", image)
	}
}

// TestSparseFiles: GNU and PAX ways to write files with holes are read as the
// files that they stand for.
func TestSparseFiles(t *testing.T) {
	names, err := filepath.Glob("testdata/*.tar")
	if err != nil || len(names) == 0 {
		t.Fatalf("found %v, %v", names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ReadLayer(t.Context(), layerOf(b), Options{Limits: Limits{Memory: 1 << 10}, TempDir: t.TempDir()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(r.Files) != 1 || r.Files[0].Packages[0].Name != "sparse" || len(r.Missed) != 0 {
			t.Errorf("%s: got %v, missed %v", name, r.Files, r.Missed)
		}
	}
}

// FuzzLayer reads any bytes as a layer, lays the result over and under another,
// and wants no panic, no error without a kind, and the same after JSON.
func FuzzLayer(f *testing.F) {
	f.Add(tarOf(f, file("package.json", npm("a", "1.0.0")), symlink("lib", "usr/lib"), gone("x"), hardlink("b/package.json", "package.json")))
	f.Add(tarOf(f, file("etc/os-release", debian12), file(status, dpkgBash), file("a/.wh..wh..opq", "")))
	f.Add(tarOf(f, file("a.jar", jar(f, "g", "a", "1", "b.jar", jar(f, "g", "b", "2")))))
	f.Add(tarOf(f, exe("app", rustProgram(f, rustAudit)), file("x.gemspec", "Gem::Specification.new do |s|\n s.name = 'x'\n s.version = X::VERSION\n")))
	f.Add(tarOf(f, file("var/lib/rpm/Packages.db", string(rpmdbtest.NDB(rpmdbtest.Sample(2))))))
	f.Add(gzipOf(f, tarOf(f, symlink("a", "b"), symlink("b", "a"), file("a/package.json", npm("a", "1")))))
	base := []LayerResult{readLayer(f, Options{}, file("package.json", npm("a", "1.0.0")), symlink("a", "usr"), file("usr/package.json", npm("b", "1.0.0")), file("etc/os-release", debian12))}
	limits := Limits{Compressed: 1 << 20, Unpacked: 4 << 20, Entries: 200, Memory: 1 << 20, Database: 1 << 20, Program: 1 << 20, Archive: 1 << 20, Inner: 1 << 20}
	f.Fuzz(func(t *testing.T, b []byte) {
		l := layerOf(b)
		l.DiffID = ""
		r, err := ReadLayer(t.Context(), l, Options{Limits: limits})
		if err != nil {
			if dossier.KindOf(err) == dossier.KindInternal {
				t.Errorf("an error of no kind: %v", err)
			}
			return
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back LayerResult
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		image := Fold([]LayerResult{base[0], r, r, base[0]})
		if diff := cmp.Diff(image, Fold([]LayerResult{base[0], back, back, base[0]})); diff != "" {
			t.Errorf("after JSON:\n%s", diff)
		}
	})
}
