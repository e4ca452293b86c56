// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"
)

// JobState says where a job stands.
type JobState string

// The states of a job. A job that is done is no longer there.
const (
	JobReady  JobState = "ready"  // waits for RunAt
	JobLeased JobState = "leased" // somebody works on it until LeasedUntil
	JobParked JobState = "parked" // failed for good; waits for a person, or for being enqueued anew
)

// Job is one piece of work, done at least once.
type Job struct {
	ID          int64
	Kind        string // which worker does it
	Key         string // unique among the jobs of its kind
	Payload     []byte
	State       JobState
	RunAt       time.Time
	Attempts    int // begun, so far
	Owner       string
	LeasedUntil time.Time
	LastError   string
	CreatedAt   time.Time
}

// JobWriter changes jobs, in the transaction of the facts they concern.
type JobWriter interface {
	// Enqueue adds a job that is to run at RunAt (zero: now), and reports true.
	// When one with its kind and key is there, that one stays, its RunAt moved
	// to the earlier of both; a parked one becomes ready again, with Attempts 0
	// and the new payload. Then it reports false.
	Enqueue(ctx context.Context, job Job) (bool, error)
	// Lease hands up to n jobs of the kinds that are due at now, or whose lease has
	// run out, to owner until now+d, oldest RunAt first, and counts the attempt.
	// No two owners hold a job at a time.
	Lease(ctx context.Context, owner string, kinds []string, n int, now time.Time, d time.Duration) ([]Job, error)
	// Finish removes a job. KindConflict: owner no longer holds it.
	Finish(ctx context.Context, id int64, owner string) error
	// Retry makes a job ready again at a time. KindConflict: as for Finish.
	Retry(ctx context.Context, id int64, owner, lastError string, at time.Time) error
	// Park sets a job aside. KindConflict: as for Finish.
	Park(ctx context.Context, id int64, owner, lastError string) error
	// Notify adds a notice to the outbox.
	Notify(ctx context.Context, topic string, body []byte) error
	// Forget removes notices that were delivered.
	Forget(ctx context.Context, ids []int64) error
}

// JobKeeper keeps hold of jobs that take long.
type JobKeeper interface {
	// Renew makes owner hold a job until a later time. It counts no attempt.
	// KindConflict: as for Finish.
	Renew(ctx context.Context, id int64, owner string, until time.Time) error
}

// JobReader reads jobs.
type JobReader interface {
	// Jobs returns the jobs of a kind with one of the keys (all keys when there
	// are none), at most limit, oldest first.
	Jobs(ctx context.Context, kind string, keys []string, limit int) ([]Job, error)
	// CountJobs counts the jobs of each kind and state.
	CountJobs(ctx context.Context) ([]JobCount, error)
	// Notices returns up to limit notices after an ID, in order. As with
	// Facts, on PostgreSQL one may appear below others that are already visible.
	Notices(ctx context.Context, after int64, limit int) ([]Notice, error)
}

// JobCount is how many jobs of a kind are in a state.
type JobCount struct {
	Kind  string
	State JobState
	N     int
}

// Notice is something to tell the world, kept until it was told.
type Notice struct {
	ID    int64
	Topic string
	Body  []byte
	At    time.Time
}
