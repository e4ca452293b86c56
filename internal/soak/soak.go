// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Lease is for how long a registry that was started with Policy holds what it
// told somebody of, at least half of it. It is short, so that much is collected.
const Lease = 20 * time.Second

// Policy is the configuration of the registry, as YAML: it collects and scrubs every second, and all
// goes that has no tag.
const Policy = `registry:
  care:
    lease: 20s
    delay: 10s
    every: 1s
    reconcile: 1s
    scrub: {age: 5s, rate: 64MiB}
    retention:
      - {name: no tag, repositories: ["soak/**"], untagged: 0s}
`

// Config says which registry, and for how long. Hosts and Duration are required.
type Config struct {
	Hosts    []string // HOST:PORT of each replica, without TLS
	Duration time.Duration
	Clients  int           // 0: 8
	Pause    time.Duration // of a client after each thing it does; 0: 20 ms
	Dawdle   time.Duration // how long a client that takes its time does so at most; 0: a fifth of Lease
	Seed     uint64
}

// Report is what came of it.
type Report struct {
	Did      map[string]int   // how often, by what
	Bytes    int64            // that were pushed
	Late     int              // that were not done within the time that the registry promised, and failed
	Kept     int              // images that were there in the end, and should be
	Counters map[string]int64 // of the registry's metrics, added up over the replicas
	Failures []string         // at most maxFailures
}

const maxFailures = 20

// The metrics that say that the registry had something to collect, and was whole.
const (
	Collected = "dossier_oci_collected_total"
	Freed     = "dossier_oci_freed_bytes_total"
	Checked   = "dossier_oci_checked_blobs_total"
	Damaged   = "dossier_oci_damaged_blobs"
)

// String says it on some lines.
func (r Report) String() string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(r.Did)) {
		fmt.Fprintf(&b, "%s %d, ", what, r.Did[what])
	}
	fmt.Fprintf(&b, "%d bytes pushed, %d late, %d images kept\n", r.Bytes, r.Late, r.Kept)
	for _, name := range slices.Sorted(maps.Keys(r.Counters)) {
		fmt.Fprintf(&b, "%s %d\n", name, r.Counters[name])
	}
	for _, f := range r.Failures {
		fmt.Fprintln(&b, "FAILED:", f)
	}
	return b.String()
}

// Err returns what is wrong: a failure, or that too little happened for the rest to
// say anything.
func (r Report) Err() error {
	switch {
	case len(r.Failures) > 0:
		return fmt.Errorf("%d failures or more, the first: %s", len(r.Failures), r.Failures[0])
	case r.Counters[Damaged] > 0:
		return fmt.Errorf("%d blobs are damaged", r.Counters[Damaged])
	case r.Counters[Collected] == 0 || r.Counters[Freed] == 0 || r.Counters[Checked] == 0:
		return errors.New("nothing was collected, or nothing scrubbed: it shows nothing")
	case r.Did["push"] < 100 || r.Late*20 > r.Did["push"]:
		return fmt.Errorf("of %d pushes %d were late: the machine is too slow for it to show anything", r.Did["push"], r.Late)
	}
	return nil
}

// run is one soak.
type run struct {
	Config
	http *http.Client

	mu      sync.Mutex
	report  Report
	clients []*client
}

// Run uses a registry, and looks whether all is there that should be. The error says that it could
// not be done; what it found is in the Report.
func Run(ctx context.Context, c Config) (Report, error) {
	if c.Clients == 0 {
		c.Clients = 8
	}
	if c.Pause == 0 {
		c.Pause = 20 * time.Millisecond
	}
	if c.Dawdle == 0 {
		c.Dawdle = Lease / 5
	}
	r := &run{Config: c, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: c.Clients}}}
	defer r.http.CloseIdleConnections()
	r.report.Did, r.report.Counters = map[string]int{}, map[string]int64{}
	for i := range c.Clients {
		r.clients = append(r.clients, newClient(r, i))
	}
	end := time.Now().Add(c.Duration)
	r.each(func(c *client) {
		for time.Now().Before(end) && ctx.Err() == nil && !r.failed() {
			c.act(ctx)
			time.Sleep(r.Pause)
		}
	})
	if err := ctx.Err(); err != nil {
		return r.report, err
	}
	r.each(func(c *client) { c.verify(ctx) })
	for _, host := range c.Hosts {
		if err := r.scrape(ctx, host); err != nil {
			return r.report, err
		}
	}
	return r.report, ctx.Err()
}

// each lets all clients do something at a time.
func (r *run) each(f func(*client)) {
	var group sync.WaitGroup
	for _, c := range r.clients {
		group.Go(func() { f(c) })
	}
	group.Wait()
}

func (r *run) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.report.Failures) >= maxFailures
}

// did counts something that was done.
func (r *run) did(what string, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Did[what]++
	r.report.Bytes += int64(bytes)
}

// fail notes a failure of something that began at a time, unless it took too long for that to mean anything.
func (r *run) fail(began time.Time, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(began) >= Lease/2 {
		r.report.Late++
		return
	}
	if len(r.report.Failures) < maxFailures {
		r.report.Failures = append(r.report.Failures, fmt.Sprintf(format, args...))
	}
}

// random returns an image of any client that it still has, and whose it is; nil: there is none.
func (r *run) random(random *rand.Rand) (*client, *image) {
	c := r.clients[random.IntN(len(r.clients))]
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.images) == 0 {
		return c, nil
	}
	return c, c.images[random.IntN(len(c.images))]
}

// scrape adds the metrics of a replica.
func (r *run) scrape(ctx context.Context, host string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	for line := range strings.Lines(string(b)) {
		for _, name := range []string{Collected, Freed, Checked, Damaged} {
			if !strings.HasPrefix(line, name+" ") && !strings.HasPrefix(line, name+"{") {
				continue
			}
			var value float64
			if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &value); err != nil {
				return fmt.Errorf("metrics of %s: %q: %w", host, line, err)
			}
			if name == Damaged { // all replicas say the same
				r.report.Counters[name] = max(r.report.Counters[name], int64(value))
			} else {
				r.report.Counters[name] += int64(value)
			}
		}
	}
	return err
}
