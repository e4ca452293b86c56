// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"dossier.dev/dossier/bench/fleet"
	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/e2e/kube"
)

// The limits of listing a cluster.
const (
	coldLimit   = 60 * time.Second
	warmLimit   = 2 * time.Second
	memoryLimit = 200_000_000
)

// listed is one list and what the registry was asked for meanwhile.
type listed struct {
	measure.Usage
	asked fleet.Counts
	rows  int
}

// list runs `dossier images -A` and checks that it shows every image.
func (l *lab) list(ctx context.Context, c *kube.Cluster, data string) (listed, error) {
	before, err := l.registry.counts(ctx)
	if err != nil {
		return listed{}, err
	}
	var out bytes.Buffer
	command := l.listing(c, data)
	command.Stdout = &out
	u, err := measure.Run(ctx, command)
	if err != nil {
		return listed{}, err
	}
	after, err := l.registry.counts(ctx)
	if err != nil {
		return listed{}, err
	}
	got := listed{Usage: u, asked: after.Sub(before), rows: bytes.Count(out.Bytes(), []byte("\n")) - 1}
	if got.rows != l.size.images {
		return got, fmt.Errorf("the list has %d rows, want %d", got.rows, l.size.images)
	}
	return got, nil
}

// ready makes what all lists need.
func (l *lab) ready(ctx context.Context) (*kube.Cluster, error) {
	if _, err := l.needProgram(ctx); err != nil {
		return nil, err
	}
	return l.needCluster(ctx)
}

func measureCold(ctx context.Context, l *lab, r *report) error {
	c, err := l.ready(ctx)
	if err != nil {
		return err
	}
	floor, err := measure.Run(ctx, kubectlPods(l, c))
	if err != nil {
		return err
	}
	data := filepath.Join(l.dir, "cold")
	got, err := l.list(ctx, c, data)
	if err != nil {
		return err
	}
	l.filled = data
	size, err := databaseSize(data)
	if err != nil {
		return err
	}
	r.note("cluster", "%v", l.size)
	r.within("time", got.Wall, coldLimit)
	r.bounded("peak memory", got.PeakMemory, memoryLimit)
	r.usage(got.Usage)
	r.note("requests to the registry", "%d (%d by tag, %d by digest, %d blobs; at most %d at a time)",
		got.asked.Requests, got.asked.Tags, got.asked.Digests, got.asked.Blobs, got.asked.MaxOpen)
	r.note("requests an image", "%.2f", float64(got.asked.Requests)/float64(l.size.images))
	r.note("database", "%s", megabytes(size))
	r.note("peer: kubectl get pods -A -o json", "%s, %s processor, %s peak, %s printed",
		load.Short(floor.Wall), load.Short(floor.CPU()), megabytes(floor.PeakMemory), megabytes(floor.Output))
	r.ratio("kubectl", got.Usage, floor)
	return nil
}

// kubectlPods is what people type today to learn which images run.
func kubectlPods(l *lab, c *kube.Cluster) measure.Command {
	return measure.Command{
		Path: c.Binaries.Hyperkube, Args: []string{"kubectl", "--kubeconfig=" + c.Kubeconfig, "get", "pods", "-A", "-o", "json"},
		Env: l.env(), Stdout: io.Discard,
	}
}

// ratio compares with a peer.
func (r *report) ratio(peer string, ours, theirs measure.Usage) {
	r.note("ratio to "+peer, "time %.2f, processor %.2f, peak memory %.2f", ours.Wall.Seconds()/theirs.Wall.Seconds(),
		ours.CPU().Seconds()/theirs.CPU().Seconds(), float64(ours.PeakMemory)/float64(theirs.PeakMemory))
}

func measureWarm(ctx context.Context, l *lab, r *report) error {
	data, err := l.needFilled(ctx)
	if err != nil {
		return err
	}
	const times = 5
	var walls load.Sample
	var last listed
	var asked fleet.Counts
	var peak int64
	for range times {
		if last, err = l.list(ctx, l.cluster, data); err != nil {
			return err
		}
		walls.Add(last.Wall, nil)
		asked.Requests += last.asked.Requests
		asked.Digests += last.asked.Digests
		asked.Blobs += last.asked.Blobs
		peak = max(peak, last.PeakMemory)
	}
	floor, err := measure.Run(ctx, kubectlPods(l, l.cluster))
	if err != nil {
		return err
	}
	r.note("cluster", "%v", l.size)
	r.within(fmt.Sprintf("time, median of %d", times), walls.Quantile(0.5), warmLimit)
	r.note("time, best and worst", "%s, %s", load.Short(walls.Quantile(0)), load.Short(walls.Quantile(1)))
	r.bounded("peak memory", peak, memoryLimit)
	r.usage(last.Usage)
	r.exactly("requests for digests and blobs", asked.Digests+asked.Blobs, 0)
	r.note("other requests", "%d", asked.Requests-asked.Digests-asked.Blobs)
	r.note("peer: kubectl get pods -A -o json", "%s, %s processor, %s peak",
		load.Short(floor.Wall), load.Short(floor.CPU()), megabytes(floor.PeakMemory))
	r.ratio("kubectl", last.Usage, floor)
	return nil
}

// slowSync is what is added to each fsync to see who depends on fast disks.
const slowSync = 5 * time.Millisecond

func measureSynced(ctx context.Context, l *lab, r *report) error {
	c, err := l.ready(ctx)
	if err != nil {
		return err
	}
	r.note("cluster", "%v", l.size)
	for i, delay := range []time.Duration{0, slowSync} {
		data := filepath.Join(l.dir, fmt.Sprintf("synced-%d", i))
		trace := data + ".strace"
		u, err := measure.Run(ctx, measure.Synced(l.listing(c, data), trace, delay))
		if err != nil {
			return err
		}
		syncs, err := measure.ReadSyncs(trace)
		if err != nil {
			return err
		}
		name := "first list under strace"
		if delay > 0 {
			name = fmt.Sprintf("the same, each fsync %s slower", load.Short(delay))
		}
		r.note(name, "%s, %d fsyncs, %d of them delayed", load.Short(u.Wall), syncs.Count, syncs.Delayed)
	}
	return nil
}
