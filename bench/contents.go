// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier/bench/layout"
	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/internal/contents/bill"
)

// The peers, as the proxy of modules serves them.
const (
	syftModule  = "github.com/anchore/syft/cmd/syft@v1.54.1"
	grypeModule = "github.com/anchore/grype/cmd/grype@v0.120.1"
)

const (
	oneTimeRatio   = 0.5
	oneMemoryRatio = 0.25
	oneMemoryFloor = 128_000_000
	manyImages     = 100
	manyBases      = 5
	manyCold       = 15.0
	manyWarm       = 200.0
)

// needScanner builds a peer of the contents figures, and returns the program.
func (l *lab) needScanner(ctx context.Context, module string) (string, error) {
	name, _, _ := strings.Cut(filepath.Base(module), "@")
	path := filepath.Join(l.dir, "scanners", name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	l.say("building %s", module)
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags=-s -w", module)
	cmd.Dir, cmd.Env = l.dir, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOBIN="+filepath.Dir(path))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", module, err, out)
	}
	return path, nil
}

// lists is the package list of an image by Dossier in a format, which keeps what it
// learns in data.
func (l *lab) lists(image, data, format string, out io.Writer) measure.Command {
	c := l.dossier("sbom", "oci:"+image, "--data", data, "--offline", "-o", format)
	c.Stdout, c.Env = out, append(c.Env, "TMPDIR="+l.dir)
	return c
}

// peerLists is the same by Syft.
func (l *lab) peerLists(syft, image, format string, out io.Writer) measure.Command {
	return measure.Command{Path: syft, Args: []string{"scan", "oci-dir:" + image, "-q", "-o", format},
		Env: append(l.env(), "TMPDIR="+l.dir, "SYFT_CHECK_FOR_APP_UPDATE=false"), Stdout: out}
}

// inTurn runs commands in turn, three times each, and returns the quickest of each: what
// the machine does besides falls on all of them.
func inTurn(ctx context.Context, commands ...func(n int) (measure.Command, error)) ([]measure.Usage, error) {
	least := make([]measure.Usage, len(commands))
	for n := range 3 {
		for i, command := range commands {
			c, err := command(n)
			if err != nil {
				return nil, err
			}
			u, err := measure.Run(ctx, c)
			if err != nil {
				return nil, err
			}
			if n == 0 || u.Wall < least[i].Wall {
				u.PeakMemory = max(u.PeakMemory, least[i].PeakMemory)
				least[i] = u
			}
		}
	}
	return least, nil
}

// spent tells a run in words.
func spent(u measure.Usage) string {
	return fmt.Sprintf("%s, %s of processors, %s", load.Short(u.Wall), load.Short(u.CPU()), megabytes(u.PeakMemory))
}

// sizes tells the layers of an image in words.
func sizes(layers []layout.Layer) string {
	var packed, unpacked int64
	for _, l := range layers {
		packed, unpacked = packed+l.Descriptor.Size, unpacked+l.Unpacked
	}
	return fmt.Sprintf("%d layers, %s, decompressed %s", len(layers), megabytes(packed), megabytes(unpacked))
}

