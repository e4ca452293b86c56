// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/audit"
)

// DefaultAuditKeep is how long pulls and refusals are on record unless the
// configuration says otherwise.
const DefaultAuditKeep = "90d"

// pruneEvery is how often days of the audit that are too old are looked for.
const pruneEvery = time.Hour

// Audit returns a page of what was done in the registry, newest first. Errors
// are those of audit.Reader.
func (e *Engine) Audit(ctx context.Context, q dossier.AuditQuery) (dossier.AuditList, error) {
	r := audit.Reader{Store: e.store, Log: e.audit}
	if e.own != nil {
		r.Sync = e.own.recorder.Sync
	}
	return r.Audit(ctx, q)
}

// lastPull returns what care.Config.Pulled is. A pull that is no longer on record
// may have been as late as what is: keep is how long that goes back, 0: for ever.
func (e *Engine) lastPull(keep time.Duration) func(ctx context.Context, path string, d dossier.Digest) (time.Time, bool, error) {
	return func(ctx context.Context, path string, d dossier.Digest) (at time.Time, ok bool, err error) {
		q := dossier.AuditQuery{Repository: path, Digest: d, Action: dossier.ActionPull, Limit: pullsAtOnce}
		for {
			list, err := e.Audit(ctx, q)
			if err != nil {
				return at, false, err
			}
			i := slices.IndexFunc(list.Entries, func(a dossier.AuditEntry) bool { return !a.Denied })
			switch {
			case i >= 0:
				return list.Entries[i].At, true, nil
			case list.Next != "":
				q.Before = list.Next
			case keep > 0:
				return e.config.Now().Add(-keep), true, nil
			default:
				return at, true, nil
			}
		}
	}
}

// pullsAtOnce is in how many entries a pull that was let through is looked for.
const pullsAtOnce = 10

// auditKeep returns how long pulls and refusals are on record; 0: for ever.
func (c ServeConfig) auditKeep() (time.Duration, error) {
	return dossier.ParseAge(cmp.Or(c.Registry.AuditKeep, DefaultAuditKeep))
}

// prune drops days of the audit until ctx ends.
func (o *ownRegistry) prune(ctx context.Context, e *Engine) {
	if o.auditKeep == 0 {
		return
	}
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		n, err := audit.Prune(ctx, e.audit, e.config.Now(), o.auditKeep)
		if err != nil && ctx.Err() == nil {
			e.config.Logger.ErrorContext(ctx, "old days of the audit could not be dropped", "error", err)
		}
		if n > 0 {
			e.config.Logger.InfoContext(ctx, "old days of the audit dropped", "days", n)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// registerAudit adds the metrics of a recorder to a registry.
func registerAudit(registry *prometheus.Registry, r *audit.Recorder) {
	registry.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "dossier_audit_entries_total", Help: "Pulls and refusals that this process has put on record.",
		}, func() float64 { return float64(r.Stats().Written) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "dossier_audit_lost_total", Help: "Pulls and refusals that are on record by their number only: more came than could be written.",
		}, func() float64 { return float64(r.Stats().Lost) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "dossier_audit_pending", Help: "Pulls and refusals that wait to be put on record.",
		}, func() float64 { return float64(r.Stats().Pending) }),
	)
}
