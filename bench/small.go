// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
)

// smallTurns is how many times the registries of a row take turns of so long each.
const smallTurns = 5

func (l *lab) smallTurn() time.Duration {
	if l.short {
		return 100 * time.Millisecond
	}
	return 2 * time.Second
}

// measureSmall measures pushes of small images, durable on both sides.
func measureSmall(ctx context.Context, l *lab, r *report) error {
	peers, err := l.needPeers(ctx, ours, distribution, crane)
	if err != nil {
		return err
	}
	for _, p := range peers {
		r.note(p.name+" syncs before it acknowledges", "%s", p.syncs)
	}
	for _, n := range []int{1, 8, 32} {
		if err := l.smallRow(ctx, r, peers, n, 0); err != nil {
			return err
		}
	}
	peers = peers[:2] // crane syncs nothing
	for _, n := range []int{1, 8, 32} {
		if err := l.smallRow(ctx, r, peers, n, slowSync); err != nil {
			return err
		}
	}
	return nil
}

// smallRow measures how many small images so many clients push a second, when each fsync
// takes so much longer. The first two peers are compared.
func (l *lab) smallRow(ctx context.Context, r *report, peers []peer, n int, delay time.Duration) (err error) {
	traces := make([]string, len(peers)) // none
	what := fmt.Sprintf("%d clients", n)
	if delay > 0 {
		what += ", each fsync " + load.Short(delay) + " slower"
		for i, p := range peers {
			traces[i] = filepath.Join(l.dir, p.name+".strace")
		}
	}
	servers, err := l.hostAll(ctx, peers, traces, delay)
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			err = errors.Join(err, closeAll(servers))
		}
	}()
	number := uint64(time.Now().UnixNano())
	rates, counts := make([][]float64, len(peers)), make([]int, len(peers))
	err = takeTurns(smallTurns, len(peers), func(_, i int) error {
		first, begin := counts[i], time.Now()
		count, err := clientsFor(n, l.smallTurn(), func(k int) error {
			k += first
			return pushImage(ctx, servers[i].base, "bench/small", fmt.Sprintf("t%d", k), number+uint64(k))
		})
		rates[i] = append(rates[i], float64(count)/time.Since(begin).Seconds())
		counts[i] += count
		return err
	})
	if err != nil {
		return err
	}
	closed = true
	if err := closeAll(servers); err != nil {
		return err
	}
	for i, p := range peers {
		text := fmt.Sprintf("%.0f pushes/s", median(rates[i]))
		if delay > 0 {
			syncs, err := measure.ReadSyncs(traces[i])
			if err != nil {
				return err
			}
			text += fmt.Sprintf(", %.2f fsyncs a push", float64(syncs.Count)/float64(max(1, counts[i])))
		}
		r.note(p.name+", "+what, "%s", text)
	}
	r.atLeast(what+": pushes to distribution's", median(rates[0])/median(rates[1]), 2)
	return nil
}

// measureHead measures how many times a second the manifest of a tag is asked for.
func measureHead(ctx context.Context, l *lab, r *report) (err error) {
	peers, err := l.needPeers(ctx, ours, distribution, crane)
	if err != nil {
		return err
	}
	servers, err := l.hostAll(ctx, peers, nil, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(servers)) }()
	tags := 200
	if l.short {
		tags = 10
	}
	for _, s := range servers {
		err := clients(8, tags, func(i int) error { return pushImage(ctx, s.base, "bench/head", fmt.Sprintf("t%d", i), uint64(i)) })
		if err != nil {
			return err
		}
	}
	for _, n := range []int{1, 8, 32} {
		rates, each := make([][]float64, len(peers)), make([]time.Duration, len(peers))
		err := takeTurns(smallTurns, len(peers), func(_, i int) error {
			count := 0
			spent, err := servers[i].spend(func() (err error) {
				count, err = clientsFor(n, l.smallTurn(), func(k int) error {
					_, _, err := do(ctx, http.MethodHead, fmt.Sprintf("%s/v2/bench/head/manifests/t%d", servers[i].base, k%tags), nil, 0, "", http.StatusOK)
					return err
				})
				return err
			})
			rates[i] = append(rates[i], float64(count)/spent.wall.Seconds())
			each[i] = spent.cpu / time.Duration(max(1, count))
			return err
		})
		if err != nil {
			return err
		}
		for i, p := range peers {
			r.note(fmt.Sprintf("%s, %d clients", p.name, n), "%.0f/s, %s processor each", median(rates[i]), load.Short(each[i]))
		}
		r.atLeast(fmt.Sprintf("%d clients: to distribution's", n), median(rates[0])/median(rates[1]), 1.5)
	}
	return nil
}
