// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
)

const (
	showLimit = 5 * time.Millisecond
	showRate  = 500 // requests a second
	showTime  = 10 * time.Second
	warmTime  = 2 * time.Second
)

// askedAt is how a server stood a constant rate of requests.
type askedAt struct {
	latency *load.Sample
	cpu     time.Duration // of the server, for one request
}

// askAt asks for paths in turn at showRate, after a while that does not count.
func askAt(ctx context.Context, pid int, url func(i int) string) (askedAt, error) {
	client := loadClient()
	defer client.CloseIdleConnections()
	one := func(ctx context.Context, i int) error {
		_, err := fetch(ctx, client, url(i))
		return err
	}
	load.Constant(ctx, showRate, warmTime, one)
	before, err := measure.CPUTime(pid)
	if err != nil {
		return askedAt{}, err
	}
	sample := load.Constant(ctx, showRate, showTime, one)
	after, err := measure.CPUTime(pid)
	return askedAt{sample, (after - before) / time.Duration(max(1, sample.N()))}, err
}

func measureShow(ctx context.Context, l *lab, r *report) error {
	data, err := l.needFilled(ctx)
	if err != nil {
		return err
	}
	s, err := l.serve(ctx, data, "--no-cluster")
	if err != nil {
		return err
	}
	path := func(i int) string {
		return "/api/v1/digests/" + string(l.images.List[i*7%len(l.images.List)].Index)
	}
	body, err := s.get(ctx, path(0))
	if err != nil {
		return err
	}
	ours, err := askAt(ctx, s.process.PID(), func(i int) string { return s.url + path(i) })
	if err != nil {
		return err
	}
	whereSample := load.Constant(ctx, 50, 4*time.Second, func(ctx context.Context, i int) error {
		_, err := s.get(ctx, "/api/v1/where?term="+l.term(i))
		return err
	})
	u, err := s.close()
	if err != nil {
		return err
	}
	plain, err := l.askPlain(ctx, body)
	if err != nil {
		return err
	}
	r.note("store", "%v", l.size)
	r.quantiles(fmt.Sprintf("show, %d requests/s", showRate), ours.latency, showLimit)
	r.note("processor a request", "%s", load.Short(ours.cpu))
	r.note("peak memory", "%s", megabytes(u.PeakMemory))
	r.note("an answer", "%d bytes", len(body))
	r.note("peer: net/http with the same bytes", "%v; processor %s", plain.latency, load.Short(plain.cpu))
	r.note("ratio to net/http", "p50 %.1f, p99 %.1f", float64(ours.latency.Quantile(0.5))/float64(plain.latency.Quantile(0.5)),
		float64(ours.latency.Quantile(0.99))/float64(plain.latency.Quantile(0.99)))
	r.quantiles("where, 50 requests/s", whereSample, whereLimit)
	return nil
}

// askPlain measures a server that does nothing but answer.
func (l *lab) askPlain(ctx context.Context, body []byte) (askedAt, error) {
	file, err := os.CreateTemp(l.dir, "body")
	if err != nil {
		return askedAt{}, err
	}
	defer file.Close()
	if _, err := file.WriteAt(body, 0); err != nil {
		return askedAt{}, err
	}
	p, address, err := startPart(ctx, []*os.File{file}, partPlain)
	if err != nil {
		return askedAt{}, err
	}
	asked, err := askAt(ctx, p.PID(), func(int) string { return "http://" + address + "/" })
	if stopErr := p.Stop(); err == nil {
		err = stopErr
	}
	_, _ = p.Wait() // it ends by a signal
	return asked, err
}

// servePlain answers every request with the bytes that it inherits.
func servePlain(ctx context.Context, _ []string, _ io.Writer) error {
	body, err := io.ReadAll(os.NewFile(4, "body"))
	if err != nil {
		return err
	}
	return serveInherited(ctx, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // the client sees that it broke off
	}))
}
