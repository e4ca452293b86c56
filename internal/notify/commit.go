// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// commit writes, in one transaction, what is told by now and the events that tell
// it. The last one of a step also removes the notices.
func (c *composing) commit(ctx context.Context, job store.Job, out outcome, notices []store.Notice, last bool) error {
	return c.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.Renew(ctx, job.ID, c.owner, c.now().Add(c.lease())); err != nil {
			return err
		}
		waiting := map[string]int{}
		counts, err := tx.CountDeliveries(ctx)
		if err != nil {
			return err
		}
		for _, n := range counts {
			if !n.Parked {
				waiting[n.Target] = n.N
			}
		}
		for _, t := range c.Targets {
			if err := c.deliver(ctx, tx, t, out.changes, waiting[t.config.Name]); err != nil {
				return err
			}
		}
		for _, t := range out.put {
			if err := tx.PutTold(ctx, t); err != nil {
				return err
			}
		}
		for _, t := range out.drop {
			if err := tx.DropTold(ctx, t.Workload, t.Digest); err != nil {
				return err
			}
		}
		if !last {
			return nil
		}
		return c.finish(ctx, tx, job, notices)
	})
}

// finish removes notices and the job, unless there is more to do.
func (c *composing) finish(ctx context.Context, tx store.Tx, job store.Job, notices []store.Notice) error {
	ids := make([]int64, len(notices))
	for i, n := range notices {
		ids[i] = n.ID
	}
	if err := tx.Forget(ctx, ids); err != nil {
		return err
	}
	if len(c.wait) > 0 {
		slices.Sort(c.wait)
		b, err := json.Marshal(slices.Compact(c.wait))
		if err != nil {
			return err
		}
		if err := tx.Notify(ctx, topicDigests, b); err != nil {
			return err
		}
	}
	left, err := tx.Notices(ctx, 0, 2)
	if err != nil {
		return err
	}
	more := 0 // that came meanwhile, or were too many for one step
	for _, n := range left {
		if !slices.Contains(ids, n.ID) {
			more++
		}
	}
	if len(c.wait) > 0 {
		more--
	}
	if err := tx.Finish(ctx, job.ID, c.owner); err != nil {
		return err
	}
	switch {
	case more > 0:
		_, err = tx.Enqueue(ctx, store.Job{Kind: jobCompose, RunAt: c.now().Add(cmp.Or(c.Gather, DefaultGather))})
	case len(c.wait) > 0:
		_, err = tx.Enqueue(ctx, store.Job{Kind: jobCompose, RunAt: c.again})
	}
	return err
}

// deliver makes the events of a target: one for each change, or a digest.
func (c *composing) deliver(ctx context.Context, tx store.Tx, t *Target, changes []change, waiting int) error {
	var mine []change
	for _, one := range changes {
		if one.findings = t.lets(&one); len(one.findings) > 0 {
			mine = append(mine, one)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	var events []Event
	if len(mine) > maxEvents || waiting+len(mine) > maxWaiting {
		events = []Event{c.digestOf(mine)}
	} else {
		for _, one := range mine {
			events = append(events, c.eventOf(one))
		}
	}
	for _, e := range events {
		id, body, err := encode(e)
		if err != nil {
			return err
		}
		if err := tx.AddDelivery(ctx, store.Delivery{Target: t.config.Name, Event: id, Body: body, At: c.at, RunAt: c.at}); err != nil {
			return err
		}
	}
	return nil
}

func (c *composing) eventOf(one change) Event {
	w := one.workload
	d := Data{
		Workload: w, Cluster: c.clusters[w.Cluster], Containers: one.told.Containers, Digest: one.digest, Images: one.told.Images,
		Reason: one.reason, Now: one.now, NotAssessed: one.state.unassessed, Suppressed: len(one.state.suppressed), Links: linksOf(c.Base, one.digest),
	}
	d.fill(one.findings)
	return Event{
		Source: c.source(), Type: one.kind, Time: c.at, Data: d,
		Subject: strings.Join([]string{w.Cluster, w.Namespace, w.Kind, w.Name}, "/") + "@" + string(one.digest),
	}
}

// source names this installation.
func (s *Service) source() string { return cmp.Or(strings.TrimSuffix(s.Base, "/"), "/dossier") }

// digestOf makes one event of many.
func (c *composing) digestOf(list []change) Event {
	d := DigestData{Events: map[string]int{}, Severities: map[dossier.Severity]int{}}
	d.Links.Images = strings.TrimSuffix(c.Base, "/") + "/api/v1/images"
	workloads, images, namespaces := map[dossier.Workload]bool{}, map[dossier.Digest]bool{}, map[string]bool{}
	byID := map[string]*DigestFinding{}
	for _, one := range list {
		d.Events[one.kind]++
		workloads[one.workload], images[one.digest], namespaces[one.workload.Namespace] = true, true, true
		for _, f := range one.findings {
			known := byID[f.ID]
			if known == nil {
				known = &DigestFinding{ID: f.ID}
				byID[f.ID] = known
			}
			if known.Severity == "" || f.Severity.Rank() > known.Severity.Rank() {
				known.Severity = f.Severity
			}
			known.Exploited, known.Fixable = known.Exploited || f.Exploited, known.Fixable || f.Fixable
			switch one.kind {
			case TypeNew:
				known.New++
			case TypeStarted:
				known.Started++
			case TypeGone:
				known.Gone++
			}
		}
	}
	for _, f := range byID {
		d.Findings = append(d.Findings, *f)
		if f.New+f.Started > 0 {
			d.Severities[f.Severity]++
			d.Fixable += number(f.Fixable)
			d.Exploited += number(f.Exploited)
		}
	}
	slices.SortFunc(d.Findings, func(a, b DigestFinding) int {
		return cmp.Or(number(b.New+b.Started > 0)-number(a.New+a.Started > 0), number(b.Exploited)-number(a.Exploited),
			b.Severity.Rank()-a.Severity.Rank(), number(b.Fixable)-number(a.Fixable), strings.Compare(a.ID, b.ID))
	})
	d.Workloads, d.Images, d.Namespaces = len(workloads), len(images), slices.Sorted(maps.Keys(namespaces))
	d.Namespaces = d.Namespaces[:min(len(d.Namespaces), maxFindings)]
	d.Truncated = len(d.Findings) > maxFindings
	d.Findings = d.Findings[:min(len(d.Findings), maxFindings)]
	return Event{Source: c.source(), Type: TypeDigest, Time: c.at, Data: d}
}
