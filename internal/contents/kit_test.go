// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"dossier.dev/dossier"
)

// entry is one entry of a layer.
type entry struct {
	tar.Header
	body string
}

func file(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, body}
}

func exe(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755}, body}
}

func dir(name string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}}
}

func hardlink(name, target string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target, Mode: 0o644}}
}

// gone is a whiteout of a path.
func gone(name string) entry {
	i := strings.LastIndexByte(name, '/') + 1
	return file(name[:i]+whiteout+name[i:], "")
}

// tarOf writes an archive. All times are 1970, as in reproducible images.
func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size, e.ModTime = int64(len(e.body)), time.Unix(0, 0)
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// layerOf returns an uncompressed layer.
func layerOf(b []byte) Layer {
	d := dossier.FromBytes(b)
	return Layer{Digest: d, DiffID: d, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

func gzipOf(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// zipOf writes an archive of names and contents in turn.
func zipOf(t testing.TB, pairs ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		f, err := w.Create(pairs[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, pairs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// readLayer reads one layer and fails the test when it cannot.
func readLayer(t testing.TB, o Options, entries ...entry) LayerResult {
	t.Helper()
	if o.TempDir == "" {
		o.TempDir = t.TempDir()
	}
	r, err := ReadLayer(t.Context(), layerOf(tarOf(t, entries...)), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// readImage reads an image of uncompressed layers.
func readImage(t testing.TB, layers ...[]entry) Image {
	t.Helper()
	var all []Layer
	for _, entries := range layers {
		all = append(all, layerOf(tarOf(t, entries...)))
	}
	r, err := Read(t.Context(), all, Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return r.Image
}

// purls returns "purl layer path" of each package.
func purls(image Image) []string {
	var out []string
	for _, p := range image.Packages {
		out = append(out, p.PURL+" "+string(rune('0'+p.Position))+" "+p.Path)
	}
	return out
}

// reasons returns "path reason" of what was missed.
func reasons(list []dossier.Missed) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.Path+" "+string(m.Reason))
	}
	return out
}

const (
	debian12  = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n"
	dpkgZlib  = "Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nSource: zlib\nVersion: 1:1.2.13.dfsg-1\n\n"
	dpkgBash  = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2+b2\n\n"
	dpkgNewer = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2+b9\n\n"
	status    = "var/lib/dpkg/status"
	purlBash  = "pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64&distro=debian-12"
	purlZlib  = "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?arch=amd64&distro=debian-12"
)

func npm(name, version string) string {
	return `{"name": "` + name + `", "version": "` + version + `"}`
}

// jar returns a Java archive that says in the usual way what it is.
func jar(t testing.TB, group, artifact, version string, more ...string) string {
	return zipOf(t, append([]string{
		"META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n\n",
		"META-INF/maven/" + group + "/" + artifact + "/pom.properties", "groupId=" + group + "\nartifactId=" + artifact + "\nversion=" + version + "\n",
	}, more...)...)
}
