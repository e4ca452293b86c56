// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/feed"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/store"
)

// scrapeTimeout bounds what one scrape asks the store.
const scrapeTimeout = 5 * time.Second

// other stands for label values that are not on a list, so that their number
// stays bounded.
const other = "other"

// register adds the metrics of a server to a registry.
func register(registry *prometheus.Registry, s *server) {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "dossier_build_info", Help: "1, with what this program was built from.",
	}, []string{"version", "revision", "goversion"})
	build.WithLabelValues(s.config.Build.Version, s.config.Build.Revision, runtime.Version()).Set(1)
	registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(s))
}

// collector reads metrics where they are kept, when somebody asks.
type collector struct {
	server *server

	jobs, facts, registryRequests, registryBytes, registryThrottled, damaged, checkedSince, watchAge, watchSynced *prometheus.Desc
	feedAge, feedStale, feedRecords                                                                               *prometheus.Desc
}

func newCollector(s *server) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		server:            s,
		jobs:              desc("dossier_jobs", "Jobs in the database, by kind and state.", "kind", "state"),
		facts:             desc("dossier_facts_total", "Facts that this process learnt, by kind: recorded, or known before.", "kind", "outcome"),
		registryRequests:  desc("dossier_registry_requests_total", "Requests sent to registries."),
		registryBytes:     desc("dossier_registry_received_bytes_total", "Bytes received from registries."),
		registryThrottled: desc("dossier_registry_throttled_total", "Answers of registries that asked for patience."),
		damaged:           desc("dossier_oci_damaged_blobs", "Blobs of the registry that are known to be damaged now."),
		checkedSince:      desc("dossier_oci_checked_since_timestamp_seconds", "When the blob was last compared with its digest for which that is the longest ago; 0: one never was."),
		feedAge:           desc("dossier_feed_age_seconds", "Time since a feed of advisories was last found to be current.", "feed"),
		feedStale:         desc("dossier_feed_stale", "1 when a feed of advisories is older than it may be, else 0.", "feed"),
		feedRecords:       desc("dossier_feed_advisories", "Advisories in a feed.", "feed"),
		watchAge:          desc("dossier_cluster_watch_age_seconds", "Time since the cluster was last heard of."),
		watchSynced:       desc("dossier_cluster_watch_synced", "1 when the whole cluster was listed and is watched, else 0."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.collectJobs(ch)
	c.collectFeeds(ch)
	for key, n := range c.server.engine.facts.snapshot() {
		ch <- prometheus.MustNewConstMetric(c.facts, prometheus.CounterValue, float64(n), key.kind, key.outcome)
	}
	var requests, bytes, throttled int64
	for _, host := range c.server.engine.images.Usage().Hosts {
		requests, bytes, throttled = requests+host.Requests, bytes+host.Bytes, throttled+host.Throttled
	}
	ch <- prometheus.MustNewConstMetric(c.registryRequests, prometheus.CounterValue, float64(requests))
	ch <- prometheus.MustNewConstMetric(c.registryBytes, prometheus.CounterValue, float64(bytes))
	ch <- prometheus.MustNewConstMetric(c.registryThrottled, prometheus.CounterValue, float64(throttled))
	if c.server.own != nil {
		c.collectSoundness(ch)
	}
	if c.server.follower != nil {
		c.collectCluster(ch)
	}
}

// collectSoundness says how it stands with the bytes of the registry.
func (c *collector) collectSoundness(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	var sound store.Soundness
	err := c.server.engine.store.View(ctx, func(r store.Reader) (err error) {
		sound, err = r.Soundness(ctx)
		return err
	})
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.damaged, err)
		return
	}
	since := 0.0
	if !sound.Oldest.IsZero() {
		since = float64(sound.Oldest.UnixMilli()) / 1000
	}
	ch <- prometheus.MustNewConstMetric(c.damaged, prometheus.GaugeValue, float64(sound.Damaged))
	ch <- prometheus.MustNewConstMetric(c.checkedSince, prometheus.GaugeValue, since)
}

func (c *collector) collectCluster(ch chan<- prometheus.Metric) {
	health, connected := c.server.follower.health()
	synced := 0.0
	if connected && health.Synced {
		synced = 1
	}
	ch <- prometheus.MustNewConstMetric(c.watchSynced, prometheus.GaugeValue, synced)
	if !health.LastContact.IsZero() {
		age := c.server.engine.config.Now().Sub(health.LastContact)
		ch <- prometheus.MustNewConstMetric(c.watchAge, prometheus.GaugeValue, age.Seconds())
	}
}

