// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/internal/audit"
	"dossier.dev/dossier/internal/blob/disk"
	own "dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/store/sqlstore"
)

// auditCost is what part of the throughput of pulls putting them on record may take.
const auditCost = 0.05

// The words by which partAudit is told whether it puts pulls on record.
const (
	audited   = "audited"
	unaudited = "unaudited"
)

// serveAudited is a registry in a directory, which puts pulls on record or does not: the
// program itself always does.
func serveAudited(ctx context.Context, args []string, _ io.Writer) (err error) {
	if len(args) != 2 {
		return errors.New("want a directory, and whether to audit")
	}
	dir := args[0]
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(dir, "dossier.db")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	files, err := disk.Open(disk.Config{Dir: filepath.Join(dir, "blobs")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	c := own.Config{Store: db, Blobs: files, Name: "registry.example"}
	if args[1] == audited {
		log, err := sqlstore.OpenAudit(sqlstore.AuditConfig{Dir: dir})
		if err != nil {
			return err
		}
		defer log.Close()
		recorder := audit.Start(ctx, audit.RecorderConfig{Log: log, Registry: c.Name})
		defer recorder.Close()
		c.Audit = recorder.Add
	}
	handler, err := own.New(ctx, c)
	if err != nil {
		return err
	}
	defer handler.Close()
	return serveInherited(ctx, handler)
}

// auditLoad is what is pulled: in its worst case little is sent for each entry.
type auditLoad struct {
	name  string
	size  int64
	count int
}

// measureAudit measures how many blobs a second are pulled with and without a record of
// them, in turn.
func measureAudit(ctx context.Context, l *lab, r *report) error {
	d, rounds := 4*time.Second, 7
	if l.short {
		d, rounds = 500*time.Millisecond, 1
	}
	for _, what := range []auditLoad{{"1 kB", 1000, 100}, {"1 MB", megabyte, 100}} {
		if err := l.auditRow(ctx, r, what, d, rounds); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) auditRow(ctx context.Context, r *report, what auditLoad, d time.Duration, rounds int) error {
	kinds := []string{unaudited, audited}
	rates, cpus, base := map[string][]float64{}, map[string][]float64{}, map[string]string{}
	servers := map[string]*measure.Process{}
	for _, kind := range kinds {
		dir, err := os.MkdirTemp(l.dir, "audit-")
		if err != nil {
			return err
		}
		p, address, err := startPart(ctx, nil, partAudit, dir, kind)
		if err != nil {
			return err
		}
		defer func() {
			_ = p.Stop() // it may have ended
			_, _ = p.Wait()
		}()
		servers[kind], base[kind] = p, "http://"+address
		err = clients(4, what.count, func(i int) error { return pushBlob(ctx, base[kind], "bench/audit", newBlob(uint64(i), what.size)) })
		if err != nil {
			return err
		}
	}
	var urls []string
	for i := range what.count {
		urls = append(urls, "/v2/bench/audit/blobs/"+newBlob(uint64(i), what.size).digest)
	}
	for round := range rounds + 1 { // the first is to get warm
		for i := range kinds {
			kind := kinds[(round+i)%len(kinds)]
			before, err := measure.CPUTime(servers[kind].PID())
			if err != nil {
				return err
			}
			begin := time.Now()
			n, err := clientsFor(8, d, func(i int) error {
				_, _, err := do(ctx, http.MethodGet, base[kind]+urls[i%len(urls)], nil, 0, "", http.StatusOK)
				return err
			})
			if err != nil {
				return err
			}
			rate := float64(n) / time.Since(begin).Seconds()
			after, err := measure.CPUTime(servers[kind].PID())
			if err != nil {
				return err
			}
			if round > 0 {
				rates[kind] = append(rates[kind], rate)
				cpus[kind] = append(cpus[kind], float64(after-before)/float64(max(1, n)))
			}
		}
	}
	for _, kind := range kinds {
		r.note(fmt.Sprintf("%s, 8 clients, %s", what.name, kind), "%.0f pulls/s, %s processor each, medians of %d", median(rates[kind]), time.Duration(median(cpus[kind])), rounds)
	}
	r.atLeast(what.name+": audited to unaudited", median(rates[audited])/median(rates[unaudited]), 1-auditCost)
	return nil
}

// median returns the middle one of some numbers.
func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}
