// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"dossier.dev/dossier"
)

// The audit has two parts. What changes something is a fact; EventWriter makes
// such facts findable by what happened in them. What changes nothing is in an
// AuditLog, which may lag behind and may be thrown away day by day. In both,
// things are found by keys: numbers that stand for words, so that a word that is
// not meant may be found as well.

// EventWriter makes facts findable that are events.
type EventWriter interface {
	// IndexEvent makes the fact with that ID findable by keys, which must be
	// distinct, at the time of the event. Doing so twice changes nothing.
	// KindNotFound: there is no such fact.
	IndexEvent(ctx context.Context, id dossier.Digest, at time.Time, keys []int64) error
}

// EventReader finds facts that are events.
type EventReader interface {
	// Events returns up to q.Limit facts that have all of the keys, the latest first.
	Events(ctx context.Context, q AuditSearch) ([]Event, error)
}

// Event is a fact with the time of the event.
type Event struct {
	At time.Time
	Positioned
}

// AuditSearch selects by keys and time.
type AuditSearch struct {
	Keys   []int64   // at least one; the one that fewest have first
	Since  time.Time // at or after it; zero: ever
	Before AuditPlace
	Limit  int
}

// AuditPlace is a place in the order of events or blocks: by time, then by ID.
// The zero value is the end.
type AuditPlace struct {
	At time.Time
	ID int64
}

// AuditLog keeps blocks of the audit, by the day (of UTC) in which they end.
//
// An implementation promises that a block is durable, and found, when Append
// returns, and that to drop a day costs about the same whatever is in it.
// Errors are as for Store.
type AuditLog interface {
	// Append adds blocks. One that is there already, by To and ID, is left as it is.
	Append(ctx context.Context, blocks []AuditBlock) error
	// Blocks returns up to q.Limit blocks that have all of the keys, those first
	// that end last; their place is (To, ID). It does not return their keys.
	Blocks(ctx context.Context, q AuditSearch) ([]AuditBlock, error)
	// Days returns the beginnings of the days of which there is something, in order.
	Days(ctx context.Context) ([]time.Time, error)
	// Drop removes a day that begins at a time. One that is not there is none to remove.
	Drop(ctx context.Context, day time.Time) error
	// Close releases what the log holds.
	Close() error
}

// AuditBlock is some entries of the audit, in a form that the log does not know.
type AuditBlock struct {
	ID       int64     // not negative; given by who makes it, so that it can be appended again when the outcome is not known
	From, To time.Time // of its entries, the first and the last
	Keys     []int64   // distinct
	Body     []byte
}
