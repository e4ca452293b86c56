// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"dossier.dev/dossier"
)

// testData is a folder of real data, or skips the test aloud.
func testData(t testing.TB, name string) string {
	t.Helper()
	root := os.Getenv("DOSSIER_TESTDATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	dir := filepath.Join(root, name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("SKIPPED: no real data: %v", err)
	}
	return dir
}

// TestAlpine reads real root file systems of Alpine and compares with what a
// few lines of code find in their databases.
func TestAlpine(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(testData(t, "rootfs"), "alpine-minirootfs-*.tar.gz"))
	if err != nil || len(names) == 0 {
		t.Fatalf("found %v, %v", names, err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			db, diffID := fileOf(t, b, "lib/apk/db/installed")
			var want []string
			for _, record := range strings.Split(strings.TrimSpace(db), "\n\n") {
				fields := map[string]string{}
				for line := range strings.SplitSeq(record, "\n") {
					key, value, _ := strings.Cut(line, ":")
					fields[key] = value
				}
				want = append(want, fields["P"]+" "+fields["V"]+" "+fields["o"])
			}
			l := Layer{Digest: dossier.FromBytes(b), DiffID: diffID, Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(b)), nil
			}}
			r, err := Read(t.Context(), []Layer{l}, Options{TempDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			release := strings.Split(filepath.Base(name), "-")[2] // 3.20.3
			line := release[:strings.LastIndexByte(release, '.')]
			var got []string
			for _, p := range r.Image.Packages {
				got = append(got, p.Name+" "+p.Version+" "+p.Source)
				if p.Ecosystem != "Alpine:v"+line || !strings.HasSuffix(p.PURL, "?arch=x86_64&distro=alpine-"+release) {
					t.Errorf("%s: ecosystem %s, purl %s", p.Name, p.Ecosystem, p.PURL)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" || len(want) < 10 {
				t.Errorf("%d packages (-want +got):\n%s", len(want), diff)
			}
			if len(r.Image.Missed) > 0 {
				t.Errorf("missed %v", r.Image.Missed)
			}
			t.Logf("%d packages, %d entries, %d links", len(got), r.Layers[0].Entries, len(r.Layers[0].Links))
		})
	}
}

// fileOf returns a file of a compressed layer, and the layer's diffID.
func fileOf(t testing.TB, packed []byte, name string) (string, dossier.Digest) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(bytes.NewReader(plain))
	for {
		h, err := archive.Next()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if cleanName(h.Name) == name {
			b, err := io.ReadAll(archive)
			if err != nil {
				t.Fatal(err)
			}
			return string(b), dossier.FromBytes(plain)
		}
	}
}

// TestDebian reads the database of the machine that the test runs on, when that
// is a Debian, and compares with dpkg-query.
func TestDebian(t *testing.T) {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n").Output()
	if err != nil {
		t.Skipf("SKIPPED: no dpkg here: %v", err)
	}
	db, err := os.ReadFile("/" + status)
	if err != nil {
		t.Skipf("SKIPPED: no dpkg here: %v", err)
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	var want []string
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "installed "); ok {
			want = append(want, rest)
		}
	}
	image := readImage(t, []entry{file("etc/os-release", string(release))}, []entry{file(status, string(db))})
	var got []string
	for _, p := range image.Packages {
		got = append(got, strings.Join([]string{p.Name, p.Version, p.Arch, p.Source, p.SourceVersion}, " "))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packages (-want +got):\n%.4000s", diff)
	}
	t.Logf("%d packages of %s", len(got), image.Distribution.Name)
}
