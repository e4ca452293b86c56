// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"dossier.dev/dossier"
)

// goPrograms builds the smallest Go program in three ways, once for all tests.
var goPrograms = sync.OnceValues(func() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "dossier-origin-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{
		"go.mod":                "module example.com/shop/v2\n\ngo 1.26\n",
		"cmd/server/server.go":  "package main\n\nfunc main() {}\n",
		"cmd/server/ignored.md": "",
	} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	programs := map[string][]byte{}
	for name, flags := range map[string][]string{
		"plain":    {"-buildvcs=false"},
		"stripped": {"-buildvcs=false", "-trimpath", "-ldflags=-s -w"},
	} {
		out := filepath.Join(dir, name)
		cmd := exec.Command("go", append(append([]string{"build", "-o", out}, flags...), "./cmd/server")...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOOS=linux", "GOARCH=amd64")
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, errors.New(err.Error() + ": " + string(text))
		}
		if programs[name], err = os.ReadFile(out); err != nil {
			return nil, err
		}
	}
	return programs, nil
})

func goProgram(t *testing.T, name string) []byte {
	t.Helper()
	programs, err := goPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return programs[name]
}

// Entries of a layer.
func dir(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
func prog(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Linkname: "go"}
}
func text(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Linkname: "#!/bin/sh\n"}
}
func gone(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
func symlink(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}
}
func hardlink(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to, Mode: 0o755}
}

