// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"dossier.dev/dossier"
	"dossier.dev/dossier/bench/layout"
	"dossier.dev/dossier/internal/contents"
)

const (
	speedRatio = 0.75
)

// measureContentsSpeed measures, in this process, how quickly layers are read beside
// decompressing the same layers alone, both at once on two cores.
func measureContentsSpeed(ctx context.Context, l *lab, r *report) error {
	base, err := l.base(ctx, 0)
	if err != nil {
		return err
	}
	java, err := l.javaApplication(ctx)
	if err != nil {
		return err
	}
	layers := append(base[:len(base):len(base)], java)
	r.note("layers", "%s", sizes(layers))
	var all []contents.Layer
	var size int64
	for _, layer := range layers {
		size += layer.Unpacked
		all = append(all, contents.Layer{Digest: dossier.Digest(layer.Descriptor.Digest), DiffID: dossier.Digest(layer.DiffID), Size: layer.Descriptor.Size,
			Open: func(context.Context) (io.ReadCloser, error) { return os.Open(layer.Path) }})
	}
	for _, parallel := range []int{1, 2} {
		var alone, ours time.Duration
		for n := range 3 { // in turn: what the machine does besides falls on both
			begin := time.Now()
			if err := decompressAll(layers, parallel); err != nil {
				return err
			}
			if took := time.Since(begin); n == 0 || took < alone {
				alone = took
			}
			begin = time.Now()
			if _, err := contents.Read(ctx, all, contents.Options{TempDir: l.dir, Parallel: parallel}); err != nil {
				return err
			}
			if took := time.Since(begin); n == 0 || took < ours {
				ours = took
			}
		}
		speed := func(d time.Duration) float64 { return float64(size) / 1e6 / d.Seconds() }
		if parallel == 1 {
			r.note("one layer after the other", "read at %.0f MB/s, decompressed by klauspost's gzip alone at %.0f MB/s, ratio %.2f", speed(ours), speed(alone), speed(ours)/speed(alone))
			continue
		}
		r.note("layers side by side", "read at %.0f MB/s, decompressed by klauspost's gzip alone at %.0f MB/s", speed(ours), speed(alone))
		r.atLeast("speed, of decompression's alone", speed(ours)/speed(alone), speedRatio)
	}
	return nil
}

// decompressAll decompresses layers, largest first, some at a time.
func decompressAll(layers []layout.Layer, parallel int) error {
	next, errs := make(chan layout.Layer), make(chan error, parallel)
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			var first error
			for layer := range next {
				if err := decompress(layer.Path); first == nil {
					first = err
				}
			}
			errs <- first
		})
	}
	bySize := func(a, b layout.Layer) int { return cmp.Compare(b.Descriptor.Size, a.Descriptor.Size) }
	for _, layer := range slices.SortedFunc(slices.Values(layers), bySize) {
		next <- layer
	}
	close(next)
	workers.Wait()
	for range parallel {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func decompress(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, z)
	return err
}
