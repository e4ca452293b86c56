// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/store"
)

// maxQuotas bounds how many there may be: each prefix of a repository's path is
// looked for with every push.
const maxQuotas = 10_000

// validateQuotas tells fault which quotas make no sense.
func (c ServeConfig) validateQuotas(fault func(subject, why, hint string)) {
	seen := map[string]bool{}
	if len(c.Registry.Quotas) > maxQuotas {
		fault("registry.quotas", fmt.Sprintf("there are more than %d", maxQuotas), "set quotas further up")
	}
	for i, q := range c.Registry.Quotas {
		subject := fmt.Sprintf("registry.quotas[%d]", i)
		if err := registry.CheckRepository(q.Prefix); err != nil {
			fault(subject+".prefix", "it is no path of repositories", "write it as team or team/web, without the host and without a pattern")
		}
		if q.Bytes <= 0 {
			fault(subject+".bytes", "it allows nothing", "write a size such as 10GiB")
		}
		if seen[q.Prefix] {
			fault(subject+".prefix", "it has a quota already", "leave one of them out")
		}
		seen[q.Prefix] = true
		for _, u := range c.upstreams() {
			if prefix := u.Prefix(); q.Prefix == prefix || strings.HasPrefix(q.Prefix, prefix+"/") {
				fault(subject+".prefix", "what is pulled through lies there", "set registry.care.mirrors for that upstream instead")
			}
		}
	}
}

// setQuotas makes quotas those of the configuration, unless they are.
func setQuotas(ctx context.Context, s store.Store, quotas []config.Quota) error {
	want := map[string]int64{}
	list := make([]dossier.Quota, 0, len(quotas))
	for _, q := range quotas {
		want[q.Prefix] = int64(q.Bytes)
		list = append(list, dossier.Quota{Prefix: q.Prefix, Limit: int64(q.Bytes)})
	}
	there := map[string]int64{}
	err := s.View(ctx, func(r store.Reader) error {
		clear(there)
		quotas, err := r.Quotas(ctx)
		for _, q := range quotas {
			there[q.Prefix] = q.Limit
		}
		return err
	})
	if err != nil || maps.Equal(want, there) {
		return err // nobody has to wait
	}
	return s.Update(ctx, func(tx store.Tx) error { return tx.SetQuotas(ctx, list) })
}

// quotaCollector reads how much of each quota is used, when somebody asks.
type quotaCollector struct {
	read        func(context.Context) (dossier.QuotaList, error)
	used, limit *prometheus.Desc
}

func newQuotaCollector(read func(context.Context) (dossier.QuotaList, error)) *quotaCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"prefix"}, nil)
	}
	return &quotaCollector{
		read:  read,
		used:  desc("dossier_oci_quota_used_bytes", "Bytes that the repositories of a quota hold."),
		limit: desc("dossier_oci_quota_limit_bytes", "Bytes that the repositories of a quota may hold."),
	}
}

// Describe implements prometheus.Collector.
func (c *quotaCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.used; ch <- c.limit }

// Collect implements prometheus.Collector.
func (c *quotaCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	list, err := c.read(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.used, err)
		return
	}
	for _, q := range list.Quotas {
		ch <- prometheus.MustNewConstMetric(c.used, prometheus.GaugeValue, float64(q.Used), q.Prefix)
		ch <- prometheus.MustNewConstMetric(c.limit, prometheus.GaugeValue, float64(q.Limit), q.Prefix)
	}
}
