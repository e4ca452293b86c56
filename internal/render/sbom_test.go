// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	spdxjson "github.com/spdx/tools-golang/json"

	"dossier.dev/dossier"
)

// bill is a bill of materials with one of everything.
func bill() dossier.SBOM {
	base, top := digest("base layer"), digest("top layer")
	deb := dossier.Package{PURL: "pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12", Type: "deb", Ecosystem: "Debian:12", Distribution: "debian 12",
		Name: "libssl3", Version: "3.0.11-1", Arch: "amd64", Source: "openssl", SourceVersion: "3.0.11-0", Vendor: "A. Person <a@example.org>"}
	at := func(p dossier.Package, layer dossier.Digest, path, license string) dossier.SBOMPackage {
		return dossier.SBOMPackage{PackageAt: dossier.PackageAt{Package: p, Layer: layer, Path: path}, License: license}
	}
	inBase := at(deb, base, "var/lib/dpkg/status", "")
	inBase.Base = "registry.example/debian:12"
	npm := dossier.Package{PURL: "pkg:npm/%40scope/thing@1.0.0", Type: "npm", Ecosystem: "npm", Name: "@scope/thing", Version: "1.0.0"}
	owned := at(npm, base, "usr/share/nodejs/thing/package.json", "MIT")
	owned.Owner = &deb
	return dossier.SBOM{
		Digest: digest("index"), Manifest: digest("manifest"), Platform: "linux/arm64/v8", Name: "registry.example/team/web",
		AsOf: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Created: time.Date(2025, 1, 2, 3, 4, 5, 6000, time.UTC), Version: "1+test",
		Distribution: &dossier.Distribution{Path: "etc/os-release", ID: "debian", VersionID: "12", Name: "Debian GNU/Linux 12 (bookworm)", Ecosystem: "Debian:12"},
		Layers: []dossier.SBOMLayer{
			{Digest: base, DiffID: digest("base"), Size: 100, Base: "registry.example/debian:12", Instruction: "ADD rootfs"},
			{Digest: top, DiffID: digest("top"), Size: 10, Instruction: "COPY <app> /"}, {Digest: top, Size: 10},
		},
		Packages: []dossier.SBOMPackage{
			inBase,
			at(dossier.Package{PURL: "pkg:golang/stdlib@1.26.1", Type: "golang", Ecosystem: "Go", Name: "stdlib", Version: "1.26.1"}, top, "app", ""),
			at(dossier.Package{PURL: "pkg:maven/org.example/app@1", Type: "maven", Ecosystem: "Maven", Name: "org.example:app", Version: "1"}, top, "app.jar!/lib/x.jar", "GPL, see LICENSE"),
			owned, at(npm, top, "srv/node_modules/@scope/thing/package.json", ""),
			at(dossier.Package{PURL: "pkg:rpm/bash@5.1", Type: "rpm", Name: "bash"}, top, "var/lib/rpm/rpmdb.sqlite", "GPL-3.0-or-later AND (MIT OR Apache-2.0)"),
		},
		Missed:   []dossier.Missed{{Layer: top, Path: "huge.jar", Reason: dossier.MissedFileSize, Detail: "the limit Archive is 1 byte"}},
		Evidence: []dossier.Digest{digest("fact")},
		Attached: []dossier.BillDiff{
			{AttachedBill: dossier.AttachedBill{Document: digest("bill"), How: "buildkit", Format: "SPDX 2.3", Tools: []string{"syft-1.2"}, Packages: 5}, Agree: 3,
				Missing: []string{"npm a 1"}, Extra: []string{"npm b 2"}, Otherwise: []string{"deb bash 5.2, not 5.1"}, More: 7},
			{AttachedBill: dossier.AttachedBill{Document: digest("broken"), How: "cosign", Problem: "it is no JSON object"}},
		},
	}
}

func rendered(t testing.TB, write func(io.Writer, dossier.SBOM) error, s dossier.SBOM) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// formats are the formats of others.
func formats() map[string]func(io.Writer, dossier.SBOM) error {
	return map[string]func(io.Writer, dossier.SBOM) error{"cyclonedx": CycloneDX, "spdx": SPDX}
}

func TestSBOM(t *testing.T) {
	for name, opt := range map[string]Options{"sbom.txt": {}, "sbom-wide.txt": {Wide: true}, "sbom-90.txt": {Width: 90}} {
		var b strings.Builder
		if err := SBOM(&b, bill(), opt); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
	for name, write := range formats() {
		golden(t, "sbom."+name+".json", string(rendered(t, write, bill())))
	}
}

// TestSBOMIsDeterministic: equal ones give equal bytes, and each change gives
// another identity.
func TestSBOMIsDeterministic(t *testing.T) {
	identity := map[string]*regexp.Regexp{"cyclonedx": regexp.MustCompile(`"serialNumber": "[^"]*"`), "spdx": regexp.MustCompile(`"documentNamespace": "[^"]*"`)}
	for name, write := range formats() {
		first := rendered(t, write, bill())
		later := bill()
		later.AsOf = later.AsOf.AddDate(1, 0, 0)
		if !bytes.Equal(first, rendered(t, write, later)) {
			t.Errorf("%s: when it is asked for makes a difference", name)
		}
		for i := range later.Packages {
			later.Packages[i].Base = ""
		}
		later.Layers[0].Base = ""
		if !bytes.Equal(first, rendered(t, write, later)) {
			t.Errorf("%s: which base is known makes a difference", name)
		}
		other := bill()
		other.Packages[0].Path = "elsewhere"
		if x, y := identity[name].Find(first), identity[name].Find(rendered(t, write, other)); x == nil || bytes.Equal(x, y) {
			t.Errorf("%s: another document has the same identity %s", name, x)
		}
	}
}

// moduleDir is where the files of a module lie that was downloaded, or skips the
// test aloud.
func moduleDir(t *testing.T, path, version string) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Skipf("SKIPPED: no go here: %v", err)
	}
	escaped := regexp.MustCompile(`[A-Z]`).ReplaceAllStringFunc(path, func(s string) string { return "!" + strings.ToLower(s) })
	dir := filepath.Join(strings.TrimSpace(string(out)), escaped+"@"+version)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("SKIPPED: no published schema at hand: go mod download %s@%s brings it", path, version)
	}
	return dir
}