// archive writes a layer. The content of a regular file is the program when
// its Linkname is "go", and the Linkname else.
func archive(t testing.TB, program []byte, entries []tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		var content []byte
		if h.Typeflag == tar.TypeReg {
			content = []byte(h.Linkname)
			if h.Linkname == "go" {
				content = program
			}
			h.Linkname, h.Size = "", int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func layerOf(b []byte, opened *int) Layer {
	return Layer{
		Descriptor: Descriptor{Digest: dossier.FromBytes(b), Size: int64(len(b))},
		Open: func(context.Context) (io.ReadCloser, error) {
			*opened++
			return io.NopCloser(bytes.NewReader(b)), nil
		},
	}
}

func TestGoProgramFinds(t *testing.T) {
	program := goProgram(t, "stripped")
	app := Config{Entrypoint: []string{"/app"}}
	word := Config{Entrypoint: []string{"app"}, Env: []string{"PATH=/a:/b:/c"}}
	for _, tt := range []struct {
		name   string
		config Config
		layers [][]tar.Header // base first
		want   string         // path; empty: none
		layer  int
		opened int
	}{
		{"absolute", app, [][]tar.Header{{prog("app")}}, "/app", 0, 1},
		{"command without entrypoint", Config{Cmd: []string{"/app", "-v"}}, [][]tar.Header{{prog("./app")}}, "/app", 0, 1},
		{"top layer only is read", app, [][]tar.Header{{prog("app")}, {prog("app")}}, "/app", 1, 1},
		{"lower layer", app, [][]tar.Header{{prog("app")}, {text("other")}}, "/app", 0, 2},
		{"deleted", app, [][]tar.Header{{prog("app")}, {gone(".wh.app")}}, "", 0, 1},
		{"deleted and made anew in one layer", app, [][]tar.Header{{text("app")}, {gone(".wh.app"), prog("app")}}, "/app", 1, 1},
		{"directory deleted", Config{Cmd: []string{"/x/y/app"}}, [][]tar.Header{{dir("x"), dir("x/y"), prog("x/y/app")}, {gone(".wh.x")}}, "", 0, 1},
		{"opaque directory", Config{Cmd: []string{"/x/app"}}, [][]tar.Header{{dir("x"), prog("x/app")}, {dir("x"), gone("x/.wh..wh..opq")}}, "", 0, 1},
		{"opaque root", app, [][]tar.Header{{prog("app")}, {gone(".wh..wh..opq")}}, "", 0, 1},
		{"directory became a file", Config{Cmd: []string{"/x/app"}}, [][]tar.Header{{dir("x"), prog("x/app")}, {text("x")}}, "", 0, 1},
		{"first of PATH", word, [][]tar.Header{{dir("b"), prog("b/app"), dir("c"), prog("c/app")}}, "/b/app", 0, 1},
		{"PATH skips what cannot be run", word, [][]tar.Header{{dir("a"), gone("a/app"), dir("b"), prog("b/app")}}, "/b/app", 0, 1},
		{"standard PATH", Config{Cmd: []string{"app"}}, [][]tar.Header{{prog("usr/bin/app")}}, "/usr/bin/app", 0, 1},
		{"working directory", Config{Cmd: []string{"./app"}, WorkingDir: "/srv"}, [][]tar.Header{{prog("srv/app")}}, "/srv/app", 0, 1},
		{"init", Config{Entrypoint: []string{"/sbin/tini", "-g", "--", "/app"}}, [][]tar.Header{{prog("app")}}, "/app", 0, 1},
		{"symbolic link", app, [][]tar.Header{{prog("opt/real")}, {symlink("app", "opt/real")}}, "/opt/real", 0, 2},
		{"symbolic link upwards", Config{Cmd: []string{"/a/b/app"}}, [][]tar.Header{{dir("a"), dir("a/b"), symlink("a/b/app", "../../../../real"), prog("real")}}, "/real", 0, 2},
		{"linked directory of a lower layer", Config{Cmd: []string{"/bin/app"}}, [][]tar.Header{{symlink("bin", "usr/bin")}, {dir("usr"), dir("usr/bin"), prog("usr/bin/app")}}, "/usr/bin/app", 1, 3},
		{"link to a layer above it", app, [][]tar.Header{{symlink("app", "/real")}, {prog("real")}}, "/real", 1, 3},
		{"hard link", app, [][]tar.Header{{prog("real"), hardlink("app", "real")}}, "/real", 0, 2},
		{"link to itself", app, [][]tar.Header{{symlink("app", "app")}}, "", 0, 1},
		{"hard link to itself", app, [][]tar.Header{{hardlink("app", "app")}}, "", 0, 1},
		{"links in a circle", app, [][]tar.Header{{symlink("app", "b/c"), symlink("b", "app")}}, "", 0, 1},
		{"script", app, [][]tar.Header{{text("app")}}, "", 0, 1},
		{"directory", app, [][]tar.Header{{dir("app")}}, "", 0, 1},
		{"shell form", Config{Entrypoint: []string{"/bin/sh", "-c", "/app"}}, [][]tar.Header{{prog("app")}}, "", 0, 0},
		{"script by name", Config{Entrypoint: []string{"/docker-entrypoint.sh", "app"}}, [][]tar.Header{{prog("app")}}, "", 0, 0},
		{"interpreter", Config{Cmd: []string{"python3.12", "app"}}, [][]tar.Header{{prog("app")}}, "", 0, 0},
		{"windows", Config{Platform: Platform{OS: "windows"}, Cmd: []string{"/app"}}, [][]tar.Header{{prog("app")}}, "", 0, 0},
		{"nothing to start", Config{}, [][]tar.Header{{prog("app")}}, "", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opened := 0
			var layers []Layer
			for _, entries := range tt.layers {
				layers = append(layers, layerOf(archive(t, program, entries), &opened))
			}
			temp := t.TempDir()
			got, err := GoProgram(t.Context(), tt.config, layers, Limits{TempDir: temp})
			if err != nil {
				t.Fatal(err)
			}
			if opened != tt.opened {
				t.Errorf("opened %d layers, want %d", opened, tt.opened)
			}
			if left, _ := os.ReadDir(temp); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			switch {
			case got == nil && tt.want == "":
			case got == nil:
				t.Errorf("found nothing, want %s", tt.want)
			case got.Path != tt.want || got.Layer != layers[tt.layer].Digest:
				t.Errorf("got %s of %s, want %s of %s", got.Path, got.Layer, tt.want, layers[tt.layer].Digest)
			}
		})
	}
}

func TestGoProgramReads(t *testing.T) {
	for _, tt := range []struct {
		build string
		pack  func(*testing.T, []byte) []byte
		want  map[string]string
	}{
		{"plain", func(t *testing.T, b []byte) []byte { return b }, map[string]string{"CGO_ENABLED": "0", "GOOS": "linux"}},
		{"plain", packGzip, map[string]string{"GOARCH": "amd64"}},
		{"stripped", packZstd, map[string]string{"-trimpath": "true", "-compiler": "gc"}},
	} {
		opened := 0
		layer := layerOf(tt.pack(t, archive(t, goProgram(t, tt.build), []tar.Header{prog("app")})), &opened)
		got, err := GoProgram(t.Context(), Config{Cmd: []string{"/app"}}, []Layer{layer}, Limits{})
		if err != nil || got == nil {
			t.Fatalf("%s: got %v, %v", tt.build, got, err)
		}
		for k, v := range tt.want {
			if got.Settings[k] != v {
				t.Errorf("%s: setting %s = %q, want %q", tt.build, k, got.Settings[k], v)
			}
		}
		if !strings.HasPrefix(got.GoVersion, "go1.") {
			t.Errorf("%s: Go version %q", tt.build, got.GoVersion)
		}
		want := &dossier.GoBuild{Path: "/app", Layer: layer.Digest, Main: "example.com/shop/v2/cmd/server", Module: "example.com/shop/v2", Version: "(devel)"}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(dossier.GoBuild{}, "GoVersion", "Settings")); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.build, diff)
		}
	}
}

