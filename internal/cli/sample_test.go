// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/testimage"
)

// built is when the sample images were built: recently, whenever the test runs.
func built() time.Time { return time.Now().UTC().Truncate(24*time.Hour).AddDate(0, -1, 0) }

func baseImage(platform string) testimage.Image {
	return testimage.Image{
		Platform: platform, Created: built(),
		Layers: []testimage.Layer{{CreatedBy: "ADD rootfs.tar / # buildkit", Files: map[string]testimage.File{
			"etc/os-release": testimage.Text("ID=sample\nVERSION_ID=1\n# " + platform + "\n"),
		}}},
	}
}

func webImage(platform, version string) testimage.Image {
	im := baseImage(platform)
	im.Layers = append(im.Layers, testimage.Layer{
		CreatedBy: "COPY web /web # buildkit",
		Files:     map[string]testimage.File{"web": testimage.Program([]byte("#!/bin/sh\necho " + version + "\n"))},
	})
	im.Labels = map[string]string{
		ocispec.AnnotationTitle:    "web",
		ocispec.AnnotationVersion:  version,
		ocispec.AnnotationSource:   "https://git.example/org/web",
		ocispec.AnnotationRevision: "9f2c41d07be8a3154c6f0b9d2e7a8c5513f4d6e0",
		ocispec.AnnotationVendor:   "Example",
	}
	return im
}

// debianImage has a package database.
func debianImage() testimage.Image {
	return testimage.Image{Created: built(), Cmd: []string{"bash"}, Layers: []testimage.Layer{{CreatedBy: "ADD rootfs.tar / # buildkit", Files: map[string]testimage.File{
		"etc/os-release":      testimage.Text("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n"),
		"var/lib/dpkg/status": testimage.Text("Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2\n\n"),
	}}}}
}

// debianUpdate is a later state of it.
func debianUpdate(bash, note string) testimage.Image {
	im := debianImage()
	files := im.Layers[0].Files
	files["var/lib/dpkg/status"] = testimage.Text("Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: " + bash + "\n\n")
	files["etc/motd"] = testimage.Text(note)
	return im
}

// shopImage is an application on it.
func shopImage(platform, manifest string) testimage.Image {
	im := debianImage()
	im.Platform, im.WorkingDir, im.Cmd = platform, "/app", []string{"npm", "start"}
	im.Layers = append(im.Layers, testimage.Layer{CreatedBy: "COPY . /app # buildkit", Files: map[string]testimage.File{"app/package.json": testimage.Text(manifest)}})
	return im
}

func shopManifest(version string) string {
	return `{"name": "shop", "version": "` + version + `", "license": "MIT"}`
}

// saidImage is the shop with a bill of materials that is not quite right.
func saidImage() testimage.Builder {
	shop := shopImage("", shopManifest("2.0.0"))
	c, err := shop.Build()
	if err != nil {
		panic(err)
	}
	bill := `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://spdx.dev/Document","subject":[{"digest":{"sha256":"` + c.Digest().Hex() + `"}}],"predicate":{"spdxVersion":"SPDX-2.3",` +
		`"creationInfo":{"creators":["Tool: scanner-1"]},"packages":[` + spdxEntry("pkg:deb/debian/bash@5.2.15-2") + `,` + spdxEntry("pkg:npm/shop@1.9.0") + `,` + spdxEntry("pkg:npm/ghost@1.0.0") + `]}}`
	x := testimage.Of(shop)
	x.Entries = append(x.Entries, testimage.Attestation(c.Digest(), []byte(bill)))
	return x
}

// vexedImage is the shop with a VEX document about it.
func vexedImage() testimage.Builder {
	shop := shopImage("", shopManifest("2.0.0"))
	c, err := shop.Build()
	if err != nil {
		panic(err)
	}
	doc := `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.org/3","author":"Shop","timestamp":"2026-01-01T00:00:00Z","version":1,"statements":[` +
		`{"vulnerability":{"name":"CVE-2024-1111"},"products":[{"@id":"pkg:oci/shop","hashes":{"sha-256":"` + c.Digest().Hex() + `"},"subcomponents":[{"@id":"pkg:npm/shop"}]}],` +
		`"status":"not_affected","justification":"inline_mitigations_already_exist"}]}`
	statement := `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://openvex.dev/ns/v0.2.0","subject":[{"digest":{"sha256":"` + c.Digest().Hex() + `"}}],"predicate":` + doc + `}`
	broken := `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://openvex.dev/ns/v0.2.0","subject":[{"digest":{"sha256":"` + c.Digest().Hex() + `"}}],"predicate":{"@context":"https://openvex.dev/ns/v0.2.0","statements":[{}]}}`
	x := testimage.Of(shop)
	x.Entries = append(x.Entries, testimage.Attestation(c.Digest(), []byte(statement), []byte(broken)))
	return x
}

// builtImage is the shop with provenance as BuildKit writes it, and some that is about
// another image.
func builtImage() testimage.Builder {
	shop := shopImage("", shopManifest("2.0.0"))
	c, err := shop.Build()
	if err != nil {
		panic(err)
	}
	provenance := func(subject, source string) []byte {
		return []byte(`{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2","subject":[{"name":"pkg:docker/shop@2.0.0","digest":{"sha256":"` + subject + `"}}],` +
			`"predicate":{"builder":{"id":""},"buildType":"https://mobyproject.org/buildkit@v1","materials":[{"uri":"pkg:docker/debian@12?platform=linux%2Famd64","digest":{"sha256":"` + strings.Repeat("1", 64) + `"}}],` +
			`"invocation":{"configSource":{"uri":"` + source + `#main","digest":{"sha1":"9f2c41d07be8a3154c6f0b9d2e7a8c5513f4d6e0"},"entryPoint":"Dockerfile"},"parameters":{"frontend":"dockerfile.v0","args":{"build-arg:VERSION":"2.0.0","build-arg:TOKEN":"hunter2"}}},` +
			`"metadata":{"buildInvocationID":"abc","completeness":{"materials":true}}}}`)
	}
	x := testimage.Of(shop)
	x.Entries = append(x.Entries, testimage.Attestation(c.Digest(), provenance(c.Digest().Hex(), "https://git.example/org/shop.git"), provenance(strings.Repeat("0", 64), "https://evil.example/org/shop.git")))
	return x
}

