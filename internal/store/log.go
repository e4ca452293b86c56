// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"

	"dossier.dev/dossier"
)

// What this file holds is the transparency log: in which order facts were
// appended, the tiles of the tree over them, and the checkpoint that was signed last.

// LogReader reads the log.
type LogReader interface {
	// LogHead returns the state of the log; that of one to which nothing was ever
	// appended is zero.
	LogHead(ctx context.Context) (LogHead, error)
	// Unlogged returns up to limit facts that are not in the log, in the order in which
	// they were recorded. Those of one subject come by rising Seq and without gaps.
	Unlogged(ctx context.Context, limit int) ([]LogEntry, error)
	// LogStrays returns up to limit facts that are neither in the log nor wait for it, which no
	// server leaves behind.
	LogStrays(ctx context.Context, limit int) ([]dossier.Digest, error)
	// LogEntries returns up to limit entries from an index on, in order.
	LogEntries(ctx context.Context, from int64, limit int) ([]LogEntry, error)
	// LogFacts is LogEntries with the facts, for who checks them.
	LogFacts(ctx context.Context, from int64, limit int) ([]LogFact, error)
	// LogIndexes returns where facts are in the log. Those that are not there yet are left out.
	LogIndexes(ctx context.Context, facts []dossier.Digest) (map[dossier.Digest]int64, error)
	// LogTile returns the hashes of a tile, one after another, as many as
	// there are, or KindNotFound.
	LogTile(ctx context.Context, at TileAt) ([]byte, error)
}

// MapReader reads the map of the log: which fact of each subject is the newest that is
// in it.
type MapReader interface {
	// LogMap returns those of the nodes of the map that there are, by prefix.
	LogMap(ctx context.Context, prefixes []string) (map[string][]byte, error)
	// LogHeads returns the newest entry of each subject, in the order of subjects; of those
	// that have none, nothing.
	LogHeads(ctx context.Context, subjects []dossier.Digest) ([]LogEntry, error)
}

// LogWriter appends to the log.
type LogWriter interface {
	// LockLog makes other appenders wait until the end of the transaction, and
	// returns the state of the log.
	LockLog(ctx context.Context) (LogHead, error)
	// AppendLog appends entries that Unlogged returned, from the index that the size of
	// the log was, puts the tiles in the place of what they were, and keeps
	// the new state. LockLog must have been called.
	AppendLog(ctx context.Context, entries []LogEntry, tiles []LogTile, head LogHead) error
	// PutCosigned puts a checkpoint with more signatures in the place of that of a log of a
	// size. It changes nothing when the log has another size by now.
	PutCosigned(ctx context.Context, size int64, checkpoint []byte) error
	// PutLogMap puts nodes of the map in the place of what they were.
	PutLogMap(ctx context.Context, nodes []MapNode) error
}

// WitnessWriter keeps what was signed as a witness of logs.
type WitnessWriter interface {
	// LockWitnessed makes others wait that sign for the log, until the end of the transaction, and
	// returns what was signed last for it; its Size is 0 when nothing was.
	LockWitnessed(ctx context.Context, origin string) (Witnessed, error)
	PutWitnessed(ctx context.Context, w Witnessed) error
}

// Witnessed is the newest checkpoint of a log that was signed for it as a witness.
type Witnessed struct {
	Origin     string
	Size       int64
	Root       []byte // 32 bytes
	Checkpoint []byte // a signed note
}

// MapNode is a part of the map of the log. What its content means, only package
// translog knows.
type MapNode struct {
	Prefix  string // hexadecimal digits that the keys in it begin with
	Content []byte
}

// LogHead is the state of the log.
type LogHead struct {
	Size       int64  // entries
	Key        string // verifier key of the log in the form of a signed note; empty: none yet
	Checkpoint []byte // a signed note
	Mapped     int64  // entries that the map has: fewer than Size in a log that began without one
}

// LogEntry is a fact in the log.
type LogEntry struct {
	Index    int64 // from 0
	Position int64 // of the fact (Positioned)
	Subject  dossier.Digest
	Seq      int64
	Leaf     dossier.Digest
}

// LogFact is an entry with its fact. Of a body that was erased only the salted
// hash is left.
type LogFact struct {
	LogEntry
	Fact     dossier.Fact
	BodyHash dossier.Digest
	Erased   bool
}

// TileAt names a tile: 256 hashes of one level, from the leaves up.
type TileAt struct{ Level, Index int64 }

// LogTile is a tile with the hashes that it has so far, of 32 bytes each.
type LogTile struct {
	TileAt
	Hashes []byte
}
