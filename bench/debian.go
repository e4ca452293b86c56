// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"dossier.dev/dossier/bench/layout"
)

// debianPackages are what the root file system holds beside the least of Debian, some
// 400 packages in all: npm as Debian splits it, libraries of Java, and what people use.
const debianPackages = "nodejs npm liblog4j2-java libspring-context-java libcommons-lang3-java python3-pip ruby-rack curl procps less"

// debianMirror is where debootstrap gets them.
const debianMirror = "http://deb.debian.org/debian"

// debian is a root file system of Debian 12 as layers.
type debian struct {
	Base []layout.Layer // base first: all but usr/lib and usr/share, usr/lib, usr/share
	Java layout.Layer   // an application: one jar with those of the root file system in it
}

// needDebian makes the layers, or finds those of an earlier run where caches are kept:
// it takes minutes, and hundreds of megabytes.
func (l *lab) needDebian(ctx context.Context) (d debian, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return d, err
	}
	sum := sha256.Sum256([]byte("2 " + debianPackages))
	dir := filepath.Join(cache, "dossier", "bench", fmt.Sprintf("debian-%x", sum[:8]))
	if b, err := os.ReadFile(filepath.Join(dir, "layers.json")); err == nil {
		return d, json.Unmarshal(b, &d)
	}
	l.say("making a root file system of Debian 12, once; kept in %s", dir)
	rootfs := filepath.Join(l.dir, "rootfs")
	// In a Debian of its own apt orders the packages, which debootstrap does not.
	for _, args := range [][]string{
		{"debootstrap", "--variant=minbase", "bookworm", rootfs, cmp.Or(os.Getenv("DOSSIER_BENCH_DEBIAN"), debianMirror)},
		{"cp", "/etc/resolv.conf", filepath.Join(rootfs, "etc/resolv.conf")},
		append([]string{"chroot", rootfs, "apt-get", "install", "-y", "-q", "--no-install-recommends"}, strings.Fields(debianPackages)...),
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
		if out, err := cmd.CombinedOutput(); err != nil {
			return d, fmt.Errorf("%s, which must run as root: %w\n%s", args[0], err, out[max(0, len(out)-2000):])
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return d, err
	}
	for i, in := range []func(name string) bool{
		func(name string) bool {
			return !strings.HasPrefix(name, "usr/lib/") && !strings.HasPrefix(name, "usr/share/") && !strings.HasPrefix(name, "var/cache/apt/")
		},
		func(name string) bool { return strings.HasPrefix(name, "usr/lib/") },
		func(name string) bool { return strings.HasPrefix(name, "usr/share/") },
	} {
		layer, err := layout.Write(filepath.Join(dir, fmt.Sprint(i, ".tar.gz")), func(w *tar.Writer) error { return layout.WriteTree(w, rootfs, in) })
		if err != nil {
			return d, err
		}
		d.Base = append(d.Base, layer)
	}
	d.Java, err = layout.Write(filepath.Join(dir, "java.tar.gz"), func(w *tar.Writer) error {
		b, err := jarOfJars(filepath.Join(rootfs, "usr/share/java"))
		return errors.Join(err, layout.WriteFile(w, "srv/shop.jar", b))
	})
	if err != nil {
		return d, err
	}
	b, err := json.Marshal(d)
	if err != nil {
		return d, err
	}
	return d, errors.Join(os.WriteFile(filepath.Join(dir, "layers.json"), b, 0o644), os.RemoveAll(rootfs))
}

// jarOfJars packs the jars of a directory into one as Spring Boot does.
func jarOfJars(dir string) ([]byte, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.jar"))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name string, content []byte) error {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	}
	if err := add("META-INF/maven/example/shop/pom.properties", []byte("groupId=example\nartifactId=shop\nversion=1.4.0\n")); err != nil {
		return nil, err
	}
	for _, name := range names {
		if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue // another name of one of them
		}
		content, err := os.ReadFile(name)
		if err == nil {
			err = add("BOOT-INF/lib/"+filepath.Base(name), content)
		}
		if err != nil {
			return nil, err
		}
	}
	return b.Bytes(), z.Close()
}