// measureContentsOne measures one image of which nothing is known.
func measureContentsOne(ctx context.Context, l *lab, r *report) error {
	if _, err := l.needProgram(ctx); err != nil {
		return err
	}
	syft, err := l.needScanner(ctx, syftModule)
	if err != nil {
		return err
	}
	base, err := l.base(ctx, 0)
	if err != nil {
		return err
	}
	node, err := l.nodeApplication(0)
	if err != nil {
		return err
	}
	java, err := l.javaApplication(ctx)
	if err != nil {
		return err
	}
	layers, image := append(slices.Clone(base), node, java), filepath.Join(l.dir, "one")
	if err := layout.WriteImage(image, layers); err != nil {
		return err
	}
	r.note("image", "Debian 12 with a Node and a Java application: %s", sizes(layers))
	var ours, theirs bytes.Buffer
	least, err := inTurn(ctx, func(n int) (measure.Command, error) {
		ours.Reset()
		return l.lists(image, filepath.Join(l.dir, fmt.Sprint("one-data-", n)), "cyclonedx", &ours), nil
	}, func(int) (measure.Command, error) {
		theirs.Reset()
		return l.peerLists(syft, image, "cyclonedx-json", &theirs), nil
	})
	if err != nil {
		return err
	}
	for _, list := range []struct {
		name string
		text []byte
	}{{"packages, by Dossier", ours.Bytes()}, {"packages, by Syft", theirs.Bytes()}} {
		kinds, err := kindsOf(list.text)
		if err != nil {
			return err
		}
		r.note(list.name, "%s", kinds)
	}
	r.note("the package list, best of 3", "%s", spent(least[0]))
	r.note("peer: syft "+versionOf(syftModule)+", default", "%s", spent(least[1]))
	r.atMost("time, of syft's", least[0].Wall.Seconds()/least[1].Wall.Seconds(), oneTimeRatio)
	r.atMost("processors' time, of syft's", least[0].CPU().Seconds()/least[1].CPU().Seconds(), oneTimeRatio)
	r.bounded("peak memory; a quarter of syft's, or 128 MB", least[0].PeakMemory, max(int64(oneMemoryRatio*float64(least[1].PeakMemory)), oneMemoryFloor))
	return l.measureFindings(ctx, r, layers)
}

func versionOf(module string) string {
	_, v, _ := strings.Cut(module, "@")
	return v
}

// kindsOf counts the packages of a bill of materials by type.
func kindsOf(text []byte) (string, error) {
	doc, err := bill.Parse(text, bill.Limits{Document: 64 << 20})
	if err != nil {
		return "", err
	}
	count := map[string]int{}
	for _, p := range doc.Packages {
		count[p.Key.Type]++
	}
	var words []string
	for kind, n := range count {
		words = append(words, fmt.Sprint(kind, " ", n))
	}
	slices.Sort(words)
	return strings.Join(words, ", "), nil
}

// measureFindings measures the findings of the same image with a program of Go in it:
// Go's database is one that both programs read from the same records.
func (l *lab) measureFindings(ctx context.Context, r *report, layers []layout.Layer) error {
	feed := filepath.Join(testData(l.root), "feeds", "Go.zip")
	if _, err := os.Stat(feed); err != nil {
		r.note("findings", "not measured: no advisories at DOSSIER_TESTDATA (%v)", err)
		return nil
	}
	grype, err := l.needScanner(ctx, grypeModule)
	if err != nil {
		return err
	}
	program, err := l.goApplication(ctx)
	if err != nil {
		return err
	}
	image := filepath.Join(l.dir, "one-go")
	if err := layout.WriteImage(image, append(slices.Clone(layers), program)); err != nil {
		return err
	}
	l.say("making Grype's database")
	database := filepath.Join(l.dir, "grype-db")
	build := exec.CommandContext(ctx, "go", "run", ".", "-o", database, feed)
	build.Dir, build.Env = filepath.Join(l.root, "bench", "grype"), append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("making Grype's database: %w\n%s", err, out)
	}
	data := filepath.Join(l.dir, "findings-data")
	if _, err := measure.Run(ctx, l.dossier("db", "import", feed, "--data", data)); err != nil {
		return err
	}
	var ours, theirs bytes.Buffer
	least, err := inTurn(ctx, func(n int) (measure.Command, error) {
		ours.Reset()
		fresh := fmt.Sprint(data, "-", n) // the advisories are there, and nothing of the image
		c := l.dossier("scan", "oci:"+image, "--data", fresh, "-o", "json")
		c.Stdout, c.Env = &ours, append(c.Env, "TMPDIR="+l.dir)
		return c, os.CopyFS(fresh, os.DirFS(data))
	}, func(int) (measure.Command, error) {
		theirs.Reset()
		return measure.Command{Path: grype, Args: []string{"oci-dir:" + image, "-q", "-o", "json"}, Stdout: &theirs, Env: append(l.env(), "TMPDIR="+l.dir,
			"GRYPE_DB_CACHE_DIR="+database, "GRYPE_DB_AUTO_UPDATE=false", "GRYPE_DB_VALIDATE_AGE=false", "GRYPE_CHECK_FOR_APP_UPDATE=false")}, nil
	})
	if err != nil {
		return err
	}
	var mine struct {
		Findings []struct{ Symbols string }
	}
	var other struct{ Matches []struct{} }
	if err := errors.Join(json.Unmarshal(ours.Bytes(), &mine), json.Unmarshal(theirs.Bytes(), &other)); err != nil {
		return err
	}
	absent := 0
	for _, f := range mine.Findings {
		if f.Symbols == "absent" {
			absent++
		}
	}
	r.note("findings, with a program of Go and Go's 4,291 advisories", "%d by Dossier, %d of them of functions that are not linked in; %d by Grype", len(mine.Findings), absent, len(other.Matches))
	r.note("findings, best of 3", "%s", spent(least[0]))
	r.note("peer: grype "+versionOf(grypeModule)+", its database warm", "%s", spent(least[1]))
	r.atMost("time, of grype's", least[0].Wall.Seconds()/least[1].Wall.Seconds(), oneTimeRatio)
	return nil
}

