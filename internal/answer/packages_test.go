// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/testimage"
)

// debianImage is an image of Debian with OpenSSL, and an application on it.
func debianImage(platform, manifest string) testimage.Image {
	im := testimage.Image{Platform: platform, Layers: []testimage.Layer{{Files: map[string]testimage.File{
		"etc/os-release": testimage.Text("ID=debian\nVERSION_ID=12\n"),
		"var/lib/dpkg/status": testimage.Text("Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl\nVersion: 3.0.11-1\n\n" +
			"Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2\n\n"),
	}}}}
	if manifest != "" {
		im.Layers = append(im.Layers, testimage.Layer{Files: map[string]testimage.File{"app/package.json": testimage.Text(manifest)}})
	}
	return im
}

func TestWhereFindsPackages(t *testing.T) {
	w := newWorld(t)
	began := w.now
	base := w.push("debian", "12", debianImage("", ""))
	shop := w.push("shop", "1", testimage.Of(debianImage("linux/amd64", `{"name":"@acme/shop","version":"1.2.0"}`), debianImage("linux/arm64", `{"name":"@acme/shop","version":"1.2.0"}`)))
	cart := w.push("cart", "1", debianImage("", `{"name":"@acme/shop","version":"1.10.0"}`))
	w.collect(w.place("a", "debian-1", "debian:12", w.ref("debian", base.Digest())))
	w.now = w.now.Add(time.Hour)
	w.collect(w.place("a", "debian-1", "debian:12", w.ref("debian", base.Digest())),
		w.place("b", "shop-1", "shop:1", w.ref("shop", shop.Digest())), w.place("b", "cart-1", "cart:1", w.ref("cart", cart.Digest())))
	names := map[dossier.Digest]string{base.Digest(): "debian", shop.Digest(): "shop", cart.Digest(): "cart"}
	w.Order = func(p dossier.Package, version string) (int, error) { // by length, then as text: enough for here
		if strings.Contains(version, "nonsense") {
			return 0, fmt.Errorf("no version")
		}
		return strings.Compare(fmt.Sprint(len(p.Version), p.Version), fmt.Sprint(len(version), version)), nil
	}
	for term, want := range map[string]string{
		"openssl":                             "cart debian shop",
		"package=openssl":                     "cart debian shop",
		"libssl3":                             "cart debian shop",
		"LibSSL*":                             "cart debian shop",
		"pkg:deb/debian/libssl3":              "cart debian shop",
		"pkg:deb/debian/openssl":              "cart debian shop",
		"pkg:deb/debian/openssl@3.0.11-1?x=y": "cart debian shop",
		"pkg:deb/ubuntu/openssl":              "",
		"pkg:npm/openssl":                     "",
		"pkg:npm/%40acme/shop":                "cart shop",
		"pkg:npm/%40acme/shop@1.2.0":          "shop",
		"@acme/shop":                          "cart shop",
		"@acme/shop@1.2.0":                    "shop",
		"shop@1.2.0":                          "shop",
		"package=shop@1.2.0":                  "shop",
		"shop@<1.10.0":                        "shop",
		"shop@<=1.10.0":                       "cart shop",
		"shop@>1.2.0":                         "cart",
		"shop@>=1.2.0":                        "cart shop",
		"shop@>nonsense":                      "",
		"package=debian":                      "",
		"nothing-of-this":                     "",
		"shop@":                               "",
	} {
		list, err := w.Where(t.Context(), term, 10)
		if err != nil {
			t.Errorf("%s: %v", term, err)
			continue
		}
		var got []string
		for _, f := range list.Found {
			got = append(got, names[f.Digest])
			if f.Field == dossier.FieldPackage && len(f.Packages) == 0 {
				t.Errorf("%s: no packages of %s", term, names[f.Digest])
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s: found %v, want %s", term, got, want)
		}
	}
	list, err := w.Where(t.Context(), "libssl3", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list.Found {
		seen := began
		if f.Digest != base.Digest() {
			seen = w.now
		}
		if !f.FirstSeen.Equal(seen) || len(f.Running) != 1 || f.Match != "libssl3 3.0.11-1" {
			t.Errorf("%s: first seen %v, want %v; runs in %v; match %s", names[f.Digest], f.FirstSeen, seen, f.Running, f.Match)
		}
		if diff := cmp.Diff([]string{"pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12 var/lib/dpkg/status"}, places(f.Packages)); diff != "" {
			t.Errorf("%s: packages (-want +got):\n%s", names[f.Digest], diff)
		}
	}
	if list, err := w.Where(t.Context(), "bash", 2); err != nil || len(list.Found) != 2 || !list.Truncated {
		t.Errorf("of three images two: %+v, %v", list, err)
	}
	w.Order = nil
	if _, err := w.Where(t.Context(), "shop@<1.10.0", 10); dossier.KindOf(err) != dossier.KindUnsupported {
		t.Errorf("without an order of versions: %v", err)
	}
}

func places(list []dossier.PackageAt) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.PURL+" "+p.Path)
	}
	return out
}

// TestSBOMOfImage: the contents that hold as of a time, with the base that each
// layer is from.
func TestSBOMOfImage(t *testing.T) {
	w := newWorld(t)
	base := w.push("debian", "12", debianImage("", ""))
	shop := w.push("shop", "1", testimage.Of(debianImage("linux/amd64", `{"name":"shop","version":"1.2.0"}`), debianImage("linux/arm64", `{"name":"shop","version":"1.3.0"}`)))
	before := w.now.Add(-time.Minute)
	w.collect(w.place("a", "debian-1", "debian:12", w.ref("debian", base.Digest())), w.place("b", "shop-1", "shop:1", w.ref("shop", shop.Digest())))
	w.now = w.now.Add(time.Minute)
	q := dossier.SBOMQuery{Ref: w.registry.Host + "/shop:1"}
	s, err := w.SBOM(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range s.Packages {
		got = append(got, strings.TrimSpace(p.Name+" "+p.Version+" "+strings.TrimPrefix(p.Base, w.registry.Host)))
	}
	if diff := cmp.Diff([]string{"bash 5.2.15-2 /debian:12", "libssl3 3.0.11-1 /debian:12", "shop 1.2.0"}, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if s.Digest != shop.Digest() || s.Platform != "linux/amd64" || len(s.Layers) != 2 || len(s.Evidence) != 3 || s.Distribution.Ecosystem != "Debian:12" || len(s.Missed) != 0 {
		t.Errorf("got %+v", s)
	}
	view := func(change func(*dossier.SBOMQuery)) error {
		q := q
		change(&q)
		_, err := w.SBOM(t.Context(), q)
		return err
	}
	for name, change := range map[string]func(*dossier.SBOMQuery){
		"another platform":    func(q *dossier.SBOMQuery) { q.Platform = "linux/s390x" },
		"before it was known": func(q *dossier.SBOMQuery) { q.At.Recorded = before },
		"unknown":             func(q *dossier.SBOMQuery) { q.Ref = w.registry.Host + "/nothing:1" },
	} {
		if err := view(change); dossier.KindOf(err) != dossier.KindNotFound {
			t.Errorf("%s: %v, want a not found error", name, err)
		}
	}
	if err := view(func(q *dossier.SBOMQuery) { q.Platform = "linux/arm64" }); err == nil {
		t.Error("the other platform was not asked for by anybody, and is known") // only what runs is read
	}
}