// base returns the layers of base n, base first: Debian's, each with a file in front
// that only this base has, so that none is equal to another's.
func (l *lab) base(ctx context.Context, n int) ([]layout.Layer, error) {
	if layers, ok := l.bases[n]; ok {
		return layers, nil
	}
	d, err := l.needDebian(ctx)
	if err != nil {
		return nil, err
	}
	var layers []layout.Layer
	for i, layer := range d.Base {
		marked, err := layer.Mark(filepath.Join(l.dir, fmt.Sprintf("base-%d-%d.tar.gz", n, i)), "opt/base", fmt.Appendf(nil, "%d\n", n))
		if err != nil {
			return nil, err
		}
		layers = append(layers, marked)
	}
	if l.bases == nil {
		l.bases = map[int][]layout.Layer{}
	}
	l.bases[n] = layers
	return layers, nil
}

// nodeApplication returns a layer with a Node application of 50 modules.
func (l *lab) nodeApplication(n int) (layout.Layer, error) {
	return layout.Write(filepath.Join(l.dir, fmt.Sprintf("node-%d.tar.gz", n)), func(w *tar.Writer) error {
		for m := range 50 {
			dir := fmt.Sprintf("app/node_modules/module-%d/", m)
			body := fmt.Appendf(nil, `{"name":"module-%d","version":"%d.%d.0","license":"MIT","main":"index.js"}`, m, n, m)
			if err := errors.Join(layout.WriteFile(w, dir+"package.json", body), layout.WriteFile(w, dir+"index.js", []byte("module.exports = 1\n"))); err != nil {
				return err
			}
		}
		return nil
	})
}

// javaApplication returns the layer with the Java application, beside the others.
func (l *lab) javaApplication(ctx context.Context) (layout.Layer, error) {
	d, err := l.needDebian(ctx)
	if err != nil {
		return layout.Layer{}, err
	}
	return d.Java.Mark(filepath.Join(l.dir, "java.tar.gz"), "srv/README", []byte("a shop\n"))
}

// oldModules is a program with modules that have long been known to be vulnerable, and
// calls what is vulnerable in one of them.
const oldModules = `package main

import (
	"fmt"

	"github.com/dgrijalva/jwt-go"
	"github.com/gin-gonic/gin"
	"golang.org/x/text/language"
)

func main() {
	fmt.Println(language.ParseAcceptLanguage("de"))
	fmt.Println(jwt.Parse("x", nil))
	_ = gin.Default().Run()
}
`

// goApplication returns a layer with a program of Go that has known vulnerabilities.
func (l *lab) goApplication(ctx context.Context) (layer layout.Layer, err error) {
	dir := filepath.Join(l.dir, "old-modules")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return layer, err
	}
	const mod = "module example.org/old\n\ngo 1.26\n\nrequire (\n\tgithub.com/dgrijalva/jwt-go v3.2.0+incompatible\n\tgithub.com/gin-gonic/gin v1.6.3\n\tgolang.org/x/text v0.3.5\n)\n"
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o644), os.WriteFile(filepath.Join(dir, "main.go"), []byte(oldModules), 0o644)); err != nil {
		return layer, err
	}
	for _, args := range [][]string{{"mod", "tidy"}, {"build", "-o", "old", "."}} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=mod")
		if out, err := cmd.CombinedOutput(); err != nil {
			return layer, fmt.Errorf("building a program with old modules: %w\n%s", err, out)
		}
	}
	return layout.Write(filepath.Join(l.dir, "go.tar.gz"), func(w *tar.Writer) error {
		b, err := os.ReadFile(filepath.Join(dir, "old"))
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: "usr/local/bin/old", Mode: 0o755, Size: int64(len(b)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err = io.Copy(w, bytes.NewReader(b))
		return err
	})
}
