// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"
	"maps"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Exposures remembers, from one answer to the next, what advisories say of sets
// of packages. What changed since is read again, and no more: findings have a
// generation. It may be used by several goroutines. A nil one remembers nothing.
type Exposures struct {
	limit int // findings and groups of packages

	mu         sync.Mutex
	generation int64 // of what is remembered
	size       int
	sets       map[dossier.Digest]store.SetExposure
}

// NewExposures returns one that remembers up to limit findings of sets. In memory
// each takes some fifty bytes.
func NewExposures(limit int) *Exposures {
	return &Exposures{limit: limit, sets: map[dossier.Digest]store.SetExposure{}}
}

// maxChangedSets is of how many sets what is remembered is corrected. When more
// changed, all is forgotten.
const maxChangedSets = 10_000

// read returns what is said of sets now, in the state of r, which has that
// generation.
func (x *Exposures) read(ctx context.Context, r store.Reader, generation int64, sets []dossier.Digest) (map[dossier.Digest]store.SetExposure, error) {
	out := map[dossier.Digest]store.SetExposure{}
	missing := sets
	if x != nil {
		if err := x.catchUp(ctx, r, generation); err != nil {
			return nil, err
		}
		missing = x.known(generation, sets, out)
	}
	if len(missing) == 0 {
		return out, nil
	}
	found, err := r.Exposures(ctx, missing, time.Time{})
	if err != nil {
		return nil, err
	}
	maps.Copy(out, found)
	if x != nil {
		x.keep(generation, found)
	}
	return out, nil
}

// catchUp forgets what changed up to a generation.
func (x *Exposures) catchUp(ctx context.Context, r store.Reader, generation int64) error {
	x.mu.Lock()
	was := x.generation
	x.mu.Unlock()
	if was >= generation {
		return nil
	}
	changed, err := r.SetsChanged(ctx, was, maxChangedSets)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.generation != was {
		return nil // somebody else did
	}
	x.generation = generation
	if len(changed) == maxChangedSets {
		x.sets, x.size = map[dossier.Digest]store.SetExposure{}, 0
	}
	for _, d := range changed {
		x.size -= sizeOf(x.sets[d])
		delete(x.sets, d)
	}
	return nil
}

func sizeOf(e store.SetExposure) int { return len(e.Findings) + len(e.Packages) }

// known adds to out what is remembered of sets, and returns the others.
func (x *Exposures) known(generation int64, sets []dossier.Digest, out map[dossier.Digest]store.SetExposure) (missing []dossier.Digest) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.generation != generation {
		return sets
	}
	for _, d := range sets {
		if e, ok := x.sets[d]; ok {
			out[d] = e
		} else {
			missing = append(missing, d)
		}
	}
	return missing
}

// keep remembers what was read.
func (x *Exposures) keep(generation int64, found map[dossier.Digest]store.SetExposure) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.generation != generation {
		return
	}
	for d, e := range found {
		if x.size > x.limit {
			x.sets, x.size = map[dossier.Digest]store.SetExposure{}, 0
		}
		if _, ok := x.sets[d]; !ok {
			x.size += sizeOf(e)
		}
		x.sets[d] = e
	}
}
