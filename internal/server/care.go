// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry/care"
)

// Care looks after the registry in a store of which this process may not be the
// server.
type Care struct {
	*care.Collector
	blobs blobStore // nil: there are none here
}

// Care opens the care of the registry in the engine's store, whose bytes lie in
// the bucket of a URL (ServeConfig.Blobs), or without one below Config.Data if they
// are there: else bytes are left to a server. KindInvalid: the configuration is wrong.
func (e *Engine) Care(ctx context.Context, r config.Registry, bucket string) (*Care, error) {
	keep, err := (ServeConfig{Registry: r}).auditKeep()
	if err != nil {
		return nil, err
	}
	c := care.Config{Store: e.store, Policy: r.Care, Pulled: e.lastPull(keep), Logger: e.config.Logger, Now: e.config.Now}
	opened := &Care{}
	_, err = os.Stat(filepath.Join(e.config.Data, BlobsDir))
	if bucket != "" || err == nil {
		if opened.blobs, err = openBlobs(ctx, ServeConfig{Config: e.config, Blobs: bucket}); err != nil {
			return nil, err
		}
		c.Blobs = opened.blobs
	}
	if opened.Collector, err = care.New(c); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

// Close releases the place of the blobs.
func (c *Care) Close() error {
	if c.blobs == nil {
		return nil
	}
	return c.blobs.Close()
}

// careMetrics counts what collections take away.
type careMetrics struct {
	collected *prometheus.CounterVec
	condemned prometheus.Counter
	freed     prometheus.Counter
	last      prometheus.Gauge
	checked   *prometheus.CounterVec
}

func newCareMetrics(r *prometheus.Registry) *careMetrics {
	m := &careMetrics{
		collected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dossier_oci_collected_total", Help: "Tags, manifests and blobs that were taken out of repositories as garbage, by kind.",
		}, []string{"kind"}),
		condemned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dossier_oci_condemned_bytes_total", Help: "Bytes that no repository held any more.",
		}),
		freed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dossier_oci_freed_bytes_total", Help: "Bytes that were deleted after they had been condemned.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dossier_oci_collection_timestamp_seconds", Help: "When garbage was last looked for.",
		}),
	}
	m.checked = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dossier_oci_checked_blobs_total", Help: "Blobs that were compared with their digest, by what was found: whole, damaged (just now), still damaged, healed.",
	}, []string{"found"})
	for _, found := range []string{foundWhole, foundDamaged, foundStill, foundHealed} {
		m.checked.WithLabelValues(found)
	}
	r.MustRegister(m.checked, m.collected, m.condemned, m.freed, m.last)
	return m
}

// What a check of a blob may find.
const (
	foundWhole   = "whole"
	foundDamaged = "damaged"
	foundStill   = "still damaged"
	foundHealed  = "healed"
)

// scrubbed counts the check of a blob.
func (m *careMetrics) scrubbed(was, damage string) {
	found := foundWhole
	switch {
	case was == "" && damage != "":
		found = foundDamaged
	case damage != "":
		found = foundStill
	case was != "":
		found = foundHealed
	}
	m.checked.WithLabelValues(found).Inc()
}

func (m *careMetrics) observe(c dossier.CollectionCounts) {
	for kind, n := range map[dossier.HeldKind]int{
		dossier.HeldTag: c.Tags, dossier.HeldManifest: c.Manifests, dossier.HeldBlob: c.Blobs,
	} {
		m.collected.WithLabelValues(string(kind)).Add(float64(n))
	}
	m.condemned.Add(float64(c.Condemned))
	m.freed.Add(float64(c.Freed))
	m.last.SetToCurrentTime()
}