// compile reads a schema and those that it refers to.
func compile(t *testing.T, file string, others map[string]string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	add := func(url, file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if url == "" {
			url, _ = v.(map[string]any)["$id"].(string)
		}
		if err := c.AddResource(url, v); err != nil {
			t.Fatal(err)
		}
		return url
	}
	for url, f := range others {
		add(url, f)
	}
	s, err := c.Compile(add("", file))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// compileCycloneDX reads the schema of CycloneDX 1.6.
func compileCycloneDX(t *testing.T) *jsonschema.Schema {
	t.Helper()
	dir := filepath.Join(moduleDir(t, "github.com/CycloneDX/cyclonedx-go", "v0.12.0"), "schema")
	return compile(t, filepath.Join(dir, "bom-1.6.schema.json"), map[string]string{
		"http://cyclonedx.org/schema/spdx.schema.json":     filepath.Join(dir, "spdx.schema.json"),
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": filepath.Join(dir, "jsf-0.82.schemax.json"),
	})
}

// TestSBOMIsValid by the schemas that CycloneDX and SPDX publish.
func TestSBOMIsValid(t *testing.T) {
	empty := dossier.SBOM{Digest: digest("m"), Manifest: digest("m"), Name: "oci:dir", Version: "1+test"}
	strange := bill()
	strange.Name = "oci:dir:tag"
	strange.Packages[0].License, strange.Packages[0].Version, strange.Distribution, strange.Missed = "(MIT", "", nil, nil
	for name, schema := range map[string]func(t *testing.T) *jsonschema.Schema{
		"cyclonedx": compileCycloneDX,
		"spdx": func(t *testing.T) *jsonschema.Schema {
			return compile(t, filepath.Join(moduleDir(t, "github.com/anchore/syft", "v1.54.1"), "schema", "spdx-json", "spdx-schema-2.3.json"), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := schema(t)
			for i, b := range []dossier.SBOM{bill(), empty, strange} {
				v, err := jsonschema.UnmarshalJSON(bytes.NewReader(rendered(t, formats()[name], b)))
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Validate(v); err != nil {
					t.Errorf("document %d: %v", i, err)
				}
			}
			if err := s.Validate(map[string]any{"bomFormat": 1.0}); err == nil {
				t.Error("the schema finds nothing wrong with nonsense")
			}
		})
	}
}

// TestSBOMIsReadByOthers: all packages come out of the documents again.
func TestSBOMIsReadByOthers(t *testing.T) {
	var want []string
	for _, p := range bill().Packages {
		want = append(want, p.PURL)
	}
	want = slices.Compact(want)
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(rendered(t, CycloneDX, bill())), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range *bom.Components {
		if c.PackageURL != "" {
			got = append(got, c.PackageURL)
		}
	}
	if !slices.Equal(want, got) {
		t.Errorf("CycloneDX: got %v, want %v", got, want)
	}
	doc, err := spdxjson.Read(bytes.NewReader(rendered(t, SPDX, bill())))
	if err != nil {
		t.Fatal(err)
	}
	got = nil
	for _, p := range doc.Packages {
		for _, ref := range p.PackageExternalReferences {
			if !strings.HasPrefix(ref.Locator, "pkg:oci/") {
				got = append(got, ref.Locator)
			}
		}
	}
	if !slices.Equal(want, got) {
		t.Errorf("SPDX: got %v, want %v", got, want)
	}
}

func TestImagePURL(t *testing.T) {
	s := bill()
	want := "pkg:oci/web@sha256%3A" + s.Digest.Hex() + "?arch=arm64%2Fv8&repository_url=registry.example/team/web"
	if got := imagePURL(s); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s.Name = "oci:./dir"
	if got := imagePURL(s); got != "" {
		t.Errorf("of a directory: %s", got)
	}
}

// FuzzSBOM: whatever packages say of themselves, documents are JSON.
func FuzzSBOM(f *testing.F) {
	f.Add("name", "GPL-2.0", "path")
	f.Add("a\x00\xff", "(", "\u202e")
	f.Fuzz(func(t *testing.T, name, license, path string) {
		s := bill()
		s.Name, s.Packages[0].Name, s.Packages[0].License, s.Packages[0].Path, s.Packages[0].PURL = name, name, license, path, name
		for format, write := range formats() {
			if b := rendered(t, write, s); !json.Valid(b) {
				t.Errorf("%s: no JSON:\n%s", format, b)
			}
		}
	})
}
