// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package transfer_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry/transfer"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/testimage"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// outside returns a file that lies outside of everything.
func outside(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(file, []byte("secret"), 0o600))
	return file
}

// instead puts something in the place of a file.
func instead(t *testing.T, file string, put func(name string) error) {
	t.Helper()
	must(t, os.Remove(file))
	must(t, put(file))
}

func linkTo(target string) func(string) error {
	return func(name string) error { return os.Symlink(target, name) }
}

// TestHostileRoots imports storage roots that were made to do harm. Nothing outside
// is read, the file is told, and an honest repository beside it is taken.
func TestHostileRoots(t *testing.T) {
	secret := outside(t)
	type spoil = func(t *testing.T, s storage, evil *testimage.Content)
	for name, tt := range map[string]struct {
		spoil spoil
		told  string // "": nothing is wrong, there is just nothing to take
	}{
		"data is a link that leads out": {func(t *testing.T, s storage, evil *testimage.Content) {
			instead(t, s.blob(evil.Blobs[0].Digest), linkTo(secret))
		}, "path escapes"},
		"data is a link that leads up": {func(t *testing.T, s storage, evil *testimage.Content) {
			instead(t, s.blob(evil.Digest()), linkTo(strings.Repeat("../", 40)+secret[1:]))
		}, "path escapes"},
		"data is a link to itself": {func(t *testing.T, s storage, evil *testimage.Content) {
			instead(t, s.blob(evil.Digest()), linkTo("data"))
		}, "too many"},
		"data is a directory": {func(t *testing.T, s storage, evil *testimage.Content) {
			instead(t, s.blob(evil.Digest()), func(name string) error { return os.Mkdir(name, 0o755) })
		}, "not a regular file"},
		"data is a pipe": {func(t *testing.T, s storage, evil *testimage.Content) {
			instead(t, s.blob(evil.Digest()), func(name string) error { return syscall.Mkfifo(name, 0o644) })
		}, "not a regular file"},
		"a link file is a link that leads out": {func(t *testing.T, s storage, evil *testimage.Content) {
			instead(t, s.revision("evil", evil.Digest()), linkTo(secret))
		}, "path escapes"},
		"a repository is a link that leads out": {func(t *testing.T, s storage, _ *testimage.Content) {
			must(t, os.RemoveAll(s.file("repositories", "evil")))
			must(t, os.Symlink(filepath.Dir(secret), s.file("repositories", "evil")))
		}, ""},
		"a repository is a link to what is above it": {func(t *testing.T, s storage, _ *testimage.Content) {
			must(t, os.RemoveAll(s.file("repositories", "evil")))
			must(t, os.Symlink("..", s.file("repositories", "evil")))
		}, ""},
		"a name that is none": {func(t *testing.T, s storage, _ *testimage.Content) {
			must(t, os.Rename(s.file("repositories", "evil"), s.file("repositories", "EVIL\x1b[31m")))
		}, "EVIL"},
		"a tag that is none": {func(t *testing.T, s storage, evil *testimage.Content) {
			s.tag("evil", "-x", evil.Digest(), day(1))
		}, "-x"},
		"a manifest too large": {func(t *testing.T, s storage, _ *testimage.Content) {
			pushRaw(s, `{"schemaVersion":2,"x":"`+strings.Repeat("x", 5<<20)+`"}`)
		}, "at most"},
		"schema 1": {func(t *testing.T, s storage, _ *testimage.Content) {
			pushRaw(s, `{"schemaVersion":1,"name":"x","tag":"y","fsLayers":[{"blobSum":"sha256:00"}]}`)
		}, "schema 1"},
		"indexes without end": {func(t *testing.T, s storage, _ *testimage.Content) {
			var b testimage.Builder = testimage.Image{Author: "deep"}
			for range transfer.MaxNesting + 4 {
				b = testimage.Index{Entries: []testimage.Entry{{Of: b, Platform: "-"}}}
			}
			c := testimage.Must(t, b)
			s.push("evil", c, day(2))
			must(t, os.Chtimes(s.revision("evil", c.Digest()), day(1), day(1))) // the outermost comes first
		}, "MaxNesting"},
		"directories without end": {func(t *testing.T, s storage, _ *testimage.Content) {
			must(t, os.MkdirAll(s.file("repositories", strings.Repeat("d/", transfer.MaxDepth+3), "_manifests"), 0o755))
		}, "MaxDepth"},
		"files where directories should be": {func(t *testing.T, s storage, _ *testimage.Content) {
			must(t, os.RemoveAll(s.file("repositories", "evil", "_manifests")))
			s.write([]byte("x"), time.Time{}, "repositories/evil/_manifests")
		}, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorage(t)
			honest, evil := image(t, "honest"), image(t, "evil")
			s.push("zzz/honest", honest, day(1))
			s.tag("zzz/honest", "latest", honest.Digest(), day(1))
			s.push("evil", evil, day(1))
			s.tag("evil", "latest", evil.Digest(), day(1))
			tt.spoil(t, s, evil)
			l := newLab(t, sqlstore.Config{})
			r := l.load(t.Context(), s.dir, nil)
			if r.err != nil {
				t.Fatal(r.err)
			}
			told := strings.Join(r.problems, "\n")
			if (told == "") != (tt.told == "") || !strings.Contains(told, tt.told) {
				t.Errorf("told %q, want %q", told, tt.told)
			}
			content := l.content(t)
			if !strings.Contains(content, "zzz/honest\n") || !strings.Contains(content, "tag latest "+honest.Digest().Short()) {
				t.Errorf("what is honest was not taken:\n%s", content)
			}
		})
	}
}

