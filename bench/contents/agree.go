// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"

	"dossier.dev/dossier/bench/layout"
	"dossier.dev/dossier/internal/contents/bill"
)

// agree compares the packages that both programs find in root file systems.
func (c *comparison) agree(ctx context.Context, roots []string) error {
	if len(roots) == 0 {
		return errors.New("name root file systems: directories, or archives")
	}
	for i, root := range roots { // the programs run elsewhere
		abs, err := filepath.Abs(root)
		if err != nil {
			return err
		}
		roots[i] = abs
	}
	if err := c.programs(ctx); err != nil {
		return err
	}
	for i, root := range roots {
		image := filepath.Join(c.dir, fmt.Sprint("agree-", i))
		l, err := layout.Write(filepath.Join(c.dir, fmt.Sprint("root-", i)), func(w *tar.Writer) error { return writeRoot(w, root) })
		if err != nil {
			return err
		}
		if err := layout.WriteImage(image, []layout.Layer{l}); err != nil {
			return err
		}
		if err := c.agreeOn(ctx, root, image); err != nil {
			return fmt.Errorf("%s: %w", root, err)
		}
	}
	return nil
}

// writeRoot writes a directory, or the entries of an archive.
func writeRoot(w *tar.Writer, root string) error {
	f, err := os.Open(root)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return errors.Join(err, layout.WriteTree(w, root, func(string) bool { return true }))
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = w.WriteHeader(h)
		}
		if err == nil {
			_, err = io.Copy(w, r)
		}
		if err != nil {
			return err
		}
	}
}

// agreeOn prints how many packages of each type both find, and each that only one
// does.
func (c *comparison) agreeOn(ctx context.Context, root, image string) error {
	var ours, theirs bytes.Buffer
	if err := c.sbom(ctx, image, image+"-data", &ours); err != nil {
		return err
	}
	if err := c.peerSBOM(ctx, image, &theirs); err != nil {
		return err
	}
	mine, err := bill.Parse(ours.Bytes(), bill.Limits{})
	if err != nil {
		return err
	}
	other, err := bill.Parse(theirs.Bytes(), bill.Limits{Document: 64 << 20})
	if err != nil {
		return err
	}
	var observed []string
	for _, p := range mine.Packages {
		observed = append(observed, p.PURL)
	}
	d := bill.Compare(other, observed)
	fmt.Fprintf(c.out, "\n%s\n", filepath.Base(root))
	types := map[string]*tally{}
	of := func(k bill.Key) *tally {
		if types[k.Type] == nil {
			types[k.Type] = &tally{}
		}
		return types[k.Type]
	}
	here, there := map[bill.Key]bool{}, map[bill.Key]bool{}
	for _, p := range mine.Packages {
		here[p.Key] = true
	}
	for _, p := range other.Packages {
		there[p.Key] = true
	}
	for k := range here {
		if there[k] {
			of(k).both++
		}
	}
	for _, k := range d.Missing {
		of(k).lines = append(of(k).lines, "only Dossier: "+k.String())
	}
	for _, k := range d.Extra {
		of(k).lines = append(of(k).lines, "only Syft: "+k.String())
	}
	for _, pair := range d.Otherwise {
		of(pair[0]).lines = append(of(pair[0]).lines, "Dossier: "+pair[0].String()+", Syft: "+pair[1].Version)
	}
	var names []string
	for name := range types {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int { return cmp.Or(types[y].both-types[x].both, strings.Compare(x, y)) })
	for _, name := range names {
		fmt.Fprintf(c.out, "  %-8s %5d alike, %3d not\n", name, types[name].both, len(types[name].lines))
		for _, line := range types[name].lines {
			fmt.Fprintf(c.out, "           %s\n", line)
		}
	}
	return nil
}

// tally is how many packages of a type both find, and how the others differ.
type tally struct {
	both  int
	lines []string
}
