// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"os"
	"time"

	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
)

// The limits of the program itself.
const (
	startLimit  = 50 * time.Millisecond
	binaryLimit = 80_000_000
	starts      = 50
)

func measureStart(ctx context.Context, l *lab, r *report) error {
	program, err := l.needProgram(ctx)
	if err != nil {
		return err
	}
	info, err := os.Stat(program)
	if err != nil {
		return err
	}
	var ours, least load.Sample
	var memory int64
	var cpu time.Duration
	for range starts {
		u, err := measure.Run(ctx, l.dossier("version"))
		if err != nil {
			return err
		}
		ours.Add(u.Wall, nil)
		memory, cpu = max(memory, u.PeakMemory), cpu+u.CPU()
		if u, err = measure.Run(ctx, measure.Command{Path: "/bin/true", Env: l.env(), Stdout: io.Discard}); err != nil {
			return err
		}
		least.Add(u.Wall, nil)
	}
	r.quantiles("dossier version", &ours, startLimit)
	r.note("peak memory", "%s", megabytes(memory))
	r.note("processor a start", "%s", load.Short(cpu/starts))
	r.bounded("binary, stripped", info.Size(), binaryLimit)
	r.note("peer: /bin/true, the least a program takes", "%v", &least)
	r.note("ratio of medians", "%.1f", float64(ours.Quantile(0.5))/float64(least.Quantile(0.5)))
	return nil
}
