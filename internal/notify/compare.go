// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// told is the body of store.Told.
type told struct {
	Containers []string  `json:"containers"`
	Images     []string  `json:"images"`
	Findings   []Finding `json:"findings"`
	Suppressed []string  `json:"suppressed,omitempty"` // IDs that did not count
	Absent     time.Time `json:"absent,omitzero"`      // since when the workload does not run it
}

// change is an event about a workload and an image, before it is cut to what a
// target wants.
type change struct {
	kind     string // the type of the event
	workload dossier.Workload
	digest   dossier.Digest
	told     told // containers and images
	reason   string
	now      []dossier.Digest
	findings []Finding
	state    state
}

// outcome is what a comparison gives.
type outcome struct {
	changes []change
	put     []store.Told
	drop    []store.Told
}

// comparing is a comparison of one workload.
type comparing struct {
	*composing
	workload dossier.Workload
	runs     map[dossier.Digest]*running
	told     map[dossier.Digest]store.Told
	bodies   map[dossier.Digest]told
	out      *outcome
}

// compare compares what workloads run with what was told of them.
func (c *composing) compare(ctx context.Context, workloads []dossier.Workload) (outcome, error) {
	var out outcome
	p, err := c.present(ctx, workloads)
	if err != nil {
		return out, err
	}
	for _, w := range workloads {
		one := comparing{composing: c, workload: w, runs: p.runs[w], told: p.told[w], bodies: map[dossier.Digest]told{}, out: &out}
		for d, t := range one.told {
			one.bodies[d] = decodeTold(t.Body)
		}
		if err := one.compare(ctx); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (c *comparing) compare(ctx context.Context) error {
	for _, d := range slices.Sorted(maps.Keys(c.runs)) {
		s, err := c.state(ctx, d)
		if err != nil {
			return err
		}
		if !s.known {
			continue // told when it is
		}
		if _, ok := c.told[d]; ok {
			err = c.still(d, s)
		} else {
			err = c.started(d, s)
		}
		if err != nil {
			return err
		}
	}
	for _, d := range slices.Sorted(maps.Keys(c.told)) {
		if c.runs[d] == nil {
			if err := c.ended(ctx, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// now is what is told of an image by the end of this comparison.
func (c *comparing) body(d dossier.Digest, s state) told {
	r := c.runs[d]
	return told{
		Containers: slices.Sorted(maps.Keys(r.containers)), Images: slices.Sorted(maps.Keys(r.images)),
		Findings: s.findings, Suppressed: slices.Sorted(maps.Keys(s.suppressed)),
	}
}

func (c *comparing) put(d dossier.Digest, t told) error {
	b, err := encodeTold(t)
	c.out.put = append(c.out.put, store.Told{Workload: c.workload, Digest: d, At: c.at, Body: b})
	return err
}

func (c *comparing) event(kind, reason string, d dossier.Digest, t told, s state, findings []Finding, now ...dossier.Digest) {
	if len(findings) > 0 {
		c.out.changes = append(c.out.changes, change{kind: kind, workload: c.workload, digest: d, told: t, reason: reason, now: now, findings: findings, state: s})
	}
}

// started tells of an image that the workload did not run before.
func (c *comparing) started(d dossier.Digest, s state) error {
	t := c.body(d, s)
	var before []Finding
	for _, other := range c.bodies {
		if overlap(other.Containers, t.Containers) {
			before = append(before, other.Findings...)
		}
	}
	findings := slices.Clone(s.findings)
	for i := range findings {
		findings[i].Known = slices.ContainsFunc(before, findings[i].is)
	}
	c.event(TypeStarted, "", d, t, s, findings)
	return c.put(d, t)
}

// still tells what changed about an image that goes on to run.
func (c *comparing) still(d dossier.Digest, s state) error {
	was, t := c.bodies[d], c.body(d, s)
	byReason := map[string][]Finding{}
	for _, f := range missing(s.findings, was.Findings) {
		reason := ReasonAdvisory
		if slices.Contains(was.Suppressed, f.ID) {
			reason = ReasonIgnore
		}
		byReason[reason] = append(byReason[reason], f)
	}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		c.event(TypeNew, reason, d, t, s, byReason[reason])
	}
	clear(byReason)
	for _, f := range missing(was.Findings, s.findings) {
		reason := ReasonAdvisory
		if by, ok := s.suppressed[f.ID]; ok {
			reason, f.By = ReasonSuppressed, by
		}
		byReason[reason] = append(byReason[reason], f)
	}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		c.event(TypeGone, reason, d, t, s, byReason[reason])
	}
	b, err := encodeTold(t)
	if err != nil || bytes.Equal(b, c.told[d].Body) {
		return err
	}
	return c.put(d, t)
}

// ended tells what is gone with an image that the workload no longer runs, once
// it is sure that it does not.
func (c *comparing) ended(ctx context.Context, d dossier.Digest) error {
	t := c.bodies[d]
	var now []dossier.Digest
	var rest []Finding
	waits := false
	for _, other := range slices.Sorted(maps.Keys(c.runs)) {
		if !overlap(slices.Collect(maps.Keys(c.runs[other].containers)), t.Containers) {
			continue
		}
		s, err := c.state(ctx, other)
		if err != nil {
			return err
		}
		now, rest, waits = append(now, other), append(rest, s.findings...), waits || !s.known
	}
	until := time.Duration(0)
	switch {
	case waits:
		until = patience
	case len(now) > 0:
	case c.workload.Kind == "Job" || c.workload.Kind == "CronJob":
		until = absenceJob
	default:
		until = c.absence()
	}
	since := t.Absent
	if since.IsZero() {
		since = c.at
	}
	if end := since.Add(until); end.After(c.at) {
		if c.again.IsZero() || end.Before(c.again) {
			c.again = end
		}
		c.wait = append(c.wait, d)
		if !t.Absent.IsZero() {
			return nil
		}
		t.Absent = since
		return c.put(d, t)
	}
	reason := ReasonWorkload
	if len(now) > 0 {
		reason = ReasonImage
	}
	c.event(TypeGone, reason, d, t, state{}, missing(t.Findings, rest), now...)
	c.out.drop = append(c.out.drop, store.Told{Workload: c.workload, Digest: d})
	return nil
}

// missing returns the findings of a list that another has not.
func missing(list, from []Finding) []Finding {
	named := map[string]bool{}
	for _, f := range from {
		named[f.ID] = true
		for _, a := range f.Aliases {
			named[a] = true
		}
	}
	var out []Finding
	for _, f := range list {
		if !named[f.ID] && !slices.ContainsFunc(f.Aliases, func(a string) bool { return named[a] }) {
			out = append(out, f)
		}
	}
	return out
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// encodeTold writes what was told, small: there is one for each workload and image.
func encodeTold(t told) ([]byte, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(json.NewEncoder(w).Encode(t), w.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// maxTold bounds what was told, in bytes.
const maxTold = 64 << 20

// decodeTold reads what was told. What cannot be read counts as nothing: it is
// told again.
func decodeTold(b []byte) (t told) {
	if err := json.NewDecoder(io.LimitReader(flate.NewReader(bytes.NewReader(b)), maxTold)).Decode(&t); err != nil {
		return told{}
	}
	return t
}