// collectFeeds tells how old advisories are.
func (c *collector) collectFeeds(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	e := c.server.engine
	list, err := feed.ReadStatus(ctx, e.advisories, dossier.Instant(e.config.Now()), e.maxFeedAge())
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.feedAge, err)
		return
	}
	for _, f := range list.Feeds {
		stale := 0.0
		if f.Stale {
			stale = 1
		}
		ch <- prometheus.MustNewConstMetric(c.feedAge, prometheus.GaugeValue, list.At.Sub(f.AsOf).Seconds(), f.Feed)
		ch <- prometheus.MustNewConstMetric(c.feedStale, prometheus.GaugeValue, stale, f.Feed)
		ch <- prometheus.MustNewConstMetric(c.feedRecords, prometheus.GaugeValue, float64(f.Records), f.Feed)
	}
}

// collectJobs counts the jobs, none included: a count that goes away looks like
// one that was never there.
func (c *collector) collectJobs(ch chan<- prometheus.Metric) {
	type key struct{ kind, state string }
	counts := map[key]int{}
	for _, kind := range jobKinds() {
		for _, state := range []store.JobState{store.JobReady, store.JobLeased, store.JobParked} {
			counts[key{kind, string(state)}] = 0
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	err := c.server.engine.store.View(ctx, func(r store.Reader) error {
		list, err := r.CountJobs(ctx)
		if err != nil {
			return err
		}
		for _, j := range list {
			kind := j.Kind
			if !slices.Contains(jobKinds(), kind) {
				kind = other
			}
			counts[key{kind, string(j.State)}] += j.N
		}
		return nil
	})
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.jobs, err)
		return
	}
	for k, n := range counts {
		ch <- prometheus.MustNewConstMetric(c.jobs, prometheus.GaugeValue, float64(n), k.kind, k.state)
	}
}

// jobKinds are the kinds of job that are counted by name.
func jobKinds() []string { return slices.Concat(ingest.Kinds(), care.Kinds()) }

// factKey is one count of facts.
type factKey struct{ kind, outcome string }

// factCounts counts the facts that this process recorded, or would have if they
// had not been known.
type factCounts struct {
	mu sync.Mutex
	n  map[factKey]int64
}

func (c *factCounts) add(n map[factKey]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, v := range n {
		c.n[k] += v
	}
}

func (c *factCounts) snapshot() map[factKey]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[factKey]int64, len(c.n))
	for k, v := range c.n {
		out[k] = v
	}
	return out
}

// counting is a store that counts the facts of transactions that succeed.
type counting struct {
	store.Store
	counts *factCounts
}

// Update implements store.Store.
func (s counting) Update(ctx context.Context, f func(store.Tx) error) error {
	return s.count(ctx, s.Store.Update, f)
}

// UpdateSoon implements store.Store.
func (s counting) UpdateSoon(ctx context.Context, f func(store.Tx) error) error {
	return s.count(ctx, s.Store.UpdateSoon, f)
}

func (s counting) count(ctx context.Context, update func(context.Context, func(store.Tx) error) error, f func(store.Tx) error) error {
	n := map[factKey]int64{}
	err := update(ctx, func(tx store.Tx) error {
		clear(n) // f may be run again
		return f(countingTx{tx, n})
	})
	if err == nil && len(n) > 0 {
		s.counts.add(n)
	}
	return err
}

type countingTx struct {
	store.Tx
	n map[factKey]int64
}

// Record implements store.FactWriter.
func (t countingTx) Record(ctx context.Context, s dossier.Statement) (dossier.Fact, bool, error) {
	fact, recorded, err := t.Tx.Record(ctx, s)
	if err == nil {
		key := factKey{kind: other, outcome: "known"}
		if slices.Contains(factKinds(), s.Kind) {
			key.kind = string(s.Kind)
		}
		if recorded {
			key.outcome = "recorded"
		}
		t.n[key]++
	}
	return fact, recorded, err
}

// factKinds are the kinds that are counted by name.
func factKinds() []dossier.FactKind {
	return []dossier.FactKind{
		dossier.FactIndex, dossier.FactManifest, dossier.FactConfig, dossier.FactGoBuild, dossier.FactLayer, dossier.FactContents, dossier.FactBill, dossier.FactAttached,
		dossier.FactVEX, dossier.FactAttachedVEX, dossier.FactSignature, dossier.FactStatement,
		dossier.FactName, dossier.FactTag, dossier.FactRun, dossier.FactPush, dossier.FactMount, dossier.FactRetag, dossier.FactDelete,
		dossier.FactDamage, dossier.FactHeal, dossier.FactRetraction,
	}
}
