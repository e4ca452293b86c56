// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "time"

// UpstreamList is the registries that a server pulls through, by name.
type UpstreamList struct {
	AsOf      time.Time  `json:"asOf"`
	Upstreams []Upstream `json:"upstreams"`
}

// UpstreamState says how it stands with an upstream.
type UpstreamState string

// The states.
const (
	UpstreamUnknown   UpstreamState = "unknown"   // it was not asked yet
	UpstreamOK        UpstreamState = "ok"        // it answered when it was asked last
	UpstreamFailing   UpstreamState = "failing"   // it did not, or not as it should
	UpstreamThrottled UpstreamState = "throttled" // it wants no requests at the moment
	UpstreamOffline   UpstreamState = "offline"   // the server must not ask it
	UpstreamRemoved   UpstreamState = "removed"   // it is no longer configured; what is kept stays
)

// Upstream is a registry that a server pulls through. What is counted is counted
// since the server started; what is kept is what all servers of a database keep.
type Upstream struct {
	Name   string        `json:"name"`   // as in references
	Prefix string        `json:"prefix"` // of repositories here
	URL    string        `json:"url"`    // where it is asked; empty for a removed one
	State  UpstreamState `json:"state"`

	AnsweredAt time.Time `json:"answeredAt,omitzero"` // when it answered last
	FailedAt   time.Time `json:"failedAt,omitzero"`   // when it did not
	Error      string    `json:"error,omitempty"`     // why
	HeldUntil  time.Time `json:"heldUntil,omitzero"`  // it wants no requests before

	RateLimit     *RateLimit `json:"rateLimit,omitempty"` // absent: it says nothing of any
	Requests      int64      `json:"requests"`            // sent to it, tokens and repetitions included
	Throttled     int64      `json:"throttled"`           // answers 429
	ReceivedBytes int64      `json:"receivedBytes"`

	Served       UpstreamServed `json:"served"`
	Repositories int            `json:"repositories"`
	Manifests    int            `json:"manifests"`
	Blobs        int            `json:"blobs"`
	Bytes        int64          `json:"bytes"` // of blobs
}

// RateLimit is what a registry said last of how many requests it allows. What
// counts as one is up to it: with Docker Hub, a manifest that is not asked for by HEAD.
type RateLimit struct {
	Limit     int64 `json:"limit"`
	Remaining int64 `json:"remaining"`
	Seconds   int64 `json:"seconds,omitempty"` // for which the limit is; 0: it does not say
}

// UpstreamServed counts pulls of manifests and blobs by where they came from.
type UpstreamServed struct {
	Kept    int64 `json:"kept"`    // from what is kept, and is fresh or goes by its digest
	Fetched int64 `json:"fetched"` // from upstream, and kept since
	Stale   int64 `json:"stale"`   // from what is kept, since upstream could not be asked
	Missing int64 `json:"missing"` // upstream does not have it
	Failed  int64 `json:"failed"`  // not at all
}
