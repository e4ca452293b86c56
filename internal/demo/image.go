// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"dossier.dev/dossier/internal/testimage"
)

const (
	osRelease = "etc/os-release"
	source    = "https://git.demo/shop/"
)

// alpine is a base image with a package database, as apk writes it.
func alpine(platform string, at time.Time) testimage.Image {
	arch := map[string]string{"linux/amd64": "x86_64", "linux/arm64": "aarch64"}[platform]
	return testimage.Image{
		Platform: platform,
		Created:  at,
		Layers: []testimage.Layer{{
			ModTime:   at,
			CreatedBy: "ADD alpine-minirootfs-3.20.3-" + arch + ".tar.gz / # buildkit",
			Files: map[string]testimage.File{
				osRelease:              testimage.Text("NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME=\"Alpine Linux v3.20\"\n"),
				"etc/alpine-release":   testimage.Text("3.20.3\n"),
				"lib/apk/db/installed": testimage.Text(apk(arch, "musl", "1.2.5-r0", "MIT") + apk(arch, "busybox", "1.36.1-r29", "GPL-2.0-only") + apk(arch, "libcrypto3", "3.3.2-r0", "Apache-2.0")),
			},
		}},
		Cmd: []string{"/bin/sh"},
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
}

// apk is one entry of an installed database (apk-tools, "installed" format).
func apk(arch, name, version, license string) string {
	return fmt.Sprintf("P:%s\nV:%s\nA:%s\nL:%s\n\n", name, version, arch, license)
}

// dpkg is one entry of a dpkg status file (deb-control).
func dpkg(name, source, version string) string {
	return fmt.Sprintf("Package: %s\nStatus: install ok installed\nSource: %s\nArchitecture: amd64\nVersion: %s\n\n", name, source, version)
}

// on adds a layer on top of a base image.
func on(base testimage.Image, layer testimage.Layer) testimage.Image {
	base.Layers = append(append([]testimage.Layer{}, base.Layers...), layer)
	return base
}

// lastWeek are the images as they were when the world began.
func lastWeek(program []byte, at time.Time) []sample {
	built := at.AddDate(0, -2, 0)
	base := testimage.Of(alpine("linux/amd64", built), alpine("linux/arm64", built))
	return []sample{
		{"base/alpine", "3.20", base},
		{"shop/web", "1.4.2", testimage.Of(web("linux/amd64", built), web("linux/arm64", built))},
		{"shop/api", "2.0.1", goProgram(program, built)},
		{"shop/worker", "stable", worker("one", built, at.AddDate(0, 0, -3))},
		{"shop/cart", "3.1", cart(built)},
		{"vendor/nginx", "1.27", nginx(at.AddDate(-2, 0, 0))},
		{"tools/fetch", "0.3.0", reproducible()},
		{"legacy/batch", "latest", testimage.Image{Platform: "-", Layers: []testimage.Layer{{Files: map[string]testimage.File{"app/run.sh": testimage.Program([]byte("#!/bin/sh\nexec sleep 3600\n"))}}}, Cmd: []string{"/app/run.sh"}}},
	}
}

// today are the images that were pushed since.
func today(at time.Time) []sample {
	return []sample{{"shop/worker", "stable", worker("two", at.AddDate(0, -2, -7), at.Add(-2*time.Hour))}}
}

// web says all that the image spec has words for, and is built on a base that the
// registry holds as well.
func web(platform string, at time.Time) testimage.Image {
	im := on(alpine(platform, at), testimage.Layer{
		ModTime:   at,
		CreatedBy: "COPY site /srv/www # buildkit",
		Files:     map[string]testimage.File{"srv/www/index.html": testimage.Text("<h1>shop</h1>\n")},
	})
	im.Created = at.Add(24 * time.Hour)
	im.Labels = map[string]string{
		ocispec.AnnotationTitle:         "shop-web",
		ocispec.AnnotationDescription:   "The shop's web front",
		ocispec.AnnotationVersion:       "1.4.2",
		ocispec.AnnotationSource:        source + "web",
		ocispec.AnnotationRevision:      "9f2c41d07be8a3154c6f0b9d2e7a8c5513f4d6e0",
		ocispec.AnnotationLicenses:      "Apache-2.0",
		ocispec.AnnotationVendor:        "Shop Ltd",
		ocispec.AnnotationAuthors:       "web@shop.demo",
		ocispec.AnnotationBaseImageName: Registry + "/base/alpine:3.20",
	}
	return im
}

// goProgram has no labels: the program itself says what it is.
func goProgram(program []byte, at time.Time) testimage.Image {
	return testimage.Image{
		Created:    at,
		Layers:     []testimage.Layer{{ModTime: at, CreatedBy: "COPY api /api # buildkit", Files: map[string]testimage.File{"api": testimage.Program(program)}}},
		Entrypoint: []string{"/api"},
	}
}

// worker is an image behind a tag that moves.
func worker(release string, base, at time.Time) testimage.Image {
	im := on(alpine("linux/amd64", base), testimage.Layer{
		ModTime: at, CreatedBy: "COPY worker /usr/bin/worker # buildkit",
		Files: map[string]testimage.File{"usr/bin/worker": testimage.Program([]byte("#!/bin/sh\necho release " + release + "\n"))},
	})
	im.Created = at
	im.Labels = map[string]string{ocispec.AnnotationTitle: "shop-worker", ocispec.AnnotationSource: source + "worker"}
	return im
}

// cart says one thing in its labels and another in its annotations.
func cart(at time.Time) testimage.Image {
	im := on(alpine("linux/amd64", at), testimage.Layer{
		ModTime: at, CreatedBy: "COPY cart /usr/bin/cart # buildkit",
		Files: map[string]testimage.File{"usr/bin/cart": testimage.Program([]byte("#!/bin/sh\n"))},
	})
	im.Created = at
	im.Labels = map[string]string{
		ocispec.AnnotationTitle: "cart", ocispec.AnnotationVersion: "3.1.0",
		ocispec.AnnotationSource: source + "cart", ocispec.AnnotationRevision: "b1946ac92492d2347c6235b4d2611184a2f0e5c8",
	}
	im.Annotations = map[string]string{ocispec.AnnotationVersion: "3.0.9", ocispec.AnnotationSource: source + "cart"}
	return im
}

// nginx says what it is in its environment only, and is old.
func nginx(at time.Time) testimage.Image {
	return testimage.Image{
		Created: at,
		Layers: []testimage.Layer{
			{ModTime: at, CreatedBy: "/bin/sh -c #(nop) ADD file:d6a3c1 in / ", Files: map[string]testimage.File{
				osRelease:             testimage.Text("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n"),
				"var/lib/dpkg/status": testimage.Text(dpkg("base-files", "base-files", "12.4+deb12u5") + dpkg("libc6", "glibc", "2.36-9+deb12u4")),
			}},
			{ModTime: at, CreatedBy: "/bin/sh -c apt-get install -y nginx=${NGINX_VERSION}", Files: map[string]testimage.File{
				"usr/sbin/nginx": testimage.Program([]byte("#!/bin/sh\n")),
			}},
		},
		Env:        []string{"NGINX_VERSION=1.27.0", "NJS_VERSION=0.8.4", "PKG_RELEASE=2~bookworm"},
		Entrypoint: []string{"/docker-entrypoint.sh"},
		Cmd:        []string{"nginx", "-g", "daemon off;"},
		Docker:     true,
	}
}

// reproducible was built so that nothing depends on the clock: it says 1970.
func reproducible() testimage.Image {
	epoch := time.Unix(0, 0)
	return testimage.Image{
		Created: epoch,
		Layers:  []testimage.Layer{{ModTime: epoch, CreatedBy: "bazel build ...", Files: map[string]testimage.File{"fetch": testimage.Program([]byte("#!/bin/true\n"))}}},
		Labels: map[string]string{
			ocispec.AnnotationTitle: "fetch", ocispec.AnnotationVersion: "0.3.0",
			ocispec.AnnotationSource: "https://git.demo/tools/fetch", ocispec.AnnotationRevision: "0cc175b9c0f1b6a831c399e269772661aa23b7c1",
		},
		Entrypoint: []string{"/fetch"},
	}
}
