// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "time"

// TagList is the tags that point at a digest at a time.
type TagList struct {
	Digest Digest        `json:"digest"`
	AsOf   time.Time     `json:"asOf"`
	Tags   []TagInterval `json:"tags"`           // by name and tag
	Next   string        `json:"next,omitempty"` // ask for those after this NAME:TAG to go on; empty: there are no more
}

// ClusterList is the clusters that are known, by name.
type ClusterList struct {
	Clusters []Cluster `json:"clusters"`
}

// FactList is a part of the chain of facts about a subject, by rising Seq.
type FactList struct {
	Subject Digest `json:"subject"`
	Facts   []Fact `json:"facts"`
	Next    int64  `json:"next,omitempty"` // ask for those after this Seq to go on; 0: there are no more
}

// JobList says how the work stands.
type JobList struct {
	AsOf      time.Time    `json:"asOf"`
	Counts    []JobCount   `json:"counts"`              // by kind and state
	Failing   []FailingJob `json:"failing"`             // parked ones first, then the oldest first
	Truncated bool         `json:"truncated,omitempty"` // there are more failing ones than are listed
}

// JobCount is how many jobs of a kind are in a state.
type JobCount struct {
	Kind  string `json:"kind"`
	State string `json:"state"` // ready, leased or parked
	Count int    `json:"count"`
}

// FailingJob is a job that failed at its last attempt.
type FailingJob struct {
	Kind      string    `json:"kind"`
	Key       string    `json:"key"` // what it is about
	State     string    `json:"state"`
	Attempts  int       `json:"attempts"`
	CreatedAt time.Time `json:"createdAt"`
	RunAt     time.Time `json:"runAt"` // when it is tried again; of no meaning for a parked one
	Message   string    `json:"message"`
	Hint      string    `json:"hint,omitempty"` // what to do about it
}
