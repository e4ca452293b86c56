// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/store/sqlstore"
)

const (
	growthWhereLimit  = 100 * time.Millisecond
	growthMemoryLimit = 1_000_000_000
)

// growthWorld is a cluster of a size: 100 x is 10,000 images with 1.8 million members of
// package sets, and 500,000 advisories.
func growthWorld(times int) *vulnWorld {
	w := &vulnWorld{
		images: 100 * times, bases: 20, perBase: 400, perApp: 179,
		names: max(2000, 500*times), versions: 4, known: max(4000, 800*times), advisories: 5000 * times,
	}
	w.rnd = rand.New(rand.NewPCG(1, 2))
	return w
}

// measureGrowth measures searches in stores of growing size, each asked of a server as a
// whole.
func measureGrowth(ctx context.Context, l *lab, r *report) error {
	if _, err := l.needProgram(ctx); err != nil {
		return err
	}
	sizes := []int{1, 10, 100}
	if l.short {
		sizes = sizes[:1]
	}
	for _, times := range sizes {
		w := growthWorld(times)
		if err := w.measureGrowth(ctx, l, r, times, times == 100); err != nil {
			return fmt.Errorf("%d times: %w", times, err)
		}
	}
	return nil
}

func (w *vulnWorld) measureGrowth(ctx context.Context, l *lab, r *report, times int, limited bool) error {
	data := filepath.Join(l.dir, fmt.Sprint("growth-", times))
	l.say("writing %d images, %d advisories", w.images, w.advisories)
	begin := time.Now()
	e, err := server.Open(ctx, server.Config{Data: data})
	if err != nil {
		return err
	}
	err = w.fillFor(ctx, data, e)
	if err = errors.Join(err, e.Close()); err != nil {
		return err
	}
	made := time.Since(begin)
	s, err := l.serve(ctx, data, "--no-cluster", "--no-registry", "--offline")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	var byID, byRange load.Sample
	for range vulnQuestions {
		begin := time.Now()
		_, err := s.get(ctx, fmt.Sprintf("/api/v1/where?limit=100&term=CVE-2026-%05d", w.rnd.IntN(w.advisories)))
		byID.Add(time.Since(begin), err)
		begin = time.Now()
		_, err = s.get(ctx, "/api/v1/where?limit=100&term="+w.npmName(w.rnd.IntN(w.names))+"@%3C3.0.0")
		byRange.Add(time.Since(begin), err)
	}
	peak, peakErr := measure.PeakMemory(s.process.PID())
	_, closeErr := s.close()
	size, sizeErr := databaseSize(data)
	if err := errors.Join(peakErr, closeErr, sizeErr, byID.First, byRange.First); err != nil {
		return err
	}
	r.note(fmt.Sprintf("%d x", times), "%d images in %d workloads, %d members of sets, %d image-package pairs, %d advisories; made and compared in %s, %s on disk",
		w.images, 5*w.images, w.bases*w.perBase+w.images*w.perApp, w.images*(w.perBase+w.perApp), w.advisories, load.Short(made), megabytes(size))
	if !limited {
		r.note("  where CVE, asked of a server", "%v", &byID)
		r.note("  where PACKAGE@<VERSION", "%v", &byRange)
		r.note("  peak memory of the server", "%s", megabytes(peak))
		return nil
	}
	r.quantiles("  where CVE, asked of a server", &byID, growthWhereLimit)
	r.quantiles("  where PACKAGE@<VERSION", &byRange, growthWhereLimit)
	r.bounded("  peak memory of the server", peak, growthMemoryLimit)
	return nil
}

// fillFor writes images and advisories, and compares them.
func (w *vulnWorld) fillFor(ctx context.Context, data string, e *server.Engine) error {
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(data, server.DatabaseFile)})
	if err != nil {
		return err
	}
	if err := errors.Join(w.fill(ctx, db), db.Close()); err != nil {
		return err
	}
	advisories, err := sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(data, server.AdvisoryFile)})
	if err != nil {
		return err
	}
	if err := errors.Join(w.putEach(ctx, advisories), advisories.Close()); err != nil {
		return err
	}
	return e.Match(ctx)
}