// testData is the folder with data for tests.
func testData(root string) string {
	if dir := os.Getenv("DOSSIER_TESTDATA"); dir != "" {
		return dir
	}
	return filepath.Join(root, "..", "shared", "data")
}

// measureContentsMany measures images that share their bases. Syft keeps nothing
// between images: it is run on one image of each base, and counted for the others.
func measureContentsMany(ctx context.Context, l *lab, r *report) error {
	if _, err := l.needProgram(ctx); err != nil {
		return err
	}
	syft, err := l.needScanner(ctx, syftModule)
	if err != nil {
		return err
	}
	n := manyImages
	if l.short {
		n = 2 * manyBases
	}
	var images []string
	var shared, own layout.Layer
	for i := range n {
		base, err := l.base(ctx, i%manyBases)
		if err != nil {
			return err
		}
		app, err := l.nodeApplication(i)
		if err != nil {
			return err
		}
		image := filepath.Join(l.dir, fmt.Sprint("many-", i))
		if err := layout.WriteImage(image, append(slices.Clone(base), app)); err != nil {
			return err
		}
		images = append(images, image)
		own = app
		if i == 0 {
			for _, b := range base {
				shared.Unpacked += b.Unpacked
				shared.Descriptor.Size += b.Descriptor.Size
			}
		}
	}
	r.note("images", "%d on %d bases; an image shares %s (decompressed %s) with %d others, and has %.1f kB (%.1f kB) of its own", n, manyBases,
		megabytes(shared.Descriptor.Size), megabytes(shared.Unpacked), n/manyBases-1, float64(own.Descriptor.Size)/1e3, float64(own.Unpacked)/1e3)
	data := filepath.Join(l.dir, "many-data")
	var cold, warm, theirs time.Duration
	for _, total := range []*time.Duration{&cold, &warm} {
		for _, image := range images {
			u, err := measure.Run(ctx, l.lists(image, data, "table", io.Discard))
			if err != nil {
				return err
			}
			*total += u.Wall
		}
	}
	for _, image := range images[:manyBases] {
		u, err := measure.Run(ctx, l.peerLists(syft, image, "table", io.Discard))
		if err != nil {
			return err
		}
		theirs += u.Wall
	}
	theirs = theirs * time.Duration(n) / manyBases
	r.note("package lists, one command each", "%s", load.Short(cold))
	r.note("the same again, all layers known", "%s", load.Short(warm))
	r.note("peer: syft "+versionOf(syftModule)+", one image of each base times "+fmt.Sprint(n/manyBases), "%s", load.Short(theirs))
	r.atLeast("times faster than syft", theirs.Seconds()/cold.Seconds(), manyCold)
	r.atLeast("times faster, all layers known", theirs.Seconds()/warm.Seconds(), manyWarm)
	return nil
}
