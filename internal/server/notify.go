// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/notify"
	"dossier.dev/dossier/internal/store"
)

// outbox is what writes down changes that others are told.
func (c Config) outbox() notify.Outbox { return notify.Outbox{Gather: c.Gather, Now: c.Now} }

// openNotifier makes what tells others; nil: nobody is told.
func openNotifier(ctx context.Context, c ServeConfig, e *Engine) (*notify.Service, error) {
	if len(c.Notifications.Targets) == 0 {
		if c.Offline {
			return nil, nil // it only answers
		}
		return nil, e.store.Update(ctx, func(tx store.Tx) error { return tx.PutTelling(ctx, false) })
	}
	s := &notify.Service{
		Outbox: e.config.outbox(), Store: e.store, Base: c.Notifications.URL, Logger: e.config.Logger, Poll: c.NotifyPoll, Expiry: e.Triage.Expiry,
		List: func(ctx context.Context, d dossier.Digest) (dossier.FindingList, error) {
			return e.FindingsOf(ctx, dossier.FindingQuery{Ref: string(d)}, d)
		},
	}
	for _, t := range c.Notifications.Targets {
		target, err := notify.NewTarget(t)
		if err != nil {
			return nil, err
		}
		s.Targets = append(s.Targets, target)
	}
	return s, e.store.Update(ctx, func(tx store.Tx) error { return tx.PutTelling(ctx, true) })
}

// notifyCollector tells how notifications stand.
type notifyCollector struct {
	service *notify.Service
	store   store.Store
	now     func() time.Time

	waiting, oldest, requests *prometheus.Desc
}

func newNotifyCollector(s *notify.Service, e *Engine) *notifyCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &notifyCollector{
		service: s, store: e.store, now: e.config.Now,
		waiting:  desc("dossier_notify_events", "Events for a target that wait to be sent, or were given up (parked).", "target", "state"),
		oldest:   desc("dossier_notify_oldest_seconds", "For how long the oldest event for a target has waited; 0: none waits.", "target"),
		requests: desc("dossier_notify_requests_total", "Events sent by this process, by how that ended: delivered, failed and tried again, or parked.", "target", "outcome"),
	}
}

// Describe implements prometheus.Collector.
func (c *notifyCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *notifyCollector) Collect(ch chan<- prometheus.Metric) {
	type key struct{ target, state string }
	counts, oldest := map[key]int{}, map[string]float64{}
	for k, n := range c.service.Sent() {
		ch <- prometheus.MustNewConstMetric(c.requests, prometheus.CounterValue, float64(n), k.Target, k.Outcome)
		counts[key{k.Target, "waiting"}], counts[key{k.Target, "parked"}], oldest[k.Target] = 0, 0, 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	if err := c.store.View(ctx, func(r store.Reader) error {
		list, err := r.CountDeliveries(ctx)
		for _, n := range list {
			if _, ok := oldest[n.Target]; !ok {
				continue // a target that is not configured any more
			}
			state := "waiting"
			if n.Parked {
				state = "parked"
			} else {
				oldest[n.Target] = max(0, c.now().Sub(n.Oldest).Seconds())
			}
			counts[key{n.Target, state}] = n.N
		}
		return err
	}); err != nil {
		ch <- prometheus.NewInvalidMetric(c.waiting, err)
		return
	}
	for k, n := range counts {
		ch <- prometheus.MustNewConstMetric(c.waiting, prometheus.GaugeValue, float64(n), k.target, k.state)
	}
	for target, age := range oldest {
		ch <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, age, target)
	}
}
