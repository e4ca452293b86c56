// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"dossier.dev/dossier"
)

// upstreamCollector shows how it stands with the registries that are pulled
// through.
type upstreamCollector struct {
	status func() []dossier.Upstream
	now    func() time.Time

	requests, received, throttled, pulls, up, limit, remaining, held *prometheus.Desc
}

func newUpstreamCollector(status func() []dossier.Upstream, now func() time.Time) *upstreamCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("dossier_upstream_"+name, help, append([]string{"upstream"}, labels...), nil)
	}
	return &upstreamCollector{
		status:    status,
		now:       now,
		requests:  desc("requests_total", "Requests sent to an upstream, tokens and repetitions included."),
		received:  desc("received_bytes_total", "Bytes received from an upstream."),
		throttled: desc("throttled_total", "Answers 429 of an upstream."),
		pulls:     desc("pulls_total", "Pulls through an upstream, by where what was sent came from.", "source"),
		up:        desc("up", "1 when an upstream answered when it was asked last, else 0."),
		limit:     desc("ratelimit_limit", "How many requests an upstream allows, as it said last."),
		remaining: desc("ratelimit_remaining", "How many of those are left."),
		held:      desc("held_seconds", "For how long an upstream wants no requests."),
	}
}

// Describe implements prometheus.Collector.
func (c *upstreamCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.requests, c.received, c.throttled, c.pulls, c.up, c.limit, c.remaining, c.held} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *upstreamCollector) Collect(ch chan<- prometheus.Metric) {
	for _, u := range c.status() {
		send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, kind, v, append([]string{u.Name}, labels...)...)
		}
		send(c.requests, prometheus.CounterValue, float64(u.Requests))
		send(c.received, prometheus.CounterValue, float64(u.ReceivedBytes))
		send(c.throttled, prometheus.CounterValue, float64(u.Throttled))
		for source, n := range map[string]int64{
			"kept": u.Served.Kept, "fetched": u.Served.Fetched, "stale": u.Served.Stale, "missing": u.Served.Missing, "failed": u.Served.Failed,
		} {
			send(c.pulls, prometheus.CounterValue, float64(n), source)
		}
		up, held := 0.0, 0.0
		if u.State == dossier.UpstreamOK {
			up = 1
		}
		if !u.HeldUntil.IsZero() {
			held = max(0, u.HeldUntil.Sub(c.now()).Seconds())
		}
		send(c.up, prometheus.GaugeValue, up)
		send(c.held, prometheus.GaugeValue, held)
		if u.RateLimit != nil {
			send(c.limit, prometheus.GaugeValue, float64(u.RateLimit.Limit))
			send(c.remaining, prometheus.GaugeValue, float64(u.RateLimit.Remaining))
		}
	}
}
