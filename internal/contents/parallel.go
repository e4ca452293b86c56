// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"iter"
	"maps"
	"runtime"
	"slices"
	"sync"
)

// enough is how many of something are worth a goroutine.
const enough = 256

// sideBySide calls f for parts of n, as many as there are processors, and returns when all
// have returned.
func sideBySide(n int, f func(begin, end int)) {
	parts := min(runtime.GOMAXPROCS(0), n/enough)
	if parts < 2 {
		f(0, n)
		return
	}
	var running sync.WaitGroup
	for i := 1; i < parts; i++ {
		running.Go(func() { f(i*n/parts, (i+1)*n/parts) })
	}
	f(0, n/parts)
	running.Wait()
}

// those returns the keys of m, which may change meanwhile, for which a function is true: one
// for each part that is looked at beside the others.
func those[V any](m map[string]V, function func() func(string) bool) iter.Seq[string] {
	keys := slices.Collect(maps.Keys(m))
	are := make([]bool, len(keys))
	sideBySide(len(keys), func(begin, end int) {
		is := function()
		for i, key := range keys[begin:end] {
			are[begin+i] = is(key)
		}
	})
	return func(yield func(string) bool) {
		for i, key := range keys {
			if are[i] && !yield(key) {
				return
			}
		}
	}
}