func packGzip(t *testing.T, b []byte) []byte {
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

func packZstd(t *testing.T, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

func TestGoProgramFails(t *testing.T) {
	program := goProgram(t, "stripped")
	whole := archive(t, program, []tar.Header{prog("app"), text("x"), text("y")})
	lying := func(l Layer) Layer {
		l.Digest = dossier.FromBytes([]byte("other"))
		return l
	}
	broken := errors.New("connection lost")
	opened := 0
	for _, tt := range []struct {
		name   string
		layer  Layer
		limits Limits
		want   dossier.Kind
	}{
		{"wrong digest", lying(layerOf(whole, &opened)), Limits{}, dossier.KindCorrupt},
		{"wrong digest of no archive", lying(layerOf([]byte("nonsense, and longer than one word"), &opened)), Limits{}, dossier.KindCorrupt},
		{"malformed digest", Layer{Descriptor: Descriptor{Digest: "sha1:00"}}, Limits{}, dossier.KindInvalid},
		{"no archive", layerOf(bytes.Repeat([]byte("nonsense"), 200), &opened), Limits{}, dossier.KindInvalid},
		{"truncated archive", layerOf(whole[:len(whole)/2], &opened), Limits{}, dossier.KindInvalid},
		{"truncated gzip", layerOf(packGzip(t, whole)[:1000], &opened), Limits{}, dossier.KindInvalid},
		{"truncated zstd", layerOf(packZstd(t, whole)[:1000], &opened), Limits{}, dossier.KindInvalid},
		{"bzip2", layerOf([]byte("BZh91AY&SY"), &opened), Limits{}, dossier.KindUnsupported},
		{"too many compressed bytes", layerOf(packGzip(t, whole), &opened), Limits{Layer: 1000}, dossier.KindLimit},
		{"too many bytes", layerOf(packGzip(t, whole), &opened), Limits{Unpacked: 5000}, dossier.KindLimit},
		{"too many entries", layerOf(whole, &opened), Limits{Entries: 2}, dossier.KindLimit},
		{"too large a program", layerOf(whole, &opened), Limits{Program: 1000}, dossier.KindLimit},
		{"lost connection", Layer{
			Descriptor: Descriptor{Digest: dossier.FromBytes(whole)},
			Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(whole[:5000]), failing{broken})), nil
			},
		}, Limits{}, dossier.KindInternal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.limits.TempDir = t.TempDir()
			got, err := GoProgram(t.Context(), Config{Cmd: []string{"/app"}}, []Layer{tt.layer}, tt.limits)
			if dossier.KindOf(err) != tt.want || got != nil {
				t.Errorf("got %v, %v; want an error of kind %q", got, err, tt.want)
			}
			if left, _ := os.ReadDir(tt.limits.TempDir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := GoProgram(ctx, Config{Cmd: []string{"/app"}}, []Layer{layerOf(whole, &opened)}, Limits{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
	t.Run("no room", func(t *testing.T) {
		limits := Limits{TempDir: filepath.Join(t.TempDir(), "absent")}
		_, err := GoProgram(t.Context(), Config{Cmd: []string{"/app"}}, []Layer{layerOf(whole, &opened)}, limits)
		if dossier.KindOf(err) != dossier.KindStorage {
			t.Errorf("got %v, want an error of kind storage", err)
		}
	})
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func FuzzGoProgram(f *testing.F) {
	f.Add(archive(f, []byte("\x7fELF"), []tar.Header{prog("app"), symlink("x", "app")}), []byte("app"))
	f.Add(archive(f, nil, []tar.Header{symlink("app", "../.."), hardlink("b", "b"), gone("d/.wh..wh..opq")}), []byte("b"))
	f.Add([]byte{0x1f, 0x8b, 8}, []byte("app"))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0}, []byte("app"))
	f.Fuzz(func(t *testing.T, b, word []byte) {
		opened := 0
		limits := Limits{Layer: 1 << 20, Unpacked: 1 << 20, Entries: 1000, Program: 1 << 16, TempDir: os.TempDir()}
		c := Config{Cmd: []string{string(word)}, Env: []string{"PATH=/:/bin:relative"}}
		if _, err := GoProgram(t.Context(), c, []Layer{layerOf(b, &opened)}, limits); err != nil && dossier.KindOf(err) == dossier.KindInternal {
			t.Errorf("an error of no kind: %v", err)
		}
	})
}
