// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dossier.dev/dossier/bench/measure"
)

const (
	megabyte = int64(1_000_000)
	gigabyte = 1000 * megabyte
)

// blobRun is one row of a figure: so many clients push so many blobs, and pull them.
type blobRun struct {
	clients, blobs int
	size           int64
	peers          []string
}

// measureBlobs returns the figure of blobs of a size. All rows of one together
// write 10 GB at most.
func measureBlobs(least float64, runs ...blobRun) func(context.Context, *lab, *report) error {
	return func(ctx context.Context, l *lab, r *report) error {
		number := uint64(time.Now().UnixNano())
		for _, run := range runs {
			if l.short {
				run.size, run.blobs = max(1000, run.size/100), min(run.blobs, run.clients)
			}
			blobs := make([]blob, run.blobs)
			for i := range blobs {
				number++
				blobs[i] = newBlob(number, run.size)
			}
			if err := l.blobRow(ctx, r, run, blobs, least); err != nil {
				return err
			}
		}
		return nil
	}
}

// rates are what a registry did in one turn, or the median of turns.
type rates struct {
	push, pull       float64 // bytes a second
	pushCPU, pullCPU float64 // seconds of processor a GB
}

// mostTurns is how many times the registries of a row take turns at most.
const mostTurns = 5

// blobRow measures one row. The registries run side by side and take turns, each time in
// the other order, and the median of its turns counts for each: what the machine does
// besides, and memory that it gets from its host at first use, then hit none of them alone.
func (l *lab) blobRow(ctx context.Context, r *report, run blobRun, blobs []blob, least float64) (err error) {
	peers, err := l.needPeers(ctx, run.peers...)
	if err != nil {
		return err
	}
	remove, err := l.fill()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	servers, err := l.hostAll(ctx, peers, nil, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(servers)) }()
	turns := max(1, min(mostTurns, len(blobs)/run.clients))
	got, memory := make([][]rates, len(peers)), make([]int64, len(peers))
	err = takeTurns(turns, len(peers), func(turn, i int) error {
		rate, peak, err := servers[i].blobRates(ctx, run, blobs[len(blobs)*turn/turns:len(blobs)*(turn+1)/turns])
		got[i], memory[i] = append(got[i], rate), peak
		return err
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d x %s, %d clients", run.blobs, megabytes(run.size), run.clients)
	medians, ownMemory := map[string]rates{}, int64(0)
	for i, p := range peers {
		m := medianRates(got[i])
		medians[p.name] = m
		r.note(what+", "+p.name, "push %.0f MB/s, %.2f s processor a GB; pull %.0f MB/s, %.2f s a GB; peak memory %s (turns: %d)",
			m.push/1e6, m.pushCPU, m.pull/1e6, m.pullCPU, megabytes(memory[i]), turns)
		if p.name != ours {
			continue
		}
		ownMemory = memory[i]
		if run.clients == 1 {
			if err := l.plainFiles(ctx, r, servers[i], what, run, m.pull); err != nil {
				return err
			}
		}
	}
	a, b := medians[ours], medians[distribution]
	r.atLeast(what+": push to distribution's", a.push/b.push, least)
	r.atLeast(what+": pull to distribution's", a.pull/b.pull, least)
	if run.size > megabyte {
		r.atMost(what+": processor a GB pushed, to distribution's", a.pushCPU/b.pushCPU, 0.8)
		r.atMost(what+": processor a GB pulled, to distribution's", a.pullCPU/b.pullCPU, 0.8)
	}
	r.bounded(what+": peak memory", ownMemory, 100*megabyte)
	return nil
}

// medianRates returns the median of each rate.
func medianRates(turns []rates) rates {
	of := func(rate func(rates) float64) float64 {
		values := make([]float64, len(turns))
		for i, t := range turns {
			values[i] = rate(t)
		}
		return median(values)
	}
	return rates{
		push: of(func(t rates) float64 { return t.push }), pull: of(func(t rates) float64 { return t.pull }),
		pushCPU: of(func(t rates) float64 { return t.pushCPU }), pullCPU: of(func(t rates) float64 { return t.pullCPU }),
	}
}

// fill has the kernel use all memory that it can for a file without contents, until the
// file is removed: what is read or written then takes its place, as on a machine that runs
// for long. A virtual machine gets memory from its host when it first uses it and gives back
// what is free, and whoever came first would pay for the others: two seconds a GB.
func (l *lab) fill() (remove func() error, err error) {
	available, err := measure.AvailableMemory()
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(l.dir, "fill-")
	if err != nil {
		return nil, err
	}
	err = f.Truncate(available)
	if err == nil && !l.short {
		_, err = io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f})
	}
	return func() error { return errors.Join(f.Close(), os.Remove(f.Name())) }, err
}

// blobRates pushes the blobs to a registry, and pulls them. It returns the most memory
// that the registry had so far, too.
func (s *running) blobRates(ctx context.Context, run blobRun, blobs []blob) (rates, int64, error) {
	total := float64(run.size) * float64(len(blobs))
	pushed, err := s.spend(func() error {
		return clients(run.clients, len(blobs), func(i int) error { return pushBlob(ctx, s.base, "bench/blobs", blobs[i]) })
	})
	if err != nil {
		return rates{}, 0, err
	}
	// All of them are pulled five times: once is over in less than a second.
	const rounds = 5
	pulled, err := s.spend(func() error {
		return clients(run.clients, rounds*len(blobs), func(i int) error {
			return pullBlob(ctx, s.base+"/v2/bench/blobs/blobs/"+blobs[i%len(blobs)].digest, run.size)
		})
	})
	return rates{
		push: total / pushed.wall.Seconds(), pull: rounds * total / pulled.wall.Seconds(),
		pushCPU: pushed.cpu.Seconds() / (total / 1e9), pullCPU: pulled.cpu.Seconds() / (rounds * total / 1e9),
	}, pulled.memory, err
}

// plainFiles pulls the same files from a plain http.FileServer, as many times as
// there were blobs.
func (l *lab) plainFiles(ctx context.Context, r *report, s *running, what string, run blobRun, rate float64) error {
	top := filepath.Join(s.dir, "blobs", "blobs")
	var files []string
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, strings.TrimPrefix(name, top))
		}
		return err
	})
	if err != nil || len(files) == 0 {
		return fmt.Errorf("looking for blobs in %s: %d, %w", top, len(files), err)
	}
	p, address, err := startPart(ctx, nil, partFiles, top)
	if err != nil {
		return err
	}
	defer func() {
		_ = p.Stop()
		_, _ = p.Wait()
	}()
	if _, _, err := do(ctx, http.MethodHead, "http://"+address+files[0], nil, 0, "", http.StatusOK); err != nil { // it is ready then
		return err
	}
	begin := time.Now()
	err = clients(run.clients, len(files), func(i int) error { return pullBlob(ctx, "http://"+address+files[i], run.size) })
	if err != nil {
		return err
	}
	plain := float64(run.size) * float64(len(files)) / time.Since(begin).Seconds()
	r.note(what+", peer: http.FileServer", "pull %.0f MB/s", plain/1e6)
	if run.size > megabyte { // of smaller ones the registry's database decides
		r.atLeast(what+": pull to http.FileServer's", rate/plain, 0.8)
	}
	return nil
}
