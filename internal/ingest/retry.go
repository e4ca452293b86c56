// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/store"
)

// Retry rules.
const (
	maxAttempts  = 8
	firstBackoff = 15 * time.Second
	maxBackoff   = time.Hour
	// maxDenied is how often a refusal (no access, no such image) is tried
	// before the job is parked: somebody may be pushing, or granting, just now.
	maxDenied = 3
	// maxPatience bounds how long a registry may ask to be left alone.
	maxPatience = 12 * time.Hour
	// maxBegun is how often a job is begun at all. One that gets there has ended
	// many a process, since it was neither finished nor put back.
	maxBegun = 50
	// parkedFor is after what time a parked job is tried again when a list still
	// asks for it: registries come back, and images are pushed late.
	parkedFor = 6 * time.Hour
	// putBackTime bounds how long it may take to put jobs back.
	putBackTime = 10 * time.Second
)

// giveBack makes jobs ready as if they had not been leased: who looks next
// takes them at once. When that cannot be done their leases run out, which comes
// to the same later.
func (g *Ingest) giveBack(ctx context.Context, jobs []store.Job) {
	for _, job := range jobs {
		err := g.putBack(ctx, job, func(ctx context.Context, tx store.Tx) error {
			return tx.Retry(ctx, job.ID, g.owner, job.LastError, g.now())
		})
		if err != nil {
			g.Logger.InfoContext(ctx, "job could not be put back", slog.String("kind", job.Kind), slog.String("key", job.Key), slog.Any("error", err))
		}
	}
}

// fail puts a job back for another try, or parks it. It returns why the store
// did not let it.
func (g *Ingest) fail(ctx context.Context, job store.Job, cause error) error {
	at, again := g.nextTry(job, cause)
	return g.putBack(ctx, job, func(ctx context.Context, tx store.Tx) error {
		if again {
			return tx.Retry(ctx, job.ID, g.owner, g.describe(cause), at)
		}
		if err := tx.Park(ctx, job.ID, g.owner, g.describe(cause)); err != nil || job.Kind != JobLayer {
			return err
		}
		return askForParents(ctx, tx, dossier.Digest(job.Key)) // they are laid without it
	})
}

// putBack changes a job that we hold, if we still do.
func (g *Ingest) putBack(ctx context.Context, job store.Job, change func(context.Context, store.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, putBackTime)
	defer cancel()
	err := g.Store.UpdateSoon(ctx, func(tx store.Tx) error { return change(ctx, tx) })
	if dossier.KindOf(err) == dossier.KindConflict {
		return nil // another worker has it by now
	}
	return err
}

// nextTry says when a failed job is tried again, and whether at all.
func (g *Ingest) nextTry(job store.Job, cause error) (time.Time, bool) {
	limit := maxAttempts
	switch dossier.KindOf(cause) {
	case dossier.KindCorrupt, dossier.KindInvalid, dossier.KindLimit, dossier.KindUnsupported:
		return time.Time{}, false
	case dossier.KindDenied, dossier.KindNotFound:
		limit = maxDenied
	}
	if job.Attempts >= limit {
		return time.Time{}, false
	}
	now := g.now()
	if throttled, ok := errors.AsType[*image.Throttled](cause); ok && throttled.Until.After(now) {
		return earlier(throttled.Until, now.Add(maxPatience)), true // the registry said when
	}
	wait := min(firstBackoff<<min(job.Attempts-1, 20), maxBackoff)
	wait = wait/2 + rand.N(wait/2+1) // jitter: a registry that was down is not stormed
	return now.Add(wait), true
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// mayRun reports whether a job that is there is to run because it is asked for
// anew: one that was parked long ago.
func (g *Ingest) mayRun(job store.Job) bool {
	return job.State == store.JobParked && g.now().Sub(ParseFailure(job.LastError).At) >= parkedFor
}

// Failure is why a job failed, as kept in Job.LastError.
type Failure struct {
	Kind    dossier.Kind `json:"kind,omitempty"`
	Message string       `json:"message"`
	Hint    string       `json:"hint,omitempty"`
	At      time.Time    `json:"at,omitzero"` // of the last attempt
}

func (g *Ingest) describe(err error) string {
	b, _ := json.Marshal(Failure{Kind: dossier.KindOf(err), Message: err.Error(), Hint: dossier.HintOf(err), At: g.now()})
	return string(b)
}

// ParseFailure reads Job.LastError.
func ParseFailure(s string) Failure {
	var f Failure
	if json.Unmarshal([]byte(s), &f) != nil {
		f.Message = s
	}
	return f
}
