// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
)

// Pace of comparing packages with advisories.
const (
	// matchAfter is for how long changes are gathered before they are looked at.
	matchAfter = 200 * time.Millisecond
	// matchEvery is after what time advisories that another process brought up to
	// date are noticed.
	matchEvery = 10 * time.Second
)

// maxFeedAge is how old advisories may be before they are called old.
func (e *Engine) maxFeedAge() time.Duration {
	return cmp.Or(e.Policy.MaxFeedAge, answer.DefaultMaxFeedAge)
}

// Match compares packages with advisories until findings say what is known now.
func (e *Engine) Match(ctx context.Context) error { return e.findings.Drain(ctx, nil) }

// match keeps findings true until ctx ends.
func (s *server) match(ctx context.Context) error {
	ticker := time.NewTicker(matchEvery)
	defer ticker.Stop()
	for {
		changed := s.engine.changed.next()
		for {
			more, err := s.engine.findings.Step(ctx)
			if err != nil && dossier.KindOf(err) != dossier.KindConflict {
				return err
			}
			s.matching.set(nil)
			if err == nil && !more {
				break
			}
		}
		select {
		case <-changed:
			select {
			case <-time.After(matchAfter):
			case <-ctx.Done():
			}
		case <-ticker.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// Findings lists what advisories say of what an image holds.
func (e *Engine) Findings(ctx context.Context, q dossier.FindingQuery) (dossier.FindingList, error) {
	d, err := e.localDigest(ctx, q.Ref)
	if err != nil {
		return dossier.FindingList{}, err
	}
	return e.FindingsOf(ctx, q, d)
}

// Explain says why packages of an image have a vulnerability, or do not.
func (e *Engine) Explain(ctx context.Context, q dossier.FindingQuery, id string) (dossier.Explanation, error) {
	d, err := e.localDigest(ctx, q.Ref)
	if err != nil {
		return dossier.Explanation{}, err
	}
	return e.ExplainOf(ctx, q, id, d)
}

// localDigest returns what a local reference was found to be, "" for others.
func (e *Engine) localDigest(ctx context.Context, ref string) (dossier.Digest, error) {
	if !dossier.IsLocal(ref) {
		return "", nil
	}
	return e.digestOf(ctx, ref, dossier.Times{})
}