func spdxEntry(purl string) string {
	return `{"name":"x","externalRefs":[{"referenceType":"purl","referenceLocator":"` + purl + `"}]}`
}

// samples are the images that scripts use, by name.
func samples() map[string]testimage.Builder {
	return map[string]testimage.Builder{
		"base": baseImage("linux/amd64"),
		"web1": webImage("linux/amd64", "1.0.0"),
		"web2": webImage("linux/amd64", "2.0.0"),
		"multi": testimage.Of(
			webImage("linux/amd64", "1.0.0"), webImage("linux/arm64", "1.0.0"),
		),
		"debian":    debianImage(),
		"debian-u0": debianUpdate("5.2.15-2", "later\n"),
		"debian-u1": debianUpdate("5.2.15-2+deb12u1", "mended\n"),
		"shop":      shopImage("", shopManifest("2.0.0")),
		"shop2":     shopImage("", shopManifest("2.1.0")),
		"multishop": testimage.Of(shopImage("linux/amd64", shopManifest("2.0.0")), shopImage("linux/arm64", shopManifest("2.1.0"))),
		"saidshop":  saidImage(),
		"vexedshop": vexedImage(),
		"builtshop": builtImage(),
		"torn":      shopImage("", `{"name": "shop", "versi`),
		"env":       testimage.Image{Created: built(), Env: []string{"NGINX_VERSION=1.27.0"}, Layers: baseImage("linux/amd64").Layers},
		"bare":      testimage.Image{Layers: []testimage.Layer{{Files: map[string]testimage.File{"x": testimage.Text("x")}}}},
		"large":     testimage.Image{Created: built(), Layers: []testimage.Layer{{Uncompressed: true, Files: map[string]testimage.File{"x": testimage.Text(strings.Repeat("no blob this large lies in a row ", 1000))}}}},
		"hostile": testimage.Image{Created: built(), Labels: map[string]string{
			ocispec.AnnotationTitle: "evil\x1b[2J\ntitle", ocispec.AnnotationVersion: "1",
		}},
		"notjson": testimage.Image{RawConfig: []byte("this is no JSON")},
		"labels": testimage.Image{Created: built(), Labels: map[string]string{
			ocispec.AnnotationTitle: strings.Repeat("label ", 9<<20/6),
		}},
		"manylabels": testimage.Image{Created: built(), Labels: manyLabels(20_000)},
		"deep":       nested(8),
		"wide":       wideIndex(1001),
		"wrongsize": testimage.Index{Entries: []testimage.Entry{{Of: baseImage("linux/amd64"), Change: func(d *ocispec.Descriptor) {
			d.Size += 7
		}}}},
		"strange":  testimage.Raw{MediaType: "application/vnd.example.thing.v9+json", Bytes: []byte(`{"thing":9}`)},
		"artifact": testimage.Artifact{ArtifactType: "application/vnd.example.chart", ConfigType: "application/vnd.example.config+json", Config: []byte(`{"name":"chart"}`)},
		"schema1":  testimage.Raw{MediaType: "application/vnd.docker.distribution.manifest.v1+json", Bytes: []byte(`{"schemaVersion":1,"name":"old"}`)},
		"cutjson":  testimage.Raw{MediaType: ocispec.MediaTypeImageManifest, Bytes: []byte(`{"schemaVersion":2,"config":{"mediaType":`)},
	}
}

// manyLabels are n labels of a hundred bytes or so.
func manyLabels(n int) map[string]string {
	labels := map[string]string{}
	for i := range n {
		labels[fmt.Sprintf("example.label-%05d", i)] = strings.Repeat("value ", 15)
	}
	return labels
}

// nested is an image within depth indexes within each other.
func nested(depth int) testimage.Builder {
	var b testimage.Builder = baseImage("linux/amd64")
	for range depth {
		b = testimage.Index{Entries: []testimage.Entry{{Of: b}}}
	}
	return b
}

// wideIndex is an index with n entries, all of them the same image.
func wideIndex(n int) testimage.Builder {
	entries := make([]testimage.Entry, n)
	for i := range entries {
		entries[i] = testimage.Entry{Of: baseImage("linux/amd64"), Platform: fmt.Sprintf("linux/amd64/v%d", i)}
	}
	return testimage.Index{Entries: entries}
}

func sample(ts *testscript.TestScript, name string) *testimage.Content {
	b, ok := samples()[name]
	if !ok {
		ts.Fatalf("no sample image %s", name)
	}
	c, err := b.Build()
	ts.Check(err)
	return c
}

func configDigest(c *testimage.Content) dossier.Digest {
	return dossier.FromBytes(c.Config())
}

// makeNewer makes a database look as if a later version had written it.
func makeNewer(path string) (err error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
	return err
}

// masks take out of an output what differs from run to run.
var masks = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?`), "TIME"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "REGISTRY"},
	{regexp.MustCompile(`"id": "sha256:[0-9a-f]{64}"`), `"id": "FACT"`},
}