// pushRaw pushes a manifest of any kind into the repository evil.
func pushRaw(s storage, text string) {
	s.push("evil", &testimage.Content{Manifests: []testimage.Blob{{Bytes: []byte(text), Digest: dossier.FromBytes([]byte(text))}}}, day(1))
}

// TestHostileLayouts does the same with layouts.
func TestHostileLayouts(t *testing.T) {
	secret := outside(t)
	c := image(t, "layout")
	entry := func(digest, tag string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":1,`+
			`"annotations":{"org.opencontainers.image.ref.name":%q}}]}`, digest, tag)
	}
	zero := strings.Repeat("0", 64)
	for name, tt := range map[string]struct {
		index string
		spoil func(dir string) error
		told  string
	}{
		"a digest that leads up":    {entry("sha256:../../../etc/passwd", "x"), nil, "entry 0"},
		"an algorithm that does":    {entry("../x:"+zero, "x"), nil, "entry 0"},
		"no JSON":                   {"{", nil, "index.json"},
		"a list":                    {"[]", nil, "index.json"},
		"a tag that leads up":       {entry(string(c.Digest()), "../../x"), nil, "../../x"},
		"a tag of another registry": {entry(string(c.Digest()), "evil/../../x:1"), nil, "evil/../../x:1"},
		"what is not there":         {entry("sha256:"+zero, "x"), nil, "it is not there"},
		"a blob as a manifest":      {entry(string(c.Blobs[1].Digest), "x"), nil, "it is not a JSON object"},
		"a config as a manifest":    {entry(string(c.Blobs[0].Digest), "x"), nil, "config at position 0"},
		"blobs lead out": {entry(string(c.Digest()), "x"), func(dir string) error {
			if err := os.RemoveAll(filepath.Join(dir, "blobs")); err != nil {
				return err
			}
			return os.Symlink(filepath.Dir(secret), filepath.Join(dir, "blobs"))
		}, "path escapes"},
		"the index leads out": {"", func(dir string) error {
			if err := os.Remove(filepath.Join(dir, "index.json")); err != nil {
				return err
			}
			return os.Symlink(secret, filepath.Join(dir, "index.json"))
		}, "there is nothing to import"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, testimage.WriteLayout(dir, "x", c))
			must(t, os.WriteFile(filepath.Join(dir, "index.json"), []byte(tt.index), 0o644))
			if tt.spoil != nil {
				must(t, tt.spoil(dir))
			}
			l := newLab(t, sqlstore.Config{})
			r := l.load(t.Context(), dir, func(c *transfer.ImportConfig) { c.Repository = "app" })
			told := strings.Join(r.problems, "\n")
			if r.err != nil {
				told += r.err.Error()
			}
			if !strings.Contains(told, tt.told) {
				t.Errorf("told %q, want %q", told, tt.told)
			}
			if content := l.content(t); strings.Contains(content, "tag") {
				t.Errorf("a tag came of it:\n%s", content)
			}
		})
	}
}

// TestExportLeavesTheRestAlone writes into a directory that was prepared to lead
// elsewhere.
func TestExportLeavesTheRestAlone(t *testing.T) {
	l := newLab(t, sqlstore.Config{})
	s, c := sampleRoot(t)
	if r := l.load(t.Context(), s.dir, nil); r.err != nil {
		t.Fatal(r.err)
	}
	elsewhere, dir := t.TempDir(), t.TempDir()
	must(t, os.Symlink(elsewhere, filepath.Join(dir, "blobs")))
	_, err := transfer.Export(t.Context(), dir, transfer.ExportConfig{
		Registry: l.local, Select: []transfer.Selection{{Repository: "org/app", Digest: c["one"].Digest()}},
	})
	if dossier.KindOf(err) != dossier.KindStorage {
		t.Errorf("%v, want it refused", err)
	}
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) > 0 {
		t.Errorf("elsewhere there is %v, %v", entries, err)
	}
}

// FuzzParse reads links and indexes of layouts.
func FuzzParse(f *testing.F) {
	zero := "sha256:" + strings.Repeat("0", 64)
	f.Add([]byte(zero + "\n"))
	f.Add([]byte(`{"manifests":[{"digest":"` + zero + `","annotations":{"org.opencontainers.image.ref.name":"a/b:c","io.containerd.image.name":"docker.io/library/x:1"}}]}`))
	f.Add([]byte(`{"manifests":[{"digest":"sha256:../..","annotations":{"org.opencontainers.image.ref.name":"../a:b"}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := transfer.ParseLink(b); err == nil {
			if _, err := dossier.ParseDigest(string(d)); err != nil || strings.ContainsAny(string(d), "/.") {
				t.Errorf("%q is taken for the digest %q", b, d)
			}
		}
		paths, err := transfer.ParseIndex(b)
		if err == nil && !json.Valid(b) {
			t.Errorf("%q is taken for an index", b)
		}
		for _, p := range paths {
			if filepath.IsAbs(p) || strings.Contains(p, "..") || strings.Count(p, "/") != 2 {
				t.Errorf("%q leads to %q", b, p)
			}
		}
	})
}
