// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package heap says how far the heap of a command grows before garbage is collected. GOGC,
// where the environment has it, decides instead.
//
// A command that answers about one image is done with less than Small, and a collection
// would look through all of it for nothing. What the packages of this program make when they
// are initialized alone would bring about the first one. So the limit is set while this
// package is: it imports next to nothing, and packages are initialized in the order of
// their import paths (Go specification, "Package initialization"), so that few come before it.
package heap

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"
)

// Small is how large a heap becomes before garbage is collected for the first time, in bytes,
// or somewhat larger: stacks and variables of packages count for the limit too.
const Small = 32 << 20

// Lean is by how many percent a heap that is larger grows: a list of a large cluster is built
// once and printed, and what a server makes of a large store for one answer is not wanted
// again. The memory matters more than a little time.
const Lean = 80

const (
	usual   = 100     // percent, without GOGC
	minimum = 4 << 20 // bytes, of a heap at 100 percent (runtime/debug, SetGCPercent)
	first   = Small / minimum * 100
)

// limit is what decides now.
type limit struct {
	mu    sync.Mutex
	given bool // by GOGC
	fixed bool // by Fix
}

// now is that of the process, as the heap is.
var now = begin()

func begin() *limit {
	l := &limit{}
	if before := debug.SetGCPercent(first); before != usual {
		debug.SetGCPercent(before)
		l.given = true
		return l
	}
	l.afterNext()
	return l
}

// Obey tells what GOGC is in the environment: that it is 100 cannot be told from that it is
// not there.
func Obey(gogc string) {
	if gogc == strconv.Itoa(usual) {
		now.obey()
	}
}

func (l *limit) obey() {
	l.fix(usual)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.given = true
}

// Fix lets the heap grow by so many percent from now on, however large it is.
func Fix(percent int) { now.fix(percent) }

func (l *limit) fix(percent int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fixed = true
	if !l.given {
		debug.SetGCPercent(percent)
	}
}

// afterNext looks at the heap when garbage has been collected: while it is smaller than
// Small it may grow to that, a larger one by Lean.
func (l *limit) afterNext() {
	type sentinel struct{ _ [64]byte } // too large to share its memory with others
	runtime.AddCleanup(new(sentinel), func(struct{}) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.fixed {
			return
		}
		debug.SetGCPercent(percentFor(live[0].Value.Uint64()))
		l.afterNext()
	}, struct{}{})
}

// percentFor is the limit when so many bytes of a heap are in use.
func percentFor(live uint64) int {
	if live >= Small {
		return Lean
	}
	room := (Small - live) * 100 / max(live, minimum)
	return max(Lean, int(room))
}
