// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"dossier.dev/dossier/bench/load"
)

// The load beside which garbage is collected and blobs are checked: less than
// 1 GB is written.
const (
	calmBlobs = 300
	calmSize  = 512 << 10 // bytes of each blob
	calmRate  = 100       // pulls a second
	calmTime  = 15 * time.Second
	calmWaste = 20 // blobs a second that nobody needs
	calmTimes = 1.5
)

// Two configurations of the registry. Scrubbing reads at its usual rate, all the time.
const (
	calmOff = "registry: {care: {off: true, scrub: {off: true}}}\n"
	calmOn  = "registry: {care: {lease: 2s, delay: 2s, every: 1s, reconcile: 1s, scrub: {age: 1s}}}\n"
)

// measureQuiet measures pulls at a constant rate while garbage is made, with and without
// collection and scrub, in turn.
func measureQuiet(ctx context.Context, l *lab, r *report) error {
	if _, err := l.needProgram(ctx); err != nil {
		return err
	}
	d, rounds := calmTime, 3
	if l.short {
		d, rounds = 2*time.Second, 1
	}
	var off, on []*load.Sample
	for range rounds {
		for _, side := range []struct {
			config string
			to     *[]*load.Sample
		}{{calmOff, &off}, {calmOn, &on}} {
			s, err := l.calmRound(ctx, side.config, d)
			if err != nil {
				return err
			}
			*side.to = append(*side.to, s)
		}
	}
	for i := range rounds {
		r.note(fmt.Sprintf("round %d, without", i+1), "%v", off[i])
		r.note(fmt.Sprintf("round %d, with collection and scrub", i+1), "%v", on[i])
	}
	r.atMost("p99 of pulls, with to without, medians", float64(medianP99(on))/float64(max(1, medianP99(off))), calmTimes)
	return nil
}

// calmRound fills a registry and pulls from it while garbage is made.
func (l *lab) calmRound(ctx context.Context, config string, d time.Duration) (*load.Sample, error) {
	file := filepath.Join(l.dir, "calm.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	s, err := l.host(ctx, l.configured(file), "", 0)
	if err != nil {
		return nil, err
	}
	defer l.closeQuietly(s)
	blobs := make([]blob, calmBlobs)
	err = clients(4, calmBlobs, func(i int) error {
		blobs[i] = newBlob(uint64(i), calmSize)
		return pushAlone(ctx, s.base, "bench/quiet", fmt.Sprintf("t%d", i), blobs[i])
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	var wasted *load.Sample
	group.Go(func() {
		wasted = load.Constant(ctx, calmWaste, d, func(ctx context.Context, i int) error {
			return pushBlob(ctx, s.base, "bench/waste", newBlob(rand.Uint64(), 4000))
		})
	})
	pulls := load.Constant(ctx, calmRate, d, func(ctx context.Context, i int) error {
		b := blobs[i*7%len(blobs)]
		return pullBlob(ctx, s.base+"/v2/bench/quiet/blobs/"+b.digest, b.size)
	})
	group.Wait()
	if pulls.Failed+wasted.Failed > 0 {
		return nil, fmt.Errorf("%d pulls and %d pushes failed: %w", pulls.Failed, wasted.Failed, errors.Join(pulls.First, wasted.First))
	}
	return pulls, nil
}

// pushAlone pushes an image of one layer.
func pushAlone(ctx context.Context, base, repository, tag string, layer blob) error {
	if err := pushBlob(ctx, base, repository, layer); err != nil {
		return err
	}
	manifest := blobOf(fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.bench","digest":%q,"size":%d},"layers":[]}`,
		manifestType, layer.digest, layer.size))
	_, _, err := do(ctx, http.MethodPut, base+"/v2/"+repository+"/manifests/"+tag, manifest.reader(), manifest.size, manifestType, http.StatusCreated)
	return err
}

// medianP99 returns the median of the samples' p99.
func medianP99(list []*load.Sample) time.Duration {
	var s load.Sample
	for _, one := range list {
		s.Add(one.Quantile(0.99), nil)
	}
	return s.Quantile(0.5)
}
