// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFold(t *testing.T) {
	a := file("app/package.json", npm("a", "1.0.0"))
	for _, tt := range []struct {
		name   string
		layers [][]entry
		want   []string
	}{
		{"no layer", nil, nil},
		{"empty layer", [][]entry{{}}, nil},
		{"one file", [][]entry{{a}}, []string{"pkg:npm/a@1.0.0 0 app/package.json"}},
		{"replaced by another version", [][]entry{{a}, {file("app/package.json", npm("a", "2.0.0"))}}, []string{"pkg:npm/a@2.0.0 1 app/package.json"}},
		{"replaced by what tells of nothing", [][]entry{{a}, {file("app/package.json", "{}")}}, nil},
		{"replaced by the same", [][]entry{{a}, {a}}, []string{"pkg:npm/a@1.0.0 0 app/package.json"}},
		{"deleted", [][]entry{{a}, {gone("app/package.json")}}, nil},
		{"deleted and brought back", [][]entry{{a}, {gone("app/package.json")}, {a}}, []string{"pkg:npm/a@1.0.0 2 app/package.json"}},
		{"deleted and made anew in one layer", [][]entry{{a}, {gone("app"), a}}, []string{"pkg:npm/a@1.0.0 0 app/package.json"}},
		{"directory deleted", [][]entry{{a}, {gone("app")}}, nil},
		{"neighbour deleted", [][]entry{{a}, {gone("ap"), gone("app/package.jso")}}, []string{"pkg:npm/a@1.0.0 0 app/package.json"}},
		{"whiteout of the same layer does nothing", [][]entry{{a, gone("app")}}, []string{"pkg:npm/a@1.0.0 0 app/package.json"}},
		{"opaque directory", [][]entry{{a}, {file("app/.wh..wh..opq", "")}}, nil},
		{"opaque root", [][]entry{{a}, {file(".wh..wh..opq", "")}}, nil},
		{"opaque, and a new file in it", [][]entry{{a}, {file("app/.wh..wh..opq", ""), file("app/b/package.json", npm("b", "1.0.0"))}}, []string{"pkg:npm/b@1.0.0 1 app/b/package.json"}},
		{"directory became a file", [][]entry{{a}, {file("app", "")}}, nil},
		{"directory became a link", [][]entry{{a}, {symlink("app", "elsewhere")}}, nil},
		{"file became a directory", [][]entry{{a}, {dir("app/package.json")}}, nil},
		{"directory named again", [][]entry{{a}, {dir("app")}}, []string{"pkg:npm/a@1.0.0 0 app/package.json"}},
		{"names with dots", [][]entry{{a}, {file("./app/../app/./package.json", npm("a", "3.0.0"))}}, []string{"pkg:npm/a@3.0.0 1 app/package.json"}},
		{"link directory replaced by a directory", [][]entry{
			{symlink("app", "real"), file("real/package.json", npm("a", "1.0.0"))},
			{dir("app"), file("app/package.json", npm("a", "2.0.0"))},
		}, []string{"pkg:npm/a@1.0.0 0 real/package.json", "pkg:npm/a@2.0.0 1 app/package.json"}},
		{"whiteout through a link", [][]entry{
			{symlink("app", "real"), file("real/package.json", npm("a", "1.0.0"))}, {gone("app/package.json")},
		}, nil},
		{"links in a circle", [][]entry{{symlink("x", "y"), symlink("y", "x"), a}, {file("x/package.json", npm("b", "1.0.0"))}},
			[]string{"pkg:npm/a@1.0.0 0 app/package.json", "pkg:npm/b@1.0.0 1 x/package.json"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, purls(readImage(t, tt.layers...))); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLayerOfPackage: a package of the distribution comes from the layer whose
// database first listed it, though each later layer has the whole database.
func TestLayerOfPackage(t *testing.T) {
	image := readImage(t,
		[]entry{file("etc/os-release", debian12), file(status, dpkgZlib+dpkgBash)},
		[]entry{file(status, dpkgZlib+dpkgNewer)},
		[]entry{file(status, dpkgZlib+dpkgNewer)},
	)
	want := []string{
		"pkg:deb/debian/bash@5.2.15-2%2Bb9?arch=amd64&distro=debian-12 1 " + status,
		purlZlib + " 0 " + status,
	}
	if diff := cmp.Diff(want, purls(image)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

// TestHundredLayers: each adds a package and every third is taken away again.
func TestHundredLayers(t *testing.T) {
	var layers [][]entry
	want := 0
	for i := range 100 {
		entries := []entry{file(fmt.Sprintf("app/%d/package.json", i), npm(fmt.Sprintf("p%d", i), "1.0.0"))}
		want++
		if i%3 == 2 {
			entries = append(entries, gone(fmt.Sprintf("app/%d", i-1)))
			want--
		}
		layers = append(layers, entries)
	}
	if got := len(readImage(t, layers...).Packages); got != want {
		t.Errorf("got %d packages, want %d", got, want)
	}
}

// TestManyFiles: so many files and links that they are looked at side by side give the same
// as one after the other, and each file has one place.
func TestManyFiles(t *testing.T) {
	const n = 3 * enough
	base, top := []entry{symlink("lib", "usr/lib")}, []entry{gone("app/1"), file("opaque/.wh..wh..opq", "")}
	for i := range n {
		name := fmt.Sprintf("p%d", i)
		base = append(base, file(fmt.Sprintf("app/%d/package.json", i), npm(name, "1.0.0")), symlink(fmt.Sprintf("links/%d", i), fmt.Sprintf("../app/%d", i)))
		switch i % 8 {
		case 0: // replaced through a link
			top = append(top, file(fmt.Sprintf("links/%d/package.json", i), npm(name, "2.0.0")))
		case 1:
			top = append(top, gone(fmt.Sprintf("app/%d", i)))
		case 2: // has another name, which counts when its own is gone
			base = append(base, hardlink(fmt.Sprintf("app/%d/z.package.json", i), fmt.Sprintf("app/%d/package.json", i)),
				hardlink(fmt.Sprintf("z/%d/package.json", i), fmt.Sprintf("app/%d/package.json", i)))
			if i%16 == 2 {
				top = append(top, gone(fmt.Sprintf("app/%d/package.json", i)))
			}
		case 3: // the link goes, what it leads to stays
			top = append(top, gone(fmt.Sprintf("links/%d", i)))
		case 4:
			base = append(base, file(fmt.Sprintf("opaque/%d/package.json", i), npm(name, "3.0.0")))
		}
	}
	layers := []LayerResult{readLayer(t, Options{}, base...), readLayer(t, Options{}, top...)}
	before := runtime.GOMAXPROCS(1)
	alone := Fold(layers)
	runtime.GOMAXPROCS(4)
	beside := Fold(layers)
	runtime.GOMAXPROCS(before)
	if diff := cmp.Diff(purls(alone), purls(beside)); diff != "" {
		t.Errorf("side by side (-alone +beside):\n%s", diff)
	}
	var want []string
	for i := range n {
		switch {
		case i%8 == 0:
			want = append(want, fmt.Sprintf("pkg:npm/p%d@2.0.0 1 app/%d/package.json", i, i))
		case i%8 == 1:
		case i%16 == 2:
			want = append(want, fmt.Sprintf("pkg:npm/p%d@1.0.0 0 z/%d/package.json", i, i))
		default:
			want = append(want, fmt.Sprintf("pkg:npm/p%d@1.0.0 0 app/%d/package.json", i, i))
		}
	}
	got := purls(beside)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

// TestFoldAfterJSON: what is stored folds like what was read.
func TestFoldAfterJSON(t *testing.T) {
	layers := []LayerResult{
		readLayer(t, Options{}, symlink("lib", "usr/lib"), file("usr/lib/os-release", debian12), file(status, dpkgZlib+dpkgBash), file("usr/lib/a/package.json", npm("a", "1.0.0"))),
		readLayer(t, Options{}, gone(status), file("lib/a/package.json", "{}"), file("x/.wh..wh..opq", "")),
	}
	b, err := json.Marshal(layers)
	if err != nil {
		t.Fatal(err)
	}
	var back []LayerResult
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(layers, back); diff != "" {
		t.Errorf("results (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(Fold(layers), Fold(back)); diff != "" {
		t.Errorf("images (-before +after):\n%s", diff)
	}
	if got := Fold(back); len(got.Packages) != 0 || got.Distribution == nil || got.Distribution.Ecosystem != "Debian:12" {
		t.Errorf("got %+v", got)
	}
}

func TestNamesUnmarshal(t *testing.T) {
	for _, text := range []string{"AAAA", "!", "AAAAAAAAAAIAAAAAAAAAAQ=="} {
		var n Names
		if err := n.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted as %v", text, n)
		}
	}
}
