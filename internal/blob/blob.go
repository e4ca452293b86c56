// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package blob keeps bytes under opaque keys: layers, archives, whatever is too
// large for a row of the database.
//
// A key is made for one upload and never used again; which digest lies under
// which key is a row of the database, written after the bytes. So nothing is
// ever overwritten, an upload that was given up leaves nothing visible, and two
// uploads of the same bytes do not meet.
//
// An implementation promises: bytes are visible under their key whole or not at
// all; they are durable when Commit returns; their SHA-256 is computed while
// they are written; errors are *dossier.Error with the kinds that each method
// names, KindStorage when the place refuses writes, and KindUnavailable when it
// cannot be reached or the context has ended.
//
// The package does not know digests that clients claim, does not count
// references and removes nothing by itself but what Prune is asked to.
package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"iter"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// Store is a place for bytes. It is safe for concurrent use.
type Store interface {
	// Create begins to write the bytes of a new key.
	// KindInvalid: see CheckKey. KindConflict: the key is used already.
	Create(ctx context.Context, key string) (Writer, error)

	// Resume goes on with what a Writer suspended, in this process or in
	// another, from exactly there: what was appended later is forgotten. A token
	// serves again until a later one is made.
	// KindNotFound: it was committed, aborted, pruned or lost. KindConflict: somebody
	// else writes it at this moment. KindInvalid: not a token of this key.
	// KindCorrupt: less is there than was suspended.
	Resume(ctx context.Context, key string, token Token) (Writer, error)

	// Open reads length bytes from offset on, or to the end when length is
	// negative. What lies beyond the end is left out.
	// KindNotFound. KindInvalid: offset is negative or greater than the size.
	Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)

	// Stat describes what is kept under a key. KindNotFound.
	Stat(ctx context.Context, key string) (Info, error)

	// Delete removes what is kept under a key, if there is anything. Who reads
	// it at this moment may read on or get an error.
	Delete(ctx context.Context, key string) error

	// List yields what is kept under keys greater than after, in the order of
	// keys. What is committed or deleted meanwhile may be yielded or not.
	List(ctx context.Context, after string) iter.Seq2[Info, error]

	// Prune removes uploads that were neither committed nor aborted and to which
	// nothing was appended since a time, and says how many. It leaves alone what
	// somebody writes at this moment.
	Prune(ctx context.Context, since time.Time) (int, error)
}

// Writer takes the bytes of one key. It is for one goroutine and must be ended
// by Commit, Suspend or Abort; any method after those fails.
type Writer interface {
	// Append adds all that r gives and returns how many bytes it took, with an
	// error too: those stay. An error of r is in the chain of the one returned.
	Append(ctx context.Context, r io.Reader) (int64, error)

	// Size returns how many bytes were appended so far.
	Size() int64

	// Suspend keeps what was appended and ends the Writer. Resume goes on with the
	// token, also when this process was killed, but maybe not after a power cut:
	// then it is KindNotFound.
	Suspend(ctx context.Context) (Token, error)

	// Commit makes the bytes durable and visible and returns their number and
	// SHA-256. When it fails nothing is visible, and the upload is gone.
	Commit(ctx context.Context) (size int64, sha256 dossier.Digest, err error)

	// Abort removes what was appended. After Commit, Suspend or Abort it does
	// nothing and returns nil, so that it can be deferred.
	Abort(ctx context.Context) error
}

// Promised reads bytes whose number is known before they come. A Store may have room
// made for them; there may be fewer or more of them all the same.
type Promised struct {
	io.Reader
	Size int64 // bytes; negative: unknown
}

// Peeker is a Writer whose bytes can be read while they are written. Not every
// Store has such.
type Peeker interface {
	// Peek opens the bytes that were appended, and those that will be: each as
	// soon as Append asks its reader for the next. They can be read until the
	// Peek is closed, even after the Writer was ended.
	Peek() (Peek, error)
}

// Peek reads the bytes of a Writer. It is safe for concurrent use.
type Peek interface {
	io.ReaderAt
	io.Closer
}

// Token says where a suspended upload stands. It is for the Store that made it,
// small (MaxToken) and meant to be kept in the database beside the upload.
type Token []byte

// MaxToken is how many bytes a token has at most.
const MaxToken = 64 << 10

// Info describes the bytes of a key.
type Info struct {
	Key  string
	Size int64     // in bytes
	Time time.Time // of Commit or somewhat before, by the clock of the place
}

// The length of a key.
const (
	MinKey = 8
	MaxKey = 128
)

// NewKey returns a key that nobody else has: 32 random hexadecimal digits.
func NewKey() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// CheckKey reports whether a key is one: MinKey to MaxKey lower-case letters and
// digits, and hyphens except at the ends. Anything else, such as the parts of a
// path, is a KindInvalid error.
func CheckKey(key string) error {
	const op = "checking blob key"
	switch {
	case len(key) < MinKey || len(key) > MaxKey:
		return dossier.Errorf(dossier.KindInvalid, op, "", "it must have 8 to 128 characters")
	case strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return dossier.Errorf(dossier.KindInvalid, op, "", "it must be made of a-z, 0-9 and -")
	case key[0] == '-' || key[len(key)-1] == '-':
		return dossier.Errorf(dossier.KindInvalid, op, "", "it must not begin or end with -")
	}
	return nil
}
